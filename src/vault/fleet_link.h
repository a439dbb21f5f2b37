/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link that several cycles share in a simulation: everybody gets the same part of it,
 * but nobody more than he can use; and how much a machine has changed since a point in
 * time. Pure, in whole bytes and milliseconds: the same input gives the same run.
 */
#ifndef VAULT_FLEET_LINK_H
#define VAULT_FLEET_LINK_H

#include "base/defs.h"

/* One cycle that sends; embedded by its owner. */
struct fleet_flow {
    void *owner;
    uint64_t left_bytes; /* as on the link */
    uint64_t most_bps;   /* bytes/s it can use at most; 0: no bound */
    uint64_t rate_bps;   /* now */
    size_t at;           /* place in the link, from 1; 0: in none */
};

struct fleet_link {
    uint64_t link_bps; /* 0: no bound */
    uint64_t now_ms;
    struct fleet_flow **flows;
    size_t count, cap;
};

void fleet_link_release(struct fleet_link *link);

/* Every call moves the link to now_ms, which never goes back. */
void fleet_link_add(struct fleet_link *link, struct fleet_flow *flow, uint64_t now_ms);
void fleet_link_drop(struct fleet_link *link, struct fleet_flow *flow, uint64_t now_ms);

/* When the next flow is through, if nothing changes before; UINT64_MAX: none is there. */
uint64_t fleet_link_next_ms(const struct fleet_link *link);

/* A flow that is through at now_ms, dropped; NULL: none. */
struct fleet_flow *fleet_link_take(struct fleet_link *link, uint64_t now_ms);

enum churn_pattern {
    CHURN_SKEWED,    /* the same files again and again: a twentieth of the data is hot */
    CHURN_SCATTERED, /* 4 KiB here and there, each of which dirties a 64 KiB block */
    CHURN_MEASURED,  /* so many changed bytes were seen; they grow with time */
};

/* What has to be read after written_bytes were written to a machine with used_bytes. */
uint64_t churn_changed_bytes(enum churn_pattern pattern, uint64_t used_bytes,
                             uint64_t written_bytes);

#endif
