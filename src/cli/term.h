/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal: its size, the live screen, and giving it back as it was. One per process.
 */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include "base/buf.h"

/* Columns and lines; false: not a terminal. */
bool term_size(int *ret_width, int *ret_height);

/* Live screen: no echo, keys at once, no cursor, in the alternate screen when is_full.
 * Interrupts end term_wait instead of the process. */
void term_enter(bool is_full);
void term_leave(void); /* any number of times */

enum term_event { TERM_TIME, TERM_KEY, TERM_RESIZED, TERM_END };

/* Waits for a key, a new size, an interrupt (TERM_END) or the time. */
enum term_event term_wait(uint64_t ms, char *ret_key);

/* Writes one frame at once, over the one before; ends of lines are cleared, so nothing
 * flickers. In place (not full): goes back up over lines_before lines first. */
void term_draw(const struct buf *frame, int lines_before);

#endif
