/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boxes in the state store through which a vault and the appliers of one name talk:
 *
 *   orders/<applier>/key               the key of these boxes, wrapped by the master key
 *   orders/<applier>/order/<number>    the vault's
 *   orders/<applier>/cancel/<number>   the vault's: stop that one
 *   orders/<applier>/progress/<number> the applier's
 *   orders/<applier>/result/<number>   the applier's: it ended
 *   orders/<applier>/beat/<instance>   the applier's: it lives
 *
 * Every message is sealed under the key of the boxes with its own name as context: what
 * is forged, changed, or moved to another box or number does not open. That an old
 * message may not count again is up to the numbers and nonces inside (applier/order.h).
 * Any thread.
 */
#ifndef APPLIER_ORDER_MAIL_H
#define APPLIER_ORDER_MAIL_H

#include "applier/order.h"
#include "store/store.h"

struct order_mail;

enum order_box {
    BOX_ORDER,
    BOX_CANCEL,
    BOX_PROGRESS,
    BOX_RESULT,
    BOX_BEAT, /* by instance; the others by number */
    BOX_COUNT
};

/* Makes the key of the boxes when there is none; both sides may. store and keys are
 * borrowed. FAIL_CORRUPT: it was wrapped by another master key. */
MUST_CHECK struct order_mail *order_mail_open(const char *applier, struct store *store,
                                              struct keys *keys, struct err *err);
void order_mail_close(struct order_mail *mail);

/* Wraps the key of the boxes with the newest master key that is known; that there is none
 * yet is success. */
MUST_CHECK bool order_mail_rewrap(const char *applier, struct store *store,
                                  struct keys *keys, struct err *err);
AUTO_CLEANUP(struct order_mail, order_mail_close);

/* Durable, replaces. FAIL_LIMIT: longer than ORDER_MAX_BYTES. */
MUST_CHECK bool order_mail_put(struct order_mail *mail, enum order_box box,
                               uint64_t number, const struct buf *message,
                               struct err *err);
/* Appended. FAIL_GONE: there is none; FAIL_CORRUPT: not sealed by one of us, or for
 * another box or number, or longer than ORDER_MAX_BYTES. */
MUST_CHECK bool order_mail_get(struct order_mail *mail, enum order_box box,
                               uint64_t number, struct buf *ret, struct err *err);
MUST_CHECK bool order_mail_remove(struct order_mail *mail, enum order_box box,
                                  uint64_t number, struct err *err);

MUST_CHECK bool order_mail_put_beat(struct order_mail *mail,
                                    const struct order_beat *beat, struct err *err);
/* FAIL_CORRUPT also when it is another instance's. */
MUST_CHECK bool order_mail_get_beat(struct order_mail *mail, const struct id *instance,
                                    struct order_beat *ret, struct err *err);
MUST_CHECK bool order_mail_remove_beat(struct order_mail *mail, const struct id *instance,
                                       struct err *err);

#define ORDER_BOX_MAX   512u /* entries of a box that are looked at */
#define ORDER_BEATS_MAX 16u

/* What lies in the boxes; names of other shapes are passed over. */
struct order_listing {
    size_t count[BOX_COUNT];
    uint64_t numbers[BOX_BEAT][ORDER_BOX_MAX]; /* ascending */
    struct id instances[ORDER_BEATS_MAX];
};
MUST_CHECK bool order_mail_list(struct order_mail *mail, struct order_listing *ret,
                                struct err *err);
/* The beats alone. */
MUST_CHECK bool order_mail_list_beats(struct order_mail *mail, struct order_listing *ret,
                                      struct err *err);
bool order_listing_has(const struct order_listing *listing, enum order_box box,
                       uint64_t number);

#endif
