/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, seal and bounds of the boxes.
 *
 * M1  the key is made once per applier name and wrapped by the keys module under an
 *     identity that follows from that name: only who has the master key can open it or
 *     make another one, and a machine's key never serves as one;
 * M2  an object is read up to ORDER_MAX_BYTES and not further, whatever its size;
 * M3  a listing takes no more than ORDER_BOX_MAX names of a box: a store that is filled
 *     with rubbish costs time and no memory.
 */
#include "applier/order_mail.h"

#include "base/log.h"
#include "base/text.h"
#include "block/sealed.h"
#include "http/sign.h"

#include <inttypes.h>

#define NUMBER_DIGITS 16
#define KEY_MAX_BYTES (2 * KEYS_WRAPPED_MAX)

struct order_mail {
    /* Set by order_mail_open, never changed. */
    char folder[ORDER_NAME_MAX + 16]; /* "orders/<applier>/" */
    struct store *store;
    struct secret *key; /* owned */
};

static const char *const BOX_NAMES[BOX_COUNT] = {
    [BOX_ORDER] = "order/",   [BOX_CANCEL] = "cancel/", [BOX_PROGRESS] = "progress/",
    [BOX_RESULT] = "result/", [BOX_BEAT] = "beat/",
};

/* ---- the key of the boxes ---- */

/* M1 */
static bool key_identity(const char *applier, struct id *ret, struct err *err)
{
    static const char PURPOSE[] = "kedge orders";
    uint8_t hash[SIGN_SHA256_BYTES];
    AUTO(secret_free) struct secret *purpose = secret_new(PURPOSE, sizeof PURPOSE);
    if (!text_check_name("applier", applier, err))
        return false;
    sign_hmac_sha256(purpose, applier, strlen(applier), hash);
    memcpy(ret->bytes, hash, ID_BYTES);
    return true;
}

static bool make_key(struct order_mail *mail, struct keys *keys, const char *name,
                     const struct id *identity, struct err *err)
{
    char wrapped[KEYS_WRAPPED_MAX];
    struct id key_id;
    struct err why = ERR_INIT;
    if (!keys_make(keys, identity, &key_id, wrapped, err))
        return false;
    if (store_put(mail->store, name, (const uint8_t *)wrapped, strlen(wrapped),
                  STORE_IF_ABSENT, &why) ||
        why.kind == FAIL_CONFLICT) /* the other side was first */
        return true;
    *err = why;
    return false;
}

/* A master key that is newer than the wrapping: the older one will be retired. */
static void rewrap(struct order_mail *mail, struct keys *keys, const struct id *identity,
                   const char *name, const char *wrapped)
{
    char fresh[KEYS_WRAPPED_MAX];
    struct err why = ERR_INIT;
    if (!keys_is_current(keys, wrapped) &&
        (!keys_rewrap(keys, identity, wrapped, fresh, &why) ||
         !store_put(mail->store, name, (const uint8_t *)fresh, strlen(fresh),
                    STORE_REPLACE, &why)))
        log_debug("order_key_not_rewrapped", "name=%s text=\"%s\"", name, why.text);
}

static bool open_key(struct order_mail *mail, struct keys *keys, const char *applier,
                     struct err *err)
{
    char name[STORE_NAME_MAX];
    struct id identity, key_id;
    AUTO(buf_release) struct buf wrapped = {0};
    struct err why = ERR_INIT;
    (void)snprintf(name, sizeof name, "%skey", mail->folder);
    if (!key_identity(applier, &identity, err))
        return false;
    if (!store_get_all(mail->store, name, KEY_MAX_BYTES, &wrapped, &why)) {
        if (why.kind != FAIL_GONE) {
            *err = why;
            return false;
        }
        if (!make_key(mail, keys, name, &identity, err) ||
            !store_get_all(mail->store, name, KEY_MAX_BYTES, &wrapped, err))
            return false;
    }
    mail->key = keys_unwrap(keys, &identity, buf_text(&wrapped), &key_id, err);
    if (!mail->key)
        return err_hint(err, "vault and applier need the same master key");
    rewrap(mail, keys, &identity, name, buf_text(&wrapped));
    return true;
}

