/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names through a real name server (dnsmasq) on loopback, and through one that answers
 * whatever it likes; what changes while running. Skipped without dnsmasq.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "netpath/path.h"
#include "netpath/resolve.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LSA         "lsa1.blob.core.windows.net"
#define LSA_URL     "https://" LSA
#define PRIVATELINK "lsa1.privatelink.blob.core.windows.net"
#define PRIVATE_ZONE                                                                     \
    "cname=" LSA "," PRIVATELINK "\nhost-record=" PRIVATELINK ",10.1.0.5\n"
#define PUBLIC_ZONE                                                                      \
    "cname=" LSA "," PRIVATELINK "\nhost-record=" PRIVATELINK ",203.0.113.10\n"
#define PATIENCE_MS 30000

static char dir[] = "/tmp/kedge-resolve-XXXXXX";

/* ---- sockets and servers ---- */

static int bound_socket(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

struct dns {
    int pid;
    uint16_t port;
    char servers[32]; /* "127.0.0.1:PORT" */
};

static int dns_pids[2]; /* of those that run: a test that fails does not stop them */

static bool is_up(const struct dns *dns)
{
    struct path_answer answer;
    struct err err = ERR_INIT;
    struct resolve_options options = {
        .servers = dns->servers, .is_absolute = true, .deadline_ms = 500};
    return resolve_name(&options, "up.example", &answer, &err);
}

static void dns_start_at(struct dns *dns, uint16_t port, const char *zone)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0};
    char path[128], log[128], option[160];
    (void)snprintf(path, sizeof path, "%s/dnsmasq.conf", dir);
    (void)snprintf(log, sizeof log, "%s/dnsmasq.log", dir);
    (void)snprintf(option, sizeof option, "--conf-file=%s", path);
    buf_printf(&text,
               "port=%u\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n"
               "keep-in-foreground\nlocal-ttl=1\nlocal=/windows.net/\nlocal=/example/\n"
               "host-record=up.example,127.0.0.1\n%s%s",
               port, geteuid() == 0 ? "user=root\n" : "", zone);
    if (!file_write_durable(path, text.data, text.bytes, 0600, &err))
        fail_msg("%s", err.text);
    const char *const argv[] = {"dnsmasq", option, "--pid-file=", NULL};
    *dns = (struct dns){.port = port};
    (void)snprintf(dns->servers, sizeof dns->servers, "127.0.0.1:%u", port);
    if (!process_start(argv, log, &dns->pid, &err))
        fail_msg("%s", err.text);
    dns_pids[dns_pids[0] != 0] = dns->pid;
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (!is_up(dns)) {
        if (clock_mono_ms() > until_ms || !process_is_alive(dns->pid))
            fail_msg("dnsmasq does not come up: see %s", log);
        clock_sleep_ms(20);
    }
}

static void dns_start(struct dns *dns, const char *zone)
{
    uint16_t port;
    int fd = bound_socket(&port);
    (void)close(fd);
    dns_start_at(dns, port, zone);
}

static void dns_stop(struct dns *dns)
{
    struct err err = ERR_INIT;
    dns_pids[dns_pids[0] != dns->pid] = 0;
    assert_true(process_stop(dns->pid, 5000, &err));
}

/* ---- what path.h says ---- */

struct heard {
    pthread_mutex_t lock;
    size_t counts[PATH_EVENT_REACHABLE + 1];
    char last[PATH_EVENT_REACHABLE + 1][ERR_TEXT_BYTES];
};

static void hear(void *ctx, enum path_event_kind kind, enum path_role role,
                 const char *host, const char *text)
{
    struct heard *heard = ctx;
    (void)role;
    LOCK_GUARD(&heard->lock);
    heard->counts[kind]++;
    (void)snprintf(heard->last[kind], sizeof heard->last[kind], "%s: %s", host, text);
}

static void configure(const struct path_settings *settings)
{
    struct err err = ERR_INIT;
    if (!path_configure(settings, &err))
        fail_msg("%s", err.text);
}

