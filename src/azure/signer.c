/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three ways to sign.
 *
 * S1  a shared key and a SAS are read from where they lie (azure/secret_ref.h), and
 *     again when they were refused or (SAS) are about to end, from a vault not more often
 *     than every ten seconds; what did not change is not tried twice;
 * S2  a SAS goes behind the query of one attempt, in a buffer that is wiped;
 * S3  a token is the bearer's (azure/bearer.h).
 * Fact: the string to sign is that of the vendor's "Authorize with Shared Key", version
 * 2015-02-21 and later (an empty body has an empty length).
 */
#include "azure/signer.h"

#include "azure/bearer.h"
#include "azure/secret_ref.h"
#include "base/clock.h"
#include "http/sign.h"

#define SAS_ENDS_SOON_S 60
#define REMOTE_EACH_MS  10000

struct signer {
    struct azure_signer base;
    /* Set by azure_signer_open, never changed. */
    struct azure_signer_options options;
    struct azure_signer *bearer; /* NULL: key or SAS */
    pthread_mutex_t read_lock;   /* before lock */
    pthread_mutex_t lock;
    /* Guarded by read_lock. */
    uint64_t asked_ms; /* for the secret, mono; 0: at open only */
    /* Guarded by lock. */
    struct secret *secret; /* the key's bytes, or the SAS's text; NULL: bearer */
    unsigned mark;         /* counts the secrets */
};

static struct signer *signer_of(struct azure_signer *base)
{
    return (struct signer *)base;
}

/* ---- shared key ---- */

static const char *header_value(const struct azure_request *attempt, const char *name)
{
    for (size_t i = 0; i < attempt->header_count; i++)
        if (strcasecmp(attempt->headers[i].name, name) == 0)
            return attempt->headers[i].value;
    return "";
}

static int compare_headers(const void *a, const void *b)
{
    const struct azure_header *const *left = a, *const *right = b;
    return strcasecmp((*left)->name, (*right)->name);
}

static int compare_query(const void *a, const void *b)
{
    const struct azure_query *left = a, *right = b;
    return strcmp(left->key, right->key);
}

static void add_service_headers(const struct azure_request *attempt, struct buf *out)
{
    const struct azure_header *sorted[AZURE_MAX_HEADERS];
    size_t count = 0;
    for (size_t i = 0; i < attempt->header_count; i++)
        if (strncasecmp(attempt->headers[i].name, "x-ms-", 5) == 0)
            sorted[count++] = &attempt->headers[i];
    qsort(sorted, count, sizeof sorted[0], compare_headers);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s:%s\n", sorted[i]->name, sorted[i]->value);
}

void azure_string_to_sign(const struct azure_request *attempt, const char *account,
                          struct buf *out)
{
    static const char *const HEADERS[] = {
        "Content-MD5",   "Content-Type",        "Date", "If-Modified-Since", "If-Match",
        "If-None-Match", "If-Unmodified-Since", "Range"};
    struct azure_query query[AZURE_MAX_QUERY];
    buf_printf(out, "%s\n\n\n", attempt->method); /* encoding, language: never sent */
    if (attempt->body_bytes)
        buf_printf(out, "%zu", attempt->body_bytes);
    buf_put_u8(out, '\n');
    for (size_t i = 0; i < ARRAY_COUNT(HEADERS); i++)
        buf_printf(out, "%s\n", header_value(attempt, HEADERS[i]));
    add_service_headers(attempt, out);
    buf_printf(out, "/%s%s", account, attempt->path);
    memcpy(query, attempt->query, sizeof query);
    qsort(query, attempt->query_count, sizeof query[0], compare_query);
    for (size_t i = 0; i < attempt->query_count; i++)
        buf_printf(out, "\n%s:%s", query[i].key, query[i].value);
}

static void sign_with_key(struct signer *signer, struct azure_request *attempt)
{
    AUTO(buf_release) struct buf text = {0}, signature = {0};
    uint8_t mac[SIGN_SHA256_BYTES];
    azure_string_to_sign(attempt, signer->options.account, &text);
    {
        LOCK_GUARD(&signer->lock);
        attempt->secret_mark = signer->mark;
        sign_hmac_sha256(signer->secret, text.data, text.bytes, mac);
    }
    sign_base64(mac, sizeof mac, &signature);
    azure_add_header(attempt, "Authorization", "SharedKey %s:%s", signer->options.account,
                     buf_text(&signature));
}

