/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-flight of the azure target: what Azure would refuse in the middle of a test or a
 * migration is found and named now, and what will be made, with what it is billed by, is
 * told before anything is. Changes nothing.
 */
#include "target/azure_target.h"

#include "base/text.h"
#include "target/azure_names.h"

#include <ctype.h>
#include <strings.h>

#define OS_DISK_MAX_BYTES (4 * TIB) /* "azure subscription limits": OS disk */
#define MBR_MAX_BYTES     (2 * TIB) /* what generation 1 boots from */

static struct finding *note(struct findings *findings, enum finding_severity severity,
                            const char *code, const char *why, const char *remedy)
{
    struct finding *finding = findings_add(findings, severity, code);
    text_copy(finding->why, sizeof finding->why, why);
    text_copy(finding->remedy, sizeof finding->remedy, remedy);
    return finding;
}

/* Refusals say themselves what to do, behind "; ". */
static void note_refusal(struct findings *findings, const char *code, const char *what,
                         const struct err *why)
{
    char text[ERR_TEXT_BYTES];
    text_copy(text, sizeof text, why->text);
    char *remedy = strstr(text, "; ");
    if (remedy)
        *remedy = 0;
    struct finding *finding = note(findings, FINDING_BLOCKER, code, text,
                                   remedy ? remedy + 2 : "see the cause");
    text_copy(finding->what, sizeof finding->what, what);
}

/* ---- the storage account ---- */

