/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an ESXi host (or somebody who says so) sends. Byte 0 modulo 3 chooses:
 *
 *   0  the rest is packed data: byte 1 the method, bytes 2-3 the plain length in sectors
 *   1  the rest are AIO messages that answer READS reads of READ_BYTES each
 *   2  the rest is the payload of an answer to OPEN_FILE, of an ERROR, and a thumbprint
 *
 * A sector delivered twice, a byte outside a read, or a read that is done without all of
 * its bytes ends the program.
 */
#include "fuzz.h"

#include "vsphere/nfc_authd.h"
#include "vsphere/nfc_reads.h"
#include "vsphere/nfc_unpack.h"

#include <stdlib.h>

#define READS      4
#define READ_BYTES (128 * KIB)
#define DISK_BYTES (READS * READ_BYTES)

static struct nfc_unpacker *unpacker;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void unpack(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    if (data_bytes < 3)
        return;
    size_t plain_bytes = ((size_t)(data[1] | (data[2] & 7) << 8) + 1) * SECTOR_BYTES;
    AUTO(free) uint8_t *out = xcalloc(1, plain_bytes);
    struct nfc_packed packed = {(enum nfc_compression)(data[0] & 3), data + 3,
                                data_bytes - 3};
    must(nfc_unpack(unpacker, &packed, out, plain_bytes, &err) ||
         err.kind == FAIL_CORRUPT);
}

/* One message off the front; false: the connection would be dropped here. */
static bool take_message(struct nfc_reads *reads, uint8_t *delivered,
                         const uint8_t **data, size_t *data_bytes)
{
    struct err err = ERR_INIT;
    struct nfc_header header;
    struct nfc_fragment fragment;
    struct nfc_fragment_bounds bounds = {LANE_READ_MAX_BYTES, 36};
    if (*data_bytes < NFC_HEADER_BYTES || !nfc_header_parse(*data, &header, &err))
        return false;
    const uint8_t *payload = *data + NFC_HEADER_BYTES;
    size_t left = *data_bytes - NFC_HEADER_BYTES;
    if (header.payload_bytes > left)
        return false;
    struct nfc_slot *slot = nfc_reads_find(reads, header.op_id);
    if (header.type != NFC_IO || !slot ||
        !nfc_fragment_parse(payload, header.payload_bytes, &bounds, &fragment, &err) ||
        !nfc_slot_check(slot, &fragment, &err))
        return false;
    left -= header.payload_bytes;
    if (fragment.extra_bytes > left)
        return false;
    struct nfc_packed packed = {fragment.compression, payload + header.payload_bytes,
                                fragment.extra_bytes};
    size_t at = fragment.offset_bytes;
    must(at + fragment.plain_bytes <= READ_BYTES);
    if (!nfc_unpack(unpacker, &packed, slot->read->data + at, fragment.plain_bytes, &err))
        return false;
    for (size_t i = 0; i < fragment.plain_bytes / SECTOR_BYTES; i++)
        must(delivered[(slot->read->offset_bytes + at) / SECTOR_BYTES + i]++ == 0);
    if (nfc_slot_cover(slot, &fragment))
        nfc_reads_finish(reads, slot, NULL);
    *data = packed.data + packed.data_bytes;
    *data_bytes = left - packed.data_bytes;
    return true;
}

static void messages(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    AUTO(free) struct nfc_reads *reads = xcalloc(1, sizeof *reads);
    AUTO(free) uint8_t *delivered = xcalloc(1, DISK_BYTES / SECTOR_BYTES);
    struct lane_read read[READS];
    uint8_t *memory = xcalloc(READS, READ_BYTES);
    for (uint32_t i = 0; i < READS; i++) {
        read[i] = (struct lane_read){.offset_bytes = (uint64_t)i * READ_BYTES,
                                     .length_bytes = READ_BYTES,
                                     .data = memory + i * READ_BYTES};
        must(nfc_reads_submit(reads, &read[i], DISK_BYTES, &err));
        nfc_reads_asked(reads, 4 + i);
    }
    while (take_message(reads, delivered, &data, &data_bytes))
        continue;
    for (struct lane_read *done; (done = nfc_reads_take(reads));)
        for (size_t i = 0; i < READ_BYTES / SECTOR_BYTES; i++)
            must(delivered[done->offset_bytes / SECTOR_BYTES + i] == 1);
    must(nfc_reads_requeue(reads) == reads->count * READ_BYTES);
    free(memory);
}

static void answers(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    struct nfc_opened opened;
    uint8_t sha1[TLS_SHA1_BYTES];
    char text[200];
    must(nfc_opened_parse(data, data_bytes, &opened, &err) || err.kind == FAIL_CORRUPT);
    struct nfc_refusal refusal = {"read", data, data_bytes,
                                  data_bytes ? data[0] % 64 : 0};
    must(!nfc_refusal_explain(&refusal, &err));
    size_t n = MIN_OF(data_bytes, sizeof text - 1);
    memcpy(text, data, n);
    text[n] = 0;
    if (nfc_thumbprint_parse(text, sha1, sizeof sha1))
        must(n >= 2 * sizeof sha1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    if (!unpacker)
        unpacker = nfc_unpacker_new();
    if (data_bytes == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        unpack(data + 1, data_bytes - 1);
        break;
    case 1:
        messages(data + 1, data_bytes - 1);
        break;
    default:
        answers(data + 1, data_bytes - 1);
        break;
    }
    return 0;
}
