/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/fleet_link.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define UNBOUND_BPS     (TIB)
#define HOT_PART        20u
#define HOT_LEAST_BYTES (64 * MIB)
#define WRITE_BYTES     (4 * KIB)
#define TRACKED_BYTES   (64 * KIB)
#define LEAST_SHARE_BPS ((uint64_t)1)

void fleet_link_release(struct fleet_link *link)
{
    free(link->flows);
    *link = (struct fleet_link){0};
}

static void advance(struct fleet_link *link, uint64_t now_ms)
{
    uint64_t past_ms = now_ms - link->now_ms;
    link->now_ms = now_ms;
    if (past_ms == 0)
        return;
    for (size_t i = 0; i < link->count; i++) {
        struct fleet_flow *flow = link->flows[i];
        double moved = (double)flow->rate_bps * (double)past_ms / 1000.0;
        flow->left_bytes =
            moved >= (double)flow->left_bytes ? 0 : flow->left_bytes - (uint64_t)moved;
    }
}

static uint64_t most_of(const struct fleet_flow *flow)
{
    return flow->most_bps ? flow->most_bps : UNBOUND_BPS;
}

/* Who can use less than an equal part gets what he can use; the rest is shared by the
 * others. */
static void share(struct fleet_link *link)
{
    uint64_t left_bps = link->link_bps;
    size_t others = link->count;
    bool is_settled = link->link_bps == 0;
    for (size_t i = 0; i < link->count; i++)
        link->flows[i]->rate_bps = is_settled ? most_of(link->flows[i]) : 0;
    while (!is_settled && others) {
        uint64_t part_bps = MAX_OF(left_bps / others, LEAST_SHARE_BPS);
        is_settled = true;
        for (size_t i = 0; i < link->count; i++) {
            struct fleet_flow *flow = link->flows[i];
            if (flow->rate_bps || most_of(flow) > part_bps)
                continue;
            flow->rate_bps = most_of(flow);
            left_bps -= MIN_OF(left_bps, flow->rate_bps);
            others--;
            is_settled = false;
        }
    }
    uint64_t part_bps = others ? MAX_OF(left_bps / others, LEAST_SHARE_BPS) : 0;
    for (size_t i = 0; i < link->count; i++) {
        if (link->flows[i]->rate_bps == 0)
            link->flows[i]->rate_bps = part_bps;
    }
}

void fleet_link_add(struct fleet_link *link, struct fleet_flow *flow, uint64_t now_ms)
{
    assert(flow->at == 0);
    advance(link, now_ms);
    if (link->count == link->cap) {
        link->cap = MAX_OF(link->cap * 2, (size_t)8);
        link->flows = xrealloc(link->flows, link->cap, sizeof(struct fleet_flow *));
    }
    link->flows[link->count++] = flow;
    flow->at = link->count;
    share(link);
}

void fleet_link_drop(struct fleet_link *link, struct fleet_flow *flow, uint64_t now_ms)
{
    assert(flow->at && link->flows[flow->at - 1] == flow);
    advance(link, now_ms);
    struct fleet_flow *last = link->flows[--link->count];
    link->flows[flow->at - 1] = last;
    last->at = flow->at;
    flow->at = 0;
    share(link);
}

static uint64_t through_in_ms(const struct fleet_flow *flow)
{
    double ms = ceil((double)flow->left_bytes * 1000.0 / (double)flow->rate_bps);
    return ms > 1e15 ? (uint64_t)1e15 : (uint64_t)ms;
}

uint64_t fleet_link_next_ms(const struct fleet_link *link)
{
    uint64_t first_ms = UINT64_MAX;
    for (size_t i = 0; i < link->count; i++)
        first_ms = MIN_OF(first_ms, link->now_ms + through_in_ms(link->flows[i]));
    return first_ms;
}

struct fleet_flow *fleet_link_take(struct fleet_link *link, uint64_t now_ms)
{
    advance(link, now_ms);
    for (size_t i = 0; i < link->count; i++) {
        struct fleet_flow *flow = link->flows[i];
        /* What a millisecond moves is rounding. */
        if (flow->left_bytes > flow->rate_bps / 1000)
            continue;
        flow->left_bytes = 0;
        fleet_link_drop(link, flow, now_ms);
        return flow;
    }
    return NULL;
}

/* Of `units` equally likely ones, how many were hit at least once by `hits`. */
static double hit_units(double units, double hits)
{
    return units <= 0.0 ? 0.0 : units * (1.0 - exp(-hits / units));
}

uint64_t churn_changed_bytes(enum churn_pattern pattern, uint64_t used_bytes,
                             uint64_t written_bytes)
{
    double changed;
    if (pattern == CHURN_MEASURED)
        return MIN_OF(written_bytes, used_bytes);
    if (pattern == CHURN_SCATTERED) {
        changed = hit_units((double)used_bytes / (double)TRACKED_BYTES,
                            (double)written_bytes / (double)WRITE_BYTES) *
                  (double)TRACKED_BYTES;
    } else {
        double hot = (double)MAX_OF(used_bytes / HOT_PART, (uint64_t)HOT_LEAST_BYTES);
        changed = hit_units(MIN_OF(hot, (double)used_bytes), (double)written_bytes);
    }
    return MIN_OF((uint64_t)changed, used_bytes);
}
