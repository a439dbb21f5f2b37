/* SPDX-License-Identifier: Apache-2.0 */
/* Object names are part of the format: sealed objects are bound to them, settling finds
 * cycles by them. */
#include "block/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define HEX "0102030405060708090a0b0c0d0e0f10"

static const struct id MACHINE = {
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static void names_are_as_documented(void **state)
{
    char name[NAMES_MAX];
    uint8_t salt[SEGMENT_SALT_BYTES] = {0xab, 0xcd, 0, 0, 0, 0, 0, 0xef, 0x99};
    (void)state;
    name_replica(&MACHINE, name);
    assert_string_equal(name, HEX "/replica");
    name_cycle_prefix(&MACHINE, 7, name);
    assert_string_equal(name, HEX "/0000000000000007/");
    name_plan(&MACHINE, 7, name);
    assert_string_equal(name, HEX "/0000000000000007/plan");
    name_manifest(&MACHINE, 7, name);
    assert_string_equal(name, HEX "/0000000000000007/manifest");
    name_journal_prefix(&MACHINE, 7, name);
    assert_string_equal(name, HEX "/0000000000000007/journal/");
    name_journal(&MACHINE, 7, 63, UINT32_MAX, name);
    assert_string_equal(name, HEX "/0000000000000007/journal/63-4294967295");
    name_segment(&MACHINE, 7, 0, 12, salt, name);
    assert_string_equal(name, HEX "/0000000000000007/seg/00-0000000012-abcd0000000000ef");
}

static void byte_order_is_cycle_order(void **state)
{
    static const uint64_t CYCLES[] = {1, 9, 10, 99, 100, 1000000, 9999999999999999u};
    char before[NAMES_MAX] = "", name[NAMES_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CYCLES); i++) {
        uint64_t cycle = 0;
        name_plan(&MACHINE, CYCLES[i], name);
        assert_true(strcmp(before, name) < 0);
        assert_true(name_parse_cycle(&MACHINE, name, &cycle));
        assert_int_equal(cycle, CYCLES[i]);
        memcpy(before, name, sizeof before);
    }
}

static void other_shapes_are_no_cycles(void **state)
{
    static const char *const OTHERS[] = {
        "",
        "/",
        HEX,
        HEX "/",
        HEX "/replica",
        HEX "/0000000000000007",
        HEX "/000000000000007/plan",
        HEX "/00000000000000007/plan",
        HEX "/000000000000000x/plan",
        HEX "/-000000000000007/plan",
        HEX "0/000000000000007/plan",
        "1" HEX "/0000000000000007/plan",
        "ff02030405060708090a0b0c0d0e0f10/0000000000000007/plan", /* another machine's */
        "../" HEX "/0000000000000007/plan",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(OTHERS); i++) {
        uint64_t cycle = 42;
        if (name_parse_cycle(&MACHINE, OTHERS[i], &cycle))
            fail_msg("'%s' passed", OTHERS[i]);
        assert_int_equal(cycle, 42);
    }
}

static void replica_state_has_one_form(void **state)
{
    struct replica_state one = {.machine = MACHINE,
                                .recovery_point = 0x0102030405060708,
                                .recovery_wall_ms = 2,
                                .applying = 3,
                                .doubt = 0x8000000000000000};
    struct replica_state back = {0};
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf bytes = {0};
    (void)state;
    replica_state_encode(&one, &bytes);
    assert_int_equal(bytes.bytes, 56);
    assert_memory_equal(bytes.data, "KDGRST01", 8);
    assert_memory_equal(bytes.data + 8, MACHINE.bytes, ID_BYTES);
    assert_memory_equal(bytes.data + 24, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_true(replica_state_decode(bytes.data, bytes.bytes, &back, &err));
    assert_memory_equal(&back, &one, sizeof one);
    for (size_t cut = 0; cut < 56; cut++) {
        err_clear(&err);
        assert_false(replica_state_decode(bytes.data, cut, &back, &err));
        assert_int_equal(err.kind, FAIL_CORRUPT);
    }
    buf_put_u8(&bytes, 0);
    err_clear(&err);
    assert_false(replica_state_decode(bytes.data, 57, &back, &err));
    bytes.data[0] ^= 1;
    err_clear(&err);
    assert_false(replica_state_decode(bytes.data, 56, &back, &err));
}

static void sum_tells_lists_apart_in_any_order(void **state)
{
    struct manifest_segment s[3] = {
        {.seq = 1, .tag = {1}}, {.seq = 2, .tag = {2}}, {.disk_index = 1, .tag = {3}}};
    struct manifest_sum a = {0}, b = {0};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        manifest_sum_add(&a, &s[i]);
        manifest_sum_add(&b, &s[2 - i]);
    }
    assert_memory_equal(&a, &b, sizeof a);
    b = (struct manifest_sum){0};
    for (size_t i = 0; i < 3; i++)
        manifest_sum_add(&b, &s[i == 2 ? 1 : i]); /* one twice, one missing */
    assert_memory_not_equal(&a, &b, sizeof a);
    b = (struct manifest_sum){0};
    s[0].disk_index = 1; /* the same segment of another disk */
    for (size_t i = 0; i < 3; i++)
        manifest_sum_add(&b, &s[i]);
    assert_memory_not_equal(&a, &b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_as_documented),
        cmocka_unit_test(byte_order_is_cycle_order),
        cmocka_unit_test(other_shapes_are_no_cycles),
        cmocka_unit_test(replica_state_has_one_form),
        cmocka_unit_test(sum_tells_lists_apart_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
