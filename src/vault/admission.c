/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cycle asks for its resources in one order: datastores (by name), host, gateway. It
 * stands in the queue of each one up to the first that it cannot have, and in none behind
 * that; it takes them all at once when it has come to the end. Who is not the first of a
 * queue waits, even where there is room: that is the reservation, which lets a large
 * machine start at all.
 *
 * Invariants:
 *  A1  used <= limit of every resource, but for a single holder that alone needs more;
 *  A2  nobody takes a resource while somebody who goes before him stands in its queue;
 *  A3  a due item is in `ready`, or at its gateway's gate, or in the queues of its needs
 *      up to the one that blocks it; it gets into `ready` when that may have changed: the
 *      resource got room, the item became the first of a queue, was overtaken there, or
 *      the gate moved;
 *  A4  the first of all items waits only for running ones, on one resource after the
 *      other, so that its wait is bounded by their durations; what keeps coming back in
 *      vain is ranked last (schedule.h), so that everybody gets to be the first;
 *  A5  who waits at a gate stands in no queue: other gateways go on.
 * Why this way: one queue over all would let one full host hold up everybody; queues
 * without the fixed order of asking would let two resources that are never free at the
 * same instant starve a machine that needs both.
 * Must never do: look at a clock; pre-empt a running cycle.
 */
#include "vault/admission_impl.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    uint64_t sum = 0;
    return add_u64(a, b, &sum) ? sum : UINT64_MAX;
}

/* A clock that was set back: what is due in an hour stays due in an hour. */
static void note_now(struct admission *admission, uint64_t now_ms)
{
    uint64_t inside_ms = add_capped(now_ms, admission->skew_ms);
    if (inside_ms < admission->now_ms)
        admission->skew_ms += admission->now_ms - inside_ms;
    else
        admission->now_ms = inside_ms;
}

/* ---- order ---- */

bool admission_item_before(const struct admission_item *a, const struct admission_item *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms;
    return a->order != b->order ? a->order < b->order : a->sequence < b->sequence;
}

static bool item_before(const void *a, const void *b)
{
    return admission_item_before(a, b);
}

static bool item_due_before(const void *a, const void *b)
{
    const struct admission_item *x = a, *y = b;
    return x->due_ms != y->due_ms ? x->due_ms < y->due_ms : x->sequence < y->sequence;
}

static bool need_before(const void *a, const void *b)
{
    const struct need *x = a, *y = b;
    return admission_item_before(x->item, y->item);
}

/* ---- resources ---- */

static int resource_compare(const void *a, const void *b)
{
    const struct resource *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->site, y->site);
}

static uint32_t limit_of(const struct admission_limits *limits, enum resource_kind kind)
{
    switch (kind) {
    case RESOURCE_DATASTORE:
        return limits->datastore_snapshots;
    case RESOURCE_HOST:
        return limits->host_disks;
    case RESOURCE_GATEWAY:
        return limits->gateway_disks;
    case RESOURCE_CYCLES:
        return limits->gateway_cycles;
    }
    return 0;
}

static struct resource *resource_get(struct admission *admission, enum resource_kind kind,
                                     const char *site, const char *name)
{
    struct resource key = {.kind = kind};
    text_copy(key.site, sizeof key.site, site ? site : "");
    text_copy(key.name, sizeof key.name, name);
    struct resource **found = tfind(&key, &admission->resources, resource_compare);
    if (found)
        return *found;
    struct resource *resource = xcalloc(1, sizeof *resource);
    *resource = key;
    resource->limit = limit_of(&admission->limits, kind);
    found = tsearch(resource, &admission->resources, resource_compare);
    assert(found);
    return *found;
}

static void resource_drop(struct admission *admission, struct resource *resource)
{
    if (--resource->need_count)
        return;
    (void)tdelete(resource, &admission->resources, resource_compare);
    rank_heap_release(&resource->queue);
    free(resource);
}

bool admission_has_room(const struct need *need)
{
    const struct resource *r = need->resource;
    if (r->limit == 0)
        return true;
    if (need->count > r->limit)
        return r->used == 0;
    return r->used <= r->limit && need->count <= r->limit - r->used;
}

