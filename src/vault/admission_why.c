/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a cycle waits, for people and programs. Looks only: what it says is computed from
 * where things stand, so that asking never changes a decision.
 *
 * The expectation is the instant at which, by what is known of the holders, enough is
 * free for those before the item and for itself. One holder without a known end that
 * would be needed for it: nothing is said.
 */
#include "vault/admission_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/text.h"

#define MINUTE_MS ((uint64_t)60 * 1000)

const char *admission_reason_name(enum admission_reason reason)
{
    static const char *const names[] = {
        [WAIT_DATASTORE] = "datastore-snapshots",
        [WAIT_HOST] = "host-disks",
        [WAIT_GATEWAY] = "gateway-disks",
        [WAIT_CYCLES] = "gateway-cycles",
        [WAIT_BLACKOUT] = "blackout",
        [WAIT_GATEWAY_DOWN] = "gateway-down",
        [WAIT_NETWORK] = "network",
        [WAIT_TURN] = "turn",
    };
    return names[reason];
}

struct ending {
    uint64_t end_ms;
    uint32_t count;
};

static int ending_compare(const void *a, const void *b)
{
    const struct ending *x = a, *y = b;
    return x->end_ms == y->end_ms ? 0 : x->end_ms < y->end_ms ? -1 : 1;
}

/* What those ask for who stand before the need in its queue. */
static uint64_t asked_before(const struct need *need)
{
    const struct rank_heap *queue = &need->resource->queue;
    uint64_t count = 0;
    for (size_t i = 1; i <= queue->count; i++) {
        const struct need *other = queue->nodes[i]->owner;
        if (other != need && admission_item_before(other->item, need->item))
            count += other->count;
    }
    return count;
}

/* Inside time; 0: not known. Overdue holders have no known end. */
static uint64_t expected_of(const struct need *need, uint64_t now_ms)
{
    const struct resource *r = need->resource;
    AUTO(free) struct ending *endings = xcalloc(r->holder_count + 1, sizeof *endings);
    size_t count = 0;
    for (const struct need *h = r->holders; h; h = h->next)
        endings[count++] = (struct ending){
            .end_ms = h->item->end_ms > now_ms ? h->item->end_ms : UINT64_MAX,
            .count = h->count};
    qsort(endings, count, sizeof *endings, ending_compare);
    uint64_t wanted = asked_before(need) + need->count;
    uint64_t free = r->limit > r->used ? r->limit - r->used : 0;
    uint64_t used = r->used;
    for (size_t i = 0; i < count; i++) {
        if (endings[i].end_ms == UINT64_MAX)
            return 0;
        used -= endings[i].count;
        free = r->limit > used ? r->limit - used : 0;
        if (free >= wanted || (used == 0 && wanted == need->count))
            return endings[i].end_ms;
    }
    return 0;
}

static enum admission_reason reason_of(enum resource_kind kind)
{
    switch (kind) {
    case RESOURCE_DATASTORE:
        return WAIT_DATASTORE;
    case RESOURCE_HOST:
        return WAIT_HOST;
    case RESOURCE_GATEWAY:
        return WAIT_GATEWAY;
    case RESOURCE_CYCLES:
        return WAIT_CYCLES;
    }
    return WAIT_TURN;
}

static void fill_gate(const struct admission_item *item, struct admission_wait *ret)
{
    const struct gateway *g = item->gateway;
    ret->reason = g->gate == GATE_BLACKOUT  ? WAIT_BLACKOUT
                  : g->gate == GATE_NETWORK ? WAIT_NETWORK
                                            : WAIT_GATEWAY_DOWN;
    ret->resource = g->name;
    ret->expected_ms = g->until_ms == UINT64_MAX ? 0 : g->until_ms;
}

static const struct need *need_of(const struct admission_item *item,
                                  const struct resource *resource)
{
    for (size_t i = 0; i < item->need_count; i++) {
        if (item->needs[i].resource == resource)
            return &item->needs[i];
    }
    return NULL;
}

/*
 * Who waits only because somebody stands before him waits for what that one waits for.
 * Each step goes to somebody who goes before and to a resource that is asked for later,
 * so that there are few.
 */
