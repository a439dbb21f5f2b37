/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What deciding costs in processor time: a fleet of machines that all want to start, then
 * each end followed by the decision of who comes next; and a year of simulated time for
 * 500 machines.
 *
 *   schedule-bench [MACHINES [DECISIONS]]     without: 10000 and 200000
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "vault/fleet.h"

#define DISKS        10u
#define PER_GATEWAY  300u
#define PER_HOST     25u
#define PER_STORE    40u
#define DAY_MS       ((uint64_t)24 * 60 * 60 * 1000)
#define YEAR_SIZE    500u
#define RUNNING_MOST 100000u

/* Of this process: what others do on the machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct names {
    char machine[24], gateway[24], host[24], datastore[2][24];
    struct admission_datastore datastores[2];
};

static void name_machine(struct names *n, size_t i)
{
    (void)snprintf(n->machine, sizeof n->machine, "vm-%zu", i);
    (void)snprintf(n->gateway, sizeof n->gateway, "gw-%zu", i / PER_GATEWAY);
    (void)snprintf(n->host, sizeof n->host, "esx-%zu", i / PER_HOST);
    for (size_t k = 0; k < 2; k++) {
        (void)snprintf(n->datastore[k], sizeof n->datastore[k], "ds-%zu",
                       i / PER_STORE * 2 + k);
        n->datastores[k] = (struct admission_datastore){n->datastore[k], DISKS / 2};
    }
}

static struct admission_request request_of(struct names *n, size_t i, uint64_t due_ms)
{
    return (struct admission_request){
        .machine = n->machine,
        .class = i % 3 ? SCHED_DELTA : SCHED_INITIAL,
        .due_ms = due_ms,
        .order = i,
        .gateway = n->gateway,
        .site = "",
        .host = n->host,
        .disk_count = DISKS,
        .datastores = n->datastores,
        .datastore_count = 2,
        .ctx = (void *)(uintptr_t)(i + 1),
    };
}

static void decisions(size_t count, size_t decisions)
{
    const struct admission_limits limits = {
        .datastore_snapshots = 15, .host_disks = 32, .gateway_disks = 52};
    struct names *names = xcalloc(count, sizeof *names);
    struct admission_item **running = xcalloc(RUNNING_MOST, sizeof *running);
    struct admission *admission = admission_new(&limits);
    size_t running_count = 0, started = 0;
    uint64_t now_ms = DAY_MS, look_ms;
    for (size_t i = 0; i < count; i++)
        name_machine(&names[i], i);
    uint64_t t0 = cpu_ns();
    for (size_t i = 0; i < count; i++) {
        struct admission_request r = request_of(&names[i], i, now_ms - i % 1000);
        (void)!admission_offer(admission, &r, now_ms);
    }
    uint64_t t1 = cpu_ns();
    struct admission_item *item;
    while (running_count < RUNNING_MOST &&
           (item = admission_next(admission, now_ms, &look_ms)))
        running[running_count++] = item;
    uint64_t t2 = cpu_ns();
    printf(
        "%zu machines, %zu disks: offered in %.2f ms; all decided in %.2f ms, %zu run\n",
        count, count * DISKS, (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6,
        running_count);
    /* one ends, is offered again as due now, and whoever may starts */
    for (size_t n = 0; n < decisions && running_count; n++) {
        size_t at = n * 7919 % running_count;
        size_t i = (uintptr_t)admission_ctx(running[at]) - 1;
        admission_end(admission, running[at]);
        running[at] = running[--running_count];
        struct admission_request r = request_of(&names[i], i, ++now_ms);
        (void)!admission_offer(admission, &r, now_ms);
        while ((item = admission_next(admission, now_ms, &look_ms))) {
            running[running_count++] = item;
            started++;
        }
    }
    uint64_t t3 = cpu_ns();
    printf("%zu times end, offer, decide: %.2f us each, %zu started\n", decisions,
           (double)(t3 - t2) / 1e3 / (double)decisions, started);
    admission_free(admission);
    free(running);
    free(names);
}

static void a_year(void)
{
    static struct fleet_machine machines[YEAR_SIZE];
    static struct names names[YEAR_SIZE];
    const struct fleet_gateway gateways[] = {{.name = "gw-0", .link_bps = 125000000},
                                             {.name = "gw-1", .link_bps = 125000000}};
    const struct fleet_options options = {.limits = ADMISSION_LIMITS_DEFAULT,
                                          .rules = {DAY_MS / 24, DAY_MS / 2},
                                          .gateways = gateways,
                                          .gateway_count = 2,
                                          .sent_pct = 60,
                                          .overhead_ms = 40000,
                                          .start_ms = UINT64_C(1767571200000),
                                          .seed = 1};
    for (size_t i = 0; i < YEAR_SIZE; i++) {
        name_machine(&names[i], i);
        machines[i] = (struct fleet_machine){.name = names[i].machine,
                                             .gateway = gateways[i / PER_GATEWAY].name,
                                             .host = names[i].host,
                                             .disk_count = 2,
                                             .used_bytes = 40 * GIB,
                                             .churn_bytes_hour = 200 * MIB};
    }
    uint64_t t0 = cpu_ns(), cycles = 0;
    struct fleet *fleet = fleet_new(&options, machines, YEAR_SIZE, NULL, NULL);
    while (fleet_step(fleet, options.start_ms + 365 * DAY_MS))
        ;
    for (size_t i = 0; i < YEAR_SIZE; i++)
        cycles += fleet_progress(fleet, i).deltas + 1;
    printf("a year of %u machines: %llu cycles in %.2f s\n", YEAR_SIZE,
           (unsigned long long)cycles, (double)(cpu_ns() - t0) / 1e9);
    fleet_free(fleet);
}

int main(int argc, char *argv[])
{
    struct err err = ERR_INIT;
    uint64_t machines = 10000, count = 200000;
    if (argc > 3 || (argc > 1 && !text_parse_u64(argv[1], 1, 1000000, &machines, &err)) ||
        (argc > 2 && !text_parse_u64(argv[2], 1, UINT32_MAX, &count, &err))) {
        (void)fprintf(stderr, "usage: schedule-bench [MACHINES [DECISIONS]]; %s\n",
                      err.text);
        return 2;
    }
    decisions((size_t)machines, (size_t)count);
    a_year();
    return 0;
}
