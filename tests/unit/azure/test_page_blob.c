/* SPDX-License-Identifier: Apache-2.0 */
/* Page blobs in the emulator, read back by a client that is not ours and by qemu-img. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/page_blob.h"
#include "azure/vhd.h"
#include "base/clock.h"
#include "base/file.h"
#include "support/read_blob.h"

#include <unistd.h>

#define BLOB_BYTES (6 * MIB + 512)
#define CONTAINER  "pages"

static char dir[] = "/tmp/kedge-pages-XXXXXX";
static struct azurite *azurite;
static struct blob_container *container;

static struct err err;

#define must(call)                                                                       \
    do {                                                                                 \
        err_clear(&err);                                                                 \
        if (!(call))                                                                     \
            fail_msg("%s: %s", #call, err.text);                                         \
    } while (0)
#define must_fail(call, want)                                                            \
    do {                                                                                 \
        err_clear(&err);                                                                 \
        if (call)                                                                        \
            fail_msg("%s succeeds", #call);                                              \
        if (err.kind != (want))                                                          \
            fail_msg("%s: %s", #call, err.text);                                         \
    } while (0)

static struct blob_container *open_container(unsigned port)
{
    char url[160];
    AUTO(free) char *key_file = file_join(dir, "account.key");
    AUTO(buf_release) struct buf extra = {0};
    buf_printf(&extra, ", \"key_file\": \"%s\"", key_file);
    (void)snprintf(url, sizeof url,
                   "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/" CONTAINER "/seeds", port);
    struct blob_container_options options = {
        .address = url,
        .access_file =
            azurite_credential(dir, "key.json", "shared-key", buf_text(&extra)),
        .retry_for_ms = 60000,
        .retry_base_ms = 4};
    struct blob_container *opened = blob_container_open(&options, &err);
    if (!opened)
        fail_msg("%s", err.text);
    return opened;
}

static struct page_blob *open_blob(const char *name, uint64_t bytes)
{
    struct page_blob *blob = page_blob_open(container, name, &err);
    assert_non_null(blob);
    if (bytes && !page_blob_create(blob, bytes, &err))
        fail_msg("%s", err.text);
    return blob;
}

static void fill(uint8_t *data, size_t bytes, uint32_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
}

static void a_blob_is_made_once(void **state)
{
    uint64_t bytes = 0;
    (void)state;
    AUTO(page_blob_close) struct page_blob *blob = open_blob("made", BLOB_BYTES);
    must(page_blob_create(blob, BLOB_BYTES, &err));
    must(page_blob_size(blob, &bytes, &err));
    assert_int_equal(bytes, BLOB_BYTES);
    must_fail(page_blob_create(blob, BLOB_BYTES + 512, &err), FAIL_CONFLICT);
    must_fail(page_blob_create(blob, 8 * TIB + 512, &err), FAIL_LIMIT);
    must_fail(page_blob_create(blob, 1000, &err), FAIL_INPUT);
    must(page_blob_resize(blob, 2 * MIB, &err));
    must(page_blob_resize(blob, 3 * MIB, &err));
    must(page_blob_size(blob, &bytes, &err));
    assert_int_equal(bytes, 3 * MIB);
    must_fail(page_blob_resize(blob, 9 * TIB, &err), FAIL_LIMIT);
    must(page_blob_remove(blob, &err));
    must(page_blob_remove(blob, &err));
    must_fail(page_blob_size(blob, &bytes, &err), FAIL_GONE);
    must_fail(page_blob_resize(blob, MIB, &err), FAIL_GONE);
    AUTO(page_blob_close) struct page_blob *huge = open_blob("huge", 8 * TIB);
    must(page_blob_size(huge, &bytes, &err));
    assert_true(bytes == 8 * TIB);
    must(blob_put(container, "block", (struct blob_data){"x", 1}, false, &err));
    AUTO(page_blob_close) struct page_blob *other = open_blob("block", 0);
    must_fail(page_blob_size(other, &bytes, &err), FAIL_CONFLICT);
    must_fail(page_blob_create(other, BLOB_BYTES, &err), FAIL_CONFLICT);
}

static void what_the_service_refuses_never_leaves(void **state)
{
    (void)state;
    AUTO(page_blob_close) struct page_blob *blob = open_blob("bounds", BLOB_BYTES);
    AUTO(free) uint8_t *data = xcalloc(1, PAGE_PUT_MAX + 512);
    const struct blob_data page = {data, 512};
    must_fail(page_blob_put(blob, 100, page, NULL, &err), FAIL_INPUT);
    must_fail(page_blob_put(blob, 0, (struct blob_data){data, 100}, NULL, &err),
              FAIL_INPUT);
    must_fail(page_blob_put(blob, 0, (struct blob_data){data, 0}, NULL, &err),
              FAIL_INPUT);
    must_fail(
        page_blob_put(blob, 0, (struct blob_data){data, PAGE_PUT_MAX + 512}, NULL, &err),
        FAIL_LIMIT);
    must_fail(page_blob_put(blob, 8 * TIB, page, NULL, &err), FAIL_LIMIT);
    must_fail(page_blob_put(blob, UINT64_MAX - 511, page, NULL, &err), FAIL_LIMIT);
    must_fail(page_blob_clear(blob, 512, 0, &err), FAIL_INPUT);
    must_fail(page_blob_clear(blob, 512, 8 * TIB, &err), FAIL_LIMIT);
    must_fail(page_blob_get(blob, 1, data, 512, &err), FAIL_INPUT);
    must(page_blob_put(blob, 0, (struct blob_data){data, PAGE_PUT_MAX}, NULL, &err));
    /* Past the end of this one: the service says so. */
    assert_false(page_blob_put(blob, 7 * MIB, page, NULL, &(struct err){0}));
    assert_false(page_blob_get(blob, 6 * MIB, data, 1024, &(struct err){0}));
}

