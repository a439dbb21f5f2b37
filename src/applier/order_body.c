/* SPDX-License-Identifier: Apache-2.0 */
/* What results bring besides success or failure: a VM, findings, what a target holds. */
#include "applier/order.h"

#include "base/text.h"
#include "http/machine_json.h"

static bool take_text(const json_t *object, const char *key, char *out, size_t out_bytes,
                      struct err *err)
{
    const char *text;
    if (!json_get_text(object, key, &text, err))
        return false;
    if (strlen(text) >= out_bytes)
        return err_set(err, FAIL_CORRUPT, "'%s' has %zu bytes; %zu are allowed", key,
                       strlen(text), out_bytes - 1);
    text_copy(out, out_bytes, text);
    return true;
}

static bool corrupt(const char *what, struct err *err)
{
    err->kind = FAIL_CORRUPT;
    return err_wrap(err, "%s", what);
}

/* ---- a VM ---- */

json_t *order_vm_to_json(const struct vm_info *info)
{
    json_t *body = json_object(), *paths = json_array();
    json_put_text(body, "name", info->name);
    json_put_text(body, "how_booted", info->how_booted);
    json_put_u64(body, "boot_ms", info->boot_ms);
    json_put_text(body, "screen_png", info->screen_png);
    json_put_text(body, "serial_log", info->serial_log);
    json_put_text(body, "qmp_path", info->qmp_path);
    json_put_u64(body, "pid", (uint64_t)MAX_OF(info->pid, 0));
    for (size_t i = 0; i < info->disk_count; i++)
        (void)json_array_append_new(paths, json_string(info->disk_paths[i]));
    json_put_take(body, "disk_paths", paths);
    return body;
}

static bool read_paths(const json_t *body, struct vm_info *ret, struct err *err)
{
    json_t *paths;
    if (!json_get_array(body, "disk_paths", &paths, err))
        return false;
    ret->disk_count = json_array_size(paths);
    if (ret->disk_count > MACHINE_MAX_DISKS)
        return err_set(err, FAIL_CORRUPT, "%zu disks; a machine can have %d",
                       ret->disk_count, MACHINE_MAX_DISKS);
    for (size_t i = 0; i < ret->disk_count; i++) {
        const char *path = json_string_value(json_array_get(paths, i));
        if (!path || strlen(path) >= MACHINE_PATH_BYTES)
            return err_set(err, FAIL_CORRUPT, "path %zu is not one", i);
        text_copy(ret->disk_paths[i], MACHINE_PATH_BYTES, path);
    }
    return true;
}

bool order_vm_from_json(const json_t *body, struct vm_info *ret, struct err *err)
{
    AUTO(free) struct vm_info *vm = xcalloc(1, sizeof *vm);
    uint64_t pid;
    if (!json_is_object(body))
        return err_set(err, FAIL_CORRUPT, "the result names no VM");
    if (!take_text(body, "name", vm->name, sizeof vm->name, err) ||
        !take_text(body, "how_booted", vm->how_booted, sizeof vm->how_booted, err) ||
        !json_get_u64(body, "boot_ms", &vm->boot_ms, err) ||
        !take_text(body, "screen_png", vm->screen_png, sizeof vm->screen_png, err) ||
        !take_text(body, "serial_log", vm->serial_log, sizeof vm->serial_log, err) ||
        !take_text(body, "qmp_path", vm->qmp_path, sizeof vm->qmp_path, err) ||
        !json_get_u64(body, "pid", &pid, err) || !read_paths(body, vm, err))
        return corrupt("VM", err);
    vm->pid = (int)MIN_OF(pid, (uint64_t)INT32_MAX);
    *ret = *vm;
    return true;
}

/* ---- findings ---- */

json_t *order_findings_to_json(const struct findings *findings)
{
    json_t *body = json_array();
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->items[i];
        json_t *item = json_object();
        json_put_text(item, "severity", finding_severity_name(f->severity));
        json_put_text(item, "code", f->code);
        json_put_text(item, "what", f->what);
        json_put_text(item, "why", f->why);
        json_put_text(item, "remedy", f->remedy);
        (void)json_array_append_new(body, item);
    }
    return body;
}

