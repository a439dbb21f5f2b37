/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replica.json: read strictly, written durably, swept on open.
 *
 * L1  what the layout names exists and is durable before the layout names it;
 * L2  what it no longer names may be deleted at any later time: nothing else knows it;
 * L3  so after a crash anywhere the folder is the old shape or the new one plus orphans,
 *     and open removes orphans: overlays, test folders, processes that run on them.
 * It must never touch evidence/, vm/ of a migrated machine or a base disk.
 */
#include "target/local_layout.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "http/machine_json.h"
#include "qemu/stray.h"
#include "qemu/vm.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#define LAYOUT_VERSION   1
#define LAYOUT_MAX_BYTES (1 * MIB)
#define SERVER_GRACE_MS  3000

struct local_layout *local_layout_new(const char *target_dir, const char *machine_name)
{
    struct local_layout *layout = xcalloc(1, sizeof *layout);
    layout->dir = file_join(target_dir, machine_name);
    layout->next_generation = 1;
    return layout;
}

void local_layout_free(struct local_layout *layout)
{
    if (!layout)
        return;
    free(layout->dir);
    free(layout);
}

bool local_layout_is_qcow2(const struct local_layout *layout, uint64_t generation)
{
    return generation > 0 || layout->is_qcow2;
}

static void file_name(const struct local_layout *layout, size_t disk_index,
                      uint64_t generation, char out[LOCAL_FILE_BYTES])
{
    if (generation > 0)
        (void)snprintf(out, LOCAL_FILE_BYTES, "disk%zu.g%" PRIu64 ".qcow2", disk_index,
                       generation);
    else
        (void)snprintf(out, LOCAL_FILE_BYTES, "disk%zu.%s", disk_index,
                       layout->is_qcow2 ? "qcow2" : "raw");
}

char *local_layout_file(const struct local_layout *layout, size_t disk_index,
                        uint64_t generation)
{
    char name[LOCAL_FILE_BYTES];
    if (generation == 0 && layout->disks[disk_index].device[0])
        return xstrdup(layout->disks[disk_index].device);
    file_name(layout, disk_index, generation, name);
    return file_join(layout->dir, name);
}

char *local_layout_test_dir(const struct local_layout *layout, const char *test_name)
{
    struct buf path = {0};
    buf_printf(&path, "%s/tests/%s", layout->dir, test_name);
    return buf_take_text(&path);
}

size_t local_layout_find_test(const struct local_layout *layout, const char *test_name)
{
    size_t i = 0;
    while (i < layout->test_count && strcmp(layout->tests[i].name, test_name) != 0)
        i++;
    return i;
}

void local_layout_drop_test(struct local_layout *layout, size_t at)
{
    layout->test_count--;
    memmove(&layout->tests[at], &layout->tests[at + 1],
            (layout->test_count - at) * sizeof layout->tests[0]);
}

static json_t *numbers_to_json(const uint64_t *values, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, json_integer((json_int_t)values[i])) != 0)
            abort(); /* out of memory */
    return array;
}

static json_t *disks_to_json(const struct local_layout *layout)
{
    json_t *array = json_array();
    for (size_t i = 0; i < layout->disk_count; i++) {
        const struct local_disk *disk = &layout->disks[i];
        json_t *one = json_object();
        json_put_u64(one, "disk_bytes", disk->disk_bytes);
        if (disk->device[0])
            json_put_text(one, "device", disk->device);
        json_put_take(one, "chain",
                      numbers_to_json(disk->generations, disk->chain_count));
        (void)json_array_append_new(array,
                                    one); /* fails on no memory: then one is NULL */
    }
    return array;
}

static json_t *tests_to_json(const struct local_layout *layout)
{
    json_t *array = json_array();
    for (size_t i = 0; i < layout->test_count; i++) {
        const struct local_test *test = &layout->tests[i];
        json_t *one = json_object();
        json_put_text(one, "name", test->name);
        json_put_take(one, "stands_on",
                      numbers_to_json(test->frozen_generations, layout->disk_count));
        json_put_u64(one, "pid", (uint64_t)test->pid);
        json_put_u64(one, "pid_start_ticks", test->pid_start_ticks);
        (void)json_array_append_new(array, one); /* as above */
    }
    return array;
}

