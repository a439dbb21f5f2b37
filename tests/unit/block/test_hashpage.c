/* SPDX-License-Identifier: Apache-2.0 */
/* A page of the hash map that is torn, misplaced, foreign or rotten never verifies. */
#include "check_block.h"

#include "block/hashpage.h"

static const struct id MAP = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static void fill(uint8_t page[HASHPAGE_BYTES], uint64_t seed)
{
    hashpage_init(page);
    for (size_t slot = 0; slot < HASHPAGE_DIGESTS; slot++) {
        struct digest digest;
        prng_fill(&seed, digest.bytes, DIGEST_BYTES);
        hashpage_set(page, slot, &digest);
    }
    hashpage_finish(page, &MAP, 42);
}

static void test_slots(void **unused)
{
    (void)unused;
    uint8_t page[HASHPAGE_BYTES];
    struct digest digest;
    hashpage_init(page);
    for (size_t slot = 0; slot < HASHPAGE_DIGESTS; slot++) {
        hashpage_get(page, slot, &digest);
        assert_true(digest_is_unknown(&digest));
    }
    fill(page, 3);
    uint64_t state = 3;
    for (size_t slot = 0; slot < HASHPAGE_DIGESTS; slot++) {
        struct digest want;
        prng_fill(&state, want.bytes, DIGEST_BYTES);
        hashpage_get(page, slot, &digest);
        assert_true(digest_equal(&want, &digest));
    }
}

static void test_damage(void **unused)
{
    (void)unused;
    uint8_t page[HASHPAGE_BYTES];
    uint8_t other[HASHPAGE_BYTES];
    fill(page, 3);
    assert_true(hashpage_verify(page, &MAP, 42));
    assert_false(hashpage_verify(page, &MAP, 43));
    for (size_t i = 0; i < ID_BYTES; i++) { /* each byte of the identity is bound */
        struct id map = MAP;
        map.bytes[i] ^= 1;
        assert_false(hashpage_verify(page, &map, 42));
    }
    for (size_t bit = 0; bit < HASHPAGE_BYTES * 8; bit++) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(hashpage_verify(page, &MAP, 42));
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    fill(other, 4);
    for (size_t torn = 512; torn < HASHPAGE_BYTES; torn += 512) {
        uint8_t mixed[HASHPAGE_BYTES];
        memcpy(mixed, page, torn);
        memcpy(mixed + torn, other + torn, HASHPAGE_BYTES - torn);
        assert_false(hashpage_verify(mixed, &MAP, 42));
    }
    memset(page, 0, sizeof page);
    assert_false(hashpage_verify(page, &MAP, 0));
    memset(page, 0xff, sizeof page);
    assert_false(hashpage_verify(page, &MAP, UINT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