static void pages_are_put_cleared_and_listed(void **state)
{
    (void)state;
    AUTO(page_blob_close) struct page_blob *blob = open_blob("content", BLOB_BYTES);
    AUTO(free) uint8_t *model = xcalloc(1, BLOB_BYTES);
    AUTO(free) uint8_t *read = xcalloc(1, BLOB_BYTES);
    AUTO(extents_release) struct extents want = {0}, got = {0};
    bool is_busy = true;
    must(page_blob_ranges(blob, &got, &err));
    assert_int_equal(got.count, 0);
    fill(model + 512, PAGE_PUT_MAX, 1);
    must(page_blob_put(blob, 512, (struct blob_data){model + 512, PAGE_PUT_MAX}, &is_busy,
                       &err));
    assert_false(is_busy);
    fill(model + 6 * MIB, 512, 2);
    must(page_blob_put(blob, 6 * MIB, (struct blob_data){model + 6 * MIB, 512}, NULL,
                       &err));
    memset(model + MIB, 0, MIB);
    must(page_blob_clear(blob, MIB, MIB, &err));
    must(page_blob_clear(blob, 5 * MIB, MIB, &err)); /* nothing there */
    must(page_blob_get(blob, 0, read, BLOB_BYTES, &err));
    assert_memory_equal(read, model, BLOB_BYTES);
    must(page_blob_ranges(blob, &got, &err));
    extents_add(&want, 512, MIB);
    extents_add(&want, 2 * MIB, PAGE_PUT_MAX + 512);
    extents_add(&want, 6 * MIB, BLOB_BYTES);
    assert_true(extents_equal(&want, &got));
    must(page_blob_clear(blob, 0, BLOB_BYTES, &err));
    extents_clear(&got);
    must(page_blob_ranges(blob, &got, &err));
    assert_int_equal(got.count, 0);
}

/* ---- read by others ---- */

