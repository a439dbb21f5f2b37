/* SPDX-License-Identifier: Apache-2.0 */
/* What each form of a bypass rule catches, and nothing more. */
#include "base/buf.h"
#include "base/text.h"
#include "netpath/bypass.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
    const char *rule, *host;
    unsigned port;
    bool is_caught;
} CASES[] = {
    /* one host */
    {"lsa1.blob.core.windows.net", "lsa1.blob.core.windows.net", 443, true},
    {"lsa1.blob.core.windows.net", "LSA1.Blob.Core.Windows.NET", 443, true},
    {"LSA1.blob.core.windows.net.", "lsa1.blob.core.windows.net", 443, true},
    {"lsa1.blob.core.windows.net", "lsa1.blob.core.windows.net.", 443, true},
    {"lsa1.blob.core.windows.net", "xlsa1.blob.core.windows.net", 443, false},
    {"lsa1.blob.core.windows.net", "x.lsa1.blob.core.windows.net", 443, false},
    {"lsa1.blob.core.windows.net", "lsa1.blob.core.windows.net.evil.com", 443, false},
    {"lsa1.blob.core.windows.net", "lsa1.blob.core.windows.ne", 443, false},
    {"lsa1.blob.core.windows.net", "lsa1xblob.core.windows.net", 443, false},
    {"lsa1.blob.core.windows.net", "lsa1.blob", 443, false},
    {"lsa1", "lsa1", 443, true},
    {"lsa1", "lsa1.corp", 443, false},
    /* every name below */
    {"*.corp.example", "a.corp.example", 443, true},
    {"*.corp.example", "b.a.corp.example", 443, true},
    {"*.corp.example", "corp.example", 443, false},
    {"*.corp.example", "evilcorp.example", 443, false},
    {"*.corp.example", "a.corp.example.evil.com", 443, false},
    {"*.corp.example", ".corp.example", 443, false},
    {".corp.example", "a.corp.example", 443, true},
    {".corp.example", "b.a.corp.example", 443, true},
    {".corp.example", "corp.example", 443, false},
    {".corp.example", "evilcorp.example", 443, false},
    /* as Azure's documents write it */
    {".*.blob.core.windows.net", "lsa1.blob.core.windows.net", 443, true},
    {".*.blob.core.windows.net", "gwsa1.blob.core.windows.net", 443, true},
    {".*.blob.core.windows.net", "a.privatelink.blob.core.windows.net", 443, true},
    {".*.blob.core.windows.net", "evilblob.core.windows.net", 443, false},
    {".*.blob.core.windows.net", "blob.core.windows.net", 443, false},
    {".*.blob.core.windows.net", "x.blob.core.windows.net.evil.com", 443, false},
    {".*.blob.core.windows.net", "x.blobxcore.windows.net", 443, false},
    {".*.blob.core.windows.net", "x.table.core.windows.net", 443, false},
    {".*\\.blob\\.core\\.windows\\.net", "lsa1.blob.core.windows.net", 443, true},
    {"^.*\\.blob\\.core\\.windows\\.net$", "lsa1.blob.core.windows.net", 443, true},
    {"^.*\\.blob\\.core\\.windows\\.net$", "evilblob.core.windows.net", 443, false},
    {"^lsa1\\.blob\\.core\\.windows\\.net$", "lsa1.blob.core.windows.net", 443, true},
    {"^lsa1\\.blob\\.core\\.windows\\.net$", "x.lsa1.blob.core.windows.net", 443, false},
    {".*.vault.azure.net", "kv.vault.azure.net", 443, true},
    {".*.vault.azure.net", "kv.vault.azure.net.", 443, true},
    /* '*' in a label */
    {"lsa*.blob.core.windows.net", "lsa1.blob.core.windows.net", 443, true},
    {"lsa*.blob.core.windows.net", "lsa.blob.core.windows.net", 443, true},
    {"lsa*.blob.core.windows.net", "gwsa1.blob.core.windows.net", 443, false},
    {"lsa*.blob.core.windows.net", "lsa.evil.blob.core.windows.net", 443, false},
    {"*sa1.blob.core.windows.net", "gwsa1.blob.core.windows.net", 443, true},
    {"*sa1.blob.core.windows.net", "x.gwsa1.blob.core.windows.net", 443, false},
    {"l*a*1.x", "lsaaa1.x", 443, true},
    {"l*a*1.x", "lsaaa2.x", 443, false},
    {"*.l*.x", "a.b.lsa.x", 443, true},
    {"*.l*.x", "lsa.x", 443, false},
    /* addresses: only those that stand in the URL */
    {"10.1.0.5", "10.1.0.5", 443, true},
    {"10.1.0.5", "10.1.0.50", 443, false},
    {"10.1.0.5", "::ffff:10.1.0.5", 443, true},
    {"10.0.0.0/8", "10.255.1.2", 443, true},
    {"10.0.0.0/8", "11.0.0.1", 443, false},
    {"10.1.2.3/16", "10.1.255.255", 443, true},
    {"10.1.0.4/31", "10.1.0.5", 443, true},
    {"10.1.0.4/31", "10.1.0.6", 443, false},
    {"0.0.0.0/0", "203.0.113.9", 443, true},
    {"0.0.0.0/0", "2001:db8::1", 443, false},
    {"0.0.0.0/0", "a.example", 443, false},
    {"10.0.0.0/8", "10.example", 443, false},
    {"10.0.0.0/8", "10.1.0.5.evil.com", 443, false},
    {"fd00::5", "fd00:0:0::5", 443, true},
    {"[fd00::5]", "fd00::5", 443, true},
    {"fd00::/8", "fdff::1", 443, true},
    {"fd00::/8", "fe80::1", 443, false},
    {"fd00::/8", "10.0.0.1", 443, false},
    {"*.x", "10.1.0.5", 443, false}, /* an address is no name */
    /* words */
    {"<local>", "esx01", 443, true},
    {"<LOCAL>", "esx01.", 443, true},
    {"<local>", "esx01.corp", 443, false},
    {"<local>", "fd00::1", 443, false},
    {"<loopback>", "127.9.9.9", 443, true},
    {"<loopback>", "::1", 443, true},
    {"<loopback>", "LOCALHOST", 443, true},
    {"<loopback>", "a.localhost", 443, true},
    {"<loopback>", "notlocalhost", 443, false},
    {"<loopback>", "localhost.evil.com", 443, false},
    {"*", "anything.example", 443, true},
    {".*", "10.0.0.1", 443, true},
    /* ports */
    {"a.example:8443", "a.example", 8443, true},
    {"a.example:8443", "a.example", 443, false},
    {"*.example:443", "a.example", 443, true},
    {"*.example:443", "a.example", 80, false},
    {"10.0.0.0/8:902", "10.1.1.1", 902, true},
    {"10.0.0.0/8:902", "10.1.1.1", 443, false},
    {"[fd00::5]:443", "fd00::5", 443, true},
    {"[fd00::5]:443", "fd00::5", 902, false},
    {"*:80", "a.example", 80, true},
    {"*:80", "a.example", 443, false},
    /* several */
    {"a.example, b.example;c.example d.example\n e.example", "d.example", 443, true},
    {"a.example,,;\n ,b.example", "b.example", 443, true},
    {"", "a.example", 443, false},
    {" , ;", "a.example", 443, false},
    /* names that are none */
    {"*.example", "", 443, false},
    {"*", "", 443, true},
    {"<local>", "", 443, false},
};

