/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thin front of the operations tables: checks what every implementation may rely on,
 * then calls through. An implementation gets only whole-sector, bounded, non-NULL
 * requests and disk indexes that its snapshot was asked for.
 *
 * Must never: add behaviour of its own; that belongs to an implementation or the caller.
 */
#include "source/source.h"

bool source_discover(struct source *source, struct machine_def **ret_machines,
                     size_t *ret_count, struct err *err)
{
    return source->ops->discover(source, ret_machines, ret_count, err);
}

static bool find_by_discovery(struct source *source, const char *name,
                              struct machine_def *ret, struct err *err)
{
    AUTO(free) struct machine_def *found = NULL;
    size_t count = 0;
    if (!source->ops->discover(source, &found, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(found[i].name, name) == 0 || strcmp(found[i].key, name) == 0) {
            *ret = found[i];
            return true;
        }
    }
    return err_set(err, FAIL_GONE,
                   "there is no machine '%s'; 'discover' shows those "
                   "that there are",
                   name);
}

bool source_find(struct source *source, const char *name, struct machine_def *ret,
                 struct err *err)
{
    return source->ops->find ? source->ops->find(source, name, ret, err)
                             : find_by_discovery(source, name, ret, err);
}

bool source_inventory(struct source *source, json_t **ret, struct err *err)
{
    *ret = NULL;
    return !source->ops->inventory || source->ops->inventory(source, ret, err);
}

bool source_check(struct source *source, const struct machine_def *machine,
                  struct findings *findings, struct err *err)
{
    return source->ops->check(source, machine, findings, err);
}

bool source_snapshot_open(struct source *source, const struct snapshot_request *request,
                          const struct cancel *cancel, struct snapshot **ret,
                          struct err *err)
{
    const struct machine_def *machine = request->machine;
    if (machine->disk_count == 0 || machine->disk_count > MACHINE_MAX_DISKS)
        return err_set(err, FAIL_INPUT,
                       "machine '%s' has %zu disks, 1 to %d can be replicated",
                       machine->name, machine->disk_count, MACHINE_MAX_DISKS);
    for (size_t i = 0; i < machine->disk_count; i++) {
        const char *id = request->previous_change_ids[i];
        if (id && strlen(id) >= CHANGE_ID_MAX)
            return err_set(err, FAIL_INPUT, "change id of disk %zu is longer than %u", i,
                           CHANGE_ID_MAX - 1);
    }
    if (request->resume_handle && strlen(request->resume_handle) >= SNAPSHOT_MAX)
        return err_set(err, FAIL_INPUT, "snapshot handle is longer than %u",
                       SNAPSHOT_MAX - 1);
    if (!cancel_check(cancel, err))
        return false;
    return source->ops->snapshot_open(source, request, cancel, ret, err);
}

bool source_shutdown(struct source *source, const struct machine_def *machine,
                     uint64_t deadline_ms, const struct cancel *cancel, struct err *err)
{
    return source->ops->shutdown(source, machine, deadline_ms, cancel, err);
}

bool source_startup(struct source *source, const struct machine_def *machine,
                    const struct cancel *cancel, struct err *err)
{
    if (!source->ops->startup)
        return err_set(err, FAIL_CONFLICT,
                       "a source of kind '%s' cannot start machine '%s'; start it "
                       "yourself",
                       source->ops->kind, machine->name);
    return source->ops->startup(source, machine, cancel, err);
}

bool source_forget(struct source *source, const struct machine_def *machine,
                   struct err *err)
{
    return source->ops->forget(source, machine, err);
}

void source_close(struct source *source)
{
    if (source)
        source->ops->close(source);
}

bool snapshot_disk_info(struct snapshot *snapshot, size_t disk_index,
                        struct snapshot_disk_info *ret, struct err *err)
{
    return snapshot->ops->disk_info(snapshot, disk_index, ret, err);
}

bool snapshot_changes(struct snapshot *snapshot, size_t disk_index, struct extents *ret,
                      struct err *err)
{
    struct snapshot_disk_info info;
    if (!snapshot->ops->disk_info(snapshot, disk_index, &info, err))
        return false;
    if (info.knowledge != CHANGES_KNOWN)
        return err_set(err, FAIL_BUG, "changes of disk %zu are not known: %s", disk_index,
                       info.why);
    return snapshot->ops->changes(snapshot, disk_index, ret, err);
}

bool snapshot_allocated(struct snapshot *snapshot, size_t disk_index, struct extents *ret,
                        struct err *err)
{
    return snapshot->ops->allocated(snapshot, disk_index, ret, err);
}

const char *snapshot_handle(const struct snapshot *snapshot)
{
    return snapshot->ops->handle(snapshot);
}

bool snapshot_is_resumed(const struct snapshot *snapshot)
{
    return snapshot->ops->is_resumed(snapshot);
}

void snapshot_facts_get(struct snapshot *snapshot, struct snapshot_facts *ret)
{
    memset(ret, 0, sizeof *ret);
    if (snapshot->ops->facts)
        snapshot->ops->facts(snapshot, ret);
}

bool snapshot_end(struct snapshot *snapshot, enum snapshot_outcome outcome,
                  struct err *err)
{
    return snapshot->ops->snapshot_end(snapshot, outcome, err);
}

bool snapshot_reader_open(struct snapshot *snapshot, size_t disk_index,
                          struct reader **ret, struct err *err)
{
    return snapshot->ops->reader_open(snapshot, disk_index, ret, err);
}

bool reader_submit(struct reader *reader, struct read_request *request, struct err *err)
{
    if (!request->data || request->offset_bytes % SECTOR_BYTES ||
        request->length_bytes % SECTOR_BYTES || request->length_bytes == 0 ||
        request->length_bytes > READ_MAX_BYTES)
        return err_set(err, FAIL_BUG,
                       "read of %u bytes at %llu: not whole sectors, or not 512 bytes to "
                       "4 MiB",
                       request->length_bytes, (unsigned long long)request->offset_bytes);
    request->ok = false;
    request->next = NULL;
    err_clear(&request->err);
    return reader->ops->submit(reader, request, err);
}

struct read_request *reader_next(struct reader *reader, const struct cancel *cancel,
                                 struct err *err)
{
    if (!cancel_check(cancel, err))
        return NULL;
    return reader->ops->next(reader, cancel, err);
}

void reader_close(struct reader *reader)
{
    if (reader)
        reader->ops->reader_close(reader);
}
