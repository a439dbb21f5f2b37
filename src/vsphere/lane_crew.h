/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane over reads that block: a crew of threads, each with one read at a time, so that
 * as many are in flight as there are threads. The functions below are entries of a
 * transport's operations table; threads and errors as in vsphere/transport.h.
 */
#ifndef VSPHERE_LANE_CREW_H
#define VSPHERE_LANE_CREW_H

#include "vsphere/transport.h"

#define LANE_CREW_MAX 32

struct lane_crew_options {
    const struct transport_ops *ops; /* of the lane */
    uint64_t disk_bytes;
    uint32_t thread_count; /* 1 .. LANE_CREW_MAX; more are cut */
    void *file;            /* the lane's: closed with it, also when its opening fails */
    /* The whole range or nothing. In several threads at once. */
    bool (*read)(void *file, struct lane_read *read, struct err *err);
    void (*close)(void *file); /* no read runs any more */
};
MUST_CHECK bool lane_crew_open(const struct lane_crew_options *options, struct lane **ret,
                               struct err *err);

MUST_CHECK bool lane_crew_submit(struct lane *lane, struct lane_read *read,
                                 struct err *err);
MUST_CHECK struct lane_read *lane_crew_next(struct lane *lane,
                                            const struct cancel *cancel, struct err *err);
void lane_crew_counters(const struct lane *lane, struct lane_counters *ret);
void lane_crew_close(struct lane *lane);

#endif
