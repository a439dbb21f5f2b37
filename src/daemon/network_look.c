/* SPDX-License-Identifier: Apache-2.0 */
/* A look before the daemon is ever started; opens neither catalog nor stores' folders. */
#include "daemon/network_look.h"

#include "base/text.h"
#include "daemon/network_rules.h"
#include "doctor/list.h"
#include "doctor/peering.h"

#define KEYS_SCHEME "vault:"

static const char *path_or_null(const char *value)
{
    return strcmp(value, "none") == 0 ? NULL : value;
}

bool network_look(const struct config *config, const char *role, struct buf *out,
                  struct err *err)
{
    AUTO(doctor_list_release) struct doctor_list list = {0};
    AUTO(doctor_report_release) struct doctor_report report = {0};
    enum path_role wanted = ROLE_OTHER;
    if ((role && !path_role_parse(role, &wanted, err)) || !network_apply(config, err))
        return false;
    doctor_list_add_store(&list, ROLE_LOG_STORE, "log_store", config->log_store,
                          path_or_null(config->log_store_credential));
    doctor_list_add_store(&list, ROLE_STATE_STORE, "state_store", config->state_store,
                          path_or_null(config->state_store_credential));
    if (text_starts_with(config->keys, KEYS_SCHEME))
        doctor_list_add_keys(&list, config->keys + strlen(KEYS_SCHEME),
                             path_or_null(config->keys_credential));
    if (role)
        doctor_list_keep(&list, wanted);
    struct doctor_options options = {.targets = list.items, .count = list.count};
    doctor_run(&options, &report);
    AUTO(json_free) json_t *view = doctor_report_json(&report);
    json_print_pretty(view, out);
    buf_put_u8(out, '\n');
    return true;
}

bool network_plan(const char *words, struct buf *out, struct err *err)
{
    AUTO(free) char *from = xstrdup(words);
    char *to = strchr(from, ','), *cloud = to ? strchr(to + 1, ',') : NULL;
    if (!to)
        return err_set(err, FAIL_INPUT,
                       "'%.100s' is not two regions; write REGION,REGION[,CLOUD]", words);
    *to++ = 0;
    if (cloud)
        *cloud++ = 0;
    struct peering_request request = {
        .cloud = cloud ? cloud : "public", .source_region = from, .target_region = to};
    AUTO(json_free) json_t *plan = peering_plan(&request, err);
    if (!plan)
        return false;
    json_print_pretty(plan, out);
    buf_put_u8(out, '\n');
    return true;
}
