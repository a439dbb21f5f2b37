/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of the NFC service as bytes: fixed classic frames of 264 bytes, then AIO
 * messages (16-byte header, fixed payload, extra). Pure; no I/O. Everything is little
 * endian. What comes from the host is bounded here before anybody believes it.
 */
#ifndef VSPHERE_NFC_FRAME_H
#define VSPHERE_NFC_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "vsphere/nfc_quirks.h"

#define NFC_CLASSIC_BYTES 264

enum nfc_classic {
    NFC_COMPLETE = 4, /* ours: good-bye; theirs: refused */
    NFC_PARAMS = 33,
    NFC_PARAMS_REPLY = 36,
    NFC_HANDSHAKE = 43,
    NFC_VERSION = 51,
    NFC_AIO_OPEN = 52,
    NFC_CONNECTION_DATA = 54,
    NFC_FEATURES = 55,
};
#define NFC_CLIENT_VERSION 11

/* Appends a frame of that type with value at offset 4. */
void nfc_classic_put(struct buf *out, enum nfc_classic type, uint32_t value);
/* HANDSHAKE with its text. */
void nfc_classic_put_handshake(struct buf *out);
/* CONNECTION_DATA and the two texts behind it. */
void nfc_classic_put_client(struct buf *out, const char *name, const char *mode);
static inline uint32_t nfc_classic_type(const uint8_t frame[NFC_CLASSIC_BYTES])
{
    return (uint32_t)frame[0] | (uint32_t)frame[1] << 8 | (uint32_t)frame[2] << 16 |
           (uint32_t)frame[3] << 24;
}

#define NFC_MAGIC             0xa100da7au
#define NFC_HEADER_BYTES      16
#define NFC_PAYLOAD_MAX_BYTES 4096 /* ours to bound: 60 is the largest known */
#define NFC_PATH_MAX_BYTES    2048
#define NFC_IO_BYTES          44

enum nfc_type {
    NFC_ERROR = 1,
    NFC_OPEN_SESSION = 2,
    NFC_CLOSE_SESSION = 3,
    NFC_OPEN_FILE = 4,
    NFC_CLOSE_FILE = 5,
    NFC_IO = 7,
    NFC_SET_SOCK_OPTS = 9,
    NFC_SET_RES_POOL = 22,
};

struct nfc_header {
    uint32_t type;
    uint32_t payload_bytes; /* <= NFC_PAYLOAD_MAX_BYTES */
    uint32_t op_id;
};
/* FAIL_CORRUPT: another magic, or a payload beyond the bound. */
MUST_CHECK bool nfc_header_parse(const uint8_t raw[NFC_HEADER_BYTES],
                                 struct nfc_header *ret, struct err *err);

/* Requests, header included. */
void nfc_put_open_session(struct buf *out, uint32_t op_id, uint32_t buffer_bytes,
                          uint32_t buffer_count);
void nfc_put_sock_opts(struct buf *out, uint32_t op_id);
void nfc_put_res_pool(struct buf *out, uint32_t op_id);
/* Read-only. path: "[datastore] dir/file.vmdk", at most NFC_PATH_MAX_BYTES. */
void nfc_put_open_file(struct buf *out, uint32_t op_id, const char *path);
void nfc_put_close_file(struct buf *out, uint32_t op_id, uint64_t handle);
void nfc_put_close_session(struct buf *out, uint32_t op_id);

#define NFC_IO_READ_BYTES (NFC_HEADER_BYTES + NFC_IO_BYTES)
struct nfc_io {
    uint64_t handle;
    enum nfc_compression compression;
    uint64_t offset_bytes;
    uint32_t length_bytes;
};
void nfc_put_io_read(uint8_t out[NFC_IO_READ_BYTES], uint32_t op_id,
                     const struct nfc_io *io);

struct nfc_opened {
    uint64_t handle;
    uint64_t disk_bytes;
    uint32_t sector_bytes; /* 0 was made 512 */
};
/* FAIL_CORRUPT: too short, or not a disk. */
MUST_CHECK bool nfc_opened_parse(const uint8_t *payload, size_t payload_bytes,
                                 struct nfc_opened *ret, struct err *err);

/* One piece of a read's answer. Promised after the parse: offset_bytes + plain_bytes <=
 * total_bytes <= request_max_bytes, plain_bytes >= 512, all three multiples of 512,
 * extra_bytes <= NFC_PACKED_MAX_BYTES(plain_bytes). */
struct nfc_fragment {
    enum nfc_compression compression;
    uint64_t disk_offset_bytes; /* of the request */
    uint32_t total_bytes;       /* of the request */
    uint32_t offset_bytes;      /* inside the request */
    uint32_t plain_bytes;
    uint32_t extra_bytes; /* that follow on the wire */
};
/* A host that packs sends what did not shrink as it is, so packed data is never much
 * longer than plain; the room is for the worst of zlib, FastLZ and SkipZ headers. */
#define NFC_PACKED_MAX_BYTES(plain_bytes) ((plain_bytes) + (plain_bytes) / 8 + 64)

struct nfc_fragment_bounds {
    uint32_t request_max_bytes;
    uint32_t io_reply_min_bytes;
};
MUST_CHECK bool nfc_fragment_parse(const uint8_t *payload, size_t payload_bytes,
                                   const struct nfc_fragment_bounds *bounds,
                                   struct nfc_fragment *ret, struct err *err);

/*
 * What an ERROR's payload (and text behind it) says, as far as anybody knows: *err gets
 * the operation, its bytes in hex and the readable text in them; the kind by the texts
 * and codes that were seen in the field. FAIL_NO_SPACE: the host's NFC memory is used up.
 * Always false.
 */
struct nfc_refusal {
    const char *operation; /* "open '[ds] a/a.vmdk'" */
    const uint8_t *payload;
    size_t payload_bytes;
    uint32_t code_at; /* nfc_quirks.error_code_at */
};
bool nfc_refusal_explain(const struct nfc_refusal *refusal, struct err *err);

#endif
