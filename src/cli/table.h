/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text tables for terminals and pipes: columns that shrink, drop out or grow with the
 * width, bars, colours. Pure: rows in, text out. One thread at a time.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "base/buf.h"

#define TABLE_MAX_COLUMNS 12

enum style {
    STYLE_PLAIN,
    STYLE_BOLD,
    STYLE_DIM,
    STYLE_RED,
    STYLE_GREEN,
    STYLE_YELLOW,
    STYLE_CYAN
};

struct table_column {
    const char *title;
    int min_width;  /* may be cut to this; 0: never cut */
    int drop_order; /* dropped before cutting, highest first; 0: never */
    bool is_right;
    bool is_bar; /* takes what is left of the width */
};

struct table_look {
    int width; /* columns of the screen; 0: no bound, nothing is cut */
    bool has_colour;
    bool is_utf8;
};

struct table;

MUST_CHECK struct table *table_new(const struct table_column *columns, size_t count);
void table_free(struct table *table);
AUTO_CLEANUP(struct table, table_free);

/* Cells in column order, left to right; a new row begins by itself. Control characters
 * become '?'. */
void table_cell(struct table *table, enum style style, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* In a bar column; 0..1000. */
void table_bar(struct table *table, enum style style, unsigned permille);

void table_render(const struct table *table, const struct table_look *look,
                  struct buf *out);

/* ---- pieces, for other lines on the same screen ---- */
int text_columns(const char *text); /* width on the screen */
/* Appends text cut to width (with "…"), control characters replaced. */
void text_fit(struct buf *out, const char *text, int width, bool is_utf8);
void text_style(struct buf *out, const struct table_look *look, enum style style);
void text_plain(struct buf *out, const struct table_look *look); /* ends a style */
void text_bar(struct buf *out, unsigned permille, int width,
              const struct table_look *look, enum style style);

#endif
