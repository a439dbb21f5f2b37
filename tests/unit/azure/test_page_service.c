/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page blobs at a service that does what the emulator does not: checks CRC-64, ends lists
 * of ranges with markers, answers with too much, says "slow down", refuses a SAS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/crc64.h"
#include "azure/page_blob.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "http/sign.h"
#include "support/http_server.h"

#include <stdatomic.h>

#define BLOB_BYTES (20 * GIB)

struct service {
    struct http_server *server;
    struct page_blob *blob;
    /* What it does. */
    unsigned busy_left;      /* answers 503 so often */
    unsigned damaged_left;   /* says Crc64Mismatch so often */
    bool has_no_crc64;       /* as the emulator */
    bool goes_on_forever;    /* one marker again and again */
    bool is_disordered;      /* ranges in descending order */
    bool gives_less;         /* a get */
    uint64_t window_max;     /* of a list: more is too much; 0: no limit */
    const char *refused_sas; /* with this one 403 */
    bool clock_is_off;       /* by its Date, ours */
    /* What it saw. */
    _Atomic unsigned requests, with_crc64, with_md5, renewals, lists;
    unsigned refused_wanted; /* refuses only once so many wait for it; 0: at once */
    _Atomic unsigned refused_here;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct extents put; /* ranges that were taken */
};

static void refuse(struct served_reply *reply, unsigned status, const char *code)
{
    reply->status = status;
    buf_printf(&reply->headers, "x-ms-error-code: %s\r\n", code);
}

static struct extent range_of(const struct served_request *request)
{
    char text[64];
    unsigned long long first = 0, last = 0;
    if (!served_header(request, "x-ms-range", text, sizeof text) ||
        sscanf(text, "bytes=%llu-%llu", &first, &last) != 2)
        abort();
    return (struct extent){first, last + 1};
}

static void take_put(struct service *service, const struct served_request *request,
                     struct served_reply *reply)
{
    char crc_text[32];
    uint8_t crc[8];
    AUTO(buf_release) struct buf want = {0};
    bool has_crc =
        served_header(request, "x-ms-content-crc64", crc_text, sizeof crc_text);
    if (has_crc && service->has_no_crc64) {
        atomic_fetch_add(&service->with_crc64, 1);
        refuse(reply, 500, "FeatureNotSupported");
        return;
    }
    if (service->busy_left) {
        service->busy_left--;
        refuse(reply, 503, "ServerBusy");
        return;
    }
    if (service->damaged_left) {
        service->damaged_left--;
        refuse(reply, 400, "Crc64Mismatch");
        return;
    }
    put_u64le(crc, crc64(request->body.data, request->body.bytes));
    sign_base64(crc, sizeof crc, &want);
    struct extent range = range_of(request);
    if ((has_crc && strcmp(crc_text, buf_text(&want)) != 0) ||
        (request->body.bytes &&
         range.end_bytes - range.start_bytes != request->body.bytes)) {
        refuse(reply, 400, "InvalidInput");
        return;
    }
    char md5[32];
    atomic_fetch_add(&service->with_crc64, has_crc);
    atomic_fetch_add(&service->with_md5,
                     served_header(request, "Content-MD5", md5, sizeof md5));
    LOCK_GUARD(&service->lock);
    extents_add(&service->put, range.start_bytes, range.end_bytes);
    reply->status = 201;
}

/* A page at the begin of each GiB; two to an answer, then a marker. */
static void give_list(struct service *service, const struct served_request *request,
                      struct served_reply *reply)
{
    struct extent window = range_of(request);
    const char *marker = strstr(request->path, "&marker=");
    uint64_t from = marker ? strtoull(marker + 8, NULL, 10) : window.start_bytes;
    atomic_fetch_add(&service->lists, 1);
    if (service->window_max &&
        window.end_bytes - window.start_bytes > service->window_max) {
        buf_reserve(&reply->body, 17 * MIB);
        memset(reply->body.data, ' ', 17 * MIB);
        reply->body.bytes = 17 * MIB;
        return;
    }
    buf_append_text(&reply->body, "<?xml version=\"1.0\"?><PageList>");
    unsigned count = 0;
    uint64_t at = round_up(from, GIB);
    for (; at < window.end_bytes && count < 2; at += GIB, count++) {
        uint64_t start = service->is_disordered ? window.end_bytes - 512 - at : at;
        buf_printf(&reply->body,
                   "<PageRange><Start>%llu</Start><End>%llu</End></PageRange>",
                   (unsigned long long)start, (unsigned long long)start + 511);
    }
    if (service->goes_on_forever)
        buf_append_text(&reply->body, "<NextMarker>7</NextMarker>");
    else if (at < window.end_bytes)
        buf_printf(&reply->body, "<NextMarker>%llu</NextMarker>", (unsigned long long)at);
    else
        buf_append_text(&reply->body, "<NextMarker/>");
    buf_append_text(&reply->body, "</PageList>");
}

