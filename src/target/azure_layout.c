/* SPDX-License-Identifier: Apache-2.0 */
/* replica.json of a replica in Azure: written whole, read strictly. */
#include "target/azure_layout.h"

#include "base/fault.h"
#include "base/text.h"
#include "http/machine_json.h"

#include <inttypes.h>

#define LAYOUT_VERSION   1
#define LAYOUT_MAX_BYTES (1 * MIB)

static const char *const KINDS[] = {"page-blob", "upload"};
static const char *const STAGES[] = {"named", "frozen", "starting", "runs", "leaving"};

struct azure_layout *azure_layout_new(const struct machine_def *machine)
{
    struct azure_layout *layout = xcalloc(1, sizeof *layout);
    layout->machine = *machine;
    for (size_t i = 0; i < machine->disk_count; i++)
        layout->disks[i].disk_bytes = machine->disks[i].disk_bytes;
    return layout;
}

void azure_layout_free(struct azure_layout *layout)
{
    free(layout);
}

const char *azure_layout_name(const struct id *machine, char out[AZURE_BLOB_BYTES])
{
    char id[ID_TEXT_BYTES];
    (void)snprintf(out, AZURE_BLOB_BYTES, "%s/replica.json", id_text(machine, id));
    return out;
}

const char *azure_blob_name(const struct azure_layout *layout, size_t disk_index,
                            char out[AZURE_BLOB_BYTES])
{
    char id[ID_TEXT_BYTES];
    (void)snprintf(out, AZURE_BLOB_BYTES, "%s/disk%zu.vhd",
                   id_text(&layout->machine.id, id), disk_index);
    return out;
}

struct azure_set *azure_layout_test(struct azure_layout *layout, const char *test)
{
    for (size_t i = 0; i < layout->test_count; i++)
        if (strcmp(layout->tests[i].test, test) == 0)
            return &layout->tests[i];
    return NULL;
}

void azure_layout_drop_set(struct azure_layout *layout, const struct azure_set *set)
{
    if (set == &layout->vm) {
        layout->has_vm = false;
        return;
    }
    size_t at = (size_t)(set - layout->tests);
    layout->test_count--;
    memmove(&layout->tests[at], &layout->tests[at + 1],
            (layout->test_count - at) * sizeof layout->tests[0]);
}

bool azure_layout_is_migrated(const struct azure_layout *layout)
{
    return layout->has_vm &&
           (layout->vm.stage == AZURE_STARTING || layout->vm.stage == AZURE_RUNS);
}

/* ---- writing ---- */

static void append_take(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        abort(); /* out of memory */
}

static json_t *disk_to_json(const struct azure_layout_disk *disk)
{
    json_t *json = json_object();
    json_put_text(json, "kind", KINDS[disk->kind]);
    json_put_u64(json, "disk_bytes", disk->disk_bytes);
    if (disk->resize_to_bytes)
        json_put_u64(json, "resize_to_bytes", disk->resize_to_bytes);
    json_put_bool(json, "is_made", disk->is_made);
    json_put_bool(json, "was_opened", disk->was_opened);
    if (disk->kind == AZURE_UPLOAD) {
        json_put_bool(json, "is_sealed", disk->is_sealed);
        json_put_text(json, "upload_id", disk->upload_id);
    }
    return json;
}

static json_t *set_to_json(const struct azure_set *set, size_t disk_count)
{
    json_t *json = json_object(), *disks = json_array(), *nics = json_array();
    if (set->test[0])
        json_put_text(json, "test", set->test);
    json_put_text(json, "stage", STAGES[set->stage]);
    json_put_bool(json, "is_stale", set->is_stale);
    json_put_text(json, "vm", set->vm_id);
    for (size_t i = 0; i < disk_count; i++) {
        json_t *one = json_object();
        json_put_text(one, "id", set->disk_ids[i]);
        json_put_text(one, "snapshot", set->snapshots[i]);
        append_take(disks, one);
    }
    for (size_t i = 0; i < set->nic_count; i++)
        append_take(nics, json_string(set->nic_ids[i]));
    json_put_take(json, "disks", disks);
    json_put_take(json, "nics", nics);
    return json;
}

