/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may start: each rule by itself, and long random runs in which every decision is
 * compared with the plainest statement of the rules (admission_oracle.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "admission_oracle.h"

#define MINUTE ((uint64_t)60 * 1000)
#define HOUR   (60 * MINUTE)

struct rig {
    struct admission *admission;
    uint64_t now_ms;
    uint64_t order;
};

static struct rig rig_with(const struct admission_limits *limits)
{
    return (struct rig){.admission = admission_new(limits), .now_ms = 1000 * HOUR};
}

static struct admission_request cycle(const char *machine, enum sched_class class,
                                      uint32_t disks)
{
    return (struct admission_request){.machine = machine,
                                      .class = class,
                                      .gateway = "local",
                                      .site = "",
                                      .host = "",
                                      .disk_count = disks};
}

static struct admission_item *put(struct rig *rig, struct admission_request r)
{
    r.order = rig->order++;
    if (!r.due_ms)
        r.due_ms = rig->now_ms;
    return admission_offer(rig->admission, &r, rig->now_ms);
}

/* Starts what may start; the names, in order, with blanks between. */
static const char *started(struct rig *rig, struct admission_item **ret, char *out)
{
    struct admission_item *item;
    uint64_t look_ms;
    size_t count = 0;
    *out = 0;
    while ((item = admission_next(rig->admission, rig->now_ms, &look_ms))) {
        (void)snprintf(out + strlen(out), 200, "%s%s", count ? " " : "",
                       (const char *)admission_ctx(item));
        ret[count++] = item;
    }
    return out;
}

static struct admission_item *named(struct rig *rig, const char *name,
                                    enum sched_class class, uint32_t disks,
                                    const char *host)
{
    struct admission_request r = cycle(name, class, disks);
    r.host = host;
    r.ctx = (void *)(uintptr_t)name;
    return put(rig, r);
}

static void test_order_of_ranks(void **state)
{
    (void)state;
    struct rig rig = rig_with(&(struct admission_limits){.gateway_cycles = 1});
    struct admission_item *items[8];
    char text[1000];
    static const struct {
        const char *name;
        enum sched_class class;
        bool is_ongoing;
        uint32_t failures;
    } rows[] = {
        {"failing", SCHED_INITIAL, true, 4},       {"delta", SCHED_DELTA, false, 0},
        {"initial", SCHED_INITIAL, false, 0},      {"old-delta", SCHED_DELTA, true, 1},
        {"old-initial", SCHED_INITIAL, true, 3},   {"migrate", SCHED_ON_DEMAND, false, 0},
        {"old-migrate", SCHED_ON_DEMAND, true, 9},
    };
    static const char *const expected[] = {"old-migrate", "migrate", "old-initial",
                                           "old-delta",   "initial", "delta",
                                           "failing"};
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct admission_request r = cycle(rows[i].name, rows[i].class, 1);
        r.is_ongoing = rows[i].is_ongoing;
        r.failures = rows[i].failures;
        r.due_ms = rig.now_ms - i; /* rank goes before waiting */
        r.ctx = (void *)(uintptr_t)rows[i].name;
        (void)put(&rig, r);
    }
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        assert_string_equal(started(&rig, items, text), expected[i]);
        admission_end(rig.admission, items[0]);
    }
    admission_free(rig.admission);
}

static void test_within_a_rank_who_is_due_earlier(void **state)
{
    (void)state;
    struct rig rig = rig_with(&(struct admission_limits){.gateway_cycles = 1});
    struct admission_item *items[8];
    char text[1000];
    uint64_t look_ms;
    struct admission_request r = cycle("late", SCHED_DELTA, 1);
    r.ctx = (void *)(uintptr_t) "late";
    r.due_ms = rig.now_ms + 5;
    (void)put(&rig, r);
    r = cycle("early", SCHED_DELTA, 1);
    r.ctx = (void *)(uintptr_t) "early";
    r.due_ms = rig.now_ms + 3;
    (void)put(&rig, r);
    assert_null(admission_next(rig.admission, rig.now_ms, &look_ms));
    assert_int_equal(look_ms, rig.now_ms + 3);
    rig.now_ms += 10;
    assert_string_equal(started(&rig, items, text), "early");
    admission_end(rig.admission, items[0]);
    assert_string_equal(started(&rig, items, text), "late");
    admission_end(rig.admission, items[0]);
    assert_null(admission_next(rig.admission, rig.now_ms, &look_ms));
    assert_true(look_ms == UINT64_MAX);
    admission_free(rig.admission);
}

