/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in memory, for tests and for measuring without a disk: a sorted array of
 * (name, bytes) under one lock. Bytes are copied in and out.
 *
 * M1  names are unique and in ascending byte order;
 * M2  no name is a folder of another (the rule that a folder tree imposes on all).
 * Must never call the lister's each() with the lock held: it may call us back.
 */
#include "store/store.h"

struct object {
    char *name;
    uint8_t *data;
    size_t bytes;
};

struct store_memory {
    struct store base;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct object *objects;
    size_t count, cap;
};

static struct store_memory *memory_of(struct store *store)
{
    return (struct store_memory *)store;
}

/* First object with a name >= (or >, when after) the given one. */
static size_t find_locked(const struct store_memory *m, const char *name, bool after)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(m->objects[mid].name, name);
        if (order < 0 || (after && order == 0))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct object *get_locked(struct store_memory *m, const char *name)
{
    size_t at = find_locked(m, name, false);
    if (at < m->count && strcmp(m->objects[at].name, name) == 0)
        return &m->objects[at];
    return NULL;
}

static bool name_is_free_locked(struct store_memory *m, const char *name, struct err *err)
{
    char path[STORE_NAME_MAX + 2];
    size_t length = strlen(name);
    memcpy(path, name, length + 1);
    for (size_t i = 0; i < length; i++) {
        if (name[i] != '/')
            continue;
        path[i] = 0;
        if (get_locked(m, path))
            return err_set(err, FAIL_CONFLICT,
                           "put '%s': '%s' is an object, not a folder", name, path);
        path[i] = '/';
    }
    path[length] = '/';
    path[length + 1] = 0;
    size_t at = find_locked(m, path, false);
    if (at < m->count && strncmp(m->objects[at].name, path, length + 1) == 0)
        return err_set(err, FAIL_CONFLICT, "put '%s': it is the folder of other objects",
                       name);
    return true;
}

static void insert_locked(struct store_memory *m, const char *name, uint8_t *data,
                          size_t bytes)
{
    if (m->count == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 16;
        m->objects = xrealloc(m->objects, m->cap, sizeof *m->objects);
    }
    size_t at = find_locked(m, name, false);
    memmove(m->objects + at + 1, m->objects + at, (m->count - at) * sizeof *m->objects);
    m->objects[at] = (struct object){xstrdup(name), data, bytes};
    m->count++;
}

static bool memory_put(struct store *store, const char *name, const uint8_t *data,
                       size_t data_bytes, enum store_put_mode mode, struct err *err)
{
    struct store_memory *m = memory_of(store);
    AUTO(free) uint8_t *copy = xcalloc(1, data_bytes);
    if (data_bytes)
        memcpy(copy, data, data_bytes);
    LOCK_GUARD(&m->lock);
    struct object *old = get_locked(m, name);
    if (old && mode == STORE_IF_ABSENT)
        return err_set(err, FAIL_CONFLICT, "put '%s': it exists already", name);
    if (old) {
        free(old->data);
        old->data = TAKE(copy);
        old->bytes = data_bytes;
        return true;
    }
    if (!name_is_free_locked(m, name, err))
        return false;
    insert_locked(m, name, TAKE(copy), data_bytes);
    return true;
}

static bool memory_get(struct store *store, const char *name, uint64_t offset_bytes,
                       uint8_t *data, size_t data_bytes, size_t *ret_bytes,
                       struct err *err)
{
    struct store_memory *m = memory_of(store);
    LOCK_GUARD(&m->lock);
    const struct object *object = get_locked(m, name);
    if (!object)
        return err_set(err, FAIL_GONE, "get '%s': no such object", name);
    size_t got = 0;
    if (offset_bytes < object->bytes)
        got = MIN_OF(data_bytes, object->bytes - (size_t)offset_bytes);
    if (got)
        memcpy(data, object->data + offset_bytes, got);
    *ret_bytes = got;
    return true;
}

static bool memory_size(struct store *store, const char *name, uint64_t *ret_bytes,
                        struct err *err)
{
    struct store_memory *m = memory_of(store);
    LOCK_GUARD(&m->lock);
    const struct object *object = get_locked(m, name);
    if (!object)
        return err_set(err, FAIL_GONE, "size of '%s': no such object", name);
    *ret_bytes = object->bytes;
    return true;
}

/* The first object at or after *last with the prefix; copied out. */
static bool next_object(struct store_memory *m, const char *prefix, bool is_first,
                        char last[STORE_NAME_MAX + 1], uint64_t *ret_bytes)
{
    LOCK_GUARD(&m->lock);
    size_t at = is_first ? find_locked(m, prefix, false) : find_locked(m, last, true);
    if (at == m->count || strncmp(m->objects[at].name, prefix, strlen(prefix)) != 0)
        return false;
    memcpy(last, m->objects[at].name, strlen(m->objects[at].name) + 1);
    *ret_bytes = m->objects[at].bytes;
    return true;
}

static bool memory_list(struct store *store, const char *prefix,
                        bool (*each)(void *ctx, const char *name, uint64_t bytes,
                                     struct err *err),
                        void *ctx, struct err *err)
{
    char name[STORE_NAME_MAX + 1] = "";
    uint64_t bytes = 0;
    for (bool is_first = true;
         next_object(memory_of(store), prefix, is_first, name, &bytes); is_first = false)
        if (!each(ctx, name, bytes, err))
            return false;
    return true;
}

static bool memory_remove(struct store *store, const char *name, struct err *err)
{
    (void)err; /* nothing can fail here */
    struct store_memory *m = memory_of(store);
    LOCK_GUARD(&m->lock);
    struct object *object = get_locked(m, name);
    if (!object)
        return true;
    free(object->name);
    free(object->data);
    size_t at = (size_t)(object - m->objects);
    m->count--;
    memmove(object, object + 1, (m->count - at) * sizeof *object);
    return true;
}

static void memory_close(struct store *store)
{
    struct store_memory *m = memory_of(store);
    for (size_t i = 0; i < m->count; i++) {
        free(m->objects[i].name);
        free(m->objects[i].data);
    }
    free(m->objects);
    (void)pthread_mutex_destroy(&m->lock); /* nobody holds it: we are the last */
    free(m);
}

static const struct store_ops MEMORY_OPS = {
    .kind = "memory",
    .put = memory_put,
    .get = memory_get,
    .size = memory_size,
    .list = memory_list,
    .remove = memory_remove,
    .close = memory_close,
};

struct store *store_memory_new(void)
{
    struct store_memory *m = xcalloc(1, sizeof *m);
    m->base.ops = &MEMORY_OPS;
    (void)pthread_mutex_init(&m->lock, NULL); /* default attributes cannot fail */
    return &m->base;
}
