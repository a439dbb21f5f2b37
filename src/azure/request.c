/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attempts of one request.
 *
 * R1  each attempt is signed anew: dates and tokens age while we wait;
 * R2  is_once is repeated only when the service cannot have begun (429, 503, no
 *     connection): all other ends leave open what happened;
 * R3  the client request id is the same in all attempts: the service's log shows them as
 *     one.
 * Must never put a query, a header or a body of a request into an error or a log.
 */
#include "azure/request.h"

#include "base/clock.h"
#include "base/text.h"
#include "http/client.h"

#include <stdarg.h>

#define DEFAULT_RETRY_FOR_MS  (5 * 60 * 1000)
#define DEFAULT_RETRY_BASE_MS 250
#define RETRY_MAX_MS          15000
#define RETRY_AFTER_MAX_MS    (5 * 60 * 1000)
#define DEADLINE_BASE_MS      60000
#define SLOWEST_BYTES_PER_MS  32 /* a body may take so long on top of the base */

void azure_add_query(struct azure_request *request, const char *key, const char *value)
{
    if (request->query_count == AZURE_MAX_QUERY)
        abort();
    request->query[request->query_count++] = (struct azure_query){key, value};
}

void azure_add_header(struct azure_request *request, const char *name, const char *fmt,
                      ...)
{
    if (request->header_count == AZURE_MAX_HEADERS)
        abort();
    struct azure_header *header = &request->headers[request->header_count++];
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(header->value, sizeof header->value, fmt, ap);
    va_end(ap);
    if (need < 0 || (size_t)need >= sizeof header->value)
        abort();
    header->name = name;
    header->secret = NULL;
}

/* ---- dates ---- */

static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

const char *azure_date_text(uint64_t unix_s, char out[AZURE_DATE_BYTES])
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    (void)gmtime_r(&t, &tm); /* fails only beyond the year 2^31 */
    (void)snprintf(out, AZURE_DATE_BYTES, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                   DAYS[tm.tm_wday], tm.tm_mday, MONTHS[tm.tm_mon], tm.tm_year + 1900,
                   tm.tm_hour, tm.tm_min, tm.tm_sec);
    return out;
}

bool azure_date_parse(const char *text, uint64_t *ret_unix_s)
{
    struct tm tm = {0};
    char month[4];
    int end = 0;
    if (sscanf(text, "%*3[A-Za-z], %2d %3s %4d %2d:%2d:%2d GMT%n", &tm.tm_mday, month,
               &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) != 6 ||
        !end)
        return false;
    while (tm.tm_mon < 12 && strcmp(MONTHS[tm.tm_mon], month) != 0)
        tm.tm_mon++;
    if (tm.tm_mon == 12 || tm.tm_year < 1970 || tm.tm_year > 9999)
        return false;
    tm.tm_year -= 1900;
    time_t t = timegm(&tm);
    if (t < 0)
        return false;
    *ret_unix_s = (uint64_t)t;
    return true;
}

/* ---- one attempt ---- */

static void build_path(const struct azure_request *request,
                       const struct buf *signed_query, struct buf *out)
{
    buf_reserve(out, strlen(request->path) + signed_query->bytes + 1024);
    buf_append_text(out, request->path);
    for (size_t i = 0; i < request->query_count; i++)
        http_query_add(out, request->query[i].key, request->query[i].value);
    if (!signed_query->bytes)
        return;
    buf_put_u8(out, strchr(buf_text(out), '?') ? '&' : '?');
    buf_append(out, signed_query->data, signed_query->bytes);
}

