/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which way an exchange takes, seen at the far ends: the log of a real squid, and a TLS
 * server that counts. Names come from a static file and lead to loopback. Skipped without
 * squid.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rig.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define SQUID       "/usr/sbin/squid"

static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t bytes = sizeof address;
    AUTO(close_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    return ntohs(address.sin_port);
}

static bool answers(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port)};
    AUTO(close_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static void write_text(const char *name, const char *text)
{
    struct err err = ERR_INIT;
    const char *path = file_in_dir(name);
    if (!file_write_durable(path, text, strlen(text), 0644, &err))
        fail_msg("%s", err.text);
    assert_int_equal(chmod(path, 0644), 0); /* squid is another user */
}

static void hosts(const char *text)
{
    write_text("hosts", text);
}

/* ---- squid ---- */

struct squid {
    int pid;
    unsigned port;
    char url[64], user_url[64];
};

static int squid_pid; /* of the running one: a test that fails does not stop it */

/* Its folder must be writable for the user that it becomes. */
static void squid_start(struct squid *squid, bool wants_password)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf conf = {0};
    const char *log = file_in_dir("squid.log"), *path = file_in_dir("squid.conf");
    char folder[128];
    text_copy(folder, sizeof folder, file_in_dir("squid"));
    *squid = (struct squid){.port = free_port()};
    (void)snprintf(squid->url, sizeof squid->url, "http://127.0.0.1:%u", squid->port);
    (void)snprintf(squid->user_url, sizeof squid->user_url, "http://jo@127.0.0.1:%u",
                   squid->port);
    (void)mkdir(folder, 0777); /* there from the test before */
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(chmod(file_in_dir("."), 0755), 0);
    buf_printf(&conf,
               "http_port 127.0.0.1:%u\npid_filename none\nhosts_file %s\n"
               "access_log stdio:%s/access.log\ncache_log %s/cache.log\n"
               "coredump_dir %s\ncache deny all\npinger_enable off\n"
               "dns_nameservers 127.0.0.1\nshutdown_lifetime 0 seconds\n",
               squid->port, file_in_dir("hosts"), folder, folder, folder);
    if (wants_password) {
        write_text("auth.sh", "while read -r user password; do\n"
                              "case $user/$password in jo/s3cret) echo OK ;;\n"
                              "*) echo ERR ;;\nesac\ndone\n");
        buf_printf(&conf,
                   "auth_param basic program /bin/sh %s\nauth_param basic children 1\n"
                   "acl known proxy_auth REQUIRED\nhttp_access deny !known\n",
                   file_in_dir("auth.sh"));
    }
    buf_append_text(&conf,
                    "acl denied dstdomain denied.kedge.test\nhttp_access deny denied\n"
                    "http_access allow all\n");
    write_text("squid.conf", buf_text(&conf));
    const char *const argv[] = {SQUID, "-N", "-f", path, NULL};
    if (!process_start(argv, log, &squid->pid, &err))
        fail_msg("%s", err.text);
    squid_pid = squid->pid;
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (!answers(squid->port)) {
        if (clock_mono_ms() > until_ms || !process_is_alive(squid->pid))
            fail_msg("squid does not come up: see %s", log);
        clock_sleep_ms(50);
    }
}

static void squid_stop(struct squid *squid)
{
    struct err err = ERR_INIT;
    squid_pid = 0;
    assert_true(process_stop(squid->pid, 10000, &err));
}

/* "CONNECT name:port" in its log. It is written when the tunnel ends: the caller has
 * closed it. */
static bool squid_saw(const char *name)
{
    char wanted[128];
    AUTO(buf_release) struct buf log = {0};
    struct err err = ERR_INIT; /* no log yet: nothing seen */
    (void)snprintf(wanted, sizeof wanted, "CONNECT %s:", name);
    if (!file_read(file_in_dir("squid/access.log"), 8 * MIB, &log, &err))
        return false;
    return strstr(buf_text(&log), wanted) != NULL;
}

static void wait_until_squid_saw(const char *name)
{
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (!squid_saw(name)) {
        assert_true(clock_mono_ms() < until_ms);
        clock_sleep_ms(20);
    }
}

/* ---- the rest of the rig ---- */

