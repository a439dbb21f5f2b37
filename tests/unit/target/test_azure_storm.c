/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replica disks in page blobs on bad days: storms of 503, lost answers, cut bodies, a SAS
 * that is refused, a blob that is gone, a writer that is closed in the middle.
 */
#include "check_azure.h"

/* ---- storms ---- */

static void ride_out(const char *name, struct fault_proxy_options options)
{
    struct fixture fix;
    struct fault_proxy *proxy = start_proxy(options);
    struct blob_container *container = open_container(fault_proxy_port(proxy), "storm");
    begin(&fix, container, name);
    write_at_random(&fix, 2, 160, 300);
    check_content(&fix);
    check_allocated(&fix);
    print_message("%s: %u faults in %u requests\n", name, fault_proxy_faults(proxy),
                  fault_proxy_requests(proxy));
    if (options.refuse_per_mille != 10) /* so few may be none */
        assert_true(fault_proxy_faults(proxy) > 0);
    end(&fix);
    blob_container_close(container);
    fault_proxy_stop(proxy);
}

static void storms_are_ridden_out(void **state)
{
    (void)state;
    ride_out("storm1", (struct fault_proxy_options){.refuse_per_mille = 10});
    ride_out("storm10", (struct fault_proxy_options){.refuse_per_mille = 100});
    ride_out("storm50", (struct fault_proxy_options){.refuse_per_mille = 500});
}

static void lost_answers_and_cut_bodies_do_not_matter(void **state)
{
    (void)state;
    ride_out("lost50", (struct fault_proxy_options){.accept_per_mille = 500});
    ride_out("cut50", (struct fault_proxy_options){.cut_per_mille = 500});
    ride_out("all", (struct fault_proxy_options){.refuse_per_mille = 150,
                                                 .accept_per_mille = 150,
                                                 .cut_per_mille = 150});
}

/* ---- a SAS ---- */

struct renewal {
    const char *name;
    _Atomic unsigned asked;
};

static struct secret *make_address(const char *name, const char *permissions)
{
    char sas[512];
    AUTO(buf_release) struct buf text = {0};
    azurite_sas(permissions, 7200, sas);
    buf_printf(&text, "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/%s?%s",
               azurite_port(azurite), name, sas);
    return secret_new(text.data, text.bytes);
}

static struct secret *renew(void *ctx, struct err *err)
{
    struct renewal *renewal = ctx;
    (void)err;
    atomic_fetch_add(&renewal->asked, 1);
    return make_address(renewal->name, "racwd");
}

/* All lanes are refused at once; one asks, and no write is lost. */
static void a_refused_sas_is_renewed_for_all_lanes(void **state)
{
    struct fixture fix;
    struct err err = ERR_INIT;
    struct renewal renewal = {.name = "sas/disk"};
    AUTO(free) char *ca = file_join(dir, "ca.pem");
    (void)state;
    struct blob_container *container = open_container(azurite_port(azurite), "sas");
    begin(&fix, container, "disk");
    replica_disk_close(fix.disk);
    fix.closed = 0;
    AUTO(secret_free) struct secret *address = make_address("sas/disk", "r");
    struct page_sas_options options = {.ca_file = ca,
                                       .retry_for_ms = 60000,
                                       .retry_base_ms = 4,
                                       .renew = renew,
                                       .ctx = &renewal};
    struct azure_replica_spec spec = {.blob = page_blob_open_sas(address, &options, &err),
                                      .label = "by SAS",
                                      .disk_bytes = DISK_BYTES,
                                      .for_writing = true,
                                      .closed = note_closed,
                                      .ctx = &fix.closed};
    assert_non_null(spec.blob);
    assert_ok(azure_replica_open(&OPS, &spec, &fix.disk, &err), err);
    assert_int_equal(renewal.asked, 0);
    write_at_random(&fix, 3, 150, 600);
    check_content(&fix);
    assert_int_equal(renewal.asked, 1);
    end(&fix);
    blob_container_close(container);
}

/* ---- failures that stay ---- */

