/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for what the server does: a task, or a property to take a value. The server
 * holds each question until something changes (WaitForUpdatesEx on a property collector
 * of the wait's own), so nothing is polled. Giving up the wait does not stop the task:
 * it is remembered in wait->task and can be picked up with vim_task_wait, by this process
 * or by the next.
 *
 * A wait survives a lost session, a restarted vCenter and broken connections: it asks
 * anew until its deadline.
 */
#ifndef VSPHERE_VIM_TASK_H
#define VSPHERE_VIM_TASK_H

#include "vsphere/vim.h"

struct vim_wait {
    uint64_t deadline_ms; /* from the start of the wait; 0: 30 min */
    const struct cancel *cancel;
    /* Called in the waiting thread when the server tells a new percentage; NULL. */
    void (*on_progress)(void *arg, unsigned percent);
    void *arg;

    /* Out: the task as soon as it exists, also when the call then fails. Not set: the
     * server started nothing, or nobody knows (FAIL_TRANSIENT). */
    struct vim_ref task;
    unsigned percent; /* the last one told */
};

/*
 * Waits for a task's end. wait may be NULL (no cancel, 30 min). true: it succeeded;
 * *ret_result (or NULL) is the object it made, if any, else empty. false: the kind of the
 * task's own error by the fault table; FAIL_TRANSIENT past the deadline (the text says
 * how far it was); FAIL_CANCELED by us; FAIL_GONE the server no longer knows the task
 * (ended more than some 10 minutes ago, or restarted): look at the object itself.
 */
MUST_CHECK bool vim_task_wait(struct vim *vim, const struct vim_ref *task,
                              struct vim_wait *wait, struct vim_ref *ret_result,
                              struct err *err);

/* Asks the server to give a task up; it may finish all the same. */
MUST_CHECK bool vim_task_cancel(struct vim *vim, const struct vim_ref *task,
                                const struct cancel *cancel, struct err *err);

#endif
