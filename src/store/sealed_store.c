/* SPDX-License-Identifier: Apache-2.0 */
/* Seal and put, get and open; the only place where gateway and applier do either. */
#include "store/sealed_store.h"

bool sealed_put(struct store *store, const struct secret *key, enum sealed_kind kind,
                const char *name, const struct buf *payload, struct err *err)
{
    AUTO(buf_release) struct buf sealed = {0};
    return sealed_encode(key, kind, name, payload->data, payload->bytes, &sealed, err) &&
           store_put(store, name, sealed.data, sealed.bytes, STORE_REPLACE, err);
}

bool sealed_get(struct store *store, const struct secret *key, enum sealed_kind kind,
                const char *name, struct buf *ret, struct err *err)
{
    AUTO(buf_release) struct buf sealed = {0};
    if (!store_get_all(store, name, SEALED_MAX_BYTES, &sealed, err))
        return false;
    if (!sealed_decode(key, kind, name, sealed.data, sealed.bytes, ret, err))
        return err_wrap(err, "object '%s'", name);
    return true;
}
