/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   S  220 VMware Authentication Daemon ...          plain
 *      --- TLS#1, certificate compared with the ticket's SHA-1 ---
 *   C  SESSION <ticket>                              no answer of its own
 *   C  BANNER                                        S 220
 *   C  THUMBPRINT_SHA2 PlainText                     S 200 <SHA-256>; only when the plain
 *                                                    line says "SHA256 supported"
 *   C  PROXY <service>[ssl]                          S 200
 *      --- TLS#1 dropped without close_notify; nbdssl: TLS#2 on the same socket ---
 *
 * The words of the greeting decide, never a version: two observers of ESXi 7.0 differ.
 *
 * A1  SESSION is sent only after TLS#1 showed the ticket's certificate.
 * A2  TLS#2 shows the same certificate as TLS#1, byte for byte (SHA-256 of it).
 * A3  Nothing from the ticket can add a line: control characters and blanks are refused.
 * A4  Only the first three characters of an answer count.
 */
#include "vsphere/nfc_authd.h"

#include "base/text.h"

#include <ctype.h>
#include <stdio.h>

#define LINE_BYTES 4096
#define SHOWN_LEN  160

bool nfc_thumbprint_parse(const char *text, uint8_t *ret, size_t bytes)
{
    char hex[2 * TLS_SHA256_BYTES + 1];
    struct err ignored = ERR_INIT;
    size_t used = 0;
    for (; *text; text++) {
        if (*text == ':' || *text == ' ')
            continue;
        if (used + 1 == sizeof hex || !isxdigit((unsigned char)*text))
            return false;
        hex[used++] = (char)tolower((unsigned char)*text);
    }
    hex[used] = 0;
    return used == 2 * bytes && text_unhex(hex, ret, bytes, &ignored);
}

static bool is_word(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if (!isgraph((unsigned char)*text))
            return false;
    return true;
}

/* What a host sends is shown to people: control characters become '?'. */
static const char *shown(const char *line, char out[SHOWN_LEN])
{
    text_copy(out, SHOWN_LEN, line);
    for (char *c = out; *c; c++)
        if (!isprint((unsigned char)*c))
            *c = '?';
    return out;
}

static bool say(struct nfc_stream *stream, const char *word, const char *argument,
                struct err *err)
{
    AUTO(buf_release) struct buf line = {0};
    buf_printf(&line, "%s %s\r\n", word, argument);
    bool ok = nfc_stream_write(stream, line.data, line.bytes, err);
    secret_wipe(line.data, line.bytes); /* SESSION carries the ticket */
    return ok;
}

/* Reads an answer that must begin with `code`. */
static bool hear(struct nfc_stream *stream, const char *to, const char *code,
                 char line[LINE_BYTES], struct err *err)
{
    char text[SHOWN_LEN];
    if (!nfc_stream_read_line(stream, line, LINE_BYTES, err))
        return err_wrap(err, "authd, answer to %s", to);
    if (strncmp(line, code, 3) == 0)
        return true;
    if (strncmp(line, "530", 3) != 0 && strncmp(line, "501", 3) != 0)
        nfc_unproven_met(NFC_MET_AUTHD_REFUSAL, "to %s: %s", to, shown(line, text));
    return err_set(err, FAIL_TRANSIENT, "authd of '%s' refused %s: '%s'", stream->peer,
                   to, shown(line, text));
}

static bool read_greeting(struct nfc_stream *stream, bool *ret_has_sha2, struct err *err)
{
    char line[LINE_BYTES];
    char text[SHOWN_LEN];
    if (!nfc_stream_read_line(stream, line, sizeof line, err))
        return err_wrap(err, "authd greeting");
    if (line[0] == '4' || line[0] == '5')
        return err_set(err, FAIL_TRANSIENT,
                       "authd of '%s' is busy: '%s'; too many sessions on port 902?",
                       stream->peer, shown(line, text));
    if (strncmp(line, "220", 3) != 0)
        return err_set(err, FAIL_CORRUPT,
                       "'%s' greets with '%s'; this is not an ESXi host's authd",
                       stream->peer, shown(line, text));
    *ret_has_sha2 = strstr(line, "SHA256 supported") != NULL;
    return true;
}

static bool start_tls(const struct nfc_authd_options *options, struct nfc_stream *stream,
                      bool read_ahead, struct tls_peer *ret, struct err *err)
{
    const char *host = options->ticket->host;
    struct tls_options tls = {.server_name = *host ? host : options->default_host,
                              .read_ahead = read_ahead,
                              .legacy = options->is_legacy};
    return nfc_stream_tls_start(stream, &tls, err) && tls_peer_get(stream->tls, ret, err);
}

static bool check_ticket_certificate(const struct nfc_authd_options *options,
                                     const struct nfc_stream *stream,
                                     const struct tls_peer *peer, struct err *err)
{
    uint8_t wanted[TLS_SHA1_BYTES];
    char hex[2 * TLS_SHA1_BYTES + 1];
    if (!nfc_thumbprint_parse(options->ticket->ssl_thumbprint, wanted, sizeof wanted))
        return err_set(err, FAIL_AUTH,
                       "the NFC ticket for '%s' names no SHA-1 thumbprint ('%.80s'); "
                       "nothing was sent",
                       stream->peer, options->ticket->ssl_thumbprint);
    text_hex(peer->sha1, sizeof peer->sha1, hex);
    if (memcmp(wanted, peer->sha1, sizeof wanted) != 0)
        return err_set(
            err, FAIL_AUTH,
            "'%s' shows a certificate with SHA-1 %s, the ticket names %s; "
            "nothing was sent; was the host's certificate replaced and vCenter "
            "not told, or does somebody stand in between?",
            stream->peer, hex, options->ticket->ssl_thumbprint);
    return true;
}