static void a_blob_that_is_gone_is_told_by_every_call(void **state)
{
    struct fixture fix;
    struct err err = ERR_INIT;
    static uint8_t data[MIB];
    (void)state;
    struct blob_container *container = open_container(azurite_port(azurite), "gone");
    begin(&fix, container, "disk");
    AUTO(page_blob_close)
    struct page_blob *blob = page_blob_open(container, "disk", &err);
    struct replica_writer *writer = open_writer(&fix);
    assert_ok(page_blob_remove(blob, &err), err);
    memset(data, 1, sizeof data);
    bool ok = true;
    for (uint64_t at = 0; at < 20 * MIB; at += 2 * MIB)
        ok = ok && replica_writer_put(writer, at, data, sizeof data, &err);
    err_clear(&err);
    assert_fails(replica_writer_drain(writer, &err), FAIL_GONE, err);
    assert_fails(replica_writer_put(writer, 0, data, 512, &err), FAIL_GONE, err);
    assert_fails(replica_writer_zero(writer, 0, 512, &err), FAIL_GONE, err);
    assert_false(replica_writer_drain(writer, &err));
    assert_non_null(strstr(err.text, "replica disk 'disk'"));
    err_clear(&err);
    replica_writer_close(writer);
    assert_fails(replica_disk_read(fix.disk, 0, data, 512, &err), FAIL_GONE, err);
    end(&fix);
    fix.closed = 0;
    struct azure_replica_spec spec = {.blob = page_blob_open(container, "disk", &err),
                                      .label = "disk",
                                      .disk_bytes = DISK_BYTES,
                                      .closed = note_closed,
                                      .ctx = &fix.closed};
    assert_fails(azure_replica_open(&OPS, &spec, &fix.disk, &err), FAIL_GONE, err);
    assert_int_equal(fix.closed, 1);
    spec.blob = page_blob_open(container, "small", &err);
    assert_ok(page_blob_create(spec.blob, MIB, &err), err);
    assert_fails(azure_replica_open(&OPS, &spec, &fix.disk, &err), FAIL_CORRUPT, err);
    blob_container_close(container);
}

/* Nothing is answered: without an end to what is under way this would last ten minutes.
 * The other writer's puts are not touched. */
static void a_writer_is_closed_in_the_middle(void **state)
{
    struct fixture fix;
    struct err err = ERR_INIT;
    static uint8_t data[MIB];
    (void)state;
    struct blob_container *good = open_container(azurite_port(azurite), "closing");
    begin(&fix, good, "disk");
    replica_disk_close(fix.disk);
    fix.closed = 0;
    struct fault_proxy *proxy =
        start_proxy((struct fault_proxy_options){.accept_per_mille = 0});
    struct blob_container *container = open_container(fault_proxy_port(proxy), "closing");
    fix.container = container;
    open_disk(&fix, false);
    struct replica_writer *writers[2] = {open_writer(&fix), open_writer(&fix)};
    fault_proxy_refuse_all(proxy, true);
    memset(data, 7, sizeof data);
    for (uint64_t at = 0; at < 10 * MIB; at += 2 * MIB) { /* as its buffers hold */
        assert_ok(replica_writer_put(writers[0], at, data, 64 * KIB, &err), err);
        assert_ok(replica_writer_put(writers[1], at + MIB, data, 64 * KIB, &err), err);
        memset(fix.model + at + MIB, 7, 64 * KIB);
    }
    replica_writer_close(writers[0]);
    fault_proxy_refuse_all(proxy, false);
    finish(&fix, writers[1]);
    memset(fix.read, 0, DISK_BYTES);
    assert_ok(replica_disk_read(fix.disk, 0, fix.read, DISK_BYTES, &err), err);
    for (uint64_t at = 0; at < 10 * MIB; at += 2 * MIB)
        assert_memory_equal(fix.read + at + MIB, fix.model + at + MIB, MIB);
    end(&fix);
    blob_container_close(container);
    blob_container_close(good);
    fault_proxy_stop(proxy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storms_are_ridden_out),
        cmocka_unit_test(lost_answers_and_cut_bodies_do_not_matter),
        cmocka_unit_test(a_refused_sas_is_renewed_for_all_lanes),
        cmocka_unit_test(a_blob_that_is_gone_is_told_by_every_call),
        cmocka_unit_test(a_writer_is_closed_in_the_middle),
    };
    if (!azurite_is_there()) {
        (void)printf("KEDGE_AZURITE names no azurite package\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
