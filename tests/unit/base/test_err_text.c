/* SPDX-License-Identifier: Apache-2.0 */
/* base/err, base/text and base/id: what is accepted, what is refused, what people read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/id.h"
#include "base/text.h"

#include <errno.h>

#define REFUSES(call)                                                                    \
    do {                                                                                 \
        struct err refused = ERR_INIT;                                                   \
        if (call)                                                                        \
            fail_msg("accepted: %s", #call);                                             \
        assert_int_equal(refused.kind, FAIL_INPUT);                                      \
    } while (0)

static void kinds_have_names_and_back(void **state)
{
    (void)state;
    for (int i = FAIL_NONE; i <= FAIL_BUG; i++) {
        enum err_kind kind = (enum err_kind)i;
        assert_non_null(err_kind_name(kind));
        assert_int_equal(err_kind_from_name(err_kind_name(kind)), kind);
        assert_int_equal(err_kind_exit_code(kind) == 0, kind == FAIL_NONE);
        assert_in_range(err_kind_http_status(kind), 200, 599);
        assert_int_equal(err_kind_http_status(kind) == 200, kind == FAIL_NONE);
    }
    assert_int_equal(err_kind_from_name("no such"), FAIL_BUG);
    assert_int_equal(err_kind_from_name(NULL), FAIL_BUG);
}

static void errno_decides_what_to_do_next(void **state)
{
    (void)state;
    static const struct {
        int value;
        enum err_kind kind;
    } CASES[] = {
        {ENOSPC, FAIL_NO_SPACE},    {EDQUOT, FAIL_NO_SPACE},
        {ENOENT, FAIL_GONE},        {EACCES, FAIL_AUTH},
        {EPERM, FAIL_AUTH},         {EEXIST, FAIL_CONFLICT},
        {EAGAIN, FAIL_TRANSIENT},   {ECONNREFUSED, FAIL_TRANSIENT},
        {EMFILE, FAIL_TRANSIENT},   {EIO, FAIL_IO},
        {ECANCELED, FAIL_CANCELED}, {EINVAL, FAIL_INPUT},
        {999999, FAIL_IO},
    };
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct err err = ERR_INIT;
        assert_false(err_errno(&err, CASES[i].value, "open '%s'", "x"));
        assert_int_equal(err.kind, CASES[i].kind);
        assert_int_equal(err.sys_errno, CASES[i].value);
        assert_true(text_starts_with(err.text, "open 'x': "));
    }
    struct err err = ERR_INIT;
    assert_false(err_errno(&err, ENOSPC, "write"));
    assert_non_null(strstr(err.text, "; free space"));
}

static void wrap_and_hint(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_false(err_errno(&err, ENOENT, "open"));
    assert_false(err_wrap(&err, "disk %d", 7));
    assert_string_equal(err.text, "disk 7: open: No such file or directory");
    assert_int_equal(err.kind, FAIL_GONE);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_false(err_hint(&err, "mount %s", "it"));
    assert_false(err_hint(&err, "one is enough"));
    assert_string_equal(err.text, "disk 7: open: No such file or directory; mount it");
    err_clear(&err);
    assert_int_equal(err.kind, FAIL_NONE);
}

static void long_texts_are_cut_not_overrun(void **state)
{
    (void)state;
    char text[3 * ERR_TEXT_BYTES];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    struct err err = ERR_INIT;
    assert_false(err_set(&err, FAIL_IO, "%s", text));
    assert_int_equal(strlen(err.text), ERR_TEXT_BYTES - 1);
    for (int i = 0; i < 5; i++)
        assert_false(err_wrap(&err, "%s", text));
    assert_int_equal(strlen(err.text), ERR_TEXT_BYTES - 1);
    assert_false(err_hint(&err, "%s", text));
    assert_int_equal(strlen(err.text), ERR_TEXT_BYTES - 1);
    assert_false(err_errno(&err, EIO, "%s", text));
    assert_true(strlen(err.text) < ERR_TEXT_BYTES);
    assert_non_null(strstr(err.text, "Input/output error")); /* the reason is kept */
}

