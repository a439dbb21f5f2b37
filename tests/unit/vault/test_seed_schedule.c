/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The article "Agentless migration architecture" of Azure Migrate, sentence by sentence:
 * "Scheduling logic" with "Prioritization" and "Constraints", "Scale-out replication",
 * and what "Blackout window" says of cycles. Each row quotes the sentence and proves it
 * in simulated time on the vault's own code; fleet_rig.c checks every step besides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fleet_rig.h"

static struct zone *utc;

/* ---- scheduling logic ---- */

static struct fleet_rig *started_rig(size_t machines, size_t gateways)
{
    struct fleet_rig *rig = rig_new(machines, gateways);
    rig_start(rig);
    return rig;
}

static bool initial_when_configured(void)
{
    struct fleet_rig *rig = rig_new(1, 1);
    rig->machines[0].enabled_ms = rig->options.start_ms + 5 * HOUR;
    rig_start(rig);
    rig_run(rig, DAY);
    bool ok = fleet_progress(rig->fleet, 0).initial_started_ms ==
              rig->options.start_ms + 5 * HOUR;
    rig_free(rig);
    return ok;
}

static bool deltas_follow(void)
{
    struct fleet_rig *rig = started_rig(1, 1);
    rig_run(rig, 10 * MINUTE);
    struct fleet_progress p = fleet_progress(rig->fleet, 0);
    bool ok = p.initial_ended_ms && p.deltas == 1 && p.facts.state == STATE_DELTA;
    rig_free(rig);
    return ok;
}

static bool first_delta_at_once(void)
{
    struct fleet_rig *rig = started_rig(1, 1);
    while (rig->starts < 2)
        rig_run(rig, 1000);
    struct fleet_progress p = fleet_progress(rig->fleet, 0);
    bool ok = p.started_ms == p.initial_ended_ms;
    rig_free(rig);
    return ok;
}

/* What the fleet really does after deltas of this length, to the millisecond. */
static bool next_starts_after(uint64_t delta_ms, uint64_t pause_ms)
{
    struct fleet_rig *rig = rig_new(1, 1);
    rig->machines[0].churn_bytes_hour = 0; /* what is beside the transfer is all */
    rig->options.overhead_ms = delta_ms;
    rig_start(rig);
    while (rig->starts < 3)
        rig_run(rig, MINUTE);
    uint64_t second_ms = fleet_progress(rig->fleet, 0).started_ms;
    while (rig->starts < 4)
        rig_run(rig, MINUTE);
    uint64_t third_ms = fleet_progress(rig->fleet, 0).started_ms;
    rig_free(rig);
    return third_ms == second_ms + delta_ms + pause_ms;
}

static bool the_formula(void)
{
    return next_starts_after(MINUTE, HOUR) && next_starts_after(3 * HOUR, 90 * MINUTE) &&
           next_starts_after(10 * HOUR + 3000, 5 * HOUR + 1500) &&
           next_starts_after(30 * HOUR, 12 * HOUR);
}

static bool no_sooner_and_no_later(void)
{
    return next_starts_after(1, HOUR) && next_starts_after(2 * HOUR, HOUR) &&
           next_starts_after(2 * HOUR + 2, HOUR + 1) &&
           next_starts_after(24 * HOUR - 2, 12 * HOUR - 1) &&
           next_starts_after(24 * HOUR, 12 * HOUR) &&
           next_starts_after(100 * HOUR, 12 * HOUR);
}

static bool the_example(void)
{
    return next_starts_after(4 * HOUR, 2 * HOUR);
}

static bool different_after_initial(void)
{
    const struct sched_rules rules = {HOUR, 12 * HOUR};
    return sched_next_delta_ms(&rules, true, 5000, 9 * HOUR) == 5000 &&
           sched_next_delta_ms(&rules, false, 5000, 9 * HOUR) > 5000;
}