static bool read_severity(const json_t *item, enum finding_severity *ret, struct err *err)
{
    const char *name;
    if (!json_get_text(item, "severity", &name, err))
        return false;
    for (int s = FINDING_OK; s <= FINDING_BLOCKER; s++)
        if (strcmp(name, finding_severity_name((enum finding_severity)s)) == 0) {
            *ret = (enum finding_severity)s;
            return true;
        }
    return err_set(err, FAIL_CORRUPT, "severity '%.20s'", name);
}

bool order_findings_from_json(const json_t *body, struct findings *findings,
                              struct err *err)
{
    if (!json_is_array(body) || json_array_size(body) > ORDER_MAX_ITEMS)
        return err_set(err, FAIL_CORRUPT, "the result has no findings, or too many");
    for (size_t i = 0; i < json_array_size(body); i++) {
        const json_t *item = json_array_get(body, i);
        struct finding f = {0};
        if (!read_severity(item, &f.severity, err) ||
            !take_text(item, "code", f.code, sizeof f.code, err) ||
            !take_text(item, "what", f.what, sizeof f.what, err) ||
            !take_text(item, "why", f.why, sizeof f.why, err) ||
            !take_text(item, "remedy", f.remedy, sizeof f.remedy, err))
            return corrupt("finding", err);
        *findings_add(findings, f.severity, f.code) = f;
    }
    return true;
}

/* ---- what a target holds ---- */

json_t *order_item_to_json(const struct target_item *item)
{
    json_t *json = json_object();
    json_put_take(json, "machine", machine_to_json(item->machine));
    if (item->test_name)
        json_put_text(json, "test", item->test_name);
    json_put_bool(json, "migrated", item->is_migrated);
    return json;
}

bool order_items_each(const json_t *body, target_each each, void *ctx, struct err *err)
{
    AUTO(free) struct machine_def *def = xcalloc(1, sizeof *def);
    if (!json_is_array(body) || json_array_size(body) > ORDER_MAX_ITEMS)
        return err_set(err, FAIL_CORRUPT, "the result has no listing, or one too long");
    for (size_t i = 0; i < json_array_size(body); i++) {
        const json_t *json = json_array_get(body, i);
        struct target_item item = {.machine = def};
        if (!machine_from_json(json_object_get(json, "machine"), def, err) ||
            !json_opt_text(json, "test", NULL, &item.test_name, err) ||
            !json_get_bool(json, "migrated", &item.is_migrated, err))
            return corrupt("listing", err);
        if (!each(ctx, &item, err))
            return false;
    }
    return true;
}

/* ---- what exists there because of us ---- */

json_t *order_thing_to_json(const struct target_thing *thing)
{
    json_t *json = json_object();
    json_put_text(json, "kind", thing->kind);
    json_put_text(json, "name", thing->name);
    json_put_text(json, "id", thing->id);
    json_put_text(json, "machine", thing->machine);
    json_put_text(json, "machine_id", thing->machine_id);
    json_put_text(json, "role", thing->role);
    json_put_text(json, "state", thing->state);
    json_put_u64(json, "size_bytes", thing->size_bytes);
    json_put_u64(json, "allocated_bytes", thing->allocated_bytes);
    json_put_bool(json, "known", thing->is_known);
    return json;
}

bool order_things_each(const json_t *body, target_each_thing each, void *ctx,
                       struct err *err)
{
    if (!json_is_array(body) || json_array_size(body) > ORDER_MAX_ITEMS)
        return err_set(err, FAIL_CORRUPT, "the result has no inventory, or one too long");
    for (size_t i = 0; i < json_array_size(body); i++) {
        const json_t *json = json_array_get(body, i);
        struct target_thing thing = {0};
        if (!json_get_text(json, "kind", &thing.kind, err) ||
            !json_get_text(json, "name", &thing.name, err) ||
            !json_get_text(json, "id", &thing.id, err) ||
            !json_get_text(json, "machine", &thing.machine, err) ||
            !json_get_text(json, "machine_id", &thing.machine_id, err) ||
            !json_get_text(json, "role", &thing.role, err) ||
            !json_get_text(json, "state", &thing.state, err) ||
            !json_get_u64(json, "size_bytes", &thing.size_bytes, err) ||
            !json_get_u64(json, "allocated_bytes", &thing.allocated_bytes, err) ||
            !json_get_bool(json, "known", &thing.is_known, err))
            return corrupt("inventory", err);
        if (!each(ctx, &thing, err))
            return false;
    }
    return true;
}
