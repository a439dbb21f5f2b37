/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replica disks in page blobs of the emulator on good days: what was put is what is
 * there, for a model in memory, a client that is not ours and qemu-img; and it costs no
 * more requests than it must. Bad days: test_azure_storm.c.
 */
#include "check_azure.h"

#include "support/read_blob.h"

static void random_writes_meet_the_model(void **state)
{
    struct fixture fix;
    (void)state;
    struct blob_container *container = open_container(azurite_port(azurite), "model");
    begin(&fix, container, "disk-new");
    check_content(&fix);
    write_at_random(&fix, 3, 1200, 1);
    check_content(&fix);
    check_allocated(&fix);
    reopen(&fix);
    write_at_random(&fix, 4, 800, 100);
    write_at_random(&fix, 1, 200, 200);
    check_content(&fix);
    check_allocated(&fix);
    end(&fix);
    blob_container_close(container);
}

/* One lane does what many do. */
static void one_lane_is_enough(void **state)
{
    struct fixture fix;
    (void)state;
    struct blob_container *container = open_container(azurite_port(azurite), "one");
    begin(&fix, container, "disk");
    replica_disk_close(fix.disk);
    fix.closed = 0;
    fix.max_lanes = 1;
    open_disk(&fix, true);
    write_at_random(&fix, 2, 200, 400);
    check_content(&fix);
    end(&fix);
    blob_container_close(container);
}

/* ---- requests ---- */

struct counted {
    struct fixture fix;
    struct fault_proxy *proxy;
    struct blob_container *container;
    unsigned seen;
};

/* The first put finds out that the emulator knows no CRC-64; it is not counted. */
static void begin_counted(struct counted *counted, const char *name, bool is_new)
{
    counted->proxy = start_proxy((struct fault_proxy_options){0});
    counted->container = open_container(fault_proxy_port(counted->proxy), name);
    begin(&counted->fix, counted->container, "disk");
    struct replica_writer *writer = open_writer(&counted->fix);
    put(&counted->fix, writer, 23 * MIB, 4096, 3);
    finish(&counted->fix, writer);
    if (!is_new)
        reopen(&counted->fix);
    counted->seen = fault_proxy_requests(counted->proxy);
}

static void expect_requests(struct counted *counted, unsigned want)
{
    unsigned now = fault_proxy_requests(counted->proxy);
    assert_int_equal(now - counted->seen, want);
    counted->seen = now;
}

static void end_counted(struct counted *counted)
{
    check_content(&counted->fix);
    end(&counted->fix);
    blob_container_close(counted->container);
    fault_proxy_stop(counted->proxy);
}

static void neighbours_are_joined(void **state)
{
    struct counted counted;
    (void)state;
    begin_counted(&counted, "joined", true);
    struct replica_writer *writer = open_writer(&counted.fix);
    for (uint64_t at = 0; at < 16 * MIB; at += MIB)
        put(&counted.fix, writer, at, MIB, at / MIB * 2 + 1);
    finish(&counted.fix, writer);
    expect_requests(&counted, 4);
    writer = open_writer(&counted.fix); /* room for a MiB is always kept */
    for (uint64_t at = 0; at < 13 * MIB; at += 64 * KIB)
        put(&counted.fix, writer, at, 64 * KIB, at / KIB * 2 + 1);
    finish(&counted.fix, writer);
    expect_requests(&counted, 5);
    writer = open_writer(&counted.fix); /* from elsewhere, and longer than a buffer */
    put(&counted.fix, writer, 512, 9 * MIB, 8);
    finish(&counted.fix, writer);
    expect_requests(&counted, 3);
    end_counted(&counted);
}

static void put_zeros(struct fixture *fix, struct replica_writer *writer, uint64_t at,
                      size_t bytes)
{
    struct err err = ERR_INIT;
    uint8_t *room = replica_writer_room(writer);
    memset(room, 0, bytes);
    memset(fix->model + at, 0, bytes);
    assert_ok(replica_writer_put(writer, at, room, bytes, &err), err);
}

