/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcurl's verdicts mean to the caller, with the remedy where we know one. The code
 * decides; libcurl's and OpenSSL's words are looked at only where one code covers both a
 * broken connection and a mistake that a person must mend.
 */
#include "http/exchange_impl.h"

#include "base/text.h"

static bool explain_certificate(struct slot *slot, struct err *err)
{
    const char *name = endpoint_name(slot->endpoint);
    char text[HTTP_PIN_TEXT_BYTES] = "not shown";
    if (slot->has_peer)
        (void)http_pin_text(slot->peer, text);
    if (slot->has_wrong_pin)
        return err_set(err, FAIL_AUTH,
                       "certificate of '%.100s' is not the pinned one, its SHA-256 "
                       "fingerprint is %s; find out why it changed before pinning it",
                       name, text);
    return err_set(err, FAIL_AUTH,
                   "certificate of '%.100s' is not trusted: %.120s, its SHA-256 "
                   "fingerprint is %s; name its CA, or pin it after checking it",
                   name, slot->detail, text);
}

static bool explain_proxy(const struct slot *slot, long status, struct err *err)
{
    const char *proxy = slot->choice.proxy_url;
    if (status == 407)
        return err_set(err, FAIL_AUTH, "proxy '%.100s' wants %s", proxy,
                       slot->choice.proxy_user[0]
                           ? "other credentials; check its user and password"
                           : "credentials; name its user and password file");
    enum err_kind kind = status >= 500 || status == 429 ? FAIL_TRANSIENT : FAIL_AUTH;
    return err_set(
        err, kind,
        "proxy '%.100s' does not connect to '%.100s': HTTP status %ld; does it "
        "allow this host and port?",
        proxy, endpoint_name(slot->endpoint), status);
}

static bool explain_handshake(const struct slot *slot, struct err *err)
{
    const char *name = endpoint_name(slot->endpoint), *detail = slot->detail;
    if (strstr(detail, "wrong version number"))
        return err_set(err, FAIL_INPUT,
                       "'%.100s' does not speak TLS on this port; check scheme and port",
                       name);
    if (strstr(detail, "protocol version") || strstr(detail, "unsupported protocol"))
        return err_set(err, FAIL_AUTH,
                       "'%.100s' does not speak TLS 1.2 or later: %.150s; update it",
                       name, detail);
    return err_set(err, strstr(detail, "alert") ? FAIL_AUTH : FAIL_TRANSIENT,
                   "TLS handshake with '%.100s' failed: %.150s", name, detail);
}

bool slot_explain(struct slot *slot, CURLcode code, struct err *err)
{
    const struct http_endpoint *endpoint = slot->endpoint;
    const char *name = endpoint_name(endpoint);
    if (!slot->detail[0])
        text_copy(slot->detail, sizeof slot->detail, curl_easy_strerror(code));
    long connect_status = 0;
    (void)curl_easy_getinfo(slot->curl, CURLINFO_HTTP_CONNECTCODE, &connect_status);
    if (slot->choice.proxy_url[0] && connect_status >= 300)
        return explain_proxy(slot, connect_status, err);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
        return err_set(err, FAIL_TRANSIENT, "proxy '%.100s' has no address: %.150s",
                       slot->choice.proxy_url, slot->detail);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return err_set(err, FAIL_TRANSIENT, "nobody answers at '%.100s': %.150s", name,
                       slot->detail);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, FAIL_TRANSIENT,
                       "'%.100s' could not be reached within %llu ms", name,
                       (unsigned long long)endpoint->connect_deadline_ms);
    case CURLE_PEER_FAILED_VERIFICATION:
        return explain_certificate(slot, err);
    case CURLE_SSL_CONNECT_ERROR:
        return slot->has_wrong_pin ? explain_certificate(slot, err)
                                   : explain_handshake(slot, err);
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(err, FAIL_INPUT, "certificates to trust for '%.100s': %.200s",
                       name, slot->detail);
    case CURLE_SSL_CERTPROBLEM:
        return err_set(err, FAIL_INPUT, "client certificate '%.100s': %.200s",
                       endpoint->client_cert_file ? endpoint->client_cert_file : "",
                       slot->detail);
    default:
        return err_set(err, FAIL_TRANSIENT, "connection to '%.100s' broke: %.200s", name,
                       slot->detail);
    }
}
