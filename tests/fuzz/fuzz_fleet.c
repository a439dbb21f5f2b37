/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet's table for the planner: it is refused with a reason, or read and planned
 * within the bounds of computing, whatever is in it.
 */
#include "fuzz.h"

#include "vault/planner.h"

#define HOUR_MS ((uint64_t)60 * 60 * 1000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    AUTO(planner_release) struct planner planner;
    AUTO(plan_result_release) struct plan_result result = {0};
    struct err err = ERR_INIT;
    planner_init(&planner);
    planner.horizon_ms = 48 * HOUR_MS;
    planner.steps_max = 2000;
    if (!planner_read_csv(&planner, (const char *)data, data_bytes, &err)) {
        if (err.kind != FAIL_INPUT && err.kind != FAIL_LIMIT)
            abort();
        return 0;
    }
    if (planner.count > 16)
        return 0;
    if (planner_run(&planner, &result, &err)) {
        if (result.count != planner.count || result.steps > planner.steps_max)
            abort();
    } else if (err.kind != FAIL_LIMIT) {
        abort();
    }
    return 0;
}
