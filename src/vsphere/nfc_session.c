/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   C  [43] 33          S 36 (flag at 16)
 *   C  51               S 51 (version)
 *   C  [54 55] 52       S 52
 *   C  OPEN_SESSION, SET_SOCK_OPTS, SET_RES_POOL, OPEN_FILE     each answered with its
 * type
 *
 * Messages without an answer leave together with the next one that has one: a round trip
 * each is saved. Three things are tried another way when the host does not like the
 * first (struct nfc_learned), each on a new connection with a new ticket, each once.
 */
#include "vsphere/nfc_session.h"

#include "base/bytes.h"
#include "base/text.h"

#include <stdio.h>

#define SILENCE_MS         30000
#define CLOSE_SILENCE_MS   1000
#define LIB_WITH_HANDSHAKE 11 /* ESXi 8; 6.7 and 6.0 answer message 43 with a refusal */
#define SMALL_BUFFER_BYTES 65536
#define CLIENT_MODE        "nbdmode"
#define VERSION_FLAG_AT    16
#define ESCAPED_MAX_BYTES  (3 * NFC_PATH_MAX_BYTES + 1)
#define OPEN_ATTEMPTS      4 /* one more than there are things to learn */

/* Why a session could not be opened, when trying another way may help. */
enum setback { SETBACK_NONE, SETBACK_HANDSHAKE, SETBACK_BUFFERS, SETBACK_TLS };

struct opening {
    const struct nfc_session_options *options;
    const struct nfc_learned *learned;
    struct nfc_session *session;
    enum setback setback;
};

static const struct nfc_quirks *quirks_of(const struct opening *opening)
{
    return &opening->options->target->quirks;
}

static bool sends_handshake(const struct opening *opening)
{
    const struct nfc_target *target = opening->options->target;
    if (target->quirks.handshake != NFC_AUTO)
        return target->quirks.handshake == NFC_ALWAYS;
    bool planned = target->lib_version == NFC_LIB_VERSION_UNKNOWN ||
                   target->lib_version >= LIB_WITH_HANDSHAKE;
    return planned != opening->learned->handshake_flipped;
}

/* Sends what was gathered, reads one classic frame of that type. */
static bool classic_call(struct opening *opening, struct buf *request,
                         enum nfc_classic type, uint8_t frame[NFC_CLASSIC_BYTES],
                         struct err *err)
{
    struct nfc_stream *stream = &opening->session->stream;
    if (!nfc_stream_write(stream, request->data, request->bytes, err) ||
        !nfc_stream_read(stream, frame, NFC_CLASSIC_BYTES, err)) {
        if (err->kind == FAIL_TRANSIENT)
            opening->setback = SETBACK_HANDSHAKE;
        return err_wrap(err, "NFC handshake, waiting for message %d", (int)type);
    }
    buf_clear(request);
    uint32_t got = nfc_classic_type(frame);
    if (got == type)
        return true;
    opening->setback = SETBACK_HANDSHAKE;
    if (got == NFC_COMPLETE)
        return err_set(err, FAIL_CONFLICT,
                       "NFC handshake: '%s' refused instead of sending message %d; is it "
                       "older than ESXi 7?",
                       stream->peer, (int)type);
    return err_set(err, FAIL_CORRUPT, "NFC handshake: '%s' sent message %u instead of %d",
                   stream->peer, got, (int)type);
}

static bool check_version_flag(const struct opening *opening, const uint8_t *frame,
                               struct err *err)
{
    uint32_t flag = get_u32le(frame + VERSION_FLAG_AT);
    if (flag == 1)
        return true;
    nfc_unproven_met(NFC_MET_VERSION_FLAG, "message 36 has %u at offset 16", flag);
    if (flag == 0 && quirks_of(opening)->needs_version_flag)
        return err_set(
            err, FAIL_CONFLICT,
            "'%s' does not offer asynchronous NFC reads; it is older than ESXi "
            "6.5: use another transport",
            opening->session->stream.peer);
    return true;
}

static bool classic_phase(struct opening *opening, struct err *err)
{
    const struct nfc_quirks *quirks = quirks_of(opening);
    AUTO(buf_release) struct buf request = {0};
    uint8_t frame[NFC_CLASSIC_BYTES];
    if (sends_handshake(opening))
        nfc_classic_put_handshake(&request);
    nfc_classic_put(&request, NFC_PARAMS, 0);
    if (!classic_call(opening, &request, NFC_PARAMS_REPLY, frame, err) ||
        !check_version_flag(opening, frame, err))
        return false;
    nfc_classic_put(&request, NFC_VERSION, NFC_CLIENT_VERSION);
    if (!classic_call(opening, &request, NFC_VERSION, frame, err))
        return false;
    uint32_t version = get_u32le(frame + 4);
    if (version != NFC_CLIENT_VERSION)
        nfc_unproven_met(NFC_MET_SERVER_VERSION, "the host answered version %u", version);
    if (version >= quirks->data_min_version) {
        nfc_classic_put_client(&request, quirks->client_name, CLIENT_MODE);
        nfc_classic_put(&request, NFC_FEATURES, quirks->features);
    }
    nfc_classic_put(&request, NFC_AIO_OPEN, 0);
    return classic_call(opening, &request, NFC_AIO_OPEN, frame, err);
}

