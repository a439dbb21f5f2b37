/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for properties of one object to change: the server holds each question until
 * something does. Internal to src/vsphere. One thread at a time per watch.
 */
#ifndef VSPHERE_VIM_WATCH_H
#define VSPHERE_VIM_WATCH_H

#include "vsphere/vim_call.h"

enum vim_watch_next { VIM_WATCH_ON, VIM_WATCH_DONE };

struct vim_watch {
    const struct vim_ref *object;
    const struct wire_type *properties;
    void *ret;                /* a struct of that type, kept up to date */
    struct wire_arena *arena; /* of what ret points to */
    uint64_t deadline_ms;     /* from now */
    const struct cancel *cancel;
    /* After each change, in the waiting thread. */
    enum vim_watch_next (*on_change)(void *arg);
    void *arg;
};

/*
 * true: on_change said DONE. false: FAIL_TRANSIENT past the deadline ("no change" is not
 * told apart from "nobody answers": the text does); FAIL_GONE the object is not there;
 * FAIL_CANCELED. Lost sessions and connections are repaired until the deadline.
 */
MUST_CHECK bool vim_watch_run(struct vim *vim, const struct vim_watch *watch,
                              struct err *err);

#endif