static void configure(struct path_settings settings)
{
    struct err err = ERR_INIT;
    settings.hosts_file = file_in_dir("hosts");
    if (!path_configure(&settings, &err))
        fail_msg("%s", err.text);
}

static int forget_all(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    path_listen(NULL, NULL);
    if (squid_pid && !process_stop(squid_pid, 10000, &err))
        return -1;
    squid_pid = 0;
    (void)unlink(file_in_dir("squid/access.log"));
    return path_configure(&(struct path_settings){.proxy = NULL}, &err) ? 0 : -1;
}

static struct http_endpoint *open_named(const struct rig *rig, const char *name,
                                        enum path_role role)
{
    struct err err = ERR_INIT;
    char url[96];
    struct http_endpoint_options way = trusting();
    (void)snprintf(url, sizeof url, "https://%s:%u", name, http_server_port(rig->server));
    way.url = url;
    way.role = role;
    struct http_endpoint *endpoint = http_endpoint_open(&way, &err);
    if (!endpoint)
        fail_msg("%s", err.text);
    return endpoint;
}

static void gets_from(const struct rig *rig, const char *name, enum path_role role)
{
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = open_named(rig, name, role);
    assert_gets(endpoint, "/bytes/10", 10);
}

static void fails_from(const struct rig *rig, const char *name, enum path_role role,
                       enum err_kind kind, const char *part)
{
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = open_named(rig, name, role);
    assert_fails(endpoint, REQUEST(), kind, part);
}

static struct path_seen seen_of(const char *host)
{
    struct path_seen list[64], none = {.role = ROLE_OTHER};
    size_t count = path_seen_list(list, ARRAY_COUNT(list));
    for (size_t i = 0; i < count && i < ARRAY_COUNT(list); i++)
        if (strcmp(list[i].host, host) == 0)
            return list[i];
    fail_msg("'%s' was never seen", host);
    return none;
}

/* ---- the tests ---- */

static void data_goes_direct_and_control_through_the_proxy(void **state)
{
    struct squid squid;
    struct rig rig;
    (void)state;
    hosts("127.0.0.1 lsa1.kedge.test gwsa1.kedge.test arm.kedge.test\n");
    squid_start(&squid, false);
    rig_start(&rig, "good.pem", trusting());
    configure(
        (struct path_settings){.proxy = squid.url, .proxy_bypass = "lsa1.kedge.test"});
    gets_from(&rig, "lsa1.kedge.test", ROLE_LOG_STORE);
    gets_from(&rig, "gwsa1.kedge.test", ROLE_STATE_STORE);
    gets_from(&rig, "arm.kedge.test", ROLE_ARM);
    wait_until_squid_saw("gwsa1.kedge.test");
    wait_until_squid_saw("arm.kedge.test");
    assert_false(squid_saw("lsa1.kedge.test"));
    struct path_seen seen = seen_of("lsa1.kedge.test");
    assert_string_equal(seen.proxy, "");
    assert_string_equal(seen.address, "127.0.0.1");
    assert_string_equal(seen.rule, "bypass rule 'lsa1.kedge.test' of proxy_bypass");
    assert_int_equal(seen.answers, 1);
    seen = seen_of("arm.kedge.test");
    assert_string_equal(seen.proxy, squid.url);
    assert_true(seen.at_unix_ms > 0);
    /* A role's own choice is before the rules, and loopback is before everything. */
    configure((struct path_settings){.proxy = squid.url,
                                     .proxy_bypass = "gwsa1.kedge.test",
                                     .proxy_roles = "log-store=proxy, arm=direct"});
    gets_from(&rig, "lsa1.kedge.test", ROLE_LOG_STORE);
    wait_until_squid_saw("lsa1.kedge.test");
    gets_from(&rig, "localhost", ROLE_LOG_STORE);
    gets_from(&rig, "127.0.0.1", ROLE_ENTRA);
    squid_stop(&squid);
    gets_from(&rig, "arm.kedge.test", ROLE_ARM); /* without squid: direct */
    assert_false(squid_saw("localhost"));
    assert_false(squid_saw("127.0.0.1"));
    rig_stop(&rig);
}

