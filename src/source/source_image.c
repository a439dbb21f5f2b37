/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain disk images as one machine: raw or qcow2 files, block devices. There is no change
 * tracking, so cycles compare by content, unless the user hands over a list of changes
 * for the first disk (from a storage system's own tracking, or from a benchmark).
 *
 * There is no snapshot either: the images must stand still, and an image that a QEMU has
 * open for writing is refused. A handle therefore carries a fingerprint of the files'
 * times and sizes; only when that is the same is a resumed snapshot the same point in
 * time. Block devices have no such fingerprint and are never resumed.
 */
#include "source/image_disk.h"
#include "source/nbd_reader.h"

#include "base/file.h"
#include "base/text.h"

#define CHANGES_MAX_BYTES (1 * GIB)
#define MEMORY_DEFAULT    (256 * MIB)
#define CHANGE_ID_PREFIX  "image:"

struct image_source {
    struct source base;
    char *name;
    char **paths;
    size_t path_count;
    char *changes_path; /* NULL: none */
    uint32_t cpus;
    uint64_t memory_bytes;
};

struct image_snapshot {
    struct snapshot base;
    struct image_source *source; /* borrowed */
    char handle[SNAPSHOT_MAX];
    char change_id[CHANGE_ID_MAX];
    bool is_resumed;
    bool has_previous; /* of disk 0 */
    size_t disk_count;
    struct image_disk *disks[MACHINE_MAX_DISKS];
};

static const struct source_ops image_ops, image_nbd_ops;

/* ---- machine ---- */

static bool image_discover(struct source *base, struct machine_def **ret_machines,
                           size_t *ret_count, struct err *err)
{
    const struct image_source *source = (const struct image_source *)base;
    AUTO(free) struct machine_def *machine = xcalloc(1, sizeof *machine);
    text_copy(machine->name, sizeof machine->name, source->name);
    (void)snprintf(machine->key, sizeof machine->key, "image:%s", source->name);
    machine->cpus = source->cpus ? source->cpus : 1;
    machine->memory_bytes = source->memory_bytes ? source->memory_bytes : MEMORY_DEFAULT;
    machine->firmware = FIRMWARE_BIOS;
    machine->disk_count = source->path_count;
    for (size_t i = 0; i < source->path_count; i++) {
        struct machine_disk *disk = &machine->disks[i];
        struct image_facts facts;
        if (!image_look(source->paths[i], &facts, err))
            return false;
        const char *slash = strrchr(source->paths[i], '/');
        text_copy(disk->key, sizeof disk->key, source->paths[i]);
        text_copy(disk->label, sizeof disk->label, slash ? slash + 1 : source->paths[i]);
        disk->disk_bytes = facts.disk_bytes;
    }
    *ret_machines = TAKE(machine);
    *ret_count = 1;
    return true;
}

static void check_image(const char *path, struct findings *findings)
{
    struct image_facts facts;
    struct err failed = ERR_INIT;
    struct finding *f;
    if (!image_look(path, &facts, &failed) || !image_check_size(path, &facts, &failed)) {
        f = findings_add(findings, FINDING_BLOCKER, "image.unreadable");
        (void)snprintf(f->why, sizeof f->why, "%.310s", failed.text);
        (void)snprintf(f->remedy, sizeof f->remedy,
                       "give a readable disk image of whole sectors");
    } else if (facts.is_in_use) {
        f = findings_add(findings, FINDING_BLOCKER, "image.in_use");
        (void)snprintf(f->why, sizeof f->why,
                       "a running QEMU writes to it: what is read would be no point in "
                       "time");
        (void)snprintf(f->remedy, sizeof f->remedy,
                       "shut that machine down, or add it as a QEMU source");
    } else {
        char size[TEXT_HUMAN_BYTES];
        f = findings_add(findings, FINDING_OK, "image");
        (void)snprintf(f->why, sizeof f->why, "%s, %s", facts.is_qcow2 ? "qcow2" : "raw",
                       text_bytes(facts.disk_bytes, size));
    }
    (void)snprintf(f->what, sizeof f->what, "image '%.140s'", path);
}

static bool image_check(struct source *base, const struct machine_def *machine,
                        struct findings *findings, struct err *err)
{
    const struct image_source *source = (const struct image_source *)base;
    (void)machine; /* the images are the machine */
    (void)err;     /* whatever is wrong is a finding */
    for (size_t i = 0; i < source->path_count; i++)
        check_image(source->paths[i], findings);
    if (source->changes_path && !file_exists(source->changes_path)) {
        struct finding *f =
            findings_add(findings, FINDING_WARNING, "image.no_change_list");
        (void)snprintf(f->what, sizeof f->what, "change list '%.130s'",
                       source->changes_path);
        (void)snprintf(f->why, sizeof f->why, "it is not there");
        (void)snprintf(f->remedy, sizeof f->remedy,
                       "write it before a delta cycle; without it the cycle fails");
    }
    return true;
}

static bool image_shutdown(struct source *source, const struct machine_def *machine,
                           uint64_t deadline_ms, const struct cancel *cancel,
                           struct err *err)
{
    (void)source; /* an image does not run */
    (void)machine;
    (void)deadline_ms;
    (void)cancel;
    (void)err;
    return true;
}

static bool image_forget(struct source *source, const struct machine_def *machine,
                         struct err *err)
{
    (void)source; /* nothing of ours is left in an image */
    (void)machine;
    (void)err;
    return true;
}

static void image_close(struct source *base)
{
    struct image_source *source = (struct image_source *)base;
    for (size_t i = 0; i < source->path_count; i++)
        free(source->paths[i]);
    free(source->paths);
    free(source->name);
    free(source->changes_path);
    free(source);
}

/* ---- snapshot ---- */

static void snapshot_free(struct image_snapshot *snapshot)
{
    if (!snapshot)
        return;
    for (size_t i = 0; i < snapshot->disk_count; i++)
        image_disk_close(snapshot->disks[i]);
    free(snapshot);
}
AUTO_CLEANUP(struct image_snapshot, snapshot_free);

static bool open_disks(struct image_snapshot *snapshot, const struct machine_def *machine,
                       const struct cancel *cancel, struct err *err)
{
    const struct image_source *source = snapshot->source;
    for (size_t i = 0; i < machine->disk_count; i++) {
        const char *path = NULL;
        for (size_t j = 0; j < source->path_count; j++)
            if (strcmp(source->paths[j], machine->disks[i].key) == 0)
                path = source->paths[j];
        if (!path)
            return err_set(
                err, FAIL_GONE,
                "image '%s' is not part of this source any more; add it to the "
                "source again, or stop and replicate without it",
                machine->disks[i].key);
        if (!cancel_check(cancel, err) ||
            !image_disk_open(path, &snapshot->disks[i], err))
            return false;
        snapshot->disk_count++;
    }
    return true;
}

static void make_handle(struct image_snapshot *snapshot, uint64_t cycle)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        uint64_t one = image_disk_facts(snapshot->disks[i])->fingerprint;
        if (one == 0) { /* cannot be told: a handle that never comes again */
            struct id id = id_random();
            memcpy(&one, id.bytes, sizeof one);
        }
        hash = hash * 1099511628211u + one;
    }
    (void)snprintf(snapshot->handle, sizeof snapshot->handle, "image-%llu-%016llx",
                   (unsigned long long)cycle, (unsigned long long)hash);
    if (snapshot->source->changes_path)
        (void)snprintf(snapshot->change_id, sizeof snapshot->change_id,
                       CHANGE_ID_PREFIX "%llu", (unsigned long long)cycle);
}

