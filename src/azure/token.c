/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kept token.
 *
 * K1  a token is asked anew when less than a tenth of its life (at most 5 min, at least
 * 1) is left; while it still has a minute, a failure to get another is not an error; K2
 * the lock is held while fetching: the others would only ask for the same token; K3  a
 * token is in struct secret only; what carried it is wiped.
 */
#include "azure/token_impl.h"

#include "base/clock.h"

#define LEAST_LIFE_MS  60000
#define REFRESH_MAX_MS (5 * 60 * 1000)

struct azure_token {
    /* Set by azure_token_open, never changed. */
    struct azure_token_options options;
    struct http_endpoint *endpoint; /* of the issuer; NULL: az */
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct secret *secret;
    uint64_t fetched_at_ms, ends_at_ms;
    bool is_dropped;
    unsigned mark; /* counts the tokens */
};

static bool needs_environment(const struct azure_access *access)
{
    return access->kind == AZURE_WORKLOAD_IDENTITY &&
           (!access->tenant || !access->client || !access->secret_file);
}

static bool check_environment(struct err *err)
{
    static const char *const NAMES[] = {"AZURE_TENANT_ID", "AZURE_CLIENT_ID",
                                        "AZURE_FEDERATED_TOKEN_FILE"};
    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++)
        if (!getenv(NAMES[i]))
            return err_set(err, FAIL_INPUT,
                           "workload identity: %s is not in the environment; set it, or "
                           "name tenant, client and token_file",
                           NAMES[i]);
    return true;
}

static bool open_issuer(struct azure_token *token, struct err *err)
{
    const struct azure_access *access = token->options.access;
    if (access->kind == AZURE_CLI)
        return true;
    if (needs_environment(access) && !check_environment(err))
        return false;
    if (access->kind == AZURE_MANAGED_IDENTITY) {
        AUTO(free) char *url = machine_issuer_url(access, err);
        /* On this host: neither a proxy nor a pin belongs to it. */
        struct http_endpoint_options near = {
            .url = url, .role = ROLE_LOCAL, .max_idle = 1};
        token->endpoint = url ? http_endpoint_open(&near, err) : NULL;
        return token->endpoint != NULL;
    }
    struct http_endpoint_options way = azure_access_way(
        access, access->authority ? access->authority : token->options.cloud->authority);
    way.pin = NULL; /* the pin is the storage's */
    way.role = ROLE_ENTRA;
    way.max_idle = 1;
    token->endpoint = http_endpoint_open(&way, err);
    return token->endpoint != NULL;
}

struct azure_token *azure_token_open(const struct azure_token_options *options,
                                     struct err *err)
{
    struct azure_token *made = xcalloc(1, sizeof *made);
    made->options = *options;
    (void)pthread_mutex_init(&made->lock, NULL); /* default attributes cannot fail */
    AUTO(azure_token_close) struct azure_token *token = made;
    if (!open_issuer(token, err))
        return NULL;
    return TAKE(token);
}

void azure_token_close(struct azure_token *token)
{
    if (!token)
        return;
    http_endpoint_close(token->endpoint);
    secret_free(token->secret);
    (void)pthread_mutex_destroy(&token->lock); /* nobody holds it: we are the last */
    free(token);
}

static bool issue(struct azure_token *token, const struct cancel *cancel,
                  struct issued *ret, struct err *err)
{
    const struct azure_token_options *options = &token->options;
    struct azure_client_options client = {.endpoint = token->endpoint,
                                          .retry_for_ms = options->retry_for_ms,
                                          .retry_base_ms = options->retry_base_ms};
    switch (options->access->kind) {
    case AZURE_CLI:
        return issue_by_cli(options, cancel, ret, err);
    case AZURE_MANAGED_IDENTITY:
        return issue_by_machine(options, &client, cancel, ret, err);
    default:
        return issue_by_authority(options, &client, cancel, ret, err);
    }
}

