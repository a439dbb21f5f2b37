/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan, journal entry and manifest. Their bytes are sealed elsewhere, so here a flip may
 * decode, but only to a value that encodes to just those bytes (one form per value), and
 * a cut never decodes. Exact contents: test_golden.c.
 */
#include "check_block.h"

#include "../../golden/golden.h"

#include "base/bytes.h"

#define PLAN_AT_KIND      2
#define PLAN_AT_DISKS     3
#define PLAN_AT_CYCLE     20
#define PLAN_AT_BASE      28
#define PLAN_AT_SNAPSHOT  44
#define JOURNAL_AT_RUNS   76
#define MANIFEST_AT_COUNT 40

/* Decodes; what decodes must encode to the same bytes. */
static bool decodes(enum golden_item item, const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf again = {0};
    AUTO(plan_release) struct plan plan = {0};
    AUTO(journal_entry_release) struct journal_entry entry = {0};
    AUTO(manifest_release) struct manifest manifest = {0};
    bool ok = false;
    if (item == GOLDEN_PLAN && (ok = plan_decode(data, data_bytes, &plan, &err)))
        plan_encode(&plan, &again);
    if (item == GOLDEN_JOURNAL &&
        (ok = journal_entry_decode(data, data_bytes, &entry, &err)))
        journal_entry_encode(&entry, &again);
    if (item == GOLDEN_MANIFEST &&
        (ok = manifest_decode(data, data_bytes, &manifest, &err)))
        manifest_encode(&manifest, &again);
    if (!ok) {
        assert_int_equal(err.kind, FAIL_CORRUPT);
        return false;
    }
    assert_int_equal(again.bytes, data_bytes);
    assert_memory_equal(again.data, data, data_bytes);
    return true;
}

static void test_flips_and_cuts(void **unused)
{
    (void)unused;
    static const enum golden_item ITEMS[] = {GOLDEN_PLAN, GOLDEN_JOURNAL,
                                             GOLDEN_MANIFEST};
    for (size_t i = 0; i < ARRAY_COUNT(ITEMS); i++) {
        struct err err = ERR_INIT;
        AUTO(buf_release) struct buf raw = {0};
        assert_ok(golden_make(ITEMS[i], &raw, &err), err);
        assert_true(decodes(ITEMS[i], raw.data, raw.bytes));
        for (size_t bit = 0; bit < raw.bytes * 8; bit++) {
            raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            (void)decodes(ITEMS[i], raw.data, raw.bytes);
            raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t cut = 0; cut < raw.bytes; cut++) {
            AUTO(free) uint8_t *exact = xcalloc(1, cut);
            memcpy(exact, raw.data, cut);
            assert_false(decodes(ITEMS[i], exact, cut));
        }
        buf_put_u8(&raw, 0);
        assert_false(decodes(ITEMS[i], raw.data, raw.bytes));
    }
}

static void make(enum golden_item item, struct buf *raw)
{
    struct err err = ERR_INIT;
    buf_clear(raw);
    assert_ok(golden_make(item, raw, &err), err);
}

static void test_hostile_plan(void **unused)
{
    (void)unused;
    AUTO(buf_release) struct buf raw = {0};
    make(GOLDEN_PLAN, &raw);
    raw.data[PLAN_AT_KIND] = 0;
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));
    raw.data[PLAN_AT_KIND] = 5;
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));
    make(GOLDEN_PLAN, &raw);
    raw.data[PLAN_AT_DISKS] = 255;
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));
    raw.data[PLAN_AT_DISKS] = 1;
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));
    make(GOLDEN_PLAN, &raw);
    put_u64le(raw.data + PLAN_AT_CYCLE, 0);
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));
    make(GOLDEN_PLAN, &raw);
    put_u64le(raw.data + PLAN_AT_BASE, 5); /* builds on itself */
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));
    make(GOLDEN_PLAN, &raw);
    put_u16le(raw.data + PLAN_AT_SNAPSHOT, SNAPSHOT_MAX);
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));
    make(GOLDEN_PLAN, &raw);
    raw.data[PLAN_AT_SNAPSHOT + 2 + 3] = 0; /* text with a NUL inside */
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));

    AUTO(plan_release) struct plan plan = {0};
    golden_plan(&plan);
    plan.disks[1].disk = plan.disks[0].disk; /* one disk twice */
    buf_clear(&raw);
    plan_encode(&plan, &raw);
    assert_false(decodes(GOLDEN_PLAN, raw.data, raw.bytes));
}

static void test_hostile_lists(void **unused)
{
    (void)unused;
    AUTO(buf_release) struct buf raw = {0};
    make(GOLDEN_JOURNAL, &raw);
    raw.data[JOURNAL_AT_RUNS] = 0x7f; /* more runs than bytes */
    assert_false(decodes(GOLDEN_JOURNAL, raw.data, raw.bytes));
    for (uint64_t count = 0; count < 64; count++) {
        make(GOLDEN_MANIFEST, &raw);
        put_u64le(raw.data + MANIFEST_AT_COUNT, (uint64_t)1 << count);
        assert_int_equal(decodes(GOLDEN_MANIFEST, raw.data, raw.bytes), count == 1);
    }
    AUTO(manifest_release) struct manifest manifest = {0};
    golden_manifest(&manifest);
    manifest_add(&manifest, &manifest.segments[0]); /* one segment twice */
    buf_clear(&raw);
    manifest_encode(&manifest, &raw);
    assert_false(decodes(GOLDEN_MANIFEST, raw.data, raw.bytes));
}

static void test_random_journals(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t state = seed;
        AUTO(journal_entry_release)
        struct journal_entry entry = {
            .disk_index = (uint32_t)prng_below(&state, CYCLE_MAX_DISKS),
            .seq = (uint32_t)prng_next(&state),
            .segment_bytes = prng_below(&state, SEGMENT_MAX_BYTES + 1)};
        for (size_t i = prng_below(&state, 100); i > 0; i--) {
            struct digest digest;
            uint64_t start = prng_below(&state, 1ull << 52) * SECTOR_BYTES;
            extents_add(&entry.covered, start,
                        start + (1 + prng_below(&state, 1u << 20)) * SECTOR_BYTES);
            prng_fill(&state, digest.bytes, DIGEST_BYTES);
            journal_entry_add_block(&entry, prng_next(&state) >> 18, &digest);
        }
        AUTO(buf_release) struct buf raw = {0};
        journal_entry_encode(&entry, &raw);
        assert_true(decodes(GOLDEN_JOURNAL, raw.data, raw.bytes));
    }
}

static void test_kind_names(void **unused)
{
    (void)unused;
    assert_string_equal(cycle_kind_name(CYCLE_INITIAL), "initial");
    assert_string_equal(cycle_kind_name(CYCLE_DELTA), "delta");
    assert_string_equal(cycle_kind_name(CYCLE_ON_DEMAND), "on-demand");
    assert_string_equal(cycle_kind_name(CYCLE_RESYNC), "resync");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips_and_cuts), cmocka_unit_test(test_hostile_plan),
        cmocka_unit_test(test_hostile_lists),  cmocka_unit_test(test_random_journals),
        cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