static bool image_snapshot_open(struct source *base,
                                const struct snapshot_request *request,
                                const struct cancel *cancel, struct snapshot **ret,
                                struct err *err)
{
    AUTO(snapshot_free) struct image_snapshot *snapshot = xcalloc(1, sizeof *snapshot);
    const char *previous = request->previous_change_ids[0];
    snapshot->base.ops = base->ops;
    snapshot->source = (struct image_source *)base;
    if (!open_disks(snapshot, request->machine, cancel, err))
        return err_wrap(err, "machine '%s'", request->machine->name);
    make_handle(snapshot, request->resume_cycle);
    snapshot->is_resumed =
        request->resume_handle && strcmp(request->resume_handle, snapshot->handle) == 0;
    if (!snapshot->is_resumed)
        make_handle(snapshot, request->cycle);
    snapshot->has_previous = previous && text_starts_with(previous, CHANGE_ID_PREFIX);
    *ret = &TAKE(snapshot)->base;
    return true;
}

static bool check_index(const struct image_snapshot *snapshot, size_t disk_index,
                        struct err *err)
{
    return disk_index < snapshot->disk_count ||
           err_set(err, FAIL_BUG, "no disk %zu in the snapshot", disk_index);
}

static bool image_disk_info(struct snapshot *base, size_t disk_index,
                            struct snapshot_disk_info *ret, struct err *err)
{
    const struct image_snapshot *snapshot = (const struct image_snapshot *)base;
    if (!check_index(snapshot, disk_index, err))
        return false;
    bool is_listed = disk_index == 0 && snapshot->source->changes_path != NULL;
    *ret = (struct snapshot_disk_info){
        .disk_bytes = image_disk_facts(snapshot->disks[disk_index])->disk_bytes,
        .knowledge = is_listed && snapshot->has_previous ? CHANGES_KNOWN : CHANGES_NONE};
    if (is_listed)
        text_copy(ret->change_id, sizeof ret->change_id, snapshot->change_id);
    if (ret->knowledge == CHANGES_NONE)
        text_copy(ret->why, sizeof ret->why,
                  is_listed ? "no earlier cycle" : "an image has no change tracking");
    return true;
}

