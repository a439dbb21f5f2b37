/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Change tracking in memory. At rest there is one record per disk, named by the change
 * id, that collects writes; a snapshot freezes a copy of the disks and starts a new
 * record; FAILED merges the new record into the old one; APPLIED drops the old one. What
 * a crash leaves (a snapshot without an end) is settled at the next open, from the change
 * id that the caller says was applied last.
 */
#include "mem_source.h"

#include "base/text.h"

#include <inttypes.h>

#define MAX_DISKS 8

struct track {
    char id[CHANGE_ID_MAX]; /* "" unused */
    struct extents changed;
};

struct mem_disk {
    uint8_t *data;
    uint64_t bytes;
    struct track tracks[2]; /* old, new; only the newest of them and the older collect */
    /* The frozen copy. */
    uint8_t *frozen;
    uint64_t frozen_bytes;
};

struct mem_vm {
    size_t disk_count;
    struct mem_disk disks[MAX_DISKS];
    uint64_t granularity_bytes;
    _Atomic bool fail_reads; /* set while workers read */
    bool lies;
    char snapshot[SNAPSHOT_MAX]; /* "" none */
    uint64_t instance;
};

struct mem_source {
    struct source base;
    struct mem_vm *vm;
};

struct mem_snapshot {
    struct snapshot base;
    struct mem_vm *vm;
    bool is_resumed;
    char previous[MAX_DISKS][CHANGE_ID_MAX];
};

struct mem_reader {
    struct reader base;
    struct mem_snapshot *snapshot;
    size_t disk;
    struct read_request *done;
};

struct mem_vm *mem_vm_new(size_t disk_count, uint64_t disk_bytes)
{
    struct mem_vm *vm = xcalloc(1, sizeof *vm);
    vm->disk_count = disk_count;
    vm->granularity_bytes = 4096;
    for (size_t i = 0; i < disk_count; i++) {
        vm->disks[i].bytes = disk_bytes;
        vm->disks[i].data = xcalloc(1, disk_bytes);
    }
    return vm;
}

static void drop_frozen(struct mem_vm *vm)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        free(vm->disks[i].frozen);
        vm->disks[i].frozen = NULL;
    }
    vm->snapshot[0] = 0;
}

void mem_vm_free(struct mem_vm *vm)
{
    drop_frozen(vm);
    for (size_t i = 0; i < vm->disk_count; i++) {
        free(vm->disks[i].data);
        extents_release(&vm->disks[i].tracks[0].changed);
        extents_release(&vm->disks[i].tracks[1].changed);
    }
    free(vm);
}

void mem_vm_write(struct mem_vm *vm, size_t disk, uint64_t offset_bytes, const void *data,
                  size_t data_bytes)
{
    struct mem_disk *d = &vm->disks[disk];
    memcpy(d->data + offset_bytes, data, data_bytes);
    struct track *newest = d->tracks[1].id[0] ? &d->tracks[1] : &d->tracks[0];
    if (newest->id[0] && !vm->lies)
        extents_add(
            &newest->changed, round_down(offset_bytes, vm->granularity_bytes),
            MIN_OF(round_up(offset_bytes + data_bytes, vm->granularity_bytes), d->bytes));
}

const uint8_t *mem_vm_disk(const struct mem_vm *vm, size_t disk)
{
    return vm->disks[disk].data;
}

static void clear_track(struct track *track)
{
    track->id[0] = 0;
    extents_clear(&track->changed);
}

void mem_vm_lose_tracking(struct mem_vm *vm)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        clear_track(&vm->disks[i].tracks[0]);
        clear_track(&vm->disks[i].tracks[1]);
    }
}

void mem_vm_lose_snapshot(struct mem_vm *vm)
{
    drop_frozen(vm);
}

void mem_vm_resize(struct mem_vm *vm, size_t disk, uint64_t disk_bytes)
{
    struct mem_disk *d = &vm->disks[disk];
    d->data = xrealloc(d->data, disk_bytes, 1);
    if (disk_bytes > d->bytes)
        memset(d->data + d->bytes, 0, disk_bytes - d->bytes);
    d->bytes = disk_bytes;
}

void mem_vm_set_granularity(struct mem_vm *vm, uint64_t bytes)
{
    vm->granularity_bytes = bytes;
}

void mem_vm_lie(struct mem_vm *vm, bool lies)
{
    vm->lies = lies;
}

void mem_vm_fail_reads(struct mem_vm *vm, bool fail)
{
    vm->fail_reads = fail;
}

