/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blob operations: each one request, but for what a repeated put has to find out.
 *
 * B1  a put that must be the first carries a random mark in the blob's metadata: when the
 *     service says "exists" after an attempt whose end we did not see, the mark tells
 *     whether the blob is ours;
 * B2  what is sent carries its CRC-64, or its MD5 when the service once said that it does
 *     not know the other (its emulator does not; a third of the work);
 * B3  block ids of a put are its random id and an index: pieces of two puts of one name
 *     never mix, and all ids have the same length, as the service wants.
 */
#include "azure/blob.h"

#include "azure/blob_impl.h"
#include "azure/crc64.h"
#include "base/bytes.h"
#include "base/text.h"
#include "http/client.h"
#include "http/sign.h"

#include <stdatomic.h>

#define MAX_OFFSET  ((uint64_t)1 << 50) /* no blob is as large */
#define MARK_HEADER "x-ms-meta-kedgeput"
#define HURRIED_MS  5000 /* for what is tidied up when somebody waits for the end */

/* ---- common to all ---- */

void blob_begin(struct blob_call *call, const struct blob_container *container,
                const char *verb, const char *name)
{
    bool has_name = *name || *container->address.prefix;
    (void)snprintf(call->what, sizeof call->what, has_name ? "%s '%s%s'" : "%s", verb,
                   container->address.prefix, name);
    (void)snprintf(call->path, sizeof call->path, "%s/%s%s", container->address.root,
                   container->address.prefix, name);
    call->request = (struct azure_request){.what = call->what, .path = call->path};
}

bool blob_send(struct blob_container *container, struct blob_call *call,
               struct http_answer *ret, struct err *err)
{
    struct azure_client_options client = {.endpoint = container->endpoint,
                                          .signer = container->signer,
                                          .retry_for_ms = container->retry_for_ms,
                                          .retry_base_ms = container->retry_base_ms};
    if (cancel_is_set(container->hurry)) {
        client.retry_for_ms = 1;
        call->request.deadline_ms = HURRIED_MS;
    } else if (!call->request.cancel) { /* the caller's own comes first */
        call->request.cancel = container->hurry;
    }
    return azure_send(&client, &call->request, ret, err);
}

bool blob_code_is(const struct http_answer *answer, const char *code)
{
    char found[AZURE_CODE_BYTES];
    azure_error_code(answer, found);
    return strcmp(found, code) == 0;
}

static void add_md5(struct azure_request *request)
{
    uint8_t md5[SIGN_MD5_BYTES];
    AUTO(buf_release) struct buf text = {0};
    sign_md5(request->body, request->body_bytes, md5);
    sign_base64(md5, sizeof md5, &text);
    azure_add_header(request, "Content-MD5", "%s", buf_text(&text));
}

static void add_crc64(struct azure_request *request)
{
    uint8_t crc[8];
    AUTO(buf_release) struct buf text = {0};
    put_u64le(crc, crc64(request->body, request->body_bytes));
    sign_base64(crc, sizeof crc, &text);
    azure_add_header(request, "x-ms-content-crc64", "%s", buf_text(&text));
}

bool blob_send_checked(struct blob_container *container, struct blob_call *call,
                       struct http_answer *ret, struct err *err)
{
    size_t plain_headers = call->request.header_count;
    if (!atomic_load(&container->has_no_crc64)) {
        add_crc64(&call->request);
        if (!blob_send(container, call, ret, err))
            return false;
        if (ret->status != 500 || !blob_code_is(ret, "FeatureNotSupported"))
            return true;
        http_answer_release(ret);
        call->request.header_count = plain_headers;
        atomic_store(&container->has_no_crc64, true);
    }
    add_md5(&call->request);
    return blob_send(container, call, ret, err);
}

/* ---- put ---- */

static bool means_exists(const struct http_answer *answer)
{
    return (answer->status == 409 && blob_code_is(answer, "BlobAlreadyExists")) ||
           (answer->status == 412 && (blob_code_is(answer, "ConditionNotMet") ||
                                      blob_code_is(answer, "TargetConditionNotMet")));
}

/* B1: whether the blob carries this mark. */
static bool is_ours(struct blob_container *container, const char *name, const char *mark,
                    bool *ret, struct err *err)
{
    struct blob_call call;
    char found[ID_TEXT_BYTES + 1];
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, container, "look at blob", name);
    call.request.method = "HEAD";
    if (!blob_send(container, &call, &answer, err))
        return false;
    *ret = answer.status == 200 &&
           http_answer_header(&answer, MARK_HEADER, found, sizeof found) &&
           strcmp(found, mark) == 0;
    return answer.status == 200 || answer.status == 404 ||
           azure_refused(&call.request, &answer, err);
}

/* Sends a request that names the whole blob. */
static bool send_put(struct blob_container *container, struct blob_call *call,
                     const char *name, bool is_new, struct err *err)
{
    struct id mark = id_random();
    char mark_text[ID_TEXT_BYTES];
    AUTO(http_answer_release) struct http_answer answer = {0};
    if (is_new) {
        azure_add_header(&call->request, "If-None-Match", "*");
        azure_add_header(&call->request, MARK_HEADER, "%s", id_text(&mark, mark_text));
    }
    if (!blob_send_checked(container, call, &answer, err))
        return false;
    if (answer.status == 201)
        return true;
    if (!is_new || !means_exists(&answer))
        return azure_refused(&call->request, &answer, err);
    bool ours = false;
    if (call->request.may_have_happened &&
        !is_ours(container, name, mark_text, &ours, err))
        return false;
    return ours || err_set(err, FAIL_CONFLICT, "%s: it exists already", call->what);
}

