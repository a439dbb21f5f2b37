/* SPDX-License-Identifier: Apache-2.0 */
/* The messages byte for byte, and answers whose numbers do not add up. */
#include "vsphere/nfc_frame.h"

#include "base/bytes.h"
#include "base/text.h"
#include "vsphere/https_file.h"
#include "vsphere/nfc_authd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_hex(const uint8_t *data, size_t bytes, const char *hex)
{
    char got[1024];
    assert_true(2 * bytes < sizeof got);
    text_hex(data, bytes, got);
    assert_string_equal(got, hex);
}

static void requests(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf out = {0};
    nfc_put_open_session(&out, 0, 2 * MIB, 1);
    expect_hex(out.data, out.bytes,
               "7ada00a102000000100000000000000000000000000020000100000000000000");
    buf_clear(&out);
    nfc_put_open_file(&out, 3, "[ds1] vm/vm-000007.vmdk");
    assert_int_equal(out.bytes, 16 + 60 + 23);
    expect_hex(out.data, 40,
               "7ada00a1040000003c000000030000001700000000000000000000000000000002000000"
               "1e000000");
    for (size_t i = 40; i < 76; i++)
        assert_int_equal(out.data[i], 0);
    assert_memory_equal(out.data + 76, "[ds1] vm/vm-000007.vmdk", 23);
    uint8_t io[NFC_IO_READ_BYTES];
    struct nfc_io read = {0x1122334455667788u, NFC_SKIPZ, MIB, 65536};
    nfc_put_io_read(io, 4, &read);
    expect_hex(io, sizeof io,
               "7ada00a1070000002c000000040000008877665544332211010000000300000000001000"
               "0000000000000100000000000000010000000100"
               "00000000");
}

static void classic_frames(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf out = {0};
    nfc_classic_put_handshake(&out);
    assert_int_equal(out.bytes, 264);
    assert_int_equal(nfc_classic_type(out.data), 43);
    assert_memory_equal(out.data + 4, "PlainText\0\0", 11);
    buf_clear(&out);
    nfc_classic_put_client(&out, "vddk", "nbdmode");
    assert_int_equal(out.bytes, 264 + 11);
    assert_int_equal(get_u32le(out.data), 54);
    assert_int_equal(get_u32le(out.data + 4), 4);
    assert_int_equal(get_u32le(out.data + 8), 7);
    assert_memory_equal(out.data + 264, "vddknbdmode", 11);
    buf_clear(&out);
    nfc_classic_put(&out, NFC_FEATURES, 3);
    assert_int_equal(out.bytes, 264);
    assert_int_equal(get_u32le(out.data + 4), 3);
}

