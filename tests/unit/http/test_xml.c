/* SPDX-License-Identifier: Apache-2.0 */
/* XML from outside: walked in any manner, hostile in every way; and what we write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/xml.h"

static struct xml_reader *open_text(const char *text, struct err *err)
{
    return xml_reader_open("test", text, strlen(text), err);
}

/* "a(b c(d))" of the names, by loops in loops. */
static void outline(struct xml_reader *reader, struct buf *out)
{
    struct err err = ERR_INIT;
    buf_append_text(out, xml_name(reader));
    bool is_first = true;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, &err);) {
        buf_append_text(out, is_first ? "(" : " ");
        is_first = false;
        outline(reader, out);
    }
    if (!is_first)
        buf_append_text(out, ")");
}

static void test_walks_all_forms_of_elements(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"<a/>", "a"},
        {"<a></a>", "a"},
        {"<?xml version='1.0'?><!-- x --><a>t<b/>t<c><d/></c>t</a>", "a(b c(d))"},
        {"<a><b><c/></b><b></b><d/></a>", "a(b(c) b d)"},
        {"<x:a xmlns:x='u'><x:b/><c xmlns='v'/></x:a>", "a(b c)"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = ERR_INIT;
        AUTO(xml_reader_close) struct xml_reader *reader = open_text(cases[i][0], &err);
        assert_non_null(reader);
        AUTO(buf_release) struct buf out = {0};
        outline(reader, &out);
        assert_false(xml_failed(reader));
        assert_string_equal(buf_text(&out), cases[i][1]);
    }
}

static void test_skips_what_was_not_read(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(xml_reader_close)
    struct xml_reader *reader = open_text(
        "<a><b><c><d/></c>text</b><e>1</e><f><g>2</g><h/></f><i>3</i></a>", &err);
    struct buf seen = {0};
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, &err);) {
        buf_append_text(&seen, xml_name(reader));
        if (xml_is(reader, "e") || xml_is(reader, "i"))
            assert_true(xml_text(reader, 10, &seen, &err));
        if (xml_is(reader, "f")) { /* one child of two, then on */
            struct xml_mark inner = xml_mark(reader);
            assert_true(xml_next(reader, &inner, &err));
            assert_true(xml_text(reader, 10, &seen, &err));
        }
    }
    assert_string_equal(buf_text(&seen), "be1f2i3");
    buf_release(&seen);
}

static void test_names_and_attributes_by_namespace(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(xml_reader_close)
    struct xml_reader *reader = open_text(
        "<v xmlns:_XMLSchema-instance='" XML_XSI "' xmlns='urn:vim25' "
        "_XMLSchema-instance:type='xsd:string' type='VirtualMachine' long='0123456789'/>",
        &err);
    char out[16];
    assert_string_equal(xml_namespace(reader), "urn:vim25");
    assert_true(xml_attribute(reader, XML_XSI, "type", out, sizeof out));
    assert_string_equal(out, "xsd:string");
    assert_true(xml_attribute(reader, NULL, "type", out, sizeof out));
    assert_string_equal(out, "VirtualMachine");
    assert_false(xml_attribute(reader, NULL, "long", out, 10));
    assert_true(xml_attribute(reader, NULL, "long", out, 11));
    assert_false(xml_attribute(reader, NULL, "none", out, sizeof out));
}

