/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether calls to an endpoint make sense. Pure: the time is given. Not locked.
 *
 *   closed    calls go out; each that finds nobody counts CIRCUIT_POINTS_NOBODY, each
 *             that breaks counts 1, an answer makes it 0
 *   open      at CIRCUIT_POINTS_OPEN: calls fail at once, but for
 *   probing   one call when next_try_ms has come: its answer closes, its failure opens
 *             for twice as long, at most CIRCUIT_PAUSE_MAX_MS
 */
#ifndef NETPATH_CIRCUIT_H
#define NETPATH_CIRCUIT_H

#include "base/defs.h"

#define CIRCUIT_POINTS_NOBODY 2
#define CIRCUIT_POINTS_OPEN   6
#define CIRCUIT_PAUSE_MIN_MS  1000
#define CIRCUIT_PAUSE_MAX_MS  30000
#define CIRCUIT_PROBE_LIFE_MS                                                            \
    60000 /* a probe that nobody ended does not bar for ever                             \
           */

struct circuit {
    bool is_open, is_probing;
    unsigned points;
    uint64_t since_unix_ms; /* of the first failure in a row; 0: none */
    uint64_t next_try_ms, pause_ms, probe_at_ms;
};

/* May a call go out? true while open: it is the probe. */
bool circuit_admit(struct circuit *circuit, uint64_t now_ms);
/* The probe ended without a word about the endpoint. */
void circuit_forget_probe(struct circuit *circuit);
/* An answer; true: it was open. */
bool circuit_answered(struct circuit *circuit);
/* jitter: 0 .. 999, spreads the probes over +-25 %. true: it opens now. */
bool circuit_failed(struct circuit *circuit, unsigned points, uint64_t now_ms,
                    uint64_t unix_ms, uint32_t jitter);
/* Until a call may go out; 0: now. */
uint64_t circuit_wait_ms(const struct circuit *circuit, uint64_t now_ms);

#endif