struct sha2_reply {
    bool is_there;
    uint8_t sha256[TLS_SHA256_BYTES];
};

static bool ask_sha2(const struct nfc_authd_options *options, struct nfc_stream *stream,
                     const struct tls_peer *peer, struct sha2_reply *ret, struct err *err)
{
    char line[LINE_BYTES];
    char text[SHOWN_LEN];
    if (!say(stream, "THUMBPRINT_SHA2", "PlainText", err) ||
        !hear(stream, "THUMBPRINT_SHA2", "200", line, err))
        return false;
    const char *value = line + 3 + strspn(line + 3, " ");
    ret->is_there = nfc_thumbprint_parse(value, ret->sha256, sizeof ret->sha256);
    if (ret->is_there && memcmp(ret->sha256, peer->sha256, sizeof ret->sha256) == 0)
        return true;
    nfc_unproven_met(NFC_MET_SHA2_DIFFERS, "%s", shown(line, text));
    if (options->quirks->needs_sha2_match)
        return err_set(
            err, FAIL_AUTH,
            "authd of '%s' names another SHA-256 ('%s') than its certificate's",
            stream->peer, shown(value, text));
    return true;
}

static bool dialogue(const struct nfc_authd_options *options, struct nfc_stream *stream,
                     bool has_sha2, const struct tls_peer *peer, struct sha2_reply *ret,
                     struct err *err)
{
    const struct vim_ticket *ticket = options->ticket;
    char line[LINE_BYTES];
    char service[sizeof ticket->service + 4];
    bool adds_ssl = !options->is_plain && !text_ends_with(ticket->service, "ssl");
    (void)snprintf(service, sizeof service, "%s%s", ticket->service,
                   adds_ssl ? "ssl" : "");
    if (!say(stream, "SESSION", ticket->session_id, err) ||
        !say(stream, "BANNER", "", err) || !hear(stream, "SESSION", "220", line, err))
        return false;
    if (has_sha2 && !ask_sha2(options, stream, peer, ret, err))
        return false;
    if (!say(stream, "PROXY", service, err))
        return false;
    if (!hear(stream, "PROXY", "200", line, err))
        return err_hint(err, "a ticket is good once and for a short time");
    return true;
}

static bool check_second_certificate(const struct nfc_authd_options *options,
                                     const struct nfc_stream *stream,
                                     const struct tls_peer *first,
                                     const struct tls_peer *second,
                                     const struct sha2_reply *reply, struct err *err)
{
    char hex[2 * TLS_SHA256_BYTES + 1];
    if (memcmp(first->sha256, second->sha256, sizeof first->sha256) == 0)
        return true;
    if (options->quirks->tls2_by_sha2 && reply->is_there &&
        memcmp(reply->sha256, second->sha256, sizeof second->sha256) == 0) {
        nfc_unproven_met(NFC_MET_TLS2_BY_SHA2, "TLS#2 by THUMBPRINT_SHA2");
        return true;
    }
    text_hex(second->sha256, sizeof second->sha256, hex);
    return err_set(
        err, FAIL_AUTH,
        "'%s' shows another certificate for the data (SHA-256 %s) than for the "
        "login; nothing was read",
        stream->peer, hex);
}

static bool walk(const struct nfc_authd_options *options, struct nfc_stream *stream,
                 struct err *err)
{
    const struct vim_ticket *ticket = options->ticket;
    struct tls_peer first;
    struct tls_peer second;
    struct sha2_reply reply = {0};
    bool has_sha2;
    const char *host = *ticket->host ? ticket->host : options->default_host;
    uint16_t port = ticket->port ? ticket->port : 902;
    if (!is_word(ticket->session_id) || !is_word(ticket->service))
        return err_set(err, FAIL_CORRUPT, "the NFC ticket for '%s' is malformed", host);
    stream->role = ROLE_ESXI;
    if (!nfc_stream_connect(stream, host, port, err) ||
        !read_greeting(stream, &has_sha2, err) ||
        !start_tls(options, stream, false, &first, err) ||
        !check_ticket_certificate(options, stream, &first, err) ||
        !dialogue(options, stream, has_sha2, &first, &reply, err) ||
        !nfc_stream_tls_drop(stream, err))
        return false;
    if (options->is_plain)
        return true;
    return start_tls(options, stream, true, &second, err) &&
           check_second_certificate(options, stream, &first, &second, &reply, err);
}

bool nfc_authd_connect(const struct nfc_authd_options *options, struct nfc_stream *stream,
                       size_t buffer_bytes, struct err *err)
{
    if (!walk(options, stream, err)) {
        nfc_stream_close(stream);
        return false;
    }
    nfc_stream_buffer(stream, buffer_bytes);
    return true;
}