bool local_layout_save(const struct local_layout *layout, struct err *err)
{
    AUTO(json_free) json_t *json = json_object();
    AUTO(buf_release) struct buf text = {0};
    AUTO(free) char *path = file_join(layout->dir, "replica.json");
    json_put_u64(json, "version", LAYOUT_VERSION);
    json_put_text(json, "format", layout->is_qcow2 ? "qcow2" : "raw");
    json_put_u64(json, "next_generation", layout->next_generation);
    json_put_take(json, "disks", disks_to_json(layout));
    json_put_take(json, "tests", tests_to_json(layout));
    json_put_bool(json, "is_migrated", layout->is_migrated);
    json_put_u64(json, "vm_pid", (uint64_t)layout->vm_pid);
    json_put_u64(json, "vm_pid_start_ticks", layout->vm_pid_start_ticks);
    json_put_take(json, "machine", machine_to_json(&layout->machine));
    json_print_pretty(json, &text);
    buf_append_text(&text, "\n");
    return !FAULT(TARGET_BEFORE_LAYOUT, err) &&
           file_write_durable(path, text.data, text.bytes, 0600, err) &&
           !FAULT(TARGET_AFTER_LAYOUT, err);
}

static bool get_pid(const json_t *json, const char *key, int *ret, struct err *err)
{
    uint64_t pid;
    if (!json_get_u64(json, key, &pid, err))
        return false;
    if (pid > INT32_MAX)
        return err_set(err, FAIL_INPUT, "'%s' is no process id", key);
    *ret = (int)pid;
    return true;
}

static bool get_numbers(const json_t *json, const char *key, size_t min, size_t max,
                        uint64_t *ret, size_t *ret_count, struct err *err)
{
    json_t *array;
    if (!json_get_array(json, key, &array, err))
        return false;
    size_t count = json_array_size(array);
    if (count < min || count > max)
        return err_set(err, FAIL_INPUT, "'%s' has %zu entries; %zu to %zu are possible",
                       key, count, min, max);
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(array, i);
        if (!json_is_integer(one) || json_integer_value(one) < 0)
            return err_set(err, FAIL_INPUT, "'%s' must hold whole numbers", key);
        ret[i] = (uint64_t)json_integer_value(one);
    }
    *ret_count = count;
    return true;
}

static bool parse_disks(const json_t *json, struct local_layout *layout, struct err *err)
{
    json_t *array;
    if (!json_get_array(json, "disks", &array, err))
        return false;
    layout->disk_count = json_array_size(array);
    if (layout->disk_count != layout->machine.disk_count)
        return err_set(err, FAIL_INPUT, "'disks' has %zu entries, the machine %zu",
                       layout->disk_count, layout->machine.disk_count);
    for (size_t i = 0; i < layout->disk_count; i++) {
        struct local_disk *disk = &layout->disks[i];
        const json_t *one = json_array_get(array, i);
        const char *device;
        if (!json_get_u64(one, "disk_bytes", &disk->disk_bytes, err) ||
            !json_opt_text(one, "device", "", &device, err) ||
            !get_numbers(one, "chain", 1, ARRAY_COUNT(disk->generations),
                         disk->generations, &disk->chain_count, err))
            return err_wrap(err, "disk %zu", i);
        if (disk->generations[0] != 0)
            return err_set(err, FAIL_INPUT, "disk %zu: its chain does not begin with 0",
                           i);
        text_copy(disk->device, sizeof disk->device, device);
    }
    return true;
}

static bool parse_tests(const json_t *json, struct local_layout *layout, struct err *err)
{
    json_t *array;
    if (!json_get_array(json, "tests", &array, err))
        return false;
    layout->test_count = json_array_size(array);
    if (layout->test_count > LOCAL_MAX_TESTS)
        return err_set(err, FAIL_LIMIT, "%zu tests; %d are possible", layout->test_count,
                       LOCAL_MAX_TESTS);
    for (size_t i = 0; i < layout->test_count; i++) {
        struct local_test *test = &layout->tests[i];
        const json_t *one = json_array_get(array, i);
        const char *name;
        size_t count;
        if (!json_get_text(one, "name", &name, err) ||
            !text_check_name("test", name, err) ||
            !get_numbers(one, "stands_on", layout->disk_count, layout->disk_count,
                         test->frozen_generations, &count, err) ||
            !get_pid(one, "pid", &test->pid, err) ||
            !json_get_u64(one, "pid_start_ticks", &test->pid_start_ticks, err))
            return err_wrap(err, "test %zu", i);
        text_copy(test->name, sizeof test->name, name);
    }
    return true;
}

static bool parse_layout(const struct buf *text, struct local_layout *layout,
                         struct err *err)
{
    uint64_t version;
    const char *format;
    AUTO(json_free)
    json_t *json = json_parse("the layout", (const char *)text->data, text->bytes, err);
    if (!json || !json_get_u64(json, "version", &version, err) ||
        !json_get_text(json, "format", &format, err))
        return false;
    if (version != LAYOUT_VERSION)
        return err_set(err, FAIL_INPUT,
                       "version %" PRIu64 " is not known to this program", version);
    layout->is_qcow2 = strcmp(format, "qcow2") == 0;
    return machine_from_json(json_object_get(json, "machine"), &layout->machine, err) &&
           json_get_u64(json, "next_generation", &layout->next_generation, err) &&
           parse_disks(json, layout, err) && parse_tests(json, layout, err) &&
           json_get_bool(json, "is_migrated", &layout->is_migrated, err) &&
           get_pid(json, "vm_pid", &layout->vm_pid, err) &&
           json_get_u64(json, "vm_pid_start_ticks", &layout->vm_pid_start_ticks, err);
}

