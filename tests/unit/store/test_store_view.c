/* SPDX-License-Identifier: Apache-2.0 */
/* A store over a network, and somebody who is asked to stop while it does not answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/store.h"
#include "support/http_server.h"

#include <stdatomic.h>
#include <unistd.h>

static char dir[] = "/tmp/kedge-view-XXXXXX";
static atomic_bool is_silent;
static atomic_uint silent_requests;

/* An account in which nothing is: a listing is empty, an object is not there. */
static void answer(void *ctx, const struct served_request *request,
                   struct served_reply *reply)
{
    (void)ctx;
    if (atomic_load(&is_silent)) {
        atomic_fetch_add(&silent_requests, 1);
        reply->manner = SERVE_SILENCE;
        return;
    }
    buf_append_text(&reply->headers, "Date: Sun, 22 Nov 2026 08:00:00 GMT\r\n");
    if (strstr(request->path, "comp=list")) {
        buf_append_text(&reply->headers, "Content-Type: application/xml\r\n");
        buf_append_text(&reply->body,
                        "<?xml version=\"1.0\"?><EnumerationResults><Blobs/>"
                        "<NextMarker/></EnumerationResults>");
    } else if (strcmp(request->method, "PUT") == 0) {
        reply->status = 201;
    } else {
        reply->status = 404;
        buf_append_text(&reply->headers, "x-ms-error-code: BlobNotFound\r\n");
    }
}

static const char *write_in_dir(const char *name, const char *text)
{
    static char paths[4][128];
    static unsigned next;
    struct err err = ERR_INIT;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    if (!file_write_durable(path, text, strlen(text), 0600, &err))
        fail_msg("%s", err.text);
    return path;
}

static struct store *open_store(const struct http_server *server)
{
    struct err err = ERR_INIT;
    char url[128], credential[512];
    const char *key = write_in_dir("key", "c2VjcmV0\n");
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u/account/box",
                   http_server_port(server));
    (void)snprintf(credential, sizeof credential,
                   "{\"kind\": \"shared-key\", \"key_file\": \"%s\", \"ca_file\": "
                   "\"%s/ca.pem\"}",
                   key, dir);
    struct store_blob_options options = {.url = url,
                                         .credential_file =
                                             write_in_dir("credential", credential),
                                         .retry_for_ms = 600000,
                                         .retry_base_ms = 10,
                                         .role = ROLE_LOG_STORE};
    struct store *store = store_blob_open(&options, &err);
    if (!store)
        fail_msg("%s", err.text);
    return store;
}

struct caller {
    struct store *store;
    pthread_t thread;
    bool ok;
    struct err err;
};

static void *put_one(void *arg)
{
    struct caller *caller = arg;
    caller->ok = store_put(caller->store, "a", (const uint8_t *)"x", 1, STORE_REPLACE,
                           &caller->err);
    return NULL;
}

static void a_call_in_an_outage_ends_when_asked(void **state)
{
    char cert[64];
    struct cancel cancel;
    uint64_t bytes;
    (void)state;
    (void)snprintf(cert, sizeof cert, "%s/good.pem", dir);
    struct http_server_options options = {.handler = answer, .cert_file = cert};
    struct http_server *server = http_server_start(&options);
    struct store *store = open_store(server);
    cancel_init(&cancel);
    struct caller caller = {.store = store_view(store, &cancel), .err = ERR_INIT};
    assert_non_null(caller.store);
    atomic_store(&is_silent, true);
    assert_int_equal(pthread_create(&caller.thread, NULL, put_one, &caller), 0);
    while (!atomic_load(&silent_requests))
        clock_sleep_ms(5);
    cancel_set(&cancel);
    assert_int_equal(pthread_join(caller.thread, NULL), 0); /* else minutes later */
    assert_false(caller.ok);
    assert_int_equal(caller.err.kind, FAIL_CANCELED);
    /* Afterwards each call has one try: it ends by itself, and works when it can. */
    struct err err = ERR_INIT;
    unsigned before = atomic_load(&silent_requests);
    assert_false(store_size(caller.store, "a", &bytes, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    assert_int_equal(atomic_load(&silent_requests), before + 1);
    atomic_store(&is_silent, false);
    err_clear(&err);
    assert_true(
        store_put(caller.store, "a", (const uint8_t *)"x", 1, STORE_REPLACE, &err));
    assert_false(store_size(caller.store, "b", &bytes, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    /* The store itself is as it was. */
    store_close(caller.store);
    err_clear(&err);
    assert_true(store_put(store, "c", (const uint8_t *)"x", 1, STORE_REPLACE, &err));
    store_close(store);
    cancel_release(&cancel);
    http_server_stop(server);
}

static void folders_need_no_view(void **state)
{
    struct store *store = store_memory_new();
    struct cancel cancel;
    (void)state;
    cancel_init(&cancel);
    assert_null(store_view(store, &cancel));
    cancel_release(&cancel);
    store_close(store);
}

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    test_certs_make(dir);
    return 0;
}

static int remove_dir(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_in_an_outage_ends_when_asked),
        cmocka_unit_test(folders_need_no_view),
    };
    return cmocka_run_group_tests_name("store_view", tests, make_dir, remove_dir);
}