static void test_each_limit(void **state)
{
    (void)state;
    struct admission_limits limits = ADMISSION_LIMITS_DEFAULT;
    struct rig rig = rig_with(&limits);
    struct admission_item *items[60];
    char text[2000];
    /* 8 disks per host: a second machine of 5 waits, one of 3 behind it too (it would
     * overtake), on another host all is free */
    (void)named(&rig, "a", SCHED_DELTA, 5, "esx1");
    (void)named(&rig, "b", SCHED_DELTA, 5, "esx1");
    (void)named(&rig, "c", SCHED_DELTA, 3, "esx1");
    (void)named(&rig, "d", SCHED_DELTA, 8, "esx2");
    assert_string_equal(started(&rig, items, text), "a d");
    admission_end(rig.admission, items[0]);
    assert_string_equal(started(&rig, items, text), "b c");
    admission_free(rig.admission);
    /* 52 disks per gateway */
    rig = rig_with(&limits);
    (void)named(&rig, "a", SCHED_DELTA, 30, "");
    (void)named(&rig, "b", SCHED_DELTA, 22, "");
    (void)named(&rig, "c", SCHED_DELTA, 1, "");
    assert_string_equal(started(&rig, items, text), "a b");
    admission_free(rig.admission);
}

static struct admission_item *on_datastore(struct rig *rig, const char *name,
                                           const char *datastore, uint32_t disks)
{
    struct admission_datastore where = {datastore, disks};
    struct admission_request r = cycle(name, SCHED_DELTA, disks);
    r.datastores = &where;
    r.datastore_count = 1;
    r.ctx = (void *)(uintptr_t)name;
    return put(rig, r);
}

static void test_more_disks_than_the_limit_run_alone(void **state)
{
    (void)state;
    struct admission_limits limits = ADMISSION_LIMITS_DEFAULT;
    struct rig rig = rig_with(&limits);
    struct admission_item *items[60];
    char text[2000];
    (void)on_datastore(&rig, "small", "ds1", 2);
    (void)on_datastore(&rig, "huge", "ds1", 16);
    (void)on_datastore(&rig, "next", "ds1", 1);
    (void)on_datastore(&rig, "elsewhere", "ds2", 15);
    assert_string_equal(started(&rig, items, text), "small elsewhere");
    admission_end(rig.admission, items[0]);
    assert_string_equal(started(&rig, items, text), "huge");
    admission_end(rig.admission, items[0]);
    assert_string_equal(started(&rig, items, text), "next");
    admission_free(rig.admission);
    rig = rig_with(&limits);
    (void)named(&rig, "wide", SCHED_DELTA, 9, "esx1");
    (void)named(&rig, "one", SCHED_DELTA, 1, "esx1");
    assert_string_equal(started(&rig, items, text), "wide");
    admission_end(rig.admission, items[0]);
    assert_string_equal(started(&rig, items, text), "one");
    (void)named(&rig, "vast", SCHED_DELTA, 60, "");
    assert_string_equal(started(&rig, items, text), "");
    admission_end(rig.admission, items[0]);
    assert_string_equal(started(&rig, items, text), "vast");
    admission_free(rig.admission);
}