static bool on_demand_before_migration(void)
{
    struct err err = ERR_INIT;
    struct fleet_rig *rig = started_rig(1, 1);
    rig_run(rig, 20 * MINUTE); /* the next delta is not due for a long time */
    uint64_t starts = rig->starts;
    bool ok = fleet_migrate(rig->fleet, 0, false, &err);
    rig_run(rig, 20 * MINUTE);
    struct fleet_progress p = fleet_progress(rig->fleet, 0);
    ok = ok && rig->starts == starts + 1 && p.started_ms == p.migrate_asked_ms &&
         p.facts.state == STATE_MIGRATED && p.last_read_bytes > 0;
    rig_free(rig);
    return ok;
}

/* ---- prioritization ---- */

/* Both are due, there is room for one, the other was asked for first. */
static bool goes_first(enum sched_class class, bool is_ongoing, enum sched_class other,
                       bool other_is_ongoing)
{
    static const char YES = 1, NO = 0;
    uint64_t look_ms;
    struct admission *admission =
        admission_new(&(struct admission_limits){.gateway_cycles = 1});
    struct admission_request r = {.machine = "other",
                                  .class = other,
                                  .is_ongoing = other_is_ongoing,
                                  .due_ms = 1,
                                  .gateway = "local",
                                  .site = "",
                                  .host = "",
                                  .ctx = (void *)(uintptr_t)&NO};
    (void)!admission_offer(admission, &r, 9);
    r = (struct admission_request){.machine = "this",
                                   .class = class,
                                   .is_ongoing = is_ongoing,
                                   .due_ms = 9,
                                   .order = 1,
                                   .gateway = "local",
                                   .site = "",
                                   .host = "",
                                   .ctx = (void *)(uintptr_t)&YES};
    (void)!admission_offer(admission, &r, 9);
    struct admission_item *first = admission_next(admission, 9, &look_ms);
    bool ok =
        first && admission_ctx(first) == &YES && !admission_next(admission, 9, &look_ms);
    admission_free(admission);
    return ok;
}

static bool ongoing_before_new(void)
{
    return goes_first(SCHED_DELTA, true, SCHED_DELTA, false) &&
           goes_first(SCHED_INITIAL, true, SCHED_INITIAL, false) &&
           goes_first(SCHED_DELTA, true, SCHED_INITIAL, false) &&
           goes_first(SCHED_ON_DEMAND, true, SCHED_ON_DEMAND, false);
}

static bool on_demand_then_initial(void)
{
    return goes_first(SCHED_ON_DEMAND, false, SCHED_INITIAL, false) &&
           goes_first(SCHED_ON_DEMAND, false, SCHED_INITIAL, true) &&
           goes_first(SCHED_ON_DEMAND, false, SCHED_DELTA, true) &&
           goes_first(SCHED_INITIAL, false, SCHED_DELTA, false) &&
           goes_first(SCHED_INITIAL, true, SCHED_DELTA, true);
}

static bool delta_lowest(void)
{
    return !goes_first(SCHED_DELTA, false, SCHED_INITIAL, false) &&
           !goes_first(SCHED_DELTA, false, SCHED_ON_DEMAND, false) &&
           sched_class_of(OP_REPLICATE, false) == SCHED_INITIAL &&
           sched_class_of(OP_MIGRATE, true) == SCHED_ON_DEMAND;
}

/* Twenty machines share a gateway that has room for one. */
static bool others_wait_for_a_migration(void)
{
    struct err err = ERR_INIT;
    struct fleet_rig *rig = rig_new(20, 1);
    rig->options.limits.gateway_cycles = 1;
    for (size_t i = 1; i < 20; i++)
        rig->machines[i].enabled_ms = rig->options.start_ms + HOUR;
    rig_start(rig);
    rig_run(rig, 61 * MINUTE);
    struct admission_wait wait;
    bool ok = fleet_migrate(rig->fleet, 0, false, &err) &&
              fleet_why(rig->fleet, 0, &wait) && wait.reason == WAIT_CYCLES &&
              !wait.after && fleet_why(rig->fleet, 5, &wait) && wait.after &&
              strcmp(wait.after, "vm-0") == 0;
    uint64_t starts = rig->starts;
    while (rig->starts == starts)
        rig_run(rig, 1000);
    ok = ok && fleet_progress(rig->fleet, 0).is_running;
    rig_free(rig);
    return ok;
}