static void serve(void *ctx, const struct served_request *request,
                  struct served_reply *reply)
{
    struct service *service = ctx;
    atomic_fetch_add(&service->requests, 1);
    if (service->refused_sas && strstr(request->path, service->refused_sas)) {
        char date[64];
        struct tm tm;
        atomic_fetch_add(&service->refused_here, 1);
        while (atomic_load(&service->refused_here) < service->refused_wanted)
            clock_sleep_ms(1);
        time_t t = (time_t)(clock_wall_ms() / 1000) + (service->clock_is_off ? 3600 : 0);
        (void)gmtime_r(&t, &tm);
        (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        refuse(reply, 403, "AuthenticationFailed");
        buf_printf(&reply->headers, "Date: %s\r\n", date);
    } else if (strcmp(request->method, "HEAD") == 0) {
        buf_printf(&reply->headers,
                   "x-ms-blob-type: PageBlob\r\nContent-Length: %llu\r\n",
                   (unsigned long long)BLOB_BYTES);
    } else if (strstr(request->path, "comp=pagelist")) {
        give_list(service, request, reply);
    } else if (strcmp(request->method, "PUT") == 0) {
        take_put(service, request, reply);
    } else {
        struct extent range = range_of(request);
        reply->status = 206;
        for (uint64_t i = range.start_bytes + service->gives_less; i < range.end_bytes;
             i++)
            buf_put_u8(&reply->body, (uint8_t)i);
    }
}

static struct secret *renew(void *ctx, struct err *err)
{
    struct service *service = ctx;
    AUTO(buf_release) struct buf address = {0};
    (void)err;
    unsigned which = atomic_fetch_add(&service->renewals, 1);
    buf_printf(&address, "http://127.0.0.1:%u/acc/con/disk?sig=new%u",
               http_server_port(service->server), which);
    return secret_new(address.data, address.bytes);
}

static void begin(struct service *service)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf address = {0};
    (void)pthread_mutex_init(&service->lock, NULL);
    struct http_server_options server = {.handler = serve, .ctx = service};
    service->server = http_server_start(&server);
    buf_printf(&address, "http://127.0.0.1:%u/acc/con/disk?sig=old",
               http_server_port(service->server));
    AUTO(secret_free) struct secret *secret = secret_new(address.data, address.bytes);
    struct page_sas_options options = {
        .retry_for_ms = 20000, .retry_base_ms = 1, .renew = renew, .ctx = service};
    service->blob = page_blob_open_sas(secret, &options, &err);
    if (!service->blob)
        fail_msg("%s", err.text);
}

static void end(struct service *service)
{
    page_blob_close(service->blob);
    http_server_stop(service->server);
    extents_release(&service->put);
    (void)pthread_mutex_destroy(&service->lock);
}

static void must_put(struct service *service, uint64_t at, bool *ret_busy)
{
    struct err err = ERR_INIT;
    uint8_t data[4096];
    memset(data, (int)(at / 512 + 1), sizeof data);
    if (!page_blob_put(service->blob, at, (struct blob_data){data, sizeof data}, ret_busy,
                       &err))
        fail_msg("%s", err.text);
    assert_true(extents_contain(&service->put, at, at + sizeof data));
}

static void a_put_carries_its_crc64(void **state)
{
    struct service service = {.damaged_left = 1};
    (void)state;
    begin(&service);
    must_put(&service, 0, NULL);
    must_put(&service, 8192, NULL);
    assert_int_equal(service.with_crc64, 2);
    assert_int_equal(service.with_md5, 0);
    assert_int_equal(service.requests, 3); /* one came damaged */
    end(&service);
}

static void a_service_without_crc64_is_asked_once(void **state)
{
    struct service service = {.has_no_crc64 = true};
    (void)state;
    begin(&service);
    for (uint64_t at = 0; at < 10 * 8192; at += 8192)
        must_put(&service, at, NULL);
    assert_int_equal(service.with_crc64, 1);
    assert_int_equal(service.with_md5, 10);
    end(&service);
}

static void slow_down_is_told(void **state)
{
    struct service service = {.busy_left = 2};
    bool is_busy = false;
    (void)state;
    begin(&service);
    must_put(&service, 0, &is_busy);
    assert_true(is_busy);
    must_put(&service, 8192, &is_busy);
    assert_false(is_busy);
    assert_int_equal(service.requests, 4);
    end(&service);
}

static void check_list(struct service *service)
{
    struct err err = ERR_INIT;
    AUTO(extents_release) struct extents got = {0};
    if (!page_blob_ranges(service->blob, &got, &err))
        fail_msg("%s", err.text);
    assert_int_equal(got.count, BLOB_BYTES / GIB);
    for (size_t i = 0; i < got.count; i++) {
        assert_true(got.items[i].start_bytes == i * GIB);
        assert_true(got.items[i].end_bytes == i * GIB + 512);
    }
}

