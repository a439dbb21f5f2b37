/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wished for one machine in Azure: the target's options, and over them what the
 * file `machine_settings` says of this machine. Read at each use, so that an edit counts
 * from the next step on.
 *
 *   {"web1": {"vm_name": "web-01", "vm_size": "Standard_D4s_v5", "os_type": "Windows",
 *             "zone": "2", "tags": {"owner": "shop"},
 *             "nics": [{"subnet": "front", "ip": "10.0.0.4",
 *                       "test_subnet": "lab", "test_ip": "10.9.0.4"}],
 *             "disks": [{"sku": "Premium_LRS", "replica": "page-blob"}]}}
 *
 * Keys are machine names; every key is optional; lists go by position.
 */
#ifndef TARGET_AZURE_WISH_H
#define TARGET_AZURE_WISH_H

#include "azure/compute.h"
#include "target/target.h"

#define AZURE_SUBNET_BYTES 81

enum azure_replica_wish { AZURE_WISH_AUTO, AZURE_WISH_PAGE_BLOB, AZURE_WISH_UPLOAD };

struct azure_wish {
    char vm_name[AZURE_NAME_BYTES];
    char vm_size[64]; /* "": the smallest that fits */
    char os_type[16];
    char zone[8]; /* "" none */
    size_t tag_count;
    struct {
        char name[256];
        char value[257];
    } tags[AZURE_MAX_USER_TAGS];
    struct {
        char subnet[AZURE_SUBNET_BYTES];      /* "": the target's */
        char test_subnet[AZURE_SUBNET_BYTES]; /* "": the target's */
        char ip[46], test_ip[46];             /* "": dynamic */
    } nics[MACHINE_MAX_NICS];
    struct {
        char sku[32];
        enum azure_replica_wish replica;
    } disks[MACHINE_MAX_DISKS];
};

/* On the heap, the caller frees it. FAIL_INPUT names file, machine, key and the rule that
 * is broken; FAIL_GONE: no such file. */
MUST_CHECK struct azure_wish *azure_wish_read(const struct target_azure_options *options,
                                              const struct machine_def *machine,
                                              struct err *err);

/* The options alone: what is wrong in them, FAIL_INPUT. */
MUST_CHECK bool azure_wish_check_options(const struct target_azure_options *options,
                                         struct err *err);

bool azure_sku_is_premium(const char *sku);

/* The same, with the text of the settings file; NULL: none. Pure; exposed for tests. */
MUST_CHECK bool azure_wish_parse(const struct target_azure_options *options,
                                 const struct machine_def *machine, const char *text,
                                 size_t text_bytes, struct azure_wish *ret,
                                 struct err *err);

#endif