static void each_form_catches_this_and_nothing_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct bypass_list list = {0};
        struct err err = ERR_INIT;
        if (!bypass_add(&list, CASES[i].rule, "test", &err))
            fail_msg("'%s': %s", CASES[i].rule, err.text);
        bool is_caught =
            bypass_find(&list, CASES[i].host, (uint16_t)CASES[i].port) != NULL;
        if (is_caught != CASES[i].is_caught)
            fail_msg("rule '%s' %s '%s' port %u", CASES[i].rule,
                     is_caught ? "catches" : "misses", CASES[i].host, CASES[i].port);
        bypass_release(&list);
    }
}

static void what_is_no_rule_is_refused_by_name(void **state)
{
    static const char *const WRONG[] = {
        "https://lsa1.blob.core.windows.net",
        "lsa1.blob.core.windows.net/container",
        "lsa.*.blob.core.windows.net", /* one label, or any text? */
        "a.*.b.*.example",
        "lsa.*\\.blob\\.core\\.windows\\.net",
        "a.*",
        "**.example",
        "a..example",
        "..example",
        "a.example:0",
        "a.example:65536",
        "a.example:https",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "fd00::/129",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.1-10.0.0.9",
        "10.*",
        "*.1.0.5",
        "10.0.*.5",
        "fd00::g",
        "[fd00::5",
        "[example.com]",
        "(lsa|gwsa).*",
        "a+b.example",
        "a|b",
        "caf\xc3\xa9.example",
        "<locale>",
        ".",
        "*.",
        ".*.",
        "\x01",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(WRONG); i++) {
        struct bypass_list list = {0};
        struct err err = ERR_INIT;
        char text[128];
        (void)snprintf(text, sizeof text, "good.example,%s", WRONG[i]);
        if (bypass_add(&list, text, "test", &err))
            fail_msg("'%s' was taken", WRONG[i]);
        assert_int_equal(err.kind, FAIL_INPUT);
        if (!strstr(err.text, WRONG[i]))
            fail_msg("'%s' is not named: %s", WRONG[i], err.text);
        assert_int_equal(list.count, 0); /* nor is the good one kept */
        bypass_release(&list);
    }
}