static void rules_change_under_a_kept_connection(void **state)
{
    struct squid squid;
    struct rig rig;
    (void)state;
    hosts("127.0.0.1 lsa1.kedge.test\n");
    squid_start(&squid, false);
    rig_start(&rig, "good.pem", trusting());
    configure((struct path_settings){.proxy = squid.url, .proxy_bypass = ".*.test"});
    struct http_endpoint *endpoint = open_named(&rig, "lsa1.kedge.test", ROLE_LOG_STORE);
    assert_gets(endpoint, "/bytes/10", 10);
    assert_gets(endpoint, "/bytes/10", 10);
    assert_int_equal(http_server_connections(rig.server), 1); /* kept */
    configure((struct path_settings){.proxy = squid.url});
    assert_gets(endpoint, "/bytes/10", 10);
    assert_int_equal(http_server_connections(rig.server), 2);
    http_endpoint_close(endpoint);
    wait_until_squid_saw("lsa1.kedge.test");
    rig_stop(&rig);
    squid_stop(&squid);
}

static void proxies_ask_who_it_is(void **state)
{
    struct squid squid;
    struct rig rig;
    (void)state;
    hosts("127.0.0.1 arm.kedge.test denied.kedge.test\n");
    write_text("right", "s3cret\n");
    write_text("wrong", "guess\n");
    assert_int_equal(chmod(file_in_dir("right"), 0600), 0);
    assert_int_equal(chmod(file_in_dir("wrong"), 0600), 0);
    squid_start(&squid, true);
    rig_start(&rig, "good.pem", trusting());
    configure((struct path_settings){.proxy = squid.url});
    fails_from(&rig, "arm.kedge.test", ROLE_ARM, FAIL_AUTH, "wants credentials");
    configure((struct path_settings){.proxy = squid.user_url,
                                     .proxy_password_file = file_in_dir("wrong")});
    fails_from(&rig, "arm.kedge.test", ROLE_ARM, FAIL_AUTH, "other credentials");
    configure((struct path_settings){.proxy = squid.user_url,
                                     .proxy_password_file = file_in_dir("right")});
    gets_from(&rig, "arm.kedge.test", ROLE_ARM);
    fails_from(&rig, "denied.kedge.test", ROLE_ARM, FAIL_AUTH, "403");
    assert_non_null(strstr(seen_of("denied.kedge.test").problem, "403"));
    rig_stop(&rig);
    squid_stop(&squid);
}

