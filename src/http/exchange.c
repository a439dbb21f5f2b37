/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange over a slot of the endpoint.
 *
 * X1  no byte of a body leaves twice: libcurl would silently repeat a request whose kept
 *     connection turns out to be dead, and cannot, because the body is not rewound; a
 *     POST without a body gets a new connection;
 * X2  nothing of an answer beyond its bound is kept: headers 64 KiB, body as asked;
 * X3  an exchange ends by its deadline, by stall_ms without progress, or when its token
 * is set, whichever is first, and at once: the wait is on the token's descriptor too; X4
 * a secret is in the header list or the path only, and our copies are wiped. Progress is
 * a byte received, a byte handed to the system, or a byte that left the system's send
 * queue: a slow uplink drains that queue long after the last hand-over.
 */
#include "http/exchange_impl.h"

#include "base/clock.h"
#include "http/pace.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#define DEFAULT_DEADLINE_MS  60000
#define DEFAULT_STALL_MS     30000
#define DEFAULT_ANSWER_BYTES (16 * MIB)
#define HEADERS_MAX_BYTES    (64 * KIB)
#define WAIT_MS              250 /* looks at the progress so often */

struct transfer {
    const struct http_request *request;
    struct http_answer *answer;
    struct slot *slot;
    size_t max_answer_bytes;
    size_t sent_bytes;   /* of the body, handed to curl */
    size_t passed_bytes; /* of the body, let through by the throttle */
    bool is_too_large, is_headers_too_large;
    uint64_t deadline_at_ms, stall_ms;
    uint64_t progress_at_ms, progress_mark;
    uint64_t moved_bytes; /* both ways, as curl counts */
};

void http_answer_release(struct http_answer *answer)
{
    buf_release(&answer->headers);
    buf_release(&answer->body);
}

bool http_answer_header(const struct http_answer *answer, const char *name, char *out,
                        size_t out_bytes)
{
    size_t name_bytes = strlen(name);
    const char *line = buf_text(&answer->headers);
    for (const char *next; *line; line = next) {
        size_t bytes = strcspn(line, "\r\n");
        next = line + bytes + strspn(line + bytes, "\r\n");
        if (bytes <= name_bytes || line[name_bytes] != ':' ||
            strncasecmp(line, name, name_bytes) != 0)
            continue;
        const char *value = line + name_bytes + 1, *end = line + bytes;
        while (value < end && (*value == ' ' || *value == '\t'))
            value++;
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        if ((size_t)(end - value) >= out_bytes)
            return false;
        memcpy(out, value, (size_t)(end - value));
        out[end - value] = 0;
        return true;
    }
    return false;
}

/* ---- what curl calls ---- */

static size_t take_header(char *data, size_t unit_bytes, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    struct buf *headers = &transfer->answer->headers;
    size_t bytes = unit_bytes * count;
    if (bytes >= 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_clear(headers); /* what came before was an interim answer */
    if (memchr(data, 0, bytes) || bytes > HEADERS_MAX_BYTES - headers->bytes) {
        transfer->is_headers_too_large = true;
        return 0;
    }
    buf_append(headers, data, bytes);
    return bytes;
}

static size_t take_body(char *data, size_t unit_bytes, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    struct http_answer *answer = transfer->answer;
    const struct http_request *request = transfer->request;
    size_t bytes = unit_bytes * count;
    long status = 0;
    (void)curl_easy_getinfo(transfer->slot->curl, CURLINFO_RESPONSE_CODE, &status);
    bool is_into = request->into && status >= 200 && status <= 299;
    size_t room = is_into ? request->into_bytes - answer->into_bytes
                          : transfer->max_answer_bytes - answer->body.bytes;
    if (bytes > room) {
        transfer->is_too_large = true;
        return 0;
    }
    if (is_into) {
        memcpy(request->into + answer->into_bytes, data, bytes);
        answer->into_bytes += bytes;
    } else {
        buf_append(&answer->body, data, bytes);
    }
    return bytes;
}

/* The wait for the throttle is nobody's silence and no part of the deadline. */
static bool pass_throttle(struct transfer *transfer)
{
    const struct http_request *request = transfer->request;
    struct err canceled = ERR_INIT; /* said again by the loop */
    size_t let_bytes = 0;
    uint64_t began_ms = clock_mono_ms();
    bool ok = pace_pass(transfer->slot->endpoint->role,
                        request->body_bytes - transfer->passed_bytes, request->cancel,
                        &let_bytes, &canceled);
    uint64_t waited_ms = clock_mono_ms() - began_ms;
    transfer->deadline_at_ms += waited_ms;
    transfer->progress_at_ms += waited_ms;
    transfer->passed_bytes += let_bytes;
    return ok;
}

static size_t give_body(char *data, size_t unit_bytes, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    const struct http_request *request = transfer->request;
    if (transfer->sent_bytes == transfer->passed_bytes &&
        transfer->sent_bytes < request->body_bytes && !pass_throttle(transfer))
        return CURL_READFUNC_ABORT;
    size_t bytes =
        MIN_OF(unit_bytes * count, transfer->passed_bytes - transfer->sent_bytes);
    if (bytes)
        memcpy(data, (const uint8_t *)request->body + transfer->sent_bytes, bytes);
    transfer->sent_bytes += bytes;
    return bytes;
}

static int refuse_rewind(void *ctx, curl_off_t offset, int origin) /* X1 */
{
    (void)ctx, (void)offset, (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

static int note_progress(void *ctx, curl_off_t a, curl_off_t received, curl_off_t b,
                         curl_off_t sent)
{
    (void)a, (void)b;
    struct transfer *transfer = ctx;
    transfer->moved_bytes = (uint64_t)received + (uint64_t)sent;
    return 0;
}

/* ---- the request ---- */

static bool text_is_plain(const char *text, bool may_have_blanks)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < ' ' || *p == 0x7f || (*p == ' ' && !may_have_blanks))
            return false;
    return true;
}

static bool check_request(const struct http_request *request, struct err *err)
{
    if (request->path[0] != '/' || !text_is_plain(request->path, false) ||
        strchr(request->path, '#'))
        return err_set(err, FAIL_INPUT, "the path of a request is not encoded");
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        const struct secret *secret = header->secret;
        bool ok = header->name[0] && text_is_plain(header->name, false) &&
                  !strchr(header->name, ':') && text_is_plain(header->value, true);
        for (size_t j = 0; ok && secret && j < secret->bytes; j++)
            ok = secret->data[j] >= ' ' && secret->data[j] != 0x7f;
        if (!ok)
            return err_set(err, FAIL_INPUT,
                           "header '%.40s' of a request holds a character that is not "
                           "allowed there",
                           header->name);
    }
    return true;
}

