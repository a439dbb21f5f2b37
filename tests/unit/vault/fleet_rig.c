/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START_MS UINT64_C(1767571200000) /* Monday 2026-01-05 00:00 UTC */

struct fleet_rig *rig_new(size_t machines, size_t gateways)
{
    struct fleet_rig *rig = xcalloc(1, sizeof *rig);
    rig->count = machines;
    rig->machines = xcalloc(machines, sizeof *rig->machines);
    rig->datastores = xcalloc(machines, sizeof *rig->datastores);
    rig->texts = xcalloc(machines + RIG_GATEWAYS, sizeof *rig->texts);
    rig->memos = xcalloc(machines, sizeof *rig->memos);
    rig->bound_ms = 365 * DAY;
    rig->check_every = 1;
    for (size_t i = 0; i < gateways; i++) {
        char *name = rig->texts[machines + i][0];
        (void)snprintf(name, 32, "gw-%zu", i);
        rig->gateways[i] = (struct fleet_gateway){.name = name, .link_bps = 125000000};
    }
    for (size_t i = 0; i < machines; i++) {
        char(*texts)[32] = rig->texts[i];
        (void)snprintf(texts[0], 32, "vm-%zu", i);
        (void)snprintf(texts[1], 32, "esx-%zu", i / 8);
        (void)snprintf(texts[2], 32, "ds-%zu", i / 12);
        rig->datastores[i][0] = (struct admission_datastore){texts[2], 2};
        rig->machines[i] = (struct fleet_machine){
            .name = texts[0],
            .gateway = rig->gateways[i / 300 < gateways ? i / 300 : gateways - 1].name,
            .host = texts[1],
            .datastores = rig->datastores[i],
            .datastore_count = 1,
            .disk_count = 2,
            .used_bytes = 40 * GIB,
            .churn_bytes_hour = 200 * MIB,
        };
    }
    rig->options = (struct fleet_options){
        .limits = ADMISSION_LIMITS_DEFAULT,
        .fleet = FLEET_LIMITS_DEFAULT,
        .rules = {HOUR, 12 * HOUR},
        .gateways = rig->gateways,
        .gateway_count = gateways,
        .sent_pct = 60,
        .overhead_ms = 40000,
        .shutdown_ms = 60000,
        .boot_ms = 90000,
        .start_ms = START_MS,
        .seed = 1,
    };
    return rig;
}

void rig_free(struct fleet_rig *rig)
{
    fleet_free(rig->fleet);
    if (rig->oracle)
        oracle_free(rig->oracle);
    free(rig->machines);
    free(rig->datastores);
    free(rig->texts);
    free(rig->memos);
    free(rig);
}

void rig_blackout(struct fleet_rig *rig, size_t gateway, struct blackout *storage,
                  const char *windows, const struct zone *zone)
{
    struct err err = ERR_INIT;
    if (!blackout_parse(windows, storage, &err))
        fail_msg("%s", err.text);
    rig->gateways[gateway].blackout = storage;
    rig->gateways[gateway].zone = zone;
}

static void refresh_gates(struct fleet_rig *rig, uint64_t now_ms)
{
    for (size_t i = 0; i < rig->options.gateway_count; i++) {
        const struct fleet_gateway *g = &rig->gateways[i];
        struct blackout_status *status = &rig->status[i];
        uint64_t until_ms = status->is_inside ? status->until_ms : status->next_start_ms;
        enum admission_gate gate = GATE_OPEN;
        if (g->blackout && now_ms >= until_ms)
            *status = blackout_at(g->blackout, g->zone, now_ms);
        if (g->blackout && status->is_inside)
            gate = GATE_BLACKOUT;
        if (rig->is_down[i])
            gate = GATE_DOWN;
        oracle_set_gate(rig->oracle, g->name, gate);
    }
}

/* The formula of the article, said with its own numbers. */
static uint64_t due_by_formula(const struct rig_memo *memo, bool was_initial)
{
    uint64_t half_ms = (memo->ended_ms - memo->started_ms) / 2;
    uint64_t wait_ms = half_ms < 1 * HOUR ? 1 * HOUR : half_ms;
    if (was_initial)
        return memo->ended_ms;
    return memo->ended_ms + (wait_ms > 12 * HOUR ? 12 * HOUR : wait_ms);
}

