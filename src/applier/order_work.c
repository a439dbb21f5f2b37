/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One order. The data key is unwrapped here, by the applier's own keys, and lives as long
 * as the call; it never was in a message.
 */
#include "applier/order_work.h"

#include "base/fault.h"

#include <stdatomic.h>

typedef bool (*work_step)(const struct order_work_context *context,
                          const struct order *order, json_t **ret_body, struct err *err);

/* ---- the target's ---- */

static bool open_it(const struct order_work_context *context, const struct order *order,
                    json_t **ret_body, struct err *err)
{
    (void)context, (void)order, (void)ret_body, (void)err;
    return true; /* it is open already */
}

static bool check(const struct order_work_context *context, const struct order *order,
                  json_t **ret_body, struct err *err)
{
    AUTO(findings_release) struct findings findings = {0};
    if (!target_check(context->target, order->def, &findings, err))
        return false;
    *ret_body = order_findings_to_json(&findings);
    return true;
}

static bool create(const struct order_work_context *context, const struct order *order,
                   json_t **ret_body, struct err *err)
{
    (void)ret_body;
    return target_replica_create(context->target, order->def, err);
}

static bool resize(const struct order_work_context *context, const struct order *order,
                   json_t **ret_body, struct err *err)
{
    (void)ret_body;
    return target_disk_resize(context->target, order->def, (size_t)order->disk_index,
                              order->disk_bytes, err);
}

static void note_cloned(void *ctx)
{
    const struct order_work_context *context = ctx;
    atomic_store(context->is_cloned, true);
}

static struct test_options test_options(const struct order_work_context *context,
                                        const struct order *order)
{
    return (struct test_options){
        .test_name = order->test_name,
        .network = order->network,
        .start = order->start,
        .marker = order->marker,
        .boot_deadline_ms = order->boot_deadline_ms,
        .on_cloned = note_cloned,
        .on_cloned_ctx = (void *)(uintptr_t)context,
    };
}

static bool test_start(const struct order_work_context *context,
                       const struct order *order, json_t **ret_body, struct err *err)
{
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = test_options(context, order);
    if (!target_test_start(context->target, order->def, &options, context->cancel, info,
                           err))
        return false;
    *ret_body = order_vm_to_json(info);
    return true;
}

static bool test_cleanup(const struct order_work_context *context,
                         const struct order *order, json_t **ret_body, struct err *err)
{
    (void)ret_body;
    return target_test_cleanup(context->target, order->def, order->test_name, err);
}

static bool migrate(const struct order_work_context *context, const struct order *order,
                    json_t **ret_body, struct err *err)
{
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = test_options(context, order);
    if (!target_migrate(context->target, order->def, &options, context->cancel, info,
                        err))
        return false;
    *ret_body = order_vm_to_json(info);
    return true;
}

static bool complete(const struct order_work_context *context, const struct order *order,
                     json_t **ret_body, struct err *err)
{
    (void)ret_body;
    return target_complete(context->target, order->def, err);
}

static bool remove_it(const struct order_work_context *context, const struct order *order,
                      json_t **ret_body, struct err *err)
{
    (void)ret_body;
    return target_remove(context->target, order->def, err);
}

static bool has_room(const json_t *list, struct err *err)
{
    return json_array_size(list) < ORDER_MAX_ITEMS ||
           err_set(err, FAIL_LIMIT, "the target holds more than %u things",
                   ORDER_MAX_ITEMS);
}

static bool add_thing(void *ctx, const struct target_thing *thing, struct err *err)
{
    json_t *list = ctx;
    if (!has_room(list, err))
        return false;
    (void)json_array_append_new(list, order_thing_to_json(thing));
    return true;
}

static bool inventory(const struct order_work_context *context, const struct order *order,
                      json_t **ret_body, struct err *err)
{
    AUTO(json_free) json_t *things = json_array();
    (void)order;
    if (!target_inventory(context->target, add_thing, things, err))
        return false;
    *ret_body = TAKE(things);
    return true;
}

static bool add_item(void *ctx, const struct target_item *item, struct err *err)
{
    json_t *list = ctx;
    if (!has_room(list, err))
        return false;
    (void)json_array_append_new(list, order_item_to_json(item));
    return true;
}

static bool list(const struct order_work_context *context, const struct order *order,
                 json_t **ret_body, struct err *err)
{
    AUTO(json_free) json_t *items = json_array();
    (void)order;
    if (!target_list(context->target, add_item, items, err))
        return false;
    *ret_body = TAKE(items);
    return true;
}

/* ---- a cycle's ---- */

static bool apply(const struct order_work_context *context, const struct order *order,
                  json_t **ret_body, struct err *err)
{
    struct id key_id;
    (void)ret_body;
    AUTO(secret_free)
    struct secret *key =
        keys_unwrap(context->keys, &order->def->id, order->key, &key_id, err);
    if (!key)
        return err_wrap(err, "data key of machine '%s'", order->def->name);
    const struct apply_context apply = {
        .machine = order->def,
        .data_key = key,
        .target = context->target,
        .log_store = context->log_store,
        .state_store = context->state_store,
        .cancel = context->cancel,
        .progress = context->progress,
        .workers = context->workers,
        .known_point = order->known_point,
    };
    return order->what == ORDER_RECOVER ? apply_recover(&apply, err)
                                        : apply_cycle(&apply, order->cycle, err);
}

static const work_step STEPS[ORDER_WHAT_COUNT] = {
    [ORDER_OPEN] = open_it,          [ORDER_CHECK] = check,
    [ORDER_CREATE] = create,         [ORDER_RESIZE] = resize,
    [ORDER_RECOVER] = apply,         [ORDER_APPLY] = apply,
    [ORDER_TEST_START] = test_start, [ORDER_TEST_CLEANUP] = test_cleanup,
    [ORDER_MIGRATE] = migrate,       [ORDER_COMPLETE] = complete,
    [ORDER_REMOVE] = remove_it,      [ORDER_LIST] = list,
    [ORDER_INVENTORY] = inventory,
};

void order_work_run(const struct order_work_context *context, const struct order *order,
                    struct order_result *ret)
{
    struct err why = ERR_INIT;
    *ret = (struct order_result){.nonce = order->nonce};
    if (!cancel_check(context->cancel, &why) || FAULT(ORDER_BEFORE_WORK, &why) ||
        !STEPS[order->what](context, order, &ret->body, &why))
        ret->failure = why;
}