static void whole_numbers(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    uint64_t v = 7;
    assert_true(text_parse_u64("0", 0, 10, &v, &err));
    assert_int_equal(v, 0);
    assert_true(text_parse_u64("18446744073709551615", 0, UINT64_MAX, &v, &err));
    assert_true(v == UINT64_MAX);
    static const char *const BAD[] = {"",
                                      " 1",
                                      "1 ",
                                      "-1",
                                      "+1",
                                      "0x10",
                                      "1.",
                                      "1e3",
                                      "18446744073709551616",
                                      "99999999999999999999999",
                                      "\n1",
                                      "one"};
    v = 7;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        REFUSES(text_parse_u64(BAD[i], 0, UINT64_MAX, &v, &refused));
    REFUSES(text_parse_u64("9", 10, 20, &v, &refused));
    REFUSES(text_parse_u64("21", 10, 20, &v, &refused));
    assert_int_equal(v, 7); /* set on success only */
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } GOOD[] = {{"65536", 65536},  {"64K", 65536},
                {"64k", 65536},    {"8M", 8 * MIB},
                {"8MiB", 8 * MIB}, {"8MB", 8 * MIB},
                {"3G", 3 * GIB},   {"16777215T", 16777215 * TIB},
                {"0", 0}};
    for (size_t i = 0; i < ARRAY_COUNT(GOOD); i++) {
        struct err err = ERR_INIT;
        uint64_t v = 1;
        if (!text_parse_size(GOOD[i].text, 0, UINT64_MAX, &v, &err))
            fail_msg("%s", err.text);
        assert_true(v == GOOD[i].bytes);
    }
    static const char *const BAD[] = {"",    "K",   "1.5G", "8 M",       "8X",  "8MM",
                                      "-8M", "8Mi", "8b",   "16777216T", "8M ", "8MiBs"};
    uint64_t v = 0;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        REFUSES(text_parse_size(BAD[i], 0, UINT64_MAX, &v, &refused));
    REFUSES(text_parse_size("8M", 0, 8 * MIB - 1, &v, &refused));
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } GOOD[] = {{"0", 0},        {"250ms", 250},      {"90s", 90000},
                {"15m", 900000}, {"1d7h", 111600000}, {"1m1ms", 60001},
                {"0s", 0},       {"2h0m", 7200000}};
    for (size_t i = 0; i < ARRAY_COUNT(GOOD); i++) {
        struct err err = ERR_INIT;
        uint64_t ms = 1;
        if (!text_parse_duration_ms(GOOD[i].text, &ms, &err))
            fail_msg("%s", err.text);
        assert_int_equal(ms, GOOD[i].ms);
    }
    static const char *const BAD[] = {
        "",   "5",    "s",   "5 s",   "-5s",           "1.5h",
        "5S", "5sec", "5s ", "1h 2m", "213503982335d", "99999999999999999999s"};
    uint64_t ms = 0;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        REFUSES(text_parse_duration_ms(BAD[i], &ms, &refused));
}

static void booleans_and_names(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    bool v = false;
    assert_true(text_parse_bool("yes", &v, &err) && v);
    assert_true(text_parse_bool("0", &v, &err) && !v);
    REFUSES(text_parse_bool("", &v, &refused));
    REFUSES(text_parse_bool("YES", &v, &refused));
    REFUSES(text_parse_bool("2", &v, &refused));
    char long_name[65];
    memset(long_name, 'n', 64);
    long_name[64] = 0;
    assert_true(text_check_name("machine", long_name + 1, &err)); /* 63 */
    assert_true(text_check_name("machine", "a", &err));
    assert_true(text_check_name("machine", "0.db-1_x", &err));
    const char *const bad[] = {"",   ".a",  "-a",  "_a",       "a b", "a/b",
                               "..", "a\n", "a'b", "\xc3\xa4", "a*",  long_name};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        REFUSES(text_check_name("machine", bad[i], &refused));
}

static void hex_and_ids(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct id id = id_random(), again, other = id_random(), zero = {{0}};
    char text[ID_TEXT_BYTES];
    assert_true(id_parse(id_text(&id, text), &again, &err));
    assert_true(id_equal(&id, &again));
    assert_false(id_equal(&id, &other));
    assert_false(id_is_zero(&id));
    assert_true(id_is_zero(&zero));
    assert_true(id_parse("00FFaa0000000000000000000000007f", &again, &err));
    assert_string_equal(id_text(&again, text), "00ffaa0000000000000000000000007f");
    static const char *const BAD[] = {"",
                                      "00",
                                      "00ffaa0000000000000000000000007",
                                      "00ffaa0000000000000000000000007f0",
                                      "11ffaa0000000000000000000000007g",
                                      "11ffaa000000000000000000000000-1"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        REFUSES(id_parse(BAD[i], &zero, &refused));
    assert_true(id_is_zero(&zero)); /* set on success only */
}

static void for_people(void **state)
{
    (void)state;
    char out[TEXT_HUMAN_BYTES];
    assert_string_equal(text_bytes(0, out), "0 B");
    assert_string_equal(text_bytes(1023, out), "1023 B");
    assert_string_equal(text_bytes(1536, out), "1.5 KiB");
    assert_string_equal(text_bytes(64 * TIB, out), "64.0 TiB");
    assert_string_equal(text_bytes(UINT64_MAX, out), "16384.0 PiB");
    assert_string_equal(text_duration(0, out), "0.0s");
    assert_string_equal(text_duration(45000, out), "45s");
    assert_string_equal(text_duration(62000, out), "1m 02s");
    assert_string_equal(text_duration(3720000, out), "1h 02m");
    assert_true(strlen(text_duration(UINT64_MAX, out)) < TEXT_HUMAN_BYTES);
    char four[4];
    text_copy(four, sizeof four, "abcdef");
    assert_string_equal(four, "abc");
    assert_true(text_ends_with("a.tmp", ".tmp"));
    assert_false(text_ends_with("tmp", ".tmp"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_have_names_and_back),
        cmocka_unit_test(errno_decides_what_to_do_next),
        cmocka_unit_test(wrap_and_hint),
        cmocka_unit_test(long_texts_are_cut_not_overrun),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(booleans_and_names),
        cmocka_unit_test(hex_and_ids),
        cmocka_unit_test(for_people),
    };
    return cmocka_run_group_tests_name("err_text", tests, NULL, NULL);
}