static void check_offer(struct fleet_rig *rig, size_t i, const struct fleet_event *event)
{
    const struct admission_request *r = event->request;
    struct rig_memo *memo = &rig->memos[i];
    bool was_initial = !memo->has_recovery;
    uint64_t now_ms = event->now_ms;
    if (r->class == SCHED_ON_DEMAND) {
        assert_int_equal(r->due_ms, now_ms);
        return;
    }
    switch (memo->last) {
    case FLEET_APPLIED:
        if (r->due_ms != due_by_formula(memo, was_initial))
            fail_msg("'%s' is due at %llu, by the formula at %llu", r->machine,
                     (unsigned long long)r->due_ms,
                     (unsigned long long)due_by_formula(memo, was_initial));
        memo->has_recovery = true;
        assert_int_equal(r->class, SCHED_DELTA);
        break;
    case FLEET_FAILED:
        assert_true(r->due_ms > now_ms && r->due_ms <= now_ms + 5 * MINUTE);
        assert_true(r->is_ongoing);
        break;
    case FLEET_INTERRUPTED:
        assert_true(r->is_ongoing);
        assert_int_equal(r->due_ms, now_ms);
        break;
    default:
        assert_true(r->due_ms >= now_ms);
    }
}

static void check_start(struct fleet_rig *rig, size_t i, uint64_t now_ms)
{
    struct rig_memo *memo = &rig->memos[i];
    bool is_cheap = rig->starts++ % rig->check_every != 0;
    uint64_t wait_ms = now_ms - oracle_due_ms(rig->oracle, i);
    refresh_gates(rig, now_ms);
    oracle_start(rig->oracle, i, now_ms, is_cheap);
    memo->started_ms = now_ms;
    memo->waited_ms += wait_ms;
    rig->longest_wait_ms = MAX_OF(rig->longest_wait_ms, wait_ms);
    if (wait_ms > rig->bound_ms)
        fail_msg("'%s' waited %llu min", rig->machines[i].name,
                 (unsigned long long)(wait_ms / MINUTE));
}

static void check_end(struct fleet_rig *rig, size_t i, uint64_t now_ms)
{
    rig->memos[i].ended_ms = now_ms;
    rig->memos[i].cycles++;
    oracle_end(rig->oracle, i);
}

static void on_event(void *ctx, const struct fleet_event *event)
{
    struct fleet_rig *rig = ctx;
    size_t i = event->machine;
    rig->hash = (rig->hash ^ (event->now_ms * 31 + i * 8 + event->kind)) *
                UINT64_C(0x100000001b3);
    switch (event->kind) {
    case FLEET_OFFERED:
        check_offer(rig, i, event);
        oracle_offer(rig->oracle, i, event->request);
        return; /* `last` is what the offer followed from */
    case FLEET_WITHDRAWN:
        oracle_withdraw(rig->oracle, i);
        break;
    case FLEET_STARTED:
        check_start(rig, i, event->now_ms);
        break;
    case FLEET_APPLIED:
    case FLEET_MIGRATED:
    case FLEET_MIGRATE_FAILED:
        rig->migrated += event->kind == FLEET_MIGRATED;
        check_end(rig, i, event->now_ms);
        break;
    case FLEET_FAILED:
    case FLEET_INTERRUPTED:
        rig->failed += event->kind == FLEET_FAILED;
        rig->interrupted += event->kind == FLEET_INTERRUPTED;
        check_end(rig, i, event->now_ms);
        break;
    case FLEET_REFUSED:
        rig->refused++;
        break;
    case FLEET_ENABLED:
        break;
    }
    rig->memos[i].last = event->kind;
}

void rig_start(struct fleet_rig *rig)
{
    rig->oracle = oracle_new(&rig->options.limits, rig->count);
    rig->fleet = fleet_new(&rig->options, rig->machines, rig->count, on_event, rig);
}

void rig_run(struct fleet_rig *rig, uint64_t for_ms)
{
    uint64_t until_ms = fleet_now_ms(rig->fleet) + for_ms;
    while (fleet_step(rig->fleet, until_ms)) {
        if (rig->steps++ % rig->check_every != 0)
            continue;
        refresh_gates(rig, fleet_now_ms(rig->fleet));
        oracle_quiet(rig->oracle, fleet_now_ms(rig->fleet));
    }
    for (size_t i = 0; i < rig->count; i++) {
        if (oracle_is_waiting(rig->oracle, i) &&
            oracle_due_ms(rig->oracle, i) + rig->bound_ms < until_ms)
            fail_msg("'%s' has not started for too long", rig->machines[i].name);
    }
}

void rig_set_gateway(struct fleet_rig *rig, size_t gateway, bool is_up)
{
    rig->is_down[gateway] = !is_up;
    fleet_set_gateway(rig->fleet, rig->gateways[gateway].name, is_up);
}

size_t rig_with_recovery_point(const struct fleet_rig *rig)
{
    size_t count = 0;
    for (size_t i = 0; i < rig->count; i++)
        count += fleet_progress(rig->fleet, i).facts.has_recovery_point;
    return count;
}