static void the_first_rule_that_catches_is_named(void **state)
{
    struct bypass_list list = {0};
    struct err err = ERR_INIT;
    (void)state;
    assert_true(bypass_add(&list, "a.example, *.example", "proxy_bypass", &err));
    assert_true(bypass_add(&list, ".*.example", "appliance.json", &err));
    const struct bypass_rule *rule = bypass_find(&list, "b.example", 443);
    assert_string_equal(bypass_rule_text(rule), "*.example");
    assert_string_equal(bypass_rule_origin(rule), "proxy_bypass");
    assert_true(bypass_rule_is_wild(rule));
    assert_false(bypass_rule_is_wild(bypass_find(&list, "a.example", 443)));
    bypass_release(&list);
}

static void a_list_is_bounded(void **state)
{
    struct bypass_list list = {0};
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0};
    (void)state;
    for (int i = 0; i < BYPASS_MAX_RULES; i++)
        buf_printf(&text, "h%d.example,", i);
    assert_true(bypass_add(&list, buf_text(&text), "test", &err));
    assert_false(bypass_add(&list, "one.more", "test", &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    assert_int_equal(list.count, BYPASS_MAX_RULES);
    bypass_release(&list);
    buf_clear(&text);
    for (int i = 0; i < 100000; i++)
        buf_put_u8(&text, 'a');
    err_clear(&err);
    assert_false(bypass_add(&list, buf_text(&text), "test", &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

/* Patterns that take other matchers exponential time. */
static void hostile_patterns_end(void **state)
{
    struct bypass_list list = {0};
    struct err err = ERR_INIT;
    char rule[200] = "", host[250] = "";
    (void)state;
    for (int i = 0; i < 60; i++)
        (void)snprintf(rule + strlen(rule), sizeof rule - strlen(rule), "a*");
    (void)snprintf(rule + strlen(rule), sizeof rule - strlen(rule), "b");
    memset(host, 'a', 240);
    assert_true(bypass_add(&list, rule, "test", &err));
    assert_null(bypass_find(&list, host, 443));
    bypass_release(&list);
}

static void addresses_have_classes(void **state)
{
    static const struct {
        const char *text;
        enum path_class class;
    } OF[] = {
        {"10.0.0.1", PATH_PRIVATE},
        {"172.16.0.1", PATH_PRIVATE},
        {"172.31.255.255", PATH_PRIVATE},
        {"172.32.0.1", PATH_PUBLIC},
        {"192.168.9.9", PATH_PRIVATE},
        {"192.169.0.1", PATH_PUBLIC},
        {"100.64.0.1", PATH_PRIVATE},
        {"100.127.255.255", PATH_PRIVATE},
        {"100.128.0.1", PATH_PUBLIC},
        {"169.254.169.254", PATH_PRIVATE},
        {"127.0.0.1", PATH_LOOPBACK},
        {"127.255.255.254", PATH_LOOPBACK},
        {"0.0.0.0", PATH_PUBLIC},
        {"198.18.0.1", PATH_PUBLIC},
        {"224.0.0.1", PATH_PUBLIC},
        {"20.60.1.1", PATH_PUBLIC},
        {"::1", PATH_LOOPBACK},
        {"::", PATH_PUBLIC},
        {"fc00::1", PATH_PRIVATE},
        {"fdff::1", PATH_PRIVATE},
        {"fe80::1", PATH_PRIVATE},
        {"fec0::1", PATH_PUBLIC},
        {"2603:1030::1", PATH_PUBLIC},
        {"::ffff:10.0.0.1", PATH_PRIVATE},
        {"::ffff:20.60.1.1", PATH_PUBLIC},
        {"::ffff:127.0.0.1", PATH_LOOPBACK},
        {"64:ff9b::10.0.0.1", PATH_PUBLIC},
        {"ff02::1", PATH_PUBLIC},
    };
    static const char *const NONE[] = {
        "",           "10.0.0", "10.0.0.1.",  "0x7f000001", "010.1",
        "[10.0.0.1]", "[::1",   "fe80::1%lo", "1.2.3.4 ",   "example"};
    struct address address;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(OF); i++) {
        assert_true(address_parse(OF[i].text, &address));
        if (address_class(&address) != OF[i].class)
            fail_msg("%s", OF[i].text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(NONE); i++)
        if (address_parse(NONE[i], &address))
            fail_msg("'%s' was taken", NONE[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_catches_this_and_nothing_more),
        cmocka_unit_test(what_is_no_rule_is_refused_by_name),
        cmocka_unit_test(the_first_rule_that_catches_is_named),
        cmocka_unit_test(a_list_is_bounded),
        cmocka_unit_test(hostile_patterns_end),
        cmocka_unit_test(addresses_have_classes),
    };
    return cmocka_run_group_tests_name("bypass", tests, NULL, NULL);
}
