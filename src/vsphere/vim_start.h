/* SPDX-License-Identifier: Apache-2.0 */
/* Methods that start a task, together with the wait for it. Internal to src/vsphere. */
#ifndef VSPHERE_VIM_START_H
#define VSPHERE_VIM_START_H

#include "vsphere/vim_call.h"
#include "vsphere/vim_task.h"

/* Calls a "..._Task" method and waits for its task; wait and ret_result may be NULL. */
MUST_CHECK bool vim_start(struct vim *vim, struct vim_call *call, struct vim_wait *wait,
                          struct vim_ref *ret_result, struct err *err);

uint64_t vim_wait_deadline_ms(const struct vim_wait *wait); /* wait may be NULL */

#endif