static void test_same_name_at_another_site_is_another_host(void **state)
{
    (void)state;
    struct admission_limits limits = ADMISSION_LIMITS_DEFAULT;
    struct rig rig = rig_with(&limits);
    struct admission_item *items[8];
    char text[1000];
    struct admission_request r = cycle("a", SCHED_DELTA, 8);
    r.host = "esx1";
    r.site = "vc1";
    r.ctx = (void *)(uintptr_t) "a";
    (void)put(&rig, r);
    r.site = "vc2";
    r.ctx = (void *)(uintptr_t) "b";
    (void)put(&rig, r);
    assert_string_equal(started(&rig, items, text), "a b");
    admission_free(rig.admission);
}

static void test_gates(void **state)
{
    (void)state;
    struct admission_limits limits = ADMISSION_LIMITS_DEFAULT;
    struct rig rig = rig_with(&limits);
    struct admission_item *items[8];
    struct admission_wait wait;
    char text[1000];
    admission_set_gate(rig.admission, "local", GATE_BLACKOUT, rig.now_ms + 3 * HOUR);
    struct admission_item *held = named(&rig, "held", SCHED_INITIAL, 8, "esx1");
    struct admission_request r = cycle("exempt", SCHED_ON_DEMAND, 1);
    r.is_blackout_exempt = true;
    r.ctx = (void *)(uintptr_t) "exempt";
    (void)put(&rig, r);
    r = cycle("other", SCHED_DELTA, 8);
    r.gateway = "scale-out";
    r.host = "esx1"; /* who waits at a gate holds up nobody elsewhere */
    r.ctx = (void *)(uintptr_t) "other";
    (void)put(&rig, r);
    assert_string_equal(started(&rig, items, text), "exempt other");
    assert_true(admission_why(rig.admission, held, rig.now_ms, &wait));
    assert_int_equal(wait.reason, WAIT_BLACKOUT);
    assert_string_equal(admission_why_text(&wait, rig.now_ms, text),
                        "blackout window of gateway local; expected in about 3 h");
    admission_set_gate(rig.admission, "local", GATE_DOWN, UINT64_MAX);
    assert_string_equal(started(&rig, items + 2, text), "");
    assert_true(admission_why(rig.admission, held, rig.now_ms, &wait));
    assert_string_equal(admission_why_text(&wait, rig.now_ms, text),
                        "gateway local does not answer");
    admission_set_gate(rig.admission, "local", GATE_OPEN, UINT64_MAX);
    assert_string_equal(started(&rig, items + 2, text), ""); /* esx1 is full now */
    admission_end(rig.admission, items[1]);
    assert_string_equal(started(&rig, items + 2, text), "held");
    admission_free(rig.admission);
}

static void test_a_machine_that_needs_two_full_things_is_not_starved(void **state)
{
    (void)state;
    /* "both" needs host and gateway; small ones keep taking one of them when the other
     * comes free. Whoever offers more must still wait behind it. */
    struct rig rig =
        rig_with(&(struct admission_limits){.host_disks = 2, .gateway_disks = 2});
    struct admission_item *items[8];
    char text[1000];
    struct admission_request r = cycle("x", SCHED_DELTA, 2);
    r.host = "esx1";
    r.gateway = "g2";
    r.ctx = (void *)(uintptr_t) "host-holder";
    (void)put(&rig, r);
    (void)named(&rig, "gate-holder", SCHED_DELTA, 2, "");
    assert_string_equal(started(&rig, items, text), "host-holder gate-holder");
    (void)named(&rig, "both", SCHED_DELTA, 2, "esx1");
    r.ctx = (void *)(uintptr_t) "greedy-host";
    (void)put(&rig, r);
    (void)named(&rig, "greedy-gate", SCHED_DELTA, 2, "");
    assert_string_equal(started(&rig, items + 2, text), "");
    admission_end(rig.admission, items[0]); /* the host is free, the gateway is not */
    assert_string_equal(started(&rig, items + 2, text), "");
    admission_end(rig.admission, items[1]);
    assert_string_equal(started(&rig, items + 2, text), "both");
    admission_end(rig.admission, items[2]);
    assert_string_equal(started(&rig, items, text), "greedy-host greedy-gate");
    admission_free(rig.admission);
}

