/* SPDX-License-Identifier: Apache-2.0 */
/* The fake vault's network: one endpoint that is wrong in one step. */
#include "fake_vault.h"

#include "doctor/peering.h"
#include "netpath/path.h"

static json_t *step(const char *name, const char *verdict, const char *cause,
                    const char *remedy)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "step", name, "verdict", verdict,
                     "cause", cause, "remedy", remedy, "took_ms", 3);
}

static json_t *report(void)
{
    json_t *steps = json_array();
    (void)json_array_append_new(steps, step("name", "ok", "lsa -> 10.1.0.5", ""));
    (void)json_array_append_new(
        steps, step("connect", "failed", "10.1.0.5 is silent", "check the circuit"));
    (void)json_array_append_new(
        steps, step("tls", "skipped", "not tried: 'connect' failed", ""));
    return json_pack("{s:I, s:i, s:s, s:[{s:s, s:s, s:s, s:s, s:o}]}", "at_ms",
                     (json_int_t)1700000000000, "took_ms", 4003, "verdict", "failed",
                     "endpoints", "role", "log-store", "label", "log_store", "host",
                     "lsasite1.blob.core.windows.net", "verdict", "failed", "steps",
                     steps);
}

json_t *vault_network_check(struct vault *vault, const char *role,
                            const struct cancel *cancel, struct err *err)
{
    enum path_role wanted;
    (void)vault, (void)cancel;
    if (role && !path_role_parse(role, &wanted, err))
        return NULL;
    return report();
}

json_t *vault_network_status(struct vault *vault, struct err *err)
{
    (void)vault, (void)err;
    return json_pack(
        "{s:[{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:s}], s:o}",
        "connections", "role", "state-store", "host", "gwsasite1.blob.core.windows.net",
        "port", 443, "address", "192.0.2.10", "class", "public", "proxy",
        "http://192.0.2.10:3128", "rule", "proxy: no bypass rule names this host",
        "at_ms", (json_int_t)1700000000000, "latency_ms", 12, "answers", 34, "failures",
        1, "problem", "", "last_check", report());
}

json_t *vault_network_plan(struct vault *vault, const json_t *request, struct err *err)
{
    struct peering_request plan = {.log_account = "lsasite1"};
    (void)vault;
    if (!json_opt_text(request, "cloud", "public", &plan.cloud, err) ||
        !json_get_text(request, "source_region", &plan.source_region, err) ||
        !json_get_text(request, "target_region", &plan.target_region, err))
        return NULL;
    return peering_plan(&plan, err);
}
