/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of what is made in Azure. Pure.
 *
 * Source of the rules: "Naming rules and restrictions for Azure resources" (virtual
 * machines 1-64 of letters, digits and hyphens, no hyphen at the end; disks and network
 * interfaces 1-80). Names are compared without regard to case there.
 */
#ifndef TARGET_AZURE_NAMES_H
#define TARGET_AZURE_NAMES_H

#include "azure/compute.h"

#define AZURE_VM_NAME_MAX 64

/* A VM's name out of a machine's: what Azure does not allow becomes '-'. Never empty. */
void azure_name_clean(const char *name, char ret[AZURE_NAME_BYTES]);

/* "<vm>-<test>", both cut so that it fits. */
void azure_name_test(const char *vm_name, const char *test, char ret[AZURE_NAME_BYTES]);

/* "<vm>-disk<N>", "<vm>-nic<N>" */
void azure_name_part(const char *vm_name, const char *part, size_t index,
                     char ret[AZURE_NAME_BYTES]);

/* A name that a person gave for a VM. FAIL_INPUT: the rule that it breaks. */
MUST_CHECK bool azure_name_check(const char *name, struct err *err);

#endif
