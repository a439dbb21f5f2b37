/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients see of machines, running cycles, test machines and findings. Every field
 * is always there; null says that there is no such thing now. Numbers of a running cycle
 * are read while it counts: each is right, together they may be some bytes apart.
 */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vault/dispatch.h"
#include "vault/ops.h"

/* A new sample at most this often; each weighs as much as all the time before it. */
#define SAMPLE_MS ((uint64_t)500)

static void put_null(json_t *object, const char *key)
{
    json_put_take(object, key, json_null());
}

static void put_ms(json_t *object, const char *key, uint64_t ms)
{
    if (ms)
        json_put_u64(object, key, ms);
    else
        put_null(object, key);
}

static json_t *error_view(enum err_kind kind, const char *text)
{
    if (kind == FAIL_NONE)
        return json_null();
    json_t *view = json_object();
    json_put_text(view, "kind", err_kind_name(kind));
    json_put_text(view, "text", text);
    return view;
}

json_t *view_findings(const struct findings *findings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->items[i];
        json_t *view = json_object();
        json_put_text(view, "severity", finding_severity_name(f->severity));
        json_put_text(view, "code", f->code);
        json_put_text(view, "what", f->what);
        json_put_text(view, "why", f->why);
        json_put_text(view, "remedy", f->remedy);
        json_array_append_new(list, view);
    }
    json_t *all = json_object();
    json_put_take(all, "findings", list);
    return all;
}

json_t *view_vm(const char *test_name, const struct vm_info *info, uint64_t at_ms)
{
    json_t *view = json_object();
    json_put_text(view, "name", test_name);
    json_put_text(view, "vm", info->name);
    json_put_text(view, "how_booted", info->how_booted);
    json_put_u64(view, "boot_ms", info->boot_ms);
    json_put_text(view, "screen_png", info->screen_png);
    json_put_text(view, "serial_log", info->serial_log);
    json_put_text(view, "qmp_path", info->qmp_path);
    json_put_u64(view, "at_ms", at_ms);
    json_t *paths = json_array();
    for (size_t i = 0; i < info->disk_count; i++)
        json_array_append_new(paths, json_string(info->disk_paths[i]));
    json_put_take(view, "disk_paths", paths);
    return view;
}

json_t *view_verify(const struct machine_def *def, const struct verify_result *result)
{
    json_t *view = json_object();
    json_t *list = json_array();
    json_put_bool(view, "equal", result->different_bytes == 0);
    json_put_u64(view, "disk_bytes", result->disk_bytes);
    json_put_u64(view, "compared_bytes", result->compared_bytes);
    json_put_u64(view, "different_bytes", result->different_bytes);
    for (size_t i = 0; i < result->difference_count; i++) {
        const struct verify_difference *d = &result->differences[i];
        json_t *item = json_object();
        json_put_text(item, "disk", def->disks[d->disk_index].label);
        json_put_u64(item, "start_bytes", d->start_bytes);
        json_put_u64(item, "end_bytes", d->end_bytes);
        json_array_append_new(list, item);
    }
    json_put_take(view, "differences", list);
    return view;
}

/* ---- the running cycle ---- */

uint32_t watch_percent(const struct cycle_watch *watch)
{
    if (!watch->is_running)
        return 0;
    uint64_t planned = watch->progress.planned_bytes;
    uint64_t done = watch->progress.done_bytes;
    if (planned == 0)
        return 100;
    if (done >= planned)
        return watch->phase >= PHASE_COMPARE ? 100 : 99;
    return (uint32_t)((double)done * 100.0 / (double)planned);
}

static void sample_locked(struct cycle_watch *watch)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t past_ms = now_ms - watch->sampled_mono_ms;
    uint64_t done = watch->progress.done_bytes, stored = watch->progress.stored_bytes;
    if (past_ms < SAMPLE_MS)
        return;
    double seconds = (double)past_ms / 1000.0;
    double rate = (double)(done - MIN_OF(done, watch->sampled_done_bytes)) / seconds;
    double sent =
        (double)(stored - MIN_OF(stored, watch->sampled_stored_bytes)) / seconds;
    /* A long time without a look weighs more than a short one. */
    double weight = seconds / (seconds + 3.0);
    bool is_first = watch->rate_bps <= 0.0;
    watch->rate_bps =
        is_first ? rate : watch->rate_bps + weight * (rate - watch->rate_bps);
    watch->sent_bps =
        is_first ? sent : watch->sent_bps + weight * (sent - watch->sent_bps);
    watch->sampled_mono_ms = now_ms;
    watch->sampled_done_bytes = done;
    watch->sampled_stored_bytes = stored;
}

uint64_t watch_eta_ms_locked(struct cycle_watch *watch)
{
    uint64_t planned = watch->progress.planned_bytes, done = watch->progress.done_bytes;
    if (!watch->is_running)
        return UINT64_MAX;
    sample_locked(watch);
    if (watch->rate_bps < 1.0)
        return UINT64_MAX;
    return (uint64_t)((double)(planned - MIN_OF(planned, done)) * 1000.0 /
                      watch->rate_bps);
}