static struct need *queue_first(const struct resource *resource)
{
    return rank_heap_first(&resource->queue);
}

static bool is_blocked(const struct need *need)
{
    const struct need *first = queue_first(need->resource);
    return !admission_has_room(need) ||
           (first && first != need && need_before(first, need));
}

const struct need *admission_blocking(const struct admission_item *item)
{
    for (size_t i = 0; i < item->need_count; i++) {
        if (is_blocked(&item->needs[i]))
            return &item->needs[i];
    }
    return NULL;
}

static struct gateway *gateway_get(struct admission *admission, const char *name)
{
    for (struct gateway *g = admission->gateways; g; g = g->next) {
        if (strcmp(g->name, name) == 0)
            return g;
    }
    struct gateway *gateway = xcalloc(1, sizeof *gateway);
    text_copy(gateway->name, sizeof gateway->name, name);
    gateway->until_ms = UINT64_MAX;
    gateway->next = admission->gateways;
    admission->gateways = gateway;
    return gateway;
}

/* ---- where an item is ---- */

static void make_ready(struct admission *admission, struct admission_item *item)
{
    if (item->node.at)
        return;
    rank_heap_add(&admission->ready, &item->node, item_before);
    item->place = PLACE_READY;
}

static void ready_first_of(struct admission *admission, struct resource *resource)
{
    struct need *first = queue_first(resource);
    if (first)
        make_ready(admission, first->item);
}

static void leave_queue(struct admission *admission, struct need *need)
{
    if (!need->queued.at)
        return;
    bool was_first = queue_first(need->resource) == need;
    rank_heap_drop(&need->resource->queue, &need->queued, need_before);
    if (was_first)
        ready_first_of(admission, need->resource);
}

static void enter_queue(struct admission *admission, struct need *need)
{
    if (need->queued.at)
        return;
    struct need *first = queue_first(need->resource);
    rank_heap_add(&need->resource->queue, &need->queued, need_before);
    if (first && queue_first(need->resource) == need)
        make_ready(admission, first->item); /* overtaken: it may hold wider queues */
}

static void leave_queues(struct admission *admission, struct admission_item *item)
{
    for (size_t i = 0; i < item->need_count; i++)
        leave_queue(admission, &item->needs[i]);
}

static void list_add(struct admission *admission, struct admission_item *item)
{
    item->next = admission->items;
    if (item->next)
        item->next->before = item;
    admission->items = item;
    if (!item->gateway)
        return;
    item->next_here = item->gateway->items;
    if (item->next_here)
        item->next_here->before_here = item;
    item->gateway->items = item;
}

static void leave_gateway(struct admission_item *item)
{
    if (!item->gateway)
        return;
    if (item->before_here)
        item->before_here->next_here = item->next_here;
    else
        item->gateway->items = item->next_here;
    if (item->next_here)
        item->next_here->before_here = item->before_here;
    item->next_here = item->before_here = NULL;
}

static void item_free(struct admission *admission, struct admission_item *item)
{
    if (item->before)
        item->before->next = item->next;
    else
        admission->items = item->next;
    if (item->next)
        item->next->before = item->before;
    for (size_t i = 0; i < item->need_count; i++)
        resource_drop(admission, item->needs[i].resource);
    free(item);
}

/* ---- offer and withdraw ---- */

static void add_need(struct admission *admission, struct admission_item *item,
                     enum resource_kind kind, const char *site, const char *name,
                     uint32_t count)
{
    if (!name || !*name || count == 0)
        return;
    struct need *need = &item->needs[item->need_count++];
    need->item = item;
    need->resource = resource_get(admission, kind, site, name);
    need->resource->need_count++;
    need->count = count;
    need->queued.owner = need;
}

static int need_compare(const void *a, const void *b)
{
    const struct need *x = a, *y = b;
    return resource_compare(x->resource, y->resource);
}