bool blob_put(struct blob_container *container, const char *name, struct blob_data data,
              bool is_new, struct err *err)
{
    struct blob_call call;
    blob_begin(&call, container, "put blob", name);
    call.request.method = "PUT";
    call.request.body = data.data;
    call.request.body_bytes = data.bytes;
    azure_add_header(&call.request, "x-ms-blob-type", "BlockBlob");
    azure_add_header(&call.request, "Content-Type", "application/octet-stream");
    return send_put(container, &call, name, is_new, err);
}

static void block_id(const struct id *put_id, uint32_t index, char out[48])
{
    uint8_t raw[ID_BYTES + 5] = {0}; /* a multiple of 3: no '=' */
    AUTO(buf_release) struct buf text = {0};
    memcpy(raw, put_id->bytes, ID_BYTES);
    for (int i = 0; i < 4; i++)
        raw[ID_BYTES + i] = (uint8_t)(index >> (24 - 8 * i));
    sign_base64(raw, sizeof raw, &text);
    text_copy(out, 48, buf_text(&text));
}

bool blob_put_block(struct blob_container *container, const char *name,
                    const struct id *put_id, uint32_t index, struct blob_data data,
                    struct err *err)
{
    struct blob_call call;
    char id[48];
    AUTO(http_answer_release) struct http_answer answer = {0};
    block_id(put_id, index, id);
    blob_begin(&call, container, "put block of blob", name);
    call.request.method = "PUT";
    call.request.body = data.data;
    call.request.body_bytes = data.bytes;
    azure_add_query(&call.request, "comp", "block");
    azure_add_query(&call.request, "blockid", id);
    return blob_send_checked(container, &call, &answer, err) &&
           (answer.status == 201 || azure_refused(&call.request, &answer, err));
}

bool blob_put_list(struct blob_container *container, const char *name,
                   const struct id *put_id, uint32_t count, bool is_new, struct err *err)
{
    struct blob_call call;
    AUTO(buf_release) struct buf body = {0};
    struct xml_writer writer = {.out = &body};
    buf_append_text(&body, "<?xml version=\"1.0\" encoding=\"utf-8\"?>");
    xml_start(&writer, "BlockList");
    xml_end_start(&writer);
    for (uint32_t i = 0; i < count; i++) {
        char id[48];
        block_id(put_id, i, id);
        xml_put_element(&writer, "Latest", id);
    }
    xml_end(&writer, "BlockList");
    blob_begin(&call, container, "put block list of blob", name);
    call.request.method = "PUT";
    call.request.body = body.data;
    call.request.body_bytes = body.bytes;
    azure_add_query(&call.request, "comp", "blocklist");
    azure_add_header(&call.request, "Content-Type", "application/xml");
    azure_add_header(&call.request, "x-ms-blob-content-type", "application/octet-stream");
    return send_put(container, &call, name, is_new, err);
}

/* ---- get, size, remove ---- */

bool blob_size(struct blob_container *container, const char *name, uint64_t *ret_bytes,
               struct err *err)
{
    struct blob_call call;
    char length[32];
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, container, "size of blob", name);
    call.request.method = "HEAD";
    if (!blob_send(container, &call, &answer, err))
        return false;
    if (answer.status != 200)
        return azure_refused(&call.request, &answer, err);
    if (!http_answer_header(&answer, "Content-Length", length, sizeof length))
        return err_set(err, FAIL_CORRUPT, "%s: the answer has no length", call.what);
    return text_parse_u64(length, 0, INT64_MAX, ret_bytes, err) ||
           err_wrap(err, "%s", call.what);
}

bool blob_get(struct blob_container *container, const char *name, uint64_t offset_bytes,
              uint8_t *data, size_t data_bytes, size_t *ret_bytes, struct err *err)
{
    struct blob_call call;
    uint64_t size_bytes;
    AUTO(http_answer_release) struct http_answer answer = {0};
    if (data_bytes == 0 || offset_bytes >= MAX_OFFSET) {
        if (!blob_size(container, name, &size_bytes, err))
            return false;
        *ret_bytes = 0;
        return true;
    }
    uint64_t last = offset_bytes + MIN_OF((uint64_t)data_bytes, MAX_OFFSET) - 1;
    blob_begin(&call, container, "get blob", name);
    call.request.method = "GET";
    call.request.into = data;
    call.request.into_bytes = data_bytes;
    azure_add_header(&call.request, "x-ms-range", "bytes=%llu-%llu",
                     (unsigned long long)offset_bytes, (unsigned long long)last);
    if (!blob_send(container, &call, &answer, err))
        return false;
    if (answer.status == 416) { /* at or past the end */
        *ret_bytes = 0;
        return true;
    }
    if (answer.status != 206)
        return answer.status == 200
                   ? err_set(err, FAIL_CORRUPT, "%s: asked for a range, got the whole",
                             call.what)
                   : azure_refused(&call.request, &answer, err);
    *ret_bytes = answer.into_bytes;
    return true;
}

bool blob_remove(struct blob_container *container, const char *name, struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, container, "remove blob", name);
    call.request.method = "DELETE";
    if (!blob_send(container, &call, &answer, err))
        return false;
    return answer.status == 202 ||
           (answer.status == 404 && !blob_code_is(&answer, "ContainerNotFound")) ||
           azure_refused(&call.request, &answer, err);
}
