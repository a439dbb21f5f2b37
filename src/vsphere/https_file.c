/* SPDX-License-Identifier: Apache-2.0 */
/*
 * H1  bytes of a read count only with status 206, the very range in Content-Range, the
 *     disk's size behind it, and as many bytes as were asked for.
 * H2  the cookie is taken as the server gave it and renewed through the vim25 client: a
 *     401 makes one thread use the session once, which logs in again when it has ended.
 */
#include "vsphere/https_file.h"

#include "base/log.h"
#include "base/text.h"
#include "http/client.h"

#include <stdio.h>
#include <stdlib.h>

#define ATTEMPTS         8
#define PROBE_ATTEMPTS   3
#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS   8000
#define IDLE_CONNECTIONS 64
#define FLAT_SUFFIX      "-flat.vmdk"
#define LINK_SUFFIX      ".vmdk"
#define HOST_DATACENTER  "ha-datacenter"

struct https_session {
    /* Set by https_session_open, never changed. */
    struct vim *vim;
    struct http_endpoint *endpoint;
    uint32_t attempts;
    uint32_t silence_ms;
    /* Guarded by lock. */
    pthread_mutex_t lock;
    struct secret *cookie;
    uint64_t generation; /* of cookie */
};

struct https_file {
    struct https_session *session;
    uint64_t disk_bytes;
    uint32_t attempts;
    char *path;
    char *name; /* for errors */
};

/* ---- names ---- */

static void add_query(struct buf *path, const char *key, const char *value, bool is_twice)
{
    AUTO(buf_release) struct buf once = {0};
    http_query_add(&once, "", value); /* "?=" and the value, encoded */
    http_query_add(path, key, is_twice ? buf_text(&once) + 2 : value);
}

bool https_folder_path(const struct https_name *name, struct buf *ret, struct err *err)
{
    const char *text = name->file_name;
    const char *close = text[0] == '[' ? strchr(text, ']') : NULL;
    char part[1024];
    if (!close || close == text + 1 || close[1] != ' ' || !close[2] ||
        !text_ends_with(text, LINK_SUFFIX) || strlen(text) >= sizeof part)
        return err_set(err, FAIL_INPUT, "'%.200s' is not '[datastore] dir/name.vmdk'",
                       text);
    char datastore[1024];
    (void)snprintf(datastore, sizeof datastore, "%.*s", (int)(close - text - 1),
                   text + 1);
    buf_append_text(ret, "/folder");
    for (const char *at = close + 2; *at;) {
        size_t bytes = strcspn(at, "/");
        bool is_last = at[bytes] == 0;
        size_t kept = is_last ? bytes - strlen(LINK_SUFFIX) : bytes;
        (void)snprintf(part, sizeof part, "%.*s%s", (int)kept, at,
                       is_last ? FLAT_SUFFIX : "");
        http_path_add(ret, part);
        at += bytes + !is_last;
    }
    add_query(ret, "dcPath", *name->datacenter ? name->datacenter : HOST_DATACENTER,
              name->is_twice);
    add_query(ret, "dsName", datastore, name->is_twice);
    return true;
}

bool https_range_matches(const char *content_range, uint64_t offset_bytes,
                         uint64_t length_bytes, uint64_t total_bytes)
{
    char wanted[96];
    (void)snprintf(wanted, sizeof wanted, "bytes %llu-%llu/%llu",
                   (unsigned long long)offset_bytes,
                   (unsigned long long)(offset_bytes + length_bytes - 1),
                   (unsigned long long)total_bytes);
    return strcasecmp(content_range, wanted) == 0;
}

/* ---- session ---- */

struct https_session *https_session_open(struct vim *vim,
                                         const struct transport_options *options,
                                         struct err *err)
{
    AUTO(https_session_close)
    struct https_session *session = xcalloc(1, sizeof *session);
    struct http_endpoint_options endpoint;
    (void)pthread_mutex_init(&session->lock, NULL);
    session->vim = vim;
    session->attempts = options->attempts ? options->attempts : ATTEMPTS;
    session->silence_ms = options->silence_ms;
    vim_endpoint_options(vim, &endpoint);
    endpoint.max_idle = IDLE_CONNECTIONS;
    session->endpoint = http_endpoint_open(&endpoint, err);
    session->cookie = session->endpoint ? vim_cookie_new(vim, err) : NULL;
    session->generation = 1;
    return session->cookie ? TAKE(session) : NULL;
}

