/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cycle's point in time: opened, found again, ended.
 *
 * The order that keeps data: what an earlier run of ours left goes away first; tracking
 * is on and effective; then the snapshot; then its change ids are read, from the
 * snapshot's own configuration and never from the machine's. The ids are kept by the
 * gateway only with a cycle that was applied, so a cycle that fails asks again since the
 * old ones.
 *
 * V1  a snapshot of ours that is there belongs to the cycle that is open, or is removed
 *     at the next open, at the end, or by forget; every way out of a failed open removes
 *     what it made; before that, disks that a run that crashed left attached by hotadd
 *     are detached, for no snapshot under them can be consolidated;
 * V2  a machine with anybody else's snapshot gets none of ours: chains grow, change
 *     tracking may be wrong across them, and removing ours would merge theirs;
 * V3  a snapshot is found again only when it is the same object with the same name and
 *     its disks have the sizes and change ids that they had.
 */
#include "source/vsphere.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "vsphere/hotadd_gateway.h"

#include <inttypes.h>
#include <stdatomic.h>

#define CLEAN_UP_MS ((uint64_t)60 * 1000) /* after a failed open */

void vsphere_notice(struct vsphere_snapshot *snapshot, const char *event, const char *fmt,
                    ...)
{
    char text[300], quoted[LOG_QUOTED_BYTES];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    {
        LOCK_GUARD(&snapshot->lock);
        size_t used = strlen(snapshot->notice);
        if (strstr(snapshot->notice, text))
            return;
        (void)snprintf(snapshot->notice + used, sizeof snapshot->notice - used, "%s%s",
                       used ? "; " : "", text);
    }
    log_warn(event, "machine=%s snapshot=%s text=%s", snapshot->machine, snapshot->name,
             log_quote(text, quoted));
}

/* ---- disks ---- */

static struct vsphere_identity identity_of(const struct vim_machine *machine,
                                           const struct vim_disk *disk)
{
    return (struct vsphere_identity){.instance_uuid = machine->instance_uuid,
                                     .backing_uuid = disk->uuid,
                                     .file_name = disk->file_name,
                                     .device_key = disk->key,
                                     .disk_bytes = disk->disk_bytes};
}

static bool take_disk(struct vsphere_snapshot *snapshot, size_t i,
                      const struct snapshot_request *request,
                      const struct vim_machine *machine, const struct vim_disk *from,
                      struct err *err)
{
    struct vsphere_disk *to = &snapshot->disks[i];
    const char *previous = request->previous_change_ids[i];
    struct vsphere_identity identity = identity_of(machine, from);
    previous = previous ? previous : "";
    if (strlen(from->file_name) >= sizeof to->frozen.file_name)
        return err_set(err, FAIL_LIMIT,
                       "the file name of disk '%s' has %zu bytes; %zu "
                       "are allowed",
                       from->label, strlen(from->file_name),
                       sizeof to->frozen.file_name - 1);
    text_copy(to->label, sizeof to->label, request->machine->disks[i].label);
    to->frozen.device_key = from->key;
    to->frozen.disk_bytes = from->disk_bytes;
    text_copy(to->frozen.file_name, sizeof to->frozen.file_name, from->file_name);
    vsphere_datastore_of(from->file_name, to->datastore, sizeof to->datastore);
    to->datastore_ref = from->datastore;
    to->is_first = !previous[0];
    text_copy(to->raw_change_id, sizeof to->raw_change_id, from->change_id);
    vsphere_change_id_print(&identity, from->change_id, to->change_id);
    to->knowledge = vsphere_change_id_compare(previous, &identity, from->change_id,
                                              to->previous_raw, to->why);
    return true;
}

/* The snapshot's disks into ours, in the definition's order. */
static bool take_disks(struct vsphere_snapshot *snapshot,
                       const struct snapshot_request *request,
                       const struct vim_machine *machine, const struct cancel *cancel,
                       struct err *err)
{
    const struct machine_def *def = request->machine;
    AUTO(vim_disks_free)
    struct vim_disks *disks =
        vim_snapshot_disks(snapshot->source->vim, &snapshot->ref, cancel, err);
    if (!disks)
        return err_wrap(err, "disks of snapshot '%s'", snapshot->name);
    for (size_t i = 0; i < def->disk_count; i++) {
        const struct vim_disk *from =
            vsphere_disk_find(disks->items, disks->count, def->disks[i].key);
        if (!from)
            return err_set(err, FAIL_CONFLICT,
                           "disk '%s' of machine '%s' is not in the snapshot; see that "
                           "its mode is not independent",
                           def->disks[i].label, def->name);
        if (!take_disk(snapshot, i, request, machine, from, err))
            return false;
    }
    snapshot->disk_count = def->disk_count;
    return true;
}

