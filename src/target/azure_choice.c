/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is chosen when nobody said: a size of VM, and the subnet of a test.
 *
 * The subnet of a test is the one named; else, as in the system of the seed articles, the
 * one of the same name as the target's, else the first by name that is no gateway's.
 */
#include "target/azure_target.h"

#include "base/text.h"

#include <strings.h>

#define MAX_SUBNETS 4096

struct choice {
    const struct azure_wish *wish;
    struct azure_size_need need;
    struct azure_size best;    /* name "": none yet */
    char why[AZURE_WHY_BYTES]; /* why the one that was wished for will not do */
    bool is_known;             /* the one that was wished for is in the list */
};

static bool look_at_size(void *ctx, const struct azure_size *size, struct err *err)
{
    struct choice *choice = ctx;
    char why[AZURE_WHY_BYTES];
    (void)err;
    azure_size_why_not(size, &choice->need, why);
    if (choice->wish->vm_size[0]) {
        if (strcasecmp(size->name, choice->wish->vm_size) != 0)
            return true;
        choice->is_known = true;
        choice->best = *size;
        text_copy(choice->why, sizeof choice->why, why);
    } else if (!*why &&
               (!choice->best.name[0] || azure_size_is_smaller(size, &choice->best)))
        choice->best = *size;
    return true;
}

static bool any_is_premium(const struct azure_wish *wish,
                           const struct machine_def *machine)
{
    for (size_t i = 0; i < machine->disk_count; i++)
        if (azure_sku_is_premium(wish->disks[i].sku))
            return true;
    return false;
}

static struct azure_size_need need_of(const struct azure_wish *wish,
                                      const struct machine_def *machine)
{
    return (struct azure_size_need){
        .cpus = MAX_OF(machine->cpus, 1u),
        .data_disks = (uint32_t)machine->disk_count - 1,
        .nics = (uint32_t)MAX_OF(machine->nic_count, (size_t)1),
        .memory_bytes = machine->memory_bytes,
        .is_gen2 = machine->firmware == FIRMWARE_UEFI,
        .premium_disks = any_is_premium(wish, machine),
        .zone = wish->zone,
    };
}

bool azure_pick_size(struct azure *azure, const struct azure_wish *wish,
                     const struct machine_def *machine, struct azure_size *ret,
                     struct err *err)
{
    const char *location = azure->options.location;
    char memory[TEXT_HUMAN_BYTES];
    struct choice choice = {.wish = wish, .need = need_of(wish, machine)};
    if (!azure_sizes_list(azure->arm, location, look_at_size, &choice, err))
        return err_wrap(err, "sizes of virtual machines in '%s'", location);
    if (wish->vm_size[0] && !choice.is_known)
        return err_set(err, FAIL_INPUT,
                       "there is no size '%s' in '%s'; choose another vm_size, or leave "
                       "it out",
                       wish->vm_size, location);
    if (choice.why[0])
        return err_set(err, FAIL_INPUT,
                       "size '%s' does not fit machine '%s': it %s; choose another "
                       "vm_size, or leave it out",
                       wish->vm_size, machine->name, choice.why);
    if (!choice.best.name[0])
        return err_set(err, FAIL_INPUT,
                       "no size in '%s' has %u cores, %s of memory, %u data disks and %u "
                       "network cards%s; ask for more sizes there, or give vm_size",
                       location, choice.need.cpus,
                       text_bytes(choice.need.memory_bytes, memory),
                       choice.need.data_disks, choice.need.nics,
                       choice.need.premium_disks ? ", with premium disks" : "");
    *ret = choice.best;
    return true;
}

/* The list of sizes is long: what somebody chose was compared with it by the check. */
bool azure_size_name(struct azure *azure, const struct azure_wish *wish,
                     const struct machine_def *machine, char ret[AZURE_SIZE_BYTES],
                     struct err *err)
{
    struct azure_size size = {0};
    if (!wish->vm_size[0] && !azure_pick_size(azure, wish, machine, &size, err))
        return false;
    text_copy(ret, AZURE_SIZE_BYTES, wish->vm_size[0] ? wish->vm_size : size.name);
    return true;
}

/* ---- subnets ---- */

static bool is_for_gateways(const char *name)
{
    static const char *const WORDS[] = {"gateway", "appgw", "firewall", "bastion"};
    for (size_t i = 0; i < ARRAY_COUNT(WORDS); i++)
        if (strcasestr(name, WORDS[i]))
            return true;
    return false;
}

const char *azure_subnet_pick(const char *wanted, const char *const *names, size_t count)
{
    const char *first = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(names[i], wanted) == 0)
            return names[i];
        if (!is_for_gateways(names[i]) && (!first || strcasecmp(names[i], first) < 0))
            first = names[i];
    }
    return first;
}

struct subnets {
    char **names; /* owned */
    size_t count;
};

static void subnets_release(struct subnets *subnets)
{
    for (size_t i = 0; i < subnets->count; i++)
        free(subnets->names[i]);
    free(subnets->names);
}

static bool note_subnet(void *ctx, const char *name, struct err *err)
{
    struct subnets *subnets = ctx;
    if (subnets->count == MAX_SUBNETS)
        return err_set(err, FAIL_LIMIT, "more than %d subnets", MAX_SUBNETS);
    subnets->names = xrealloc(subnets->names, subnets->count + 1, sizeof(char *));
    subnets->names[subnets->count++] = xstrdup(name);
    return true;
}

static bool pick_test_subnet(struct azure *azure, const char *wanted,
                             char ret[AZURE_SUBNET_BYTES], struct err *err)
{
    __attribute__((cleanup(subnets_release))) struct subnets subnets = {0};
    const char *network = azure->options.test_network_id;
    if (!azure_subnets_list(azure->arm, network, note_subnet, &subnets, err))
        return false;
    const char *picked =
        azure_subnet_pick(wanted, (const char *const *)subnets.names, subnets.count);
    if (!picked)
        return err_set(
            err, FAIL_INPUT,
            "network '%s' has no subnet for tests; make one there, or name one "
            "with test_subnet",
            arm_id_name(network));
    text_copy(ret, AZURE_SUBNET_BYTES, picked);
    return true;
}

bool azure_subnet_of(struct azure *azure, const struct azure_wish *wish, bool is_test,
                     size_t nic, char ret[ARM_ID_BYTES], struct err *err)
{
    const struct target_azure_options *o = &azure->options;
    char subnet[AZURE_SUBNET_BYTES];
    text_copy(subnet, sizeof subnet,
              is_test ? wish->nics[nic].test_subnet : wish->nics[nic].subnet);
    if (is_test && !azure_is_given(o->test_network_id))
        return err_set(err, FAIL_INPUT,
                       "target '%s' has no network for tests; add it again with "
                       "test_network_id, best one that is isolated",
                       o->name);
    if (is_test && !subnet[0] &&
        !pick_test_subnet(azure, wish->nics[nic].subnet, subnet, err))
        return false;
    int length = snprintf(ret, ARM_ID_BYTES, "%s/subnets/%s",
                          is_test ? o->test_network_id : o->network_id, subnet);
    return (length > 0 && (size_t)length < ARM_ID_BYTES) ||
           err_set(err, FAIL_INPUT, "the id of subnet '%s' is too long", subnet);
}
