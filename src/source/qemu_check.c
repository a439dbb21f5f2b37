/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-flight of a QEMU machine: everything that would stop a cycle, or cost change
 * tracking, found before anything starts and without changing anything.
 */
#include "source/qemu.h"

#include "base/text.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SCRATCH_TIGHT_PCT 5 /* of the disks, free in the scratch folder */

static bool read_version(struct qmp *qmp, uint64_t *ret_major, uint64_t *ret_minor,
                         struct err *err)
{
    AUTO(json_free) json_t *answer = NULL;
    if (!qmp_call(qmp, "query-version", NULL, QEMU_CALL_MS, &answer, err))
        return false;
    const json_t *numbers = json_object_get(answer, "qemu");
    return json_get_u64(numbers, "major", ret_major, err) &&
           json_get_u64(numbers, "minor", ret_minor, err);
}

static bool is_old(uint64_t major, uint64_t minor)
{
    return major < QEMU_MIN_MAJOR || (major == QEMU_MIN_MAJOR && minor < QEMU_MIN_MINOR);
}

bool qemu_require_version(struct qmp *qmp, struct err *err)
{
    uint64_t major, minor;
    if (!read_version(qmp, &major, &minor, err))
        return false;
    if (is_old(major, minor))
        return err_set(err, FAIL_CONFLICT,
                       "QEMU %llu.%llu is too old to snapshot without risk for the "
                       "guest; %d.%d or later is needed",
                       (unsigned long long)major, (unsigned long long)minor,
                       QEMU_MIN_MAJOR, QEMU_MIN_MINOR);
    return true;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

bool qemu_require_quiet(struct qmp *qmp, const struct qemu_inventory *inventory,
                        struct err *err)
{
    AUTO(json_free) json_t *jobs = NULL;
    if (!qmp_call(qmp, "query-block-jobs", NULL, QEMU_CALL_MS, &jobs, err))
        return false;
    const json_t *job = json_array_get(jobs, 0);
    if (job)
        return err_set(err, FAIL_TRANSIENT,
                       "block job '%s' (%s) of somebody else is running; wait for its "
                       "end, or end it with block-job-cancel",
                       text_of(job, "device"), text_of(job, "type"));
    AUTO(qemu_graph_free) struct qemu_graph *graph = qemu_graph_read(qmp, err);
    if (!graph)
        return false;
    for (size_t i = 0; i < inventory->count; i++) {
        const struct qemu_disk *disk = &inventory->disks[i];
        if (disk->iothread[0])
            return err_set(
                err, FAIL_CONFLICT,
                "disk '%s' is served by iothread '%s', which QEMU's NBD server "
                "does not survive; start the machine without iothread= for it",
                disk->key, disk->iothread);
        if (!qemu_graph_is_tree(graph, disk->node))
            return err_set(err, FAIL_CONFLICT,
                           "disk '%s': an image below it is used twice, by another "
                           "backup's filter it seems; take that away first",
                           disk->key);
    }
    return true;
}

static struct finding *add(struct findings *findings, enum finding_severity severity,
                           const char *code, const char *disk,
                           const struct machine_def *machine)
{
    struct finding *finding = findings_add(findings, severity, code);
    if (disk)
        (void)snprintf(finding->what, sizeof finding->what,
                       "disk '%.60s' of machine '%s'", disk, machine->name);
    else
        (void)snprintf(finding->what, sizeof finding->what, "machine '%s'",
                       machine->name);
    return finding;
}

#define WHY(finding, ...)                                                                \
    (void)snprintf((finding)->why, sizeof(finding)->why, __VA_ARGS__)
#define REMEDY(finding, ...)                                                             \
    (void)snprintf((finding)->remedy, sizeof(finding)->remedy, __VA_ARGS__)

static bool check_version(struct qmp *qmp, const struct machine_def *machine,
                          struct findings *findings, struct err *err)
{
    uint64_t major, minor;
    if (!read_version(qmp, &major, &minor, err))
        return false;
    bool old = is_old(major, minor);
    struct finding *f =
        add(findings, old ? FINDING_BLOCKER : FINDING_OK, "qemu.version", NULL, machine);
    WHY(f, "QEMU %llu.%llu", (unsigned long long)major, (unsigned long long)minor);
    if (old)
        REMEDY(f, "run the machine with QEMU %d.%d or later", QEMU_MIN_MAJOR,
               QEMU_MIN_MINOR);
    return true;
}

static void check_disk(const struct qemu_disk *disk, const struct machine_def *machine,
                       struct findings *findings)
{
    struct finding *f;
    size_t before = findings->count;
    if (disk->is_read_only) {
        f = add(findings, FINDING_BLOCKER, "disk.read_only", disk->key, machine);
        WHY(f, "QEMU holds '%.200s' read-only: changes cannot be tracked", disk->file);
        REMEDY(f, "detach it, or attach it writable");
    } else if (!disk->keeps_bitmaps) {
        f = add(findings, FINDING_WARNING, "disk.bitmap_not_persistent", disk->key,
                machine);
        WHY(f, "format '%s' cannot keep change records: they end with the QEMU process",
            disk->format);
        REMEDY(f, "after each restart of QEMU the disk is compared by content; convert "
                  "it to qcow2 (compat 1.1) to avoid that");
    }
    if (disk->disk_bytes == 0 || disk->disk_bytes % SECTOR_BYTES) {
        f = add(findings, FINDING_BLOCKER, "disk.size", disk->key, machine);
        WHY(f, "%llu bytes are not whole sectors of 512",
            (unsigned long long)disk->disk_bytes);
        REMEDY(f, "resize it");
    }
    if (disk->iothread[0]) {
        f = add(findings, FINDING_BLOCKER, "disk.iothread", disk->key, machine);
        WHY(f,
            "iothread '%.100s' serves it; QEMU 7.2 ends itself when a disk of an "
            "iothread is exported over NBD",
            disk->iothread);
        REMEDY(f, "start the machine without iothread= for this disk or its controller");
    }
    if (!disk->is_key_stable) {
        f = add(findings, FINDING_WARNING, "disk.no_stable_name", disk->key, machine);
        WHY(f, "it has neither a node name nor a drive id, so it is known by its place");
        REMEDY(f, "give it one: -blockdev node-name=... or -drive id=...");
    }
    if (findings->count == before)
        (void)add(findings, FINDING_OK, "disk", disk->key, machine);
}

/* The machine as it was enabled against the machine as it is. */
static void check_disk_set(const struct qemu_inventory *inventory,
                           const struct machine_def *machine, struct findings *findings)
{
    for (size_t i = 0; i < machine->disk_count; i++) {
        if (qemu_inventory_find(inventory, machine->disks[i].key))
            continue;
        struct finding *f =
            add(findings, FINDING_BLOCKER, "disk.gone", machine->disks[i].key, machine);
        WHY(f, "it is not attached any more");
        REMEDY(f, "attach it again, or stop and replicate the machine without it");
    }
    for (size_t i = 0; machine->disk_count && i < inventory->count; i++) {
        bool is_known = false;
        for (size_t j = 0; j < machine->disk_count; j++)
            is_known =
                is_known || strcmp(machine->disks[j].key, inventory->disks[i].key) == 0;
        if (is_known)
            continue;
        struct finding *f =
            add(findings, FINDING_BLOCKER, "disk.new", inventory->disks[i].key, machine);
        WHY(f, "it was attached later and is not replicated");
        REMEDY(f, "detach it, or stop and replicate the machine again");
    }
}

static bool check_jobs(struct qmp *qmp, const struct machine_def *machine,
                       struct findings *findings, struct err *err)
{
    AUTO(json_free) json_t *jobs = NULL;
    const json_t *job;
    size_t i;
    if (!qmp_call(qmp, "query-block-jobs", NULL, QEMU_CALL_MS, &jobs, err))
        return false;
    json_array_foreach(jobs, i, job)
    {
        struct finding *f =
            add(findings, FINDING_BLOCKER, "qemu.block_job", NULL, machine);
        WHY(f, "block job '%.60s' (%.30s) of somebody else is running",
            text_of(job, "device"), text_of(job, "type"));
        REMEDY(f, "wait for its end, or end it with block-job-cancel");
    }
    return true;
}

static void check_scratch(const struct qemu_source *source,
                          const struct qemu_inventory *inventory,
                          const struct machine_def *machine, struct findings *findings)
{
    struct stat st;
    struct statvfs fs;
    uint64_t need_bytes = 0, free_bytes;
    char free_text[TEXT_HUMAN_BYTES], need_text[TEXT_HUMAN_BYTES];
    for (size_t i = 0; i < inventory->count; i++)
        need_bytes += inventory->disks[i].disk_bytes / 100 * SCRATCH_TIGHT_PCT;
    if (source->scratch_max_bytes)
        need_bytes = MIN_OF(need_bytes, source->scratch_max_bytes);
    if (stat(source->scratch_dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
        access(source->scratch_dir, W_OK | X_OK) != 0 ||
        statvfs(source->scratch_dir, &fs) != 0) {
        struct finding *f = add(findings, FINDING_BLOCKER, "scratch.dir", NULL, machine);
        WHY(f, "scratch folder '%.200s' is no folder that we may write to",
            source->scratch_dir);
        REMEDY(f, "make it, writable for us and for the machine's QEMU");
        return;
    }
    free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    bool is_tight = free_bytes < need_bytes;
    struct finding *f = add(findings, is_tight ? FINDING_WARNING : FINDING_OK,
                            "scratch.space", NULL, machine);
    WHY(f, "%s free in '%.200s'; %s are %s", text_bytes(free_bytes, free_text),
        source->scratch_dir, text_bytes(need_bytes, need_text),
        is_tight ? "advised" : "enough");
    if (is_tight)
        REMEDY(f, "make room: a cycle ends when what the guest overwrites meanwhile does "
                  "not fit");
}

bool qemu_check(struct source *base, const struct machine_def *machine,
                struct findings *findings, struct err *err)
{
    const struct qemu_source *source = (const struct qemu_source *)base;
    struct err failed = ERR_INIT;
    AUTO(qmp_close) struct qmp *qmp = qemu_connect(source, &failed);
    if (!qmp) {
        struct finding *f =
            add(findings, FINDING_BLOCKER, "qmp.unreachable", NULL, machine);
        WHY(f, "%.300s", failed.text);
        REMEDY(f,
               "start the machine with -qmp unix:%.150s,server=on,wait=off and let no "
               "other client hold the socket",
               source->qmp_path);
        return true;
    }
    AUTO(qemu_inventory_free)
    struct qemu_inventory *inventory = qemu_inventory_read(qmp, err);
    if (!inventory || !check_version(qmp, machine, findings, err) ||
        !check_jobs(qmp, machine, findings, err))
        return err_wrap(err, "check machine '%s'", machine->name);
    if (inventory->count == 0) {
        struct finding *f =
            add(findings, FINDING_BLOCKER, "machine.no_disks", NULL, machine);
        WHY(f, "QEMU shows no disk with a medium");
        REMEDY(f, "attach one");
    }
    for (size_t i = 0; i < inventory->count; i++)
        check_disk(&inventory->disks[i], machine, findings);
    check_disk_set(inventory, machine, findings);
    check_scratch(source, inventory, machine, findings);
    return true;
}
