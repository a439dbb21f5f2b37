/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects as block blobs of one container: an object put is one that survives, the
 * service says so only after it is durable.
 *
 * L1  an object of up to ONE_PUT_BYTES is one request; a larger one goes in pieces by
 *     PIECE_THREADS threads and shows only when the list of them is put: whole or not;
 * L2  at most MAX_REQUESTS requests with data are under way, whoever calls;
 * L3  no name is a folder of another (a folder tree's rule, for all stores): what is a
 *     folder is asked once and remembered. The service does not know the rule: two racing
 *     puts, or another process, can break it, and do no harm.
 * Pieces of a put that failed are dropped by the service after a week; they show nowhere.
 */
#include "store/store.h"

#include "azure/blob.h"
#include "base/fault.h"
#include "store/blob_folders.h"

#include <semaphore.h>
#include <stdatomic.h>

#define ONE_PUT_BYTES (16 * MIB)
#define PIECE_BYTES   (8 * MIB)
#define PIECE_THREADS 4
#define MAX_PIECES    50000 /* the service's bound */
#define MAX_REQUESTS  16
#define MAX_FOLDERS   20000

struct store_blob {
    struct store base;
    /* Set by store_blob_open, never changed. */
    struct blob_container *container;
    struct store_blob *whole;     /* of a view: what it looks at; else itself */
    sem_t requests;               /* L2; the whole's counts */
    struct blob_folders *folders; /* L3 */
};

static struct store_blob *blob_of(struct store *store)
{
    return (struct store_blob *)store;
}

static void begin_request(struct store_blob *s)
{
    while (sem_wait(&s->whole->requests) != 0)
        ; /* a signal */
}

static void end_request(struct store_blob *s)
{
    (void)sem_post(&s->whole->requests); /* cannot overflow: each follows a wait */
}

/* ---- folders (L3) ---- */

static bool check_parent(struct store_blob *s, const char *name, const char *folder,
                         struct err *err)
{
    uint64_t bytes;
    struct err why = ERR_INIT;
    if (blob_folders_get(s->folders, folder) != FOLDER_UNKNOWN)
        return true;
    if (blob_size(s->container, folder, &bytes, &why))
        return err_set(err, FAIL_CONFLICT, "put '%s': '%s' is an object, not a folder",
                       name, folder);
    if (why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    blob_folders_add(s->folders, folder, FOLDER_KNOWN);
    return true;
}

static bool note_folder(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    (void)bytes, (void)err;
    char folder[BLOB_NAME_MAX + 1];
    size_t length = strlen(name);
    if (name[length - 1] != '/') /* a blob beside the folders */
        return true;
    memcpy(folder, name, length - 1);
    folder[length - 1] = 0;
    blob_folders_add(ctx, folder, FOLDER_KNOWN);
    return true;
}

/* Learns all folders in this one: no put in it needs to ask whether its name is one. */
static bool survey(struct store_blob *s, const char *folder, struct err *err)
{
    char prefix[STORE_NAME_MAX + 2];
    if (blob_folders_get(s->folders, folder) == FOLDER_SURVEYED)
        return true;
    (void)snprintf(prefix, sizeof prefix, *folder ? "%s/" : "%s", folder);
    struct blob_list_options options = {.prefix = prefix, .by_folder = true};
    if (!blob_list(s->container, &options, note_folder, s->folders, err))
        return false;
    blob_folders_add(s->folders, folder, FOLDER_SURVEYED);
    return true;
}

static bool found_one(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    (void)name, (void)bytes, (void)err;
    *(bool *)ctx = true;
    return true;
}

/* It was a folder once: is it still? */
static bool check_folder(struct store_blob *s, const char *name, struct err *err)
{
    char prefix[STORE_NAME_MAX + 2];
    bool is_folder = false;
    (void)snprintf(prefix, sizeof prefix, "%s/", name);
    struct blob_list_options options = {.prefix = prefix, .max = 1};
    if (!blob_list(s->container, &options, found_one, &is_folder, err))
        return false;
    if (is_folder)
        return err_set(err, FAIL_CONFLICT, "put '%s': it is the folder of other objects",
                       name);
    blob_folders_forget(s->folders, name);
    return true;
}

static bool check_place(struct store_blob *s, const char *name, struct err *err)
{
    char folder[STORE_NAME_MAX + 1] = "";
    for (const char *p = strchr(name, '/'); p; p = strchr(p + 1, '/')) {
        memcpy(folder, name, (size_t)(p - name));
        folder[p - name] = 0;
        if (!check_parent(s, name, folder, err))
            return false;
    }
    return survey(s, folder, err) &&
           (blob_folders_get(s->folders, name) == FOLDER_UNKNOWN ||
            check_folder(s, name, err));
}

/* ---- put ---- */

/* A large object on its way; several threads take pieces. */
struct pieces {
    /* Set by put_pieces, never changed. */
    struct store_blob *store;
    const char *name;
    const uint8_t *data;
    size_t bytes;
    struct id put_id;
    uint32_t count;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    uint32_t next;
    bool has_failed;
    struct err first;
};

static bool take_piece(struct pieces *pieces, uint32_t *ret_index)
{
    LOCK_GUARD(&pieces->lock);
    if (pieces->has_failed || pieces->next == pieces->count)
        return false;
    *ret_index = pieces->next++;
    return true;
}

static void note_failure(struct pieces *pieces, const struct err *err)
{
    LOCK_GUARD(&pieces->lock);
    if (!pieces->has_failed)
        pieces->first = *err;
    pieces->has_failed = true;
}

static void *send_pieces(void *ctx)
{
    struct pieces *pieces = ctx;
    struct store_blob *s = pieces->store;
    uint32_t index;
    while (take_piece(pieces, &index)) {
        struct err err = ERR_INIT;
        size_t start = (size_t)index * PIECE_BYTES;
        struct blob_data data = {pieces->data + start,
                                 MIN_OF(pieces->bytes - start, (size_t)PIECE_BYTES)};
        begin_request(s);
        if (!blob_put_block(s->container, pieces->name, &pieces->put_id, index, data,
                            &err))
            note_failure(pieces, &err);
        end_request(s);
    }
    return NULL;
}

static bool put_pieces(struct store_blob *s, const char *name, struct blob_data data,
                       bool is_new, struct err *err)
{
    struct pieces pieces = {.store = s,
                            .name = name,
                            .data = data.data,
                            .bytes = data.bytes,
                            .put_id = id_random()};
    pthread_t threads[PIECE_THREADS];
    size_t started = 0;
    pieces.count = (uint32_t)((data.bytes + PIECE_BYTES - 1) / PIECE_BYTES);
    (void)pthread_mutex_init(&pieces.lock, NULL); /* default attributes cannot fail */
    while (started + 1 < MIN_OF((uint32_t)PIECE_THREADS, pieces.count) &&
           pthread_create(&threads[started], NULL, send_pieces, &pieces) == 0)
        started++;
    (void)send_pieces(&pieces); /* this thread too; alone when there are no others */
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);  /* ours, joined once */
    (void)pthread_mutex_destroy(&pieces.lock); /* nobody holds it */
    if (pieces.has_failed) {
        *err = pieces.first;
        return false;
    }
    return blob_put_list(s->container, name, &pieces.put_id, pieces.count, is_new, err);
}

static bool put_whole(struct store_blob *s, const char *name, struct blob_data data,
                      bool is_new, struct err *err)
{
    begin_request(s);
    bool ok = blob_put(s->container, name, data, is_new, err);
    end_request(s);
    return ok;
}

static bool put(struct store *store, const char *name, const uint8_t *data,
                size_t data_bytes, enum store_put_mode mode, struct err *err)
{
    struct store_blob *s = blob_of(store);
    struct blob_data whole = {data, data_bytes};
    bool is_new = mode == STORE_IF_ABSENT;
    if (FAULT(STORE_BEFORE_PUT, err) || !check_place(s, name, err))
        return false;
    if (data_bytes > (uint64_t)MAX_PIECES * PIECE_BYTES)
        return err_set(err, FAIL_LIMIT, "put '%s': %zu bytes are more than a blob holds",
                       name, data_bytes);
    bool ok = data_bytes <= ONE_PUT_BYTES ? put_whole(s, name, whole, is_new, err)
                                          : put_pieces(s, name, whole, is_new, err);
    return ok && !FAULT(STORE_AFTER_PUT, err);
}

/* ---- the others ---- */

static bool get(struct store *store, const char *name, uint64_t offset_bytes,
                uint8_t *data, size_t data_bytes, size_t *ret_bytes, struct err *err)
{
    struct store_blob *s = blob_of(store);
    begin_request(s);
    bool ok =
        blob_get(s->container, name, offset_bytes, data, data_bytes, ret_bytes, err);
    end_request(s);
    return ok;
}

static bool size(struct store *store, const char *name, uint64_t *ret_bytes,
                 struct err *err)
{
    return blob_size(blob_of(store)->container, name, ret_bytes, err);
}

static bool list(struct store *store, const char *prefix,
                 bool (*each)(void *ctx, const char *name, uint64_t bytes,
                              struct err *err),
                 void *ctx, struct err *err)
{
    struct blob_list_options options = {.prefix = prefix};
    return blob_list(blob_of(store)->container, &options, each, ctx, err);
}

static bool remove_one(struct store *store, const char *name, struct err *err)
{
    if (FAULT(STORE_BEFORE_DELETE, err))
        return false;
    return blob_remove(blob_of(store)->container, name, err);
}

static void close_store(struct store *store)
{
    struct store_blob *s = blob_of(store);
    blob_container_close(s->container);
    if (s->whole == s) {
        blob_folders_free(s->folders);
        (void)sem_destroy(&s->requests); /* nobody waits: we are the last */
    }
    free(s);
}

static struct store *view(struct store *store, const struct cancel *hurry);

static const struct store_ops BLOB_OPS = {
    .kind = "blob",
    .put = put,
    .get = get,
    .size = size,
    .list = list,
    .remove = remove_one,
    .close = close_store,
    .view = view,
};

static struct store *view(struct store *store, const struct cancel *hurry)
{
    const struct store_blob *s = blob_of(store);
    struct store_blob *made = xcalloc(1, sizeof *made);
    made->base.ops = &BLOB_OPS;
    made->container = blob_container_view(s->container, hurry);
    made->whole = s->whole;
    made->folders = s->folders;
    return &made->base;
}

struct store *store_blob_open(const struct store_blob_options *options, struct err *err)
{
    struct blob_container_options container = {.address = options->url,
                                               .access_file = options->credential_file,
                                               .retry_for_ms = options->retry_for_ms,
                                               .retry_base_ms = options->retry_base_ms,
                                               .max_idle = MAX_REQUESTS,
                                               .role = options->role};
    struct blob_container *opened = blob_container_open(&container, err);
    if (!opened)
        return NULL;
    struct store_blob *s = xcalloc(1, sizeof *s);
    s->base.ops = &BLOB_OPS;
    s->container = opened;
    s->whole = s;
    s->folders = blob_folders_new(MAX_FOLDERS);
    (void)sem_init(&s->requests, 0, MAX_REQUESTS); /* cannot fail with these values */
    return &s->base;
}
