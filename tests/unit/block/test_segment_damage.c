/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a damaged disk, a careless operator or an attacker without the key can do to a
 * segment: every flip, cut, swap, replay and addition is noticed. The subject is the
 * golden segment, made anew here.
 */
#include "check_block.h"

#include "../../golden/golden.h"

#include "base/bytes.h"
#include "block/segment_format.h"

struct bench {
    struct secret *key;
    struct segment_reader *reader;
    struct segment_name name;
    struct buf raw;
    uint8_t tag[SEAL_TAG_BYTES];
    uint8_t *content;
};

static int set_up(void **state)
{
    struct err err = ERR_INIT;
    struct bench *b = xcalloc(1, sizeof *b);
    b->key = golden_key();
    b->reader = segment_reader_new(b->key, &err);
    b->content = xcalloc(1, RECORD_SPAN_MAX_BYTES);
    golden_name(&b->name);
    *state = b;
    if (!b->reader || !golden_make(GOLDEN_SEGMENT_ZSTD, &b->raw, &err))
        return 1;
    memcpy(b->tag, b->raw.data + b->raw.bytes - SEAL_TAG_BYTES, SEAL_TAG_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    segment_reader_free(b->reader);
    secret_free(b->key);
    buf_release(&b->raw);
    free(b->content);
    free(b);
    return 0;
}

/* true when all records to END are read. */
static bool reads(struct bench *b, const struct segment_name *name, const uint8_t *data,
                  size_t data_bytes, const uint8_t *tag)
{
    struct err err = ERR_INIT;
    struct record record = {.kind = RECORD_DATA};
    bool ok = segment_reader_begin(b->reader, name, data, data_bytes, tag, &err);
    while (ok && record.kind != RECORD_END)
        ok = segment_reader_next(b->reader, b->content, &record, &err);
    if (!ok)
        assert_int_equal(err.kind, FAIL_CORRUPT);
    return ok;
}

static bool reads_raw(struct bench *b)
{
    return reads(b, &b->name, b->raw.data, b->raw.bytes, NULL);
}

static void test_every_flip(void **state)
{
    struct bench *b = *state;
    assert_true(reads_raw(b));
    for (size_t bit = 0; bit < b->raw.bytes * 8; bit++) {
        b->raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(reads_raw(b));
        b->raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(reads_raw(b));
}

static void test_every_cut(void **state)
{
    struct bench *b = *state;
    for (size_t cut = 0; cut < b->raw.bytes; cut++) {
        AUTO(free) uint8_t *exact = xcalloc(1, cut);
        memcpy(exact, b->raw.data, cut);
        assert_false(reads(b, &b->name, exact, cut, NULL));
    }
}

/* Bytes of the record at `at`, by its plain header. */
static size_t record_bytes_at(const struct bench *b, size_t at)
{
    const uint8_t *p = b->raw.data + at;
    return segment_record_bytes(
        get_u16le(p + RECORD_AT_PIECE_COUNT), get_u16le(p + RECORD_AT_DIGEST_COUNT),
        p[RECORD_AT_KIND] == RECORD_END ? 0 : get_u32le(p + RECORD_AT_PACKED_BYTES));
}

static void test_swap_drop_repeat(void **state)
{
    struct bench *b = *state;
    size_t at[GOLDEN_RECORDS + 2] = {SEGMENT_HEADER_BYTES};
    for (size_t i = 0; i <= GOLDEN_RECORDS; i++)
        at[i + 1] = at[i] + record_bytes_at(b, at[i]);
    assert_int_equal(at[GOLDEN_RECORDS + 1], b->raw.bytes);
    for (size_t i = 0; i < GOLDEN_RECORDS; i++) {
        for (size_t fix_index = 0; fix_index < 2; fix_index++) {
            AUTO(buf_release) struct buf swapped = {0}; /* i and i + 1 */
            buf_append(&swapped, b->raw.data, at[i]);
            buf_append(&swapped, b->raw.data + at[i + 1], at[i + 2] - at[i + 1]);
            size_t second = swapped.bytes;
            buf_append(&swapped, b->raw.data + at[i], at[i + 1] - at[i]);
            buf_append(&swapped, b->raw.data + at[i + 2], b->raw.bytes - at[i + 2]);
            if (fix_index) {
                put_u32le(swapped.data + at[i] + RECORD_AT_INDEX, (uint32_t)i);
                put_u32le(swapped.data + second + RECORD_AT_INDEX, (uint32_t)i + 1);
            }
            assert_false(reads(b, &b->name, swapped.data, swapped.bytes, NULL));
        }
        AUTO(buf_release) struct buf dropped = {0};
        buf_append(&dropped, b->raw.data, at[i]);
        buf_append(&dropped, b->raw.data + at[i + 1], b->raw.bytes - at[i + 1]);
        assert_false(reads(b, &b->name, dropped.data, dropped.bytes, NULL));
        AUTO(buf_release) struct buf repeated = {0};
        buf_append(&repeated, b->raw.data, at[i + 1]);
        buf_append(&repeated, b->raw.data + at[i], b->raw.bytes - at[i]);
        assert_false(reads(b, &b->name, repeated.data, repeated.bytes, NULL));
    }
    AUTO(buf_release) struct buf longer = {0}; /* behind END */
    buf_append(&longer, b->raw.data, b->raw.bytes);
    buf_append(&longer, b->raw.data + at[1], at[2] - at[1]);
    assert_false(reads(b, &b->name, longer.data, longer.bytes, NULL));
    assert_false(reads(b, &b->name, longer.data, b->raw.bytes + 1, NULL));
}

static void test_replay(void **state)
{
    struct bench *b = *state;
    static const size_t FIELDS[] = {SEGMENT_AT_MACHINE + 3, SEGMENT_AT_DISK + 5,
                                    SEGMENT_AT_CYCLE, SEGMENT_AT_SEQ};
    for (size_t i = 0; i < ARRAY_COUNT(FIELDS); i++) {
        struct segment_name other = b->name;
        other.machine.bytes[3] ^= i == 0;
        other.disk.bytes[5] ^= i == 1;
        other.cycle ^= i == 2;
        other.seq ^= i == 3;
        assert_false(reads(b, &other, b->raw.data, b->raw.bytes, NULL));
        b->raw.data[FIELDS[i]] ^= 1; /* relabelled as well */
        assert_false(reads(b, &other, b->raw.data, b->raw.bytes, NULL));
        b->raw.data[FIELDS[i]] ^= 1;
    }
    assert_true(reads(b, &b->name, b->raw.data, b->raw.bytes, b->tag));
    b->tag[9] ^= 1; /* the manifest names another segment of that name */
    assert_false(reads(b, &b->name, b->raw.data, b->raw.bytes, b->tag));
}

/* The same name and records under another salt share nothing. */
static void test_mixed_segments(void **state)
{
    struct bench *b = *state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf other = {0};
    assert_ok(golden_make(GOLDEN_SEGMENT_ZSTD, &other, &err), err);
    assert_memory_equal(other.data, b->raw.data, other.bytes);
    memcpy(other.data, b->raw.data, SEGMENT_HEADER_BYTES);
    other.data[SEGMENT_AT_SALT] ^= 1;
    assert_false(reads(b, &b->name, other.data, other.bytes, NULL));
    b->key->data[3] ^= 1; /* another data key */
    assert_false(reads_raw(b));
    b->key->data[3] ^= 1;
    assert_true(reads_raw(b));
}

/* S5: a sealed record whose content is not what the digests say. */
static void test_wrong_digest(void **state)
{
    struct bench *b = *state;
    struct err err = ERR_INIT;
    struct record records[GOLDEN_RECORDS];
    struct digest digests[GOLDEN_RECORDS][RECORD_MAX_BLOCKS];
    struct id key_id = {{0}};
    uint8_t buffer[8192];
    uint8_t salt[SEGMENT_SALT_BYTES];
    size_t bytes;
    AUTO(packer_free) struct packer *packer = packer_new(&err);
    AUTO(segment_writer_free)
    struct segment_writer *writer = segment_writer_new(b->key, &key_id, &err);
    assert_ok(golden_records(records, digests, &err), err);
    for (size_t bad = 0; bad < 2; bad++) {
        digests[0][1].bytes[0] ^= (uint8_t)bad;
        assert_ok(segment_writer_begin(writer, &b->name, buffer, sizeof buffer, &err),
                  err);
        assert_ok(segment_writer_add(writer, &records[0], packer, PACK_LZ4, 1, &err),
                  err);
        assert_ok(segment_writer_end(writer, &bytes, b->tag, salt, &err), err);
        assert_int_equal(reads(b, &b->name, buffer, bytes, b->tag), !bad);
    }
}

/* S4: an END that is sealed well, as a faulty writer might, but says something else. */
static void test_false_end(void **state)
{
    struct bench *b = *state;
    struct err err = ERR_INIT;
    uint8_t nonce[GCM_NONCE_BYTES];
    uint8_t *end = b->raw.data + b->raw.bytes - RECORD_HEADER_BYTES - SEAL_TAG_BYTES;
    AUTO(gcm_free) struct gcm *gcm = gcm_new(GCM_SEAL, &err);
    assert_ok(segment_rekey(gcm, b->key, b->raw.data, &err), err);
    segment_nonce(GOLDEN_RECORDS, nonce);
    for (size_t at = 0; at <= RECORD_HEADER_BYTES; at++) { /* last round: unchanged */
        bool is_changed = at < RECORD_HEADER_BYTES;
        if (is_changed)
            end[at] ^= 1;
        assert_ok(gcm_start(gcm, nonce, end, RECORD_HEADER_BYTES, &err), err);
        assert_ok(gcm_seal(gcm, end + RECORD_HEADER_BYTES, &err), err);
        assert_int_equal(reads_raw(b), !is_changed);
        if (is_changed)
            end[at] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_flip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_swap_drop_repeat, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mixed_segments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_digest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_false_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
