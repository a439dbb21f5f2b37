/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that open segments: to check them (CREW_VERIFY) or to check and write them
 * (CREW_WRITE). Segments are pushed by one thread, worked on in any order, and the crew
 * reports which ranges it saw: the target bitmap. First error wins.
 */
#ifndef APPLIER_CREW_H
#define APPLIER_CREW_H

#include "applier/applier.h"

enum crew_mode { CREW_VERIFY, CREW_WRITE };

struct crew;

/* Borrows context and plan for its life. CREW_WRITE opens the replica's disks. */
MUST_CHECK struct crew *crew_start(const struct apply_context *context,
                                   const struct plan *plan, enum crew_mode mode,
                                   struct err *err);

/* Waits for room; false with the crew's first error, or FAIL_CANCELED. */
MUST_CHECK bool crew_push(struct crew *crew, const struct manifest_segment *segment,
                          struct err *err);

/*
 * Waits for all that was pushed; CREW_WRITE: everything is flushed to stable storage.
 * Then, when is_complete, compares what was seen with the plan's bitmaps: a missing,
 * doubled or excess sector is FAIL_CORRUPT. Frees the crew whatever is returned.
 */
MUST_CHECK bool crew_finish(struct crew *crew, bool is_complete, struct err *err);

/* Gives up and frees; NULL is fine. */
void crew_cancel(struct crew *crew);

#endif
