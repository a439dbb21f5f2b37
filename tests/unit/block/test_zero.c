/* SPDX-License-Identifier: Apache-2.0 */
/* Zero detection at every length, alignment and position of the one byte. */
#include "check_block.h"

#include "block/zero.h"

static void test_every_position(void **unused)
{
    (void)unused;
    for (size_t length = 0; length <= 200; length++) {
        AUTO(free) uint8_t *memory = xcalloc(1, length + 8);
        for (size_t shift = 0; shift < 8; shift++) {
            memset(memory, 0xff, length + 8);
            memset(memory + shift, 0, length); /* neighbours must not matter */
            assert_true(block_is_zero(memory + shift, length));
            for (size_t at = 0; at < length; at++) {
                memory[shift + at] = 0x80;
                assert_false(block_is_zero(memory + shift, length));
                memory[shift + at] = 0;
            }
        }
    }
}

static void test_block(void **unused)
{
    (void)unused;
    AUTO(free) uint8_t *block = xcalloc(1, 65536);
    assert_true(block_is_zero(block, 65536));
    for (size_t at = 0; at < 65536; at += 61) {
        block[at] = 1;
        assert_false(block_is_zero(block, 65536));
        block[at] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_position),
        cmocka_unit_test(test_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
