/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door of every store: names are checked here, once, so that no implementation ever
 * sees a name that could leave its folder; then the call goes through the operations
 * table. What can be said in terms of the table (whole object, remove by prefix) is here
 * too, so that all implementations behave the same.
 */
#include "store/store.h"

/* Names listed before they are removed: bounds the memory, not the objects. */
#define REMOVE_BATCH_BYTES (64 * KIB)

static bool char_is_allowed(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           c == '.' || c == '_' || c == '-';
}

/* The part ends with '/' or the string's end; a last part may still grow in a prefix. */
static bool part_is_allowed(const char *part, size_t length, bool may_grow)
{
    if (length > STORE_PART_MAX)
        return false;
    if (may_grow)
        return true;
    return length > 0 && !(length == 1 && part[0] == '.') &&
           !(length == 2 && part[0] == '.' && part[1] == '.');
}

static bool text_is_allowed(const char *text, bool is_prefix)
{
    const char *part = text, *p = text;
    for (;; p++) {
        if (*p && *p != '/' && !char_is_allowed(*p))
            return false;
        if (*p && *p != '/')
            continue;
        if (!part_is_allowed(part, (size_t)(p - part), is_prefix && !*p))
            return false;
        if (!*p)
            return p - text <= STORE_NAME_MAX;
        part = p + 1;
    }
}

bool store_check_name(const char *name, struct err *err)
{
    if (!text_is_allowed(name, false))
        return err_set(err, FAIL_INPUT,
                       "object name '%.100s' is not valid; use 1 to %d of letters, "
                       "digits, '.', '_', '-' and '/', no empty, '.' or '..' part",
                       name, STORE_NAME_MAX);
    return true;
}

bool store_check_prefix(const char *prefix, struct err *err)
{
    if (!text_is_allowed(prefix, true))
        return err_set(err, FAIL_INPUT,
                       "no object name can begin with '%.100s'; use letters, digits, "
                       "'.', '_', '-' and '/', no empty, '.' or '..' part",
                       prefix);
    return true;
}

bool store_put(struct store *store, const char *name, const uint8_t *data,
               size_t data_bytes, enum store_put_mode mode, struct err *err)
{
    if (!store_check_name(name, err))
        return false;
    return store->ops->put(store, name, data, data_bytes, mode, err);
}

bool store_get(struct store *store, const char *name, uint64_t offset_bytes,
               uint8_t *data, size_t data_bytes, size_t *ret_bytes, struct err *err)
{
    if (!store_check_name(name, err))
        return false;
    return store->ops->get(store, name, offset_bytes, data, data_bytes, ret_bytes, err);
}

bool store_get_all(struct store *store, const char *name, size_t max_bytes,
                   struct buf *ret, struct err *err)
{
    for (;;) {
        uint64_t bytes = 0;
        if (!store_size(store, name, &bytes, err))
            return false;
        if (bytes > max_bytes)
            return err_set(err, FAIL_LIMIT, "object '%s' is larger than %zu bytes", name,
                           max_bytes);
        /* One byte more than expected: a larger object put meanwhile must not pass as a
         * whole one. One get sees one object, old or new. */
        size_t got = 0;
        buf_reserve(ret, (size_t)bytes + 1);
        bool ok = store_get(store, name, 0, ret->data + ret->bytes, (size_t)bytes + 1,
                            &got, err);
        ret->data[ret->bytes + (ok && got <= bytes ? got : 0)] = 0;
        if (!ok)
            return false;
        if (got > bytes)
            continue;
        ret->bytes += got;
        return true;
    }
}

bool store_size(struct store *store, const char *name, uint64_t *ret_bytes,
                struct err *err)
{
    if (!store_check_name(name, err))
        return false;
    return store->ops->size(store, name, ret_bytes, err);
}

bool store_list(struct store *store, const char *prefix,
                bool (*each)(void *ctx, const char *name, uint64_t bytes,
                             struct err *err),
                void *ctx, struct err *err)
{
    if (!store_check_prefix(prefix, err))
        return false;
    return store->ops->list(store, prefix, each, ctx, err);
}

bool store_remove(struct store *store, const char *name, struct err *err)
{
    if (!store_check_name(name, err))
        return false;
    return store->ops->remove(store, name, err);
}

struct name_batch {
    struct buf names; /* NUL-separated */
    size_t count;
    bool is_full;
};

/* Ends the listing with an "error" of its own when the batch is full. */
static bool collect_name(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct name_batch *batch = ctx;
    (void)bytes;
    if (batch->names.bytes >= REMOVE_BATCH_BYTES) {
        batch->is_full = true;
        return err_set(err, FAIL_LIMIT, "batch of names is full");
    }
    buf_append(&batch->names, name, strlen(name) + 1);
    batch->count++;
    return true;
}

static bool remove_batch(struct store *store, const char *prefix, bool *ret_is_last,
                         struct err *err)
{
    struct name_batch batch = {0};
    struct err list_err = ERR_INIT;
    bool ok = store_list(store, prefix, collect_name, &batch, &list_err);
    if (!ok && !batch.is_full)
        *err = list_err;
    else
        ok = true;
    const char *name = buf_text(&batch.names);
    for (size_t i = 0; ok && i < batch.count; i++, name += strlen(name) + 1)
        ok = store_remove(store, name, err);
    buf_release(&batch.names);
    *ret_is_last = !batch.is_full;
    return ok;
}

bool store_remove_prefix(struct store *store, const char *prefix, struct err *err)
{
    if (!*prefix)
        return err_set(err, FAIL_INPUT, "refused to remove a whole store; name a prefix");
    bool is_last = false;
    while (!is_last)
        if (!remove_batch(store, prefix, &is_last, err))
            return err_wrap(err, "remove objects '%s*'", prefix);
    return true;
}

struct store *store_view(struct store *store, const struct cancel *hurry)
{
    return store->ops->view ? store->ops->view(store, hurry) : NULL;
}

void store_close(struct store *store)
{
    if (store)
        store->ops->close(store);
}
