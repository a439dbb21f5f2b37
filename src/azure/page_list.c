/* SPDX-License-Identifier: Apache-2.0 */
/* One answer after the other, as blob_list.c reads them, but with what snapshots have. */
#include "azure/page_list.h"

#include "azure/blob_impl.h"
#include "base/text.h"

#define MARKER_MAX 4096

struct listing {
    size_t prefix_bytes; /* cut from each name */
    bool (*each)(void *ctx, const struct page_listed *listed, struct err *err);
    void *ctx;
    struct buf marker;
};

struct entry {
    struct buf name, snapshot;
    uint64_t bytes;
    bool has_bytes, is_page_blob;
};

static bool read_properties(struct xml_reader *reader, struct entry *entry,
                            struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        AUTO(buf_release) struct buf text = {0};
        bool is_length = xml_is(reader, "Content-Length");
        if (!is_length && !xml_is(reader, "BlobType"))
            continue;
        if (!xml_text(reader, 64, &text, err))
            return false;
        if (!is_length)
            entry->is_page_blob = strcmp(buf_text(&text), "PageBlob") == 0;
        else if (!(entry->has_bytes =
                       text_parse_u64(buf_text(&text), 0, INT64_MAX, &entry->bytes, err)))
            return false;
    }
    return !xml_failed(reader);
}

static bool read_entry(struct xml_reader *reader, struct entry *entry, struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "Name")) {
            if (!xml_text(reader, BLOB_NAME_MAX, &entry->name, err))
                return false;
        } else if (xml_is(reader, "Snapshot")) {
            if (!xml_text(reader, PAGE_SNAPSHOT_BYTES - 1, &entry->snapshot, err))
                return false;
        } else if (xml_is(reader, "Properties")) {
            if (!read_properties(reader, entry, err))
                return false;
        }
    }
    return !xml_failed(reader);
}

static bool tell(const struct listing *listing, const struct entry *entry,
                 struct err *err)
{
    if (!entry->has_bytes || entry->name.bytes <= listing->prefix_bytes)
        return err_set(err, FAIL_CORRUPT, "list of blobs: an entry without name or size");
    struct page_listed listed = {.name = buf_text(&entry->name) + listing->prefix_bytes,
                                 .snapshot = buf_text(&entry->snapshot),
                                 .bytes = entry->bytes,
                                 .is_page_blob = entry->is_page_blob};
    return listing->each(listing->ctx, &listed, err);
}

static bool read_blobs(struct xml_reader *reader, const struct listing *listing,
                       struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        struct entry entry = {0};
        if (!xml_is(reader, "Blob"))
            continue;
        bool ok = read_entry(reader, &entry, err) && tell(listing, &entry, err);
        buf_release(&entry.name);
        buf_release(&entry.snapshot);
        if (!ok)
            return false;
    }
    return !xml_failed(reader);
}

static bool read_page(const struct http_answer *answer, struct listing *listing,
                      struct err *err)
{
    AUTO(xml_reader_close)
    struct xml_reader *reader =
        xml_reader_open("list of blobs", answer->body.data, answer->body.bytes, err);
    if (!reader)
        return false;
    buf_clear(&listing->marker);
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "Blobs")) {
            if (!read_blobs(reader, listing, err))
                return false;
        } else if (xml_is(reader, "NextMarker")) {
            if (!xml_text(reader, MARKER_MAX, &listing->marker, err))
                return false;
        }
    }
    return !xml_failed(reader);
}

static bool get_page(struct blob_container *container, const char *prefix,
                     struct listing *listing, struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, container, "list blobs", "");
    text_copy(call.path, sizeof call.path, container->address.root);
    call.request.method = "GET";
    azure_add_query(&call.request, "restype", "container");
    azure_add_query(&call.request, "comp", "list");
    azure_add_query(&call.request, "include", "snapshots");
    if (*prefix)
        azure_add_query(&call.request, "prefix", prefix);
    if (listing->marker.bytes)
        azure_add_query(&call.request, "marker", buf_text(&listing->marker));
    return blob_send(container, &call, &answer, err) &&
           (answer.status == 200 || azure_refused(&call.request, &answer, err)) &&
           read_page(&answer, listing, err);
}

bool page_list(struct blob_container *container, const char *prefix,
               bool (*each)(void *ctx, const struct page_listed *listed, struct err *err),
               void *ctx, struct err *err)
{
    AUTO(buf_release) struct buf full = {0};
    struct listing listing = {
        .prefix_bytes = strlen(container->address.prefix), .each = each, .ctx = ctx};
    bool ok;
    buf_printf(&full, "%s%s", container->address.prefix, prefix);
    do
        ok = get_page(container, buf_text(&full), &listing, err);
    while (ok && listing.marker.bytes);
    buf_release(&listing.marker);
    return ok;
}