void https_session_close(struct https_session *session)
{
    if (!session)
        return;
    http_endpoint_close(session->endpoint);
    secret_free(session->cookie);
    (void)pthread_mutex_destroy(&session->lock);
    free(session);
}

void https_reader_release(struct https_reader *reader)
{
    secret_free(reader->cookie);
    reader->cookie = NULL;
}

/* The reader's cookie is the session's newest. */
static void take_cookie(struct https_session *session, struct https_reader *reader)
{
    LOCK_GUARD(&session->lock);
    if (reader->cookie_generation == session->generation)
        return;
    secret_free(reader->cookie);
    reader->cookie = secret_new(session->cookie->data, session->cookie->bytes);
    reader->cookie_generation = session->generation;
}

/* The reader's cookie was refused: a new one, unless another thread has got it. Several
 * threads may ask at once; the vim25 client logs in once for all of them. */
static bool renew_cookie(struct https_session *session, const struct https_reader *reader,
                         const struct cancel *cancel, struct err *err)
{
    {
        LOCK_GUARD(&session->lock);
        if (reader->cookie_generation != session->generation)
            return true;
    }
    AUTO(secret_free) struct secret *cookie = NULL;
    if (vim_keep_alive(session->vim, 0, cancel, err))
        cookie = vim_cookie_new(session->vim, err);
    if (!cookie)
        return false;
    LOCK_GUARD(&session->lock);
    if (reader->cookie_generation != session->generation)
        return true;
    secret_free(session->cookie);
    session->cookie = TAKE(cookie);
    session->generation++;
    return true;
}

/* ---- one request ---- */

static bool explain_status(const struct https_file *file, unsigned status,
                           struct err *err)
{
    switch (status) {
    case 200:
        return err_set(err, FAIL_CONFLICT,
                       "'%s': the server ignores ranges and sends the whole file; use "
                       "another transport",
                       file->name);
    case 401:
        return err_set(err, FAIL_AUTH, "'%s': the session is not accepted (401)",
                       file->name);
    case 403:
        return err_set(err, FAIL_AUTH,
                       "'%s': not allowed (403); the account needs Datastore.Browse and "
                       "Datastore.FileManagement there",
                       file->name);
    case 404:
        return err_set(
            err, FAIL_GONE,
            "'%s': there is no such flat file; the disk is a chain of links or "
            "lies on vSAN or vVol: use another transport",
            file->name);
    case 416:
        return err_set(err, FAIL_CONFLICT, "'%s': shorter than the disk (416)",
                       file->name);
    case 500:
        return err_set(err, FAIL_TRANSIENT,
                       "'%s': the server answered 500; is the machine running, or does "
                       "another reader hold the file?",
                       file->name);
    default:
        return err_set(err, status >= 500 || status == 429 ? FAIL_TRANSIENT : FAIL_IO,
                       "'%s': the server answered %u", file->name, status);
    }
}

static bool check_answer(const struct https_file *file, const struct lane_read *read,
                         const struct http_answer *answer, struct err *err)
{
    char range[128];
    if (answer->status != 206)
        return explain_status(file, answer->status, err);
    if (!http_answer_header(answer, "Content-Range", range, sizeof range) ||
        !https_range_matches(range, read->offset_bytes, read->length_bytes,
                             file->disk_bytes))
        return err_set(
            err, FAIL_CONFLICT,
            "'%s': asked for %u bytes at %llu of %llu, the server sent another "
            "range; was the disk resized?",
            file->name, read->length_bytes, (unsigned long long)read->offset_bytes,
            (unsigned long long)file->disk_bytes);
    if (answer->into_bytes != read->length_bytes)
        return err_set(err, FAIL_TRANSIENT, "'%s': %zu of %u bytes came", file->name,
                       answer->into_bytes, read->length_bytes);
    return true;
}