/* ---- SAS ---- */

/* "2026-11-22", "2026-11-22T08:00Z", "2026-11-22T08:00:00Z" (with %3A for ':') */
static bool parse_end(const char *text, uint64_t *ret_unix_s)
{
    struct tm tm = {0};
    char plain[40];
    size_t used = 0;
    for (const char *p = text; *p && *p != '&' && used + 1 < sizeof plain; p++) {
        bool is_colon = p[0] == '%' && p[1] == '3' && (p[2] == 'A' || p[2] == 'a');
        plain[used++] = is_colon ? ':' : *p;
        p += is_colon ? 2 : 0;
    }
    plain[used] = 0;
    if (sscanf(plain, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec) < 3)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    time_t t = timegm(&tm);
    *ret_unix_s = (uint64_t)t;
    return t > 0;
}

bool azure_sas_end(const char *sas, uint64_t *ret_unix_s)
{
    const char *at = sas;
    while (at && strncmp(at, "se=", 3) != 0) {
        at = strchr(at, '&');
        at = at ? at + 1 : NULL;
    }
    return at && parse_end(at + 3, ret_unix_s);
}

static bool sas_end(const struct secret *secret, uint64_t *ret_unix_s)
{
    char text[SECRET_MAX_BYTES + 1];
    memcpy(text, secret->data, secret->bytes);
    text[secret->bytes] = 0;
    bool ok = azure_sas_end(text, ret_unix_s);
    secret_wipe(text, sizeof text);
    return ok;
}

static bool sas_has_ended(struct signer *signer, uint64_t ahead_s, uint64_t *ret_end_s)
{
    LOCK_GUARD(&signer->lock);
    return sas_end(signer->secret, ret_end_s) &&
           clock_wall_ms() / 1000 + ahead_s >= *ret_end_s;
}

/* ---- reading and renewing ---- */

/* "Name=value;Name=value": the named value; or, when it is no connection string, all. */
static struct secret *connection_value(const struct secret *raw, const char *name)
{
    size_t name_bytes = strlen(name), end = 0;
    for (size_t at = 0; at < raw->bytes; at = end + 1) {
        const uint8_t *stop = memchr(raw->data + at, ';', raw->bytes - at);
        end = stop ? (size_t)(stop - raw->data) : raw->bytes;
        if (end - at > name_bytes && memcmp(raw->data + at, name, name_bytes) == 0)
            return secret_new(raw->data + at + name_bytes, end - at - name_bytes);
    }
    return secret_new(raw->data, raw->bytes);
}

static struct secret *read_secret(const struct azure_access *access, struct err *err)
{
    AUTO(secret_free) struct secret *whole = azure_secret_ref_read(access, err);
    if (!whole)
        return NULL;
    AUTO(secret_free)
    struct secret *raw = connection_value(whole, access->kind == AZURE_SHARED_KEY
                                                     ? "AccountKey="
                                                     : "SharedAccessSignature=");
    if (access->kind == AZURE_SHARED_KEY) {
        struct secret *key = sign_unbase64((const char *)raw->data, raw->bytes, err);
        if (!key)
            (void)err_wrap(err, "account key in '%.200s'", access->secret_file);
        return key;
    }
    size_t skip = raw->bytes && raw->data[0] == '?' ? 1 : 0;
    for (size_t i = skip; i < raw->bytes; i++)
        if (raw->data[i] <= ' ' || raw->data[i] >= 0x7f || raw->data[i] == '#') {
            (void)err_set(err, FAIL_INPUT, "what '%.200s' holds is no SAS",
                          access->secret_file);
            return NULL;
        }
    if (!memmem(raw->data, raw->bytes, "sig=", 4)) {
        (void)err_set(err, FAIL_INPUT, "what '%.200s' holds is no SAS: it has no sig=",
                      access->secret_file);
        return NULL;
    }
    return secret_new(raw->data + skip, raw->bytes - skip);
}

static bool may_ask_again(struct signer *signer)
{
    bool may = !azure_secret_ref_is_remote(signer->options.access) || !signer->asked_ms ||
               clock_mono_ms() - signer->asked_ms >= REMOTE_EACH_MS;
    if (may)
        signer->asked_ms = clock_mono_ms();
    return may;
}

