/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane against a scripted host: the whole way from ticket to bytes, then everything a
 * host or somebody in between may do wrong. Whatever happens, a read that succeeds holds
 * the disk's bytes.
 */
#include "vsphere/nfc_lane.h"

#include "base/clock.h"
#include "fake_nfc.h"
#include "vsphere/nfc_budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define DISK_BYTES   (6 * MIB + 3 * 512)
#define READS        32
#define BEHIND_BYTES 4096 /* looked at behind each read */

static uint8_t *disk;

static uint64_t prng(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return z ^ (z >> 31);
}

/* Noise, zeros and text by turns. */
static int set_up(void **state)
{
    (void)state;
    uint64_t seed = 1;
    disk = xcalloc(1, DISK_BYTES);
    for (size_t at = 0; at < DISK_BYTES; at++)
        disk[at] = at / 50000 % 3 == 0   ? 0
                   : at / 50000 % 3 == 1 ? (uint8_t)prng(&seed)
                                         : (uint8_t)(at % 11);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(disk);
    return 0;
}

struct rig {
    struct fake_nfc *fake;
    struct nfc_target target;
    struct nfc_lane_options options;
    struct lane *lane;
    struct lane_counters counters;
    struct lane_read reads[READS];
    uint8_t *data;
};

static void start(struct rig *rig, struct fake_nfc_options options)
{
    *rig = (struct rig){.data = xcalloc(READS, MIB)};
    options.disk = disk;
    options.disk_bytes = DISK_BYTES;
    rig->fake = fake_nfc_start(&options);
    fake_nfc_target(rig->fake, &rig->target);
    rig->options = (struct nfc_lane_options){.target = &rig->target,
                                             .file_name = "[ds 1] v/\xc3\xa4.vmdk",
                                             .disk_bytes = DISK_BYTES,
                                             .attempts = 4};
}

static void open_lane(struct rig *rig)
{
    struct err err = ERR_INIT;
    if (!nfc_lane_open(&rig->options, &rig->lane, &err))
        fail_msg("open: %s", err.text);
}

static struct fake_nfc_seen stop(struct rig *rig)
{
    struct fake_nfc_seen seen;
    if (rig->lane)
        nfc_lane_counters(rig->lane, &rig->counters);
    nfc_lane_close(rig->lane);
    clock_sleep_ms(20); /* the good-bye is on its way */
    fake_nfc_seen(rig->fake, &seen);
    fake_nfc_stop(rig->fake);
    free(rig->data);
    assert_int_equal(nfc_budget_used("127.0.0.1"), 0);
    assert_int_equal(seen.alerts, 0);
    assert_int_equal(seen.written, 0);
    assert_int_equal(seen.wrong_tickets, 0);
    return seen;
}

static void submit(struct rig *rig, size_t i, uint64_t offset, uint32_t length)
{
    struct err err = ERR_INIT;
    rig->reads[i] = (struct lane_read){.offset_bytes = offset,
                                       .length_bytes = length,
                                       .data = rig->data + i * MIB,
                                       .tag = &rig->reads[i]};
    memset(rig->data + i * MIB, 0xee, MIN_OF(MIB, length + BEHIND_BYTES));
    if (!nfc_lane_submit(rig->lane, &rig->reads[i], &err))
        fail_msg("submit: %s", err.text);
}

static struct lane_read *next(struct rig *rig)
{
    struct err err = ERR_INIT;
    struct lane_read *read = nfc_lane_next(rig->lane, NULL, &err);
    if (!read)
        fail_msg("next: %s", err.text);
    return read;
}

static void expect_content(const struct lane_read *read)
{
    if (!read->ok)
        fail_msg("read: %s", read->err.text);
    assert_memory_equal(read->data, disk + read->offset_bytes, read->length_bytes);
    for (size_t i = read->length_bytes;
         i < MIN_OF(MIB, read->length_bytes + BEHIND_BYTES); i++)
        if (read->data[i] != 0xee)
            fail_msg("byte %zu of a read of %u was written", i, read->length_bytes);
}

