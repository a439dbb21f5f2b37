/* SPDX-License-Identifier: Apache-2.0 */
/* SOAP 1.1 envelopes of vim25: requests out, returns and faults in. Internal to
 * src/vsphere; pure. */
#ifndef VSPHERE_VIM_SOAP_H
#define VSPHERE_VIM_SOAP_H

#include "vsphere/vim_call.h"

/* The envelope of a request, appended to out. FAIL_INPUT: a text that XML cannot carry.
 */
MUST_CHECK bool vim_soap_write(const struct wire_type *type, const void *args,
                               struct buf *out, struct err *err);

/*
 * Reads an envelope: on_return for each returnval of "<method>Response", or, when it
 * holds a fault, *err by the fault table and *ret_fault.
 */
struct vim_soap_answer {
    const char *method;
    const void *body;
    size_t body_bytes;
    vim_return_fn on_return; /* or NULL */
    void *arg;
};
MUST_CHECK bool vim_soap_read(const struct vim_soap_answer *answer,
                              struct vim_fault_seen *ret_fault, struct err *err);

/* A fault inside a data object (a task's error, a missing property): always false. */
bool vim_soap_fault(struct err *err, const char *what,
                    const struct wire_LocalizedMethodFault *fault);

#endif