void azure_layout_print(const struct azure_layout *layout, struct buf *ret)
{
    AUTO(json_free) json_t *json = json_object();
    json_t *disks = json_array(), *tests = json_array();
    size_t disk_count = layout->machine.disk_count;
    for (size_t i = 0; i < disk_count; i++)
        append_take(disks, disk_to_json(&layout->disks[i]));
    for (size_t i = 0; i < layout->test_count; i++)
        append_take(tests, set_to_json(&layout->tests[i], disk_count));
    json_put_u64(json, "version", LAYOUT_VERSION);
    json_put_take(json, "disks", disks);
    json_put_take(json, "tests", tests);
    if (layout->has_vm)
        json_put_take(json, "vm", set_to_json(&layout->vm, disk_count));
    json_put_take(json, "machine", machine_to_json(&layout->machine));
    json_print_pretty(json, ret);
    buf_append_text(ret, "\n");
}

/* ---- reading ---- */

static bool get_word(const json_t *json, const char *key, const char *const words[],
                     size_t count, size_t *ret, struct err *err)
{
    const char *text;
    if (!json_get_text(json, key, &text, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], text) == 0) {
            *ret = i;
            return true;
        }
    return err_set(err, FAIL_CORRUPT, "'%s' is '%.60s', which is not known", key, text);
}

static bool get_copy(const json_t *json, const char *key, const char *fallback, char *ret,
                     size_t ret_bytes, struct err *err)
{
    const char *text;
    if (!json_opt_text(json, key, fallback, &text, err))
        return false;
    if (!text)
        return err_set(err, FAIL_CORRUPT, "'%s' is missing", key);
    if (strlen(text) >= ret_bytes)
        return err_set(err, FAIL_CORRUPT, "'%s' is longer than %zu bytes", key,
                       ret_bytes - 1);
    text_copy(ret, ret_bytes, text);
    return true;
}

static bool parse_disk(const json_t *json, struct azure_layout_disk *disk,
                       struct err *err)
{
    size_t kind = 0;
    if (!get_word(json, "kind", KINDS, ARRAY_COUNT(KINDS), &kind, err) ||
        !json_get_u64(json, "disk_bytes", &disk->disk_bytes, err) ||
        !json_opt_u64(json, "resize_to_bytes", 0, &disk->resize_to_bytes, err) ||
        !json_get_bool(json, "is_made", &disk->is_made, err) ||
        !json_get_bool(json, "was_opened", &disk->was_opened, err) ||
        !json_opt_bool(json, "is_sealed", false, &disk->is_sealed, err) ||
        !get_copy(json, "upload_id", kind == AZURE_UPLOAD ? NULL : "", disk->upload_id,
                  sizeof disk->upload_id, err))
        return false;
    disk->kind = kind == AZURE_UPLOAD ? AZURE_UPLOAD : AZURE_PAGE_BLOB;
    return disk->disk_bytes > 0 || err_set(err, FAIL_CORRUPT, "a disk of 0 bytes");
}

static bool parse_parts(const json_t *json, struct azure_set *set, size_t disk_count,
                        struct err *err)
{
    json_t *disks, *nics;
    if (!json_get_array(json, "disks", &disks, err) ||
        !json_get_array(json, "nics", &nics, err))
        return false;
    set->nic_count = json_array_size(nics);
    if (json_array_size(disks) != disk_count || set->nic_count > MACHINE_MAX_NICS)
        return err_set(err, FAIL_CORRUPT, "%zu disks and %zu cards do not fit",
                       json_array_size(disks), set->nic_count);
    for (size_t i = 0; i < disk_count; i++) {
        const json_t *one = json_array_get(disks, i);
        if (!get_copy(one, "id", NULL, set->disk_ids[i], ARM_ID_BYTES, err) ||
            !get_copy(one, "snapshot", "", set->snapshots[i], PAGE_SNAPSHOT_BYTES, err))
            return false;
    }
    for (size_t i = 0; i < set->nic_count; i++) {
        const char *id = json_string_value(json_array_get(nics, i));
        if (!id || strlen(id) >= ARM_ID_BYTES)
            return err_set(err, FAIL_CORRUPT, "card %zu has no id", i);
        text_copy(set->nic_ids[i], ARM_ID_BYTES, id);
    }
    return true;
}

static bool parse_set(const json_t *json, struct azure_set *set, size_t disk_count,
                      struct err *err)
{
    size_t stage = 0;
    if (!get_copy(json, "test", "", set->test, sizeof set->test, err) ||
        !get_word(json, "stage", STAGES, ARRAY_COUNT(STAGES), &stage, err) ||
        !json_get_bool(json, "is_stale", &set->is_stale, err) ||
        !get_copy(json, "vm", NULL, set->vm_id, sizeof set->vm_id, err) ||
        !parse_parts(json, set, disk_count, err))
        return false;
    set->stage = (enum azure_stage)stage;
    return true;
}

