/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fault of the server means to us: one table, fault type -> error kind and remedy,
 * used for SOAP faults and for the errors of tasks.
 */
#ifndef VSPHERE_VIM_FAULT_H
#define VSPHERE_VIM_FAULT_H

#include "base/err.h"

/* As the server told it; texts are borrowed, NULL means not told. */
struct vim_fault {
    const char *type;   /* "InvalidPowerState"; without namespace prefix */
    const char *text;   /* localised, for people */
    const char *detail; /* what the fault names: file, privilege, property, ... */
};

struct vim_fault_rule {
    const char *type;
    enum err_kind kind;
    const char *remedy; /* what to do; NULL: the text alone says it */
};

/* NULL: not in the table (then it is FAIL_IO). */
const struct vim_fault_rule *vim_fault_rule_find(const char *type);

/* "<what>: <type>: <text> (<detail>); <remedy>"; always false. */
bool vim_fault_set(struct err *err, const char *what, const struct vim_fault *fault);

#endif