/* Takes what is there now. */
static void read_again(struct signer *signer)
{
    struct err ignored = ERR_INIT;  /* half-written perhaps: the old one stays */
    LOCK_GUARD(&signer->read_lock); /* who comes meanwhile waits for what it brings */
    if (!may_ask_again(signer))
        return;
    AUTO(secret_free)
    struct secret *secret = read_secret(signer->options.access, &ignored);
    LOCK_GUARD(&signer->lock);
    if (!secret || secret_equal(secret, signer->secret->data, signer->secret->bytes))
        return;
    secret_free(signer->secret);
    signer->secret = TAKE(secret);
    signer->mark++;
}

static bool add_sas(struct signer *signer, struct azure_request *attempt,
                    struct buf *query, struct err *err)
{
    uint64_t end_s = 0;
    if (sas_has_ended(signer, SAS_ENDS_SOON_S, &end_s))
        read_again(signer);
    if (sas_has_ended(signer, 0, &end_s)) {
        char text[AZURE_DATE_BYTES];
        return err_set(err, FAIL_AUTH,
                       "the SAS in '%.200s' ended on %s; put a new one there, it is read "
                       "again",
                       signer->options.access->secret_file, azure_date_text(end_s, text));
    }
    buf_reserve(query, SECRET_MAX_BYTES);
    LOCK_GUARD(&signer->lock);
    attempt->secret_mark = signer->mark;
    buf_append(query, signer->secret->data, signer->secret->bytes);
    return true;
}

/* ---- the signer ---- */

static bool sign(struct azure_signer *base, struct azure_request *attempt,
                 struct buf *query, struct err *err)
{
    struct signer *signer = signer_of(base);
    char date[AZURE_DATE_BYTES];
    azure_add_header(attempt, "x-ms-version", "%s", AZURE_VERSION_BLOB);
    azure_add_header(attempt, "x-ms-date", "%s",
                     azure_date_text(clock_wall_ms() / 1000, date));
    switch (signer->options.access->kind) {
    case AZURE_SHARED_KEY:
        sign_with_key(signer, attempt);
        return true;
    case AZURE_SAS:
        return add_sas(signer, attempt, query, err);
    default:
        return signer->bearer->sign(signer->bearer, attempt, query, err);
    }
}

static bool renew(struct azure_signer *base, unsigned secret_mark)
{
    struct signer *signer = signer_of(base);
    if (signer->bearer)
        return signer->bearer->renew(signer->bearer, secret_mark);
    read_again(signer);
    LOCK_GUARD(&signer->lock);
    return signer->mark != secret_mark;
}

static void forget(struct azure_signer *base, struct azure_request *attempt)
{
    struct azure_signer *bearer = signer_of(base)->bearer;
    if (bearer)
        bearer->forget(bearer, attempt);
}

struct azure_signer *azure_signer_open(const struct azure_signer_options *options,
                                       struct err *err)
{
    struct signer *signer = xcalloc(1, sizeof *signer);
    *signer = (struct signer){.base = {.sign = sign, .renew = renew, .forget = forget},
                              .options = *options};
    (void)pthread_mutex_init(&signer->read_lock, NULL); /* defaults cannot fail */
    (void)pthread_mutex_init(&signer->lock, NULL);
    enum azure_access_kind kind = options->access->kind;
    if (kind == AZURE_SHARED_KEY || kind == AZURE_SAS) {
        signer->secret = read_secret(options->access, err);
    } else {
        struct azure_token_options token = {.access = options->access,
                                            .cloud = options->cloud,
                                            .resource = options->cloud->storage_resource,
                                            .arc_dir = options->arc_dir,
                                            .retry_for_ms = options->retry_for_ms,
                                            .retry_base_ms = options->retry_base_ms};
        signer->bearer = azure_bearer_open(&token, err);
    }
    if (signer->secret || signer->bearer)
        return &signer->base;
    azure_signer_close(&signer->base);
    return NULL;
}

void azure_signer_close(struct azure_signer *base)
{
    if (!base)
        return;
    struct signer *signer = signer_of(base);
    azure_bearer_close(signer->bearer);
    secret_free(signer->secret);
    (void)pthread_mutex_destroy(&signer->read_lock);
    (void)pthread_mutex_destroy(&signer->lock); /* nobody holds it: we are the last */
    free(signer);
}