bool nfc_session_receive(struct nfc_session *session, struct nfc_header *ret,
                         const uint8_t **ret_payload, struct err *err)
{
    const uint8_t *raw = nfc_stream_borrow(&session->stream, NFC_HEADER_BYTES, err);
    if (!raw || !nfc_header_parse(raw, ret, err))
        return false;
    *ret_payload = nfc_stream_borrow(&session->stream, ret->payload_bytes, err);
    return *ret_payload != NULL;
}

bool nfc_session_refused(const struct nfc_target *target, const char *operation,
                         const struct nfc_header *header, const uint8_t *payload,
                         struct err *err)
{
    char hex[2 * 48 + 1];
    struct nfc_refusal refusal = {.operation = operation,
                                  .payload = payload,
                                  .payload_bytes = header->payload_bytes,
                                  .code_at = target->quirks.error_code_at};
    (void)nfc_refusal_explain(&refusal, err);
    text_hex(payload, MIN_OF(header->payload_bytes, 48), hex);
    nfc_unproven_met(err->kind == FAIL_NO_SPACE ? NFC_MET_OUT_OF_MEMORY
                                                : NFC_MET_ERROR_PAYLOAD,
                     "%s: %u bytes %s", operation, header->payload_bytes, hex);
    return false;
}

/* Sends one AIO request, reads its answer; *ret_payload is borrowed. */
static bool aio_call(struct opening *opening, const struct buf *request,
                     const char *operation, struct nfc_header *ret,
                     const uint8_t **ret_payload, struct err *err)
{
    struct nfc_session *session = opening->session;
    uint32_t type = get_u32le(request->data + 4);
    uint32_t op_id = get_u32le(request->data + 12);
    if (!nfc_stream_write(&session->stream, request->data, request->bytes, err) ||
        !nfc_session_receive(session, ret, ret_payload, err))
        return err_wrap(err, "%s", operation);
    if (ret->type == NFC_ERROR)
        return nfc_session_refused(opening->options->target, operation, ret, *ret_payload,
                                   err);
    if (ret->type != type || ret->op_id != op_id)
        return err_set(err, FAIL_CORRUPT,
                       "%s: '%s' answered with type %u for request %u instead of type %u "
                       "for %u",
                       operation, session->stream.peer, ret->type, ret->op_id, type,
                       op_id);
    return true;
}

static bool start_session(struct opening *opening, struct err *err)
{
    const struct nfc_quirks *quirks = quirks_of(opening);
    bool is_small = opening->learned->small_buffers;
    uint32_t each = is_small ? SMALL_BUFFER_BYTES : quirks->buffer_bytes;
    uint32_t count = is_small ? 1 : quirks->buffer_count;
    AUTO(buf_release) struct buf request = {0};
    struct nfc_header header = {0};
    const uint8_t *payload;
    nfc_put_open_session(&request, opening->session->next_op_id++, each, count);
    if (!aio_call(opening, &request, "NFC session", &header, &payload, err)) {
        if (header.type == NFC_ERROR && (each > SMALL_BUFFER_BYTES || count > 1))
            opening->setback = SETBACK_BUFFERS;
        return false;
    }
    if (!quirks->session_options)
        return true;
    buf_clear(&request);
    nfc_put_sock_opts(&request, opening->session->next_op_id++);
    if (!aio_call(opening, &request, "NFC socket options", &header, &payload, err))
        return false;
    buf_clear(&request);
    nfc_put_res_pool(&request, opening->session->next_op_id++);
    return aio_call(opening, &request, "NFC resource pool", &header, &payload, err);
}

/* '%' and everything outside ASCII as %XX, where the switch says so. */
static void path_for_wire(const struct nfc_quirks *quirks, const char *path,
                          char out[ESCAPED_MAX_BYTES])
{
    size_t used = 0;
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        if (quirks->path_escape && (c == '%' || c >= 0x80))
            used += (size_t)snprintf(out + used, 4, "%%%02x", c);
        else
            out[used++] = (char)c;
    }
    out[used] = 0;
}

static bool open_file(struct opening *opening, struct err *err)
{
    const struct nfc_session_options *options = opening->options;
    struct nfc_session *session = opening->session;
    AUTO(buf_release) struct buf request = {0};
    char path[ESCAPED_MAX_BYTES];
    char operation[200];
    struct nfc_opened opened;
    struct nfc_header header;
    const uint8_t *payload;
    path_for_wire(quirks_of(opening), options->file_name, path);
    (void)snprintf(operation, sizeof operation, "open '%s' on '%s'", options->file_name,
                   session->stream.peer);
    nfc_put_open_file(&request, session->next_op_id++, path);
    if (!aio_call(opening, &request, operation, &header, &payload, err) ||
        !nfc_opened_parse(payload, header.payload_bytes, &opened, err))
        return false;
    if (opened.sector_bytes != SECTOR_BYTES)
        return err_set(err, FAIL_CONFLICT,
                       "'%.200s' has sectors of %u bytes; only 512 can be read over nfc",
                       options->file_name, opened.sector_bytes);
    if (opened.disk_bytes != options->disk_bytes)
        return err_set(err, FAIL_CONFLICT,
                       "'%.200s' holds %llu bytes, the snapshot says %llu; was the disk "
                       "resized?",
                       options->file_name, (unsigned long long)opened.disk_bytes,
                       (unsigned long long)options->disk_bytes);
    session->handle = opened.handle;
    session->disk_bytes = opened.disk_bytes;
    return true;
}

