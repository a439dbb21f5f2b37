/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server as a client sees it: each route with good and bad input over a raw socket,
 * so that nothing of the client library hides what goes over the wire.
 */
#include "api/handlers.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "fake_vault.h"
#include "http/client.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* In the tables below what is left out is absent. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define TOKEN "0123456789abcdef"

static char dir[] = "/tmp/kedge-api-XXXXXX";
static char *socket_path;
static struct vault *vault;
static struct api_server *server;
static struct secret *token;

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_non_null(mkdtemp(dir));
    socket_path = file_join(dir, "s");
    vault = vault_open(NULL, &err);
    token = secret_new(TOKEN, strlen(TOKEN));
    const struct api_server_options options = {.vault = vault,
                                               .socket_path = socket_path,
                                               .listen = "127.0.0.1:0",
                                               .token = token};
    server = api_server_start(&options, &err);
    if (!server)
        print_error("%s\n", err.text);
    return server ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    api_server_stop(server);
    vault_close(vault);
    secret_free(token);
    assert_false(file_exists(socket_path));
    free(socket_path);
    return file_remove_tree(dir, &err) ? 0 : 1;
}

/* ---- a raw client ---- */

static int dial(bool is_port)
{
    int fd = socket(is_port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct sockaddr_in port = {.sin_family = AF_INET,
                               .sin_port = htons(api_server_port(server)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    text_copy(name.sun_path, sizeof name.sun_path, socket_path);
    int rc = is_port ? connect(fd, (struct sockaddr *)&port, sizeof port)
                     : connect(fd, (struct sockaddr *)&name, sizeof name);
    assert_int_equal(rc, 0);
    return fd;
}

/* Sends all, reads to the end; returns the status. */
static int talk(bool is_port, const struct buf *request, struct buf *answer)
{
    AUTO(close_fd) int fd = dial(is_port);
    (void)send(fd, request->data, request->bytes,
               MSG_NOSIGNAL); /* it may hang up early */
    buf_clear(answer);
    for (;;) {
        char part[4096];
        ssize_t n = recv(fd, part, sizeof part, 0);
        if (n <= 0)
            break;
        buf_append(answer, part, (size_t)n);
    }
    const char *text = buf_text(answer);
    return text_starts_with(text, "HTTP/1.1 ")
               ? (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0')
               : 0;
}

struct ask {
    const char *method, *path, *body, *headers;
};

static int ask_server(bool is_port, const struct ask *ask, struct buf *answer)
{
    AUTO(buf_release) struct buf request = {0};
    buf_printf(&request, "%s %s HTTP/1.1\r\nConnection: close\r\n%s", ask->method,
               ask->path, ask->headers ? ask->headers : "Host: x\r\n");
    if (ask->body && !(ask->headers && strstr(ask->headers, "Content-Type")))
        buf_append_text(&request, "Content-Type: application/json\r\n");
    if (ask->body)
        buf_printf(&request, "Content-Length: %zu\r\n", strlen(ask->body));
    buf_printf(&request, "\r\n%s", ask->body ? ask->body : "");
    return talk(is_port, &request, answer);
}

static json_t *body_of(const struct buf *answer)
{
    struct err err = ERR_INIT;
    const char *body = strstr(buf_text(answer), "\r\n\r\n");
    assert_non_null(body);
    json_t *json = json_parse("answer", body + 4, strlen(body + 4), &err);
    if (!json)
        print_error("%s\n", buf_text(answer));
    assert_non_null(json);
    return json;
}

/* ---- good calls ---- */

/* Every route answers with its declared status and view. */
static void answers_fit_their_tables(void **state)
{
    static const struct {
        struct ask ask;
        const char *id;
    } CASES[] = {
        {{"GET", "/v1/status"}, "getStatus"},
        {{"GET", "/v1/sources"}, "listSources"},
        {{"POST", "/v1/sources",
          "{\"name\":\"n\",\"kind\":\"qemu\",\"options\":{\"qmp\":\"/q\"}}"},
         "addSource"},
        {{"DELETE", "/v1/sources/kvm"}, "removeSource"},
        {{"POST", "/v1/sources/kvm/check"}, "checkSource"},
        {{"GET", "/v1/targets"}, "listTargets"},
        {{"POST", "/v1/targets",
          "{\"name\":\"n\",\"kind\":\"local\",\"options\":{\"dir\":\"/d\"}}"},
         "addTarget"},
        {{"DELETE", "/v1/targets/here"}, "removeTarget"},
        {{"POST", "/v1/targets/here/check"}, "checkTarget"},
        {{"GET", "/v1/targets/here/inventory"}, "getInventory"},
        {{"GET", "/v1/discover?source=kvm"}, "discover"},
        {{"GET", "/v1/machines"}, "listMachines"},
        {{"POST", "/v1/machines",
          "{\"source\":\"kvm\",\"machine\":\"a b/c\",\"target\":\"here\"}"},
         "replicate"},
        {{"GET", "/v1/machines/web1"}, "getMachine"},
        {{"GET", "/v1/machines/old%31"}, "getMachine"},
        {{"POST", "/v1/machines/web1/operations/sync"}, "operate"},
        {{"POST", "/v1/machines/web1/operations/migrate", "{\"shutdown\":true}"},
         "operate"},
        {{"GET", "/v1/jobs?limit=3&machine=web1"}, "listJobs"},
        {{"GET", "/v1/jobs/1"}, "getJob"},
        {{"DELETE", "/v1/jobs/1"}, "cancelJob"},
        {{"GET", "/v1/events?since=0&limit=2"}, "listEvents"},
        {{"GET", "/v1/throttle"}, "getThrottle"},
        {{"PUT", "/v1/throttle", "{\"bytes_per_second\":1000}"}, "setThrottle"},
        {{"PUT", "/v1/throttle", "{\"calendar\":\"Mon-Fri 08:00-18:00 10MB/s\"}"},
         "setThrottle"},
        {{"GET", "/v1/blackout"}, "getBlackout"},
        {{"PUT", "/v1/blackout", "{\"windows\":\"Monday;7:00;7h\"}"}, "setBlackout"},
        {{"GET", "/v1/orphans"}, "listOrphans"},
        {{"POST", "/v1/orphans/clean"}, "cleanOrphans"},
        {{"GET", "/v1/keys"}, "getKeys"},
        {{"POST", "/v1/keys/rotate"}, "rotateKeys"},
        {{"POST", "/v1/keys/rewrap"}, "rewrapKeys"},
        {{"POST", "/v1/plan", "{\"table\":\"name,size_gib\\nvm,1\\n\"}"}, "plan"},
        {{"GET", "/v1/network"}, "getNetwork"},
        {{"POST", "/v1/network/check", "{\"role\":\"log-store\"}"}, "checkNetwork"},
        {{"POST", "/v1/network/plan",
          "{\"source_region\":\"eastus\",\"target_region\":\"westus\"}"},
         "planNetwork"},
        {{"GET", "/v1/openapi.json"}, "getOpenApi"},
    };
    (void)state;
    AUTO(buf_release) struct buf answer = {0};
    for (const struct api_route *r = api_routes(); r->method; r++) {
        /* test_applier_role.c asks for it. */
        bool is_tried = strcmp(r->id, "getApplier") == 0;
        for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
            if (strcmp(CASES[i].id, r->id) != 0)
                continue;
            is_tried = true;
            int status = ask_server(false, &CASES[i].ask, &answer);
            if (status != r->status)
                print_error("%s: %s\n", r->id, buf_text(&answer));
            assert_int_equal(status, r->status);
            AUTO(json_free) json_t *body = body_of(&answer);
            struct err err = ERR_INIT;
            if (!api_schema_check(api_view_schema(r->answer)->fields, body, &err))
                fail_msg("%s: %s", r->id, err.text);
        }
        if (!is_tried)
            fail_msg("route %s has no test", r->id);
    }
}

static void idempotency_key_gives_the_same_job(void **state)
{
    static const struct ask ASK = {"POST", "/v1/machines/web1/operations/sync", NULL,
                                   "Host: x\r\nIdempotency-Key: k-1\r\n"};
    (void)state;
    AUTO(buf_release) struct buf answer = {0};
    assert_int_equal(ask_server(false, &ASK, &answer), 202);
    AUTO(json_free) json_t *first = body_of(&answer);
    assert_int_equal(ask_server(false, &ASK, &answer), 202);
    AUTO(json_free) json_t *second = body_of(&answer);
    assert_true(json_equal(first, second));
}

/* ---- bad calls ---- */

#define OP     "/v1/machines/web1/operations/"
#define NAME64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    struct ask ask;
    int status;
    const char *kind, *text; /* text: a part of the error's */
} BAD[] = {
    {{"GET", "/"}, 404, "gone", "there is no path"},
    {{"GET", "/v1/nothing"}, 404, "gone", "there is no path"},
    {{"GET", "/v1/sources/../status"}, 404, "gone", "there is no path"},
    {{"DELETE", "/v1/status"}, 405, "input", "use GET"},
    {{"HEAD", "/v1/machines/%zz"}, 405, NULL, NULL},
    {{"OPTIONS", "/v1/machines"}, 405, "input", "use GET, POST"},
    {{"GET", "/v1/status?x=1"}, 400, "input", "'x' is not a parameter"},
    {{"GET", "/v1/events?since=-1"}, 400, "input", "'since'"},
    {{"GET", "/v1/events?since=1&since=2"}, 400, "input", "given twice"},
    {{"GET", "/v1/events?wait_ms=30001"}, 400, "input", "'wait_ms'"},
    {{"GET", "/v1/events?limit=0"}, 400, "input", "'limit'"},
    {{"GET", "/v1/jobs?limit=99999999999999999999"}, 400, "input", "'limit'"},
    {{"GET", "/v1/jobs?machine="}, 400, "input", "'machine'"},
    {{"GET", "/v1/jobs?machine=%ff"}, 400, "input", "UTF-8"},
    {{"GET", "/v1/jobs?machine"}, 400, "input", "'machine'"},
    {{"GET", "/v1/discover?source=a%20b"}, 400, "input", "not a valid name"},
    {{"GET", "/v1/jobs/0"}, 400, "input", "is not a job"},
    {{"GET", "/v1/jobs/abc"}, 400, "input", "is not a job"},
    {{"DELETE", "/v1/jobs/-1"}, 400, "input", "is not a job"},
    {{"GET", "/v1/machines/a%2Fb"}, 400, "input", "not a valid name"},
    {{"GET", "/v1/machines/" NAME64}, 400, "input", "not a valid name"},
    {{"GET", "/v1/machines/x%00"}, 400, "input", "NUL"},
    {{"DELETE", "/v1/sources/%2e%2e"}, 400, "input", "not a valid name"},
    {{"DELETE", "/v1/targets/%20"}, 400, "input", "not a valid name"},
    {{"POST", "/v1/sources/a%0ab/check"}, 400, "input", "not a valid name"},
    {{"GET", "/v1/status", "{}"}, 400, "input", "takes no body"},
    {{"POST", "/v1/sources"}, 415, "input", "application/json"},
    {{"POST", "/v1/sources", "{}", "Host: x\r\nContent-Type: text/plain\r\n"},
     415,
     "input",
     "application/json"},
    {{"POST", "/v1/sources", "{"}, 400, "input", "not valid JSON"},
    {{"POST", "/v1/sources", "[]"}, 400, "input", "must be an object"},
    {{"POST", "/v1/sources", "\"x\""}, 400, "input", "JSON"},
    {{"POST", "/v1/sources", "{} x"}, 400, "input", "not valid JSON"},
    {{"POST", "/v1/sources", "{\"name\":\"a\",\"name\":\"b\"}"},
     400,
     "input",
     "duplicate"},
    {{"POST", "/v1/sources", "{}"}, 400, "input", "'name' is missing"},
    {{"POST", "/v1/sources", "{\"name\":1,\"kind\":\"qemu\",\"options\":{}}"},
     400,
     "input",
     "'name' must be a string"},
    {{"POST", "/v1/sources", "{\"name\":\"a\\u0000b\",\"kind\":\"qemu\",\"options\":{}}"},
     400,
     "input",
     "'"},
    {{"POST", "/v1/sources", "{\"name\":\"-a\",\"kind\":\"qemu\",\"options\":{}}"},
     400,
     "input",
     "not a valid name"},
    {{"POST", "/v1/sources", "{\"name\":\"a\",\"kind\":\"vax\",\"options\":{}}"},
     400,
     "input",
     "it must be one of "},
    {{"POST", "/v1/sources", "{\"name\":\"a\",\"kind\":\"qemu\",\"options\":[]}"},
     400,
     "input",
     "'options' must be an object"},
    {{"POST", "/v1/sources", "{\"name\":\"a\",\"kind\":\"qemu\",\"options\":{}}"},
     400,
     "input",
     "'qmp' is missing"},
    {{"POST", "/v1/sources",
      "{\"name\":\"a\",\"kind\":\"qemu\",\"options\":{\"qmp\":\"relative\"}}"},
     400,
     "input",
     "absolute path"},
    {{"POST", "/v1/sources",
      "{\"name\":\"a\",\"kind\":\"qemu\",\"options\":{\"qmp\":\"/q\",\"cpus\":1}}"},
     400,
     "input",
     "'cpus' is not a known field"},
    {{"POST", "/v1/sources",
      "{\"name\":\"a\",\"kind\":\"image\",\"options\":{\"paths\":[]}}"},
     400,
     "input",
     "at least 1"},
    {{"POST", "/v1/sources",
      "{\"name\":\"a\",\"kind\":\"image\",\"options\":{\"paths\":[1]}}"},
     400,
     "input",
     "'paths[0]'"},
    {{"POST", "/v1/sources",
      "{\"name\":\"a\",\"kind\":\"image\",\"options\":{\"paths\":[\"/a\"],\"cpus\":0}}"},
     400,
     "input",
     "'cpus' must be between 1"},
    {{"POST", "/v1/targets",
      "{\"name\":\"a\",\"kind\":\"local\",\"options\":{\"dir\":\"/"
      "d\",\"format\":\"vhd\"}}"},
     400,
     "input",
     "'raw', 'qcow2'"},
    {{"POST", "/v1/targets", "{\"name\":\"a\",\"kind\":\"qemu\",\"options\":{}}"},
     400,
     "input",
     "one of 'local'"},
    {{"POST", "/v1/machines", "{\"source\":\"kvm\",\"target\":\"here\"}"},
     400,
     "input",
     "'machine' is missing"},
    {{"POST", "/v1/machines",
      "{\"source\":\"kvm\",\"machine\":\"a\",\"target\":\"here\",\"x\":1}"},
     400,
     "input",
     "'x' is not a known field"},
    {{"POST", "/v1/machines",
      "{\"source\":\"kvm\",\"machine\":\"a\",\"target\":\"here\","
      "\"options\":{\"auto_repair\":\"yes\"}}"},
     400,
     "input",
     "'options.auto_repair' must be true or false"},
    {{"POST", "/v1/machines",
      "{\"source\":\"kvm\",\"machine\":\"\",\"target\":\"here\"}"},
     400,
     "input",
     "'machine' must have 1"},
    {{"POST", OP "explode"}, 400, "input", "there is no operation"},
    {{"POST", OP "replicate"}, 400, "input", "there is no operation"},
    {{"POST", OP "sync", "{\"fast\":true}"}, 400, "input", "'fast' is not a known field"},
    {{"POST", OP "migrate", "{\"shutdown\":1}"}, 400, "input", "true or false"},
    {{"POST", OP "migrate", "null"}, 400, "input", "JSON"},
    {{"POST", OP "test-migrate", "{\"name\":\"../x\"}"},
     400,
     "input",
     "not a valid name"},
    {{"POST", OP "test-migrate", "{\"boot_deadline_ms\":-5}"},
     400,
     "input",
     "whole number"},
    {{"POST", OP "test-migrate", "{\"boot_deadline_ms\":1.5}"},
     400,
     "input",
     "whole number"},
    {{"POST", OP "sync", NULL, "Host: x\r\nIdempotency-Key: a b\r\n"},
     400,
     "input",
     "Idempotency-Key"},
    {{"POST", OP "sync", NULL, "Host: x\r\nIdempotency-Key: \r\n"},
     400,
     "input",
     "Idempotency-Key"},
    {{"PUT", "/v1/throttle", "{}"}, 400, "input", "give 'bytes_per_second'"},
    {{"POST", "/v1/plan", "{\"sent_pct\":0}"}, 400, "input", "sent_pct"},
    {{"POST", "/v1/plan", "{\"table\":\"\"}"}, 400, "input", "'table' must have 1"},
    {{"PUT", "/v1/blackout", "{}"}, 400, "input", "'windows' is missing"},
    {{"POST", "/v1/network/check", "{\"role\":\"lsa\"}"}, 400, "input", "lsa"},
    {{"POST", "/v1/network/plan", "{\"source_region\":\"eastus\"}"},
     400,
     "input",
     "'target_region' is missing"},
    {{"POST", "/v1/network/plan",
      "{\"source_region\":\"eastus\",\"target_region\":\"moon\"}"},
     400,
     "input",
     "region 'moon'"},
    {{"PUT", "/v1/throttle", "{\"bytes_per_second\":-1}"}, 400, "input", "0 or more"},
    {{"PUT", "/v1/throttle", "{\"bytes_per_second\":1e3}"}, 400, "input", "whole number"},
    {{"PUT", "/v1/throttle", "{\"bytes_per_second\":99999999999999999999}"},
     400,
     "input",
     "JSON"},
};

static void check_error(const struct buf *answer, const char *kind, const char *text)
{
    AUTO(json_free) json_t *body = body_of(answer);
    const json_t *error = json_object_get(body, "error");
    const char *got_kind = json_string_value(json_object_get(error, "kind"));
    const char *got_text = json_string_value(json_object_get(error, "text"));
    assert_non_null(got_kind);
    assert_non_null(got_text);
    assert_string_equal(got_kind, kind);
    if (!strstr(got_text, text))
        fail_msg("'%s' is not in '%s'", text, got_text);
    assert_null(strchr(got_text, '\n'));
}

static void bad_input_never_reaches_the_vault(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf answer = {0};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        uint64_t calls = fake_vault_calls();
        int status = ask_server(false, &BAD[i].ask, &answer);
        if (status != BAD[i].status)
            print_error("case %zu, %s %s %s:\n%s\n", i, BAD[i].ask.method,
                        BAD[i].ask.path, BAD[i].ask.body ? BAD[i].ask.body : "",
                        buf_text(&answer));
        assert_int_equal(status, BAD[i].status);
        if (BAD[i].kind)
            check_error(&answer, BAD[i].kind, BAD[i].text);
        assert_int_equal(fake_vault_calls(), calls);
    }
}

static void unknown_things_are_gone(void **state)
{
    static const struct ask ASKS[] = {
        {"GET", "/v1/machines/nope"},
        {"POST", "/v1/machines/nope/operations/sync"},
        {"GET", "/v1/jobs/4711"},
        {"DELETE", "/v1/jobs/4711"},
        {"DELETE", "/v1/sources/nope"},
        {"POST", "/v1/sources/nope/check"},
        {"DELETE", "/v1/targets/nope"},
        {"GET", "/v1/discover?source=nope"},
        {"POST", "/v1/machines",
         "{\"source\":\"nope\",\"machine\":\"a\",\"target\":\"here\"}"}};
    (void)state;
    AUTO(buf_release) struct buf answer = {0};
    for (size_t i = 0; i < ARRAY_COUNT(ASKS); i++) {
        assert_int_equal(ask_server(false, &ASKS[i], &answer), 404);
        check_error(&answer, "gone", "there is no");
    }
}

static void large_bodies_are_refused(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf answer = {0}, request = {0};
    uint64_t calls = fake_vault_calls();
    buf_printf(&request,
               "POST /v1/sources HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
               "Content-Type: application/json\r\nContent-Length: %llu\r\n\r\n",
               (unsigned long long)(API_BODY_MAX_BYTES + 1));
    assert_int_equal(talk(false, &request, &answer), 413); /* by the length alone */
    check_error(&answer, "limit", "at most 1048576");
    buf_clear(&request);
    buf_append_text(&request,
                    "POST /v1/sources HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    "Content-Type: application/json\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t sent = 0; sent <= API_BODY_MAX_BYTES; sent += 65536) {
        buf_append_text(&request, "10000\r\n");
        buf_reserve(&request, 65536);
        memset(request.data + request.bytes, ' ', 65536);
        request.bytes += 65536;
        buf_append_text(&request, "\r\n");
    }
    buf_append_text(&request, "0\r\n\r\n");
    assert_int_equal(talk(false, &request, &answer), 413);
    check_error(&answer, "limit", "more than 1048576");
    assert_int_equal(fake_vault_calls(), calls);
}

#define HOST "Host: 127.0.0.1:1\r\n"

static void the_port_wants_host_and_token(void **state)
{
    static const struct {
        const char *headers;
        int status;
    } CASES[] = {
        {HOST, 401},
        {HOST "Authorization: Bearer wrong\r\n", 401},
        {HOST "Authorization: Bearer " TOKEN "x\r\n", 401},
        {HOST "Authorization: Basic " TOKEN "\r\n", 401},
        {"Host: evil.example\r\nAuthorization: Bearer " TOKEN "\r\n", 403},
        {"Authorization: Bearer " TOKEN "\r\nHost: 127.0.0.1.evil\r\n", 403},
        {HOST "Authorization: Bearer " TOKEN "\r\n", 200},
        {"Host: localhost\r\nAuthorization: bearer " TOKEN "\r\n", 200},
    };
    (void)state;
    AUTO(buf_release) struct buf answer = {0};
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        const struct ask ask = {"GET", "/v1/status", NULL, CASES[i].headers};
        uint64_t calls = fake_vault_calls();
        assert_int_equal(ask_server(true, &ask, &answer), CASES[i].status);
        assert_null(strstr(buf_text(&answer), "Access-Control"));
        assert_null(strstr(buf_text(&answer), TOKEN));
        if (CASES[i].status != 200) {
            check_error(&answer, "auth", "; ");
            assert_int_equal(fake_vault_calls(), calls);
        }
    }
    static const struct ask UNKNOWN = {"GET", "/nope", NULL, HOST};
    assert_int_equal(ask_server(true, &UNKNOWN, &answer), 401); /* token first */
}