/* ---- constraints ---- */

/* Machines of so many disks that all want to start; how many do. */
static size_t start_together(uint32_t disks, const char *host, const char *datastore)
{
    struct fleet_rig *rig = rig_new(60, 1);
    for (size_t i = 0; i < rig->count; i++) {
        rig->machines[i].host = host;
        rig->machines[i].disk_count = disks;
        rig->machines[i].datastore_count = datastore ? 1 : 0;
        rig->datastores[i][0] = (struct admission_datastore){datastore, disks};
    }
    rig_start(rig);
    rig_run(rig, 1);
    size_t running = oracle_running(rig->oracle);
    rig_run(rig, 12 * HOUR); /* and never more, which the rig checks at each start */
    rig_free(rig);
    return running;
}

static bool gateway_52(void)
{
    return start_together(1, "", NULL) == 52 && start_together(4, "", NULL) == 13;
}
static bool host_8(void)
{
    return start_together(1, "esx", NULL) == 8 && start_together(4, "esx", NULL) == 2 &&
           start_together(3, "esx", NULL) == 2;
}
static bool host_buffer(void)
{
    return ADMISSION_LIMITS_DEFAULT.host_disks == 32 / 4;
}
static bool datastore_15(void)
{
    return start_together(1, "", "ds") == 15 && start_together(7, "", "ds") == 2;
}
static bool more_than_15(void)
{
    return start_together(15, "", "ds") == 1 && start_together(16, "", "ds") == 1 &&
           start_together(40, "", "ds") == 1;
}

/* ---- scale-out ---- */

static size_t accepted(size_t machines, size_t gateways, size_t ret_on[2])
{
    struct fleet_rig *rig = rig_new(machines, gateways);
    size_t count = 0;
    rig->check_every = 1000;
    rig_start(rig);
    rig_run(rig, 1);
    for (size_t i = 0; i < machines; i++) {
        bool is_enabled = fleet_progress(rig->fleet, i).is_enabled;
        bool is_first = strcmp(rig->machines[i].gateway, "gw-0") == 0;
        count += is_enabled;
        ret_on[is_first ? 0 : 1] += is_enabled;
    }
    rig_free(rig);
    return count;
}

static bool five_hundred(void)
{
    size_t on[2] = {0}, more[2] = {0};
    return accepted(500, 2, on) == 500 && accepted(501, 2, more) == 500;
}
static bool more_than_300_need_scale_out(void)
{
    size_t alone[2] = {0}, with[2] = {0};
    return accepted(301, 1, alone) == 300 && accepted(301, 2, with) == 301;
}
static bool only_a_gateway(void)
{
    /* it moves data with limits of its own: twice 52 disks at once */
    struct fleet_rig *rig = rig_new(400, 2);
    for (size_t i = 0; i < rig->count; i++) {
        rig->machines[i].host = "";
        rig->machines[i].datastore_count = 0;
        rig->machines[i].disk_count = 1;
    }
    rig_start(rig);
    rig_run(rig, 1);
    bool ok = oracle_running(rig->oracle) == 2 * 52;
    rig_free(rig);
    return ok;
}
static bool not_required_before(void)
{
    size_t alone[2] = {0};
    return accepted(300, 1, alone) == 300;
}
static bool required_to_proceed(void)
{
    struct err err = ERR_INIT;
    const struct fleet_limits limits = FLEET_LIMITS_DEFAULT;
    return !fleet_admits(&limits, "local", 300, 300, &err) && err.kind == FAIL_LIMIT &&
           strstr(err.text, "add a scale-out gateway") &&
           fleet_admits(&limits, "scale-out", 0, 300, &err);
}

