/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cloud's services answer, and what people write down about them: byte 0 picks
 * a list of blobs, an error, a token, an address, or a line of text.
 */
#include "fuzz.h"

#include "azure/blob_impl.h"
#include "azure/token_impl.h"

static bool check_entry(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    (void)ctx, (void)err;
    if (!*name || bytes > INT64_MAX)
        abort();
    return true;
}

static void try_list(const char *text, size_t text_bytes)
{
    struct blob_page page = {.prefix_bytes = 2, .each = check_entry};
    struct http_answer answer = {.status = 200};
    struct err err = ERR_INIT;
    buf_append(&answer.body, text, text_bytes);
    if (!blob_page_read(&answer, &page, &err) && err.kind == FAIL_NONE)
        abort();
    buf_release(&page.marker);
    http_answer_release(&answer);
}

/* Headers up to the first NUL, then the body. */
static void try_error(const char *text, size_t text_bytes)
{
    struct azure_request request = {.what = "test"};
    struct http_answer answer = {.status = 403};
    struct err err = ERR_INIT;
    size_t head_bytes = strnlen(text, text_bytes);
    buf_append(&answer.headers, text, head_bytes);
    if (head_bytes < text_bytes)
        buf_append(&answer.body, text + head_bytes + 1, text_bytes - head_bytes - 1);
    if (azure_refused(&request, &answer, &err) || err.kind == FAIL_NONE)
        abort();
    http_answer_release(&answer);
}

static void try_token(const char *text, size_t text_bytes)
{
    AUTO(buf_release) struct buf body = {0};
    struct issued issued = {0};
    struct err err = ERR_INIT;
    buf_append(&body, text, text_bytes);
    if (issued_parse(&body, "token", &issued, &err))
        secret_free(issued.token);
    else if (err.kind != FAIL_CORRUPT)
        abort();
}

static void try_address(const char *text)
{
    struct blob_address address;
    struct err err = ERR_INIT;
    if (!blob_address_parse(text, &address, &err) && err.kind != FAIL_INPUT)
        abort();
}

static void try_line(const char *text)
{
    uint8_t pin[HTTP_PIN_BYTES];
    struct err err = ERR_INIT;
    uint64_t s;
    char date[AZURE_DATE_BYTES];
    if (azure_date_parse(text, &s))
        (void)azure_date_text(s, date);
    if (!azure_sas_end(text, &s) && !http_pin_parse(text, pin, &err) &&
        err.kind != FAIL_INPUT)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    AUTO(buf_release) struct buf text = {0};
    if (data_bytes == 0)
        return 0;
    buf_append(&text, data + 1, data_bytes - 1);
    switch (data[0] % 5) {
    case 0:
        try_list(buf_text(&text), text.bytes);
        break;
    case 1:
        try_error(buf_text(&text), text.bytes);
        break;
    case 2:
        try_token(buf_text(&text), text.bytes);
        break;
    case 3:
        try_address(buf_text(&text));
        break;
    default:
        try_line(buf_text(&text));
    }
    return 0;
}
