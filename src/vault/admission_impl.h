/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by admission.c and admission_why.c; not for others. */
#ifndef VAULT_ADMISSION_IMPL_H
#define VAULT_ADMISSION_IMPL_H

#include "vault/admission.h"
#include "vault/rank_heap.h"

/* In the order in which a cycle asks for them: from what few share to what all share. */
enum resource_kind {
    RESOURCE_DATASTORE,
    RESOURCE_HOST,
    RESOURCE_GATEWAY,
    RESOURCE_CYCLES,
};

struct need;

struct resource {
    enum resource_kind kind;
    char site[ADMISSION_NAME_BYTES];
    char name[ADMISSION_NAME_BYTES];
    uint32_t limit;
    uint32_t used;
    size_t need_count;      /* of all items; freed with the last */
    struct rank_heap queue; /* needs of those who wait, by their items' order */
    struct need *holders;   /* of those who run, newest first */
    size_t holder_count;
};

/* One item's part of one resource. */
struct need {
    struct admission_item *item;
    struct resource *resource;
    uint32_t count;
    struct rank_node queued;    /* in resource->queue */
    struct need *next, *before; /* in resource->holders */
};

struct gateway {
    struct gateway *next;
    char name[ADMISSION_NAME_BYTES];
    enum admission_gate gate;
    uint64_t until_ms;            /* the caller's time; UINT64_MAX: not known */
    struct admission_item *items; /* all that wait */
};

enum item_place { PLACE_TIMED, PLACE_READY, PLACE_QUEUED, PLACE_GATED, PLACE_RUNNING };

struct admission_item {
    struct admission_item *next, *before; /* of all that wait, or all that run */
    struct admission_item *next_here, *before_here; /* waiting at the same gateway */
    char machine[ADMISSION_NAME_BYTES];
    unsigned rank;
    uint64_t due_ms;
    uint64_t order;
    uint64_t sequence;
    bool is_blackout_exempt;
    uint64_t expected_ms;
    uint64_t end_ms;         /* running: probably; 0: not known */
    struct gateway *gateway; /* NULL: none */
    void *ctx;
    enum item_place place;
    struct admission_item *next_startable; /* while settling */
    struct rank_node node;                 /* in timed or ready */
    size_t need_count;
    struct need needs[];
};

struct admission {
    struct admission_limits limits;
    void *resources; /* tree of tsearch(3) */
    struct gateway *gateways;
    struct rank_heap timed; /* not due yet, by due_ms */
    struct rank_heap ready; /* due, to be looked at, by order */
    struct admission_item *items;
    /* Inside, time never goes back: it is the caller's plus skew_ms, which grows by as
     * much as the caller's clock was set back. */
    uint64_t now_ms;
    uint64_t skew_ms;
    uint64_t sequence;
};

/* Who goes first of two that are due. */
bool admission_item_before(const struct admission_item *a,
                           const struct admission_item *b);

/* Whether the gateway lets it start. */
bool admission_gate_lets(const struct admission_item *item);

bool admission_has_room(const struct need *need);

/* The need that keeps the item from starting, with those of all before it free; NULL:
 * none does. */
const struct need *admission_blocking(const struct admission_item *item);

#endif