/* Copies into curl's list; the buffer, which may hold a secret, is wiped. */
static void add_line(struct curl_slist **lines, struct buf *line)
{
    struct curl_slist *grown = curl_slist_append(*lines, buf_text(line));
    if (!grown)
        abort(); /* out of memory, as in xcalloc */
    *lines = grown;
    secret_wipe(line->data, line->bytes);
    buf_clear(line);
}

static struct curl_slist *make_lines(const struct http_request *request)
{
    struct curl_slist *lines = NULL;
    AUTO(buf_release) struct buf line = {0};
    buf_append_text(&line, "Expect:"); /* no waiting for 100 */
    add_line(&lines, &line);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        size_t secret_bytes = header->secret ? header->secret->bytes : 0;
        bool is_empty = !*header->value && !secret_bytes;
        /* All at once: no copy is left behind by growing. */
        buf_reserve(&line,
                    strlen(header->name) + strlen(header->value) + secret_bytes + 3);
        buf_append_text(&line, header->name);
        buf_append_text(&line, is_empty ? ";" : ": "); /* curl's sign for empty */
        buf_append_text(&line, header->value);
        if (secret_bytes)
            buf_append(&line, header->secret->data, secret_bytes);
        add_line(&lines, &line);
    }
    return lines;
}

static void free_lines(struct curl_slist *lines)
{
    for (struct curl_slist *l = lines; l; l = l->next)
        secret_wipe(l->data, strlen(l->data));
    curl_slist_free_all(lines);
}

static void set_request(struct transfer *transfer, struct curl_slist *lines)
{
    const struct http_request *request = transfer->request;
    const char *method = request->method;
    CURL *curl = transfer->slot->curl;
    AUTO(buf_release) struct buf url = {0};
    buf_printf(&url, "%s%s", transfer->slot->endpoint->url, request->path);
    bool is_post = strcmp(method, "POST") == 0 || strcmp(method, "PATCH") == 0;
    CURL_SET(curl, CURLOPT_URL, buf_text(&url));
    secret_wipe(url.data, url.bytes); /* a query may prove who asks */
    if (strcmp(method, "HEAD") == 0) {
        CURL_SET(curl, CURLOPT_NOBODY, 1L);
    } else if (request->body_bytes || is_post || strcmp(method, "PUT") == 0) {
        CURL_SET(curl, CURLOPT_UPLOAD, 1L); /* sends a length also when it is 0 */
        CURL_SET(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_bytes);
        CURL_SET(curl, CURLOPT_READFUNCTION, give_body);
        CURL_SET(curl, CURLOPT_READDATA, transfer);
        CURL_SET(curl, CURLOPT_SEEKFUNCTION, refuse_rewind);
    }
    if (is_post && !request->body_bytes)
        CURL_SET(curl, CURLOPT_FRESH_CONNECT, 1L); /* X1 */
    CURL_SET(curl, CURLOPT_CUSTOMREQUEST, method);
    CURL_SET(curl, CURLOPT_HTTPHEADER, lines);
    CURL_SET(curl, CURLOPT_HEADERFUNCTION, take_header);
    CURL_SET(curl, CURLOPT_HEADERDATA, transfer);
    CURL_SET(curl, CURLOPT_WRITEFUNCTION, take_body);
    CURL_SET(curl, CURLOPT_WRITEDATA, transfer);
    CURL_SET(curl, CURLOPT_NOPROGRESS, 0L);
    CURL_SET(curl, CURLOPT_XFERINFOFUNCTION, note_progress);
    CURL_SET(curl, CURLOPT_XFERINFODATA, transfer);
}

