/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls made into orders. What a person waits for (check, list) is brief; what a job
 * waits for may wait for an applier that is lost.
 *
 * Must never: put a plain key or the content of a credential into an order; options name
 * files on the applier's host.
 */
#include "applier/target_remote.h"

#include "base/text.h"

#include <stdatomic.h>

struct target_remote {
    struct target base;
    /* Set by target_remote_new, never changed. */
    struct order_desk *desk;
    char *applier, *name, *kind;
    json_t *options;
};

static const struct target_ops REMOTE_OPS;

static struct target_remote *remote_of(struct target *target)
{
    return (struct target_remote *)target;
}

/* machine may be NULL; the caller sets what is particular. */
static void order_init(struct target *target, enum order_what what,
                       const struct machine_def *machine, struct order *ret)
{
    const struct target_remote *remote = remote_of(target);
    *ret = (struct order){.what = what, .options = json_deep_copy(remote->options)};
    text_copy(ret->target, sizeof ret->target, remote->name);
    text_copy(ret->kind, sizeof ret->kind, remote->kind);
    if (!machine)
        return;
    ret->def = xcalloc(1, sizeof *ret->def);
    *ret->def = *machine;
}

static bool give(struct target *target, struct order *order,
                 const struct order_wait *wait, struct order_result *ret, struct err *err)
{
    const struct target_remote *remote = remote_of(target);
    bool is_open;
    return order_desk_do(remote->desk, remote->applier, order, wait, ret, &is_open, err);
}

/* An order about a machine that brings back nothing. */
static bool give_plain(struct target *target, enum order_what what,
                       const struct machine_def *machine, struct err *err)
{
    AUTO(order_release) struct order order;
    AUTO(order_result_release) struct order_result result = {0};
    order_init(target, what, machine, &order);
    return give(target, &order, &(struct order_wait){0}, &result, err);
}

/* ---- target.h ---- */

static bool check(struct target *target, const struct machine_def *machine,
                  struct findings *findings, struct err *err)
{
    AUTO(order_release) struct order order;
    AUTO(order_result_release) struct order_result result = {0};
    order_init(target, ORDER_CHECK, machine, &order);
    return give(target, &order, &(struct order_wait){.is_brief = true}, &result, err) &&
           order_findings_from_json(result.body, findings, err);
}

static bool replica_create(struct target *target, const struct machine_def *machine,
                           struct err *err)
{
    return give_plain(target, ORDER_CREATE, machine, err);
}

static bool disk_open(struct target *target, const struct machine_def *machine,
                      size_t disk_index, bool for_writing, struct replica_disk **ret,
                      struct err *err)
{
    (void)machine, (void)disk_index, (void)for_writing, (void)ret;
    return err_set(err, FAIL_CONFLICT,
                   "the replica disks of target '%s' are at its applier '%s'; they "
                   "cannot be read from here",
                   remote_of(target)->name, remote_of(target)->applier);
}

static bool disk_resize(struct target *target, const struct machine_def *machine,
                        size_t disk_index, uint64_t disk_bytes, struct err *err)
{
    AUTO(order_release) struct order order;
    AUTO(order_result_release) struct order_result result = {0};
    order_init(target, ORDER_RESIZE, machine, &order);
    order.disk_index = disk_index;
    order.disk_bytes = disk_bytes;
    return give(target, &order, &(struct order_wait){0}, &result, err);
}

struct clone_watch {
    const struct test_options *options;
    bool is_told;
};

static void note_cloned(void *ctx, const struct order_progress *progress)
{
    struct clone_watch *watch = ctx;
    if (!progress->is_cloned || watch->is_told || !watch->options->on_cloned)
        return;
    watch->is_told = true;
    watch->options->on_cloned(watch->options->on_cloned_ctx);
}

static bool too_long(const char *what, const char *text, size_t room, struct err *err)
{
    return text && strlen(text) >= room &&
           !err_set(err, FAIL_LIMIT, "%s has %zu bytes; %zu are allowed", what,
                    strlen(text), room - 1);
}

static bool start_vm(struct target *target, enum order_what what,
                     const struct machine_def *machine,
                     const struct test_options *options, const struct cancel *cancel,
                     struct vm_info *ret, struct err *err)
{
    AUTO(order_release) struct order order;
    AUTO(order_result_release) struct order_result result = {0};
    struct clone_watch watch = {.options = options};
    const struct order_wait wait = {
        .cancel = cancel, .on_progress = note_cloned, .ctx = &watch};
    order_init(target, what, machine, &order);
    order.start = options->start;
    order.boot_deadline_ms = options->boot_deadline_ms;
    if (too_long("test name", options->test_name, sizeof order.test_name, err) ||
        too_long("network", options->network, sizeof order.network, err) ||
        too_long("marker", options->marker, sizeof order.marker, err))
        return false;
    text_copy(order.test_name, sizeof order.test_name, options->test_name);
    text_copy(order.network, sizeof order.network, options->network);
    text_copy(order.marker, sizeof order.marker, options->marker);
    return give(target, &order, &wait, &result, err) &&
           order_vm_from_json(result.body, ret, err);
}

static bool test_start(struct target *target, const struct machine_def *machine,
                       const struct test_options *options, const struct cancel *cancel,
                       struct vm_info *ret, struct err *err)
{
    return start_vm(target, ORDER_TEST_START, machine, options, cancel, ret, err);
}