/* All of the disk, in reads of many lengths, `depth` submitted at a time. */
static void read_all(struct rig *rig, size_t depth)
{
    static const uint32_t lengths[] = {1048576, 512, 65536, 66048, 524288, 131072, 1024};
    uint64_t offset = 0;
    size_t in_flight = 0;
    for (size_t i = 0; i < depth || in_flight > 0; i++) {
        size_t slot = i;
        if (i >= depth) {
            struct lane_read *read = next(rig);
            expect_content(read);
            slot = (size_t)(read - rig->reads);
            in_flight--;
        }
        if (offset == DISK_BYTES)
            continue;
        uint32_t length =
            (uint32_t)MIN_OF(lengths[i % ARRAY_COUNT(lengths)], DISK_BYTES - offset);
        submit(rig, slot, offset, length);
        assert_true(!rig->options.host_budget_bytes ||
                    nfc_budget_used("127.0.0.1") <= rig->options.host_budget_bytes);
        offset += length;
        in_flight++;
    }
    assert_int_equal(offset, DISK_BYTES);
}

static void whole_disk_each_way(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 16; way++) {
        struct rig rig;
        start(&rig, (struct fake_nfc_options){.shuffles = way & 4,
                                              .mixes = way & 8,
                                              .has_no_sha2 = way & 1,
                                              .names_no_host = way & 2,
                                              .trickles = way == 9});
        rig.target.is_plain = way & 1;
        rig.target.quirks.compression = (enum nfc_compression)(way % 4);
        open_lane(&rig);
        read_all(&rig, 20);
        struct fake_nfc_seen seen = stop(&rig);
        assert_int_equal(rig.counters.read_bytes, DISK_BYTES);
        assert_int_equal(rig.counters.reconnects, 0);
        assert_int_equal(seen.connections, 1);
        assert_int_equal(seen.goodbyes, 1);
        assert_int_equal(seen.plain, way & 1);
        if (way == NFC_SKIPZ)
            assert_true(rig.counters.wire_bytes < DISK_BYTES * 3 / 4);
    }
}

static void reads_do_not_wait_on_one_another(void **state)
{
    (void)state;
    for (uint32_t depth = 1; depth <= 64; depth *= 4) {
        struct rig rig;
        start(&rig, (struct fake_nfc_options){0});
        rig.target.quirks.max_in_flight = depth;
        open_lane(&rig);
        read_all(&rig, READS);
        struct fake_nfc_seen seen = stop(&rig);
        assert_true(seen.asked_at_once <= MIN_OF(depth, NFC_IN_FLIGHT_MAX));
        assert_true(seen.asked_at_once > depth / 8);
    }
}