static void add_needs(struct admission *admission, struct admission_item *item,
                      const struct admission_request *r)
{
    for (size_t i = 0; i < r->datastore_count; i++)
        add_need(admission, item, RESOURCE_DATASTORE, r->site, r->datastores[i].name,
                 r->datastores[i].disks);
    qsort(item->needs, item->need_count, sizeof item->needs[0], need_compare);
    for (size_t i = 0; i < item->need_count; i++)
        item->needs[i].queued.owner = &item->needs[i]; /* they have moved */
    add_need(admission, item, RESOURCE_HOST, r->site, r->host, r->disk_count);
    add_need(admission, item, RESOURCE_GATEWAY, "", r->gateway, r->disk_count);
    add_need(admission, item, RESOURCE_CYCLES, "", r->gateway, 1);
}

struct admission_item *admission_offer(struct admission *admission,
                                       const struct admission_request *request,
                                       uint64_t now_ms)
{
    note_now(admission, now_ms);
    size_t most = request->datastore_count + 3;
    struct admission_item *item = xcalloc(1, sizeof *item + most * sizeof item->needs[0]);
    text_copy(item->machine, sizeof item->machine, request->machine);
    item->rank = sched_rank(request->class, request->is_ongoing, request->failures);
    item->due_ms = add_capped(request->due_ms, admission->skew_ms);
    item->order = request->order;
    item->sequence = admission->sequence++;
    item->is_blackout_exempt = request->is_blackout_exempt;
    item->expected_ms = request->expected_ms;
    item->ctx = request->ctx;
    item->node.owner = item;
    if (request->gateway && *request->gateway)
        item->gateway = gateway_get(admission, request->gateway);
    add_needs(admission, item, request);
    list_add(admission, item);
    item->place = PLACE_TIMED;
    rank_heap_add(&admission->timed, &item->node, item_due_before);
    return item;
}

static void leave_heaps(struct admission *admission, struct admission_item *item)
{
    if (!item->node.at)
        return;
    if (item->place == PLACE_TIMED)
        rank_heap_drop(&admission->timed, &item->node, item_due_before);
    else
        rank_heap_drop(&admission->ready, &item->node, item_before);
}

void admission_withdraw(struct admission *admission, struct admission_item *item)
{
    assert(item->place != PLACE_RUNNING);
    leave_heaps(admission, item);
    leave_queues(admission, item);
    leave_gateway(item);
    item_free(admission, item);
}

/* ---- deciding ---- */

bool admission_gate_lets(const struct admission_item *item)
{
    if (!item->gateway || item->gateway->gate == GATE_OPEN)
        return true;
    return item->gateway->gate == GATE_BLACKOUT && item->is_blackout_exempt;
}

static void start(struct admission *admission, struct admission_item *item)
{
    leave_gateway(item);
    item->place = PLACE_RUNNING;
    item->end_ms =
        item->expected_ms ? add_capped(admission->now_ms, item->expected_ms) : 0;
    for (size_t i = 0; i < item->need_count; i++) {
        struct need *need = &item->needs[i];
        struct resource *resource = need->resource;
        resource->used += need->count;
        resource->holder_count++;
        need->next = resource->holders;
        if (need->next)
            need->next->before = need;
        resource->holders = need;
    }
    leave_queues(admission, item);
    /* Who was overtaken may stand in wider queues for what he can no longer have. */
    for (size_t i = 0; i < item->need_count; i++)
        ready_first_of(admission, item->needs[i].resource);
}

/* false: it may not start; it stands at the gate or in queues. */
static bool may_start(struct admission *admission, struct admission_item *item)
{
    size_t passed = 0;
    if (!admission_gate_lets(item)) {
        leave_queues(admission, item);
        item->place = PLACE_GATED;
        return false;
    }
    while (passed < item->need_count && !is_blocked(&item->needs[passed]))
        passed++;
    if (passed == item->need_count)
        return true;
    item->place = PLACE_QUEUED;
    for (size_t i = 0; i < item->need_count; i++) {
        if (i <= passed)
            enter_queue(admission, &item->needs[i]);
        else
            leave_queue(admission, &item->needs[i]);
    }
    return false;
}

static void take_due(struct admission *admission)
{
    for (;;) {
        struct admission_item *item = rank_heap_first(&admission->timed);
        if (!item || item->due_ms > admission->now_ms)
            return;
        rank_heap_drop(&admission->timed, &item->node, item_due_before);
        make_ready(admission, item);
    }
}