static void check_file(const char *path, const uint8_t *want, size_t bytes)
{
    AUTO(buf_release) struct buf got = {0};
    must(file_read(path, 64 * MIB, &got, &err));
    assert_int_equal(got.bytes, bytes);
    assert_memory_equal(got.data, want, bytes);
}

static void a_snapshot_stays_as_it_was(void **state)
{
    char snapshot[PAGE_SNAPSHOT_BYTES];
    struct blob_seen seen;
    (void)state;
    AUTO(page_blob_close) struct page_blob *blob = open_blob("snap", BLOB_BYTES);
    AUTO(free) uint8_t *old = xcalloc(1, BLOB_BYTES);
    AUTO(free) uint8_t *new = xcalloc(1, BLOB_BYTES);
    AUTO(free) char *path = file_join(dir, "snap.bin");
    AUTO(buf_release) struct buf url = {0};
    fill(old, MIB, 3);
    fill(new, MIB, 4);
    must(page_blob_put(blob, 0, (struct blob_data){old, MIB}, NULL, &err));
    must(page_blob_snapshot(blob, snapshot, &err));
    must(page_blob_put(blob, 0, (struct blob_data){new, MIB}, NULL, &err));
    page_blob_url(blob, snapshot, &url);
    assert_non_null(
        strstr(buf_text(&url), AZURITE_ACCOUNT "/" CONTAINER "/seeds/snap?snapshot=20"));
    if (!read_blob_is_there())
        skip();
    unsigned port = azurite_port(azurite);
    must(read_blob(dir, port, CONTAINER, "seeds/snap", snapshot, path, &seen, &err));
    assert_int_equal(seen.snapshots, 1);
    check_file(path, old, BLOB_BYTES);
    must(read_blob(dir, port, CONTAINER, "seeds/snap", NULL, path, &seen, &err));
    check_file(path, new, BLOB_BYTES);
    must(page_blob_snapshot_remove(blob, snapshot, &err));
    must(page_blob_snapshot_remove(blob, snapshot, &err));
    must(page_blob_snapshot(blob, snapshot, &err));
    must(page_blob_remove(blob, &err)); /* with its snapshots */
}

/* Half of the answers are lost, most of those after it took effect. */
static void a_lost_answer_leaves_no_second_snapshot(void **state)
{
    enum { WANTED = 12 };
    char cert[64], ca[64], snapshots[WANTED][PAGE_SNAPSHOT_BYTES];
    struct blob_seen seen;
    (void)state;
    AUTO(page_blob_close) struct page_blob *like = open_blob("lost-too", MIB);
    page_blob_close(open_blob("lost", MIB));
    (void)snprintf(cert, sizeof cert, "%s/good.pem", dir);
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    struct fault_proxy_options options = {.azurite_port = azurite_port(azurite),
                                          .cert_file = cert,
                                          .ca_file = ca,
                                          .seed = 5,
                                          .accept_per_mille = 500};
    struct fault_proxy *proxy = fault_proxy_start(&options);
    struct blob_container *far = open_container(fault_proxy_port(proxy));
    struct page_blob *blob = page_blob_open(far, "lost", &err);
    assert_non_null(blob);
    must(page_blob_snapshot(like, snapshots[0], &err));
    for (size_t i = 0; i < WANTED; i++)
        must(page_blob_snapshot(blob, snapshots[i], &err));
    assert_true(fault_proxy_faults(proxy) > 0);
    page_blob_close(blob);
    blob_container_close(far);
    fault_proxy_stop(proxy);
    if (!read_blob_is_there())
        skip();
    AUTO(free) char *path = file_join(dir, "lost.bin");
    for (size_t i = 0; i < WANTED; i += WANTED - 1) {
        must(read_blob(dir, azurite_port(azurite), CONTAINER, "seeds/lost", snapshots[i],
                       path, &seen, &err));
        assert_int_equal(seen.snapshots, WANTED);
    }
}

