/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment reader and writer. Byte 0 modulo 3 chooses:
 *
 *   0  the rest is a segment as it lies in the store
 *   1  the rest is records in plain form, each behind a byte of flags; they are sealed
 * here with the right key, so that everything behind the seal is reached: flag 1  magic
 * and index are put right flag 2  stored content: its digests are put right 2  the rest
 * describes one record for the writer; what the writer takes must be read back equal
 */
#include "fuzz.h"

#include "base/bytes.h"
#include "block/segment_format.h"

#define OUT_BYTES       (2 * MIB)
#define FLAG_FIX_HEADER 1
#define FLAG_FIX_DIGEST 2

/* As in the golden files, so that their segments are good seeds. */
static struct segment_name NAME = {.cycle = 5, .seq = 3};

static struct {
    struct secret *key;
    struct gcm *gcm;
    struct digester *digester;
    struct packer *packer;
    struct segment_writer *writer;
    struct segment_reader *reader;
    uint8_t *out;
    uint8_t *content;
    uint8_t *pattern;
} rig;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void set_up(void)
{
    struct err err = ERR_INIT;
    struct id key_id = {{1}};
    uint8_t raw[32];
    if (rig.key)
        return;
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)i;
    for (size_t i = 0; i < ID_BYTES; i++) {
        NAME.machine.bytes[i] = (uint8_t)(0x20 + i);
        NAME.disk.bytes[i] = (uint8_t)(0x40 + i);
    }
    rig.key = secret_new(raw, sizeof raw);
    rig.gcm = gcm_new(GCM_SEAL, &err);
    rig.digester = digester_new(rig.key, &err);
    rig.packer = packer_new(&err);
    rig.writer = segment_writer_new(rig.key, &key_id, &err);
    rig.reader = segment_reader_new(rig.key, &err);
    rig.out = xcalloc(1, OUT_BYTES);
    rig.content = xcalloc(1, RECORD_SPAN_MAX_BYTES);
    rig.pattern = xcalloc(1, RECORD_SPAN_MAX_BYTES);
    for (size_t i = 0; i < RECORD_SPAN_MAX_BYTES; i++)
        rig.pattern[i] = (uint8_t)(i * i >> 7);
    must(rig.gcm && rig.digester && rig.packer && rig.writer && rig.reader);
}

static void read_all(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    struct record record = {.kind = RECORD_DATA};
    AUTO(free) uint8_t *exact = xcalloc(1, data_bytes);
    memcpy(exact, data, data_bytes);
    bool ok = segment_reader_begin(rig.reader, &NAME, exact, data_bytes, NULL, &err);
    while (ok && record.kind != RECORD_END)
        ok = segment_reader_next(rig.reader, rig.content, &record, &err);
    must(ok || err.kind == FAIL_CORRUPT);
}

static void fix_digests(uint8_t *at, size_t table_count, size_t digest_count)
{
    static struct piece pieces[RECORD_MAX_PIECES];
    struct err err = ERR_INIT;
    struct record_block blocks[RECORD_MAX_BLOCKS];
    struct record record = {.kind = RECORD_DATA,
                            .offset_bytes = get_u64le(at + RECORD_AT_OFFSET),
                            .length_bytes = get_u64le(at + RECORD_AT_LENGTH),
                            .piece_count = table_count,
                            .pieces = pieces};
    uint8_t *table = at + RECORD_HEADER_BYTES;
    for (size_t i = 0; i < table_count; i++)
        pieces[i] = (struct piece){get_u32le(table + i * RECORD_PIECE_BYTES),
                                   get_u32le(table + i * RECORD_PIECE_BYTES + 4)};
    if (table_count == 0) {
        pieces[0] = (struct piece){0, (uint32_t)(record.length_bytes / SECTOR_BYTES)};
        record.piece_count = 1;
    }
    uint8_t *digests = table + table_count * RECORD_PIECE_BYTES;
    uint8_t *content = digests + digest_count * DIGEST_BYTES;
    size_t content_bytes = get_u32le(at + RECORD_AT_PACKED_BYTES);
    size_t count = record_split(&record, blocks);
    for (size_t i = 0; i < count && i < digest_count; i++) {
        struct digest digest;
        if (blocks[i].start_bytes + blocks[i].part_bytes > content_bytes)
            return;
        must(digester_compute(rig.digester, content + blocks[i].start_bytes,
                              blocks[i].part_bytes, &digest, &err));
        memcpy(digests + i * DIGEST_BYTES, digest.bytes, DIGEST_BYTES);
    }
}

