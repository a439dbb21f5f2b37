/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the services of control know: whether there is a token to be had, what the
 * account is, whether its private endpoints were approved, and which permissions are
 * missing to make them.
 */
#include "doctor/doctor_impl.h"

#include "azure/compute.h"
#include "azure/token.h"
#include "base/text.h"

#define RETRY_MS 5000

/* ---- Entra ID ---- */

static const struct azure_cloud *cloud_of(const struct visit *visit)
{
    return visit->access.cloud ? visit->access.cloud
                               : azure_cloud_of_host(visit->result->host);
}

void visit_entra(struct visit *visit)
{
    struct doctor_step *step = visit_step(visit, "sign-in");
    struct err err = ERR_INIT;
    unsigned mark;
    if (!step)
        return;
    const struct azure_cloud *cloud = cloud_of(visit);
    struct azure_token_options options = {.access = &visit->access,
                                          .cloud = cloud,
                                          .resource = cloud->storage_resource,
                                          .retry_for_ms = RETRY_MS};
    AUTO(azure_token_close) struct azure_token *token = azure_token_open(&options, &err);
    AUTO(secret_free)
    struct secret *got =
        token ? azure_token_get(token, visit->options->cancel, &mark, &err) : NULL;
    if (got)
        step_ok(visit, step, "gives a token for %s", options.resource);
    else
        step_failed(visit, step, &err, "check tenant, client and secret");
}

/* ---- ARM ---- */

static struct arm *open_arm(const struct visit *visit, struct err *err)
{
    const struct doctor_target *target = visit->target;
    struct arm_options options = {.credential_file = target->arm_credential_file,
                                  .endpoint = target->arm_endpoint,
                                  .subscription = target->subscription,
                                  .retry_for_ms = RETRY_MS};
    return arm_open(&options, err);
}

/* Who makes a private endpoint needs these. Source: the table of permissions of the
 * vendor's page on replication over ExpressRoute; the names are those of the resource
 * providers' operations, which the page writes with slips. */
static const char *const ENDPOINT_ACTIONS[] = {
    "Microsoft.Network/privateEndpoints/read",
    "Microsoft.Network/privateEndpoints/write",
    "Microsoft.Network/virtualNetworks/join/action",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Storage/storageAccounts/privateEndpointConnectionsApproval/action",
    "Microsoft.Storage/storageAccounts/privateEndpointConnections/read",
    "Microsoft.Network/privateDnsZones/read",
    "Microsoft.Network/privateDnsZones/write",
    "Microsoft.Network/privateDnsZones/A/write",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks/read",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks/write",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups/read",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups/write",
};

static void judge_permissions(struct visit *visit, uint64_t allowed)
{
    struct doctor_step *step = visit_step(visit, "permissions");
    AUTO(buf_release) struct buf missing = {0};
    if (!step)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(ENDPOINT_ACTIONS); i++)
        if (!(allowed >> i & 1))
            buf_printf(&missing, "%s%s", missing.bytes ? ", " : "", ENDPOINT_ACTIONS[i]);
    if (!missing.bytes)
        step_ok(visit, step, "may make private endpoints in '%s'",
                visit->target->resource_group);
    else
        step_bad(visit, step, DOCTOR_WARNING,
                 "only who makes a private endpoint needs them: give them, or ask "
                 "somebody who has them",
                 "missing in '%s' for private endpoints: %s",
                 visit->target->resource_group, buf_text(&missing));
}

void visit_arm(struct visit *visit)
{
    struct doctor_step *step = visit_step(visit, "sign-in");
    struct err err = ERR_INIT;
    uint64_t allowed = 0;
    char scope[ARM_ID_BYTES];
    if (step) {
        AUTO(arm_close) struct arm *arm = open_arm(visit, &err);
        (void)snprintf(scope, sizeof scope, "/subscriptions/%s/resourceGroups/%s",
                       visit->target->subscription, visit->target->resource_group);
        if (arm && azure_permissions(arm, scope, ENDPOINT_ACTIONS,
                                     ARRAY_COUNT(ENDPOINT_ACTIONS), &allowed, &err))
            step_ok(visit, step, "subscription %s answers", visit->target->subscription);
        else
            step_failed(visit, step, &err, "check the credential and its role");
    }
    judge_permissions(visit, allowed);
}

