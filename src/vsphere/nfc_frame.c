/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts by offset, as the public notes give them (see nfc_quirks.h for their names).
 * The offsets of capacity (28, unaligned) and geometry in OPEN_FILE's answer were
 * compared by those authors with what VMware's own library reports.
 *
 * An ERROR's payload is not decoded by anybody: it is shown in hex, with what is readable
 * in it, and known texts choose the error kind.
 */
#include "vsphere/nfc_frame.h"

#include "base/bytes.h"
#include "base/text.h"

#include <stdio.h>

#define OPEN_FILE_BYTES     60
#define OPEN_FILE_MIN_BYTES 52 /* some hosts may answer shorter than 60 */
#define FILE_TYPE_DISK      2
#define OPEN_READ_ONLY      0x1e
#define DIRECTION_READ      1

static uint8_t *grow(struct buf *out, size_t bytes)
{
    buf_reserve(out, bytes);
    uint8_t *at = out->data + out->bytes;
    memset(at, 0, bytes);
    out->bytes += bytes;
    return at;
}

void nfc_classic_put(struct buf *out, enum nfc_classic type, uint32_t value)
{
    uint8_t *frame = grow(out, NFC_CLASSIC_BYTES);
    put_u32le(frame, type);
    put_u32le(frame + 4, value);
}

void nfc_classic_put_handshake(struct buf *out)
{
    static const char text[] = "PlainText"; /* with nbdssl too */
    uint8_t *frame = grow(out, NFC_CLASSIC_BYTES);
    put_u32le(frame, NFC_HANDSHAKE);
    memcpy(frame + 4, text, sizeof text - 1);
}

void nfc_classic_put_client(struct buf *out, const char *name, const char *mode)
{
    uint8_t *frame = grow(out, NFC_CLASSIC_BYTES);
    put_u32le(frame, NFC_CONNECTION_DATA);
    put_u32le(frame + 4, (uint32_t)strlen(name));
    put_u32le(frame + 8, (uint32_t)strlen(mode));
    buf_append_text(out, name);
    buf_append_text(out, mode);
}

static void put_header(uint8_t *at, uint32_t type, uint32_t payload_bytes, uint32_t op_id)
{
    put_u32le(at, NFC_MAGIC);
    put_u32le(at + 4, type);
    put_u32le(at + 8, payload_bytes);
    put_u32le(at + 12, op_id);
}

/* Room for a zeroed payload behind its header. */
static uint8_t *put_message(struct buf *out, enum nfc_type type, uint32_t payload_bytes,
                            uint32_t op_id)
{
    uint8_t *at = grow(out, NFC_HEADER_BYTES + payload_bytes);
    put_header(at, type, payload_bytes, op_id);
    return at + NFC_HEADER_BYTES;
}

bool nfc_header_parse(const uint8_t raw[NFC_HEADER_BYTES], struct nfc_header *ret,
                      struct err *err)
{
    uint32_t magic = get_u32le(raw);
    uint32_t payload_bytes = get_u32le(raw + 8);
    if (magic != NFC_MAGIC)
        return err_set(err, FAIL_CORRUPT,
                       "NFC message begins with 0x%08x instead of 0x%08x", magic,
                       NFC_MAGIC);
    if (payload_bytes > NFC_PAYLOAD_MAX_BYTES)
        return err_set(err, FAIL_CORRUPT,
                       "NFC message of type %u claims %u bytes, at most %d are expected",
                       get_u32le(raw + 4), payload_bytes, NFC_PAYLOAD_MAX_BYTES);
    *ret = (struct nfc_header){get_u32le(raw + 4), payload_bytes, get_u32le(raw + 12)};
    return true;
}

void nfc_put_open_session(struct buf *out, uint32_t op_id, uint32_t buffer_bytes,
                          uint32_t buffer_count)
{
    uint8_t *payload = put_message(out, NFC_OPEN_SESSION, 16, op_id);
    put_u32le(payload + 4, buffer_bytes);
    put_u32le(payload + 8, buffer_count);
}

void nfc_put_sock_opts(struct buf *out, uint32_t op_id)
{
    (void)put_message(out, NFC_SET_SOCK_OPTS, 12, op_id);
}

void nfc_put_res_pool(struct buf *out, uint32_t op_id)
{
    put_u32le(put_message(out, NFC_SET_RES_POOL, 4, op_id), 1);
}

void nfc_put_open_file(struct buf *out, uint32_t op_id, const char *path)
{
    uint8_t *payload = put_message(out, NFC_OPEN_FILE, OPEN_FILE_BYTES, op_id);
    put_u32le(payload, (uint32_t)strlen(path));
    put_u32le(payload + 16, FILE_TYPE_DISK);
    put_u32le(payload + 20, OPEN_READ_ONLY);
    buf_append_text(out, path);
}

void nfc_put_close_file(struct buf *out, uint32_t op_id, uint64_t handle)
{
    put_u64le(put_message(out, NFC_CLOSE_FILE, 8, op_id), handle);
}

void nfc_put_close_session(struct buf *out, uint32_t op_id)
{
    (void)put_message(out, NFC_CLOSE_SESSION, 4, op_id);
}

void nfc_put_io_read(uint8_t out[NFC_IO_READ_BYTES], uint32_t op_id,
                     const struct nfc_io *io)
{
    uint8_t *payload = out + NFC_HEADER_BYTES;
    put_header(out, NFC_IO, NFC_IO_BYTES, op_id);
    put_u64le(payload, io->handle);
    put_u32le(payload + 8, DIRECTION_READ);
    put_u32le(payload + 12, io->compression);
    put_u64le(payload + 16, io->offset_bytes);
    put_u32le(payload + 24, io->length_bytes);
    put_u32le(payload + 28, 0);
    put_u32le(payload + 32, io->length_bytes);
    put_u32le(payload + 36, io->length_bytes);
    put_u32le(payload + 40, 0);
}