static bool exchange(const struct azure_client_options *client,
                     const struct azure_request *attempt, const char *path,
                     struct http_answer *ret, struct err *err)
{
    struct http_header headers[AZURE_MAX_HEADERS];
    for (size_t i = 0; i < attempt->header_count; i++)
        headers[i] =
            (struct http_header){attempt->headers[i].name, attempt->headers[i].value,
                                 attempt->headers[i].secret};
    uint64_t bytes = attempt->body_bytes + attempt->into_bytes;
    struct http_request request = {
        .method = attempt->method,
        .path = path,
        .headers = headers,
        .header_count = attempt->header_count,
        .body = attempt->body,
        .body_bytes = attempt->body_bytes,
        .into = attempt->into,
        .into_bytes = attempt->into_bytes,
        .deadline_ms = attempt->deadline_ms
                           ? attempt->deadline_ms
                           : DEADLINE_BASE_MS + bytes / SLOWEST_BYTES_PER_MS,
        .cancel = attempt->cancel,
    };
    return http_exchange(client->endpoint, &request, ret, err);
}

static bool attempt_once(const struct azure_client_options *client,
                         struct azure_request *request, struct http_answer *ret,
                         struct err *err)
{
    struct azure_request attempt = *request; /* the signer's headers end with it */
    struct azure_signer *signer = client->signer;
    AUTO(buf_release) struct buf query = {0}, path = {0};
    azure_add_header(&attempt, "x-ms-client-request-id", "%s", request->client_id);
    if (signer && !signer->sign(signer, &attempt, &query, err))
        return false;
    request->secret_mark = attempt.secret_mark;
    build_path(&attempt, &query, &path);
    bool ok = exchange(client, &attempt, buf_text(&path), ret, err);
    if (signer)
        signer->forget(signer, &attempt);
    if (query.bytes) {
        secret_wipe(query.data, query.bytes);
        secret_wipe(path.data, path.bytes);
    }
    return ok;
}

/* ---- again or not ---- */

static bool status_means_later(unsigned status)
{
    static const unsigned LATER[] = {408, 429, 500, 502, 503, 504};
    for (size_t i = 0; i < ARRAY_COUNT(LATER); i++)
        if (LATER[i] == status)
            return true;
    return false;
}

/* The service turned it away before it began. */
static bool status_means_not_begun(unsigned status)
{
    return status == 429 || status == 503;
}

static bool status_means_busy(unsigned status)
{
    return status == 429 || status == 500 || status == 503;
}

/* What arrived is not what we sent; nothing of it was kept. */
static bool was_damaged(const struct http_answer *answer)
{
    char code[AZURE_CODE_BYTES];
    azure_error_code(answer, code);
    return strcmp(code, "Md5Mismatch") == 0 || strcmp(code, "Crc64Mismatch") == 0;
}

static bool means_never(const struct http_answer *answer)
{
    char code[AZURE_CODE_BYTES];
    azure_error_code(answer, code);
    return strcmp(code, "FeatureNotSupported") == 0;
}

/* "Retry-After: 5", or a date: as far ahead of the answer's own date (the service's
 * clock, not ours) as it is. */
static bool read_retry_after(const struct http_answer *answer, uint64_t *ret_ms)
{
    struct err ignored = ERR_INIT;
    char text[40], date[40];
    uint64_t value = 0, now_s = 0;
    if (http_answer_header(answer, "x-ms-retry-after-ms", text, sizeof text) &&
        text_parse_u64(text, 0, UINT32_MAX, ret_ms, &ignored))
        return true;
    if (!http_answer_header(answer, "Retry-After", text, sizeof text))
        return false;
    if (text_parse_u64(text, 0, UINT32_MAX, &value, &ignored)) {
        *ret_ms = value * 1000;
        return true;
    }
    if (!azure_date_parse(text, &value) ||
        !http_answer_header(answer, "Date", date, sizeof date) ||
        !azure_date_parse(date, &now_s))
        return false;
    *ret_ms = value > now_s ? (value - now_s) * 1000 : 0;
    return true;
}

bool azure_retry_after(const struct http_answer *answer, uint64_t *ret_ms)
{
    uint64_t pause_ms = 0;
    if (!read_retry_after(answer, &pause_ms))
        return false;
    *ret_ms = MIN_OF(pause_ms, (uint64_t)RETRY_AFTER_MAX_MS);
    return true;
}

struct patience {
    uint64_t until_ms, base_ms;
    unsigned tries;
    bool has_renewed;
};