static void qemu_opens_what_was_put(void **state)
{
    enum { DATA_BYTES = 5 * 1024 * 1024 };
    struct blob_seen seen;
    struct id id = id_random();
    uint8_t footer[VHD_FOOTER_BYTES];
    (void)state;
    AUTO(free) uint8_t *data = xcalloc(1, DATA_BYTES);
    AUTO(free) char *raw = file_join(dir, "disk.raw");
    AUTO(free) char *vhd = file_join(dir, "disk.vhd");
    AUTO(page_blob_close)
    struct page_blob *blob = open_blob("disk.vhd", DATA_BYTES + VHD_FOOTER_BYTES);
    fill(data + MIB, 3 * MIB, 9);
    vhd_footer(DATA_BYTES, &id, 1795327218, footer);
    must(page_blob_put(blob, MIB, (struct blob_data){data + MIB, 3 * MIB}, NULL, &err));
    must(page_blob_put(blob, DATA_BYTES, (struct blob_data){footer, sizeof footer}, NULL,
                       &err));
    must(file_write_durable(raw, data, DATA_BYTES, 0600, &err));
    if (!read_blob_is_there())
        skip();
    must(read_blob(dir, azurite_port(azurite), CONTAINER, "seeds/disk.vhd", NULL, vhd,
                   &seen, &err));
    assert_int_equal(seen.ranges, 2);
    const char *const compare[] = {"qemu-img", "compare", "-s", "-f", "raw",
                                   "-F",       "vpc",     raw,  vhd,  NULL};
    must(process_run(compare, 60000, NULL, NULL, &err));
}

/* ---- by a SAS in memory ---- */

struct renewal {
    const char *name;
    long ends_in_s; /* of the next one */
    unsigned asked;
    bool fails;
};

static struct secret *make_address(const char *name, long ends_in_s)
{
    char sas[512];
    AUTO(buf_release) struct buf text = {0};
    azurite_sas("rwd", ends_in_s, sas);
    buf_printf(&text,
               "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/" CONTAINER "/seeds/%s?%s",
               azurite_port(azurite), name, sas);
    return secret_new(text.data, text.bytes);
}

static struct secret *renew(void *ctx, struct err *why)
{
    struct renewal *renewal = ctx;
    renewal->asked++;
    if (!renewal->fails)
        return make_address(renewal->name, renewal->ends_in_s);
    (void)err_set(why, FAIL_AUTH, "no more of them");
    return NULL;
}

static struct page_blob *open_sas(const char *name, long ends_in_s,
                                  struct renewal *renewal)
{
    AUTO(free) char *ca = file_join(dir, "ca.pem");
    AUTO(secret_free) struct secret *address = make_address(name, ends_in_s);
    struct page_sas_options options = {.ca_file = ca,
                                       .retry_for_ms = 20000,
                                       .retry_base_ms = 4,
                                       .renew = renewal ? renew : NULL,
                                       .ctx = renewal};
    struct page_blob *blob = page_blob_open_sas(address, &options, &err);
    if (!blob)
        fail_msg("%s", err.text);
    return blob;
}

static void a_sas_in_memory_is_renewed_ahead(void **state)
{
    uint8_t page[512] = {1}, read[512];
    uint64_t bytes;
    struct renewal renewal = {.name = "sas", .ends_in_s = 7200};
    (void)state;
    page_blob_close(open_blob("sas", MIB));
    AUTO(page_blob_close) struct page_blob *blob = open_sas("sas", 7200, &renewal);
    must(page_blob_size(blob, &bytes, &err));
    assert_int_equal(bytes, MIB);
    assert_int_equal(renewal.asked, 0);
    AUTO(page_blob_close) struct page_blob *ending = open_sas("sas", 120, &renewal);
    must(page_blob_put(ending, 512, (struct blob_data){page, 512}, NULL, &err));
    assert_int_equal(renewal.asked, 1);
    must(page_blob_get(ending, 512, read, 512, &err));
    assert_memory_equal(read, page, 512);
    assert_int_equal(renewal.asked, 1);
}