static size_t tracked_disks(const struct vsphere_snapshot *snapshot)
{
    size_t count = 0;
    for (size_t i = 0; i < snapshot->disk_count; i++)
        count += snapshot->disks[i].raw_change_id[0] != 0;
    return count;
}

/* V3: what must be the same when it is found again. */
static void print_handle(struct vsphere_snapshot *snapshot)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        const struct vsphere_disk *disk = &snapshot->disks[i];
        char text[2 * CHANGE_ID_MAX];
        (void)snprintf(text, sizeof text, "%" PRId32 " %" PRIu64 " %s;",
                       disk->frozen.device_key, disk->frozen.disk_bytes,
                       disk->raw_change_id);
        for (const char *at = text; *at; at++)
            hash = (hash ^ (uint8_t)*at) * 1099511628211u;
    }
    (void)snprintf(snapshot->handle, sizeof snapshot->handle, "%s %s %016" PRIx64,
                   snapshot->name, snapshot->ref.id, hash);
}

/* ---- what the machine must be like ---- */

static bool require_disks(const struct machine_def *def,
                          const struct vim_machine *machine, struct err *err)
{
    for (size_t i = 0; i < def->disk_count; i++) {
        const struct vim_disk *disk =
            vsphere_disk_find(machine->disks, machine->disk_count, def->disks[i].key);
        const char *why, *remedy;
        if (!disk)
            return err_set(err, FAIL_GONE,
                           "disk '%s' (device %s) of machine '%s' is not attached any "
                           "more; attach it again, or stop and replicate the machine "
                           "without it",
                           def->disks[i].label, def->disks[i].key, def->name);
        if (!vsphere_disk_is_frozen(disk, &why, &remedy))
            return err_set(err, FAIL_CONFLICT, "disk '%s' of machine '%s' %s; %s",
                           def->disks[i].label, def->name, why, remedy);
    }
    for (size_t i = 0; i < machine->disk_count; i++) {
        char key[16];
        bool is_known = false;
        vsphere_disk_key(machine->disks[i].key, key, sizeof key);
        for (size_t j = 0; j < def->disk_count; j++)
            is_known = is_known || strcmp(def->disks[j].key, key) == 0;
        if (!is_known)
            return err_set(err, FAIL_CONFLICT,
                           "machine '%s' has a new disk '%s' (%s) that is not "
                           "replicated; detach it, or stop and replicate the machine "
                           "again to include it",
                           def->name, machine->disks[i].label,
                           machine->disks[i].file_name);
    }
    return true;
}

/* V2 */
static bool require_no_others(const struct vsphere_snapshot *snapshot,
                              const struct vim_machine *machine, struct err *err)
{
    for (size_t i = 0; i < machine->snapshot_count; i++) {
        const struct vim_snapshot *other = &machine->snapshots[i];
        char age[TEXT_HUMAN_BYTES] = "unknown";
        uint64_t now_ms = clock_wall_ms();
        if (vsphere_snapshot_is_ours(other, &snapshot->machine_id))
            continue;
        if (other->created_wall_ms && other->created_wall_ms <= now_ms)
            text_duration(now_ms - other->created_wall_ms, age);
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' has a snapshot '%s' that is not of this "
                       "replication (age %s); delete it, or wait until the backup that "
                       "made it has ended",
                       snapshot->machine, other->name, age);
    }
    return true;
}

/* ---- finding it again ---- */

