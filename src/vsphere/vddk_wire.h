/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kedged and its kedge-vddk child say to each other over a socket pair: a head of
 * VDDK_HEAD_BYTES, little endian, and a body. Both ends are ours and of one version; the
 * bounds are there because a library that we do not know lives in the child.
 *
 *   OPEN    ->  body: VDDK_TEXT_COUNT texts, each with its NUL
 *   OPENED  <-  offset: capacity in bytes; body: the transport mode the library chose
 *   READ    ->  id, offset, length
 *   DATA    <-  id; length bytes of body
 *   FAILED  <-  id (VDDK_NO_ID: of OPEN); kind; body: why
 *
 * The child ends when its end of the socket does.
 */
#ifndef VSPHERE_VDDK_WIRE_H
#define VSPHERE_VDDK_WIRE_H

#include "base/bytes.h"
#include "base/err.h"

#define VDDK_HEAD_BYTES     32
#define VDDK_MAGIC          0x4b44564bu
#define VDDK_NO_ID          UINT32_MAX
#define VDDK_TEXT_MAX_BYTES (16 * KIB) /* of an OPEN's body, of an error's */
#define VDDK_READ_MAX_BYTES (1 * MIB)
#define VDDK_FD             3 /* of the socket in the child */
#define VDDK_IN_FLIGHT_MAX  32

enum vddk_type { VDDK_OPEN = 1, VDDK_OPENED, VDDK_READ, VDDK_DATA, VDDK_FAILED };

/* Of OPEN, in this order; "" for what there is not. */
enum vddk_text {
    VDDK_TEXT_LIBRARY,
    VDDK_TEXT_LIB_DIR,
    VDDK_TEXT_SERVER,
    VDDK_TEXT_PORT,
    VDDK_TEXT_THUMBPRINT,
    VDDK_TEXT_VM,
    VDDK_TEXT_SNAPSHOT,
    VDDK_TEXT_TRANSPORTS,
    VDDK_TEXT_FILE,
    VDDK_TEXT_FLAGS,
    VDDK_TEXT_USER,
    VDDK_TEXT_PASSWORD, /* "": by the cookie */
    VDDK_TEXT_COOKIE,
    VDDK_TEXT_COUNT
};

struct vddk_head {
    uint32_t type;
    uint32_t id;
    uint64_t offset_bytes;
    uint32_t length_bytes; /* of the body; of READ: asked */
    uint32_t kind;         /* enum err_kind */
};

static inline void vddk_head_put(uint8_t out[VDDK_HEAD_BYTES],
                                 const struct vddk_head *head)
{
    memset(out, 0, VDDK_HEAD_BYTES);
    put_u32le(out, VDDK_MAGIC);
    put_u32le(out + 4, head->type);
    put_u32le(out + 8, head->id);
    put_u32le(out + 12, head->kind);
    put_u64le(out + 16, head->offset_bytes);
    put_u32le(out + 24, head->length_bytes);
}

static inline MUST_CHECK bool vddk_head_get(const uint8_t raw[VDDK_HEAD_BYTES],
                                            struct vddk_head *ret)
{
    *ret = (struct vddk_head){.type = get_u32le(raw + 4),
                              .id = get_u32le(raw + 8),
                              .kind = get_u32le(raw + 12),
                              .offset_bytes = get_u64le(raw + 16),
                              .length_bytes = get_u32le(raw + 24)};
    return get_u32le(raw) == VDDK_MAGIC && ret->kind <= FAIL_BUG;
}

#endif