static void the_socket_is_private(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(stat(socket_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    const struct api_server_options again = {.vault = vault, .socket_path = socket_path};
    struct err err = ERR_INIT;
    assert_null(api_server_start(&again, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_true(file_exists(socket_path)); /* still the first one's */
}

/* ---- long polls ---- */

static void *poll_events(void *ctx)
{
    static const struct ask ASK = {"GET", "/v1/events?since=100000&wait_ms=1500"};
    struct buf answer = {0};
    *(int *)ctx = ask_server(false, &ASK, &answer);
    buf_release(&answer);
    return NULL;
}

static void long_polls_do_not_block_others(void **state)
{
    static const struct ask STATUS = {"GET", "/v1/status"};
    pthread_t threads[API_MAX_WAITERS + 4];
    int statuses[ARRAY_COUNT(threads)] = {0};
    size_t waited = 0, refused = 0;
    (void)state;
    AUTO(buf_release) struct buf answer = {0};
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, poll_events, &statuses[i]), 0);
    clock_sleep_ms(300);
    uint64_t started = clock_mono_ms();
    assert_int_equal(ask_server(false, &STATUS, &answer), 200);
    assert_true(clock_mono_ms() - started < 1000);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        (void)pthread_join(threads[i], NULL);
        waited += statuses[i] == 200;
        refused += statuses[i] == 503;
    }
    assert_int_equal(waited, API_MAX_WAITERS);
    assert_int_equal(refused, 4);
}

static void *event_soon(void *ctx)
{
    (void)ctx;
    clock_sleep_ms(200);
    fake_vault_event("something");
    return NULL;
}

static void a_long_poll_ends_with_an_event(void **state)
{
    AUTO(buf_release) struct buf answer = {0}, path = {0};
    static const struct ask ALL = {"GET", "/v1/events?limit=1000"};
    pthread_t thread;
    (void)state;
    assert_int_equal(ask_server(false, &ALL, &answer), 200);
    AUTO(json_free) json_t *list = body_of(&answer);
    buf_printf(&path, "/v1/events?wait_ms=20000&since=%lld",
               (long long)json_integer_value(json_object_get(list, "next")));
    const struct ask wait = {"GET", buf_text(&path)};
    uint64_t started = clock_mono_ms();
    assert_int_equal(pthread_create(&thread, NULL, event_soon, NULL), 0);
    assert_int_equal(ask_server(false, &wait, &answer), 200);
    (void)pthread_join(thread, NULL);
    uint64_t took = clock_mono_ms() - started;
    assert_true(took >= 150 && took < 5000);
    assert_non_null(strstr(buf_text(&answer), "something"));
}

/* ---- our own client ---- */

static void the_client_maps_errors(void **state)
{
    struct err err = ERR_INIT;
    const struct http_client_options options = {.socket_path = socket_path,
                                                .max_answer_bytes = 4096};
    AUTO(http_client_close) struct http_client *client = http_client_open(&options, &err);
    (void)state;
    assert_non_null(client);
    const struct http_call status = {.method = "GET", .path = "/v1/status"};
    AUTO(json_free) json_t *answer = http_call(client, &status, &err);
    assert_non_null(answer);
    const struct http_call gone = {.method = "GET", .path = "/v1/machines/nope"};
    assert_null(http_call(client, &gone, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    assert_string_equal(err.text, "there is no machine 'nope'; 'kedge list' shows all");
    const struct http_call large = {.method = "GET", .path = "/v1/openapi.json"};
    assert_null(http_call(client, &large, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    const struct http_call slow = {.method = "GET",
                                   .path = "/v1/events?since=999999&wait_ms=3000",
                                   .deadline_ms = 200};
    uint64_t started = clock_mono_ms();
    assert_null(http_call(client, &slow, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    assert_true(clock_mono_ms() - started < 2000);
    const struct http_client_options nobody = {.socket_path = "/nonexistent/socket"};
    AUTO(http_client_close) struct http_client *lost = http_client_open(&nobody, &err);
    assert_null(http_call(lost, &status, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
}

static void the_client_refuses_odd_urls(void **state)
{
    static const char *const ODD[] = {
        "",     "ftp://x",          "http://",           "http://x/path",
        "x:80", "http://user@host", "file:///etc/passwd"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ODD); i++) {
        struct err err = ERR_INIT;
        const struct http_client_options options = {.url = ODD[i]};
        assert_null(http_client_open(&options, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
    }
    AUTO(buf_release) struct buf path = {0};
    http_path_add(&path, "a b/ü");
    http_path_add(&path, "..");
    http_query_add(&path, "k", "1&2");
    http_query_add(&path, "l", "");
    assert_string_equal(buf_text(&path), "/a%20b%2F%C3%BC/%2E%2E?k=1%262&l=");
}

static void the_client_sends_the_token(void **state)
{
    char url[64];
    struct err err = ERR_INIT;
    (void)state;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", api_server_port(server));
    const struct http_client_options options = {.url = url, .token = token};
    AUTO(http_client_close) struct http_client *client = http_client_open(&options, &err);
    AUTO(json_free) json_t *body = json_object();
    json_put_u64(body, "bytes_per_second", 5);
    const struct http_call call = {.method = "PUT", .path = "/v1/throttle", .body = body};
    AUTO(json_free) json_t *answer = http_call(client, &call, &err);
    assert_non_null(answer);
    AUTO(secret_free) struct secret *wrong = secret_new("x", 1);
    const struct http_client_options bad = {.url = url, .token = wrong};
    AUTO(http_client_close) struct http_client *stranger = http_client_open(&bad, &err);
    assert_null(http_call(stranger, &call, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_fit_their_tables),
        cmocka_unit_test(idempotency_key_gives_the_same_job),
        cmocka_unit_test(bad_input_never_reaches_the_vault),
        cmocka_unit_test(unknown_things_are_gone),
        cmocka_unit_test(large_bodies_are_refused),
        cmocka_unit_test(the_port_wants_host_and_token),
        cmocka_unit_test(the_socket_is_private),
        cmocka_unit_test(long_polls_do_not_block_others),
        cmocka_unit_test(a_long_poll_ends_with_an_event),
        cmocka_unit_test(the_client_maps_errors),
        cmocka_unit_test(the_client_refuses_odd_urls),
        cmocka_unit_test(the_client_sends_the_token),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
