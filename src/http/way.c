/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of an exchange: netpath/path.h chooses, libcurl is told.
 *
 * W1  libcurl never resolves a name: host or proxy come with the addresses that were
 *     classified, so that no second answer of a name server can lead elsewhere;
 * W2  before a request is sent, on a new or a kept connection, its address is checked
 *     once more against what the role allows;
 * W3  a kept connection to an address that the name has no longer is not used again;
 * W4  a name that does not exist and an address that is refused are FAIL_TRANSIENT here:
 *     to the caller of an exchange FAIL_GONE and FAIL_CONFLICT would speak of the thing
 *     he asked for, and name servers and rules are mended while we wait.
 */
#include "http/exchange_impl.h"

#include "base/text.h"

/* libcurl's list for one name. */
static void add_addresses(struct slot *slot, const char *host, unsigned port,
                          const char (*addresses)[64], size_t count)
{
    AUTO(buf_release) struct buf line = {0};
    if (!count || strchr(host, ':'))
        return; /* an address already */
    buf_printf(&line, "%s:%u:", host, port);
    for (size_t i = 0; i < count; i++)
        buf_printf(&line, strchr(addresses[i], ':') ? "%s[%s]" : "%s%s", i ? "," : "",
                   addresses[i]);
    slot->resolve = curl_slist_append(NULL, buf_text(&line));
    if (!slot->resolve)
        abort(); /* out of memory, as in xcalloc */
    CURL_SET(slot->curl, CURLOPT_RESOLVE, slot->resolve);
}

static void set_proxy(struct slot *slot)
{
    const struct path_choice *choice = &slot->choice;
    const struct secret *secret = choice->proxy_password;
    CURL *curl = slot->curl;
    CURL_SET(curl, CURLOPT_PROXY, choice->proxy_url);
    CURL_SET(curl, CURLOPT_HTTPPROXYTUNNEL, 1L);
    CURL_SET(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    add_addresses(slot, choice->proxy_host, choice->proxy_port, choice->proxy_addresses,
                  choice->proxy_address_count);
    if (!choice->proxy_user[0])
        return;
    CURL_SET(curl, CURLOPT_PROXYAUTH, CURLAUTH_ANY);
    CURL_SET(curl, CURLOPT_PROXYUSERNAME, choice->proxy_user);
    if (secret) {
        char password[SECRET_MAX_BYTES + 1];
        memcpy(password, secret->data, secret->bytes);
        password[secret->bytes] = 0;
        CURL_SET(curl, CURLOPT_PROXYPASSWORD, password); /* curl keeps a copy */
        secret_wipe(password, sizeof password);
    }
}

static bool is_chosen(const struct path_choice *choice, const char *address)
{
    for (size_t i = 0; i < choice->address_count; i++)
        if (strcmp(choice->addresses[i], address) == 0)
            return true;
    return false;
}

static int check_connected(void *ctx, char *address, char *local, int port,
                           int local_port) /* W2 */
{
    struct slot *slot = ctx;
    (void)local, (void)port, (void)local_port;
    if (path_check_connected(slot->endpoint->role, &slot->choice, address ? address : "",
                             &slot->refused))
        return CURL_PREREQFUNC_OK;
    (void)err_wrap(&slot->refused, "'%.100s'", slot->endpoint->url);
    return CURL_PREREQFUNC_ABORT;
}

bool way_refused(struct err *err) /* W4 */
{
    if (err->kind == FAIL_GONE || err->kind == FAIL_CONFLICT)
        err->kind = FAIL_TRANSIENT;
    return false;
}

bool slot_choose_way(struct slot *slot, const struct cancel *cancel, struct err *err)
{
    const struct http_endpoint *endpoint = slot->endpoint;
    struct path_choice *choice = &slot->choice;
    CURL *curl = slot->curl;
    CURL_SET(curl, CURLOPT_NOPROXY, ""); /* the environment's are not asked */
    CURL_SET(curl, CURLOPT_PROXY, "");
    if (endpoint->socket_path)
        return true;
    if (!slot->is_probe && !path_admit(endpoint->role, endpoint->url, err))
        return false;
    bool ok = endpoint->proxy_url
                  ? path_choose_proxy(endpoint->role, endpoint->url, endpoint->proxy_url,
                                      endpoint->proxy_password, cancel, choice, err)
                  : path_choose(endpoint->role, endpoint->url, cancel, choice, err);
    if (!ok)
        return way_refused(err);
    CURL_SET(curl, CURLOPT_PREREQFUNCTION, check_connected);
    CURL_SET(curl, CURLOPT_PREREQDATA, slot);
    if (choice->proxy_url[0]) {
        set_proxy(slot);
        return true;
    }
    CURL_SET(curl, CURLOPT_NOPROXY, "*");
    add_addresses(slot, endpoint->host, endpoint->port, choice->addresses,
                  choice->address_count);
    if (slot->connected[0] && !is_chosen(choice, slot->connected))
        CURL_SET(curl, CURLOPT_FRESH_CONNECT, 1L); /* W3 */
    return true;
}

/* "" when nobody was reached. A kept connection takes no time to connect. */
static const char *reached(const struct slot *slot, bool has_answered)
{
    char *address = NULL;
    curl_off_t connected_us = 0;
    (void)curl_easy_getinfo(slot->curl, CURLINFO_CONNECT_TIME_T, &connected_us);
    (void)curl_easy_getinfo(slot->curl, CURLINFO_PRIMARY_IP, &address);
    return (has_answered || connected_us > 0) && address ? address : "";
}

void slot_observe_way(struct slot *slot, uint64_t latency_ms, const struct err *err)
{
    const struct http_endpoint *endpoint = slot->endpoint;
    const char *address = reached(slot, !err);
    if (endpoint->socket_path)
        return;
    path_observe(endpoint->role, endpoint->url, address, latency_ms, err);
    text_copy(slot->connected, sizeof slot->connected,
              slot->choice.proxy_url[0] ? "" : address);
}

void slot_end_way(struct slot *slot)
{
    CURL_SET(slot->curl, CURLOPT_RESOLVE, NULL);
    curl_slist_free_all(slot->resolve);
    slot->resolve = NULL;
    path_choice_release(&slot->choice);
}