/* ---- blackout window ---- */

static bool nothing_proceeds(void)
{
    struct fleet_rig *rig = rig_new(10, 1);
    struct blackout windows;
    rig_blackout(rig, 0, &windows, "Monday;0:00;7h", utc);
    rig_start(rig);
    rig_run(rig, 7 * HOUR - 1);
    bool ok = rig->starts == 0;
    rig_run(rig, 1);
    ok = ok && rig->starts > 0;
    rig_free(rig);
    return ok;
}

static bool existing_cycles_finish(void)
{
    struct fleet_rig *rig = rig_new(1, 1);
    struct blackout windows;
    rig->machines[0].used_bytes = 800 * GIB; /* more than an hour */
    rig_blackout(rig, 0, &windows, "Monday;0:30;20h", utc);
    rig_start(rig);
    rig_run(rig, 19 * HOUR);
    struct fleet_progress p = fleet_progress(rig->fleet, 0);
    bool ok = p.initial_ended_ms > rig->options.start_ms + HOUR && rig->starts == 1;
    rig_run(rig, 2 * HOUR);
    p = fleet_progress(rig->fleet, 0);
    ok = ok && p.deltas == 1 && rig->interrupted == 0;
    rig_free(rig);
    return ok;
}

static bool migration_fails(void)
{
    struct err err = ERR_INIT;
    struct fleet_rig *rig = rig_new(1, 1);
    struct blackout windows;
    rig_blackout(rig, 0, &windows, "Monday;12:00;7h", utc);
    rig_start(rig);
    rig_run(rig, 13 * HOUR);
    uint64_t starts = rig->starts;
    bool ok = !fleet_migrate(rig->fleet, 0, false, &err) && err.kind == FAIL_CONFLICT &&
              strstr(err.text, "blackout");
    rig_run(rig, HOUR);
    ok = ok && rig->starts == starts &&
         fleet_progress(rig->fleet, 0).facts.state == STATE_DELTA;
    rig_free(rig);
    return ok;
}

static bool first_value_of_the_example(void)
{
    struct fleet_rig *rig = rig_new(1, 1);
    struct blackout windows;
    rig_blackout(rig, 0, &windows,
                 "Monday;7:00;7h | Tuesday;8:00;1d7h | Wednesday;16:00;1d | "
                 "Thursday;18:00;5h | Friday;13:00;8m",
                 utc);
    rig->machines[0].enabled_ms = rig->options.start_ms + 7 * HOUR;
    rig_start(rig);
    rig_run(rig, 8 * DAY);
    bool ok = fleet_progress(rig->fleet, 0).initial_started_ms ==
              rig->options.start_ms + 14 * HOUR;
    rig_free(rig);
    return ok;
}

static bool gateways_independently(void)
{
    struct fleet_rig *rig = rig_new(600, 2);
    struct blackout windows;
    rig->options.fleet.total_machines = 600;
    rig->check_every = 100;
    rig_blackout(rig, 1, &windows, "Monday;0:00;5h", utc);
    rig_start(rig);
    rig_run(rig, 5 * HOUR - 1);
    size_t first = 0, second = 0;
    for (size_t i = 0; i < rig->count; i++) {
        bool has_started = fleet_progress(rig->fleet, i).initial_started_ms != 0;
        first += i < 300 && has_started;
        second += i >= 300 && has_started;
    }
    rig_run(rig, HOUR);
    bool ok = first > 50 && second == 0 &&
              fleet_progress(rig->fleet, 300).initial_started_ms ==
                  rig->options.start_ms + 5 * HOUR;
    rig_free(rig);
    return ok;
}

