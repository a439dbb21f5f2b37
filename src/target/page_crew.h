/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lanes of one disk: threads that put pages, shared by all its writers, as many at
 * once as the service takes (target/lane_window.h) and within its limits per blob. Jobs
 * are begun in the order in which they came; those of the same bytes are the caller's to
 * order.
 */
#ifndef TARGET_PAGE_CREW_H
#define TARGET_PAGE_CREW_H

#include "azure/page_blob.h"

#define PAGE_CREW_MAX_LANES 32

struct page_crew;

struct page_crew_options {
    struct page_blob *blob; /* borrowed */
    uint32_t max_lanes;     /* 1 .. PAGE_CREW_MAX_LANES; more are cut; 0: 8 */
    bool no_rate_limit;     /* not 500 requests and 60 MiB a second */
};
struct page_crew *page_crew_new(const struct page_crew_options *options);
void page_crew_free(struct page_crew *crew); /* no job is under way any more; NULL */

/* The finished jobs of one submitter; one thread waits. */
struct page_done {
    /* Guarded by the crew's lock. */
    pthread_cond_t any;
    struct page_job *first;
};
void page_done_init(struct page_done *done);
void page_done_release(struct page_done *done);

struct page_job {
    struct page_write write;
    struct page_done *done; /* whom it is given to */
    /* Set by the crew. */
    bool ok;
    struct err err;
    struct page_job *next;
};

/* The job stays where it is until page_crew_wait gave it back. False: no thread can be
 * made; nothing is submitted. */
MUST_CHECK bool page_crew_submit(struct page_crew *crew, struct page_job *job,
                                 struct err *err);
/* Waits for one of the submitter's jobs, done or failed; there must be one under way. */
MUST_CHECK struct page_job *page_crew_wait(struct page_crew *crew,
                                           struct page_done *done);
/* The submitter's jobs that no lane has begun fail at once. */
void page_crew_drop(struct page_crew *crew, struct page_done *done);

/* So many requests are allowed at once now. */
uint32_t page_crew_window(struct page_crew *crew);

#endif
