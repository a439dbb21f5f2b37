/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vault and a remote applier write to each other, as JSON (doc/formats/order.md):
 * an order, the progress and the result of it, and the beat by which an applier shows
 * that it lives. Sealed, named and stored by applier/order_mail.h; here only what is
 * inside. Readers are strict: unknown keys, wrong types and whatever is beyond a bound
 * are refused. Pure.
 */
#ifndef APPLIER_ORDER_H
#define APPLIER_ORDER_H

#include "applier/applier.h"
#include "base/finding.h"
#include "http/json.h"
#include "keys/keys.h"

#define ORDER_MAX_BYTES (16 * MIB) /* of any message, sealed */
#define ORDER_NAME_MAX  64         /* of appliers, targets, kinds, tests; NUL included */
#define ORDER_TEXT_MAX  160        /* of a network, a marker */
#define ORDER_MAX_ITEMS 4096u      /* of a listing */

#define ORDER_NUMBER_MAX   UINT64_C(999999999999999) /* in milliseconds: year 33658 */
#define ORDER_LEASE_MIN_MS ((uint64_t)1000)
#define ORDER_LEASE_MAX_MS ((uint64_t)3600 * 1000)

enum order_what {
    ORDER_OPEN,    /* open the target: are its options right there? */
    ORDER_CHECK,   /* target_check */
    ORDER_CREATE,  /* target_replica_create */
    ORDER_RESIZE,  /* target_disk_resize */
    ORDER_RECOVER, /* apply_recover */
    ORDER_APPLY,   /* apply_cycle */
    ORDER_TEST_START,
    ORDER_TEST_CLEANUP,
    ORDER_MIGRATE,
    ORDER_COMPLETE,
    ORDER_REMOVE,
    ORDER_LIST,      /* target_list */
    ORDER_INVENTORY, /* target_inventory */
    ORDER_WHAT_COUNT
};
const char *order_what_name(enum order_what what); /* "apply" */
/* Whether it is about one machine (and then only one at a time); ORDER_CHECK may be. */
bool order_has_machine(enum order_what what);

struct order {
    uint64_t number;    /* ascending; names the objects */
    uint64_t floor;     /* what is below is nobody's any more: ended or given up */
    struct id nonce;    /* random; the result repeats it */
    struct id instance; /* of the applier that may do it; any other one leaves it */
    enum order_what what;
    char target[ORDER_NAME_MAX];
    char kind[ORDER_NAME_MAX];  /* of the target */
    json_t *options;            /* of the target; owned; no secret is in them */
    struct machine_def *def;    /* owned; NULL: none */
    char key[KEYS_WRAPPED_MAX]; /* the machine's data key, wrapped; "" none */
    uint64_t known_point;       /* A6 */
    uint64_t cycle;             /* apply */
    uint64_t disk_index;        /* resize */
    uint64_t disk_bytes;        /* resize */
    /* test start, test clean-up, migrate */
    char test_name[ORDER_NAME_MAX];
    char network[ORDER_TEXT_MAX];
    char marker[ORDER_TEXT_MAX];
    bool start;
    uint64_t boot_deadline_ms;
};

void order_release(struct order *order);
static inline void auto_order_release(struct order *order)
{
    order_release(order);
}
void order_encode(const struct order *order, struct buf *out);
/* *ret is zeroed by the caller, released by him in any case. FAIL_CORRUPT. */
MUST_CHECK bool order_decode(const uint8_t *data, size_t data_bytes, struct order *ret,
                             struct err *err);

struct order_progress {
    struct id nonce;
    bool is_cloned; /* test start: only the boot is waited for */
    uint64_t segments_total, segments_verified, segments_applied;
    uint64_t written_bytes, zeroed_bytes, same_bytes;
};
void order_progress_encode(const struct order_progress *progress, struct buf *out);
MUST_CHECK bool order_progress_decode(const uint8_t *data, size_t data_bytes,
                                      struct order_progress *ret, struct err *err);

struct order_result {
    struct id nonce;
    struct err failure; /* FAIL_NONE: done */
    json_t *body;       /* owned; NULL: none. See below */
};
void order_result_release(struct order_result *result);
static inline void auto_order_result_release(struct order_result *result)
{
    order_result_release(result);
}
void order_result_encode(const struct order_result *result, struct buf *out);
MUST_CHECK bool order_result_decode(const uint8_t *data, size_t data_bytes,
                                    struct order_result *ret, struct err *err);

struct order_beat {
    struct id instance; /* random, made at each start of an applier */
    struct id replaces; /* the instance that ran on this data_dir before; zero: none */
    uint64_t sequence;  /* counts up with every beat */
    uint64_t highest;   /* order number seen so far */
    uint64_t lease_ms;  /* without a beat for so long it does nothing any more */
    uint64_t wall_ms;   /* its clock, for people */
    uint64_t running;   /* orders that it works on */
    char version[32];
    char host[64];
};
void order_beat_encode(const struct order_beat *beat, struct buf *out);
MUST_CHECK bool order_beat_decode(const uint8_t *data, size_t data_bytes,
                                  struct order_beat *ret, struct err *err);

/* ---- bodies of results ---- */

/* test start, migrate */
MUST_CHECK json_t *order_vm_to_json(const struct vm_info *info);
MUST_CHECK bool order_vm_from_json(const json_t *body, struct vm_info *ret,
                                   struct err *err);
/* check; those read are added to findings */
MUST_CHECK json_t *order_findings_to_json(const struct findings *findings);
MUST_CHECK bool order_findings_from_json(const json_t *body, struct findings *findings,
                                         struct err *err);
/* list: an array, item by item */
MUST_CHECK json_t *order_item_to_json(const struct target_item *item);
MUST_CHECK bool order_items_each(const json_t *body, target_each each, void *ctx,
                                 struct err *err);
/* inventory: the same */
MUST_CHECK json_t *order_thing_to_json(const struct target_thing *thing);
MUST_CHECK bool order_things_each(const json_t *body, target_each_thing each, void *ctx,
                                  struct err *err);

#endif
