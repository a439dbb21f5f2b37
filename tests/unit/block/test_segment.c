/* SPDX-License-Identifier: Apache-2.0 */
/* Segments: whatever may be written is read back equal; what may not be is refused. */
#include "check_block.h"

#include "block/segment_format.h"

#define BUFFER_BYTES (3 * MIB)

static const struct segment_name NAME = {{{1}}, {{2}}, 9, 4};
static const struct id KEY_ID = {{7}};

struct bench {
    struct secret *key;
    struct packer *packer;
    struct digester *digester;
    struct segment_writer *writer;
    struct segment_reader *reader;
    uint8_t *buffer;
    uint8_t *content;
    uint8_t *back;
    size_t bytes;
    uint8_t tag[SEAL_TAG_BYTES];
    uint8_t salt[SEGMENT_SALT_BYTES];
    struct err err;
};

/* What one random record is made of. */
struct sample {
    struct record record;
    struct piece pieces[RECORD_MAX_PIECES];
    struct digest digests[RECORD_MAX_BLOCKS];
};

static int set_up(void **state)
{
    struct bench *b = xcalloc(1, sizeof *b);
    b->key = check_key();
    b->packer = packer_new(&b->err);
    b->digester = digester_new(b->key, &b->err);
    b->writer = segment_writer_new(b->key, &KEY_ID, &b->err);
    b->reader = segment_reader_new(b->key, &b->err);
    b->buffer = xcalloc(1, BUFFER_BYTES);
    b->content = xcalloc(1, RECORD_SPAN_MAX_BYTES);
    b->back = xcalloc(1, RECORD_SPAN_MAX_BYTES);
    *state = b;
    return b->writer && b->reader && b->digester && b->packer ? 0 : 1;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    segment_writer_free(b->writer);
    segment_reader_free(b->reader);
    digester_free(b->digester);
    packer_free(b->packer);
    secret_free(b->key);
    free(b->buffer);
    free(b->content);
    free(b->back);
    free(b);
    return 0;
}

static void add_digests(struct bench *b, struct sample *sample)
{
    struct record_block blocks[RECORD_MAX_BLOCKS];
    size_t count = record_split(&sample->record, blocks);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        assert_ok(digester_compute(b->digester, b->content + blocks[i].start_bytes,
                                   blocks[i].part_bytes, &sample->digests[i], &b->err),
                  b->err);
    sample->record.digest_count = count;
    sample->record.digests = sample->digests;
    sample->record.content = b->content;
}

static void random_sample(struct bench *b, uint64_t seed, struct sample *sample)
{
    uint64_t state = seed;
    uint64_t window = prng_below(&state, 1u << 20) * RECORD_SPAN_MAX_BYTES;
    uint32_t start = (uint32_t)prng_below(&state, SPAN_MAX_SECTORS);
    uint32_t sectors = 1 + (uint32_t)prng_below(&state, SPAN_MAX_SECTORS - start);
    sample->record =
        (struct record){.kind = prng_below(&state, 4)   ? RECORD_DATA
                                : prng_below(&state, 2) ? RECORD_ZERO
                                                        : RECORD_SAME,
                        .offset_bytes = window + (uint64_t)start * SECTOR_BYTES,
                        .length_bytes = (uint64_t)sectors * SECTOR_BYTES};
    if (sample->record.kind != RECORD_DATA)
        return;
    uint32_t longest = 1u << prng_below(&state, 12);
    size_t count = 0;
    for (uint32_t at = (uint32_t)prng_below(&state, 2) % sectors; at < sectors;) {
        uint32_t n = 1 + (uint32_t)prng_below(&state, longest);
        n = MIN_OF(n, sectors - at);
        sample->pieces[count++] = (struct piece){at, n};
        sample->record.content_bytes += n * SECTOR_BYTES;
        at += n + 1 + (uint32_t)prng_below(&state, longest);
    }
    sample->record.piece_count = count;
    sample->record.pieces = sample->pieces;
    prng_fill(&state, b->content, sample->record.content_bytes);
    if (seed % 3)
        memset(b->content, 'k', sample->record.content_bytes * 3 / 4);
    add_digests(b, sample);
}