static bool parse_sets(const json_t *json, struct azure_layout *layout, struct err *err)
{
    json_t *tests;
    const json_t *vm = json_object_get(json, "vm");
    size_t disk_count = layout->machine.disk_count;
    if (!json_get_array(json, "tests", &tests, err))
        return false;
    layout->test_count = json_array_size(tests);
    if (layout->test_count > AZURE_MAX_TESTS)
        return err_set(err, FAIL_LIMIT, "%zu tests; %d are possible", layout->test_count,
                       AZURE_MAX_TESTS);
    for (size_t i = 0; i < layout->test_count; i++)
        if (!parse_set(json_array_get(tests, i), &layout->tests[i], disk_count, err) ||
            !text_check_name("test", layout->tests[i].test, err))
            return err_wrap(err, "test %zu", i);
    layout->has_vm = vm != NULL;
    return !vm || parse_set(vm, &layout->vm, disk_count, err) || err_wrap(err, "'vm'");
}

static bool parse(const json_t *json, struct azure_layout *layout, struct err *err)
{
    uint64_t version;
    json_t *disks;
    if (!json_get_u64(json, "version", &version, err))
        return false;
    if (version != LAYOUT_VERSION)
        return err_set(err, FAIL_CORRUPT,
                       "version %" PRIu64 " is not known to this program", version);
    if (!machine_from_json(json_object_get(json, "machine"), &layout->machine, err) ||
        !json_get_array(json, "disks", &disks, err))
        return false;
    if (json_array_size(disks) != layout->machine.disk_count)
        return err_set(err, FAIL_CORRUPT, "'disks' has %zu entries, the machine %zu",
                       json_array_size(disks), layout->machine.disk_count);
    for (size_t i = 0; i < layout->machine.disk_count; i++)
        if (!parse_disk(json_array_get(disks, i), &layout->disks[i], err))
            return err_wrap(err, "disk %zu", i);
    return parse_sets(json, layout, err);
}

struct azure_layout *azure_layout_parse(const char *text, size_t text_bytes,
                                        struct err *err)
{
    AUTO(azure_layout_free) struct azure_layout *layout = xcalloc(1, sizeof *layout);
    AUTO(json_free) json_t *json = json_parse("the layout", text, text_bytes, err);
    if (json && parse(json, layout, err))
        return TAKE(layout);
    err->kind = FAIL_CORRUPT;
    return NULL;
}

/* ---- the blob ---- */

struct azure_layout *azure_layout_read(struct blob_container *container,
                                       const struct id *machine, const char *machine_name,
                                       struct err *err)
{
    char name[AZURE_BLOB_BYTES];
    size_t text_bytes = 0;
    AUTO(free) uint8_t *text = xcalloc(1, LAYOUT_MAX_BYTES);
    if (!blob_get(container, azure_layout_name(machine, name), 0, text, LAYOUT_MAX_BYTES,
                  &text_bytes, err)) {
        if (err->kind == FAIL_GONE)
            (void)err_set(err, FAIL_GONE,
                          "there is no replica of machine '%s' in the container",
                          machine_name);
        return NULL;
    }
    struct azure_layout *layout = azure_layout_parse((const char *)text, text_bytes, err);
    if (!layout)
        (void)err_wrap(err, "blob '%s' of machine '%s'", name, machine_name);
    else if (!id_equal(&layout->machine.id, machine)) {
        (void)err_set(err, FAIL_CORRUPT, "blob '%s' is the layout of another machine",
                      name);
        azure_layout_free(layout);
        layout = NULL;
    }
    return layout;
}

bool azure_layout_save(struct blob_container *container,
                       const struct azure_layout *layout, struct err *err)
{
    char name[AZURE_BLOB_BYTES];
    AUTO(buf_release) struct buf text = {0};
    azure_layout_print(layout, &text);
    if (text.bytes > LAYOUT_MAX_BYTES)
        return err_set(err, FAIL_LIMIT, "the layout of machine '%s' is too large",
                       layout->machine.name);
    return !FAULT(TARGET_BEFORE_LAYOUT, err) &&
           blob_put(container, azure_layout_name(&layout->machine.id, name),
                    (struct blob_data){text.data, text.bytes}, false, err) &&
           !FAULT(TARGET_AFTER_LAYOUT, err);
}

bool azure_layout_remove(struct blob_container *container,
                         const struct azure_layout *layout, struct err *err)
{
    char name[AZURE_BLOB_BYTES];
    return blob_remove(container, azure_layout_name(&layout->machine.id, name), err);
}
