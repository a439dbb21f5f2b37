/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the credential must be allowed to do, where, and which built-in role gives it.
 * Azure refuses an action only when it comes to it: a missing right on the network shows
 * when the machine's guest was shut down already. So all are asked for beforehand.
 *
 * Sources: the operations of the resource providers (Microsoft.Compute, .Network,
 * .Storage, .Resources) behind each request of src/azure/compute.h; the roles of the
 * system of the seed articles: Owner, or Contributor and User Access Administrator, for
 * the first replication (it assigns roles there; Kedge assigns none), Contributor later.
 */
#include "target/azure_target.h"

#include "base/text.h"

enum need_when { FOR_ALL, FOR_FIRST, FOR_UPLOAD, FOR_VMS };

struct need {
    const char *action;
    enum need_when when;
};

struct scope_needs {
    const char *what; /* "resource group" */
    const char *role;
    const struct need *needs; /* at most 64; action NULL ends them */
};

static const struct need ON_SUBSCRIPTION[] = {
    {"Microsoft.Resources/subscriptions/resourceGroups/read", FOR_ALL},
    {"Microsoft.Compute/skus/read", FOR_VMS},
    {"Microsoft.Compute/locations/usages/read", FOR_FIRST},
    {0}};
static const struct need ON_GROUP[] = {
    {"Microsoft.Compute/disks/read", FOR_VMS},
    {"Microsoft.Compute/disks/write", FOR_VMS},
    {"Microsoft.Compute/disks/delete", FOR_VMS},
    {"Microsoft.Compute/disks/beginGetAccess/action", FOR_UPLOAD},
    {"Microsoft.Compute/disks/endGetAccess/action", FOR_UPLOAD},
    {"Microsoft.Compute/virtualMachines/read", FOR_VMS},
    {"Microsoft.Compute/virtualMachines/write", FOR_VMS},
    {"Microsoft.Compute/virtualMachines/delete", FOR_VMS},
    {"Microsoft.Compute/virtualMachines/instanceView/read", FOR_VMS},
    {"Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/action", FOR_VMS},
    {"Microsoft.Network/networkInterfaces/read", FOR_VMS},
    {"Microsoft.Network/networkInterfaces/write", FOR_VMS},
    {"Microsoft.Network/networkInterfaces/delete", FOR_VMS},
    {"Microsoft.Network/networkInterfaces/join/action", FOR_VMS},
    {0}};
static const struct need ON_NETWORK[] = {
    {"Microsoft.Network/virtualNetworks/read", FOR_VMS},
    {"Microsoft.Network/virtualNetworks/subnets/join/action", FOR_VMS},
    {0}};
static const struct need ON_SECURITY_GROUP[] = {
    {"Microsoft.Network/networkSecurityGroups/join/action", FOR_VMS}, {0}};
static const struct need ON_ACCOUNT[] = {
    {"Microsoft.Storage/storageAccounts/read", FOR_FIRST},
    {"Microsoft.Storage/storageAccounts/listKeys/action", FOR_VMS}, /* of an import */
    {0}};
static const struct need ON_ENCRYPTION_SET[] = {
    {"Microsoft.Compute/diskEncryptionSets/read", FOR_VMS}, {0}};

static const struct scope_needs SUBSCRIPTION = {"subscription", "Reader",
                                                ON_SUBSCRIPTION};
static const struct scope_needs GROUP = {"resource group", "Contributor", ON_GROUP};
static const struct scope_needs NETWORK = {"network", "Network Contributor", ON_NETWORK};
static const struct scope_needs SECURITY_GROUP = {
    "network security group", "Network Contributor", ON_SECURITY_GROUP};
static const struct scope_needs ACCOUNT = {"storage account",
                                           "Storage Account Contributor", ON_ACCOUNT};
static const struct scope_needs ENCRYPTION_SET = {"disk encryption set", "Reader",
                                                  ON_ENCRYPTION_SET};

static const char *when_text(enum need_when when)
{
    static const char *const TEXTS[] = {
        [FOR_ALL] = "everything",
        [FOR_FIRST] = "the first replication",
        [FOR_UPLOAD] = "disks that are uploaded",
        [FOR_VMS] = "tests and the migration",
    };
    return TEXTS[when];
}

static void report(const struct scope_needs *scope, const char *id, uint64_t allowed,
                   struct findings *findings)
{
    AUTO(buf_release) struct buf missing = {0};
    enum need_when when = FOR_ALL;
    size_t count = 0;
    for (size_t i = 0; scope->needs[i].action; i++) {
        if (allowed & (uint64_t)1 << i)
            continue;
        if (count++ == 0)
            when = scope->needs[i].when;
        buf_printf(&missing, "%s%s", count == 1 ? "" : ", ", scope->needs[i].action);
    }
    struct finding *finding =
        findings_add(findings, count ? FINDING_BLOCKER : FINDING_OK, "azure.permission");
    (void)snprintf(finding->what, sizeof finding->what, "%s '%.100s'", scope->what,
                   arm_id_name(id));
    if (count == 0) {
        text_copy(finding->why, sizeof finding->why, "all that is needed is allowed");
        return;
    }
    (void)snprintf(finding->why, sizeof finding->why, "not allowed, needed for %s: %s",
                   when_text(when), buf_text(&missing));
    (void)snprintf(finding->remedy, sizeof finding->remedy,
                   "assign the role '%s' there to the identity of the credential file, "
                   "and wait some minutes",
                   scope->role);
}

static bool ask(struct azure *azure, const struct scope_needs *scope, const char *id,
                struct findings *findings)
{
    const char *actions[64];
    uint64_t allowed = 0;
    size_t count = 0;
    struct err why = ERR_INIT;
    for (; scope->needs[count].action; count++)
        actions[count] = scope->needs[count].action;
    if (azure_permissions(azure->arm, id, actions, count, &allowed, &why)) {
        report(scope, id, allowed, findings);
        return true;
    }
    struct finding *finding =
        findings_add(findings, FINDING_BLOCKER, "azure.permission-unknown");
    (void)snprintf(finding->what, sizeof finding->what, "%s '%.100s'", scope->what,
                   arm_id_name(id));
    text_copy(finding->why, sizeof finding->why, why.text);
    text_copy(finding->remedy, sizeof finding->remedy,
              "see that the id is right and that the identity may read it");
    return why.kind != FAIL_TRANSIENT && why.kind != FAIL_INPUT;
}

void azure_check_permissions(struct azure *azure, struct findings *findings)
{
    const struct target_azure_options *o = &azure->options;
    AUTO(buf_release) struct buf subscription = {0};
    AUTO(buf_release) struct buf group = {0};
    buf_printf(&subscription, "/subscriptions/%s", o->subscription);
    buf_printf(&group, "%s/resourceGroups/%s", buf_text(&subscription),
               o->resource_group);
    const struct {
        const struct scope_needs *scope;
        const char *id;
    } asks[] = {
        {&SUBSCRIPTION, buf_text(&subscription)},
        {&GROUP, buf_text(&group)},
        {&NETWORK, o->network_id},
        {&NETWORK, o->test_network_id},
        {&SECURITY_GROUP, o->security_group_id},
        {&ACCOUNT, o->storage_account_id},
        {&ENCRYPTION_SET, o->encryption_set_id},
    };
    for (size_t i = 0; i < ARRAY_COUNT(asks); i++)
        if (azure_is_given(asks[i].id) &&
            !ask(azure, asks[i].scope, asks[i].id, findings))
            return; /* nobody answers: once is enough */
}
