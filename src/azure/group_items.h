/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small things of a resource group that are no disk, card or machine of ours: the subnets
 * of a network, and the tags of what was made. Threads and errors: as azure/arm.h.
 */
#ifndef AZURE_GROUP_ITEMS_H
#define AZURE_GROUP_ITEMS_H

#include "azure/compute.h"

/* Names of the subnets of a virtual network, in the service's order. */
MUST_CHECK bool azure_subnets_list(struct arm *arm, const char *network_id,
                                   bool (*each)(void *ctx, const char *name,
                                                struct err *err),
                                   void *ctx, struct err *err);

#define AZURE_TAG_BYTES 257

enum azure_item { AZURE_ITEM_DISK, AZURE_ITEM_NIC, AZURE_ITEM_VM };

/* The value of one of its tags, "" when it has none. FAIL_GONE: there is no such item. */
MUST_CHECK bool azure_tag_get(struct arm *arm, enum azure_item item, const char *id,
                              const char *tag, char ret[AZURE_TAG_BYTES],
                              struct err *err);

/* These are its tags from here on, and no others. */
MUST_CHECK bool azure_tags_replace(struct arm *arm, enum azure_item item, const char *id,
                                   const struct azure_tags *tags, struct err *err);

#endif