static bool find_again(struct vsphere_snapshot *snapshot,
                       const struct snapshot_request *request,
                       const struct vim_machine *machine, const struct cancel *cancel,
                       bool *ret_found, struct err *err)
{
    const char *space = strchr(request->resume_handle, ' ');
    *ret_found = false;
    for (size_t i = 0; space && i < machine->snapshot_count; i++) {
        const struct vim_snapshot *one = &machine->snapshots[i];
        size_t name_bytes = strlen(one->name), id_bytes = strlen(one->ref.id);
        if (!vsphere_snapshot_is_ours(one, &snapshot->machine_id) ||
            strncmp(request->resume_handle, one->name, name_bytes) != 0 ||
            request->resume_handle + name_bytes != space ||
            strncmp(space + 1, one->ref.id, id_bytes) != 0 || space[1 + id_bytes] != ' ')
            continue;
        text_copy(snapshot->name, sizeof snapshot->name, one->name);
        snapshot->ref = one->ref;
        if (!take_disks(snapshot, request, machine, cancel, err))
            return false;
        print_handle(snapshot);
        *ret_found = strcmp(snapshot->handle, request->resume_handle) == 0;
    }
    return true;
}

/* ---- open ---- */

static struct vsphere_rest rest_of(const struct vsphere_snapshot *snapshot,
                                   const struct cancel *cancel)
{
    return (struct vsphere_rest){.vim = snapshot->source->vim,
                                 .vm = &snapshot->vm,
                                 .machine_id = &snapshot->machine_id,
                                 .deadline_ms = snapshot->source->rest_ms,
                                 .cancel = cancel};
}

/* V1: best effort and soon; the next open does it again. */
static void undo_open(struct vsphere_snapshot *snapshot, const struct vim_wait *wait)
{
    struct err why = ERR_INIT;
    struct vsphere_rest rest = rest_of(snapshot, NULL);
    rest.deadline_ms = MIN_OF(rest.deadline_ms, CLEAN_UP_MS);
    if (wait && vim_ref_is_set(&wait->task)) {
        /* A task that was given up may still make its snapshot: ended first. */
        struct vim_wait end = {.deadline_ms = CLEAN_UP_MS};
        struct err ignored = ERR_INIT;
        if (!vim_task_cancel(snapshot->source->vim, &wait->task, NULL, &ignored) ||
            !vim_task_wait(snapshot->source->vim, &wait->task, &end, NULL, &ignored))
            log_debug("vsphere_task_left", "task=%s text=\"%s\"", wait->task.id,
                      ignored.text);
    }
    if (!vsphere_come_to_rest(&rest, &why))
        log_debug("vsphere_undo_failed", "machine=%s text=\"%s\"", snapshot->machine,
                  why.text);
}

/* One try; a failure leaves nothing. */
static bool create_once(struct vsphere_snapshot *snapshot, bool quiesce,
                        const struct cancel *cancel, struct err *err)
{
    char description[200];
    struct vim_wait wait = {.deadline_ms = snapshot->source->create_ms, .cancel = cancel};
    vsphere_snapshot_describe(snapshot, description, sizeof description);
    struct vim_snapshot_spec spec = {
        .name = snapshot->name, .description = description, .is_quiesced = quiesce};
    if (vim_snapshot_create(snapshot->source->vim, &snapshot->vm, &spec, &wait,
                            &snapshot->ref, err))
        return true;
    undo_open(snapshot, &wait);
    return err_wrap(err, "create snapshot '%s'", snapshot->name);
}

/* The server drops the wish without a word when the tools do not answer. */
static void see_quiesced(struct vsphere_snapshot *snapshot, const struct cancel *cancel)
{
    struct err ignored = ERR_INIT;
    AUTO(vim_machine_free)
    struct vim_machine *machine =
        vim_machine_get(snapshot->source->vim, &snapshot->vm, cancel, &ignored);
    for (size_t i = 0; machine && i < machine->snapshot_count; i++) {
        const struct vim_snapshot *one = &machine->snapshots[i];
        if (vim_ref_equal(&one->ref, &snapshot->ref) && !one->is_quiesced)
            vsphere_notice(snapshot, "quiesce_dropped",
                           "the guest was not quiesced although that was asked: this "
                           "point in time is crash-consistent");
    }
}

