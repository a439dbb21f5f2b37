/* SPDX-License-Identifier: Apache-2.0 */
/* Settings that are refused, choices without a name server, circuits in made-up time, and
 * rules that would cut an account off. */
#include "base/file.h"
#include "base/text.h"
#include "netpath/circuit.h"
#include "netpath/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static void settings_are_checked(void **state)
{
    static const struct {
        struct path_settings settings;
        const char *part;
    } WRONG[] = {
        {{.proxy = "squid:3128"}, "proxy: "},
        {{.proxy = "https://squid:3128"}, "http://"},
        {{.proxy = "http://u:s3cret@squid:3128"}, "file of its own"},
        {{.proxy = "http://squid:3128/x"}, "http://"},
        {{.proxy = "http://squid:0"}, "http://"},
        {{.proxy = "http://@squid"}, "http://"},
        {{.proxy = "http://a%0ab@squid"}, "http://"},
        {{.proxy_password_file = "/x"}, "USER"},
        {{.proxy = "http://squid", .proxy_password_file = "/x"}, "USER"},
        {{.proxy = "http://u@squid", .proxy_password_file = "/not/there"},
         "proxy_password_file"},
        {{.proxy_roles = "arm=proxy"}, "none is set"},
        {{.proxy = "http://squid", .proxy_roles = "arm"}, "ROLE=proxy"},
        {{.proxy = "http://squid", .proxy_roles = "arm=yes"}, "ROLE=proxy"},
        {{.proxy = "http://squid", .proxy_roles = "disk=proxy"}, "no role"},
        {{.proxy = "http://squid", .proxy_roles = "local=proxy"}, "never"},
        {{.require_private = "log-store, logstore"}, "'logstore' is no role"},
        {{.dns_servers = "dns.example"}, "dns_servers: "},
        {{.dns_servers = "10.0.0.53:0"}, "10.0.0.53"},
        {{.dns_servers = "fd00::53:x"}, "fd00"},
        {{.dns_servers = "disk=10.0.0.53"}, "no role"},
        {{.hosts_file = "/not/there"}, "hosts_file"},
        {{.proxy_bypass = "a..b"}, "proxy_bypass: "},
        {{.appliance_bypass = "a..b"}, "appliance.json: "},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(WRONG); i++) {
        struct err err = ERR_INIT;
        if (path_check_settings(&WRONG[i].settings, &err))
            fail_msg("case %zu was taken", i);
        if (!strstr(err.text, WRONG[i].part) || strstr(err.text, "s3cret"))
            fail_msg("case %zu: %s", i, err.text);
    }
    struct err err = ERR_INIT;
    const struct path_settings right = {
        .proxy = "http://dom%5Cjo@[fd00::1]:3128",
        .proxy_roles = " arm=proxy , log-store=direct,bus=rules",
        .proxy_bypass = "<local>",
        .require_private = "log-store,state-store",
        .dns_servers = "10.0.0.53, [fd00::53]:5353, fd00::54, log-store=10.1.0.53:5353"};
    if (!path_check_settings(&right, &err))
        fail_msg("%s", err.text);
}

static struct path_choice choose(enum path_role role, const char *url)
{
    struct path_choice choice;
    struct err err = ERR_INIT;
    if (!path_choose(role, url, NULL, &choice, &err))
        fail_msg("%s: %s", url, err.text);
    return choice;
}

static void expect(enum path_role role, const char *url, bool is_direct, const char *rule)
{
    struct path_choice choice = choose(role, url);
    if (!choice.proxy_url[0] != is_direct || !strstr(choice.rule, rule))
        fail_msg("%s: proxy '%s', rule '%s'", url, choice.proxy_url, choice.rule);
    path_choice_release(&choice);
}

static void configure(struct path_settings settings)
{
    struct err err = ERR_INIT;
    if (!path_configure(&settings, &err))
        fail_msg("%s", err.text);
}

