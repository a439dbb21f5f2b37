/* SPDX-License-Identifier: Apache-2.0 */
/* The footer of a fixed VHD: equal to what qemu-img writes, and opened by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/crc64.h"
#include "azure/vhd.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/process.h"

#include <unistd.h>

#define DATA_BYTES (5 * MIB)
#define UNIX_S     1795327218

static char dir[] = "/tmp/kedge-vhd-XXXXXX";

static void sizes_are_rounded_up(void **state)
{
    (void)state;
    assert_int_equal(vhd_data_bytes(512), MIB);
    assert_int_equal(vhd_data_bytes(MIB), MIB);
    assert_int_equal(vhd_data_bytes(MIB + 512), 2 * MIB);
    assert_int_equal(vhd_data_bytes(8 * TIB), 8 * TIB);
}

static void a_footer_is_checked(void **state)
{
    struct err err = ERR_INIT;
    struct id id = id_random();
    uint8_t footer[VHD_FOOTER_BYTES];
    (void)state;
    vhd_footer(DATA_BYTES, &id, UNIX_S, footer);
    assert_true(vhd_footer_check(footer, DATA_BYTES, &err));
    assert_false(vhd_footer_check(footer, DATA_BYTES + MIB, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    for (size_t i = 0; i < VHD_FOOTER_BYTES; i++) {
        footer[i] ^= 1;
        if (vhd_footer_check(footer, DATA_BYTES, &err))
            fail_msg("byte %zu was changed and nobody noticed", i);
        assert_int_equal(err.kind, FAIL_CORRUPT);
        footer[i] ^= 1;
    }
}

static bool run(const char *const argv[], const char *what)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf out = {0};
    bool ok = process_run(argv, 60000, NULL, &out, &err);
    if (!ok)
        print_message("%s: %s\n", what, err.text);
    return ok;
}

static void read_footer(const char *path, uint8_t footer[VHD_FOOTER_BYTES])
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf all = {0};
    assert_true(file_read(path, 16 * MIB, &all, &err));
    assert_int_equal(all.bytes, DATA_BYTES + VHD_FOOTER_BYTES);
    memcpy(footer, all.data + DATA_BYTES, VHD_FOOTER_BYTES);
}

/* All but time stamp, checksum and id. */
static void the_footer_is_that_of_qemu_img(void **state)
{
    AUTO(free) char *theirs_path = file_join(dir, "theirs.vhd");
    struct err err = ERR_INIT;
    struct id id = id_random();
    uint8_t ours[VHD_FOOTER_BYTES], theirs[VHD_FOOTER_BYTES];
    (void)state;
    const char *const create[] = {
        "qemu-img",  "create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on",
        theirs_path, "5M",     NULL};
    if (!run(create, "qemu-img create"))
        skip();
    read_footer(theirs_path, theirs);
    assert_true(vhd_footer_check(theirs, DATA_BYTES, &err));
    vhd_footer(DATA_BYTES, &id, UNIX_S, ours);
    static const struct {
        size_t at, bytes;
    } OWN[] = {{24, 4}, {64, 4}, {68, ID_BYTES}};
    for (size_t i = 0; i < ARRAY_COUNT(OWN); i++)
        memset(ours + OWN[i].at, 0, OWN[i].bytes),
            memset(theirs + OWN[i].at, 0, OWN[i].bytes);
    assert_memory_equal(ours, theirs, VHD_FOOTER_BYTES);
}

static void qemu_img_opens_it(void **state)
{
    AUTO(free) char *raw_path = file_join(dir, "disk.raw");
    AUTO(free) char *vhd_path = file_join(dir, "disk.vhd");
    struct err err = ERR_INIT;
    struct id id = id_random();
    AUTO(buf_release) struct buf disk = {0};
    (void)state;
    for (uint32_t i = 0; i < DATA_BYTES / 4; i++)
        buf_put_u32le(&disk, i * 2654435761u);
    assert_true(file_write_durable(raw_path, disk.data, disk.bytes, 0600, &err));
    buf_reserve(&disk, VHD_FOOTER_BYTES);
    vhd_footer(DATA_BYTES, &id, UNIX_S, disk.data + disk.bytes);
    disk.bytes += VHD_FOOTER_BYTES;
    assert_true(file_write_durable(vhd_path, disk.data, disk.bytes, 0600, &err));
    const char *const there[] = {"qemu-img", "--version", NULL};
    if (!run(there, "qemu-img"))
        skip();
    const char *const compare[] = {"qemu-img", "compare", "-s",     "-f",     "raw",
                                   "-F",       "vpc",     raw_path, vhd_path, NULL};
    assert_true(run(compare, "qemu-img compare"));
    const char *const check[] = {"qemu-img", "info", "-f", "vpc", vhd_path, NULL};
    assert_true(run(check, "qemu-img info"));
}

/* Bit by bit, as the definition says. */
static uint64_t plain_crc64(const uint8_t *data, size_t data_bytes)
{
    uint64_t crc = UINT64_MAX;
    for (size_t i = 0; i < data_bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? (crc >> 1) ^ UINT64_C(0x9A6C9329AC4BC9B5) : crc >> 1;
    }
    return ~crc;
}

static void the_checksum_is_the_services(void **state)
{
    uint8_t data[100];
    (void)state;
    assert_true(crc64("123456789", 9) == UINT64_C(0xAE8B14860A799888));
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 + 11);
    for (size_t from = 0; from < 9; from++)
        for (size_t bytes = 0; bytes + from <= sizeof data; bytes++)
            assert_true(crc64(data + from, bytes) == plain_crc64(data + from, bytes));
}

static int begin_all(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int end_all(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_rounded_up),
        cmocka_unit_test(a_footer_is_checked),
        cmocka_unit_test(the_footer_is_that_of_qemu_img),
        cmocka_unit_test(qemu_img_opens_it),
        cmocka_unit_test(the_checksum_is_the_services),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