static void test_a_full_host_does_not_hold_up_the_gateway(void **state)
{
    (void)state;
    struct admission_limits limits = ADMISSION_LIMITS_DEFAULT;
    struct rig rig = rig_with(&limits);
    struct admission_item *items[8];
    char text[1000];
    (void)named(&rig, "a", SCHED_DELTA, 8, "esx1");
    (void)named(&rig, "b", SCHED_ON_DEMAND, 8, "esx1");
    (void)named(&rig, "c", SCHED_ON_DEMAND, 8, "esx1");
    (void)named(&rig, "d", SCHED_DELTA, 8, "esx2");
    assert_string_equal(started(&rig, items, text), "b d");
    admission_free(rig.admission);
}

static void test_running_ones_are_not_pre_empted(void **state)
{
    (void)state;
    struct rig rig = rig_with(&(struct admission_limits){.gateway_cycles = 1});
    struct admission_item *items[8];
    char text[1000];
    (void)named(&rig, "delta", SCHED_DELTA, 1, "");
    assert_string_equal(started(&rig, items, text), "delta");
    (void)named(&rig, "migrate", SCHED_ON_DEMAND, 1, "");
    assert_string_equal(started(&rig, items + 1, text), "");
    assert_true(admission_is_running(items[0]));
    admission_end(rig.admission, items[0]);
    assert_string_equal(started(&rig, items, text), "migrate");
    admission_free(rig.admission);
}

static void test_clock_set_back(void **state)
{
    (void)state;
    struct rig rig = rig_with(&(struct admission_limits){0});
    struct admission_item *items[8];
    char text[1000];
    uint64_t look_ms;
    struct admission_request r = cycle("soon", SCHED_DELTA, 1);
    r.ctx = (void *)(uintptr_t) "soon";
    r.due_ms = rig.now_ms + 10 * MINUTE;
    (void)put(&rig, r);
    assert_string_equal(started(&rig, items, text), "");
    rig.now_ms -= 2 * HOUR;
    assert_null(admission_next(rig.admission, rig.now_ms, &look_ms));
    assert_int_equal(look_ms, rig.now_ms + 10 * MINUTE);
    r.ctx = (void *)(uintptr_t) "sooner";
    r.due_ms = rig.now_ms + 5 * MINUTE;
    (void)put(&rig, r);
    assert_null(admission_next(rig.admission, rig.now_ms, &look_ms));
    assert_int_equal(look_ms, rig.now_ms + 5 * MINUTE);
    rig.now_ms += 10 * MINUTE;
    assert_string_equal(started(&rig, items, text), "sooner soon");
    admission_free(rig.admission);
}