struct admission_item *admission_next(struct admission *admission, uint64_t now_ms,
                                      uint64_t *ret_look_ms)
{
    note_now(admission, now_ms);
    take_due(admission);
    for (;;) {
        struct admission_item *item = rank_heap_first(&admission->ready);
        if (!item)
            break;
        rank_heap_drop(&admission->ready, &item->node, item_before);
        if (may_start(admission, item)) {
            start(admission, item);
            *ret_look_ms = now_ms;
            return item;
        }
    }
    const struct admission_item *first = rank_heap_first(&admission->timed);
    *ret_look_ms = first && first->due_ms != UINT64_MAX
                       ? first->due_ms - admission->skew_ms
                       : UINT64_MAX;
    return NULL;
}

void admission_settle(struct admission *admission, uint64_t now_ms)
{
    struct admission_item *startable = NULL;
    note_now(admission, now_ms);
    take_due(admission);
    for (;;) {
        struct admission_item *item = rank_heap_first(&admission->ready);
        if (!item)
            break;
        rank_heap_drop(&admission->ready, &item->node, item_before);
        if (!may_start(admission, item))
            continue;
        item->next_startable = startable;
        startable = item;
    }
    for (; startable; startable = startable->next_startable)
        make_ready(admission, startable);
}

void admission_end(struct admission *admission, struct admission_item *item)
{
    assert(item->place == PLACE_RUNNING);
    for (size_t i = 0; i < item->need_count; i++) {
        struct need *need = &item->needs[i];
        struct resource *resource = need->resource;
        resource->used -= need->count;
        resource->holder_count--;
        if (need->before)
            need->before->next = need->next;
        else
            resource->holders = need->next;
        if (need->next)
            need->next->before = need->before;
        ready_first_of(admission, resource);
    }
    item_free(admission, item);
}

void admission_set_gate(struct admission *admission, const char *gateway,
                        enum admission_gate gate, uint64_t until_ms)
{
    struct gateway *g = gateway_get(admission, gateway);
    bool is_same = g->gate == gate;
    g->gate = gate;
    g->until_ms = until_ms;
    if (is_same)
        return;
    for (struct admission_item *i = g->items; i; i = i->next_here)
        make_ready(admission, i); /* what is not due is in `timed` and stays there */
}

/* ---- the whole ---- */

struct admission *admission_new(const struct admission_limits *limits)
{
    struct admission *admission = xcalloc(1, sizeof *admission);
    admission->limits = *limits;
    return admission;
}

void admission_free(struct admission *admission)
{
    if (!admission)
        return;
    while (admission->items)
        item_free(admission, admission->items);
    while (admission->gateways) {
        struct gateway *gateway = admission->gateways;
        admission->gateways = gateway->next;
        free(gateway);
    }
    rank_heap_release(&admission->timed);
    rank_heap_release(&admission->ready);
    free(admission);
}

void *admission_ctx(const struct admission_item *item)
{
    return item->ctx;
}

bool admission_is_running(const struct admission_item *item)
{
    return item->place == PLACE_RUNNING;
}

bool admission_is_due(const struct admission *admission,
                      const struct admission_item *item, uint64_t now_ms)
{
    return item->place != PLACE_TIMED ||
           item->due_ms <= add_capped(now_ms, admission->skew_ms);
}

void admission_expect(const struct admission *admission, struct admission_item *item,
                      uint64_t end_ms)
{
    item->end_ms = end_ms ? add_capped(end_ms, admission->skew_ms) : 0;
}

bool fleet_admits(const struct fleet_limits *limits, const char *gateway,
                  size_t on_gateway, size_t in_all, struct err *err)
{
    if (limits->total_machines && in_all >= limits->total_machines)
        return err_set(err, FAIL_LIMIT,
                       "%zu of %u machines are replicating; complete or stop some, or "
                       "raise total_machines",
                       in_all, limits->total_machines);
    if (limits->gateway_machines && on_gateway >= limits->gateway_machines)
        return err_set(err, FAIL_LIMIT,
                       "gateway '%s' replicates %zu of %u machines; add a scale-out "
                       "gateway, or raise gateway_machines",
                       gateway, on_gateway, limits->gateway_machines);
    return true;
}