static json_t *cycle_view_locked(struct cycle_watch *watch)
{
    if (!watch->is_running)
        return json_null();
    const struct cycle_progress *p = &watch->progress;
    uint64_t planned = p->planned_bytes, done = p->done_bytes;
    json_t *view = json_object();
    uint64_t eta_ms = watch_eta_ms_locked(watch);
    json_put_u64(view, "number", watch->number);
    json_put_text(view, "kind", cycle_kind_name(watch->kind));
    json_put_text(view, "phase", cycle_phase_name(watch->phase));
    json_put_bool(view, "resumed", watch->is_resumed);
    json_put_u64(view, "started_ms", watch->started_ms);
    json_put_u64(view, "snapshot_ms", watch->snapshot_ms);
    json_put_u64(view, "planned_bytes", planned);
    json_put_u64(view, "done_bytes", done);
    json_put_u64(view, "read_bytes", p->read_bytes);
    json_put_u64(view, "zero_bytes", p->zero_bytes);
    json_put_u64(view, "same_bytes", p->same_bytes);
    json_put_u64(view, "content_bytes", p->content_bytes);
    json_put_u64(view, "stored_bytes", p->stored_bytes);
    json_put_u64(view, "applied_bytes",
                 watch->applied.written_bytes + watch->applied.zeroed_bytes);
    json_put_u64(view, "checked_bytes", p->checked_bytes);
    json_put_u64(view, "lies", p->lies);
    json_put_u64(view, "compared_bytes", watch->compared_bytes);
    json_put_u64(view, "compare_total_bytes", watch->compare_total_bytes);
    json_put_u64(view, "rate_bps", (uint64_t)watch->rate_bps);
    json_put_u64(view, "sent_bps", (uint64_t)watch->sent_bps);
    if (eta_ms == UINT64_MAX)
        put_null(view, "eta_ms");
    else
        json_put_u64(view, "eta_ms", eta_ms);
    return view;
}

/* ---- a machine ---- */

static json_t *disks_view_locked(const struct machine *machine)
{
    const struct machine_def *def = machine->def;
    json_t *list = json_array();
    for (size_t i = 0; i < def->disk_count; i++) {
        json_t *disk = json_object();
        json_put_text(disk, "label", def->disks[i].label);
        json_put_text(disk, "key", def->disks[i].key);
        json_put_u64(disk, "bytes", def->disks[i].disk_bytes);
        json_put_text(disk, "datastore", def->disks[i].datastore);
        const char *reading =
            json_string_value(json_array_get(machine->watch.reading, i));
        json_put_text(disk, "reading", reading ? reading : "");
        json_array_append_new(list, disk);
    }
    return list;
}

static json_t *allowed_view(const struct machine_facts *facts)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < OP_COUNT; i++) {
        struct err ignored = ERR_INIT;
        if (machine_allows(facts, (enum vault_operation)i, &ignored))
            json_array_append_new(list, json_string(operation_name(i)));
    }
    return list;
}

static json_t *refused_view(const struct machine_facts *facts)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < OP_COUNT; i++) {
        struct err why = ERR_INIT;
        if (machine_allows(facts, (enum vault_operation)i, &why))
            continue;
        json_t *refused = json_object();
        json_put_text(refused, "operation", operation_name(i));
        json_put_text(refused, "text", why.text);
        json_array_append_new(list, refused);
    }
    return list;
}

static struct job *job_of_machine_locked(struct vault *vault,
                                         const struct machine *machine)
{
    struct job *first = NULL;
    for (struct job *j = vault->jobs; j; j = j->next) {
        if (j->machine != machine)
            continue;
        if (j->is_running)
            return j;
        if (!first)
            first = j;
    }
    return first;
}

static json_t *job_brief(const struct job *job)
{
    if (!job)
        return json_null();
    json_t *view = json_object();
    json_put_u64(view, "id", job->id);
    json_put_text(view, "operation", operation_name(job->operation));
    json_put_text(view, "step", job->step);
    return view;
}

static void put_states(json_t *view, const struct machine_facts *facts)
{
    char status[STATE_STATUS_BYTES];
    json_put_text(view, "state", machine_status_name(facts));
    json_put_text(view, "status", machine_status(facts, status));
    json_put_text(view, "migration_state", migration_status_name(facts));
    json_put_text(view, "migration_status", migration_status(facts, status));
}

static json_t *recovery_view(const struct machine *machine)
{
    if (!machine->recovery_cycle)
        return json_null();
    json_t *view = json_object();
    json_put_u64(view, "cycle", machine->recovery_cycle);
    json_put_u64(view, "at_ms", machine->recovery_ms);
    return view;
}