static void expect_same(const struct bench *b, const struct record *want,
                        const struct record *got)
{
    assert_int_equal(got->kind, want->kind);
    assert_int_equal(got->offset_bytes, want->offset_bytes);
    assert_int_equal(got->length_bytes, want->length_bytes);
    assert_int_equal(got->piece_count, want->piece_count);
    assert_int_equal(got->content_bytes, want->content_bytes);
    assert_int_equal(got->digest_count, want->digest_count);
    if (want->kind != RECORD_DATA)
        return;
    assert_memory_equal(got->pieces, want->pieces,
                        want->piece_count * sizeof *want->pieces);
    assert_memory_equal(got->content, b->content, want->content_bytes);
    assert_memory_equal(got->digests, want->digests, want->digest_count * DIGEST_BYTES);
}

static void test_round_trips(void **state)
{
    struct bench *b = *state;
    AUTO(free) struct sample *sample = xcalloc(1, sizeof *sample);
    for (uint64_t seed = 0; seed < 150; seed++) {
        struct record got;
        random_sample(b, seed, sample);
        assert_ok(
            segment_writer_begin(b->writer, &NAME, b->buffer, BUFFER_BYTES, &b->err),
            b->err);
        assert_ok(segment_writer_add(b->writer, &sample->record, b->packer,
                                     (enum pack_method)(seed % 3), 1, &b->err),
                  b->err);
        assert_int_equal(segment_writer_record_count(b->writer), 1);
        size_t used = segment_writer_used_bytes(b->writer);
        assert_ok(segment_writer_end(b->writer, &b->bytes, b->tag, b->salt, &b->err),
                  b->err);
        assert_int_equal(b->bytes, used + RECORD_HEADER_BYTES + SEAL_TAG_BYTES);
        assert_ok(
            segment_reader_begin(b->reader, &NAME, b->buffer, b->bytes, b->tag, &b->err),
            b->err);
        assert_ok(segment_reader_next(b->reader, b->back, &got, &b->err), b->err);
        expect_same(b, &sample->record, &got);
        assert_int_equal(got.stored_bytes, used - SEGMENT_HEADER_BYTES);
        assert_ok(segment_reader_next(b->reader, b->back, &got, &b->err), b->err);
        assert_int_equal(got.kind, RECORD_END);
        assert_false(segment_reader_next(b->reader, b->back, &got, &b->err));
        assert_int_equal(b->err.kind, FAIL_BUG);
        err_clear(&b->err);
    }
}

/* One whole MiB that does not pack, and every other sector of a MiB: the two extremes. */
static void test_extremes(void **state)
{
    struct bench *b = *state;
    struct record got;
    AUTO(free) struct sample *whole = xcalloc(1, sizeof *whole);
    AUTO(free) struct sample *comb = xcalloc(1, sizeof *comb);
    uint64_t seed = 1;
    prng_fill(&seed, b->content, RECORD_SPAN_MAX_BYTES);
    whole->pieces[0] = (struct piece){0, SPAN_MAX_SECTORS};
    whole->record = (struct record){.kind = RECORD_DATA,
                                    .offset_bytes = 7 * MIB,
                                    .length_bytes = MIB,
                                    .piece_count = 1,
                                    .pieces = whole->pieces,
                                    .content_bytes = MIB};
    add_digests(b, whole);
    comb->record = whole->record;
    comb->record.pieces = comb->pieces;
    comb->record.piece_count = SPAN_MAX_SECTORS / 2;
    comb->record.content_bytes = MIB / 2;
    for (uint32_t i = 0; i < SPAN_MAX_SECTORS / 2; i++)
        comb->pieces[i] = (struct piece){2 * i, 1};
    add_digests(b, comb);
    assert_ok(segment_writer_begin(b->writer, &NAME, b->buffer, BUFFER_BYTES, &b->err),
              b->err);
    assert_ok(
        segment_writer_add(b->writer, &whole->record, b->packer, PACK_LZ4, 1, &b->err),
        b->err);
    assert_ok(
        segment_writer_add(b->writer, &comb->record, b->packer, PACK_ZSTD, 1, &b->err),
        b->err);
    assert_ok(segment_writer_end(b->writer, &b->bytes, b->tag, b->salt, &b->err), b->err);
    assert_ok(
        segment_reader_begin(b->reader, &NAME, b->buffer, b->bytes, b->tag, &b->err),
        b->err);
    assert_ok(segment_reader_next(b->reader, b->back, &got, &b->err), b->err);
    expect_same(b, &whole->record, &got);
    assert_ok(segment_reader_next(b->reader, b->back, &got, &b->err), b->err);
    expect_same(b, &comb->record, &got);
    assert_ok(segment_reader_next(b->reader, b->back, &got, &b->err), b->err);
}