/* "West Europe" is "westeurope". */
static bool is_same_location(const char *a, const char *b)
{
    for (;;) {
        while (*a == ' ')
            a++;
        while (*b == ' ')
            b++;
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

struct account_rule {
    bool is_broken;
    enum finding_severity severity;
    const char *why, *remedy;
};

static void check_account(struct azure *azure, struct findings *findings)
{
    const char *id = azure->options.storage_account_id;
    struct azure_account_info info = {0};
    struct err err = ERR_INIT;
    char what[160], elsewhere[200];
    (void)snprintf(what, sizeof what, "storage account '%.100s'", arm_id_name(id));
    if (!azure_account_get(azure->arm, id, &info, &err)) {
        note_refusal(findings, "azure.account", what, &err);
        return;
    }
    (void)snprintf(elsewhere, sizeof elsewhere,
                   "lies in %s; disks are imported from an account of their own region",
                   info.location);
    const struct account_rule rules[] = {
        {!is_same_location(info.location, azure->options.location), FINDING_BLOCKER,
         elsewhere, "use an account in the target's location"},
        {strcmp(info.kind, "StorageV2") != 0, FINDING_BLOCKER,
         "is not of kind StorageV2 (general-purpose v2), which page blobs and private "
         "endpoints need",
         "upgrade it, or use another account"},
        {info.is_hierarchical, FINDING_BLOCKER,
         "has a hierarchical namespace, which has no page blobs",
         "use an account without"},
        {info.min_tls[0] && strcmp(info.min_tls, "TLS1_2") < 0, FINDING_WARNING,
         "takes TLS older than 1.2", "set its minimum TLS version to 1.2"},
        {info.allows_http, FINDING_WARNING, "takes requests without TLS",
         "turn on 'secure transfer required'"},
        {info.allows_public_blobs, FINDING_WARNING,
         "lets containers be opened to everybody",
         "turn off 'allow blob anonymous access'"},
        {!info.has_public_network && info.endpoint_approved == 0, FINDING_WARNING,
         "has no public network access and no approved private endpoint",
         "approve the private endpoint (Microsoft.Storage/storageAccounts/"
         "privateEndpointConnectionApproval/action), see doc/azure.md"},
    };
    bool is_good = true;
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
        if (!rules[i].is_broken)
            continue;
        is_good = false;
        text_copy(note(findings, rules[i].severity, "azure.account", rules[i].why,
                       rules[i].remedy)
                      ->what,
                  160, what);
    }
    if (is_good)
        text_copy(note(findings, FINDING_OK, "azure.account",
                       "kind, region and access "
                       "are right",
                       "")
                      ->what,
                  160, what);
}

/* ---- one machine ---- */

struct plan {
    struct azure *azure;
    const struct machine_def *machine;
    const struct azure_wish *wish;
    struct findings *findings;
};

static void check_disk(const struct plan *plan, size_t at)
{
    const struct machine_def *machine = plan->machine;
    uint64_t disk_bytes = machine->disks[at].disk_bytes;
    enum azure_kind kind;
    struct err err = ERR_INIT;
    char what[160], size[TEXT_HUMAN_BYTES], why[320];
    (void)snprintf(what, sizeof what, "disk %zu of machine '%s'", at, machine->name);
    (void)text_bytes(disk_bytes, size);
    if (!azure_choose_kind(plan->wish, machine, at, &kind, &err)) {
        note_refusal(plan->findings, "azure.disk-size", what, &err);
        return;
    }
    if (at == 0 && disk_bytes > OS_DISK_MAX_BYTES)
        text_copy(note(plan->findings, FINDING_BLOCKER, "azure.os-disk",
                       "is the system's disk and larger than 4 TiB",
                       "shrink it, or move data to another disk")
                      ->what,
                  160, what);
    else if (at == 0 && machine->firmware == FIRMWARE_BIOS && disk_bytes > MBR_MAX_BYTES)
        text_copy(note(plan->findings, FINDING_WARNING, "azure.os-disk",
                       "is booted by BIOS, so that only its first 2 TiB can be used",
                       "convert the machine to UEFI, or shrink the disk")
                      ->what,
                  160, what);
    if (kind == AZURE_UPLOAD)
        (void)snprintf(why, sizeof why,
                       "replica: %s uploaded into a managed disk (%s, billed as Standard "
                       "HDD of its size until the migration; no tests)",
                       size, plan->wish->disks[at].sku);
    else
        (void)snprintf(why, sizeof why,
                       "replica: page blob of %s in '%s', billed by what is stored; each "
                       "test and the VM add a managed disk %s of %s",
                       size, arm_id_name(plan->azure->options.storage_account_id),
                       plan->wish->disks[at].sku, size);
    text_copy(note(plan->findings, FINDING_OK, "azure.plan", why, "")->what, 160, what);
}

struct quota {
    const struct azure_size *size;
    const struct plan *plan;
};

static bool look_at_usage(void *ctx, const struct azure_usage *usage, struct err *err)
{
    const struct quota *quota = ctx;
    char why[320], what[160];
    (void)err;
    bool is_ours = strcasecmp(usage->name, "cores") == 0 ||
                   strcasecmp(usage->name, quota->size->family) == 0;
    if (!is_ours || usage->used + quota->size->cpus <= usage->limit)
        return true;
    (void)snprintf(what, sizeof what, "quota '%s' in %s", usage->name,
                   quota->plan->azure->options.location);
    (void)snprintf(why, sizeof why, "%llu of %llu cores are in use, the VM needs %u",
                   (unsigned long long)usage->used, (unsigned long long)usage->limit,
                   quota->size->cpus);
    text_copy(note(quota->plan->findings, FINDING_WARNING, "azure.quota", why,
                   "ask for a higher quota, or choose another vm_size, before the "
                   "migration")
                  ->what,
              160, what);
    return true;
}

static void check_vm(const struct plan *plan)
{
    struct azure_size size = {0};
    struct err err = ERR_INIT;
    char what[160], why[320], memory[TEXT_HUMAN_BYTES];
    (void)snprintf(what, sizeof what, "VM '%s'", plan->wish->vm_name);
    if (!azure_pick_size(plan->azure, plan->wish, plan->machine, &size, &err)) {
        note_refusal(plan->findings, "azure.size", what, &err);
        return;
    }
    (void)snprintf(why, sizeof why,
                   "at the migration: size %s (%u cores, %s), generation %d, %zu managed "
                   "disks, %zu network cards, %s; a test makes the same beside it",
                   size.name, size.cpus, text_bytes(size.memory_bytes, memory),
                   plan->machine->firmware == FIRMWARE_UEFI ? 2 : 1,
                   plan->machine->disk_count, MAX_OF(plan->machine->nic_count, (size_t)1),
                   plan->wish->os_type);
    text_copy(note(plan->findings, FINDING_OK, "azure.plan", why, "")->what, 160, what);
    struct quota quota = {&size, plan};
    if (!azure_usage_list(plan->azure->arm, plan->azure->options.location, look_at_usage,
                          &quota, &err))
        note_refusal(plan->findings, "azure.quota", "quotas", &err);
}

/* A resource of that name that is not this machine's. */
static void check_name(const struct plan *plan, enum azure_item item, const char *type,
                       const char *name)
{
    const struct azure *azure = plan->azure;
    char id[ARM_ID_BYTES], machine[AZURE_TAG_BYTES], own[ID_TEXT_BYTES], what[160];
    struct err err = ERR_INIT;
    if (!arm_id(azure->arm, azure->options.resource_group, type, name, id, &err)) {
        note_refusal(plan->findings, "azure.name", name, &err);
        return;
    }
    (void)snprintf(what, sizeof what, "'%.80s' in resource group '%.60s'", name,
                   azure->options.resource_group);
    if (azure_tag_get(azure->arm, item, id, TAG_MACHINE, machine, &err)) {
        if (strcmp(machine, id_text(&plan->machine->id, own)) != 0)
            text_copy(note(plan->findings, FINDING_BLOCKER, "azure.name-clash",
                           "exists and is not this machine's",
                           "give the machine another vm_name in the machine settings")
                          ->what,
                      160, what);
    } else if (err.kind != FAIL_GONE)
        note_refusal(plan->findings, "azure.name", what, &err);
}

static void check_names(const struct plan *plan)
{
    char name[AZURE_NAME_BYTES];
    check_name(plan, AZURE_ITEM_VM, VMS_TYPE, plan->wish->vm_name);
    for (size_t i = 0; i < plan->machine->disk_count; i++) {
        azure_name_part(plan->wish->vm_name, "disk", i, name);
        check_name(plan, AZURE_ITEM_DISK, DISKS_TYPE, name);
    }
    for (size_t i = 0; i < MAX_OF(plan->machine->nic_count, (size_t)1); i++) {
        azure_name_part(plan->wish->vm_name, "nic", i, name);
        check_name(plan, AZURE_ITEM_NIC, NICS_TYPE, name);
    }
}

struct find_subnet {
    const char *name;
    bool is_there;
};

static bool compare_subnet(void *ctx, const char *name, struct err *err)
{
    struct find_subnet *find = ctx;
    (void)err;
    find->is_there |= strcasecmp(name, find->name) == 0;
    return true;
}

static void check_subnet(const struct plan *plan, bool is_test, size_t nic)
{
    struct azure *azure = plan->azure;
    char id[ARM_ID_BYTES], what[160];
    struct err err = ERR_INIT;
    const char *network =
        is_test ? azure->options.test_network_id : azure->options.network_id;
    if (!azure_subnet_of(azure, plan->wish, is_test, nic, id, &err)) {
        note_refusal(plan->findings, "azure.subnet", is_test ? "tests" : "migration",
                     &err);
        return;
    }
    struct find_subnet find = {.name = arm_id_name(id)};
    (void)snprintf(what, sizeof what, "subnet '%s'", find.name);
    if (!azure_subnets_list(azure->arm, network, compare_subnet, &find, &err))
        note_refusal(plan->findings, "azure.subnet", what, &err);
    else if (!find.is_there) {
        (void)err_set(&err, FAIL_INPUT,
                      "network '%s' has no such subnet; name one of its",
                      arm_id_name(network));
        note_refusal(plan->findings, "azure.subnet", what, &err);
    }
}

static void check_networks(const struct plan *plan)
{
    bool has_tests = azure_is_given(plan->azure->options.test_network_id);
    for (size_t i = 0; i < MAX_OF(plan->machine->nic_count, (size_t)1); i++) {
        check_subnet(plan, false, i);
        if (has_tests)
            check_subnet(plan, true, i);
    }
    if (!has_tests)
        text_copy(note(plan->findings, FINDING_WARNING, "azure.no-test-network",
                       "there is no network for tests, so tests are refused",
                       "add the target with test_network_id, best one that is isolated")
                      ->what,
                  160, "tests");
}

bool azure_check(struct target *target, const struct machine_def *machine,
                 struct findings *findings, struct err *err)
{
    struct azure *azure = (struct azure *)target;
    struct err why = ERR_INIT;
    (void)err; /* what is wrong is a finding */
    azure_check_permissions(azure, findings);
    check_account(azure, findings);
    if (!machine || findings_have_blocker(findings))
        return true;
    AUTO(free) struct azure_wish *wish = azure_wish_read(&azure->options, machine, &why);
    if (!wish) {
        note_refusal(findings, "azure.settings", "machine settings", &why);
        return true;
    }
    struct plan plan = {azure, machine, wish, findings};
    for (size_t i = 0; i < machine->disk_count; i++)
        check_disk(&plan, i);
    check_vm(&plan);
    check_names(&plan);
    check_networks(&plan);
    return true;
}