struct order_mail *order_mail_open(const char *applier, struct store *store,
                                   struct keys *keys, struct err *err)
{
    AUTO(order_mail_close) struct order_mail *mail = xcalloc(1, sizeof *mail);
    mail->store = store;
    (void)snprintf(mail->folder, sizeof mail->folder, "orders/%.*s/", ORDER_NAME_MAX - 1,
                   applier);
    if (!open_key(mail, keys, applier, err)) {
        (void)err_wrap(err, "orders of applier '%s'", applier);
        return NULL;
    }
    return TAKE(mail);
}

bool order_mail_rewrap(const char *applier, struct store *store, struct keys *keys,
                       struct err *err)
{
    char name[STORE_NAME_MAX], fresh[KEYS_WRAPPED_MAX];
    struct id identity;
    AUTO(buf_release) struct buf wrapped = {0};
    struct err why = ERR_INIT;
    (void)snprintf(name, sizeof name, "orders/%.*s/key", ORDER_NAME_MAX - 1, applier);
    if (!key_identity(applier, &identity, err))
        return false;
    if (!store_get_all(store, name, KEY_MAX_BYTES, &wrapped, &why)) {
        if (why.kind == FAIL_GONE)
            return true;
        *err = why;
    } else if (keys_is_current(keys, buf_text(&wrapped)) ||
               (keys_rewrap(keys, &identity, buf_text(&wrapped), fresh, err) &&
                store_put(store, name, (const uint8_t *)fresh, strlen(fresh),
                          STORE_REPLACE, err))) {
        return true;
    }
    return err_wrap(err, "orders of applier '%s'", applier);
}

void order_mail_close(struct order_mail *mail)
{
    if (!mail)
        return;
    secret_free(mail->key);
    free(mail);
}

/* ---- one message ---- */

static void name_number(const struct order_mail *mail, enum order_box box,
                        uint64_t number, char out[STORE_NAME_MAX])
{
    (void)snprintf(out, STORE_NAME_MAX, "%s%s%0*" PRIu64, mail->folder, BOX_NAMES[box],
                   NUMBER_DIGITS, number);
}

static void name_beat(const struct order_mail *mail, const struct id *instance,
                      char out[STORE_NAME_MAX])
{
    char text[ID_TEXT_BYTES];
    (void)snprintf(out, STORE_NAME_MAX, "%s%s%s", mail->folder, BOX_NAMES[BOX_BEAT],
                   id_text(instance, text));
}

static bool put(struct order_mail *mail, const char *name, const struct buf *message,
                struct err *err)
{
    AUTO(buf_release) struct buf sealed = {0};
    if (!sealed_encode(mail->key, SEALED_MESSAGE, name, message->data, message->bytes,
                       &sealed, err))
        return false;
    if (sealed.bytes > ORDER_MAX_BYTES)
        return err_set(err, FAIL_LIMIT,
                       "message '%s' has %zu bytes; %" PRIu64 " are allowed", name,
                       sealed.bytes, ORDER_MAX_BYTES);
    return store_put(mail->store, name, sealed.data, sealed.bytes, STORE_REPLACE, err);
}

/* M2 */
static bool get(struct order_mail *mail, const char *name, struct buf *ret,
                struct err *err)
{
    AUTO(buf_release) struct buf sealed = {0};
    if (!store_get_all(mail->store, name, ORDER_MAX_BYTES, &sealed, err)) {
        if (err->kind == FAIL_LIMIT)
            err->kind = FAIL_CORRUPT;
        return false;
    }
    return sealed_decode(mail->key, SEALED_MESSAGE, name, sealed.data, sealed.bytes, ret,
                         err);
}

bool order_mail_put(struct order_mail *mail, enum order_box box, uint64_t number,
                    const struct buf *message, struct err *err)
{
    char name[STORE_NAME_MAX];
    name_number(mail, box, number, name);
    return put(mail, name, message, err);
}