static void test_why(void **state)
{
    (void)state;
    struct admission_limits limits = ADMISSION_LIMITS_DEFAULT;
    struct rig rig = rig_with(&limits);
    struct admission_item *items[60], *item;
    struct admission_wait wait;
    char text[2000], why[ADMISSION_WHY_BYTES];
    (void)named(&rig, "vm-40", SCHED_DELTA, 4, "esx3");
    (void)named(&rig, "vm-12", SCHED_DELTA, 4, "esx3");
    (void)started(&rig, items, text);
    item = named(&rig, "vm-1", SCHED_DELTA, 2, "esx3");
    struct admission_item *second = named(&rig, "vm-2", SCHED_DELTA, 1, "esx3");
    (void)started(&rig, items + 2, text);
    assert_true(admission_why(rig.admission, item, rig.now_ms, &wait));
    assert_int_equal(wait.reason, WAIT_HOST);
    assert_string_equal(wait.resource, "esx3");
    assert_int_equal(wait.used, 8);
    assert_int_equal(wait.limit, 8);
    assert_int_equal(wait.holder_count, 2);
    assert_int_equal(wait.expected_ms, 0); /* nobody knows */
    assert_string_equal(admission_why_text(&wait, rig.now_ms, why),
                        "8 of 8 disks busy on host esx3: vm-12, vm-40");
    admission_expect(rig.admission, items[0], rig.now_ms + 25 * MINUTE);
    admission_expect(rig.admission, items[1], rig.now_ms + 3 * HOUR);
    assert_true(admission_why(rig.admission, item, rig.now_ms, &wait));
    assert_string_equal(
        admission_why_text(&wait, rig.now_ms, why),
        "8 of 8 disks busy on host esx3: vm-12, vm-40; expected in about 25 min");
    assert_true(admission_why(rig.admission, second, rig.now_ms, &wait));
    assert_string_equal(wait.after, "vm-1");
    assert_string_equal(admission_why_text(&wait, rig.now_ms, why),
                        "8 of 8 disks busy on host esx3: vm-12, vm-40; vm-1 goes first; "
                        "expected in about 25 min");
    /* overdue: what was expected did not come true; the next one counts, then nothing */
    assert_true(admission_why(rig.admission, item, rig.now_ms + 26 * MINUTE, &wait));
    assert_int_equal(wait.expected_ms, rig.now_ms + 3 * HOUR);
    assert_true(admission_why(rig.admission, item, rig.now_ms + 4 * HOUR, &wait));
    assert_int_equal(wait.expected_ms, 0);
    assert_false(admission_why(rig.admission, items[0], rig.now_ms, &wait));
    struct admission_request r = cycle("later", SCHED_DELTA, 1);
    r.due_ms = rig.now_ms + 1;
    item = put(&rig, r);
    assert_false(admission_why(rig.admission, item, rig.now_ms, &wait));
    assert_true(admission_why(rig.admission, item, rig.now_ms + 1, &wait));
    assert_string_equal(admission_why_text(&wait, rig.now_ms, why), "is next");
    admission_free(rig.admission);
}