/* ---- the account of a store ---- */

struct account {
    const char *wanted;
    bool is_found;
    char kind[32], sku[32];
    size_t endpoint_count;
    char waiting[256]; /* "'pe1' is Pending, ..." of those that are not approved; "" */
};

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void take_endpoint(struct account *account, const json_t *endpoint)
{
    const json_t *state = json_object_get(json_object_get(endpoint, "properties"),
                                          "privateLinkServiceConnectionState");
    const char *status = text_at(state, "status");
    size_t used = strlen(account->waiting);
    account->endpoint_count++;
    if (strcmp(status, "Approved") != 0)
        (void)snprintf(account->waiting + used, sizeof account->waiting - used,
                       "%s'%.80s' is %.20s", used ? ", " : "", text_at(endpoint, "name"),
                       status);
}

static bool look_at_account(void *ctx, const json_t *item, struct err *err)
{
    struct account *account = ctx;
    const json_t *endpoint;
    size_t i;
    (void)err;
    if (strcasecmp(text_at(item, "name"), account->wanted) != 0)
        return true;
    account->is_found = true;
    text_copy(account->kind, sizeof account->kind, text_at(item, "kind"));
    text_copy(account->sku, sizeof account->sku,
              text_at(json_object_get(item, "sku"), "name"));
    json_array_foreach(json_object_get(json_object_get(item, "properties"),
                                       "privateEndpointConnections"),
                       i, endpoint) take_endpoint(account, endpoint);
    return true;
}

/* By its name, wherever in the subscription it is: names of accounts are unique. */
static bool find_account(const struct visit *visit, struct account *ret, struct err *err)
{
    char path[ARM_ID_BYTES];
    AUTO(arm_close) struct arm *arm = open_arm(visit, err);
    (void)snprintf(path, sizeof path,
                   "/subscriptions/%s/providers/Microsoft.Storage/storageAccounts",
                   visit->target->subscription);
    struct arm_call call = {.method = "GET",
                            .path = path,
                            .api_version = AZURE_VERSION_STORAGE,
                            .what = "list storage accounts",
                            .cancel = visit->options->cancel};
    ret->wanted = visit->account;
    if (!arm || !arm_list(arm, &call, look_at_account, ret, err))
        return false;
    return ret->is_found ||
           err_set(err, FAIL_GONE, "account '%s' is not in subscription %s",
                   visit->account, visit->target->subscription);
}

static void judge_account(struct visit *visit, struct doctor_step *step,
                          const struct account *account)
{
    enum doctor_verdict verdict =
        visit->is_private_wanted ? DOCTOR_FAILED : DOCTOR_WARNING;
    if (strcmp(account->kind, "StorageV2") != 0)
        step_bad(visit, step, verdict,
                 "upgrade it: Settings > Configuration > Account kind > Upgrade",
                 "account '%s' is of kind '%s', not general-purpose v2: it cannot have "
                 "private endpoints",
                 visit->account, account->kind);
    else if (account->waiting[0])
        step_bad(visit, step, verdict,
                 "the account's owner approves it, or makes it anew: Networking > "
                 "Private endpoint connections",
                 "private endpoint %s", account->waiting);
    else if (visit->is_private_wanted && !account->endpoint_count)
        step_bad(visit, step, verdict,
                 "make one for sub-resource 'blob' in the circuit's network",
                 "account '%s' has no private endpoint", visit->account);
    else
        step_ok(visit, step, "account '%s': %s, %s, %zu private endpoint%s",
                visit->account, account->kind, account->sku, account->endpoint_count,
                account->endpoint_count == 1 ? "" : "s");
}

void visit_account(struct visit *visit)
{
    struct doctor_step *step = visit_step_anyway(visit, "account");
    struct account account = {0};
    struct err err = ERR_INIT;
    if (find_account(visit, &account, &err))
        judge_account(visit, step, &account);
    else
        step_bad(visit, step, DOCTOR_SKIPPED, "", "not known: %.400s", err.text);
}
