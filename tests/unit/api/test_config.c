/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: good lines, bad lines, what is printed from the table. */
#include "base/file.h"
#include "base/text.h"
#include "daemon/config.h"
#include "daemon/init.h"
#include "daemon/lock.h"
#include "daemon/network_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static bool parse(const char *text, struct config *config, struct err *err)
{
    return config_parse_text("f", text, strlen(text), config, err);
}

static void empty_file_is_all_defaults(void **state)
{
    AUTO(config_release) struct config c = {0};
    struct err err = ERR_INIT;
    (void)state;
    assert_true(parse("", &c, &err));
    assert_string_equal(c.data_dir, "/var/lib/kedge");
    assert_string_equal(c.log_store, "dir:/var/lib/kedge/log");
    assert_string_equal(c.key_file, "/var/lib/kedge/master.key");
    assert_string_equal(c.listen, "none");
    assert_int_equal(c.segment_bytes, 4 * MIB);
    assert_int_equal(c.delta_min_ms, 3600000);
    assert_int_equal(c.delta_max_ms, 12 * 3600000);
    assert_false(c.auto_repair);
}

static void good_lines(void **state)
{
    AUTO(config_release) struct config c = {0};
    struct err err = ERR_INIT;
    (void)state;
    assert_true(parse("# comment\r\n"
                      "  data_dir=/d\t\n\n"
                      "segment_size = 2M\n throttle = 20M\n delta_min = 90s\n"
                      "auto_repair = on\nlisten = [::1]:8440\nlog_level = debug\n"
                      "log_store = dir:/elsewhere = odd # name\ncompression = compact",
                      &c, &err));
    assert_string_equal(c.state_store, "dir:/d/state");
    assert_string_equal(c.token_file, "/d/api.token");
    assert_string_equal(c.log_store, "dir:/elsewhere = odd # name");
    assert_int_equal(c.segment_bytes, 2 * MIB);
    assert_int_equal(c.throttle_bps, 20 * MIB);
    assert_int_equal(c.delta_min_ms, 90000);
    assert_true(c.auto_repair);
    assert_string_equal(c.compression, "compact");
}