void mem_vm_define(const struct mem_vm *vm, const char *name, struct machine_def *ret)
{
    *ret = (struct machine_def){.cpus = 1, .memory_bytes = 64 * MIB, .is_running = true};
    text_copy(ret->name, sizeof ret->name, name);
    text_copy(ret->key, sizeof ret->key, name);
    memcpy(ret->id.bytes, name, MIN_OF(strlen(name), (size_t)ID_BYTES));
    ret->disk_count = vm->disk_count;
    for (size_t i = 0; i < vm->disk_count; i++) {
        struct machine_disk *disk = &ret->disks[i];
        disk->id = ret->id;
        disk->id.bytes[ID_BYTES - 1] = (uint8_t)(i + 1);
        disk->disk_bytes = vm->disks[i].bytes;
        (void)snprintf(disk->key, sizeof disk->key, "disk%zu", i);
        text_copy(disk->label, sizeof disk->label, disk->key);
    }
}

/* Makes tracks[0] the record since `applied`, nothing in tracks[1]. */
static void settle_disk(struct mem_disk *d, const char *applied)
{
    if (d->tracks[1].id[0] && strcmp(d->tracks[1].id, applied) == 0) {
        extents_release(&d->tracks[0].changed);
        d->tracks[0] = d->tracks[1];
        d->tracks[1] = (struct track){0};
    } else if (d->tracks[1].id[0]) {
        struct extents both = {0};
        extents_union(&d->tracks[0].changed, &d->tracks[1].changed, &both);
        extents_release(&d->tracks[0].changed);
        d->tracks[0].changed = both;
        clear_track(&d->tracks[1]);
    }
}

static bool mem_open(struct source *source, const struct snapshot_request *request,
                     const struct cancel *cancel, struct snapshot **ret, struct err *err)
{
    struct mem_vm *vm = ((struct mem_source *)source)->vm;
    struct mem_snapshot *s = xcalloc(1, sizeof *s);
    (void)cancel;
    (void)err;
    s->base.ops = source->ops;
    s->vm = vm;
    for (size_t i = 0; i < vm->disk_count; i++)
        text_copy(s->previous[i], CHANGE_ID_MAX, request->previous_change_ids[i]);
    if (request->resume_handle && vm->snapshot[0] &&
        strcmp(request->resume_handle, vm->snapshot) == 0) {
        s->is_resumed = true;
        *ret = &s->base;
        return true;
    }
    drop_frozen(vm);
    (void)snprintf(vm->snapshot, sizeof vm->snapshot, "mem-%" PRIu64 "-%" PRIu64,
                   ++vm->instance, request->cycle);
    for (size_t i = 0; i < vm->disk_count; i++) {
        struct mem_disk *d = &vm->disks[i];
        settle_disk(d, s->previous[i]);
        struct track *fresh =
            d->tracks[0].id[0] && strcmp(d->tracks[0].id, s->previous[i]) == 0
                ? &d->tracks[1]
                : &d->tracks[0];
        clear_track(fresh);
        (void)snprintf(fresh->id, sizeof fresh->id, "c%" PRIu64 "-%zu", vm->instance, i);
        d->frozen = xcalloc(1, d->bytes);
        memcpy(d->frozen, d->data, d->bytes);
        d->frozen_bytes = d->bytes;
    }
    *ret = &s->base;
    return true;
}

/* The record of changes since the previous id, when there is one. */
static const struct track *since_previous(const struct mem_snapshot *s, size_t disk)
{
    const struct mem_disk *d = &s->vm->disks[disk];
    bool is_known = s->previous[disk][0] && d->tracks[1].id[0] &&
                    strcmp(d->tracks[0].id, s->previous[disk]) == 0;
    return is_known ? &d->tracks[0] : NULL;
}

static bool mem_info(struct snapshot *snapshot, size_t disk,
                     struct snapshot_disk_info *ret, struct err *err)
{
    struct mem_snapshot *s = (struct mem_snapshot *)snapshot;
    const struct mem_disk *d = &s->vm->disks[disk];
    (void)err;
    *ret = (struct snapshot_disk_info){.disk_bytes = d->frozen_bytes,
                                       .knowledge = CHANGES_LOST};
    text_copy(ret->change_id, sizeof ret->change_id,
              d->tracks[1].id[0] ? d->tracks[1].id : d->tracks[0].id);
    if (since_previous(s, disk))
        ret->knowledge = CHANGES_KNOWN;
    else
        text_copy(ret->why, sizeof ret->why, "no record since that id");
    return true;
}

