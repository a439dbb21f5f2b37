/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page blob operations: each one request.
 *
 * P1  what is not whole pages, too long or beyond the largest blob never leaves: the
 *     emulator takes what the service refuses;
 * P2  a put says which bytes it is for and what their checksum is: sending it twice is
 *     sending it once.
 */
#include "azure/page_blob_impl.h"
#include "base/text.h"

struct page_blob *page_blob_open(struct blob_container *container, const char *name,
                                 struct err *err)
{
    size_t bytes = strlen(name);
    if (bytes == 0 || bytes + strlen(container->address.prefix) > BLOB_NAME_MAX) {
        (void)err_set(err, FAIL_INPUT, "the name of a page blob has %zu bytes", bytes);
        return NULL;
    }
    struct page_blob *blob = xcalloc(1, sizeof *blob);
    blob->container = container;
    blob->name = xstrdup(name);
    return blob;
}

void page_blob_url(const struct page_blob *blob, const char *snapshot, struct buf *out)
{
    const struct blob_address *address = &blob->container->address;
    buf_printf(out, "%s%s/%s%s", address->origin, address->root, address->prefix,
               blob->name);
    if (snapshot)
        buf_printf(out, "?snapshot=%s", snapshot);
}

/* ---- bounds ---- */

static bool check_size(uint64_t bytes, struct err *err)
{
    if (bytes > PAGE_BLOB_MAX)
        return err_set(err, FAIL_LIMIT,
                       "a page blob of %llu bytes; the service keeps %llu at most",
                       (unsigned long long)bytes, (unsigned long long)PAGE_BLOB_MAX);
    return bytes % PAGE_BYTES == 0 ||
           err_set(err, FAIL_INPUT, "a page blob of %llu bytes, not whole pages of %d",
                   (unsigned long long)bytes, PAGE_BYTES);
}

static bool check_range(const struct page_blob *blob, uint64_t offset_bytes,
                        uint64_t bytes, struct err *err)
{
    uint64_t end_bytes = 0;
    bool fits = add_u64(offset_bytes, bytes, &end_bytes) && end_bytes <= PAGE_BLOB_MAX;
    if (fits && bytes && offset_bytes % PAGE_BYTES == 0 && bytes % PAGE_BYTES == 0)
        return true;
    return err_set(err, fits ? FAIL_INPUT : FAIL_LIMIT,
                   "page blob '%s': %llu bytes at %llu are not whole pages of %d within "
                   "%llu bytes",
                   blob->name, (unsigned long long)bytes,
                   (unsigned long long)offset_bytes, PAGE_BYTES,
                   (unsigned long long)PAGE_BLOB_MAX);
}

static void add_range(struct azure_request *request, uint64_t offset_bytes,
                      uint64_t bytes)
{
    azure_add_header(request, "x-ms-range", "bytes=%llu-%llu",
                     (unsigned long long)offset_bytes,
                     (unsigned long long)(offset_bytes + bytes - 1));
}

/* ---- the blob ---- */

static bool is_page_blob(const struct page_blob *blob, const struct http_answer *answer,
                         struct err *err)
{
    char type[32];
    if (http_answer_header(answer, "x-ms-blob-type", type, sizeof type) &&
        strcmp(type, "PageBlob") != 0)
        return err_set(err, FAIL_CONFLICT,
                       "'%s' is a %s, not a page blob; remove it, or use another name",
                       blob->name, type);
    return true;
}

bool page_blob_size(struct page_blob *blob, uint64_t *ret_bytes, struct err *err)
{
    struct blob_call call;
    char length[32];
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, blob->container, "look at page blob", blob->name);
    call.request.method = "HEAD";
    if (!blob_send(blob->container, &call, &answer, err))
        return false;
    if (answer.status != 200)
        return azure_refused(&call.request, &answer, err);
    if (!is_page_blob(blob, &answer, err))
        return false;
    if (!http_answer_header(&answer, "Content-Length", length, sizeof length))
        return err_set(err, FAIL_CORRUPT, "%s: the answer has no length", call.what);
    return text_parse_u64(length, 0, INT64_MAX, ret_bytes, err) ||
           err_wrap(err, "%s", call.what);
}

/* One of that name exists: of that size? */
static bool check_existing(struct page_blob *blob, uint64_t bytes, struct err *err)
{
    uint64_t have_bytes;
    if (!page_blob_size(blob, &have_bytes, err))
        return false;
    return have_bytes == bytes ||
           err_set(err, FAIL_CONFLICT,
                   "page blob '%s' exists with %llu bytes where %llu are wanted",
                   blob->name, (unsigned long long)have_bytes, (unsigned long long)bytes);
}