static void test_text_is_decoded_and_bounded(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(xml_reader_close)
    struct xml_reader *reader = open_text(
        "<a>&lt;&amp;&#x65E5;<!-- c -->\xc3\xa9<![CDATA[<b>]]><?pi x?> </a>", &err);
    AUTO(buf_release) struct buf text = {0};
    assert_true(xml_text(reader, 100, &text, &err));
    assert_string_equal(buf_text(&text), "<&\xe6\x97\xa5\xc3\xa9<b> ");

    AUTO(xml_reader_close)
    struct xml_reader *longer = open_text("<a>0123456789</a>", &err);
    buf_clear(&text);
    assert_false(xml_text(longer, 9, &text, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);

    err_clear(&err);
    AUTO(xml_reader_close) struct xml_reader *child = open_text("<a>x<b/></a>", &err);
    assert_false(xml_text(child, 9, &text, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    assert_true(xml_failed(child));
}

static void test_refuses_hostile_documents(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err_kind kind;
    } cases[] = {
        {"", FAIL_CORRUPT},
        {"   ", FAIL_CORRUPT},
        {"<a>", FAIL_CORRUPT},
        {"<a><b></a></b>", FAIL_CORRUPT},
        {"<a>\xff\xfe</a>", FAIL_CORRUPT},
        {"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", FAIL_CORRUPT},
        {"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", FAIL_CORRUPT},
        {"<a>&x;</a>", FAIL_CORRUPT},
        {"<a b='1' b='2'/>", FAIL_CORRUPT},
        {"{\"error\": 1}", FAIL_CORRUPT},
        {"<html><body>503<br></body></html>", FAIL_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = ERR_INIT;
        AUTO(xml_reader_close) struct xml_reader *reader = open_text(cases[i].text, &err);
        if (reader) {
            struct xml_mark mark = xml_mark(reader);
            while (xml_next(reader, &mark, &err))
                continue;
            assert_int_equal(xml_failed(reader), err.kind != FAIL_NONE);
        }
        assert_int_equal(err.kind, cases[i].kind);
    }
}

/* "<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>" where only a decoder would see it. */
static void test_refuses_other_encodings(void **state)
{
    (void)state;
    static const char utf7[] = "<?xml version='1.0' encoding='UTF-7'?>+ADwAIQ-DOCTYPE a "
                               "[+ADwAIQ-ENTITY x 'y'>]><a>&x;</a>";
    static const char latin[] = "<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>";
    static const char declared[] =
        "<?xml version='1.0' encoding='UTF-16'?><a>\xc3\xa9</a>"; /* is UTF-8 */
    static const char ebcdic[] = "\x4c\x6f\xa7\x94\x93";
    uint8_t utf16[2 * sizeof utf7 + 2] = {0xff, 0xfe};
    for (size_t i = 0; i < sizeof utf7 - 1; i++)
        utf16[2 + 2 * i] = (uint8_t)utf7[i];
    const struct {
        const void *data;
        size_t data_bytes;
        bool is_fine;
    } cases[] = {
        {utf7, sizeof utf7 - 1, false},
        {latin, sizeof latin - 1, false},
        {declared, sizeof declared - 1, true},
        {ebcdic, sizeof ebcdic - 1, false},
        {utf16, sizeof utf16 - 2, false},
        {utf16 + 2, sizeof utf16 - 4, false},
        {"\xef\xbb\xbf<a/>", 7, true},
        {"\xef\xbb\xbf", 3, false},
        {"<a>\0</a>", 8, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = ERR_INIT;
        AUTO(buf_release) struct buf text = {0};
        AUTO(xml_reader_close)
        struct xml_reader *reader =
            xml_reader_open("test", cases[i].data, cases[i].data_bytes, &err);
        bool ok = reader && xml_text(reader, 100, &text, &err);
        assert_int_equal(ok, cases[i].is_fine);
        assert_int_equal(err.kind, ok ? FAIL_NONE : FAIL_CORRUPT);
    }
}

static void test_depth_and_size_are_bounded(void **state)
{
    (void)state;
    for (int depth = XML_MAX_DEPTH; depth <= XML_MAX_DEPTH + 2; depth += 2) {
        AUTO(buf_release) struct buf text = {0};
        for (int i = 0; i < depth; i++)
            buf_append_text(&text, "<a>");
        for (int i = 0; i < depth; i++)
            buf_append_text(&text, "</a>");
        struct err err = ERR_INIT;
        AUTO(xml_reader_close)
        struct xml_reader *reader = open_text(buf_text(&text), &err);
        struct xml_mark mark = xml_mark(reader);
        assert_true(xml_next(reader, &mark, &err));
        assert_false(xml_next(reader, &mark, &err));
        assert_int_equal(err.kind, depth > XML_MAX_DEPTH ? FAIL_LIMIT : FAIL_NONE);
        assert_false(xml_next(reader, &mark, &err)); /* and stays so */
    }
    struct err err = ERR_INIT;
    assert_null(xml_reader_open("test", "<a/>", XML_MAX_BYTES + 1, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
}

static void test_every_truncation_fails_or_ends(void **state)
{
    (void)state;
    static const char whole[] =
        "<a x='1'><b>t&amp;</b><c><![CDATA[z]]></c><!-- e --></a>";
    for (size_t bytes = 0; bytes < sizeof whole - 1; bytes++) {
        /* In memory of its own, so that reading past the end is seen. */
        AUTO(free) char *part = xcalloc(bytes + 1, 1);
        memcpy(part, whole, bytes);
        struct err err = ERR_INIT;
        AUTO(xml_reader_close)
        struct xml_reader *reader = xml_reader_open("test", part, bytes, &err);
        if (!reader) {
            assert_int_equal(err.kind, FAIL_CORRUPT);
            continue;
        }
        struct xml_mark mark = xml_mark(reader);
        while (xml_next(reader, &mark, &err))
            continue;
        assert_int_equal(err.kind, FAIL_CORRUPT);
    }
}

static void test_written_text_comes_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "plain",
        "<a>&\"'</a>",
        "]]>",
        "tab\tnew\nline\rend",
        " \n ",
        "\xe6\x97\xa5",
        "",
        "&lt;",
        "\xf0\x9f\x98\x80",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        AUTO(buf_release) struct buf out = {0};
        struct xml_writer writer = {.out = &out};
        xml_start(&writer, "a");
        xml_put_attribute(&writer, "b", texts[i]);
        xml_end_start(&writer);
        xml_put_text(&writer, texts[i], strlen(texts[i]));
        xml_end(&writer, "a");
        struct err err = ERR_INIT;
        assert_true(xml_writer_check(&writer, "test", &err));
        AUTO(xml_reader_close)
        struct xml_reader *reader = open_text(buf_text(&out), &err);
        char attribute[64];
        assert_true(xml_attribute(reader, NULL, "b", attribute, sizeof attribute));
        assert_string_equal(attribute, texts[i]);
        AUTO(buf_release) struct buf text = {0};
        assert_true(xml_text(reader, 100, &text, &err));
        assert_string_equal(buf_text(&text), texts[i]);
    }
}

static void test_writer_refuses_what_xml_cannot_carry(void **state)
{
    (void)state;
    static const char *const texts[] = {"\x01",         "\xff",     "\xc3",
                                        "\xed\xa0\x80", "a\x1b[0m", "\xef\xbf\xbe"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        AUTO(buf_release) struct buf out = {0};
        struct xml_writer writer = {.out = &out};
        xml_put_element(&writer, "a", texts[i]);
        struct err err = ERR_INIT;
        assert_false(xml_writer_check(&writer, "test", &err));
        assert_int_equal(err.kind, FAIL_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walks_all_forms_of_elements),
        cmocka_unit_test(test_skips_what_was_not_read),
        cmocka_unit_test(test_names_and_attributes_by_namespace),
        cmocka_unit_test(test_text_is_decoded_and_bounded),
        cmocka_unit_test(test_refuses_hostile_documents),
        cmocka_unit_test(test_refuses_other_encodings),
        cmocka_unit_test(test_depth_and_size_are_bounded),
        cmocka_unit_test(test_every_truncation_fails_or_ends),
        cmocka_unit_test(test_written_text_comes_back),
        cmocka_unit_test(test_writer_refuses_what_xml_cannot_carry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
