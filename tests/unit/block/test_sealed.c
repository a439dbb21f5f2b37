/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed objects: nothing but the exact bytes under the exact name opens. */
#include "check_block.h"

#include "block/sealed_format.h"

#define CONTEXT "machine 5 journal 17"

static bool opens(const struct secret *key, enum sealed_kind kind, const char *context,
                  const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf payload = {0};
    buf_append_text(&payload, "before");
    bool ok = sealed_decode(key, kind, context, data, data_bytes, &payload, &err);
    if (!ok) {
        assert_int_equal(err.kind, FAIL_CORRUPT);
        assert_string_equal(buf_text(&payload), "before");
    }
    return ok;
}

static void seal(const struct secret *key, const char *text, struct buf *out)
{
    struct err err = ERR_INIT;
    assert_ok(sealed_encode(key, SEALED_JOURNAL, CONTEXT, (const uint8_t *)text,
                            strlen(text), out, &err),
              err);
}

static void test_round_trip(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(secret_free) struct secret *key = check_key();
    for (size_t bytes = 0; bytes < 300; bytes += 7) {
        uint64_t state = bytes;
        uint8_t payload[300];
        prng_fill(&state, payload, bytes);
        AUTO(buf_release) struct buf raw = {0};
        AUTO(buf_release) struct buf back = {0};
        buf_put_u8(&raw, 9); /* both append */
        buf_put_u8(&back, 8);
        assert_ok(sealed_encode(key, SEALED_PLAN, CONTEXT, payload, bytes, &raw, &err),
                  err);
        assert_int_equal(raw.bytes, 1 + SEALED_HEADER_BYTES + bytes + 16);
        assert_ok(sealed_decode(key, SEALED_PLAN, CONTEXT, raw.data + 1, raw.bytes - 1,
                                &back, &err),
                  err);
        assert_int_equal(back.bytes, bytes + 1);
        assert_int_equal(back.data[0], 8);
        assert_memory_equal(back.data + 1, payload, bytes);
    }
}

static void test_every_flip_and_cut(void **unused)
{
    (void)unused;
    AUTO(secret_free) struct secret *key = check_key();
    AUTO(buf_release) struct buf raw = {0};
    seal(key, "what was acknowledged", &raw);
    assert_true(opens(key, SEALED_JOURNAL, CONTEXT, raw.data, raw.bytes));
    for (size_t bit = 0; bit < raw.bytes * 8; bit++) {
        raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(opens(key, SEALED_JOURNAL, CONTEXT, raw.data, raw.bytes));
        raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < raw.bytes; cut++) {
        AUTO(free) uint8_t *exact = xcalloc(1, cut);
        memcpy(exact, raw.data, cut);
        assert_false(opens(key, SEALED_JOURNAL, CONTEXT, exact, cut));
    }
    buf_put_u8(&raw, 0);
    assert_false(opens(key, SEALED_JOURNAL, CONTEXT, raw.data, raw.bytes));
}

static void test_wrong_place(void **unused)
{
    (void)unused;
    AUTO(secret_free) struct secret *key = check_key();
    AUTO(secret_free) struct secret *other_key = check_key();
    other_key->data[0] ^= 0x80;
    AUTO(buf_release) struct buf raw = {0};
    seal(key, "x", &raw);
    assert_false(opens(other_key, SEALED_JOURNAL, CONTEXT, raw.data, raw.bytes));
    assert_false(opens(key, SEALED_PLAN, CONTEXT, raw.data, raw.bytes));
    assert_false(opens(key, SEALED_JOURNAL, "machine 5 journal 18", raw.data, raw.bytes));
    assert_false(opens(key, SEALED_JOURNAL, "machine 5 journal 1", raw.data, raw.bytes));
    assert_false(opens(key, SEALED_JOURNAL, "", raw.data, raw.bytes));
    raw.data[SEALED_AT_KIND] = SEALED_PLAN; /* relabelled: the seal covers the header */
    assert_false(opens(key, SEALED_PLAN, CONTEXT, raw.data, raw.bytes));
}

static void test_fresh_salt(void **unused)
{
    (void)unused;
    AUTO(secret_free) struct secret *key = check_key();
    AUTO(buf_release) struct buf a = {0};
    AUTO(buf_release) struct buf b = {0};
    seal(key, "same", &a);
    seal(key, "same", &b);
    assert_memory_not_equal(a.data + SEALED_AT_SALT, b.data + SEALED_AT_SALT, 32);
    assert_memory_not_equal(a.data + SEALED_HEADER_BYTES, b.data + SEALED_HEADER_BYTES,
                            4 + 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_flip_and_cut),
        cmocka_unit_test(test_wrong_place),
        cmocka_unit_test(test_fresh_salt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