static void expect_refused(struct bench *b, const struct record *record)
{
    assert_ok(segment_writer_begin(b->writer, &NAME, b->buffer, BUFFER_BYTES, &b->err),
              b->err);
    assert_false(segment_writer_add(b->writer, record, b->packer, PACK_LZ4, 1, &b->err));
    assert_int_equal(b->err.kind, FAIL_BUG);
    assert_int_equal(segment_writer_record_count(b->writer), 0);
    err_clear(&b->err);
}

static void test_rules(void **state)
{
    struct bench *b = *state;
    struct sample *s = xcalloc(1, sizeof *s);
    s->pieces[0] = (struct piece){1, 2};
    s->pieces[1] = (struct piece){4, 1};
    s->record = (struct record){.kind = RECORD_DATA,
                                .offset_bytes = MIB - 8 * SECTOR_BYTES,
                                .length_bytes = 8 * SECTOR_BYTES,
                                .piece_count = 2,
                                .pieces = s->pieces,
                                .content_bytes = 3 * SECTOR_BYTES};
    add_digests(b, s);
    assert_null(segment_record_problem(&s->record));
    struct record bad = s->record;
    bad.offset_bytes += SECTOR_BYTES; /* crosses an aligned MiB */
    expect_refused(b, &bad);
    assert_int_equal(record_split(&bad, (struct record_block[RECORD_MAX_BLOCKS]){{0}}),
                     0);
    bad = s->record;
    bad.offset_bytes += 1;
    expect_refused(b, &bad);
    bad = s->record;
    bad.length_bytes = 4 * SECTOR_BYTES; /* last piece outside */
    expect_refused(b, &bad);
    bad = s->record;
    bad.content_bytes -= 1;
    expect_refused(b, &bad);
    bad = s->record;
    bad.digest_count++;
    expect_refused(b, &bad);
    bad = s->record;
    bad.piece_count = 0;
    expect_refused(b, &bad);
    s->pieces[1].start_sectors = 3; /* touches */
    expect_refused(b, &s->record);
    s->pieces[1] = (struct piece){0, 1}; /* descends */
    expect_refused(b, &s->record);
    s->pieces[1] = (struct piece){UINT32_MAX, 1};
    expect_refused(b, &s->record);
    s->pieces[1] = (struct piece){4, UINT32_MAX};
    expect_refused(b, &s->record);
    struct record zero = {.kind = RECORD_ZERO, .length_bytes = 0};
    expect_refused(b, &zero);
    zero.offset_bytes = UINT64_MAX - 511;
    zero.length_bytes = 1024; /* wraps */
    expect_refused(b, &zero);
    zero = (struct record){.kind = RECORD_END, .length_bytes = 512};
    expect_refused(b, &zero);
    free(s);
}

/* `fits` is exact: it says yes as long as add works, and END always has its room. */
static void test_room(void **state)
{
    struct bench *b = *state;
    uint64_t seed = 4;
    AUTO(free) struct sample *s = xcalloc(1, sizeof *s);
    prng_fill(&seed, b->content, BLOCK_BYTES);
    s->pieces[0] = (struct piece){0, 8};
    s->record = (struct record){.kind = RECORD_DATA,
                                .length_bytes = 4096,
                                .piece_count = 1,
                                .pieces = s->pieces,
                                .content_bytes = 4096};
    add_digests(b, s);
    for (size_t room = 0; room < 14000; room += 97) {
        size_t count = 0;
        struct err err = ERR_INIT;
        AUTO(free) uint8_t *exact = xcalloc(1, room);
        if (!segment_writer_begin(b->writer, &NAME, exact, room, &err)) {
            assert_true(room < 192 && err.kind == FAIL_BUG);
            continue;
        }
        while (segment_writer_fits(b->writer, 4096, 0, 1, 0)) {
            assert_ok(
                segment_writer_add(b->writer, &s->record, b->packer, PACK_LZ4, 1, &err),
                err);
            count++;
        }
        assert_int_equal(count, (room - 192) / (4096 + 48 + 16 + 16));
        assert_false(
            segment_writer_add(b->writer, &s->record, b->packer, PACK_LZ4, 1, &err));
        err_clear(&err);
        assert_ok(segment_writer_end(b->writer, &b->bytes, b->tag, b->salt, &err), err);
        assert_true(b->bytes <= room);
    }
    struct err err = ERR_INIT;
    assert_false(segment_writer_add(b->writer, &s->record, b->packer, PACK_LZ4, 1, &err));
    err_clear(&err);
    assert_false(segment_writer_end(b->writer, &b->bytes, b->tag, b->salt, &err));
    assert_false(segment_writer_fits(b->writer, 0, 0, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_extremes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rules, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_room, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