bool nfc_opened_parse(const uint8_t *payload, size_t payload_bytes,
                      struct nfc_opened *ret, struct err *err)
{
    if (payload_bytes < OPEN_FILE_MIN_BYTES)
        return err_set(err, FAIL_CORRUPT, "NFC open: answer of %zu bytes is too short",
                       payload_bytes);
    if (get_u32le(payload + 16) != FILE_TYPE_DISK)
        return err_set(err, FAIL_CORRUPT,
                       "NFC open: the host opened file type %u, not a disk",
                       get_u32le(payload + 16));
    *ret = (struct nfc_opened){.handle = get_u64le(payload + 8),
                               .disk_bytes = get_u64le(payload + 28),
                               .sector_bytes = get_u32le(payload + 36)};
    if (ret->sector_bytes == 0)
        ret->sector_bytes = SECTOR_BYTES;
    return true;
}

static bool in_sectors(uint32_t bytes)
{
    return bytes % SECTOR_BYTES == 0;
}

bool nfc_fragment_parse(const uint8_t *payload, size_t payload_bytes,
                        const struct nfc_fragment_bounds *bounds,
                        struct nfc_fragment *ret, struct err *err)
{
    if (payload_bytes < bounds->io_reply_min_bytes || payload_bytes > NFC_IO_BYTES)
        return err_set(err, FAIL_CORRUPT, "NFC read: answer with a head of %zu bytes",
                       payload_bytes);
    uint32_t compression = get_u32le(payload + 12);
    struct nfc_fragment f = {.disk_offset_bytes = get_u64le(payload + 16),
                             .total_bytes = get_u32le(payload + 24),
                             .offset_bytes = get_u32le(payload + 28),
                             .plain_bytes = get_u32le(payload + 32)};
    f.extra_bytes = f.plain_bytes;
    if (compression > NFC_SKIPZ || (compression != NFC_STORED && payload_bytes < 40))
        return err_set(err, FAIL_CORRUPT, "NFC read: answer with compression %u",
                       compression);
    f.compression = (enum nfc_compression)compression;
    if (f.total_bytes > bounds->request_max_bytes || f.offset_bytes >= f.total_bytes ||
        f.plain_bytes == 0 || f.plain_bytes > f.total_bytes - f.offset_bytes ||
        !in_sectors(f.total_bytes) || !in_sectors(f.offset_bytes) ||
        !in_sectors(f.plain_bytes))
        return err_set(err, FAIL_CORRUPT,
                       "NFC read: a piece of %u bytes at %u of a read of %u bytes",
                       f.plain_bytes, f.offset_bytes, f.total_bytes);
    if (f.compression != NFC_STORED)
        f.extra_bytes = get_u32le(payload + 36);
    if (f.extra_bytes == 0 || f.extra_bytes > NFC_PACKED_MAX_BYTES(f.plain_bytes))
        return err_set(err, FAIL_CORRUPT,
                       "NFC read: %u bytes packed with %s into %u bytes", f.plain_bytes,
                       nfc_compression_name(f.compression), f.extra_bytes);
    *ret = f;
    return true;
}

/* Texts and codes that were seen in the field, and what to do about them. */
static const struct {
    const char *text; /* anywhere in what is readable; NULL: by code */
    uint32_t code;
    enum err_kind kind;
    const char *remedy;
} SEEN[] = {
    {"allocate", 0, FAIL_NO_SPACE,
     "the host's NFC memory is used up: fewer disks at once, or another host"},
    {"multiwriter", 0, FAIL_CONFLICT,
     "this is the disk a running VM writes to; read the file under its snapshot"},
    {"lock the file", 0, FAIL_TRANSIENT,
     "somebody else reads it; is the datastore browser or a backup at work?"},
    {"permission", 0, FAIL_AUTH,
     "the ticket's VM does not own this file, or the account lacks "
     "VirtualMachine.Provisioning.DiskRandomRead or GetVmFiles"},
    {NULL, 11, FAIL_AUTH,
     "the ticket's VM does not own this file, or the file is open for writing"},
};

/* Runs of at least four printable characters, one blank between them. */
static void readable(const uint8_t *data, size_t data_bytes, struct buf *out)
{
    for (size_t i = 0; i < data_bytes;) {
        size_t end = i;
        while (end < data_bytes && data[end] >= 0x20 && data[end] < 0x7f)
            end++;
        if (end - i >= 4) {
            buf_append_text(out, out->bytes ? " " : "");
            buf_append(out, data + i, end - i);
        }
        i = end + 1;
    }
}

bool nfc_refusal_explain(const struct nfc_refusal *refusal, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    char hex[2 * 48 + 1];
    size_t bytes = refusal->payload_bytes;
    readable(refusal->payload, bytes, &text);
    text_hex(refusal->payload, MIN_OF(bytes, 48), hex);
    bool has_code = bytes >= 4 && refusal->code_at <= bytes - 4;
    uint32_t code = has_code ? get_u32le(refusal->payload + refusal->code_at) : 0;
    (void)err_set(err, FAIL_IO, "%s: the host refused with code %u '%.120s' (bytes %s)",
                  refusal->operation, code, buf_text(&text), hex);
    for (size_t i = 0; i < ARRAY_COUNT(SEEN); i++) {
        bool is_it = SEEN[i].text ? strcasestr(buf_text(&text), SEEN[i].text) != NULL
                                  : has_code && code == SEEN[i].code;
        if (!is_it)
            continue;
        err->kind = SEEN[i].kind;
        return err_hint(err, "%s", SEEN[i].remedy);
    }
    return false;
}
