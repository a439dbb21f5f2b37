/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cycle may start now: those that are due, in the order of sched_rank, within the
 * limits that keep the source's storage usable. Incremental: cycles are offered,
 * withdrawn, started and ended; a decision is O(log n) for each resource of a machine.
 *
 * Pure: `now` is an argument; no clock, threads or I/O. One thread at a time. The same
 * calls give the same decisions.
 *
 * What is counted, each one a limit of its own (0: no limit):
 *   disks whose snapshots lie on one datastore, disks read from one host, disks and
 *   cycles of one gateway.
 * A cycle that alone needs more than a limit runs when nobody else is there, alone.
 */
#ifndef VAULT_ADMISSION_H
#define VAULT_ADMISSION_H

#include "vault/schedule.h"

#define ADMISSION_NAME_BYTES 128

struct admission_limits {
    uint32_t datastore_snapshots;
    uint32_t host_disks;
    uint32_t gateway_disks;
    uint32_t gateway_cycles;
};

/* The limits of the seed articles; cycles at once are the caller's. */
#define ADMISSION_LIMITS_DEFAULT                                                         \
    ((struct admission_limits){                                                          \
        .datastore_snapshots = 15, .host_disks = 8, .gateway_disks = 52})

/* Of the machines that replicate; 0: no limit. */
struct fleet_limits {
    uint32_t gateway_machines;
    uint32_t total_machines;
};
#define FLEET_LIMITS_DEFAULT                                                             \
    ((struct fleet_limits){.gateway_machines = 300, .total_machines = 500})

/* Whether one machine more may be enabled beside so many that replicate already.
 * FAIL_LIMIT with what to do instead. */
MUST_CHECK bool fleet_admits(const struct fleet_limits *limits, const char *gateway,
                             size_t on_gateway, size_t in_all, struct err *err);

struct admission;
struct admission_item;

MUST_CHECK struct admission *admission_new(const struct admission_limits *limits);
/* With every item that is still in it. NULL is fine. */
void admission_free(struct admission *admission);
AUTO_CLEANUP(struct admission, admission_free);

struct admission_datastore {
    const char *name;
    uint32_t disks; /* of this machine on it */
};

/* A cycle that somebody wants. Texts are copied. */
struct admission_request {
    const char *machine; /* for people */
    enum sched_class class;
    bool is_ongoing;         /* began before and was interrupted, resumed or failed */
    uint32_t failures;       /* in a row */
    bool is_blackout_exempt; /* somebody declared that it may start inside one */
    uint64_t due_ms;         /* not before this instant */
    uint64_t order;          /* the tie-break: first come, first served */
    uint64_t expected_ms;    /* how long it will take; 0: not known */
    const char *gateway;     /* "": none, no limit counts */
    const char *site;        /* hosts and datastores of one name at two sites differ */
    const char *host;        /* "": not known, no limit */
    uint32_t disk_count;
    const struct admission_datastore *datastores; /* each name once; those with "" do not
                                                   * count */
    size_t datastore_count;
    void *ctx;
};

/* It waits from now on. now_ms as in admission_next. */
MUST_CHECK struct admission_item *admission_offer(struct admission *admission,
                                                  const struct admission_request *request,
                                                  uint64_t now_ms);
/* A waiting item leaves; freed. */
void admission_withdraw(struct admission *admission, struct admission_item *item);

/*
 * The cycle to start now: it is running from here on, and its resources are taken until
 * admission_end. NULL: none may start before *ret_look_ms (UINT64_MAX: before something
 * is offered or ends). now_ms may be less than at the call before (a clock that was set
 * back): then every instant that was given before moves back by as much, so that what was
 * due in ten minutes still is.
 */
MUST_CHECK struct admission_item *admission_next(struct admission *admission,
                                                 uint64_t now_ms, uint64_t *ret_look_ms);

/* Brings everything that is due to where it waits, and starts nothing: for those who ask
 * why while nobody is free to start anything. */
void admission_settle(struct admission *admission, uint64_t now_ms);

/* A running cycle is over, whatever became of it; freed. */
void admission_end(struct admission *admission, struct admission_item *item);

void *admission_ctx(const struct admission_item *item);
bool admission_is_running(const struct admission_item *item);
/* Running, or due: no longer only planned. */
bool admission_is_due(const struct admission *admission,
                      const struct admission_item *item, uint64_t now_ms);

/* For a running cycle: when it will probably be over; 0: not known. */
void admission_expect(const struct admission *admission, struct admission_item *item,
                      uint64_t end_ms);

enum admission_gate {
    GATE_OPEN,
    GATE_BLACKOUT, /* only what is exempt starts */
    GATE_DOWN,     /* the gateway does not answer: nothing starts */
    GATE_NETWORK,  /* it cannot reach the stores: nothing starts */
};
/* What holds at this gateway from now on; until_ms: probably so long (UINT64_MAX: not
 * known), for those who wait. A gateway is open until told otherwise. */
void admission_set_gate(struct admission *admission, const char *gateway,
                        enum admission_gate gate, uint64_t until_ms);

/* ---- why something waits ---- */

enum admission_reason {
    WAIT_DATASTORE,
    WAIT_HOST,
    WAIT_GATEWAY,
    WAIT_CYCLES,
    WAIT_BLACKOUT,
    WAIT_GATEWAY_DOWN,
    WAIT_NETWORK,
    WAIT_TURN, /* nothing is in its way: starts with the next decision */
};
/* "datastore-snapshots" "host-disks" "gateway-disks" "gateway-cycles" "blackout"
 * "gateway-down" "network" "turn" */
const char *admission_reason_name(enum admission_reason reason);

#define ADMISSION_HOLDERS   8
#define ADMISSION_WHY_BYTES 480

struct admission_wait {
    enum admission_reason reason;
    const char *resource; /* name of datastore, host or gateway; valid until the next call
                           * that changes admission */
    uint32_t used, limit;
    uint32_t wanted;     /* 0: nothing, but somebody before it waits there */
    size_t holder_count; /* those who hold it, in all */
    const char *holders[ADMISSION_HOLDERS]; /* the first of them; as resource */
    const char *after;                      /* who stands before this one; NULL: nobody */
    uint64_t expected_ms;                   /* when it can probably start; 0: not known */
};

/* false: it does not wait (it runs, or is not due). */
bool admission_why(const struct admission *admission, const struct admission_item *item,
                   uint64_t now_ms, struct admission_wait *ret);

/* "8 of 8 disks busy on host esx3: vm-12, vm-40; expected in about 25 min"; out is
 * returned. */
const char *admission_why_text(const struct admission_wait *wait, uint64_t now_ms,
                               char out[ADMISSION_WHY_BYTES]);

#endif