static bool mem_changes(struct snapshot *snapshot, size_t disk, struct extents *ret,
                        struct err *err)
{
    const struct track *track = since_previous((struct mem_snapshot *)snapshot, disk);
    if (!track)
        return err_set(err, FAIL_BUG, "changes are not known");
    extents_copy(ret, &track->changed);
    extents_clip(ret, ((struct mem_snapshot *)snapshot)->vm->disks[disk].frozen_bytes);
    return true;
}

static bool mem_allocated(struct snapshot *snapshot, size_t disk, struct extents *ret,
                          struct err *err)
{
    struct mem_snapshot *s = (struct mem_snapshot *)snapshot;
    const struct mem_disk *d = &s->vm->disks[disk];
    static const uint8_t ZERO[4096];
    (void)err;
    extents_clear(ret);
    for (uint64_t at = 0; at < d->frozen_bytes; at += 4096) {
        uint64_t part = MIN_OF(d->frozen_bytes - at, 4096u);
        if (memcmp(d->frozen + at, ZERO, part) != 0)
            extents_add(ret, at, at + part);
    }
    return true;
}

static const char *mem_handle(const struct snapshot *snapshot)
{
    return ((const struct mem_snapshot *)snapshot)->vm->snapshot;
}

static bool mem_is_resumed(const struct snapshot *snapshot)
{
    return ((const struct mem_snapshot *)snapshot)->is_resumed;
}

static bool mem_end(struct snapshot *snapshot, enum snapshot_outcome outcome,
                    struct err *err)
{
    struct mem_snapshot *s = (struct mem_snapshot *)snapshot;
    (void)err;
    for (size_t i = 0; i < s->vm->disk_count && outcome != SNAPSHOT_DETACHED; i++) {
        struct mem_disk *d = &s->vm->disks[i];
        settle_disk(d, outcome == SNAPSHOT_APPLIED && d->tracks[1].id[0]
                           ? d->tracks[1].id
                           : s->previous[i]);
    }
    if (outcome != SNAPSHOT_DETACHED)
        drop_frozen(s->vm);
    free(s);
    return true;
}

static bool mem_reader_open(struct snapshot *snapshot, size_t disk, struct reader **ret,
                            struct err *err)
{
    struct mem_reader *r = xcalloc(1, sizeof *r);
    (void)err;
    r->base.ops = snapshot->ops;
    r->snapshot = (struct mem_snapshot *)snapshot;
    r->disk = disk;
    *ret = &r->base;
    return true;
}

static bool mem_submit(struct reader *reader, struct read_request *request,
                       struct err *err)
{
    struct mem_reader *r = (struct mem_reader *)reader;
    const struct mem_disk *d = &r->snapshot->vm->disks[r->disk];
    (void)err;
    request->ok = !r->snapshot->vm->fail_reads && d->frozen &&
                  request->offset_bytes + request->length_bytes <= d->frozen_bytes;
    if (request->ok)
        memcpy(request->data, d->frozen + request->offset_bytes, request->length_bytes);
    else
        (void)err_set(&request->err, FAIL_IO, "read of the test source failed");
    request->next = r->done;
    r->done = request;
    return true;
}

static struct read_request *mem_next(struct reader *reader, const struct cancel *cancel,
                                     struct err *err)
{
    struct mem_reader *r = (struct mem_reader *)reader;
    if (!cancel_check(cancel, err))
        return NULL;
    struct read_request *request = r->done;
    if (request)
        r->done = request->next;
    else
        (void)err_set(err, FAIL_BUG, "no read in flight");
    return request;
}

static void mem_reader_close(struct reader *reader)
{
    free(reader);
}

static void mem_close(struct source *source)
{
    free(source);
}

static bool mem_forget(struct source *source, const struct machine_def *machine,
                       struct err *err)
{
    (void)machine;
    (void)err;
    mem_vm_lose_tracking(((struct mem_source *)source)->vm);
    return true;
}

static const struct source_ops MEM_OPS = {.kind = "memory",
                                          .snapshot_open = mem_open,
                                          .forget = mem_forget,
                                          .close = mem_close,
                                          .disk_info = mem_info,
                                          .changes = mem_changes,
                                          .allocated = mem_allocated,
                                          .handle = mem_handle,
                                          .is_resumed = mem_is_resumed,
                                          .snapshot_end = mem_end,
                                          .reader_open = mem_reader_open,
                                          .submit = mem_submit,
                                          .next = mem_next,
                                          .reader_close = mem_reader_close};

struct source *mem_source_new(struct mem_vm *vm)
{
    struct mem_source *source = xcalloc(1, sizeof *source);
    source->base.ops = &MEM_OPS;
    source->vm = vm;
    return &source->base;
}