static void each_choice_names_its_rule(void **state)
{
    struct path_choice choice;
    struct err err = ERR_INIT;
    (void)state;
    configure((struct path_settings){.proxy = NULL});
    expect(ROLE_ARM, "https://203.0.113.1", true, "no proxy is set");
    configure((struct path_settings){.proxy = "http://dom%5Cjo@10.9.9.9:3128",
                                     .proxy_roles = "bus=direct, key-vault=proxy",
                                     .proxy_bypass = "10.0.0.0/8:443, 203.0.113.7"});
    expect(ROLE_ARM, "https://203.0.113.1", false, "no bypass rule");
    expect(ROLE_ARM, "https://203.0.113.7", true, "bypass rule '203.0.113.7'");
    expect(ROLE_ARM, "https://10.1.1.1", true, "bypass rule '10.0.0.0/8:443'");
    expect(ROLE_ARM, "https://10.1.1.1:8443", false, "no bypass rule");
    expect(ROLE_KEY_VAULT, "https://203.0.113.7", false, "proxy_roles: proxy");
    expect(ROLE_BUS, "https://203.0.113.1", true, "proxy_roles");
    expect(ROLE_VCENTER, "https://203.0.113.1", true, "proxy_roles");
    expect(ROLE_LOCAL, "http://169.254.169.254", true, "never");
    expect(ROLE_KEY_VAULT, "https://127.0.0.1:1", true, "loopback");
    expect(ROLE_KEY_VAULT, "https://[::1]:1", true, "loopback");
    choice = choose(ROLE_ARM, "https://management.azure.com");
    assert_string_equal(choice.proxy_url, "http://10.9.9.9:3128");
    assert_string_equal(choice.proxy_user, "dom\\jo");
    assert_string_equal(choice.proxy_addresses[0], "10.9.9.9");
    assert_int_equal(choice.address_count, 0); /* the proxy resolves */
    /* Rules that go away are pulled from under nobody. */
    configure((struct path_settings){.proxy = NULL});
    assert_string_equal(choice.proxy_user, "dom\\jo");
    path_choice_release(&choice);
    /* A credential file's own proxy comes before all of them. */
    configure((struct path_settings){.proxy_bypass = "*"});
    assert_true(path_choose_proxy(ROLE_ARM, "https://203.0.113.1", "http://10.8.8.8:1",
                                  NULL, NULL, &choice, &err));
    assert_string_equal(choice.proxy_url, "http://10.8.8.8:1");
    assert_non_null(strstr(choice.rule, "credential file"));
    path_choice_release(&choice);
    configure((struct path_settings){.require_private = "arm"});
    assert_false(path_choose_proxy(ROLE_ARM, "https://10.1.1.1", "http://10.8.8.8:1",
                                   NULL, NULL, &choice, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    configure((struct path_settings){.proxy = NULL});
}

static void urls_are_read_strictly(void **state)
{
    static const char *const WRONG[] = {"",
                                        "a.example",
                                        "ftp://a.example",
                                        "https://",
                                        "https://a.example/path",
                                        "https://a.example?q",
                                        "https://u@a.example",
                                        "https://a.example:0",
                                        "https://a.example:x",
                                        "https://[::1",
                                        "https://[a.example]",
                                        "https://[::1]x",
                                        "https://a b.example"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(WRONG); i++) {
        struct path_choice choice;
        struct err err = ERR_INIT;
        if (path_choose(ROLE_ARM, WRONG[i], NULL, &choice, &err))
            fail_msg("'%s' was taken", WRONG[i]);
        assert_int_equal(err.kind, FAIL_INPUT);
    }
}

/* ---- circuits ---- */

static void a_circuit_opens_probes_and_closes(void **state)
{
    struct circuit c = {.points = 0};
    uint64_t now_ms = 1000;
    (void)state;
    for (int i = 0; i < 5; i++) { /* breaks are not yet nobody */
        assert_false(circuit_failed(&c, 1, now_ms, 5, 0));
        assert_true(circuit_admit(&c, now_ms));
    }
    assert_false(circuit_answered(&c)); /* in a row: counts anew */
    assert_false(circuit_failed(&c, CIRCUIT_POINTS_NOBODY, now_ms, 6, 0));
    assert_false(circuit_failed(&c, CIRCUIT_POINTS_NOBODY, now_ms, 7, 0));
    assert_true(circuit_failed(&c, CIRCUIT_POINTS_NOBODY, now_ms, 8, 0));
    assert_int_equal(c.since_unix_ms, 6);
    uint64_t last_wait_ms = 0;
    for (int i = 0; i < 10; i++) {
        assert_false(circuit_admit(&c, now_ms));
        uint64_t wait_ms = circuit_wait_ms(&c, now_ms);
        assert_true(wait_ms > last_wait_ms || wait_ms >= CIRCUIT_PAUSE_MAX_MS / 2);
        assert_true(wait_ms <= CIRCUIT_PAUSE_MAX_MS * 5 / 4);
        last_wait_ms = wait_ms;
        now_ms += wait_ms;
        assert_true(circuit_admit(&c, now_ms));
        assert_false(circuit_admit(&c, now_ms)); /* one probe at a time */
        assert_false(circuit_failed(&c, CIRCUIT_POINTS_NOBODY, now_ms, 9, 0));
    }
    assert_int_equal(c.since_unix_ms, 6);
    /* A late failure of a call from before delays nothing. */
    uint64_t next_ms = c.next_try_ms;
    assert_false(circuit_failed(&c, 1, now_ms, 10, 0));
    assert_int_equal(c.next_try_ms, next_ms);
    /* A probe that nobody ends bars only for a while. */
    now_ms = next_ms;
    assert_true(circuit_admit(&c, now_ms));
    assert_false(circuit_admit(&c, now_ms + CIRCUIT_PROBE_LIFE_MS - 1));
    assert_true(circuit_admit(&c, now_ms + CIRCUIT_PROBE_LIFE_MS));
    circuit_forget_probe(&c);
    assert_true(circuit_admit(&c, now_ms + CIRCUIT_PROBE_LIFE_MS));
    assert_true(circuit_answered(&c));
    assert_true(circuit_admit(&c, now_ms));
    assert_int_equal(circuit_wait_ms(&c, now_ms), 0);
}

static void jitter_spreads_the_probes(void **state)
{
    (void)state;
    for (uint32_t jitter = 0; jitter < 3000; jitter += 111) {
        struct circuit c = {.points = CIRCUIT_POINTS_OPEN - 1};
        assert_true(circuit_failed(&c, 1, 0, 1, jitter));
        assert_in_range(circuit_wait_ms(&c, 0), CIRCUIT_PAUSE_MIN_MS * 3 / 4,
                        CIRCUIT_PAUSE_MIN_MS * 5 / 4);
    }
}

/* ---- rules that cut something off ---- */

static char hosts_path[] = "/tmp/kedge-rules-XXXXXX";

static size_t warnings(const char *bypass, const char *require_private,
                       struct findings *findings)
{
    static const struct path_endpoint KNOWN[] = {
        {ROLE_LOG_STORE, "https://lsa1.blob.core.windows.net"},
        {ROLE_STATE_STORE, "https://gwsa1.blob.core.windows.net"},
    };
    findings_release(findings);
    *findings = (struct findings){0};
    configure((struct path_settings){.proxy = "http://10.9.9.9:3128",
                                     .proxy_bypass = bypass,
                                     .require_private = require_private,
                                     .hosts_file = hosts_path});
    path_check_rules(KNOWN, ARRAY_COUNT(KNOWN), findings);
    return findings->count;
}

static void a_wildcard_that_catches_the_state_store_is_named(void **state)
{
    AUTO(findings_release) struct findings found = {0};
    struct err err = ERR_INIT;
    (void)state;
    int fd = mkstemp(hosts_path);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(warnings(".*.blob.core.windows.net", "log-store", &found), 1);
    const struct finding *f = &found.items[0];
    assert_string_equal(f->code, "bypass.catches");
    assert_int_equal(f->severity, FINDING_WARNING);
    assert_non_null(strstr(f->what, "gwsa1.blob.core.windows.net"));
    assert_non_null(strstr(f->why, "'.*.blob.core.windows.net' of proxy_bypass"));
    assert_non_null(strstr(f->remedy, "lsa1.blob.core.windows.net"));
    assert_int_equal(warnings("*", "log-store", &found), 1);
    assert_int_equal(warnings("*.windows.net", "log-store", &found), 1);
    /* The log store alone; both private; two exact rules; nobody private. */
    assert_int_equal(warnings("lsa1.blob.core.windows.net", "log-store", &found), 0);
    assert_int_equal(warnings("lsa*.blob.core.windows.net", "log-store", &found), 0);
    assert_int_equal(warnings("*", "log-store, state-store", &found), 0);
    assert_int_equal(warnings("lsa1.blob.core.windows.net, gwsa1.blob.core.windows.net",
                              "log-store", &found),
                     0);
    assert_int_equal(warnings("*.blob.core.windows.net", "", &found), 0);
    /* Without require_private what the name resolves to tells that it is private. */
    static const char ENTRY[] = "10.1.0.5 lsa1.blob.core.windows.net\n";
    assert_true(file_write_durable(hosts_path, ENTRY, strlen(ENTRY), 0600, &err));
    struct path_choice choice =
        choose(ROLE_LOG_STORE, "https://lsa1.blob.core.windows.net");
    path_choice_release(&choice);
    assert_int_equal(warnings("*.blob.core.windows.net", "", &found), 1);
    (void)unlink(hosts_path);
    configure((struct path_settings){.proxy = NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: nothing else has been seen yet. */
        cmocka_unit_test(a_wildcard_that_catches_the_state_store_is_named),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(each_choice_names_its_rule),
        cmocka_unit_test(urls_are_read_strictly),
        cmocka_unit_test(a_circuit_opens_probes_and_closes),
        cmocka_unit_test(jitter_spreads_the_probes),
    };
    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