bool order_mail_get(struct order_mail *mail, enum order_box box, uint64_t number,
                    struct buf *ret, struct err *err)
{
    char name[STORE_NAME_MAX];
    name_number(mail, box, number, name);
    return get(mail, name, ret, err);
}

bool order_mail_remove(struct order_mail *mail, enum order_box box, uint64_t number,
                       struct err *err)
{
    char name[STORE_NAME_MAX];
    name_number(mail, box, number, name);
    return store_remove(mail->store, name, err);
}

bool order_mail_put_beat(struct order_mail *mail, const struct order_beat *beat,
                         struct err *err)
{
    char name[STORE_NAME_MAX];
    AUTO(buf_release) struct buf message = {0};
    name_beat(mail, &beat->instance, name);
    order_beat_encode(beat, &message);
    return put(mail, name, &message, err);
}

bool order_mail_get_beat(struct order_mail *mail, const struct id *instance,
                         struct order_beat *ret, struct err *err)
{
    char name[STORE_NAME_MAX];
    struct order_beat beat;
    AUTO(buf_release) struct buf message = {0};
    name_beat(mail, instance, name);
    if (!get(mail, name, &message, err) ||
        !order_beat_decode(message.data, message.bytes, &beat, err))
        return false;
    if (!id_equal(&beat.instance, instance))
        return err_set(err, FAIL_CORRUPT, "beat '%s' is of another instance", name);
    *ret = beat;
    return true;
}

bool order_mail_remove_beat(struct order_mail *mail, const struct id *instance,
                            struct err *err)
{
    char name[STORE_NAME_MAX];
    name_beat(mail, instance, name);
    return store_remove(mail->store, name, err);
}

/* ---- listing ---- */

struct lister {
    const struct order_mail *mail;
    struct order_listing *ret;
};

static bool read_number(const char *text, uint64_t *ret)
{
    struct err not_one = ERR_INIT;
    return strlen(text) == NUMBER_DIGITS &&
           text_parse_u64(text, 0, ORDER_NUMBER_MAX, ret, &not_one);
}

/* M3 */
static bool note_name(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct lister *lister = ctx;
    struct order_listing *ret = lister->ret;
    const char *rest = name + strlen(lister->mail->folder);
    struct err not_one = ERR_INIT;
    (void)bytes, (void)err;
    for (int box = 0; box < BOX_COUNT; box++) {
        size_t *count = &ret->count[box];
        if (!text_starts_with(rest, BOX_NAMES[box]))
            continue;
        const char *last = rest + strlen(BOX_NAMES[box]);
        if (box == BOX_BEAT)
            *count += *count < ORDER_BEATS_MAX &&
                      id_parse(last, &ret->instances[*count], &not_one);
        else
            *count +=
                *count < ORDER_BOX_MAX && read_number(last, &ret->numbers[box][*count]);
    }
    return true;
}

bool order_mail_list(struct order_mail *mail, struct order_listing *ret, struct err *err)
{
    struct lister lister = {.mail = mail, .ret = ret};
    memset(ret->count, 0, sizeof ret->count);
    return store_list(mail->store, mail->folder, note_name, &lister, err);
}

bool order_mail_list_beats(struct order_mail *mail, struct order_listing *ret,
                           struct err *err)
{
    char prefix[STORE_NAME_MAX];
    struct lister lister = {.mail = mail, .ret = ret};
    memset(ret->count, 0, sizeof ret->count);
    (void)snprintf(prefix, sizeof prefix, "%s%s", mail->folder, BOX_NAMES[BOX_BEAT]);
    return store_list(mail->store, prefix, note_name, &lister, err);
}

bool order_listing_has(const struct order_listing *listing, enum order_box box,
                       uint64_t number)
{
    for (size_t i = 0; i < listing->count[box]; i++)
        if (listing->numbers[box][i] == number)
            return true;
    return false;
}
