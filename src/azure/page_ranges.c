/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a page blob is stored, window by window.
 *
 * G1  memory for an answer is bounded: a window whose answer is too large is asked for
 * again in quarters, down to one that fits whatever it holds; G2  an answer may end with
 * a marker (the service cuts at 10000 ranges, the emulator never): the same window goes
 * on from there; G3  ranges come in ascending order or the answer is refused: the work
 * stays linear. Must never ask for a difference to a snapshot: the emulator answers that
 * with all ranges.
 */
#include "azure/page_blob_impl.h"
#include "base/text.h"

#define WINDOW_MAX_BYTES  (16 * GIB)
#define WINDOW_MIN_BYTES  (64 * MIB) /* 2^16 ranges at most: 5 MiB of text */
#define SMALL_ANSWER      (1 * MIB)
#define MAX_RESULTS       "10000"
#define MARKER_MAX        4096
#define OFFSET_TEXT_BYTES 24

static bool read_offset(struct xml_reader *reader, uint64_t *ret, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    return xml_text(reader, OFFSET_TEXT_BYTES, &text, err) &&
           text_parse_u64(buf_text(&text), 0, INT64_MAX, ret, err);
}

static bool read_range(struct xml_reader *reader, uint64_t *ret_first, uint64_t *ret_last,
                       struct err *err)
{
    bool has_first = false, has_last = false;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "Start")) {
            if (!(has_first = read_offset(reader, ret_first, err)))
                return false;
        } else if (xml_is(reader, "End")) {
            if (!(has_last = read_offset(reader, ret_last, err)))
                return false;
        }
    }
    if (xml_failed(reader))
        return false;
    return (has_first && has_last) ||
           err_set(err, FAIL_CORRUPT, "page ranges: one without start or end");
}

bool page_ranges_read(const struct http_answer *answer, struct extent window,
                      struct extents *ret, struct buf *marker, struct err *err)
{
    uint64_t before = 0; /* end of the one before */
    AUTO(xml_reader_close)
    struct xml_reader *reader =
        xml_reader_open("page ranges", answer->body.data, answer->body.bytes, err);
    if (!reader)
        return false;
    buf_clear(marker);
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        uint64_t first = 0, last = 0;
        if (xml_is(reader, "NextMarker") && !xml_text(reader, MARKER_MAX, marker, err))
            return false;
        if (!xml_is(reader, "PageRange"))
            continue;
        if (!read_range(reader, &first, &last, err))
            return false;
        if (first % PAGE_BYTES || (last + 1) % PAGE_BYTES || first > last ||
            first < before) /* G3 */
            return err_set(err, FAIL_CORRUPT,
                           "page ranges: one from %llu to %llu behind %llu",
                           (unsigned long long)first, (unsigned long long)last,
                           (unsigned long long)before);
        before = last + 1;
        first = MAX_OF(first, window.start_bytes);
        last = MIN_OF(before, window.end_bytes);
        if (first < last)
            extents_add(ret, first, last);
    }
    return !xml_failed(reader);
}

static bool get_answer(struct page_blob *blob, struct extent window,
                       const struct buf *marker, struct http_answer *ret, struct err *err)
{
    struct blob_call call;
    blob_begin(&call, blob->container, "page ranges of", blob->name);
    call.request.method = "GET";
    azure_add_query(&call.request, "comp", "pagelist");
    azure_add_query(&call.request, "maxresults", MAX_RESULTS);
    if (marker->bytes)
        azure_add_query(&call.request, "marker", buf_text(marker));
    azure_add_header(&call.request, "x-ms-range", "bytes=%llu-%llu",
                     (unsigned long long)window.start_bytes,
                     (unsigned long long)window.end_bytes - 1);
    if (!blob_send(blob->container, &call, ret, err))
        return false;
    if (ret->status == 200)
        return true;
    (void)azure_refused(&call.request, ret, err);
    http_answer_release(ret);
    return false;
}

/* *ret_answer_bytes: of the largest answer. */
static bool read_window(struct page_blob *blob, struct extent window, struct extents *ret,
                        size_t *ret_answer_bytes, struct err *err)
{
    AUTO(buf_release) struct buf marker = {0}, next = {0};
    *ret_answer_bytes = 0;
    for (;;) {
        AUTO(http_answer_release) struct http_answer answer = {0};
        if (!get_answer(blob, window, &marker, &answer, err))
            return false;
        *ret_answer_bytes = MAX_OF(*ret_answer_bytes, answer.body.bytes);
        if (!page_ranges_read(&answer, window, ret, &next, err))
            return err_wrap(err, "page blob '%s'", blob->name);
        if (!next.bytes)
            return true;
        if (next.bytes == marker.bytes && memcmp(next.data, marker.data, next.bytes) == 0)
            return err_set(err, FAIL_CORRUPT,
                           "page ranges of '%s': the answer goes on with itself",
                           blob->name);
        buf_clear(&marker);
        buf_append(&marker, next.data, next.bytes);
    }
}

bool page_blob_ranges(struct page_blob *blob, struct extents *ret, struct err *err)
{
    uint64_t size_bytes, step_bytes = WINDOW_MAX_BYTES;
    if (!page_blob_size(blob, &size_bytes, err))
        return false;
    for (uint64_t at = 0; at < size_bytes;) {
        struct extent window = {at, MIN_OF(size_bytes, at + step_bytes)};
        size_t answer_bytes;
        struct err why = ERR_INIT;
        if (read_window(blob, window, ret, &answer_bytes, &why)) {
            at = window.end_bytes;
            if (answer_bytes < SMALL_ANSWER)
                step_bytes = MIN_OF(2 * step_bytes, WINDOW_MAX_BYTES);
        } else if (why.kind == FAIL_LIMIT && step_bytes > WINDOW_MIN_BYTES) {
            step_bytes /= 4; /* G1 */
        } else {
            *err = why;
            return false;
        }
    }
    return true;
}