static void nothing_is_sent_where_it_must_be_private(void **state)
{
    struct path_choice choice = {.must_be_private = true};
    struct err err = ERR_INIT;
    struct rig rig;
    (void)state;
    hosts("127.0.0.1 lsa1.kedge.test\n203.0.113.9 pub.kedge.test\n10.255.0.9 "
          "mixed.kedge.test\n"
          "203.0.113.9 mixed.kedge.test\n");
    rig_start(&rig, "good.pem", trusting());
    configure((struct path_settings){.proxy = "http://127.0.0.1:1",
                                     .proxy_bypass =
                                         "pub.kedge.test, mixed.kedge.test, 203.0.113.9",
                                     .require_private = "log-store"});
    unsigned before = atomic_load(&answered);
    fails_from(&rig, "pub.kedge.test", ROLE_LOG_STORE, FAIL_TRANSIENT, "203.0.113.9");
    fails_from(&rig, "mixed.kedge.test", ROLE_LOG_STORE, FAIL_TRANSIENT, "private");
    fails_from(&rig, "203.0.113.9", ROLE_LOG_STORE, FAIL_TRANSIENT, "private");
    fails_from(&rig, "lsa1.kedge.test", ROLE_LOG_STORE, FAIL_TRANSIENT, "through proxy");
    assert_int_equal(atomic_load(&answered), before);
    assert_int_equal(http_server_connections(rig.server), 0);
    configure((struct path_settings){.require_private = "log-store"});
    gets_from(&rig, "lsa1.kedge.test", ROLE_LOG_STORE); /* loopback leaves no host */
    /* What a connection turns out to be is looked at once more. */
    assert_true(path_check_connected(ROLE_LOG_STORE, &choice, "10.1.0.5", &err));
    assert_false(path_check_connected(ROLE_LOG_STORE, &choice, "203.0.113.9", &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_false(path_check_connected(ROLE_LOG_STORE, &choice, "", &err));
    rig_stop(&rig);
}

static void a_kept_connection_ends_when_its_name_moves(void **state)
{
    struct rig rig;
    (void)state;
    hosts("127.0.0.9 lsa1.kedge.test\n127.0.0.1 lsa1.kedge.test\n"); /* nobody at the
                                                                        first */
    rig_start(&rig, "good.pem", trusting());
    configure((struct path_settings){.proxy = NULL});
    struct http_endpoint *endpoint = open_named(&rig, "lsa1.kedge.test", ROLE_LOG_STORE);
    assert_gets(endpoint, "/bytes/10", 10);
    assert_string_equal(seen_of("lsa1.kedge.test").address, "127.0.0.1");
    hosts("127.0.0.9 lsa1.kedge.test\n");
    configure((struct path_settings){.proxy = NULL});
    assert_fails(endpoint, REQUEST(), FAIL_TRANSIENT, "nobody answers");
    hosts("127.0.0.1 lsa1.kedge.test\n");
    configure((struct path_settings){.proxy = NULL});
    assert_gets(endpoint, "/bytes/10", 10);
    http_endpoint_close(endpoint);
    rig_stop(&rig);
}

struct heard {
    atomic_uint gone, back;
};

static void hear(void *ctx, enum path_event_kind kind, enum path_role role,
                 const char *host, const char *text)
{
    struct heard *heard = ctx;
    (void)host, (void)text;
    if (role != ROLE_ARM)
        return;
    if (kind == PATH_EVENT_UNREACHABLE)
        atomic_fetch_add(&heard->gone, 1);
    else if (kind == PATH_EVENT_REACHABLE)
        atomic_fetch_add(&heard->back, 1);
}

static bool gets_once(struct http_endpoint *endpoint, struct err *err)
{
    struct http_request request = {.method = "GET", .path = "/bytes/10"};
    AUTO(http_answer_release) struct http_answer got = {0};
    return http_exchange(endpoint, &request, &got, err);
}

static void calls_fail_at_once_while_nobody_answers(void **state)
{
    struct heard heard = {.gone = 0};
    struct err err = ERR_INIT;
    struct rig rig;
    (void)state;
    rig_start(&rig, NULL, (struct http_endpoint_options){.role = ROLE_ARM});
    path_listen(hear, &heard);
    unsigned port = http_server_port(rig.server);
    assert_gets(rig.endpoint, "/bytes/10", 10);
    http_server_stop(rig.server);
    for (int i = 0; i < 8 && !heard.gone; i++)
        assert_false(gets_once(rig.endpoint, &err));
    assert_int_equal(heard.gone, 1);
    /* Mostly refused without a try; a probe now and then finds nobody either. */
    err_clear(&err);
    assert_false(path_admit(ROLE_ARM, rig.url, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    assert_true(err.retry_after_ms > 0);
    assert_non_null(strstr(err.text, "has not answered since"));
    assert_false(path_role_ready(ROLE_ARM, NULL, &err));
    assert_true(path_role_ready(ROLE_LOG_STORE, NULL, &err));
    struct http_server_options options = {.handler = answer, .port = port};
    rig.server = http_server_start(&options);
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (!gets_once(rig.endpoint, &err)) {
        assert_true(clock_mono_ms() < until_ms);
        clock_sleep_ms(20);
    }
    assert_int_equal(heard.back, 1);
    assert_true(path_role_ready(ROLE_ARM, NULL, &err));
    assert_string_equal(seen_of("127.0.0.1").problem, "");
    path_listen(NULL, NULL);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(data_goes_direct_and_control_through_the_proxy,
                                  forget_all),
        cmocka_unit_test_teardown(rules_change_under_a_kept_connection, forget_all),
        cmocka_unit_test_teardown(proxies_ask_who_it_is, forget_all),
        cmocka_unit_test_teardown(nothing_is_sent_where_it_must_be_private, forget_all),
        cmocka_unit_test_teardown(a_kept_connection_ends_when_its_name_moves, forget_all),
        cmocka_unit_test_teardown(calls_fail_at_once_while_nobody_answers, forget_all),
    };
    if (!file_exists(SQUID)) {
        (void)fputs("squid is not installed (package squid)\n", stderr);
        return 77;
    }
    return cmocka_run_group_tests_name("way", tests, rig_make_dir, rig_remove_dir);
}