static bool create(struct vsphere_snapshot *snapshot, const struct vim_machine *machine,
                   bool quiesce, const struct cancel *cancel, struct err *err)
{
    bool may_quiesce = machine->power == VIM_POWER_ON && machine->has_tools_running;
    if (quiesce && machine->power == VIM_POWER_ON && !may_quiesce)
        vsphere_notice(snapshot, "quiesce_unavailable",
                       "no VMware Tools run in the guest, it cannot be quiesced: this "
                       "point in time is crash-consistent");
    if (quiesce && may_quiesce) {
        struct err why = ERR_INIT;
        if (create_once(snapshot, true, cancel, &why)) {
            see_quiesced(snapshot, cancel);
            return true;
        }
        if (why.kind == FAIL_CANCELED || why.kind == FAIL_AUTH || why.kind == FAIL_GONE ||
            why.kind == FAIL_NO_SPACE) {
            *err = why;
            return false;
        }
        vsphere_notice(snapshot, "quiesce_failed",
                       "quiescing failed, this point in time is crash-consistent: %.150s",
                       why.text);
    }
    return create_once(snapshot, false, cancel, err);
}

/* Names what will be slow: a disk without a change id is compared by content each time.
 */
static void tell_untracked(struct vsphere_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->disk_count; i++)
        if (!snapshot->disks[i].change_id[0])
            vsphere_notice(snapshot, "tracking_not_effective",
                           "disk '%s' has no change id: change tracking is not "
                           "effective on it, every cycle reads it whole; power the "
                           "machine off and on, or reset its change tracking",
                           snapshot->disks[i].label);
}

static bool create_and_take(struct vsphere_snapshot *snapshot,
                            const struct snapshot_request *request,
                            const struct vim_machine *machine,
                            const struct cancel *cancel, struct err *err)
{
    vsphere_snapshot_name(snapshot);
    if (!create(snapshot, machine, request->quiesce || snapshot->source->quiesce, cancel,
                err))
        return false;
    if (take_disks(snapshot, request, machine, cancel, err))
        return true;
    undo_open(snapshot, NULL);
    return false;
}

/* The flag was there, yet nothing is tracked: once, tracking starts anew. */
static bool try_again_tracked(struct vsphere_snapshot *snapshot,
                              const struct snapshot_request *request,
                              const struct vim_machine *machine,
                              const struct cancel *cancel, struct err *err)
{
    struct vsphere_rest rest = rest_of(snapshot, cancel);
    if (vsphere_come_to_rest(&rest, err) && vsphere_track_reset(snapshot, cancel, err))
        return create_and_take(snapshot, request, machine, cancel, err);
    undo_open(snapshot, NULL);
    return false;
}

static bool open_new(struct vsphere_snapshot *snapshot,
                     const struct snapshot_request *request,
                     const struct vim_machine *machine, const struct cancel *cancel,
                     struct err *err)
{
    struct vsphere_rest rest = rest_of(snapshot, cancel);
    bool was_off;
    if (!vsphere_come_to_rest(&rest, err) || !require_no_others(snapshot, machine, err) ||
        !require_disks(request->machine, machine, err) ||
        !vsphere_space_check(snapshot, cancel, err))
        return false;
    if (!vsphere_track_enable(snapshot, machine, cancel, &was_off, err)) {
        undo_open(snapshot, NULL);
        return false;
    }
    if (!create_and_take(snapshot, request, machine, cancel, err))
        return false;
    if (tracked_disks(snapshot) == 0 &&
        !try_again_tracked(snapshot, request, machine, cancel, err))
        return false;
    for (size_t i = 0; was_off && i < snapshot->disk_count; i++) {
        struct vsphere_disk *disk = &snapshot->disks[i];
        if (disk->knowledge == CHANGES_LOST && disk->change_id[0])
            text_copy(disk->why, sizeof disk->why,
                      "change tracking had been switched off since the last cycle; it "
                      "is on again");
    }
    tell_untracked(snapshot);
    print_handle(snapshot);
    return true;
}

/* For the space check before there is a snapshot. */
static void note_datastores(struct vsphere_snapshot *snapshot,
                            const struct machine_def *def,
                            const struct vim_machine *machine)
{
    snapshot->disk_count = def->disk_count;
    for (size_t i = 0; i < def->disk_count; i++) {
        const struct vim_disk *disk =
            vsphere_disk_find(machine->disks, machine->disk_count, def->disks[i].key);
        if (disk)
            snapshot->disks[i].datastore_ref = disk->datastore;
    }
}