/* An overlay "disk<N>.g<G>.qcow2" that no chain and no test names. */
static bool is_orphan(const struct local_layout *layout, const char *name)
{
    char own[LOCAL_FILE_BYTES];
    if (!text_starts_with(name, "disk") || !strstr(name, ".g"))
        return false;
    for (size_t i = 0; i < layout->disk_count; i++)
        for (size_t k = 1; k < layout->disks[i].chain_count; k++) {
            file_name(layout, i, layout->disks[i].generations[k], own);
            if (strcmp(own, name) == 0)
                return false;
        }
    return true;
}

static bool is_server_file(const struct local_layout *layout, const char *name)
{
    (void)layout;
    return text_starts_with(name, "nbd-");
}

static bool sweep_files(const struct local_layout *layout,
                        bool (*is_waste)(const struct local_layout *, const char *),
                        struct err *err)
{
    DIR *dir = opendir(layout->dir);
    if (!dir)
        return err_errno(err, errno, "open folder '%s'", layout->dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (is_waste(layout, entry->d_name))
            (void)unlinkat(dirfd(dir), entry->d_name, 0); /* tried again at next open */
    (void)closedir(dir);
    return true;
}

/* A server that never had a client, because we died before, would stay for ever. */
bool local_layout_kill_servers(const char *layout_dir, struct err *err)
{
    AUTO(buf_release) struct buf word = {0};
    buf_printf(&word, "--pid-file=%s/nbd-", layout_dir);
    return stray_kill(buf_text(&word), SERVER_GRACE_MS, err);
}

bool local_layout_sweep_servers(const struct local_layout *layout, struct err *err)
{
    bool has_any = false;
    DIR *dir = opendir(layout->dir);
    if (!dir)
        return err_errno(err, errno, "open folder '%s'", layout->dir);
    for (struct dirent *entry; !has_any && (entry = readdir(dir)) != NULL;)
        has_any = is_server_file(layout, entry->d_name);
    (void)closedir(dir);
    if (!has_any)
        return true;
    return local_layout_kill_servers(layout->dir, err) &&
           sweep_files(layout, is_server_file, err);
}

static bool sweep_tests(const struct local_layout *layout, struct err *err)
{
    AUTO(free) char *tests = file_join(layout->dir, "tests");
    bool ok = true;
    DIR *dir = opendir(tests);
    if (!dir)
        return true; /* no test yet */
    for (struct dirent *entry; ok && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.' ||
            local_layout_find_test(layout, entry->d_name) < layout->test_count)
            continue;
        AUTO(free) char *path = file_join(tests, entry->d_name);
        ok = vm_kill_strays(path, err) && file_remove_tree(path, err);
    }
    (void)closedir(dir);
    return ok;
}

/* A VM that was started, paused, and never written down. */
static bool sweep_vm(const struct local_layout *layout, struct err *err)
{
    AUTO(free) char *path = file_join(layout->dir, "vm");
    return layout->is_migrated || !file_exists(path) ||
           (vm_kill_strays(path, err) && file_remove_tree(path, err));
}

struct local_layout *local_layout_read(const char *target_dir, const char *machine_name,
                                       struct err *err)
{
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_new(target_dir, machine_name);
    AUTO(free) char *path = file_join(layout->dir, "replica.json");
    AUTO(buf_release) struct buf text = {0};
    if (!file_read(path, LAYOUT_MAX_BYTES, &text, err)) {
        if (err->kind == FAIL_GONE)
            (void)err_set(err, FAIL_GONE, "there is no replica of machine '%s' in '%s'",
                          machine_name, target_dir);
        return NULL;
    }
    if (!parse_layout(&text, layout, err)) {
        err->kind = FAIL_CORRUPT;
        (void)err_wrap(err, "'%s'", path);
        return NULL;
    }
    return TAKE(layout);
}

struct local_layout *local_layout_open(const char *target_dir, const char *machine_name,
                                       struct err *err)
{
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_read(target_dir, machine_name, err);
    if (!layout || !file_sweep_tmp(layout->dir, err) ||
        !sweep_files(layout, is_orphan, err) || !sweep_tests(layout, err) ||
        !sweep_vm(layout, err))
        return NULL;
    return TAKE(layout);
}