/* Takes one record from the input, seals it at `at`; 0 when there is no whole one. */
static size_t seal_one(const uint8_t *in, size_t in_bytes, uint32_t index, uint8_t *at,
                       size_t room_bytes)
{
    struct err err = ERR_INIT;
    uint8_t nonce[GCM_NONCE_BYTES];
    if (in_bytes < 1 + RECORD_HEADER_BYTES)
        return 0;
    const uint8_t *header = in + 1;
    bool is_end = header[RECORD_AT_KIND] == RECORD_END;
    size_t table_count = get_u16le(header + RECORD_AT_PIECE_COUNT);
    size_t digest_count = get_u16le(header + RECORD_AT_DIGEST_COUNT);
    size_t packed_bytes = is_end ? 0 : get_u32le(header + RECORD_AT_PACKED_BYTES);
    size_t plain_bytes =
        segment_record_bytes(table_count, digest_count, packed_bytes) - SEAL_TAG_BYTES;
    if (plain_bytes > in_bytes - 1 || plain_bytes + SEAL_TAG_BYTES > room_bytes)
        return 0;
    memcpy(at, header, plain_bytes);
    if (in[0] & FLAG_FIX_HEADER) {
        put_u32le(at + RECORD_AT_MAGIC, RECORD_MAGIC);
        put_u32le(at + RECORD_AT_INDEX, index);
    }
    if (in[0] & FLAG_FIX_DIGEST && !is_end && table_count <= RECORD_MAX_PIECES)
        fix_digests(at, table_count, digest_count);
    size_t aad_bytes = RECORD_HEADER_BYTES + table_count * RECORD_PIECE_BYTES;
    segment_nonce(index, nonce);
    must(gcm_start(rig.gcm, nonce, at, aad_bytes, &err) &&
         gcm_update(rig.gcm, at + aad_bytes, at + aad_bytes, plain_bytes - aad_bytes,
                    &err) &&
         gcm_seal(rig.gcm, at + plain_bytes, &err));
    return plain_bytes + SEAL_TAG_BYTES;
}

static void sealed_records(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    static const uint8_t SALT[SEGMENT_SALT_BYTES];
    must(segment_writer_begin_salted(rig.writer, &NAME, SALT, rig.out, OUT_BYTES, &err));
    must(segment_rekey(rig.gcm, rig.key, rig.out, &err));
    size_t used = SEGMENT_HEADER_BYTES;
    for (uint32_t index = 0; index < 1000; index++) {
        size_t n = seal_one(data, data_bytes, index, rig.out + used, OUT_BYTES - used);
        if (n == 0)
            break;
        used += n;
        data += 1 + n - SEAL_TAG_BYTES;
        data_bytes -= 1 + n - SEAL_TAG_BYTES;
    }
    read_all(rig.out, used);
}

static void round_trip(const uint8_t *data, size_t data_bytes)
{
    static struct piece pieces[RECORD_MAX_PIECES];
    static struct digest digests[RECORD_MAX_BLOCKS];
    struct err err = ERR_INIT;
    struct record got;
    uint8_t tag[SEAL_TAG_BYTES];
    uint8_t salt[SEGMENT_SALT_BYTES];
    size_t bytes;
    if (data_bytes < 11)
        return;
    struct record record = {.kind = (enum record_kind)(data[0] % 6),
                            .offset_bytes = (uint64_t)get_u32le(data + 1) * SECTOR_BYTES,
                            .length_bytes =
                                (uint64_t)get_u32le(data + 5) % 4096 * SECTOR_BYTES,
                            .pieces = pieces,
                            .content = rig.pattern,
                            .digests = digests};
    size_t wanted = record.kind == RECORD_DATA ? (data_bytes - 11) / 4 : 0;
    for (size_t i = 0; i < wanted && i < RECORD_MAX_PIECES; i++) {
        const uint8_t *p = data + 11 + i * 4;
        pieces[i] = (struct piece){get_u16le(p), get_u16le(p + 2)};
        record.content_bytes += (size_t)pieces[i].count_sectors * SECTOR_BYTES;
        record.piece_count++;
    }
    struct record_block blocks[RECORD_MAX_BLOCKS];
    record.digest_count = record_split(&record, blocks);
    for (size_t i = 0; i < record.digest_count; i++)
        must(digester_compute(rig.digester, rig.pattern + blocks[i].start_bytes,
                              blocks[i].part_bytes, &digests[i], &err));
    must(segment_writer_begin(rig.writer, &NAME, rig.out, OUT_BYTES, &err));
    if (!segment_writer_add(rig.writer, &record, rig.packer,
                            (enum pack_method)(data[9] % 3), data[10] % 4 + 1, &err)) {
        must(err.kind == FAIL_BUG);
        return;
    }
    must(segment_writer_end(rig.writer, &bytes, tag, salt, &err));
    must(segment_reader_begin(rig.reader, &NAME, rig.out, bytes, tag, &err));
    must(segment_reader_next(rig.reader, rig.content, &got, &err));
    must(got.kind == record.kind && got.offset_bytes == record.offset_bytes &&
         got.length_bytes == record.length_bytes &&
         got.content_bytes == record.content_bytes &&
         got.piece_count == record.piece_count);
    if (record.kind == RECORD_DATA)
        must(memcmp(got.pieces, pieces, record.piece_count * sizeof *pieces) == 0 &&
             memcmp(got.content, rig.pattern, record.content_bytes) == 0);
    must(segment_reader_next(rig.reader, rig.content, &got, &err) &&
         got.kind == RECORD_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    set_up();
    if (data_bytes == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        read_all(data + 1, data_bytes - 1);
        break;
    case 1:
        sealed_records(data + 1, data_bytes - 1);
        break;
    default:
        round_trip(data + 1, data_bytes - 1);
        break;
    }
    return 0;
}