static void test_machines_in_all(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    const struct fleet_limits limits = FLEET_LIMITS_DEFAULT;
    assert_true(fleet_admits(&limits, "local", 299, 299, &err));
    assert_false(fleet_admits(&limits, "local", 300, 300, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    assert_string_equal(err.text, "gateway 'local' replicates 300 of 300 machines; add a "
                                  "scale-out gateway, or raise gateway_machines");
    err_clear(&err);
    assert_true(fleet_admits(&limits, "scale-out", 199, 499, &err));
    assert_false(fleet_admits(&limits, "scale-out", 200, 500, &err));
    assert_non_null(strstr(err.text, "raise total_machines"));
    assert_true(fleet_admits(&(struct fleet_limits){0}, "g", 100000, 100000, &err));
}

/* ---- random runs against the oracle ---- */

#define ITEMS 120

static uint64_t random_next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *seed >> 33;
}

static struct admission_request random_request(uint64_t *seed, size_t id, uint64_t now_ms,
                                               char names[6][16],
                                               struct admission_datastore *datastores)
{
    struct admission_request r = {.machine = names[0], .site = "", .order = id % 7};
    (void)snprintf(names[0], 16, "vm-%zu", id);
    (void)snprintf(names[1], 16, "g%u", (unsigned)(random_next(seed) % 3));
    (void)snprintf(names[2], 16, "esx%u", (unsigned)(random_next(seed) % 5));
    r.gateway = random_next(seed) % 20 ? names[1] : "";
    r.host = random_next(seed) % 8 ? names[2] : "";
    r.class = (enum sched_class)(random_next(seed) % 3);
    r.is_ongoing = random_next(seed) % 4 == 0;
    r.failures = random_next(seed) % 10 ? 0 : (uint32_t)(random_next(seed) % 6);
    r.is_blackout_exempt = random_next(seed) % 8 == 0;
    r.due_ms = now_ms + random_next(seed) % 40 - 20;
    r.disk_count = 1 + (uint32_t)(random_next(seed) % (random_next(seed) % 9 ? 3 : 9));
    r.datastore_count = random_next(seed) % 4;
    for (size_t i = 0; i < r.datastore_count; i++) {
        (void)snprintf(names[3 + i], 16, "ds%u",
                       (unsigned)(3 * i + random_next(seed) % 3));
        datastores[i] = (struct admission_datastore){
            names[3 + i], 1 + (uint32_t)(random_next(seed) % 6)};
    }
    r.datastores = datastores;
    r.ctx = (void *)(uintptr_t)(id + 1);
    return r;
}

static void random_run(uint64_t seed, unsigned steps)
{
    const struct admission_limits limits = {4 + (uint32_t)(seed % 3), 5, 9,
                                            seed % 2 ? 4 : 0};
    struct admission *admission = admission_new(&limits);
    struct oracle *oracle = oracle_new(&limits, ITEMS);
    struct admission_item *items[ITEMS] = {0};
    uint64_t now_ms = 1000000, look_ms;
    for (unsigned step = 0; step < steps; step++) {
        size_t id = random_next(&seed) % ITEMS;
        char names[6][16], gateway[8];
        struct admission_datastore datastores[3];
        if (!items[id]) {
            struct admission_request r =
                random_request(&seed, id, now_ms, names, datastores);
            items[id] = admission_offer(admission, &r, now_ms);
            oracle_offer(oracle, id, &r);
        } else if (admission_is_running(items[id])) {
            admission_end(admission, items[id]);
            oracle_end(oracle, id);
            items[id] = NULL;
        } else if (random_next(&seed) % 8 == 0) {
            admission_withdraw(admission, items[id]);
            oracle_withdraw(oracle, id);
            items[id] = NULL;
        }
        if (random_next(&seed) % 25 == 0) {
            enum admission_gate gate = (enum admission_gate)(random_next(&seed) % 3);
            (void)snprintf(gateway, sizeof gateway, "g%u",
                           (unsigned)(random_next(&seed) % 3));
            admission_set_gate(admission, gateway, gate, UINT64_MAX);
            oracle_set_gate(oracle, gateway, gate);
        }
        now_ms += random_next(&seed) % 4;
        if (random_next(&seed) % 5 == 0)
            admission_settle(admission, now_ms);
        if (random_next(&seed) % 3 == 0)
            continue; /* several changes before the next decision */
        struct admission_item *item;
        while ((item = admission_next(admission, now_ms, &look_ms)))
            oracle_start(oracle, (uintptr_t)admission_ctx(item) - 1, now_ms, false);
        oracle_quiet(oracle, now_ms);
        for (size_t i = 0; i < ITEMS; i++) {
            struct admission_wait wait;
            bool waits = items[i] && admission_why(admission, items[i], now_ms, &wait);
            bool is_due =
                oracle_is_waiting(oracle, i) && oracle_due_ms(oracle, i) <= now_ms;
            assert_int_equal(waits, is_due);
            if (waits) /* after a decision everybody has a reason */
                assert_int_not_equal(wait.reason, WAIT_TURN);
        }
    }
    oracle_free(oracle);
    admission_free(admission);
}

static void test_random_runs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        random_run(seed * 7919, 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_ranks),
        cmocka_unit_test(test_within_a_rank_who_is_due_earlier),
        cmocka_unit_test(test_each_limit),
        cmocka_unit_test(test_more_disks_than_the_limit_run_alone),
        cmocka_unit_test(test_same_name_at_another_site_is_another_host),
        cmocka_unit_test(test_gates),
        cmocka_unit_test(test_a_machine_that_needs_two_full_things_is_not_starved),
        cmocka_unit_test(test_a_full_host_does_not_hold_up_the_gateway),
        cmocka_unit_test(test_running_ones_are_not_pre_empted),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_machines_in_all),
        cmocka_unit_test(test_random_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