static void headers(void **state)
{
    (void)state;
    struct nfc_header header;
    struct err err = ERR_INIT;
    uint8_t raw[16] = {0x7a, 0xda, 0x00, 0xa1, 7, 0, 0, 0, 44, 0, 0, 0, 9, 1, 0, 0};
    assert_true(nfc_header_parse(raw, &header, &err));
    assert_int_equal(header.type, 7);
    assert_int_equal(header.payload_bytes, 44);
    assert_int_equal(header.op_id, 265);
    put_u32le(raw + 8, NFC_PAYLOAD_MAX_BYTES + 1);
    assert_false(nfc_header_parse(raw, &header, &err));
    put_u32le(raw + 8, 44);
    raw[3] = 0xa0;
    err_clear(&err);
    assert_false(nfc_header_parse(raw, &header, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
}

static const struct nfc_fragment_bounds BOUNDS = {1 << 20, 44};

static void good_fragment(uint8_t payload[44])
{
    memset(payload, 0, 44);
    put_u32le(payload + 8, 1);
    put_u32le(payload + 12, 3);
    put_u64le(payload + 16, MIB);
    put_u32le(payload + 24, 131072);
    put_u32le(payload + 28, 65536);
    put_u32le(payload + 32, 65536);
    put_u32le(payload + 36, 8);
}

static bool parse(const uint8_t *payload, size_t bytes, struct nfc_fragment *ret)
{
    struct err err = ERR_INIT;
    bool ok = nfc_fragment_parse(payload, bytes, &BOUNDS, ret, &err);
    assert_true(ok || err.kind == FAIL_CORRUPT);
    return ok;
}

static void fragments(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
    } bad[] = {
        {12, 4},      {12, 0xffffffff}, {24, 0},      {24, 131073},     {24, 2 << 20},
        {28, 131072}, {28, 66048},      {28, 1},      {28, 0xfffffe00}, {32, 0},
        {32, 66048},  {32, 65535},      {32, 131072}, {32, 0xfffffe00}, {36, 0},
        {36, 80000},  {36, 0xffffffff},
    };
    uint8_t payload[44];
    struct nfc_fragment fragment;
    good_fragment(payload);
    assert_true(parse(payload, 44, &fragment));
    assert_int_equal(fragment.compression, NFC_SKIPZ);
    assert_int_equal(fragment.offset_bytes, 65536);
    assert_int_equal(fragment.extra_bytes, 8);
    assert_int_equal(fragment.disk_offset_bytes, MIB);
    assert_false(parse(payload, 43, &fragment));
    assert_false(parse(payload, 40, &fragment));
    assert_false(parse(payload, 0, &fragment));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        good_fragment(payload);
        put_u32le(payload + bad[i].at, bad[i].value);
        if (parse(payload, 44, &fragment))
            fail_msg("%u at %zu was taken", bad[i].value, bad[i].at);
    }
    good_fragment(payload);
    put_u32le(payload + 12, 0);
    put_u32le(payload + 36, 0xdeadbeef); /* of no meaning when it came as it is */
    assert_true(parse(payload, 44, &fragment));
    assert_int_equal(fragment.extra_bytes, 65536);
}

