/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed objects in a store: block/sealed.h with the object's name as its context, so
 * that an object moved to another name does not open. Any thread.
 */
#ifndef STORE_SEALED_STORE_H
#define STORE_SEALED_STORE_H

#include "block/sealed.h"
#include "store/store.h"

/* Durable replacement of the object by payload, sealed. */
MUST_CHECK bool sealed_put(struct store *store, const struct secret *key,
                           enum sealed_kind kind, const char *name,
                           const struct buf *payload, struct err *err);

/* Appends the payload. FAIL_GONE: no such object; FAIL_CORRUPT: damaged or of another
 * name. */
MUST_CHECK bool sealed_get(struct store *store, const struct secret *key,
                           enum sealed_kind kind, const char *name, struct buf *ret,
                           struct err *err);

#endif
