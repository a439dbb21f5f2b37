/* SPDX-License-Identifier: Apache-2.0 */
/* A list: an installation has a handful of targets. One that is held by nobody stays open
 * while its name has no other options. */
#include "applier/order_targets.h"

#include "base/text.h"

struct order_target {
    struct order_target *next;
    /* Set when it is made, never changed. */
    char name[ORDER_NAME_MAX];
    char kind[ORDER_NAME_MAX];
    json_t *options; /* owned: the target borrows texts of it */
    struct target *target;
    /* Guarded by the list's lock. */
    size_t holders;
};

struct order_targets {
    /* Set by order_targets_new, never changed. */
    order_open_target open;
    char *data_dir;
    /* Guarded by lock; it is held while a target is opened: another order for the same
     * one must wait for it. */
    pthread_mutex_t lock;
    struct order_target *first;
};

static void free_one(struct order_target *held)
{
    target_close(held->target);
    json_free(held->options);
    free(held);
}

struct order_targets *order_targets_new(order_open_target open, const char *data_dir)
{
    struct order_targets *targets = xcalloc(1, sizeof *targets);
    targets->open = open;
    targets->data_dir = xstrdup(data_dir);
    (void)pthread_mutex_init(&targets->lock, NULL); /* default attributes cannot fail */
    return targets;
}

void order_targets_free(struct order_targets *targets)
{
    if (!targets)
        return;
    while (targets->first) {
        struct order_target *held = targets->first;
        targets->first = held->next;
        free_one(held);
    }
    (void)pthread_mutex_destroy(&targets->lock); /* nobody holds it */
    free(targets->data_dir);
    free(targets);
}

static bool is_meant(const struct order_target *held, const struct order *order)
{
    return strcmp(held->name, order->target) == 0 &&
           strcmp(held->kind, order->kind) == 0 &&
           json_equal(held->options, order->options);
}

/* Those of the name with other options that nobody holds. */
static void drop_old_locked(struct order_targets *targets, const struct order *order)
{
    struct order_target **at = &targets->first;
    while (*at) {
        struct order_target *held = *at;
        if (held->holders || strcmp(held->name, order->target) != 0 ||
            is_meant(held, order)) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        free_one(held);
    }
}

struct order_target *order_targets_take(struct order_targets *targets,
                                        const struct order *order, struct err *err)
{
    LOCK_GUARD(&targets->lock);
    drop_old_locked(targets, order);
    for (struct order_target *held = targets->first; held; held = held->next)
        if (is_meant(held, order)) {
            held->holders++;
            return held;
        }
    struct order_target *held = xcalloc(1, sizeof *held);
    text_copy(held->name, sizeof held->name, order->target);
    text_copy(held->kind, sizeof held->kind, order->kind);
    held->options = json_deep_copy(order->options);
    held->target =
        targets->open(held->name, held->kind, held->options, targets->data_dir, err);
    if (!held->target) {
        free_one(held);
        return NULL;
    }
    held->holders = 1;
    held->next = targets->first;
    targets->first = held;
    return held;
}

struct target *order_target_get(const struct order_target *held)
{
    return held->target;
}

void order_targets_give(struct order_targets *targets, struct order_target *held)
{
    LOCK_GUARD(&targets->lock);
    if (held)
        held->holders--;
}
