/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_SCREEN_H
#define GUEST_SCREEN_H

/* The status page of the demo guest on its VGA text screen. Without a screen: no effect.
 */

enum screen_color {
    SCREEN_PLAIN = 0x1f,
    SCREEN_DIM = 0x17,
    SCREEN_GOOD = 0x1a,
    SCREEN_BAD = 0x4f,
    SCREEN_TITLE = 0x1e
};

void screen_open(void);

/* Draw the frame and the title; forgets everything that was on the page. */
void screen_clear(const char *title);

/* Set line row (0 ..) of the page to "label   text". */
void screen_line(unsigned row, const char *label, enum screen_color color,
                 const char *text);

/* Put the page on the screen. */
void screen_show(void);

#endif