static void bad_lines_name_file_and_line(void **state)
{
    static const struct {
        const char *text, *at, *part;
    } CASES[] = {
        {"x = 1", "f:1: ", "not an option"},
        {"\n\ndata_dir", "f:3: ", "has no '='"},
        {"[main]\n", "f:1: ", "no sections"},
        {"= 1", "f:1: ", "not an option"},
        {"data_dir =", "f:1: ", "no value"},
        {"data_dir = relative", "f:1: ", "absolute"},
        {"log_store = /x", "f:1: ", "dir:/"},
        {"log_store = dir:x", "f:1: ", "absolute"},
        {"log_store = blob:https://a.blob.core.windows.net", "f:1: ", "CONTAINER"},
        {"log_store = blob:https://acc.blob.core.windows.net/c?sig=x", "f:1: ", "'?'"},
        {"log_store = blob:https://acc.blob.core.windows.net/con",
         "f: ", "set log_store_credential"},
        {"state_store = blob:https://acc.blob.core.windows.net/con",
         "f: ", "set state_store_credential"},
        {"log_store_credential = x", "f:1: ", "absolute"},
        {"keys = /x", "f:1: ", "write it to key_file"},
        {"keys = vault", "f:1: ", "names no master key"},
        {"keys = vault:https://v.vault.azure.net/keys/k/1", "f:1: ", "one version"},
        {"keys = vault:https://v.vault.azure.net/keys/k", "f: ", "set keys_credential"},
        {"key_passphrase = secret words", "f:1: ", "cred:NAME"},
        {"job_threads = 0", "f:1: ", "1 to 256"},
        {"job_threads = 4x", "f:1: ", "whole number"},
        {"job_threads = -1", "f:1: ", "whole number"},
        {"segment_size = 1K", "f:1: ", "out of range"},
        {"segment_size = 99999999999999999999", "f:1: ", "not a size"},
        {"throttle = fast", "f:1: ", "not a size"},
        {"delta_min = 0", "f:1: ", "1s to 366d"},
        {"delta_min = 5", "f:1: ", "not a duration"},
        {"auto_repair = maybe", "f:1: ", "neither yes nor no"},
        {"compression = zip", "f:1: ", "fast, compact, none"},
        {"log_level = loud", "f:1: ", "debug, info"},
        {"listen = 0.0.0.0:80", "f:1: ", "loopback"},
        {"proxy = squid:3128", "f:1: ", "http://"},
        {"proxy_bypass = a..b", "f:1: ", "'a..b'"},
        {"proxy_roles = arm=yes", "f:1: ", "ROLE=proxy"},
        {"require_private = logs", "f:1: ", "'logs' is no role"},
        {"dns_servers = dns", "f:1: ", "name server"},
        {"hosts_file = hosts", "f:1: ", "absolute"},
        {"roles = gateway", "f:1: ", "write roles = all"},
        {"throttle = 1M\n# c\nthrottle = 2M", "f:3: ", "set already at line 1"},
        {"delta_min = 3h\ndelta_max = 2h", "f: ", "shorter than delta_min"},
        {"run_dir = "
         "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "f: ", "too long"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct config c = {0};
        struct err err = ERR_INIT;
        assert_false(parse(CASES[i].text, &c, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
        if (!text_starts_with(err.text, CASES[i].at) || !strstr(err.text, CASES[i].part))
            fail_msg("'%s': %s", CASES[i].text, err.text);
        assert_null(c.data_dir); /* nothing left behind */
    }
    struct config c = {0};
    struct err err = ERR_INIT;
    assert_false(config_parse_text("f", "a\0b = 1", 7, &c, &err));
    assert_non_null(strstr(err.text, "NUL"));
}

static void an_appliances_rules_are_read(void **state)
{
    static const struct {
        const char *text, *rules;
    } OF[] = {
        {"{\"EnableProxyBypassList\": \"true\", \"ProxyBypassList\": \"a, .*.b\"}",
         "a, .*.b\n"},
        {"\xef\xbb\xbf{\"Cloud\": \"Public\", \"EnableProxyBypassList\": true, "
         "\"ProxyBypassList\": [\"a\", \".*.b\"]}",
         "a\n.*.b\n"},
        {"{\"EnableProxyBypassList\": \"false\", \"ProxyBypassList\": \"a\"}", ""},
        {"{\"ProxyBypassList\": \"a\"}", ""},
        {"{\"EnableProxyBypassList\": \"True\"}", ""},
    };
    static const char *const WRONG[] = {
        "",
        "[]",
        "{\"EnableProxyBypassList\": \"yes\"}",
        "{\"EnableProxyBypassList\": 1}",
        "{\"EnableProxyBypassList\": \"true\", \"ProxyBypassList\": [1]}",
        "{\"EnableProxyBypassList\": \"true\", \"ProxyBypassList\": {}}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(OF); i++) {
        AUTO(buf_release) struct buf rules = {0};
        struct err err = ERR_INIT;
        if (!appliance_bypass_read("f", OF[i].text, strlen(OF[i].text), &rules, &err))
            fail_msg("%s", err.text);
        assert_string_equal(buf_text(&rules), OF[i].rules);
    }
    for (size_t i = 0; i < ARRAY_COUNT(WRONG); i++) {
        AUTO(buf_release) struct buf rules = {0};
        struct err err = ERR_INIT;
        if (appliance_bypass_read("f", WRONG[i], strlen(WRONG[i]), &rules, &err))
            fail_msg("'%s' was taken", WRONG[i]);
    }
}

static void a_reload_takes_what_it_may(void **state)
{
    AUTO(config_release) struct config old = {0}, fresh = {0};
    struct err err = ERR_INIT;
    (void)state;
    assert_true(parse("proxy = http://a:1\nthrottle = 1M\nrun_dir = /r\n", &old, &err));
    assert_true(parse("proxy_bypass = .*.b.example\nthrottle = 2M\nrun_dir = /s\n",
                      &fresh, &err));
    config_take_reloaded(&old, &fresh);
    assert_string_equal(old.proxy, "none");
    assert_string_equal(old.proxy_bypass, ".*.b.example");
    assert_int_equal(old.throttle_bps, 2 * MIB);
    assert_string_equal(old.run_dir, "/r");
}

static void what_is_printed_can_be_read(void **state)
{
    AUTO(config_release) struct config a = {0}, b = {0};
    AUTO(buf_release) struct buf text = {0}, differences = {0};
    struct err err = ERR_INIT;
    (void)state;
    assert_true(parse("data_dir = /d\nthrottle = 1500\nsegment_size = 3M\n"
                      "delta_min = 90500ms\nauto_repair = yes\nlisten = 127.0.0.1:0\n",
                      &a, &err));
    config_print(&a, &text);
    assert_true(parse(buf_text(&text), &b, &err));
    config_differences(&a, &b, &differences);
    assert_string_equal(buf_text(&differences), "");
    assert_int_equal(b.throttle_bps, 1500);
    assert_int_equal(b.delta_min_ms, 90500);
    config_release(&b);
    assert_true(parse("data_dir = /e\nlog_level = debug", &b, &err));
    config_differences(&a, &b, &differences);
    assert_true(text_starts_with(buf_text(&differences), "data_dir,"));
    assert_null(strstr(buf_text(&differences), "log_level"));
    assert_null(strstr(buf_text(&differences), "throttle"));
}

static void the_manual_is_current(void **state)
{
    AUTO(buf_release) struct buf made = {0}, kept = {0};
    struct err err = ERR_INIT;
    (void)state;
    config_print_man(&made);
    assert_true(file_read(CONFIG_MAN, 1 * MIB, &kept, &err));
    assert_string_equal(buf_text(&made), buf_text(&kept));
}

static void init_makes_all_once(void **state)
{
    char dir[] = "/tmp/kedge-init-XXXXXX";
    AUTO(config_release) struct config c = {0};
    AUTO(buf_release) struct buf report = {0}, before = {0}, after = {0};
    struct err err = ERR_INIT;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_true(init_make(dir, NULL, &report, &err));
    AUTO(free) char *path = file_join(dir, "kedge.conf");
    assert_true(config_read(path, &c, &err));
    assert_int_equal(stat(c.key_file, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    assert_int_equal(stat(c.token_file, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    assert_int_equal(st.st_size, 65);
    assert_true(file_read(c.token_file, 100, &before, &err));
    assert_false(init_make(dir, NULL, &report, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_true(file_read(c.token_file, 100, &after, &err));
    assert_string_equal(buf_text(&before), buf_text(&after));
    /* Interrupted before the last step: goes on, with the key that is there. */
    AUTO(buf_release) struct buf key_before = {0}, key_after = {0};
    assert_true(file_read(c.key_file, 1000, &key_before, &err));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(c.token_file), 0);
    err_clear(&err);
    assert_true(init_make(dir, NULL, &report, &err));
    assert_true(file_exists(path));
    assert_int_equal(stat(c.token_file, &st), 0);
    assert_true(file_read(c.key_file, 1000, &key_after, &err));
    assert_int_equal(key_before.bytes, key_after.bytes);
    assert_memory_equal(key_before.data, key_after.data, key_after.bytes);
    assert_true(file_remove_tree(dir, &err));
}

static void the_lock_names_its_holder(void **state)
{
    char dir[] = "/tmp/kedge-lock-XXXXXX", pid[32];
    int first, second;
    struct err err = ERR_INIT;
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_true(lock_take(dir, &first, &err));
    assert_false(lock_take(dir, &second, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    (void)snprintf(pid, sizeof pid, "process %d;", (int)getpid());
    assert_non_null(strstr(err.text, pid));
    (void)close(first);
    assert_true(lock_take(dir, &second, &err));
    (void)close(second);
    assert_true(file_remove_tree(dir, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_file_is_all_defaults),
        cmocka_unit_test(good_lines),
        cmocka_unit_test(bad_lines_name_file_and_line),
        cmocka_unit_test(an_appliances_rules_are_read),
        cmocka_unit_test(a_reload_takes_what_it_may),
        cmocka_unit_test(what_is_printed_can_be_read),
        cmocka_unit_test(the_manual_is_current),
        cmocka_unit_test(init_makes_all_once),
        cmocka_unit_test(the_lock_names_its_holder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