bool page_blob_create(struct page_blob *blob, uint64_t bytes, struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    if (!check_size(bytes, err))
        return false;
    blob_begin(&call, blob->container, "make page blob", blob->name);
    call.request.method = "PUT";
    azure_add_header(&call.request, "x-ms-blob-type", "PageBlob");
    azure_add_header(&call.request, "x-ms-blob-content-length", "%llu",
                     (unsigned long long)bytes);
    azure_add_header(&call.request, "If-None-Match", "*");
    if (!blob_send(blob->container, &call, &answer, err))
        return false;
    if (answer.status == 201)
        return true;
    bool is_there =
        (answer.status == 409 && blob_code_is(&answer, "BlobAlreadyExists")) ||
        answer.status == 412;
    return is_there ? check_existing(blob, bytes, err)
                    : azure_refused(&call.request, &answer, err);
}

bool page_blob_resize(struct page_blob *blob, uint64_t bytes, struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    if (!check_size(bytes, err))
        return false;
    blob_begin(&call, blob->container, "resize page blob", blob->name);
    call.request.method = "PUT";
    azure_add_query(&call.request, "comp", "properties");
    azure_add_header(&call.request, "x-ms-blob-content-length", "%llu",
                     (unsigned long long)bytes);
    return blob_send(blob->container, &call, &answer, err) &&
           (answer.status == 200 || azure_refused(&call.request, &answer, err));
}

bool page_blob_remove(struct page_blob *blob, struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, blob->container, "remove page blob", blob->name);
    call.request.method = "DELETE";
    azure_add_header(&call.request, "x-ms-delete-snapshots", "include");
    return blob_send(blob->container, &call, &answer, err) &&
           (answer.status == 202 ||
            (answer.status == 404 && !blob_code_is(&answer, "ContainerNotFound")) ||
            azure_refused(&call.request, &answer, err));
}

/* ---- pages ---- */

bool page_blob_write(struct page_blob *blob, const struct page_write *write,
                     bool *ret_busy, struct err *err)
{
    struct blob_call call;
    bool is_clear = !write->data.data, ok;
    AUTO(http_answer_release) struct http_answer answer = {0};
    if (ret_busy)
        *ret_busy = false;
    if (!check_range(blob, write->offset_bytes, write->data.bytes, err))
        return false;
    if (!is_clear && write->data.bytes > PAGE_PUT_MAX)
        return err_set(err, FAIL_LIMIT,
                       "page blob '%s': a put of %zu bytes; the service takes %llu",
                       blob->name, write->data.bytes, (unsigned long long)PAGE_PUT_MAX);
    blob_begin(&call, blob->container, is_clear ? "clear pages of" : "put pages of",
               blob->name);
    call.request.method = "PUT";
    call.request.cancel = write->cancel;
    azure_add_query(&call.request, "comp", "page");
    azure_add_header(&call.request, "x-ms-page-write", is_clear ? "clear" : "update");
    add_range(&call.request, write->offset_bytes, write->data.bytes);
    if (is_clear) {
        ok = blob_send(blob->container, &call, &answer, err);
    } else {
        azure_add_header(&call.request, "Content-Type", "application/octet-stream");
        call.request.body = write->data.data;
        call.request.body_bytes = write->data.bytes;
        ok = blob_send_checked(blob->container, &call, &answer, err);
    }
    if (ret_busy)
        *ret_busy = call.request.busy_answers > 0;
    return ok && (answer.status == 201 || azure_refused(&call.request, &answer, err));
}

bool page_blob_put(struct page_blob *blob, uint64_t offset_bytes, struct blob_data data,
                   bool *ret_busy, struct err *err)
{
    const struct page_write write = {.offset_bytes = offset_bytes, .data = data};
    return page_blob_write(blob, &write, ret_busy, err);
}

bool page_blob_clear(struct page_blob *blob, uint64_t offset_bytes, uint64_t bytes,
                     struct err *err)
{
    const struct page_write write = {.offset_bytes = offset_bytes, .data = {NULL, bytes}};
    return page_blob_write(blob, &write, NULL, err);
}

static bool get_piece(struct page_blob *blob, uint64_t offset_bytes, uint8_t *data,
                      size_t data_bytes, struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, blob->container, "get pages of", blob->name);
    call.request.method = "GET";
    call.request.into = data;
    call.request.into_bytes = data_bytes;
    add_range(&call.request, offset_bytes, data_bytes);
    if (!blob_send(blob->container, &call, &answer, err))
        return false;
    if (answer.status != 206 && answer.status != 200)
        return azure_refused(&call.request, &answer, err);
    return (answer.status == 206 && answer.into_bytes == data_bytes) ||
           err_set(err, FAIL_CORRUPT, "%s: asked for %zu bytes, got %zu", call.what,
                   data_bytes, answer.into_bytes);
}

bool page_blob_get(struct page_blob *blob, uint64_t offset_bytes, uint8_t *data,
                   size_t data_bytes, struct err *err)
{
    if (!check_range(blob, offset_bytes, data_bytes, err))
        return false;
    while (data_bytes) { /* what breaks is asked for again: not too much of it */
        size_t take_bytes = MIN_OF(data_bytes, (size_t)PAGE_PUT_MAX);
        if (!get_piece(blob, offset_bytes, data, take_bytes, err))
            return false;
        offset_bytes += take_bytes;
        data += take_bytes;
        data_bytes -= take_bytes;
    }
    return true;
}