static bool open_once(struct opening *opening, const struct cancel *cancel,
                      struct err *err)
{
    const struct nfc_target *target = opening->options->target;
    struct nfc_session *session = opening->session;
    struct vim_ticket ticket;
    *session = (struct nfc_session){
        .stream = {.fd = -1,
                   .cancel = cancel,
                   .silence_ms = target->silence_ms ? target->silence_ms : SILENCE_MS}};
    opening->setback = SETBACK_NONE;
    if (!target->ticket(target->arg, cancel, &ticket, err))
        return err_wrap(err, "NFC ticket");
    text_copy(session->host, sizeof session->host,
              *ticket.host ? ticket.host : target->default_host);
    struct nfc_authd_options authd = {.ticket = &ticket,
                                      .default_host = target->default_host,
                                      .quirks = &target->quirks,
                                      .is_plain = target->is_plain,
                                      .is_legacy = opening->learned->legacy_tls};
    bool ok =
        nfc_authd_connect(&authd, &session->stream, opening->options->buffer_bytes, err);
    vim_ticket_wipe(&ticket);
    if (!ok) {
        if (session->stream.has_tls_failed)
            opening->setback = SETBACK_TLS;
        return false;
    }
    ok = classic_phase(opening, err) && start_session(opening, err) &&
         open_file(opening, err);
    if (!ok)
        nfc_stream_close(&session->stream);
    return ok;
}

/* true: *learned says what to do differently, once. */
static bool learn(const struct nfc_target *target, enum setback setback,
                  struct nfc_learned *learned, const struct err *why)
{
    bool *lesson = NULL;
    enum nfc_unproven what = NFC_MET_HANDSHAKE_ORDER;
    if (setback == SETBACK_HANDSHAKE && target->quirks.handshake == NFC_AUTO) {
        lesson = &learned->handshake_flipped;
    } else if (setback == SETBACK_BUFFERS) {
        lesson = &learned->small_buffers;
        what = NFC_MET_BUFFER_REFUSED;
    } else if (setback == SETBACK_TLS && target->quirks.legacy_tls) {
        lesson = &learned->legacy_tls;
        what = NFC_MET_LEGACY_TLS;
    }
    if (!lesson || *lesson)
        return false;
    *lesson = true;
    nfc_unproven_met(what, "%.300s", why->text);
    return true;
}

bool nfc_session_open(const struct nfc_session_options *options,
                      struct nfc_learned *learned, const struct cancel *cancel,
                      struct nfc_session *ret, struct err *err)
{
    struct nfc_learned tried = *learned;
    struct err first = ERR_INIT;
    if (strlen(options->file_name) > NFC_PATH_MAX_BYTES)
        return err_set(err, FAIL_LIMIT, "path '%.100s...' is longer than %d bytes",
                       options->file_name, NFC_PATH_MAX_BYTES);
    for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        struct err why = ERR_INIT;
        struct opening opening = {.options = options, .learned = &tried, .session = ret};
        if (open_once(&opening, cancel, &why)) {
            *learned = tried; /* only what led somewhere is kept */
            return true;
        }
        if (attempt == 0)
            first = why;
        if (why.kind == FAIL_CANCELED)
            first = why;
        if (why.kind == FAIL_CANCELED ||
            !learn(options->target, opening.setback, &tried, &why))
            break;
    }
    *err = first; /* the way that was planned tells more than its alternatives */
    return false;
}

void nfc_session_close(struct nfc_session *session, bool politely)
{
    AUTO(buf_release) struct buf bye = {0};
    struct err ignored = ERR_INIT;
    struct nfc_header header;
    const uint8_t *payload;
    struct nfc_stream *stream = &session->stream;
    if (politely && stream->fd > 0) {
        stream->cancel = NULL;
        stream->silence_ms = CLOSE_SILENCE_MS;
        nfc_put_close_file(&bye, session->next_op_id++, session->handle);
        nfc_put_close_session(&bye, session->next_op_id++);
        bool ok = nfc_stream_write(stream, bye.data, bye.bytes, &ignored) &&
                  nfc_session_receive(session, &header, &payload, &ignored) &&
                  nfc_session_receive(session, &header, &payload, &ignored);
        buf_clear(&bye);
        nfc_classic_put(&bye, NFC_COMPLETE, 0);
        ok = ok && nfc_stream_write(stream, bye.data, bye.bytes, &ignored);
        (void)ok; /* a host that is gone needs no good-bye */
    }
    nfc_stream_close(stream);
}
