/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page blob by an address with a SAS: what the service gives for a managed disk that is
 * being uploaded. The address is a secret as a whole; its part before the query is not
 * and stands in errors.
 */
#include "azure/page_blob_impl.h"
#include "azure/sas_signer.h"
#include "base/text.h"

#include <ctype.h>

struct parts {
    char origin[300], root[400], name[BLOB_NAME_MAX + 1];
    struct secret *sas; /* owned */
};

static bool copy_part(char *out, size_t out_bytes, const char *from, size_t bytes)
{
    if (bytes >= out_bytes)
        return false;
    memcpy(out, from, bytes);
    out[bytes] = 0;
    return true;
}

static bool path_is_plain(const char *path, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!isalnum((unsigned char)path[i]) && !strchr("-_.~/$%", path[i]))
            return false;
    return true;
}

/* text: NUL-terminated. */
static bool parse_text(const char *text, struct parts *ret)
{
    bool is_tls = text_starts_with(text, "https://");
    if (!is_tls && !text_starts_with(text, "http://127.0.0.1:"))
        return false; /* without TLS only an emulator on this host */
    size_t bytes = strcspn(text, "?");
    const char *path = strchr(text + 8, '/');
    if (!text[bytes] || !path || path >= text + bytes)
        return false;
    const char *name = text + bytes;
    while (name > path && name[-1] != '/')
        name--;
    size_t root_bytes = (size_t)(name - 1 - path),
           name_bytes = (size_t)(text + bytes - name);
    const char *sas = text + bytes + 1;
    size_t sas_bytes = strlen(sas);
    if (name <= path + 1 || root_bytes == 0 || name_bytes == 0 ||
        !path_is_plain(path, (size_t)(text + bytes - path)) || sas_bytes == 0 ||
        sas_bytes > SECRET_MAX_BYTES ||
        !copy_part(ret->origin, sizeof ret->origin, text, (size_t)(path - text)) ||
        !copy_part(ret->root, sizeof ret->root, path, root_bytes) ||
        !copy_part(ret->name, sizeof ret->name, name, name_bytes))
        return false;
    ret->sas = secret_new(sas, sas_bytes);
    return true;
}

static bool parse_address(const struct secret *address, struct parts *ret,
                          struct err *err)
{
    char text[SECRET_MAX_BYTES + 1];
    memcpy(text, address->data, address->bytes);
    text[address->bytes] = 0;
    bool ok = strlen(text) == address->bytes && parse_text(text, ret);
    secret_wipe(text, sizeof text);
    return ok ||
           err_set(err, FAIL_INPUT,
                   "what was given as a disk's address is no https://HOST/PATH?SAS");
}

/* The signer's: the SAS of the caller's next address. */
static struct secret *renew(void *ctx, struct err *err)
{
    struct page_blob *blob = ctx;
    struct parts parts = {0};
    AUTO(secret_free) struct secret *address = blob->renew(blob->ctx, err);
    if (!address || !parse_address(address, &parts, err))
        return NULL;
    const struct blob_address *old = &blob->own.address;
    if (strcmp(parts.origin, old->origin) == 0 && strcmp(parts.root, old->root) == 0 &&
        strcmp(parts.name, blob->name) == 0)
        return parts.sas;
    secret_free(parts.sas);
    (void)err_set(err, FAIL_CONFLICT,
                  "the address of '%s%s/%s' became '%s%s/%s'; begin the upload anew",
                  old->origin, old->root, blob->name, parts.origin, parts.root,
                  parts.name);
    return NULL;
}

static bool open_own(struct page_blob *blob, const struct parts *parts,
                     const struct page_sas_options *options, struct err *err)
{
    struct blob_container *own = &blob->own;
    AUTO(buf_release) struct buf what = {0};
    text_copy(own->address.origin, sizeof own->address.origin, parts->origin);
    text_copy(own->address.root, sizeof own->address.root, parts->root);
    own->retry_for_ms = options->retry_for_ms;
    own->retry_base_ms = options->retry_base_ms;
    struct http_endpoint_options way = {.url = parts->origin,
                                        .ca_file = options->ca_file,
                                        .proxy_url = options->proxy_url,
                                        .proxy_password = options->proxy_password};
    own->endpoint = http_endpoint_open(&way, err);
    if (!own->endpoint)
        return false;
    buf_printf(&what, "the SAS of '%s%s/%s'", parts->origin, parts->root, parts->name);
    struct azure_sas_options sas = {
        .what = buf_text(&what), .renew = options->renew ? renew : NULL, .ctx = blob};
    own->signer = azure_sas_signer_open(parts->sas, &sas, err);
    return own->signer != NULL;
}

struct page_blob *page_blob_open_sas(const struct secret *address,
                                     const struct page_sas_options *options,
                                     struct err *err)
{
    struct parts parts = {0};
    if (!parse_address(address, &parts, err))
        return NULL;
    AUTO(page_blob_close) struct page_blob *blob = xcalloc(1, sizeof *blob);
    blob->container = &blob->own;
    blob->name = xstrdup(parts.name);
    blob->renew = options->renew;
    blob->ctx = options->ctx;
    bool ok = open_own(blob, &parts, options, err);
    secret_free(parts.sas);
    return ok ? TAKE(blob) : NULL;
}

void page_blob_close(struct page_blob *blob)
{
    if (!blob)
        return;
    if (blob->container == &blob->own) {
        azure_sas_signer_close(blob->own.signer);
        http_endpoint_close(blob->own.endpoint);
    }
    free(blob->name);
    free(blob);
}
