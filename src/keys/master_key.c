/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of text, so that it can be printed and locked away:
 *
 *   kedge-master-key-1 KEY                        one key, in clear
 *   kedge-master-key-2 plain KEY KEY              the newest and the one before
 *   kedge-master-key-2 scrypt N r p SALT SEALED   one or two, wrapped with a passphrase
 *
 * A line that needs no more than form 1 is written in form 1, which older versions read.
 * Must never put key material into an error text (text_unhex would: its error is wiped).
 */
#include "keys/master_key.h"

#include "base/text.h"
#include "block/sealed.h"
#include "http/sign.h"

#define FORM_1         "kedge-master-key-1 "
#define FORM_2_PLAIN   "kedge-master-key-2 plain "
#define FORM_2_SCRYPT  "kedge-master-key-2 scrypt "
#define HEX_BYTES      (2 * MASTER_KEY_BYTES)
#define SEALED_CONTEXT "master keys"
#define SEALED_HEX_MAX 512

void master_keys_release(struct master_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        secret_free(keys->keys[i]);
    secret_free(keys->seal);
    *keys = (struct master_keys){.count = 0};
}

void master_key_version(const struct secret *key, char out[MASTER_VERSION_BYTES])
{
    static const char LABEL[] = "kedge master key version";
    uint8_t mac[SIGN_SHA256_BYTES];
    sign_hmac_sha256(key, LABEL, sizeof LABEL, mac);
    text_hex(mac, (MASTER_VERSION_BYTES - 1) / 2, out);
}

void master_keys_add(struct master_keys *keys)
{
    uint8_t raw[MASTER_KEY_BYTES];
    if (keys->count == MASTER_KEYS_MAX)
        secret_free(keys->keys[--keys->count]);
    memmove(keys->keys + 1, keys->keys, keys->count * sizeof keys->keys[0]);
    secret_random(raw, sizeof raw);
    keys->keys[0] = secret_new(raw, sizeof raw);
    keys->count++;
    secret_wipe(raw, sizeof raw);
}

bool master_keys_protect(struct master_keys *keys, const struct secret *passphrase,
                         struct err *err)
{
    secret_random(keys->salt, sizeof keys->salt);
    keys->cost = PASSPHRASE_COST;
    keys->seal = passphrase_key(passphrase, &keys->cost, keys->salt, err);
    return keys->seal != NULL;
}

/* ---- reading ---- */

/* As text_unhex, without a word about what it is not. */
static bool unhex(const char *hex, size_t digits, uint8_t *out)
{
    struct err quotes_it = ERR_INIT;
    char text[SEALED_HEX_MAX + 1];
    if (digits > SEALED_HEX_MAX || digits % 2)
        return false;
    memcpy(text, hex, digits);
    text[digits] = 0;
    bool ok = text_unhex(text, out, digits / 2, &quotes_it);
    secret_wipe(text, sizeof text);
    secret_wipe(&quotes_it, sizeof quotes_it);
    return ok;
}

static bool take_key(struct master_keys *keys, const char *hex)
{
    uint8_t raw[MASTER_KEY_BYTES];
    bool ok = unhex(hex, HEX_BYTES, raw);
    if (ok)
        keys->keys[keys->count++] = secret_new(raw, sizeof raw);
    secret_wipe(raw, sizeof raw);
    return ok;
}

static bool parse_plain(const char *text, struct master_keys *keys)
{
    size_t length = strlen(text);
    if (text_starts_with(text, FORM_1))
        return length == sizeof FORM_1 - 1 + HEX_BYTES &&
               take_key(keys, text + sizeof FORM_1 - 1);
    const char *at = text + sizeof FORM_2_PLAIN - 1;
    return text_starts_with(text, FORM_2_PLAIN) && strlen(at) == 2 * HEX_BYTES + 1 &&
           at[HEX_BYTES] == ' ' && take_key(keys, at) &&
           take_key(keys, at + HEX_BYTES + 1);
}

static bool not_a_key(const char *name, struct err *err)
{
    return err_set(err, FAIL_CORRUPT,
                   "'%.200s' is not a master key of this version; restore it from its "
                   "backup (one line: " FORM_1 "and %d hex digits, or " FORM_2_SCRYPT
                   "and what follows)",
                   name, HEX_BYTES);
}