static void opened(void **state)
{
    (void)state;
    uint8_t payload[60] = {0};
    struct nfc_opened got;
    struct err err = ERR_INIT;
    put_u64le(payload + 8, 77);
    put_u32le(payload + 16, 2);
    put_u64le(payload + 28, 5 * TIB);
    assert_true(nfc_opened_parse(payload, 60, &got, &err));
    assert_int_equal(got.handle, 77);
    assert_int_equal(got.disk_bytes, 5 * TIB);
    assert_int_equal(got.sector_bytes, 512); /* 0 on the wire */
    put_u32le(payload + 36, 4096);
    assert_true(nfc_opened_parse(payload, 52, &got, &err));
    assert_int_equal(got.sector_bytes, 4096);
    assert_false(nfc_opened_parse(payload, 51, &got, &err));
    put_u32le(payload + 16, 3);
    err_clear(&err);
    assert_false(nfc_opened_parse(payload, 60, &got, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *payload;
        size_t bytes;
        enum err_kind kind;
    } cases[] = {
        {"\5\0\0\0Failed to allocate the requested 65560 bytes", 48, FAIL_NO_SPACE},
        {"\x0b\0\0\0", 4, FAIL_AUTH},
        {"\0\0\0\0NfcAioProcessOpenFileMsg: permission check failed", 53, FAIL_AUTH},
        {"\0\0\0\0DiskLib error 16392: Failed to lock the file", 48, FAIL_TRANSIENT},
        {"Thin/TBZ/Sparse disks cannot be opened in multiwriter mode", 58, FAIL_CONFLICT},
        {"\1\2\3", 3, FAIL_IO},
        {"", 0, FAIL_IO},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = ERR_INIT;
        struct nfc_refusal refusal = {"open 'x'", (const uint8_t *)cases[i].payload,
                                      cases[i].bytes, 0};
        assert_false(nfc_refusal_explain(&refusal, &err));
        assert_int_equal(err.kind, cases[i].kind);
        assert_non_null(strstr(err.text, "open 'x'"));
    }
    /* Text of the host reaches a person, its control characters do not. */
    struct err err = ERR_INIT;
    struct nfc_refusal refusal = {"read", (const uint8_t *)"\n\x1b[31mred\r\nalarm", 16,
                                  0};
    assert_false(nfc_refusal_explain(&refusal, &err));
    assert_null(strpbrk(err.text, "\r\n\x1b"));
}

static void thumbprints(void **state)
{
    (void)state;
    uint8_t got[20];
    assert_true(nfc_thumbprint_parse(
        "00:01:02:03:04:05:06:07:08:09:0a:0B:0c:0D:0e:0F:10:11:12:FF", got, 20));
    assert_int_equal(got[19], 0xff);
    assert_true(
        nfc_thumbprint_parse("000102030405060708090a0b0c0d0e0f101112ff", got, 20));
    assert_false(nfc_thumbprint_parse("", got, 20));
    assert_false(
        nfc_thumbprint_parse("000102030405060708090a0b0c0d0e0f101112f", got, 20));
    assert_false(
        nfc_thumbprint_parse("000102030405060708090a0b0c0d0e0f101112fff0", got, 20));
    assert_false(
        nfc_thumbprint_parse("000102030405060708090a0b0c0d0e0f101112fg", got, 20));
}

static void folder_paths(void **state)
{
    (void)state;
    static const struct {
        const char *file_name;
        const char *datacenter;
        bool is_twice;
        const char *path;
    } good[] = {
        {"[ds1] vm/vm.vmdk", "DC0", false,
         "/folder/vm/vm-flat.vmdk?dcPath=DC0&dsName=ds1"},
        {"[ds 1] a b/\xc3\xa4#?.vmdk", "", false,
         "/folder/a%20b/%C3%A4%23%3F-flat.vmdk?dcPath=ha-datacenter&dsName=ds%201"},
        {"[ds 1] a/b.vmdk", "F/DC 0", true,
         "/folder/a/b-flat.vmdk?dcPath=F%252FDC%25200&dsName=ds%25201"},
        {"[d] top.vmdk", "x", false, "/folder/top-flat.vmdk?dcPath=x&dsName=d"},
        {"[d] ../etc/x.vmdk", "x", false,
         "/folder/%2E%2E/etc/x-flat.vmdk?dcPath=x&dsName=d"},
    };
    static const char *const bad[] = {"",          "x.vmdk",    "[] a.vmdk", "[d]a.vmdk",
                                      "[d] a.iso", "[d a.vmdk", "[d] ",      "[d] .vmd"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        AUTO(buf_release) struct buf path = {0};
        struct err err = ERR_INIT;
        struct https_name name = {good[i].file_name, good[i].datacenter,
                                  good[i].is_twice};
        assert_true(https_folder_path(&name, &path, &err));
        assert_string_equal(buf_text(&path), good[i].path);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        AUTO(buf_release) struct buf path = {0};
        struct err err = ERR_INIT;
        struct https_name name = {bad[i], "DC0", false};
        assert_false(https_folder_path(&name, &path, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
    }
}

static void content_ranges(void **state)
{
    (void)state;
    assert_true(https_range_matches("bytes 512-1023/4096", 512, 512, 4096));
    assert_false(https_range_matches("bytes 0-1023/4096", 512, 512, 4096));
    assert_false(https_range_matches("bytes 512-1023/8192", 512, 512, 4096));
    assert_false(https_range_matches("bytes 512-1023/*", 512, 512, 4096));
    assert_false(https_range_matches("", 512, 512, 4096));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),       cmocka_unit_test(classic_frames),
        cmocka_unit_test(headers),        cmocka_unit_test(fragments),
        cmocka_unit_test(opened),         cmocka_unit_test(refusals),
        cmocka_unit_test(thumbprints),    cmocka_unit_test(folder_paths),
        cmocka_unit_test(content_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