/* ---- the wait ---- */

static uint64_t unsent_bytes(const struct slot *slot)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < SLOT_MAX_SOCKETS; i++) {
        int queued = 0;
        if (slot->sockets[i] >= 0 && ioctl(slot->sockets[i], SIOCOUTQ, &queued) == 0)
            sum += (uint64_t)queued;
    }
    return sum;
}

static bool check_time(struct transfer *transfer, struct err *err)
{
    const char *name = endpoint_name(transfer->slot->endpoint);
    uint64_t now = clock_mono_ms();
    /* Falls or rises with every byte that moves. */
    uint64_t mark = 2 * transfer->moved_bytes + transfer->answer->headers.bytes -
                    unsent_bytes(transfer->slot);
    if (mark != transfer->progress_mark) {
        transfer->progress_mark = mark;
        transfer->progress_at_ms = now;
    }
    if (now >= transfer->deadline_at_ms)
        return err_set(err, FAIL_TRANSIENT, "'%.100s' did not answer in time", name);
    if (now - transfer->progress_at_ms >= transfer->stall_ms)
        return err_set(err, FAIL_TRANSIENT, "'%.100s' has been silent for %llu ms", name,
                       (unsigned long long)transfer->stall_ms);
    return true;
}

/* true: *ret_code is curl's verdict. false: *err is set, ours. */
static bool run(struct transfer *transfer, CURLcode *ret_code, struct err *err)
{
    struct slot *slot = transfer->slot;
    const struct cancel *cancel = transfer->request->cancel;
    for (;;) {
        int running = 0, left = 0;
        if (curl_multi_perform(slot->multi, &running) != CURLM_OK)
            return err_set(err, FAIL_BUG, "libcurl refuses to go on");
        if (!running) {
            CURLMsg *message = curl_multi_info_read(slot->multi, &left);
            *ret_code = message ? message->data.result : CURLE_FAILED_INIT;
            return true;
        }
        if (!cancel_check(cancel, err) || !check_time(transfer, err))
            return false;
        struct curl_waitfd wake = {.fd = cancel ? cancel->event_fd : -1,
                                   .events = CURL_WAIT_POLLIN};
        uint64_t left_ms = transfer->deadline_at_ms - clock_mono_ms();
        int wait_ms = (int)MIN_OF(MIN_OF(left_ms, transfer->stall_ms), (uint64_t)WAIT_MS);
        if (curl_multi_poll(slot->multi, &wake, cancel ? 1 : 0, MAX_OF(wait_ms, 1),
                            NULL) != CURLM_OK)
            return err_set(err, FAIL_BUG, "libcurl refuses to wait");
    }
}

static bool perform(struct transfer *transfer, CURLcode *ret_code, struct err *err)
{
    struct slot *slot = transfer->slot;
    if (curl_multi_add_handle(slot->multi, slot->curl) != CURLM_OK)
        abort(); /* out of memory, as in xcalloc */
    transfer->progress_at_ms = clock_mono_ms();
    bool ok = run(transfer, ret_code, err);
    /* In mid-transfer this closes the connection. */
    (void)curl_multi_remove_handle(slot->multi, slot->curl); /* it is in there */
    return ok;
}

static bool judge(struct transfer *transfer, CURLcode code, struct err *err)
{
    const char *name = endpoint_name(transfer->slot->endpoint);
    const struct http_request *request = transfer->request;
    if (transfer->is_headers_too_large)
        return err_set(err, FAIL_LIMIT,
                       "headers of the answer of '%.100s' are larger "
                       "than %llu bytes, or damaged",
                       name, (unsigned long long)HEADERS_MAX_BYTES);
    if (transfer->is_too_large)
        return err_set(err, FAIL_LIMIT, "answer of '%.100s' is larger than %zu bytes",
                       name,
                       request->into ? request->into_bytes : transfer->max_answer_bytes);
    if (transfer->slot->refused.kind != FAIL_NONE) {
        *err = transfer->slot->refused;
        return false;
    }
    if (code == CURLE_ABORTED_BY_CALLBACK && !cancel_check(request->cancel, err))
        return false;
    return code == CURLE_OK || slot_explain(transfer->slot, code, err);
}