static bool open_sealed(const char *name, const uint8_t *sealed, size_t sealed_bytes,
                        struct master_keys *keys, struct err *err)
{
    struct err why = ERR_INIT;
    AUTO(buf_release) struct buf payload = {0};
    bool ok = sealed_decode(keys->seal, SEALED_MASTER, SEALED_CONTEXT, sealed,
                            sealed_bytes, &payload, &why);
    if (ok && payload.bytes && payload.bytes % MASTER_KEY_BYTES == 0 &&
        payload.bytes <= MASTER_KEYS_MAX * MASTER_KEY_BYTES)
        for (size_t at = 0; at < payload.bytes; at += MASTER_KEY_BYTES)
            keys->keys[keys->count++] = secret_new(payload.data + at, MASTER_KEY_BYTES);
    if (payload.data)
        secret_wipe(payload.data, payload.cap_bytes);
    if (ok && !keys->count)
        return not_a_key(name, err);
    return ok || err_set(err, FAIL_AUTH,
                         "the passphrase does not open '%.200s'; it is another one, or "
                         "the file was changed",
                         name);
}

static bool parse_wrapped(const char *name, const char *text,
                          const struct secret *passphrase, struct master_keys *keys,
                          struct err *err)
{
    char salt[2 * PASSPHRASE_SALT_BYTES + 1], hex[SEALED_HEX_MAX + 1];
    uint8_t sealed[SEALED_HEX_MAX / 2];
    int end = 0;
    if (sscanf(text, FORM_2_SCRYPT "%2u %2u %2u %64[0-9a-f] %512[0-9a-f]%n",
               &keys->cost.log2_n, &keys->cost.r, &keys->cost.p, salt, hex, &end) != 5 ||
        text[end] || strlen(salt) != sizeof salt - 1 ||
        !unhex(salt, sizeof salt - 1, keys->salt) || !unhex(hex, strlen(hex), sealed))
        return not_a_key(name, err);
    if (!passphrase)
        return err_set(err, FAIL_AUTH,
                       "'%.200s' is wrapped with a passphrase; name the file that holds "
                       "it in key_passphrase",
                       name);
    keys->seal = passphrase_key(passphrase, &keys->cost, keys->salt, err);
    return keys->seal ? open_sealed(name, sealed, strlen(hex) / 2, keys, err)
                      : err_wrap(err, "'%.200s'", name);
}

bool master_keys_parse(const char *name, const struct secret *line,
                       const struct secret *passphrase, struct master_keys *ret,
                       struct err *err)
{
    AUTO(master_keys_release) struct master_keys keys = {.count = 0};
    char text[SECRET_MAX_BYTES + 1];
    memcpy(text, line->data, line->bytes);
    text[line->bytes] = 0;
    bool ok = strlen(text) == line->bytes;
    if (ok && text_starts_with(text, FORM_2_SCRYPT))
        ok = parse_wrapped(name, text, passphrase, &keys, err);
    else if (!ok || !parse_plain(text, &keys))
        ok = not_a_key(name, err);
    secret_wipe(text, sizeof text);
    if (!ok)
        return false;
    *ret = keys;
    keys = (struct master_keys){.count = 0};
    return true;
}

/* ---- writing ---- */

static bool print_wrapped(const struct master_keys *keys, struct buf *out,
                          struct err *err)
{
    uint8_t raw[MASTER_KEYS_MAX * MASTER_KEY_BYTES];
    char salt[2 * PASSPHRASE_SALT_BYTES + 1];
    AUTO(buf_release) struct buf sealed = {0};
    for (size_t i = 0; i < keys->count; i++)
        memcpy(raw + i * MASTER_KEY_BYTES, keys->keys[i]->data, MASTER_KEY_BYTES);
    bool ok = sealed_encode(keys->seal, SEALED_MASTER, SEALED_CONTEXT, raw,
                            keys->count * MASTER_KEY_BYTES, &sealed, err);
    secret_wipe(raw, sizeof raw);
    if (!ok)
        return false;
    text_hex(keys->salt, sizeof keys->salt, salt);
    buf_printf(out, FORM_2_SCRYPT "%u %u %u %s ", keys->cost.log2_n, keys->cost.r,
               keys->cost.p, salt);
    text_hex(sealed.data, sealed.bytes, (char *)out->data + out->bytes);
    out->bytes += 2 * sealed.bytes;
    return true;
}

static void print_plain(const struct master_keys *keys, struct buf *out)
{
    buf_append_text(out, keys->count == 1 ? FORM_1 : FORM_2_PLAIN);
    for (size_t i = 0; i < keys->count; i++) {
        if (i)
            buf_put_u8(out, ' ');
        text_hex(keys->keys[i]->data, MASTER_KEY_BYTES, (char *)out->data + out->bytes);
        out->bytes += HEX_BYTES;
    }
}

struct secret *master_keys_print(const struct master_keys *keys, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    buf_reserve(&text, SECRET_MAX_BYTES); /* no copy left behind by growing */
    bool ok = true;
    if (keys->seal)
        ok = print_wrapped(keys, &text, err);
    else
        print_plain(keys, &text);
    struct secret *line = ok ? secret_new(text.data, text.bytes) : NULL;
    secret_wipe(text.data, text.cap_bytes);
    return line;
}