static void unknown_certificate_hears_nothing(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    start(&rig, (struct fake_nfc_options){0});
    rig.target.ticket = fake_nfc_wrong_ticket;
    assert_false(nfc_lane_open(&rig.options, &rig.lane, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    assert_non_null(strstr(err.text, "nothing was sent"));
    struct fake_nfc_seen seen = stop(&rig);
    assert_int_equal(seen.sessions, 0);
    assert_int_equal(seen.connections, 1);
}

/* What ends the opening of a lane, with how many connections at most. */
static void opening_fails(void **state)
{
    (void)state;
    static const struct {
        enum fake_fault fault;
        enum err_kind kind;
        uint32_t connections;
        const char *text;
    } cases[] = {
        {FAKE_OTHER_TLS2, FAIL_AUTH, 1, "another certificate"},
        {FAKE_GREETS_BUSY, FAIL_TRANSIENT, 3, "too many sessions"},
        {FAKE_GREETS_STRANGELY, FAIL_CORRUPT, 3, "SSH-2.0"},
        {FAKE_LONG_LINE, FAIL_CORRUPT, 3, "longer than"},
        {FAKE_REFUSES_SESSION, FAIL_TRANSIENT, 3, "530 Login incorrect"},
        {FAKE_REFUSES_PROXY, FAIL_TRANSIENT, 3, "No such service"},
        {FAKE_SPEAKS_ON, FAIL_CORRUPT, 3, "spoke on"},
        {FAKE_CLOSES_AT_TLS, FAIL_TRANSIENT, 3, "TLS"},
        {FAKE_NO_AIO_FLAG, FAIL_CONFLICT, 1, "another transport"},
        {FAKE_REFUSES_FILE, FAIL_AUTH, 1, "permission check failed"},
        {FAKE_OTHER_SIZE, FAIL_CONFLICT, 1, "resized"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        start(&rig,
              (struct fake_nfc_options){.faults = {cases[i].fault}, .is_stuck = true});
        rig.options.attempts = 3;
        assert_false(nfc_lane_open(&rig.options, &rig.lane, &err));
        if (err.kind != cases[i].kind || !strstr(err.text, cases[i].text))
            fail_msg("fault %d: %s: %s", (int)cases[i].fault, err_kind_name(err.kind),
                     err.text);
        struct fake_nfc_seen seen = stop(&rig);
        assert_int_equal(seen.connections, cases[i].connections);
    }
}

static void handshake_the_other_way(void **state)
{
    (void)state;
    for (unsigned has_43 = 0; has_43 < 2; has_43++) {
        struct rig rig;
        start(&rig, (struct fake_nfc_options){.faults = {has_43 ? FAKE_NEEDS_HANDSHAKE
                                                                : FAKE_REFUSES_HANDSHAKE},
                                              .is_stuck = true});
        rig.target.lib_version = has_43 ? 7 : 11;
        open_lane(&rig);
        read_all(&rig, 4);
        struct fake_nfc_seen seen = stop(&rig);
        assert_int_equal(seen.connections, 2);
        assert_int_equal(seen.handshakes, 1);
    }
}

static void handshake_by_switch_is_not_flipped(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    start(&rig, (struct fake_nfc_options){.faults = {FAKE_REFUSES_HANDSHAKE},
                                          .is_stuck = true});
    rig.target.quirks.handshake = NFC_ALWAYS;
    assert_false(nfc_lane_open(&rig.options, &rig.lane, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_int_equal(stop(&rig).connections, 1);
}

static void large_buffers_refused(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig,
          (struct fake_nfc_options){.faults = {FAKE_REFUSES_BUFFERS}, .is_stuck = true});
    rig.target.quirks.buffer_bytes = 2 * MIB;
    rig.target.quirks.buffer_count = 4;
    open_lane(&rig);
    read_all(&rig, 4);
    assert_int_equal(stop(&rig).connections, 2);
}

/* Each fault once, in the middle: the data is right all the same. */
static void a_loss_costs_a_connection_not_the_data(void **state)
{
    (void)state;
    for (int fault = FAKE_CUT_HEADER; fault <= FAKE_WRONG_OFFSET; fault++) {
        struct rig rig;
        start(&rig, (struct fake_nfc_options){.faults = {(enum fake_fault)fault},
                                              .shuffles = fault & 1,
                                              .fault_after = 9});
        rig.target.quirks.compression = fault & 2 ? NFC_SKIPZ : NFC_STORED;
        open_lane(&rig);
        read_all(&rig, 8);
        struct fake_nfc_seen seen = stop(&rig);
        if (seen.connections != 2 || rig.counters.reconnects != 1 ||
            rig.counters.asked_again_bytes == 0 || rig.counters.read_bytes != DISK_BYTES)
            fail_msg("fault %d: %u connections, %llu reconnects, %llu asked again", fault,
                     seen.connections, (unsigned long long)rig.counters.reconnects,
                     (unsigned long long)rig.counters.asked_again_bytes);
    }
}

/* Each fault for ever: the reads fail in bounded time, with bounded connections, and
 * the lane can be used again. */
static void no_progress_ends(void **state)
{
    (void)state;
    for (int fault = FAKE_CUT_HEADER; fault <= FAKE_WRONG_OFFSET; fault++) {
        struct rig rig;
        start(&rig, (struct fake_nfc_options){.faults = {(enum fake_fault)fault},
                                              .is_stuck = true});
        rig.options.attempts = 2;
        rig.target.silence_ms = 150;
        open_lane(&rig);
        submit(&rig, 0, 0, 131072);
        submit(&rig, 1, MIB, MIB);
        for (int i = 0; i < 2; i++) {
            struct lane_read *read = next(&rig);
            assert_false(read->ok);
            assert_true(read->err.kind == FAIL_TRANSIENT ||
                        read->err.kind == FAIL_CORRUPT || fault == FAKE_ERROR);
        }
        assert_int_equal(nfc_budget_used("127.0.0.1"), 0);
        struct fake_nfc_seen seen = stop(&rig);
        assert_true(seen.connections <= 4);
    }
}

/* An ERROR that comes twice for one read is that read's own. */
static void a_refused_read_fails_alone(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, (struct fake_nfc_options){.faults = {FAKE_ERROR, FAKE_ERROR}});
    open_lane(&rig);
    for (size_t i = 0; i < 4; i++)
        submit(&rig, i, i * MIB, MIB);
    for (size_t i = 0; i < 4; i++) {
        struct lane_read *read = next(&rig);
        if (read == &rig.reads[0]) {
            assert_false(read->ok);
            assert_int_equal(read->err.kind, FAIL_IO);
            assert_non_null(strstr(read->err.text, "34120000")); /* hex of its payload */
            assert_non_null(strstr(read->err.text, "something else"));
        } else {
            expect_content(read);
        }
    }
    (void)stop(&rig);
}

static void out_of_memory_asks_for_less(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig,
          (struct fake_nfc_options){.faults = {FAKE_OUT_OF_MEMORY, FAKE_OUT_OF_MEMORY}});
    open_lane(&rig);
    read_all(&rig, READS);
    struct fake_nfc_seen seen = stop(&rig);
    assert_int_equal(seen.connections, 3);
}

static void cut_every_few_pieces_still_finishes(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, (struct fake_nfc_options){
                    .faults = {FAKE_CUT_DATA}, .is_stuck = true, .fault_after = 25});
    rig.options.attempts = 2;
    open_lane(&rig);
    read_all(&rig, 3);
    struct fake_nfc_seen seen = stop(&rig);
    assert_true(seen.connections > 3);
    assert_true(rig.counters.asked_again_bytes < 3 * MIB * seen.connections);
}

static void cancel_ends_the_wait(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct cancel cancel;
    start(&rig, (struct fake_nfc_options){.faults = {FAKE_STALLS}, .is_stuck = true});
    rig.target.silence_ms = 60000;
    cancel_init(&cancel);
    open_lane(&rig);
    submit(&rig, 0, 0, 65536);
    cancel_set(&cancel);
    uint64_t before_ms = clock_mono_ms();
    assert_null(nfc_lane_next(rig.lane, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    assert_true(clock_mono_ms() - before_ms < 2000);
    (void)stop(&rig);
    cancel_release(&cancel);
}

static void *cancel_soon(void *cancel)
{
    clock_sleep_ms(100);
    cancel_set(cancel);
    return NULL;
}

/* In the middle of a message: the next read must not take its rest for something else. */
static void cancel_in_mid_message_then_on(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct cancel cancel;
    pthread_t thread;
    start(&rig, (struct fake_nfc_options){.faults = {FAKE_STALLS}});
    rig.target.silence_ms = 60000;
    cancel_init(&cancel);
    open_lane(&rig);
    submit(&rig, 0, 0, MIB);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    assert_null(nfc_lane_next(rig.lane, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    expect_content(next(&rig));
    (void)stop(&rig);
    cancel_release(&cancel);
}

static void bad_reads_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset;
        uint32_t length;
    } bad[] = {
        {1, 512},          {0, 0},         {0, 511}, {0, MIB + 512}, {DISK_BYTES, 512},
        {UINT64_MAX, 512}, {~511ull, 1024}};
    struct rig rig;
    start(&rig, (struct fake_nfc_options){0});
    open_lane(&rig);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct err err = ERR_INIT;
        struct lane_read read = {.offset_bytes = bad[i].offset,
                                 .length_bytes = bad[i].length,
                                 .data = rig.data};
        assert_false(nfc_lane_submit(rig.lane, &read, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
    }
    struct err err = ERR_INIT;
    assert_null(nfc_lane_next(rig.lane, NULL, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    (void)stop(&rig);
}

/* Two lanes, one host, room for two reads: never more, and both finish. */
static void *read_all_thread(void *context)
{
    read_all(context, READS);
    return NULL;
}

static void lanes_share_the_hosts_budget(void **state)
{
    (void)state;
    struct rig a;
    struct rig b;
    pthread_t thread;
    start(&a, (struct fake_nfc_options){.delay_ms = 2});
    start(&b, (struct fake_nfc_options){.delay_ms = 2});
    a.options.host_budget_bytes = b.options.host_budget_bytes = 2 * MIB;
    open_lane(&a);
    open_lane(&b);
    assert_int_equal(pthread_create(&thread, NULL, read_all_thread, &b), 0);
    read_all(&a, READS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    nfc_lane_close(TAKE(b.lane));
    (void)stop(&a);
    (void)stop(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_disk_each_way),
        cmocka_unit_test(reads_do_not_wait_on_one_another),
        cmocka_unit_test(unknown_certificate_hears_nothing),
        cmocka_unit_test(opening_fails),
        cmocka_unit_test(handshake_the_other_way),
        cmocka_unit_test(handshake_by_switch_is_not_flipped),
        cmocka_unit_test(large_buffers_refused),
        cmocka_unit_test(a_loss_costs_a_connection_not_the_data),
        cmocka_unit_test(no_progress_ends),
        cmocka_unit_test(a_refused_read_fails_alone),
        cmocka_unit_test(out_of_memory_asks_for_less),
        cmocka_unit_test(cut_every_few_pieces_still_finishes),
        cmocka_unit_test(cancel_ends_the_wait),
        cmocka_unit_test(cancel_in_mid_message_then_on),
        cmocka_unit_test(bad_reads_are_refused),
        cmocka_unit_test(lanes_share_the_hosts_budget),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
