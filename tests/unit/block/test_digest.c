/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content digest: known answers made with the openssl command line (mac GMAC, then
 * enc -aes-256-ecb, keys by dgst -mac HMAC), keyedness, and that no state stays behind.
 */
#include "check_block.h"

#include "base/text.h"
#include "block/digest.h"

static struct digester *new_digester(const struct secret *key)
{
    struct err err = ERR_INIT;
    struct digester *digester = digester_new(key, &err);
    assert_non_null(digester);
    return digester;
}

static void expect_digest(struct digester *digester, const uint8_t *data,
                          size_t data_bytes, const char *hex)
{
    struct err err = ERR_INIT;
    struct digest digest;
    char text[2 * DIGEST_BYTES + 1];
    assert_ok(digester_compute(digester, data, data_bytes, &digest, &err), err);
    text_hex(digest.bytes, DIGEST_BYTES, text);
    assert_string_equal(text, hex);
}

static void test_known_answers(void **unused)
{
    (void)unused;
    AUTO(secret_free) struct secret *key = check_key();
    AUTO(digester_free) struct digester *digester = new_digester(key);
    AUTO(free) uint8_t *block = xcalloc(1, 65536);
    for (int round = 0; round < 2; round++) {
        memset(block, 0, 65536);
        expect_digest(digester, (const uint8_t *)"abc", 3,
                      "b0e9e4e2ab55d278f75d0d11435c6a43");
        expect_digest(digester, block, 65536, "1c7cac3258bbf8d92ee803962890d5d2");
        for (size_t i = 0; i < 65536; i++)
            block[i] = (uint8_t)(i * 7 + (i >> 8));
        expect_digest(digester, block, 65536, "146b5540cc9553baf7e37efab87f3432");
    }
}

static void test_depends_on_all(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(secret_free) struct secret *key = check_key();
    AUTO(secret_free) struct secret *other_key = check_key();
    other_key->data[31] ^= 1;
    AUTO(digester_free) struct digester *digester = new_digester(key);
    AUTO(digester_free) struct digester *other = new_digester(other_key);
    uint8_t data[4096] = {0};
    struct digest plain;
    struct digest changed;
    assert_ok(digester_compute(digester, data, sizeof data, &plain, &err), err);
    assert_ok(digester_compute(other, data, sizeof data, &changed, &err), err);
    assert_false(digest_equal(&plain, &changed));
    assert_ok(digester_compute(digester, data, sizeof data - 1, &changed, &err), err);
    assert_false(digest_equal(&plain, &changed));
    for (size_t bit = 0; bit < sizeof data * 8; bit += 37) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_ok(digester_compute(digester, data, sizeof data, &changed, &err), err);
        assert_false(digest_equal(&plain, &changed));
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_bounds(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(secret_free) struct secret *key = check_key();
    AUTO(digester_free) struct digester *digester = new_digester(key);
    AUTO(free) uint8_t *data = xcalloc(1, 16 * MIB + 1);
    struct digest digest = {{0}};
    assert_true(digest_is_unknown(&digest));
    assert_false(digester_compute(digester, data, 0, &digest, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    assert_false(digester_compute(digester, data, 16 * MIB + 1, &digest, &err));
    err_clear(&err);
    assert_ok(digester_compute(digester, data, 16 * MIB, &digest, &err), err);
    assert_false(digest_is_unknown(&digest));
    AUTO(secret_free) struct secret *short_key = secret_new("0123456789abcde", 15);
    assert_null(digester_new(short_key, &err));
    assert_int_equal(err.kind, FAIL_BUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_depends_on_all),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
