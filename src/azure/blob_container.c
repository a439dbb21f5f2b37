/* SPDX-License-Identifier: Apache-2.0 */
/* A container: its address and how it is opened. */
#include "azure/blob_impl.h"

#include "base/text.h"

#include <ctype.h>

#include <stdatomic.h>

#define OPEN_RETRY_MS 15000

/* ---- address ---- */

static bool bad_address(const char *text, const char *why, struct err *err)
{
    return err_set(err, FAIL_INPUT,
                   "'%.200s' is no address of a container: %s; write "
                   "https://ACCOUNT.blob.core.windows.net/CONTAINER[/PREFIX]",
                   text, why);
}

/* Copies up to the next '/' and steps behind it. */
static bool take_part(const char **at, char *out, size_t out_bytes)
{
    size_t bytes = strcspn(*at, "/");
    if (bytes == 0 || bytes >= out_bytes)
        return false;
    memcpy(out, *at, bytes);
    out[bytes] = 0;
    *at += bytes + ((*at)[bytes] == '/' ? 1 : 0);
    return true;
}

static bool name_is_plain(const char *name, size_t min, size_t max, bool may_have_dash)
{
    size_t length = strlen(name);
    for (const char *p = name; *p; p++)
        if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) &&
            !(may_have_dash && *p == '-'))
            return false;
    return length >= min && length <= max;
}

static bool prefix_is_plain(const char *prefix)
{
    for (const char *p = prefix; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-/", *p))
            return false;
    return !strstr(prefix, "//") && prefix[0] != '/' && !strstr(prefix, "..");
}

/* As the emulator does: the account is in the path when the host is no name. */
static bool host_is_local(const char *host)
{
    return host[0] == '[' || strcmp(host, "localhost") == 0 ||
           strspn(host, "0123456789.") == strlen(host);
}

static bool take_prefix(struct blob_address *address, const char *rest)
{
    size_t length = strlen(rest);
    while (length && rest[length - 1] == '/')
        length--;
    if (length + 2 > sizeof address->prefix)
        return false;
    memcpy(address->prefix, rest, length);
    memcpy(address->prefix + length, "/", 2);
    if (length == 0)
        address->prefix[0] = 0;
    return prefix_is_plain(address->prefix);
}

bool blob_address_parse(const char *text, struct blob_address *ret, struct err *err)
{
    struct blob_address address = {0};
    char container[64], authority[sizeof address.host];
    bool is_tls = text_starts_with(text, "https://");
    const char *at = text + (is_tls ? 8 : 7);
    if (!is_tls && !text_starts_with(text, "http://"))
        return bad_address(text, "it is no URL", err);
    if (strpbrk(text, "?#@ "))
        return err_set(err, FAIL_INPUT,
                       "the address of a container holds '?', '#', '@' or a blank; "
                       "credentials go into a file of their own");
    if (!take_part(&at, authority, sizeof authority))
        return bad_address(text, "it has no host", err);
    (void)snprintf(address.origin, sizeof address.origin, "%s://%s",
                   is_tls ? "https" : "http", authority);
    size_t host_bytes =
        authority[0] == '[' ? strcspn(authority, "]") + 1 : strcspn(authority, ":");
    (void)snprintf(address.host, sizeof address.host, "%.*s", (int)host_bytes, authority);
    bool is_local = host_is_local(address.host);
    if (!is_tls && !is_local)
        return bad_address(text, "only an emulator on this host may go without TLS", err);
    if (is_local) {
        if (!take_part(&at, address.account, sizeof address.account))
            return bad_address(text, "it has no account", err);
    } else {
        (void)snprintf(address.account, sizeof address.account, "%.*s",
                       (int)MIN_OF(strcspn(address.host, "."), (size_t)63), address.host);
    }
    if (!name_is_plain(address.account, 3, 63, false))
        return bad_address(text, "the account's name is not valid", err);
    if (!take_part(&at, container, sizeof container) ||
        !name_is_plain(container, 3, 63, true))
        return bad_address(text, "the container's name is not valid", err);
    (void)snprintf(address.root, sizeof address.root, "%s%s/%s", is_local ? "/" : "",
                   is_local ? address.account : "", container);
    if (!take_prefix(&address, at))
        return bad_address(text, "the prefix is not valid", err);
    *ret = address;
    return true;
}

/* ---- open ---- */

static bool make_container(struct blob_container *container, struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, container, "make container", "");
    text_copy(call.path, sizeof call.path, container->address.root);
    call.request.method = "PUT";
    azure_add_query(&call.request, "restype", "container");
    if (!blob_send(container, &call, &answer, err))
        return false;
    if (answer.status == 201 || answer.status == 409) /* 409: somebody else was first */
        return true;
    (void)azure_refused(&call.request, &answer, err);
    return err_hint(err, "make it yourself, or allow this credential to");
}

static bool no_entry(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    (void)ctx, (void)name, (void)bytes, (void)err;
    return true;
}

/* Name, credential and clock are proved by the first list. */
static bool check_container(struct blob_container *container, struct err *err)
{
    struct err why = ERR_INIT;
    struct blob_list_options options = {.prefix = "", .max = 1};
    if (blob_list(container, &options, no_entry, NULL, &why))
        return true;
    if (why.kind == FAIL_GONE)
        return make_container(container, err);
    *err = why;
    return false;
}

static bool open_parts(struct blob_container *container,
                       const struct blob_container_options *options, struct err *err)
{
    if (!blob_address_parse(options->address, &container->address, err) ||
        !azure_access_read(options->access_file, &container->access, err))
        return false;
    struct http_endpoint_options way =
        azure_access_way(&container->access, container->address.origin);
    way.max_idle = options->max_idle;
    way.role = options->role;
    container->endpoint = http_endpoint_open(&way, err);
    if (!container->endpoint)
        return false;
    struct azure_signer_options signer = {
        .access = &container->access,
        .cloud = container->access.cloud ? container->access.cloud
                                         : azure_cloud_of_host(container->address.host),
        .account = container->address.account,
        .retry_for_ms = OPEN_RETRY_MS, /* a request goes on asking for a token */
        .retry_base_ms = options->retry_base_ms};
    container->signer = azure_signer_open(&signer, err);
    return container->signer != NULL;
}

struct blob_container *blob_container_open(const struct blob_container_options *options,
                                           struct err *err)
{
    AUTO(blob_container_close)
    struct blob_container *container = xcalloc(1, sizeof *container);
    container->retry_for_ms =
        OPEN_RETRY_MS; /* somebody waits to hear of a typing error */
    container->retry_base_ms = options->retry_base_ms;
    if (!open_parts(container, options, err) || !check_container(container, err)) {
        (void)err_wrap(err, "container '%.150s'", options->address);
        return NULL;
    }
    container->retry_for_ms = options->retry_for_ms;
    return TAKE(container);
}

void blob_container_close(struct blob_container *container)
{
    if (!container)
        return;
    if (!container->is_view) {
        azure_signer_close(container->signer);
        http_endpoint_close(container->endpoint);
        azure_access_release(&container->access);
    }
    free(container);
}

struct blob_container *blob_container_view(struct blob_container *container,
                                           const struct cancel *hurry)
{
    struct blob_container *view = xcalloc(1, sizeof *view);
    view->address = container->address;
    view->access = container->access;
    view->endpoint = container->endpoint;
    view->signer = container->signer;
    view->retry_for_ms = container->retry_for_ms;
    view->retry_base_ms = container->retry_base_ms;
    view->hurry = hurry;
    view->is_view = true;
    atomic_store(&view->has_no_crc64, atomic_load(&container->has_no_crc64));
    return view;
}