static json_t *machine_view_locked(struct vault *vault, struct machine *machine)
{
    char id[ID_TEXT_BYTES];
    struct machine_facts facts = machine_facts_locked(machine);
    const struct machine_def *def = machine->def;
    json_t *view = json_object();
    json_put_text(view, "id", id_text(&machine->id, id));
    json_put_text(view, "name", machine->name);
    json_put_text(view, "source", machine->source);
    json_put_text(view, "target", machine->target);
    json_put_text(view, "gateway", machine->gateway);
    json_put_take(view, "applier", ends_applier_view_locked(vault, machine->target));
    put_states(view, &facts);
    json_put_take(view, "last_error",
                  error_view(machine->last_error.kind, machine->last_error.text));
    json_put_u64(view, "cpus", def->cpus);
    json_put_u64(view, "memory_bytes", def->memory_bytes);
    json_put_text(view, "firmware", def->firmware == FIRMWARE_UEFI ? "uefi" : "bios");
    json_put_text(view, "host", def->host);
    json_put_take(view, "disks", disks_view_locked(machine));
    json_put_take(view, "recovery_point", recovery_view(machine));
    bool is_scheduled = facts.state == STATE_DELTA || facts.state == STATE_INITIAL ||
                        facts.state == STATE_RESYNC || facts.state == STATE_RESUMING;
    put_ms(view, "next_cycle_at_ms",
           is_scheduled && !machine->watch.is_running ? machine->next_cycle_ms : 0);
    json_put_take(view, "waiting",
                  dispatch_waiting_view_locked(vault, machine, clock_wall_ms()));
    json_put_take(view, "allowed_operations", allowed_view(&facts));
    json_put_take(view, "job", job_brief(job_of_machine_locked(vault, machine)));
    json_put_take(view, "cycle", cycle_view_locked(&machine->watch));
    json_put_bool(view, "auto_repair", machine->auto_repair);
    put_ms(view, "migration_job", machine->migration_job);
    json_put_take(view, "tests", json_deep_copy(machine->tests));
    if (machine->vm)
        json_put_take(view, "vm", json_deep_copy(machine->vm));
    else
        put_null(view, "vm");
    return view;
}

static json_t *cycle_row_view(const struct catalog_cycle *row)
{
    json_t *view = json_object();
    json_put_u64(view, "number", row->cycle);
    json_put_text(view, "kind", row->kind);
    json_put_text(view, "state", row->state);
    json_put_u64(view, "started_ms", row->started_ms);
    put_ms(view, "ended_ms", row->ended_ms);
    json_put_u64(view, "snapshot_ms", row->snapshot_ms);
    json_put_u64(view, "planned_bytes", row->planned_bytes);
    json_put_u64(view, "read_bytes", row->read_bytes);
    json_put_u64(view, "zero_bytes", row->zero_bytes);
    json_put_u64(view, "same_bytes", row->same_bytes);
    json_put_u64(view, "content_bytes", row->sent_bytes);
    json_put_u64(view, "stored_bytes", row->stored_bytes);
    json_put_u64(view, "applied_bytes", row->applied_bytes);
    if (*row->error_text)
        json_put_text(view, "error", row->error_text);
    else
        put_null(view, "error");
    return view;
}

static bool add_last_cycles(struct vault *vault, json_t *view, struct err *err)
{
    AUTO(catalog_cycle_list_release) struct catalog_cycle_list list = {0};
    struct id id;
    if (!id_parse(json_string_value(json_object_get(view, "id")), &id, err) ||
        !catalog_cycle_list(vault->catalog, &id, 10, &list, err))
        return false;
    json_t *cycles = json_array();
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(cycles, cycle_row_view(&list.items[i]));
    json_put_take(view, "last_cycles", cycles);
    return true;
}

json_t *vault_list(struct vault *vault, struct err *err)
{
    json_t *list = json_array();
    {
        LOCK_GUARD(&vault->lock);
        dispatch_expect_locked(vault, clock_wall_ms());
        for (struct machine *m = vault->machines; m; m = m->next) {
            if (!m->is_gone)
                json_array_append_new(list, machine_view_locked(vault, m));
        }
    }
    AUTO(json_free) json_t *all = json_object();
    json_put_take(all, "machines", list);
    size_t i;
    json_t *view;
    json_array_foreach(list, i, view)
    {
        if (!add_last_cycles(vault, view, err))
            return NULL;
    }
    return TAKE(all);
}

json_t *vault_show(struct vault *vault, const char *name, struct err *err)
{
    AUTO(json_free) json_t *view = NULL;
    {
        LOCK_GUARD(&vault->lock);
        struct machine *machine = machine_find_locked(vault, name);
        dispatch_expect_locked(vault, clock_wall_ms());
        if (machine) {
            struct machine_facts facts = machine_facts_locked(machine);
            view = machine_view_locked(vault, machine);
            json_put_take(view, "refused_operations", refused_view(&facts));
        }
    }
    if (!view) {
        (void)err_set(err, FAIL_GONE,
                      "no machine '%s' is replicating; 'list' shows those that are",
                      name);
        return NULL;
    }
    return add_last_cycles(vault, view, err) ? TAKE(view) : NULL;
}