/* Waits for the next attempt; false without *err being touched: no time is left. */
static bool wait_to_retry(struct patience *patience, uint64_t at_least_ms,
                          const struct cancel *cancel, bool *ret_canceled,
                          struct err *err)
{
    uint32_t random;
    unsigned doublings = MIN_OF(patience->tries, 16u);
    uint64_t pause_ms = MIN_OF(patience->base_ms << doublings, (uint64_t)RETRY_MAX_MS);
    secret_random(&random, sizeof random);
    pause_ms = pause_ms / 2 + random % (pause_ms / 2 + 1);
    pause_ms = MAX_OF(pause_ms, at_least_ms);
    patience->tries++;
    if (clock_mono_ms() + pause_ms > patience->until_ms)
        return false;
    struct err why = ERR_INIT;
    *ret_canceled = !cancel_sleep_ms(cancel, pause_ms, &why);
    if (*ret_canceled)
        *err = why;
    return !*ret_canceled;
}

/* true: the answer says "later"; *ret_pause_ms is the least pause. */
static bool answer_means_later(struct azure_request *request,
                               const struct http_answer *answer, uint64_t *ret_pause_ms)
{
    if (request->also_retry && answer->status == request->also_retry) {
        *ret_pause_ms = 0;
        return true;
    }
    if (answer->status == 400 && was_damaged(answer)) {
        *ret_pause_ms = 0;
        return true;
    }
    if (!status_means_later(answer->status) ||
        (answer->status == 500 && means_never(answer)))
        return false;
    request->busy_answers += status_means_busy(answer->status);
    if (!status_means_not_begun(answer->status)) {
        request->may_have_happened = true;
        if (request->is_once)
            return false;
    }
    if (!azure_retry_after(answer, ret_pause_ms))
        *ret_pause_ms = 0; /* our own pause alone */
    return true;
}

static bool credentials_renewed(const struct azure_client_options *client,
                                const struct azure_request *request,
                                struct patience *patience, unsigned status)
{
    if ((status != 401 && status != 403) || !client->signer || patience->has_renewed)
        return false;
    patience->has_renewed = true;
    return client->signer->renew(client->signer, request->secret_mark);
}

/* One attempt and what follows from it: *ret_again, or the final result. */
static bool try_once(const struct azure_client_options *client,
                     struct azure_request *request, struct patience *patience,
                     struct http_answer *ret, bool *ret_again, struct err *err)
{
    struct err why = ERR_INIT;
    bool is_canceled = false;
    uint64_t pause_ms = 0;
    *ret_again = false;
    if (!attempt_once(client, request, ret, &why)) {
        bool goes_on = why.kind == FAIL_TRANSIENT && !request->is_once;
        request->may_have_happened = true;
        *ret_again =
            goes_on && wait_to_retry(patience, 0, request->cancel, &is_canceled, err);
        if (!*ret_again && !is_canceled) {
            *err = why;
            (void)err_wrap(err, "%s", request->what);
        }
        return false;
    }
    if (credentials_renewed(client, request, patience, ret->status)) {
        http_answer_release(ret);
        *ret_again = true;
        return false;
    }
    if (!answer_means_later(request, ret, &pause_ms))
        return true;
    *ret_again = wait_to_retry(patience, pause_ms, request->cancel, &is_canceled, err);
    if (!*ret_again && !is_canceled)
        (void)azure_refused(request, ret, err);
    http_answer_release(ret);
    return false;
}

bool azure_send(const struct azure_client_options *client, struct azure_request *request,
                struct http_answer *ret, struct err *err)
{
    struct id id = id_random();
    struct patience patience = {
        .until_ms = clock_mono_ms() +
                    (client->retry_for_ms ? client->retry_for_ms : DEFAULT_RETRY_FOR_MS),
        .base_ms = client->retry_base_ms ? client->retry_base_ms : DEFAULT_RETRY_BASE_MS,
    };
    (void)id_text(&id, request->client_id);
    request->may_have_happened = false;
    request->busy_answers = 0;
    bool again = true, ok = false;
    while (again)
        ok = try_once(client, request, &patience, ret, &again, err);
    return ok;
}