static const struct resource *lacking(const struct need *need, const char **ret_after)
{
    for (;;) {
        const struct need *first = rank_heap_first(&need->resource->queue);
        bool is_behind =
            first && first != need && admission_item_before(first->item, need->item);
        if (is_behind && !*ret_after)
            *ret_after = first->item->machine;
        if (!is_behind || !admission_has_room(need))
            return need->resource;
        const struct need *next = admission_blocking(first->item);
        if (!next)
            return need->resource;
        need = next;
    }
}

static void fill_need(const struct admission *admission, const struct need *need,
                      uint64_t inside_ms, struct admission_wait *ret)
{
    const struct resource *r = lacking(need, &ret->after);
    const struct need *own = need_of(need->item, r);
    ret->reason = reason_of(r->kind);
    ret->resource = r->name;
    ret->used = r->used;
    ret->limit = r->limit;
    ret->holder_count = r->holder_count;
    size_t count = 0;
    for (const struct need *h = r->holders; h && count < ADMISSION_HOLDERS; h = h->next)
        ret->holders[count++] = h->item->machine;
    if (!own)
        return;
    ret->wanted = own->count;
    uint64_t expected_ms = expected_of(own, inside_ms);
    ret->expected_ms = expected_ms ? expected_ms - admission->skew_ms : 0;
}

bool admission_why(const struct admission *admission, const struct admission_item *item,
                   uint64_t now_ms, struct admission_wait *ret)
{
    *ret = (struct admission_wait){.reason = WAIT_TURN, .resource = ""};
    if (item->place == PLACE_RUNNING || !admission_is_due(admission, item, now_ms))
        return false;
    if (!admission_gate_lets(item)) {
        fill_gate(item, ret);
        return true;
    }
    const struct need *need = admission_blocking(item);
    if (need)
        fill_need(admission, need, now_ms + admission->skew_ms, ret);
    return true;
}

static void put_busy(const struct admission_wait *wait, struct buf *out)
{
    static const struct {
        const char *what, *where;
    } words[] = {
        [WAIT_DATASTORE] = {"disk snapshots taken", "datastore"},
        [WAIT_HOST] = {"disks busy", "host"},
        [WAIT_GATEWAY] = {"disks busy", "gateway"},
        [WAIT_CYCLES] = {"cycles running", "gateway"},
    };
    buf_printf(out, "%u of %u %s on %s %s", wait->used, wait->limit,
               words[wait->reason].what, words[wait->reason].where, wait->resource);
    for (size_t i = 0; i < ADMISSION_HOLDERS && wait->holders[i]; i++)
        buf_printf(out, "%s %s", i ? "," : ":", wait->holders[i]);
    if (wait->holder_count > ADMISSION_HOLDERS)
        buf_printf(out, " and %zu more", wait->holder_count - ADMISSION_HOLDERS);
    if (wait->wanted > 1 && wait->used < wait->limit)
        buf_printf(out, "; %u wanted", wait->wanted);
    if (wait->after)
        buf_printf(out, "; %s goes first", wait->after);
}

static void put_expected(uint64_t expected_ms, uint64_t now_ms, struct buf *out)
{
    uint64_t minutes = (expected_ms - now_ms + MINUTE_MS - 1) / MINUTE_MS;
    if (minutes < 120)
        buf_printf(out, "; expected in about %u min", (unsigned)minutes);
    else if (minutes < 2 * 24 * 60)
        buf_printf(out, "; expected in about %u h", (unsigned)((minutes + 30) / 60));
    else
        buf_printf(out, "; expected in about %u days",
                   (unsigned)((minutes + 12 * 60) / (24 * 60)));
}

const char *admission_why_text(const struct admission_wait *wait, uint64_t now_ms,
                               char out[ADMISSION_WHY_BYTES])
{
    AUTO(buf_release) struct buf text = {0};
    switch (wait->reason) {
    case WAIT_BLACKOUT:
        buf_printf(&text, "blackout window of gateway %s", wait->resource);
        break;
    case WAIT_GATEWAY_DOWN:
        buf_printf(&text, "gateway %s does not answer", wait->resource);
        break;
    case WAIT_NETWORK:
        buf_printf(&text, "gateway %s cannot reach the stores", wait->resource);
        break;
    case WAIT_TURN:
        buf_append_text(&text, "is next");
        break;
    default:
        put_busy(wait, &text);
    }
    if (wait->expected_ms > now_ms)
        put_expected(wait->expected_ms, now_ms, &text);
    text_copy(out, ADMISSION_WHY_BYTES, buf_text(&text));
    return out;
}