static void zeros_of_a_new_disk_cost_nothing(void **state)
{
    struct counted counted;
    (void)state;
    begin_counted(&counted, "zeros-new", true);
    struct replica_writer *writer = open_writer(&counted.fix);
    zero(&counted.fix, writer, 0, 20 * MIB);
    for (uint64_t at = 0; at < 8 * MIB; at += MIB)
        put_zeros(&counted.fix, writer, at, MIB);
    assert_true(replica_writer_drain(writer, &(struct err){0}));
    expect_requests(&counted, 0);
    put(&counted.fix, writer, MIB, 4096, 5);
    zero(&counted.fix, writer, MIB, 2 * MIB); /* not nothing any more */
    put(&counted.fix, writer, 5 * MIB, 4096, 7);
    put_zeros(&counted.fix, writer, 5 * MIB, 4096);
    finish(&counted.fix, writer);
    expect_requests(&counted, 4);
    end_counted(&counted);
}

static void zeros_of_an_old_disk_are_cleared(void **state)
{
    struct counted counted;
    struct err err = ERR_INIT;
    AUTO(extents_release) struct extents set = {0};
    (void)state;
    begin_counted(&counted, "zeros-old", false);
    struct replica_writer *writer = open_writer(&counted.fix);
    put(&counted.fix, writer, 0, MIB, 11);
    assert_ok(replica_writer_drain(writer, &err), err);
    expect_requests(&counted, 1);
    put_zeros(&counted.fix, writer, 0, 64 * KIB);
    zero(&counted.fix, writer, 512 * KIB, 23 * MIB);
    zero(&counted.fix, writer, 4096, 4096);
    finish(&counted.fix, writer);
    expect_requests(&counted, 2);
    assert_ok(replica_disk_allocated(counted.fix.disk, &set, &err), err);
    assert_int_equal(set.count, 2);
    assert_int_equal(extents_total_bytes(&set), 448 * KIB + 4096);
    end_counted(&counted);
}

/* ---- read by others ---- */

static void others_read_what_was_put(void **state)
{
    struct fixture fix;
    struct err err = ERR_INIT;
    struct blob_seen seen;
    struct id id = id_random();
    uint8_t footer[VHD_FOOTER_BYTES];
    uint64_t data_bytes = vhd_data_bytes(DISK_BYTES);
    (void)state;
    if (!read_blob_is_there())
        skip();
    AUTO(free) char *raw = file_join(dir, "model.raw");
    AUTO(free) char *vhd = file_join(dir, "disk.vhd");
    struct blob_container *container = open_container(azurite_port(azurite), "others");
    begin(&fix, container, "disk.vhd");
    AUTO(page_blob_close)
    struct page_blob *blob = page_blob_open(container, fix.name, &err);
    vhd_footer(data_bytes, &id, clock_wall_ms() / 1000, footer);
    assert_ok(page_blob_put(blob, data_bytes, (struct blob_data){footer, sizeof footer},
                            NULL, &err),
              err);
    write_at_random(&fix, 2, 100, 500);
    AUTO(free) uint8_t *whole = xcalloc(1, data_bytes);
    memcpy(whole, fix.model, DISK_BYTES);
    assert_ok(file_write_durable(raw, whole, data_bytes, 0600, &err), err);
    assert_ok(read_blob(dir, azurite_port(azurite), "others", "disk.vhd", NULL, vhd,
                        &seen, &err),
              err);
    const char *const compare[] = {"qemu-img", "compare", "-s", "-f", "raw",
                                   "-F",       "vpc",     raw,  vhd,  NULL};
    assert_ok(process_run(compare, 60000, NULL, NULL, &err), err);
    end(&fix);
    blob_container_close(container);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_writes_meet_the_model),
        cmocka_unit_test(one_lane_is_enough),
        cmocka_unit_test(neighbours_are_joined),
        cmocka_unit_test(zeros_of_a_new_disk_cost_nothing),
        cmocka_unit_test(zeros_of_an_old_disk_are_cleared),
        cmocka_unit_test(others_read_what_was_put),
    };
    if (!azurite_is_there()) {
        (void)printf("KEDGE_AZURITE names no azurite package\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