/* clang-format off */
static const struct {
    const char *sentence;
    bool (*proof)(void);
} rows[] = {
    /* Scheduling logic */
    {"Initial replication is scheduled when you configure replication for a VM.",
     initial_when_configured},
    {"Incremental replications (delta replications) follow it.", deltas_follow},
    {"First delta replication cycle is scheduled immediately after the initial replication cycle finishes.",
     first_delta_at_once},
    {"Next delta replication cycles are scheduled according to the following logic: "
     "min[max[1 hour, (<Previous delta replication cycle time>/2)], 12 hours].", the_formula},
    {"That is, the next delta replication is scheduled no sooner than 1 hour and no later than 12 hours.",
     no_sooner_and_no_later},
    {"For example, if a VM takes 4 hours for a delta replication cycle, the next delta replication cycle is "
     "scheduled in 2 hours, and not in the next hour.", the_example},
    {"The scheduling logic is different after the initial replication finishes.", different_after_initial},
    {"The first delta cycle is scheduled immediately after the initial replication finishes.",
     first_delta_at_once},
    {"Subsequent cycles follow the scheduling logic.", the_formula},
    {"When you trigger migration, an on-demand (pre-failover) delta replication cycle occurs for the VM "
     "before migration.", on_demand_before_migration},
    /* Prioritization */
    {"Ongoing VM replications are prioritized over scheduled replications (new replications).",
     ongoing_before_new},
    {"The on-demand (pre-failover) delta replication cycle has the highest priority, followed by the initial "
     "replication cycle.", on_demand_then_initial},
    {"The delta replication cycle has the lowest priority.", delta_lowest},
    {"Whenever you trigger a migration operation, the on-demand replication cycle for the VM is scheduled.",
     on_demand_before_migration},
    {"Other ongoing replications have to wait if they're competing for resources.",
     others_wait_for_a_migration},
    /* Constraints */
    {"Each Azure Migrate appliance supports the replication of 52 disks in parallel.", gateway_52},
    {"Each ESXi host supports 8 disks.", host_8},
    {"Every ESXi host has a 32-MB NFC buffer. So, you can schedule 8 disks on the host. (Each disk takes up "
     "4 MB of buffer for incident response and disaster recovery.)", host_buffer},
    {"Each datastore can have a maximum of 15 disk snapshots.", datastore_15},
    {"The only exception is when more than 15 disks are attached to a VM.", more_than_15},
    /* Scale-out replication */
    {"Azure Migrate supports concurrent replication of 500 VMs.", five_hundred},
    {"When you plan to replicate more than 300 VMs, you must deploy a scale-out appliance.",
     more_than_300_need_scale_out},
    {"The scale-out appliance is similar to an Azure Migrate primary appliance but consists only of a gateway "
     "agent to facilitate data transfer to Azure.", only_a_gateway},
    {"You can deploy the scale-out appliance anytime after you configure the primary appliance, but it isn't "
     "required until 300 VMs are replicating concurrently.", not_required_before},
    {"When 300 VMs are replicating concurrently, you must deploy the scale-out appliance to proceed.",
     required_to_proceed},
    /* Blackout window */
    {"Azure Migrate provides a configuration-based mechanism that you can use to specify the time interval "
     "during which you don't want any replications to proceed.", nothing_proceeds},
    {"The existing replication cycles at the start of the blackout window finish before the replication pauses.",
     existing_cycles_finish},
    {"For any migration that you initiate during the blackout window, the final replication doesn't run. The "
     "migration fails.", migration_fails},
    {"The first value in the preceding example indicates a blackout window that starts every Monday at 7:00 AM "
     "local time (time on the appliance) and lasts 7 hours.", first_value_of_the_example},
    {"In the scale-out scenario, the primary appliance and the scale-out appliance honor the blackout windows "
     "independently.", gateways_independently},
};
/* clang-format on */

static void test_every_sentence(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    size_t wrong = 0;
    utc = zone_open("UTC", &err);
    assert_non_null(utc);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (rows[i].proof())
            continue;
        print_error("not so: %s\n", rows[i].sentence);
        wrong++;
    }
    zone_close(utc);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_sentence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