static bool parse_change(char *line, struct extent *ret, struct err *err)
{
    uint64_t length_bytes;
    char *blank = strchr(line, ' ');
    if (!blank)
        return err_set(err, FAIL_INPUT, "'%.40s' is not 'offset length'", line);
    *blank = '\0';
    return text_parse_u64(line, 0, INT64_MAX, &ret->start_bytes, err) &&
           text_parse_u64(blank + 1, 0, INT64_MAX, &length_bytes, err) &&
           ((ret->end_bytes = ret->start_bytes + length_bytes), true);
}

/* The list is the user's: each line is checked, ranges beyond the end are refused. */
static bool read_changes(const char *path, uint64_t disk_bytes, struct extents *ret,
                         struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO(free) struct extent *items = NULL;
    size_t count = 0, cap = 0, line_number = 0;
    char *rest = NULL;
    if (!file_read(path, CHANGES_MAX_BYTES, &text, err))
        return false;
    buf_append(&text, "", 1); /* a file without bytes has a text then, too */
    for (char *line = strtok_r((char *)text.data, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        line_number++;
        if (count == cap) {
            cap = cap ? cap * 2 : 1024;
            items = xrealloc(items, cap, sizeof *items);
        }
        if (!parse_change(line, &items[count], err))
            return err_wrap(err, "'%s' line %zu", path, line_number);
        if (items[count].end_bytes > disk_bytes)
            return err_set(err, FAIL_INPUT,
                           "'%s' line %zu: ends at %llu, the disk has %llu bytes", path,
                           line_number, (unsigned long long)items[count].end_bytes,
                           (unsigned long long)disk_bytes);
        count++;
    }
    extents_clear(ret);
    extents_add_unsorted(ret, items, count);
    extents_coarsen(ret, SECTOR_BYTES, disk_bytes);
    return true;
}

static bool image_changes(struct snapshot *base, size_t disk_index, struct extents *ret,
                          struct err *err)
{
    const struct image_snapshot *snapshot = (const struct image_snapshot *)base;
    if (!check_index(snapshot, disk_index, err))
        return false;
    return read_changes(snapshot->source->changes_path,
                        image_disk_facts(snapshot->disks[disk_index])->disk_bytes, ret,
                        err) ||
           err_wrap(err, "change list");
}

static bool image_allocated(struct snapshot *base, size_t disk_index, struct extents *ret,
                            struct err *err)
{
    const struct image_snapshot *snapshot = (const struct image_snapshot *)base;
    return check_index(snapshot, disk_index, err) &&
           image_disk_allocated(snapshot->disks[disk_index], ret, err);
}

static const char *image_handle(const struct snapshot *base)
{
    return ((const struct image_snapshot *)base)->handle;
}

static bool image_is_resumed(const struct snapshot *base)
{
    return ((const struct image_snapshot *)base)->is_resumed;
}

static bool image_snapshot_end(struct snapshot *base, enum snapshot_outcome outcome,
                               struct err *err)
{
    (void)outcome; /* nothing is kept anywhere */
    (void)err;
    snapshot_free((struct image_snapshot *)base);
    return true;
}

static bool image_reader_open(struct snapshot *base, size_t disk_index,
                              struct reader **ret, struct err *err)
{
    const struct image_snapshot *snapshot = (const struct image_snapshot *)base;
    return check_index(snapshot, disk_index, err) &&
           image_disk_reader_open(snapshot->disks[disk_index], &image_ops, &image_nbd_ops,
                                  ret, err);
}

#define IMAGE_OPS(submit_, next_, close_)                                                \
    {                                                                                    \
        .kind = "image", .discover = image_discover, .check = image_check,               \
        .snapshot_open = image_snapshot_open, .shutdown = image_shutdown,                \
        .forget = image_forget, .close = image_close, .disk_info = image_disk_info,      \
        .changes = image_changes, .allocated = image_allocated, .handle = image_handle,  \
        .is_resumed = image_is_resumed, .snapshot_end = image_snapshot_end,              \
        .reader_open = image_reader_open, .submit = submit_, .next = next_,              \
        .reader_close = close_                                                           \
    }

static const struct source_ops image_ops =
    IMAGE_OPS(image_raw_submit, image_raw_next, image_raw_close);
/* The same source, for readers of its qcow2 disks. */
static const struct source_ops image_nbd_ops =
    IMAGE_OPS(nbd_reader_submit, nbd_reader_next, nbd_reader_close);

/* ---- open ---- */

static bool check_options(const struct source_image_options *options, struct err *err)
{
    struct machine_disk *disk = NULL;
    if (options->path_count == 0 || options->path_count > MACHINE_MAX_DISKS)
        return err_set(err, FAIL_INPUT, "an image source takes 1 to %d images, not %zu",
                       MACHINE_MAX_DISKS, options->path_count);
    for (size_t i = 0; i < options->path_count; i++) {
        const char *path = options->paths[i];
        if (strlen(path) >= sizeof disk->key)
            return err_set(err, FAIL_INPUT,
                           "image path '%s' is longer than %zu bytes; use a link", path,
                           sizeof disk->key - 1);
        for (size_t j = 0; j < i; j++)
            if (strcmp(path, options->paths[j]) == 0)
                return err_set(err, FAIL_INPUT, "image '%s' is given twice", path);
    }
    return text_check_name("machine name", options->name ? options->name : "", err);
}

bool source_image_open(const struct source_image_options *options, struct source **ret,
                       struct err *err)
{
    if (!check_options(options, err))
        return false;
    struct image_source *source = xcalloc(1, sizeof *source);
    source->base.ops = &image_ops;
    source->name = xstrdup(options->name);
    source->paths = xcalloc(options->path_count, sizeof *source->paths);
    source->path_count = options->path_count;
    for (size_t i = 0; i < options->path_count; i++)
        source->paths[i] = xstrdup(options->paths[i]);
    source->changes_path = options->changes_path ? xstrdup(options->changes_path) : NULL;
    source->cpus = options->cpus;
    source->memory_bytes = options->memory_bytes;
    *ret = &source->base;
    return true;
}