static uint64_t refresh_ahead_ms(const struct azure_token *token)
{
    uint64_t tenth_ms = (token->ends_at_ms - token->fetched_at_ms) / 10;
    return MAX_OF(MIN_OF(tenth_ms, (uint64_t)REFRESH_MAX_MS), (uint64_t)LEAST_LIFE_MS);
}

static bool refresh_locked(struct azure_token *token, const struct cancel *cancel,
                           struct err *err)
{
    struct issued issued = {0};
    struct err why = ERR_INIT;
    uint64_t asked_at_ms = clock_mono_ms();
    if (!issue(token, cancel, &issued, &why)) {
        bool is_good_yet = token->secret && !token->is_dropped &&
                           asked_at_ms + LEAST_LIFE_MS < token->ends_at_ms;
        if (!is_good_yet)
            *err = why;
        return is_good_yet;
    }
    secret_free(token->secret);
    token->secret = issued.token;
    token->fetched_at_ms = asked_at_ms;
    token->ends_at_ms = asked_at_ms + issued.life_s * 1000;
    token->is_dropped = false;
    token->mark++;
    return true;
}

struct secret *azure_token_get(struct azure_token *token, const struct cancel *cancel,
                               unsigned *ret_mark, struct err *err)
{
    LOCK_GUARD(&token->lock);
    bool is_fresh = token->secret && !token->is_dropped &&
                    clock_mono_ms() + refresh_ahead_ms(token) < token->ends_at_ms;
    if (!is_fresh && !refresh_locked(token, cancel, err)) {
        (void)err_wrap(err, "access token");
        return NULL;
    }
    *ret_mark = token->mark;
    return secret_new(token->secret->data, token->secret->bytes);
}

bool azure_token_drop(struct azure_token *token, unsigned mark)
{
    LOCK_GUARD(&token->lock);
    if (mark != token->mark)
        return true; /* somebody has fetched another meanwhile */
    if (token->secret && clock_mono_ms() - token->fetched_at_ms < LEAST_LIFE_MS)
        return false;
    token->is_dropped = true;
    return true;
}

/* ---- what an issuer answers ---- */

/* A number, or a text of one. */
static bool read_seconds(const json_t *json, const char *key, uint64_t *ret)
{
    const json_t *value = json_object_get(json, key);
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *ret = (uint64_t)json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    char *end = NULL;
    if (!text || *text < '0' || *text > '9')
        return false;
    *ret = strtoull(text, &end, 10);
    return *end == 0;
}

/* Wipes the text that the JSON value keeps. */
static void wipe_text(const json_t *value)
{
    const char *text = json_string_value(value);
    if (text)
        secret_wipe((void *)(uintptr_t)text, strlen(text));
}

static bool read_issued(const json_t *json, const json_t *value, struct issued *ret)
{
    const char *text = json_string_value(value);
    uint64_t seconds = 0, now_s = clock_wall_ms() / 1000;
    size_t bytes = text ? strlen(text) : 0;
    if (bytes == 0 || bytes > SECRET_MAX_BYTES)
        return false;
    if (read_seconds(json, "expires_in", &seconds))
        ret->life_s = seconds;
    else if (read_seconds(json, "expires_on", &seconds) && seconds > now_s)
        ret->life_s = seconds - now_s;
    else
        return false;
    ret->life_s = MIN_OF(ret->life_s, UINT64_C(7) * 86400);
    ret->token = secret_new(text, bytes);
    return true;
}

bool issued_parse(struct buf *body, const char *what, struct issued *ret, struct err *err)
{
    struct err why = ERR_INIT; /* its text may quote the body */
    AUTO(json_free) json_t *json = json_parse(what, buf_text(body), body->bytes, &why);
    const json_t *value = json_object_get(json, "access_token");
    if (!value)
        value = json_object_get(json, "accessToken"); /* az */
    bool ok = read_issued(json, value, ret);
    wipe_text(value);
    if (body->data)
        secret_wipe(body->data, body->bytes);
    if (!ok)
        return err_set(err, FAIL_CORRUPT,
                       "%s: the answer holds no access token with an end, or one of more "
                       "than %d bytes",
                       what, SECRET_MAX_BYTES);
    return true;
}