static int forget_all(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(dns_pids); i++)
        if (dns_pids[i] && process_stop(dns_pids[i], 5000, &err))
            dns_pids[i] = 0;
    path_listen(NULL, NULL);
    configure(&(struct path_settings){.proxy = NULL});
    return 0;
}

static void the_chain_is_followed_and_classified(void **state)
{
    struct dns dns;
    struct path_answer answer;
    struct err err = ERR_INIT;
    (void)state;
    dns_start(&dns, PRIVATE_ZONE "host-record=two.example,10.0.0.9,fd00::9\n"
                                 "host-record=mixed.example,10.0.0.9,2001:db8::9\n"
                                 "host-record=pub.example,203.0.113.77\n");
    configure(&(struct path_settings){.dns_servers = dns.servers});
    if (!path_resolve(ROLE_LOG_STORE, LSA, NULL, &answer, &err))
        fail_msg("%s", err.text);
    assert_int_equal(answer.chain_count, 2);
    assert_string_equal(answer.chain[0], LSA);
    assert_string_equal(answer.chain[1], PRIVATELINK);
    assert_int_equal(answer.address_count, 1);
    assert_string_equal(answer.addresses[0], "10.1.0.5");
    assert_int_equal(answer.class, PATH_PRIVATE);
    assert_int_equal(answer.ttl_s, 1);
    assert_string_equal(answer.from, dns.servers);
    assert_true(path_resolve(ROLE_LOG_STORE, "two.example", NULL, &answer, &err));
    assert_int_equal(answer.address_count, 2);
    assert_int_equal(answer.class, PATH_PRIVATE);
    assert_true(path_resolve(ROLE_LOG_STORE, "mixed.example", NULL, &answer, &err));
    assert_int_equal(answer.class, PATH_PUBLIC); /* one is enough */
    assert_true(path_resolve(ROLE_LOG_STORE, "pub.example", NULL, &answer, &err));
    assert_int_equal(answer.class, PATH_PUBLIC);
    assert_false(path_resolve(ROLE_LOG_STORE, "gone.example", NULL, &answer, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    assert_non_null(strstr(err.text, "gone.example"));
    assert_non_null(strstr(err.text, dns.servers));
    dns_stop(&dns);
}

static void what_needs_no_server_asks_none(void **state)
{
    static const struct {
        const char *host, *address;
        enum path_class class;
    } OF[] = {
        {"10.0.0.4", "10.0.0.4", PATH_PRIVATE},
        {"203.0.113.9", "203.0.113.9", PATH_PUBLIC},
        {"fd00::4", "fd00::4", PATH_PRIVATE},
        {"localhost", "127.0.0.1", PATH_LOOPBACK},
        {"a.localhost", "127.0.0.1", PATH_LOOPBACK},
    };
    struct path_answer answer;
    struct err err = ERR_INIT;
    (void)state;
    configure(&(struct path_settings){.dns_servers = "127.0.0.1:1"});
    for (size_t i = 0; i < ARRAY_COUNT(OF); i++) {
        assert_true(path_resolve(ROLE_ARM, OF[i].host, NULL, &answer, &err));
        assert_string_equal(answer.addresses[0], OF[i].address);
        assert_int_equal(answer.class, OF[i].class);
    }
    assert_false(path_resolve(ROLE_ARM, "a b.example", NULL, &answer, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

static void a_private_name_that_turns_public_raises_an_alarm(void **state)
{
    struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct path_choice choice;
    struct err err = ERR_INIT;
    struct dns dns;
    (void)state;
    dns_start(&dns, PRIVATE_ZONE);
    configure(&(struct path_settings){.dns_servers = dns.servers});
    path_listen(hear, &heard);
    if (!path_choose(ROLE_LOG_STORE, LSA_URL, NULL, &choice, &err))
        fail_msg("%s", err.text);
    assert_string_equal(choice.addresses[0], "10.1.0.5");
    assert_int_equal(choice.class, PATH_PRIVATE);
    path_choice_release(&choice);
    dns_stop(&dns);
    dns_start_at(&dns, dns.port, PUBLIC_ZONE);
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    enum path_class class = PATH_PRIVATE;
    while (class == PATH_PRIVATE && clock_mono_ms() < until_ms) {
        assert_true(path_choose(ROLE_LOG_STORE, LSA_URL, NULL, &choice, &err));
        class = choice.class;
        path_choice_release(&choice);
        clock_sleep_ms(50);
    }
    assert_int_equal(class, PATH_PUBLIC);
    assert_int_equal(heard.counts[PATH_EVENT_PUBLIC], 1);
    const char *text = heard.last[PATH_EVENT_PUBLIC];
    if (!strstr(text, LSA) || !strstr(text, "10.1.0.5") || !strstr(text, "203.0.113.10"))
        fail_msg("%s", text);
    /* From here on it is refused where it must be private, and taken again when mended.
     */
    configure(&(struct path_settings){.dns_servers = dns.servers,
                                      .require_private = "log-store"});
    assert_false(path_choose(ROLE_LOG_STORE, LSA_URL, NULL, &choice, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "203.0.113.10"));
    assert_non_null(strstr(err.text, PRIVATELINK));
    assert_false(path_role_ready(ROLE_LOG_STORE, NULL, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_true(path_choose(ROLE_STATE_STORE, LSA_URL, NULL, &choice, &err));
    path_choice_release(&choice);
    dns_stop(&dns);
    dns_start_at(&dns, dns.port, PRIVATE_ZONE);
    until_ms = clock_mono_ms() + PATIENCE_MS;
    while (!path_role_ready(ROLE_LOG_STORE, NULL, &err)) {
        assert_true(clock_mono_ms() < until_ms);
        clock_sleep_ms(50);
    }
    dns_stop(&dns);
}

static void dead_servers_are_named_and_the_next_one_is_asked(void **state)
{
    uint16_t silent_port;
    int silent = bound_socket(&silent_port);
    struct path_answer answer;
    struct err err = ERR_INIT;
    struct dns dns;
    char servers[80];
    (void)state;
    (void)snprintf(servers, sizeof servers, "127.0.0.1:%u", silent_port);
    struct resolve_options options = {
        .servers = servers, .is_absolute = true, .deadline_ms = 300};
    assert_false(resolve_name(&options, "up.example", &answer, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    assert_non_null(strstr(err.text, servers));
    dns_start(&dns, "");
    (void)snprintf(servers, sizeof servers, "127.0.0.1:%u,%s", silent_port, dns.servers);
    configure(&(struct path_settings){.dns_servers = servers});
    if (!path_resolve(ROLE_ARM, "up.example", NULL, &answer, &err))
        fail_msg("%s", err.text);
    assert_string_equal(answer.addresses[0], "127.0.0.1");
    dns_stop(&dns);
    (void)close(silent);
}

static void a_known_name_outlives_its_servers(void **state)
{
    struct path_answer answer;
    struct err err = ERR_INIT;
    struct dns dns;
    (void)state;
    dns_start(&dns, PRIVATE_ZONE);
    configure(&(struct path_settings){.dns_servers = dns.servers});
    assert_true(path_resolve(ROLE_LOG_STORE, LSA, NULL, &answer, &err));
    dns_stop(&dns);       /* its port refuses from now on */
    clock_sleep_ms(1200); /* past the TTL */
    if (!path_resolve(ROLE_LOG_STORE, LSA, NULL, &answer, &err))
        fail_msg("%s", err.text);
    assert_string_equal(answer.addresses[0], "10.1.0.5");
    assert_false(path_resolve(ROLE_LOG_STORE, "never.example", NULL, &answer, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
}

static void *cancel_soon(void *cancel)
{
    clock_sleep_ms(100);
    cancel_set(cancel);
    return NULL;
}

static void waiting_for_a_server_can_be_canceled(void **state)
{
    uint16_t port;
    int silent = bound_socket(&port);
    struct path_answer answer;
    struct err err = ERR_INIT;
    struct cancel cancel;
    pthread_t thread;
    char servers[32];
    (void)state;
    (void)snprintf(servers, sizeof servers, "127.0.0.1:%u", port);
    cancel_init(&cancel);
    struct resolve_options options = {
        .servers = servers, .is_absolute = true, .deadline_ms = 60000, .cancel = &cancel};
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    assert_false(resolve_name(&options, "up.example", &answer, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cancel_release(&cancel);
    (void)close(silent);
}

static void roles_have_servers_of_their_own(void **state)
{
    struct path_answer answer;
    struct err err = ERR_INIT;
    struct dns inside, outside;
    char servers[96];
    (void)state;
    dns_start(&inside, PRIVATE_ZONE);
    dns_start(&outside, PUBLIC_ZONE);
    (void)snprintf(servers, sizeof servers, "%s, log-store=%s", outside.servers,
                   inside.servers);
    configure(&(struct path_settings){.dns_servers = servers});
    assert_true(path_resolve(ROLE_LOG_STORE, LSA, NULL, &answer, &err));
    assert_string_equal(answer.addresses[0], "10.1.0.5");
    assert_true(path_resolve(ROLE_STATE_STORE, LSA, NULL, &answer, &err));
    assert_string_equal(answer.addresses[0], "203.0.113.10");
    dns_stop(&inside);
    dns_stop(&outside);
}

static void write_file(const char *path, const char *text)
{
    struct err err = ERR_INIT;
    assert_true(file_write_durable(path, text, strlen(text), 0600, &err));
}

static void static_entries_come_first_and_are_marked(void **state)
{
    struct path_answer answer;
    struct err err = ERR_INIT;
    char path[128];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/hosts", dir);
    write_file(path, "# test\n10.1.0.7\t" LSA " other.example # a name\n\n"
                     "fd00::7 " LSA ".\n10.9.9.9 x" LSA "\n");
    const struct path_settings settings = {.hosts_file = path,
                                           .dns_servers = "127.0.0.1:1"};
    configure(&settings);
    assert_true(path_resolve(ROLE_LOG_STORE, LSA, NULL, &answer, &err));
    assert_int_equal(answer.address_count, 2);
    assert_string_equal(answer.addresses[0], "10.1.0.7");
    assert_string_equal(answer.addresses[1], "fd00::7");
    assert_string_equal(answer.from, "hosts entry (for testing)");
    assert_true(path_resolve(ROLE_LOG_STORE, "OTHER.example", NULL, &answer, &err));
    assert_false(path_resolve(ROLE_LOG_STORE, "name", NULL, &answer, &err));
    write_file(path, "10.1.0.8 " LSA "\n");
    configure(&settings);
    assert_true(path_resolve(ROLE_LOG_STORE, LSA, NULL, &answer, &err));
    assert_string_equal(answer.addresses[0], "10.1.0.8");
    write_file(path, LSA " 10.1.0.8\n");
    assert_false(path_configure(&settings, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_non_null(strstr(err.text, "hosts:1"));
}

/* ---- a name server that answers what it likes ---- */

enum manner {
    SERVFAIL,
    GARBAGE,
    CUT,             /* an answer that ends in a record */
    LOOP,            /* a.loop.example and b.loop.example are aliases of each other */
    STALE_ALIAS,     /* NXDOMAIN behind an alias */
    ONLY_IPV4,       /* AAAA is never answered */
    FOREIGN_RECORDS, /* an address for another name, too */
    ODD_NAME,        /* an alias with characters of a terminal */
};

struct fake {
    int fd;
    _Atomic bool is_stopped;
    enum manner manner;
    pthread_t thread;
    char servers[32];
};

static void put_u16(struct buf *out, unsigned v)
{
    buf_put_u8(out, (uint8_t)(v >> 8));
    buf_put_u8(out, (uint8_t)v);
}

static void put_name(struct buf *out, const char *name)
{
    while (*name) {
        size_t bytes = strcspn(name, ".");
        buf_put_u8(out, (uint8_t)bytes);
        buf_append(out, name, bytes);
        name += bytes + (name[bytes] == '.');
    }
    buf_put_u8(out, 0);
}

static void put_record(struct buf *out, const char *name, unsigned type, const void *data,
                       size_t data_bytes)
{
    put_name(out, name);
    put_u16(out, type);
    put_u16(out, 1);
    put_u16(out, 0);
    put_u16(out, 60);
    put_u16(out, (unsigned)data_bytes);
    buf_append(out, data, data_bytes);
}

static void put_alias(struct buf *out, const char *name, const char *alias)
{
    AUTO(buf_release) struct buf data = {0};
    put_name(&data, alias);
    put_record(out, name, 5, data.data, data.bytes);
}

static void put_head(struct buf *out, const uint8_t *query, size_t query_bytes,
                     unsigned rcode, unsigned answers)
{
    size_t question_bytes = strlen((const char *)query + 12) + 1 + 4;
    (void)query_bytes;
    buf_append(out, query, 2);
    put_u16(out, 0x8180 | rcode);
    put_u16(out, 1);
    put_u16(out, answers);
    put_u16(out, 0);
    put_u16(out, 0);
    buf_append(out, query + 12, question_bytes);
}

/* false: no answer at all. */
static bool make_answer(enum manner manner, const uint8_t *query, size_t query_bytes,
                        struct buf *out)
{
    static const uint8_t ADDRESS[4] = {10, 1, 0, 5}, OTHER[4] = {203, 0, 113, 1};
    bool is_ipv4 = query[12 + strlen((const char *)query + 12) + 2] == 1;
    switch (manner) {
    case SERVFAIL:
        put_head(out, query, query_bytes, 2, 0);
        return true;
    case GARBAGE:
        buf_append(out, query, 2);
        for (unsigned i = 0; i < 300; i++)
            buf_put_u8(out, (uint8_t)(0x80 | i * 37));
        return true;
    case CUT:
        put_head(out, query, query_bytes, 0, 1);
        put_record(out, "a.example", 1, ADDRESS, 4);
        out->bytes -= 3;
        return true;
    case LOOP:
        put_head(out, query, query_bytes, 0, 2);
        put_alias(out, "a.example", "b.example");
        put_alias(out, "b.example", "a.example");
        return true;
    case STALE_ALIAS:
        put_head(out, query, query_bytes, 3, 1);
        put_alias(out, "a.example", "gone.privatelink.example");
        return true;
    case ONLY_IPV4:
    case FOREIGN_RECORDS:
        if (!is_ipv4 && manner == ONLY_IPV4)
            return false;
        put_head(out, query, query_bytes, 0, 2);
        put_record(out, "evil.example", 1, OTHER, 4);
        put_record(out, "a.example", 1, ADDRESS, 4);
        return true;
    case ODD_NAME:
        put_head(out, query, query_bytes, 0, 2);
        put_alias(out, "a.example", "\x1b[2J\n.example");
        put_record(out, "\x1b[2J\n.example", 1, ADDRESS, 4);
        return true;
    }
    return false;
}

static void *serve(void *arg)
{
    struct fake *fake = arg;
    while (!fake->is_stopped) {
        struct sockaddr_in peer;
        socklen_t peer_bytes = sizeof peer;
        uint8_t query[512];
        AUTO(buf_release) struct buf out = {0};
        struct pollfd p = {fake->fd, POLLIN, 0};
        if (poll(&p, 1, 50) <= 0)
            continue;
        ssize_t n = recvfrom(fake->fd, query, sizeof query, 0, (struct sockaddr *)&peer,
                             &peer_bytes);
        if (n > 17 && make_answer(fake->manner, query, (size_t)n, &out))
            (void)sendto(fake->fd, out.data, out.bytes, 0, (struct sockaddr *)&peer,
                         peer_bytes);
    }
    return NULL;
}

static bool ask_fake(enum manner manner, struct path_answer *answer, struct err *err)
{
    struct fake fake = {.manner = manner};
    uint16_t port;
    fake.fd = bound_socket(&port);
    (void)snprintf(fake.servers, sizeof fake.servers, "127.0.0.1:%u", port);
    assert_int_equal(pthread_create(&fake.thread, NULL, serve, &fake), 0);
    struct resolve_options options = {.servers = fake.servers, .is_absolute = true};
    bool ok = resolve_name(&options, "a.example", answer, err);
    fake.is_stopped = true;
    assert_int_equal(pthread_join(fake.thread, NULL), 0);
    (void)close(fake.fd);
    return ok;
}

static void hostile_answers_are_refused(void **state)
{
    static const struct {
        enum manner manner;
        enum err_kind kind;
        const char *text;
    } OF[] = {
        {SERVFAIL, FAIL_TRANSIENT, "SERVFAIL"},
        {GARBAGE, FAIL_TRANSIENT, "a.example"},
        {CUT, FAIL_TRANSIENT, "a.example"},
        {LOOP, FAIL_GONE, "has no address"},
        {STALE_ALIAS, FAIL_GONE, "gone.privatelink.example"},
        {ODD_NAME, FAIL_TRANSIENT, "a.example"},
    };
    struct path_answer answer;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(OF); i++) {
        struct err err = ERR_INIT;
        if (ask_fake(OF[i].manner, &answer, &err))
            fail_msg("manner %d was believed", OF[i].manner);
        if (err.kind != OF[i].kind || !strstr(err.text, OF[i].text) ||
            strchr(err.text, '\x1b'))
            fail_msg("manner %d: %s: %s", OF[i].manner, err_kind_name(err.kind),
                     err.text);
        if (OF[i].manner == STALE_ALIAS) {
            assert_int_equal(answer.chain_count, 2);
            assert_string_equal(answer.chain[1], "gone.privatelink.example");
        }
    }
}

static void odd_but_honest_answers_are_taken(void **state)
{
    static const enum manner OF[] = {ONLY_IPV4, FOREIGN_RECORDS};
    struct path_answer answer;
    struct err err = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(OF); i++) {
        if (!ask_fake(OF[i], &answer, &err))
            fail_msg("manner %d: %s", OF[i], err.text);
        assert_true(answer.address_count >= 1);
        for (size_t j = 0; j < answer.address_count; j++)
            assert_string_equal(answer.addresses[j], "10.1.0.5");
    }
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    return file_remove_tree(dir, &err) ? 0 : -1;
}

static bool has_dnsmasq(void)
{
    const char *const argv[] = {"dnsmasq", "--version", NULL};
    struct err err = ERR_INIT;
    return process_run(argv, 10000, NULL, NULL, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_chain_is_followed_and_classified, forget_all),
        cmocka_unit_test_teardown(what_needs_no_server_asks_none, forget_all),
        cmocka_unit_test_teardown(a_private_name_that_turns_public_raises_an_alarm,
                                  forget_all),
        cmocka_unit_test_teardown(dead_servers_are_named_and_the_next_one_is_asked,
                                  forget_all),
        cmocka_unit_test_teardown(a_known_name_outlives_its_servers, forget_all),
        cmocka_unit_test(waiting_for_a_server_can_be_canceled),
        cmocka_unit_test_teardown(roles_have_servers_of_their_own, forget_all),
        cmocka_unit_test_teardown(static_entries_come_first_and_are_marked, forget_all),
        cmocka_unit_test(hostile_answers_are_refused),
        cmocka_unit_test(odd_but_honest_answers_are_taken),
    };
    if (!has_dnsmasq()) {
        (void)fputs("dnsmasq is not installed (package dnsmasq-base)\n", stderr);
        return 77;
    }
    return cmocka_run_group_tests_name("resolve", tests, make_dir, remove_dir);
}
