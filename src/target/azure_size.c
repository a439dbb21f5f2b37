/* SPDX-License-Identifier: Apache-2.0 */
/* Small and plain on purpose: no families are preferred, so that people can foresee what
 * is chosen; who wants another one says vm_size. */
#include "target/azure_size.h"

#include "base/text.h"

void azure_size_why_not(const struct azure_size *size, const struct azure_size_need *need,
                        char ret[AZURE_WHY_BYTES])
{
    char has[TEXT_HUMAN_BYTES], needs[TEXT_HUMAN_BYTES];
    ret[0] = 0;
    if (size->is_restricted)
        text_copy(ret, AZURE_WHY_BYTES, "is not offered to this subscription there");
    else if (need->zone[0] && strstr(size->restricted_zones, need->zone))
        (void)snprintf(ret, AZURE_WHY_BYTES, "is not offered in zone %s there",
                       need->zone);
    else if (size->cpus < need->cpus)
        (void)snprintf(ret, AZURE_WHY_BYTES, "has %u cores, the machine %u", size->cpus,
                       need->cpus);
    else if (size->memory_bytes < need->memory_bytes)
        (void)snprintf(ret, AZURE_WHY_BYTES, "has %s of memory, the machine %s",
                       text_bytes(size->memory_bytes, has),
                       text_bytes(need->memory_bytes, needs));
    else if (size->max_data_disks < need->data_disks)
        (void)snprintf(ret, AZURE_WHY_BYTES, "takes %u data disks, the machine has %u",
                       size->max_data_disks, need->data_disks);
    else if (size->max_nics < need->nics)
        (void)snprintf(ret, AZURE_WHY_BYTES, "takes %u network cards, the machine has %u",
                       size->max_nics, need->nics);
    else if (need->is_gen2 ? !size->gen2 : !size->gen1)
        (void)snprintf(ret, AZURE_WHY_BYTES, "does not boot generation %d (%s)",
                       need->is_gen2 ? 2 : 1, need->is_gen2 ? "UEFI" : "BIOS");
    else if (need->premium_disks && !size->premium_disks)
        text_copy(ret, AZURE_WHY_BYTES, "takes no premium disks");
}

bool azure_size_is_smaller(const struct azure_size *a, const struct azure_size *b)
{
    if (a->cpus != b->cpus)
        return a->cpus < b->cpus;
    if (a->memory_bytes != b->memory_bytes)
        return a->memory_bytes < b->memory_bytes;
    if (a->max_data_disks != b->max_data_disks)
        return a->max_data_disks < b->max_data_disks;
    return strcmp(a->name, b->name) < 0;
}
