/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a container, page by page: the service orders names by bytes and says with
 * which marker to go on. Nothing of a page is kept when the next one is asked for.
 */
#include "azure/blob_impl.h"

#include "base/text.h"

#define LIST_PAGE  "1000"
#define MARKER_MAX 4096

struct entry {
    struct buf name;
    uint64_t bytes;
    bool has_bytes, is_folder;
};

static bool read_properties(struct xml_reader *reader, struct entry *entry,
                            struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        AUTO(buf_release) struct buf text = {0};
        bool is_length = xml_is(reader, "Content-Length");
        if (!is_length && !xml_is(reader, "ResourceType"))
            continue;
        if (!xml_text(reader, 64, &text, err))
            return false;
        if (!is_length)
            entry->is_folder = strcmp(buf_text(&text), "directory") == 0;
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
        } else if (xml_is(reader, "Properties")) {
            if (!read_properties(reader, entry, err))
                return false;
        }
    }
    return !xml_failed(reader);
}

static bool tell_entry(struct blob_page *page, const struct entry *entry, struct err *err)
{
    if (entry->is_folder)
        return err_set(err, FAIL_INPUT,
                       "the account has a hierarchical namespace; use one without");
    if (!entry->has_bytes || entry->name.bytes <= page->prefix_bytes)
        return err_set(err, FAIL_CORRUPT, "list of blobs: an entry without name or size");
    page->count++;
    return page->each(page->ctx, buf_text(&entry->name) + page->prefix_bytes,
                      entry->bytes, err);
}

static bool read_blobs(struct xml_reader *reader, struct blob_page *page, struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        struct entry entry = {.has_bytes = xml_is(reader, "BlobPrefix")};
        if (!entry.has_bytes && !xml_is(reader, "Blob"))
            continue;
        if (page->max && page->count == page->max)
            return true;
        bool ok = read_entry(reader, &entry, err) && tell_entry(page, &entry, err);
        buf_release(&entry.name);
        if (!ok)
            return false;
    }
    return !xml_failed(reader);
}

bool blob_page_read(const struct http_answer *answer, struct blob_page *page,
                    struct err *err)
{
    AUTO(xml_reader_close)
    struct xml_reader *reader =
        xml_reader_open("list of blobs", answer->body.data, answer->body.bytes, err);
    if (!reader)
        return false;
    buf_clear(&page->marker);
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "Blobs")) {
            if (!read_blobs(reader, page, err))
                return false;
        } else if (xml_is(reader, "NextMarker")) {
            if (!xml_text(reader, MARKER_MAX, &page->marker, err))
                return false;
        }
    }
    return !xml_failed(reader);
}

static bool get_page(struct blob_container *container,
                     const struct blob_list_options *options,
                     const struct blob_page *page, struct http_answer *ret,
                     struct err *err)
{
    struct blob_call call;
    char max[24] = LIST_PAGE;
    if (options->max && options->max < 1000)
        (void)snprintf(max, sizeof max, "%zu", options->max);
    blob_begin(&call, container, "list blobs", "");
    text_copy(call.path, sizeof call.path, container->address.root);
    call.request.method = "GET";
    azure_add_query(&call.request, "restype", "container");
    azure_add_query(&call.request, "comp", "list");
    azure_add_query(&call.request, "maxresults", max);
    if (*options->prefix)
        azure_add_query(&call.request, "prefix", options->prefix);
    if (options->by_folder)
        azure_add_query(&call.request, "delimiter", "/");
    if (page->marker.bytes)
        azure_add_query(&call.request, "marker", buf_text(&page->marker));
    if (!blob_send(container, &call, ret, err))
        return false;
    if (ret->status == 200)
        return true;
    (void)azure_refused(&call.request, ret, err);
    http_answer_release(ret);
    return false;
}

bool blob_list(struct blob_container *container, const struct blob_list_options *options,
               bool (*each)(void *ctx, const char *name, uint64_t bytes, struct err *err),
               void *ctx, struct err *err)
{
    AUTO(buf_release) struct buf full = {0};
    struct blob_page page = {.prefix_bytes = strlen(container->address.prefix),
                             .max = options->max,
                             .each = each,
                             .ctx = ctx};
    bool ok = true;
    buf_printf(&full, "%s%s", container->address.prefix, options->prefix);
    struct blob_list_options whole = {
        .prefix = buf_text(&full), .max = options->max, .by_folder = options->by_folder};
    do {
        struct http_answer answer = {0};
        ok = get_page(container, &whole, &page, &answer, err);
        if (!ok)
            break;
        ok = blob_page_read(&answer, &page, err);
        http_answer_release(&answer);
    } while (ok && page.marker.bytes && !(page.max && page.count == page.max));
    buf_release(&page.marker);
    return ok;
}