static bool open_with(struct vsphere_snapshot *snapshot,
                      const struct snapshot_request *request, const struct cancel *cancel,
                      struct err *err)
{
    bool is_found = false;
    AUTO(vim_machine_free)
    struct vim_machine *machine =
        vsphere_machine_get(snapshot->source, request->machine, cancel, err);
    if (!machine)
        return false;
    if (strcmp(machine->connection, "connected") != 0)
        return err_set(err, FAIL_TRANSIENT,
                       "machine '%s' is '%s' at the server; see its host",
                       snapshot->machine, machine->connection);
    hotadd_sweep(snapshot->source->vim, snapshot->source->hotadd_record_dir);
    snapshot->vm = machine->ref;
    snapshot->folder = machine->parent;
    snapshot->host = machine->host;
    snapshot->is_powered_on = machine->power == VIM_POWER_ON;
    note_datastores(snapshot, request->machine, machine);
    if (request->resume_handle &&
        !find_again(snapshot, request, machine, cancel, &is_found, err))
        return false;
    if (!is_found)
        return open_new(snapshot, request, machine, cancel, err);
    snapshot->is_resumed = true;
    struct vsphere_rest rest = rest_of(snapshot, cancel);
    rest.keep = &snapshot->ref;
    if (vsphere_space_check(snapshot, cancel, err))
        return vsphere_come_to_rest(&rest, err);
    if (err->kind == FAIL_NO_SPACE)
        undo_open(snapshot, NULL); /* found again, and in the way */
    return false;
}

static void snapshot_free(struct vsphere_snapshot *snapshot)
{
    if (!snapshot)
        return;
    for (size_t i = 0; i < MACHINE_MAX_DISKS; i++)
        extents_release(&snapshot->disks[i].changes);
    (void)pthread_mutex_destroy(&snapshot->open_lock);
    (void)pthread_mutex_destroy(&snapshot->lock);
    free(snapshot);
}
AUTO_CLEANUP(struct vsphere_snapshot, snapshot_free);

static void name_host(struct vsphere_snapshot *snapshot, const struct cancel *cancel)
{
    struct err ignored = ERR_INIT;
    if (!vim_ref_is_set(&snapshot->host))
        return;
    AUTO(vim_host_free)
    struct vim_host *host =
        vim_host_get(snapshot->source->vim, &snapshot->host, cancel, &ignored);
    text_copy(snapshot->host_name, sizeof snapshot->host_name, host ? host->name : "");
}

bool vsphere_snapshot_open(struct source *base, const struct snapshot_request *request,
                           const struct cancel *cancel, struct snapshot **ret,
                           struct err *err)
{
    AUTO(snapshot_free) struct vsphere_snapshot *snapshot = xcalloc(1, sizeof *snapshot);
    snapshot->base.ops = base->ops;
    snapshot->source = (struct vsphere_source *)base;
    snapshot->machine_id = request->machine->id;
    snapshot->cycle = request->cycle;
    snapshot->cancel = cancel;
    text_copy(snapshot->machine, sizeof snapshot->machine, request->machine->name);
    (void)pthread_mutex_init(&snapshot->open_lock, NULL); /* defaults cannot fail */
    (void)pthread_mutex_init(&snapshot->lock, NULL);
    atomic_store(&snapshot->guard_mono_ms, clock_mono_ms());
    if (!open_with(snapshot, request, cancel, err))
        return false;
    name_host(snapshot, cancel);
    *ret = &TAKE(snapshot)->base;
    return true;
}

/* ---- end ---- */

bool vsphere_snapshot_end(struct snapshot *base, enum snapshot_outcome outcome,
                          struct err *err)
{
    AUTO(snapshot_free)
    struct vsphere_snapshot *snapshot = (struct vsphere_snapshot *)base;
    struct vsphere_rest rest = rest_of(snapshot, NULL);
    vsphere_lanes_close(snapshot);
    /* What fills a datastore does not wait there for better times. */
    if (outcome == SNAPSHOT_DETACHED && !atomic_load(&snapshot->is_space_low))
        return true;
    return vsphere_come_to_rest(&rest, err) ||
           err_wrap(err, "end snapshot '%s' of machine '%s'", snapshot->name,
                    snapshot->machine);
}
