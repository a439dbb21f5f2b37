/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of a page blob.
 *
 * Making one is no request that may be repeated without a thought: when the answer is
 * lost there are two. So each bears a random mark in its metadata, and those with our
 * mark are looked for afterwards and all but the last removed. Always, not only after a
 * repetition of ours: libcurl itself repeats a PUT without a body when a kept connection
 * dies (seen with 7.88). Names are compared whole: the listing goes by prefix.
 */
#include "azure/page_blob_impl.h"
#include "base/text.h"

#define MARK_NAME  "kedgesnapshot"
#define MARKER_MAX 4096

/* ---- what a listing says ---- */

struct entry {
    struct buf name, snapshot, mark;
};

static void release_entry(struct entry *entry)
{
    buf_release(&entry->name);
    buf_release(&entry->snapshot);
    buf_release(&entry->mark);
}

static bool read_mark(struct xml_reader *reader, struct entry *entry, struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
        if (xml_is(reader, MARK_NAME) && !entry->mark.bytes &&
            !xml_text(reader, AZURE_VALUE_BYTES, &entry->mark, err))
            return false;
    return !xml_failed(reader);
}

static bool read_entry(struct xml_reader *reader, struct entry *entry, struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        bool ok = true;
        if (xml_is(reader, "Name") && !entry->name.bytes)
            ok = xml_text(reader, BLOB_NAME_MAX, &entry->name, err);
        else if (xml_is(reader, "Snapshot") && !entry->snapshot.bytes)
            ok = xml_text(reader, PAGE_SNAPSHOT_BYTES - 1, &entry->snapshot, err);
        else if (xml_is(reader, "Metadata"))
            ok = read_mark(reader, entry, err);
        if (!ok)
            return false;
    }
    return !xml_failed(reader);
}

static bool read_blobs(struct xml_reader *reader, struct page_snapshots *ret,
                       struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        struct entry entry = {0};
        if (!xml_is(reader, "Blob"))
            continue;
        bool ok = read_entry(reader, &entry, err);
        if (ok && entry.snapshot.bytes && ret->count < PAGE_SNAPSHOTS_MAX &&
            strcmp(buf_text(&entry.name), ret->name) == 0 &&
            strcmp(buf_text(&entry.mark), ret->mark) == 0)
            text_copy(ret->found[ret->count++], PAGE_SNAPSHOT_BYTES,
                      buf_text(&entry.snapshot));
        release_entry(&entry);
        if (!ok)
            return false;
    }
    return !xml_failed(reader);
}

bool page_snapshots_read(const struct http_answer *answer, struct page_snapshots *ret,
                         struct err *err)
{
    AUTO(xml_reader_close)
    struct xml_reader *reader =
        xml_reader_open("list of snapshots", answer->body.data, answer->body.bytes, err);
    if (!reader)
        return false;
    buf_clear(&ret->marker);
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "Blobs")) {
            if (!read_blobs(reader, ret, err))
                return false;
        } else if (xml_is(reader, "NextMarker")) {
            if (!xml_text(reader, MARKER_MAX, &ret->marker, err))
                return false;
        }
    }
    return !xml_failed(reader);
}

/* ---- requests ---- */

static bool get_listing(struct page_blob *blob, struct page_snapshots *ret,
                        struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, blob->container, "list snapshots of", blob->name);
    text_copy(call.path, sizeof call.path, blob->container->address.root);
    call.request.method = "GET";
    azure_add_query(&call.request, "restype", "container");
    azure_add_query(&call.request, "comp", "list");
    azure_add_query(&call.request, "include", "snapshots,metadata");
    azure_add_query(&call.request, "prefix", ret->name);
    if (ret->marker.bytes)
        azure_add_query(&call.request, "marker", buf_text(&ret->marker));
    return blob_send(blob->container, &call, &answer, err) &&
           (answer.status == 200 || azure_refused(&call.request, &answer, err)) &&
           page_snapshots_read(&answer, ret, err);
}

/* Removes the snapshots with that mark but the one to keep. */
static bool remove_twins(struct page_blob *blob, const char *mark, const char *keep,
                         struct err *err)
{
    AUTO(buf_release) struct buf name = {0};
    struct page_snapshots snapshots = {.mark = mark};
    bool ok;
    buf_printf(&name, "%s%s", blob->container->address.prefix, blob->name);
    snapshots.name = buf_text(&name);
    do
        ok = get_listing(blob, &snapshots, err);
    while (ok && snapshots.marker.bytes);
    buf_release(&snapshots.marker);
    for (size_t i = 0; ok && i < snapshots.count; i++)
        if (strcmp(snapshots.found[i], keep) != 0)
            ok = page_blob_snapshot_remove(blob, snapshots.found[i], err);
    return ok;
}

bool page_blob_snapshot(struct page_blob *blob, char ret[PAGE_SNAPSHOT_BYTES],
                        struct err *err)
{
    struct blob_call call;
    struct id id = id_random();
    char mark[ID_TEXT_BYTES];
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, blob->container, "snapshot page blob", blob->name);
    call.request.method = "PUT";
    azure_add_query(&call.request, "comp", "snapshot");
    azure_add_header(&call.request, "x-ms-meta-" MARK_NAME, "%s", id_text(&id, mark));
    if (!blob_send(blob->container, &call, &answer, err))
        return false;
    if (answer.status != 201)
        return azure_refused(&call.request, &answer, err);
    if (!http_answer_header(&answer, "x-ms-snapshot", ret, PAGE_SNAPSHOT_BYTES))
        return err_set(err, FAIL_CORRUPT, "%s: the answer does not name it", call.what);
    return remove_twins(blob, mark, ret, err);
}

bool page_blob_snapshot_remove(struct page_blob *blob, const char *snapshot,
                               struct err *err)
{
    struct blob_call call;
    AUTO(http_answer_release) struct http_answer answer = {0};
    blob_begin(&call, blob->container, "remove a snapshot of", blob->name);
    call.request.method = "DELETE";
    azure_add_query(&call.request, "snapshot", snapshot);
    return blob_send(blob->container, &call, &answer, err) &&
           (answer.status == 202 ||
            (answer.status == 404 && !blob_code_is(&answer, "ContainerNotFound")) ||
            azure_refused(&call.request, &answer, err));
}