static void a_sas_that_ended_is_renewed_or_named(void **state)
{
    uint8_t page[512] = {2};
    const struct blob_data data = {page, 512};
    struct renewal renewal = {.name = "sas2", .ends_in_s = -5};
    (void)state;
    page_blob_close(open_blob("sas2", MIB));
    AUTO(page_blob_close) struct page_blob *blob = open_sas("sas2", -5, &renewal);
    must_fail(page_blob_put(blob, 0, data, NULL, &err), FAIL_AUTH); /* ended, too */
    assert_null(strstr(err.text, "sig="));
    renewal.ends_in_s = 3600;
    must(page_blob_put(blob, 0, data, NULL, &err));

    struct renewal empty = {.fails = true};
    AUTO(page_blob_close) struct page_blob *lost = open_sas("sas2", -5, &empty);
    for (int i = 0; i < 3; i++) {
        err_clear(&err);
        assert_false(page_blob_put(lost, 0, data, NULL, &err));
        assert_int_equal(err.kind, FAIL_AUTH);
        assert_non_null(strstr(err.text, "no more of them"));
        assert_null(strstr(err.text, "sig="));
    }
    assert_int_equal(empty.asked, 1); /* not by each request anew */

    struct renewal other = {.name = "sas", .ends_in_s = 3600};
    AUTO(page_blob_close) struct page_blob *moved = open_sas("sas2", -5, &other);
    must_fail(page_blob_put(moved, 0, data, NULL, &err), FAIL_CONFLICT);

    AUTO(page_blob_close) struct page_blob *plain = open_sas("sas2", -5, NULL);
    must_fail(page_blob_put(plain, 0, data, NULL, &err), FAIL_AUTH);
}

static void a_bad_address_is_not_shown(void **state)
{
    static const char *const BAD[] = {
        "",
        "https://h.example",
        "https://h.example/?sig=x",
        "https://h.example/a?sig=x",
        "https://h.example/a/?sig=x",
        "https://h.example/a/b",
        "https://h.example/a/b?",
        "https://h.example/a/b?sv=1",
        "http://h.example/a/b?sig=x",
        "https://h.example/a b/c?sig=x",
        "https://h.example/a/b?sig=x y",
        "ftp://h.example/a/b?sig=x",
        "https://h.example?sig=/a/b",
    };
    struct page_sas_options options = {.retry_for_ms = 1};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        AUTO(secret_free) struct secret *address = secret_new(BAD[i], strlen(BAD[i]));
        err_clear(&err);
        if (page_blob_open_sas(address, &options, &err))
            fail_msg("'%s' was taken", BAD[i]);
        assert_int_equal(err.kind, FAIL_INPUT);
        assert_null(strstr(err.text, "sig=x"));
    }
}

static int begin_all(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    test_certs_make(dir);
    (void)azurite_write(dir, "account.key", azurite_key());
    azurite = azurite_start(dir);
    container = open_container(azurite_port(azurite));
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    blob_container_close(container);
    azurite_stop(azurite);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blob_is_made_once),
        cmocka_unit_test(what_the_service_refuses_never_leaves),
        cmocka_unit_test(pages_are_put_cleared_and_listed),
        cmocka_unit_test(a_snapshot_stays_as_it_was),
        cmocka_unit_test(a_lost_answer_leaves_no_second_snapshot),
        cmocka_unit_test(qemu_opens_what_was_put),
        cmocka_unit_test(a_sas_in_memory_is_renewed_ahead),
        cmocka_unit_test(a_sas_that_ended_is_renewed_or_named),
        cmocka_unit_test(a_bad_address_is_not_shown),
    };
    if (!azurite_is_there()) {
        (void)printf("KEDGE_AZURITE names no azurite package\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