static bool test_cleanup(struct target *target, const struct machine_def *machine,
                         const char *test_name, struct err *err)
{
    AUTO(order_release) struct order order;
    AUTO(order_result_release) struct order_result result = {0};
    order_init(target, ORDER_TEST_CLEANUP, machine, &order);
    if (too_long("test name", test_name, sizeof order.test_name, err))
        return false;
    text_copy(order.test_name, sizeof order.test_name, test_name);
    return give(target, &order, &(struct order_wait){0}, &result, err);
}

static bool migrate(struct target *target, const struct machine_def *machine,
                    const struct test_options *options, const struct cancel *cancel,
                    struct vm_info *ret, struct err *err)
{
    return start_vm(target, ORDER_MIGRATE, machine, options, cancel, ret, err);
}

static bool complete(struct target *target, const struct machine_def *machine,
                     struct err *err)
{
    return give_plain(target, ORDER_COMPLETE, machine, err);
}

static bool remove_replica(struct target *target, const struct machine_def *machine,
                           struct err *err)
{
    return give_plain(target, ORDER_REMOVE, machine, err);
}

static bool list(struct target *target, target_each each, void *ctx, struct err *err)
{
    AUTO(order_release) struct order order;
    AUTO(order_result_release) struct order_result result = {0};
    order_init(target, ORDER_LIST, NULL, &order);
    return give(target, &order, &(struct order_wait){.is_brief = true}, &result, err) &&
           order_items_each(result.body, each, ctx, err);
}

static bool inventory(struct target *target, target_each_thing each, void *ctx,
                      struct err *err)
{
    AUTO(order_release) struct order order;
    AUTO(order_result_release) struct order_result result = {0};
    order_init(target, ORDER_INVENTORY, NULL, &order);
    return give(target, &order, &(struct order_wait){.is_brief = true}, &result, err) &&
           order_things_each(result.body, each, ctx, err);
}

static void close_remote(struct target *target)
{
    struct target_remote *remote = remote_of(target);
    json_free(remote->options);
    free(remote->applier);
    free(remote->name);
    free(remote->kind);
    free(remote);
}

static const struct target_ops REMOTE_OPS = {
    .kind = "remote",
    .check = check,
    .replica_create = replica_create,
    .disk_open = disk_open,
    .disk_resize = disk_resize,
    .test_start = test_start,
    .test_cleanup = test_cleanup,
    .migrate = migrate,
    .complete = complete,
    .remove = remove_replica,
    .list = list,
    .inventory = inventory,
    .close = close_remote,
};

struct target *target_remote_new(struct order_desk *desk, const char *applier,
                                 const char *name, const char *kind,
                                 const json_t *options)
{
    struct target_remote *remote = xcalloc(1, sizeof *remote);
    remote->base.ops = &REMOTE_OPS;
    remote->desk = desk;
    remote->applier = xstrdup(applier);
    remote->name = xstrdup(name);
    remote->kind = xstrdup(kind);
    remote->options = json_deep_copy(options);
    return &remote->base;
}

const char *target_remote_applier(const struct target *target)
{
    return target && target->ops == &REMOTE_OPS
               ? ((const struct target_remote *)target)->applier
               : NULL;
}

bool target_remote_prove(struct target *target, struct err *err)
{
    AUTO(order_release) struct order order;
    AUTO(order_result_release) struct order_result result = {0};
    order_init(target, ORDER_OPEN, NULL, &order);
    return give(target, &order, &(struct order_wait){.is_brief = true}, &result, err);
}

/* ---- cycles ---- */

static void show_progress(void *ctx, const struct order_progress *progress)
{
    struct apply_progress *out = ctx;
    atomic_store(&out->segments_total, progress->segments_total);
    atomic_store(&out->segments_verified, progress->segments_verified);
    atomic_store(&out->segments_applied, progress->segments_applied);
    atomic_store(&out->written_bytes, progress->written_bytes);
    atomic_store(&out->zeroed_bytes, progress->zeroed_bytes);
    atomic_store(&out->same_bytes, progress->same_bytes);
}

static bool apply(const struct remote_apply *apply, struct order *order,
                  bool *ret_is_open, struct err *err)
{
    const struct apply_context *context = apply->context;
    const struct target_remote *remote = remote_of(context->target);
    AUTO(order_result_release) struct order_result result = {0};
    const struct order_wait wait = {.cancel = context->cancel,
                                    .on_progress = show_progress,
                                    .ctx = context->progress};
    order->known_point = context->known_point;
    text_copy(order->key, sizeof order->key, apply->key_wrapped);
    return order_desk_do(remote->desk, remote->applier, order, &wait, &result,
                         ret_is_open, err);
}

bool target_remote_recover(const struct remote_apply *what, bool *ret_is_open,
                           struct err *err)
{
    AUTO(order_release) struct order order;
    order_init(what->context->target, ORDER_RECOVER, what->context->machine, &order);
    return apply(what, &order, ret_is_open, err);
}

bool target_remote_cycle(const struct remote_apply *what, uint64_t cycle,
                         bool *ret_is_open, struct err *err)
{
    AUTO(order_release) struct order order;
    order_init(what->context->target, ORDER_APPLY, what->context->machine, &order);
    order.cycle = cycle;
    return apply(what, &order, ret_is_open, err);
}
