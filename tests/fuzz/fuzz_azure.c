/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cloud's services answer, and what people write down about them: byte 0 picks
 * a list of blobs, an error, a token, an address, a line of text, page ranges, snapshots,
 * the footer of a disk, or an id or URL of Resource Manager.
 */
#include "fuzz.h"

#include "azure/arm_impl.h"
#include "azure/page_blob_impl.h"
#include "azure/token_impl.h"
#include "azure/vhd.h"

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
    uint64_t pause_ms;
    if (azure_refused(&request, &answer, &err) || err.kind == FAIL_NONE)
        abort();
    if (azure_retry_after(&answer, &pause_ms) && pause_ms > 5 * 60 * 1000)
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

/* What is told lies in the window, in whole pages. */
static void try_ranges(const char *text, size_t text_bytes)
{
    const struct extent window = {MIB, 64 * MIB};
    struct extents got = {0};
    struct http_answer answer = {.status = 200};
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf marker = {0};
    buf_append(&answer.body, text, text_bytes);
    if (!page_ranges_read(&answer, window, &got, &marker, &err) && err.kind == FAIL_NONE)
        abort();
    for (size_t i = 0; i < got.count; i++)
        if (got.items[i].start_bytes < MIB || got.items[i].end_bytes > 64 * MIB ||
            got.items[i].start_bytes % PAGE_BYTES || got.items[i].end_bytes % PAGE_BYTES)
            abort();
    extents_release(&got);
    http_answer_release(&answer);
}

static void try_snapshots(const char *text, size_t text_bytes)
{
    struct page_snapshots snapshots = {.name = "d", .mark = "m"};
    struct http_answer answer = {.status = 200};
    struct err err = ERR_INIT;
    buf_append(&answer.body, text, text_bytes);
    if (!page_snapshots_read(&answer, &snapshots, &err) && err.kind == FAIL_NONE)
        abort();
    if (snapshots.count > PAGE_SNAPSHOTS_MAX)
        abort();
    buf_release(&snapshots.marker);
    http_answer_release(&answer);
}

static void try_footer(const char *text, size_t text_bytes)
{
    uint8_t footer[VHD_FOOTER_BYTES] = {0};
    struct err err = ERR_INIT;
    memcpy(footer, text, MIN_OF(text_bytes, sizeof footer));
    if (!vhd_footer_check(footer, MIB, &err) && err.kind != FAIL_CORRUPT)
        abort();
}

/* What is followed is at our own host; an id has no way out of its place. */
static void try_arm(const char *text)
{
    static const char OWN[] = "https://management.azure.com";
    struct err err = ERR_INIT;
    const char *path = arm_own_path(OWN, text);
    if (path && (strncasecmp(text, OWN, sizeof OWN - 1) != 0 || *path != '/' ||
                 (path != text + sizeof OWN - 1 && path != text + sizeof OWN + 3)))
        abort();
    if (!arm_id_check(text, "Microsoft.Network/virtualNetworks/subnets", &err)) {
        if (err.kind != FAIL_INPUT)
            abort();
    } else if (strlen(text) >= ARM_ID_BYTES || strstr(text, "/../") ||
               strpbrk(text, "?#%\\ ")) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    AUTO(buf_release) struct buf text = {0};
    if (data_bytes == 0)
        return 0;
    buf_append(&text, data + 1, data_bytes - 1);
    switch (data[0] % 9) {
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
    case 4:
        try_line(buf_text(&text));
        break;
    case 5:
        try_ranges(buf_text(&text), text.bytes);
        break;
    case 6:
        try_snapshots(buf_text(&text), text.bytes);
        break;
    case 7:
        try_footer(buf_text(&text), text.bytes);
        break;
    default:
        try_arm(buf_text(&text));
    }
    return 0;
}