static bool ask(struct https_file *file, struct https_reader *reader,
                struct lane_read *read, const struct cancel *cancel, struct err *err)
{
    AUTO(http_answer_release) struct http_answer answer = {0};
    char range[64];
    reader->status = 0;
    take_cookie(file->session, reader);
    (void)snprintf(range, sizeof range, "bytes=%llu-%llu",
                   (unsigned long long)read->offset_bytes,
                   (unsigned long long)(read->offset_bytes + read->length_bytes - 1));
    struct http_header headers[] = {
        {.name = "Range", .value = range},
        {.name = "Cookie", .value = "", .secret = reader->cookie}};
    struct http_request request = {.method = "GET",
                                   .path = file->path,
                                   .headers = headers,
                                   .header_count = ARRAY_COUNT(headers),
                                   .into = read->data,
                                   .into_bytes = read->length_bytes,
                                   .max_answer_bytes = 64 * KIB,
                                   .deadline_ms = 10 * 60 * 1000,
                                   .stall_ms = file->session->silence_ms,
                                   .cancel = cancel};
    if (!http_exchange(file->session->endpoint, &request, &answer, err)) {
        if (err->kind == FAIL_LIMIT) /* more than the range: 200 and the whole file */
            return explain_status(file, 200, err);
        return false;
    }
    reader->status = answer.status;
    reader->wire_bytes += answer.into_bytes + answer.body.bytes;
    return check_answer(file, read, &answer, err);
}

bool https_file_read(struct https_file *file, struct https_reader *reader,
                     struct lane_read *read, const struct cancel *cancel, struct err *err)
{
    uint64_t wait_ms = BACKOFF_FIRST_MS;
    bool is_renewed = false;
    for (uint32_t attempt = 1;; attempt++) {
        struct err why = ERR_INIT;
        if (ask(file, reader, read, cancel, &why))
            return true;
        *err = why;
        if (reader->status == 401 && !is_renewed) {
            is_renewed = true;
            if (!renew_cookie(file->session, reader, cancel, err))
                return false;
        } else if (why.kind != FAIL_TRANSIENT) {
            return false;
        } else if (attempt >= file->attempts) {
            return err_wrap(err, "https: gave up after %u attempts", attempt);
        } else if (attempt > 1) { /* a kept connection that had ended costs no wait */
            if (!cancel_sleep_ms(cancel, wait_ms, err))
                return false;
            wait_ms = MIN_OF(2 * wait_ms, BACKOFF_MAX_MS);
        }
        log_debug("https_read_again", "file=%s why=%s", file->name, why.text);
        reader->asked_again_bytes += read->length_bytes;
        reader->reconnects++;
    }
}

/* ---- opening ---- */

/* Not there, or not now because somebody else has it: another transport may do. */
static bool probe(struct https_file *file, const struct cancel *cancel, struct err *err)
{
    uint8_t sector[SECTOR_BYTES];
    struct https_reader reader = {0};
    struct lane_read read = {.length_bytes = sizeof sector, .data = sector};
    file->attempts = PROBE_ATTEMPTS;
    bool ok = https_file_read(file, &reader, &read, cancel, err);
    file->attempts = file->session->attempts;
    if (!ok && reader.status == 500)
        err->kind = FAIL_CONFLICT;
    https_reader_release(&reader);
    return ok;
}

static bool is_encoded_alike(const struct https_name *name)
{
    struct https_name twice = *name;
    AUTO(buf_release) struct buf a = {0};
    AUTO(buf_release) struct buf b = {0};
    struct err ignored = ERR_INIT;
    twice.is_twice = true;
    return https_folder_path(name, &a, &ignored) &&
           https_folder_path(&twice, &b, &ignored) &&
           strcmp(buf_text(&a), buf_text(&b)) == 0;
}

bool https_file_open(struct https_session *session, const struct https_name *name,
                     uint64_t disk_bytes, const struct cancel *cancel,
                     struct https_file **ret, struct err *err)
{
    struct err first = ERR_INIT;
    for (int is_twice = 0; is_twice < 2; is_twice++) {
        AUTO(buf_release) struct buf path = {0};
        struct err why = ERR_INIT;
        struct https_name tried = *name;
        tried.is_twice = is_twice;
        if (!https_folder_path(&tried, &path, err))
            return false;
        AUTO(https_file_close) struct https_file *file = xcalloc(1, sizeof *file);
        file->session = session;
        file->disk_bytes = disk_bytes;
        file->path = buf_take_text(&path);
        file->name = xstrdup(name->file_name);
        if (probe(file, cancel, &why)) {
            *ret = TAKE(file);
            return true;
        }
        if (!is_twice)
            first = why;
        if (why.kind != FAIL_GONE || is_encoded_alike(name))
            break;
    }
    *err = first;
    if (err->kind == FAIL_GONE)
        err->kind = FAIL_CONFLICT; /* the disk is there, its flat file is not */
    return false;
}

void https_file_close(struct https_file *file)
{
    if (!file)
        return;
    free(file->path);
    free(file->name);
    free(file);
}
