/* SPDX-License-Identifier: Apache-2.0 */
/* Which size of virtual machine a machine gets. Pure. */
#ifndef TARGET_AZURE_SIZE_H
#define TARGET_AZURE_SIZE_H

#include "azure/compute.h"

struct azure_size_need {
    uint32_t cpus, data_disks, nics;
    uint64_t memory_bytes;
    bool is_gen2, premium_disks;
    const char *zone; /* ""; borrowed */
};

/* "" when it fits, else why not: the first reason. */
#define AZURE_WHY_BYTES 160
void azure_size_why_not(const struct azure_size *size, const struct azure_size_need *need,
                        char ret[AZURE_WHY_BYTES]);

/* Whether a takes less than b: cores, then memory, then disks, then the name. */
bool azure_size_is_smaller(const struct azure_size *a, const struct azure_size *b);

#endif