static void read_answer(struct transfer *transfer)
{
    struct http_answer *answer = transfer->answer;
    CURL *curl = transfer->slot->curl;
    long status = 0, port = 0;
    curl_off_t first_byte_us = 0;
    char *address = NULL;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status); /* else 0 */
    (void)curl_easy_getinfo(curl, CURLINFO_STARTTRANSFER_TIME_T, &first_byte_us);
    (void)curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &address);
    (void)curl_easy_getinfo(curl, CURLINFO_PRIMARY_PORT, &port);
    answer->status = (unsigned)status;
    answer->latency_ms = (uint64_t)first_byte_us / 1000;
    if (transfer->slot->endpoint->socket_path)
        (void)snprintf(answer->address, sizeof answer->address, "unix");
    else
        (void)snprintf(answer->address, sizeof answer->address,
                       address && strchr(address, ':') ? "[%s]:%ld" : "%s:%ld",
                       address ? address : "", port);
}

bool http_exchange(struct http_endpoint *endpoint, const struct http_request *request,
                   struct http_answer *ret, struct err *err)
{
    if (!check_request(request, err) || !cancel_check(request->cancel, err))
        return false;
    struct http_answer answer = {0};
    struct transfer transfer = {
        .request = request,
        .answer = &answer,
        .slot = slot_take(endpoint),
        .max_answer_bytes =
            request->max_answer_bytes ? request->max_answer_bytes : DEFAULT_ANSWER_BYTES,
        .deadline_at_ms = clock_mono_ms() + (request->deadline_ms ? request->deadline_ms
                                                                  : DEFAULT_DEADLINE_MS),
        .stall_ms = request->stall_ms ? request->stall_ms : DEFAULT_STALL_MS,
    };
    if (!slot_choose_way(transfer.slot, request->cancel, err)) {
        slot_give(transfer.slot);
        return false;
    }
    struct curl_slist *lines = make_lines(request);
    CURLcode code = CURLE_OK;
    set_request(&transfer, lines);
    bool ok = perform(&transfer, &code, err) && judge(&transfer, code, err);
    if (ok) {
        read_answer(&transfer);
        *ret = answer;
    } else {
        http_answer_release(&answer);
    }
    slot_observe_way(transfer.slot, ok ? ret->latency_ms : 0, ok ? NULL : err);
    slot_end_way(transfer.slot);
    if (transfer.slot->refused.kind != FAIL_NONE)
        (void)way_refused(err);           /* not ok */
    curl_easy_reset(transfer.slot->curl); /* forgets the list and this frame */
    free_lines(lines);
    slot_give(transfer.slot);
    return ok;
}

bool slot_probe(struct slot *slot, const struct cancel *cancel, struct err *err)
{
    const struct http_endpoint *endpoint = slot->endpoint;
    struct http_request nothing = {.method = "GET", .path = "/", .cancel = cancel};
    struct http_answer none = {0};
    struct transfer transfer = {
        .request = &nothing,
        .answer = &none,
        .slot = slot,
        .deadline_at_ms = clock_mono_ms() + 2 * endpoint->connect_deadline_ms,
        .stall_ms = DEFAULT_STALL_MS,
    };
    CURLcode code = CURLE_OK;
    if (!slot_choose_way(slot, cancel, err))
        return false;
    CURL_SET(slot->curl, CURLOPT_URL, endpoint->url);
    CURL_SET(slot->curl, CURLOPT_CONNECT_ONLY, 1L);
    bool ok = perform(&transfer, &code, err) &&
              (code == CURLE_OK || slot_explain(slot, code, err));
    slot_observe_way(slot, 0, ok ? NULL : err);
    return ok;
}

bool http_endpoint_fingerprint(struct http_endpoint *endpoint,
                               uint8_t ret_pin[HTTP_PIN_BYTES], struct err *err)
{
    if (!endpoint->is_tls)
        return err_set(err, FAIL_INPUT, "'%.100s' has no certificate; write https://",
                       endpoint_name(endpoint));
    struct slot *slot = slot_new_probe(endpoint);
    struct err why = ERR_INIT;
    bool ok = slot_probe(slot, NULL, &why) || slot->has_peer;
    if (ok)
        memcpy(ret_pin, slot->peer, HTTP_PIN_BYTES);
    else
        *err = why;
    slot_free(slot);
    return ok;
}