static void lists_go_on_behind_markers(void **state)
{
    struct service service = {0};
    (void)state;
    begin(&service);
    check_list(&service);
    assert_int_equal(service.lists, 8 + 2); /* 16 GiB and 4 GiB, two ranges at a time */
    end(&service);
}

static void too_long_a_list_is_asked_for_in_pieces(void **state)
{
    struct service service = {.window_max = 3 * GIB};
    (void)state;
    begin(&service);
    check_list(&service);
    end(&service);
}

static void must_fail_list(struct service service, enum err_kind kind)
{
    struct err err = ERR_INIT;
    AUTO(extents_release) struct extents got = {0};
    begin(&service);
    assert_false(page_blob_ranges(service.blob, &got, &err));
    if (err.kind != kind)
        fail_msg("%s", err.text);
    end(&service);
}

static void bad_lists_are_refused(void **state)
{
    (void)state;
    must_fail_list((struct service){.goes_on_forever = true}, FAIL_CORRUPT);
    must_fail_list((struct service){.is_disordered = true}, FAIL_CORRUPT);
    must_fail_list((struct service){.window_max = 1}, FAIL_LIMIT);
}

static void a_get_is_whole(void **state)
{
    struct service service = {0};
    struct err err = ERR_INIT;
    uint8_t data[1024];
    (void)state;
    begin(&service);
    assert_true(page_blob_get(service.blob, 512, data, sizeof data, &err));
    for (size_t i = 0; i < sizeof data; i++)
        assert_int_equal(data[i], (uint8_t)i);
    service.gives_less = true;
    assert_false(page_blob_get(service.blob, 512, data, sizeof data, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    end(&service);
}

static void a_refused_sas_is_renewed_once(void **state)
{
    struct service service = {.refused_sas = "sig=old"};
    struct err err = ERR_INIT;
    uint8_t data[512] = {1};
    (void)state;
    begin(&service);
    must_put(&service, 0, NULL);
    must_put(&service, 8192, NULL);
    assert_int_equal(service.renewals, 1);
    service.refused_sas = "sig=";
    service.clock_is_off = true;
    assert_false(
        page_blob_put(service.blob, 0, (struct blob_data){data, 512}, NULL, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    assert_int_equal(service.renewals, 2);
    assert_non_null(strstr(err.text, "the clock of this host is"));
    assert_null(strstr(err.text, "sig="));
    end(&service);
}

static void *put_own_page(void *arg)
{
    struct service *service = arg;
    struct err err = ERR_INIT;
    uint8_t data[512] = {1};
    bool ok = page_blob_put(service->blob, 0, (struct blob_data){data, 512}, NULL, &err);
    return ok ? service : NULL;
}

/* Four were refused at once: one asks, the others take what it got. */
static void one_asks_for_all(void **state)
{
    enum { PUTTERS = 4 };
    struct service service = {.refused_sas = "sig=old", .refused_wanted = PUTTERS};
    pthread_t threads[PUTTERS];
    (void)state;
    begin(&service);
    for (int i = 0; i < PUTTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_own_page, &service), 0);
    for (int i = 0; i < PUTTERS; i++) {
        void *ok = NULL;
        assert_int_equal(pthread_join(threads[i], &ok), 0);
        assert_non_null(ok);
    }
    assert_int_equal(service.renewals, 1);
    assert_int_equal(service.refused_here, PUTTERS);
    end(&service);
}

static void a_canceled_put_ends(void **state)
{
    struct service service = {.busy_left = 1000000};
    struct err err = ERR_INIT;
    struct cancel cancel;
    uint8_t data[512] = {1};
    (void)state;
    begin(&service);
    cancel_init(&cancel);
    cancel_set(&cancel);
    struct page_write write = {.data = {data, 512}, .cancel = &cancel};
    assert_false(page_blob_write(service.blob, &write, NULL, &err));
    if (err.kind != FAIL_CANCELED)
        fail_msg("%s", err.text);
    cancel_release(&cancel);
    end(&service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_carries_its_crc64),
        cmocka_unit_test(a_service_without_crc64_is_asked_once),
        cmocka_unit_test(slow_down_is_told),
        cmocka_unit_test(lists_go_on_behind_markers),
        cmocka_unit_test(too_long_a_list_is_asked_for_in_pieces),
        cmocka_unit_test(bad_lists_are_refused),
        cmocka_unit_test(a_get_is_whole),
        cmocka_unit_test(a_refused_sas_is_renewed_once),
        cmocka_unit_test(one_asks_for_all),
        cmocka_unit_test(a_canceled_put_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
