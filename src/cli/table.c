/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout: natural widths first; while the row is too wide, the column with the highest
 * drop_order goes; when none is left to drop, the widest one that may be cut is cut.
 * What is left over goes to the bar.
 *
 * T1  no rendered line is wider than the look's width, so a terminal never wraps;
 * T2  what comes from outside cannot control the terminal: control characters are
 *     replaced before they are stored.
 */
#include "cli/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <wchar.h>

#define GAP           2
#define BAR_MIN_WIDTH 8
#define BAR_MAX_WIDTH 40
#define CELL_BYTES    1024
#define NOT_A_BAR     UINT32_MAX

struct cell {
    char *text;
    enum style style;
    unsigned permille;
};

struct table {
    struct table_column columns[TABLE_MAX_COLUMNS];
    size_t column_count;
    struct cell *cells;
    size_t cell_count, cell_cap;
};

/* ---- text on the screen ---- */

/* One character of UTF-8; anything else is one byte. Returns its length. */
static size_t next_char(const char *text, uint32_t *ret)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t length = p[0] < 0x80             ? 1
                    : (p[0] & 0xE0) == 0xC0 ? 2
                    : (p[0] & 0xF0) == 0xE0 ? 3
                    : (p[0] & 0xF8) == 0xF0 ? 4
                                            : 0;
    uint32_t c = length <= 1 ? p[0] : p[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            length = 0;
            break;
        }
        c = c << 6 | (p[i] & 0x3F);
    }
    *ret = length ? c : 0xFFFD;
    return length ? length : 1;
}

/* Controls, and what reorders or hides text (bidi, zero width), never reach the screen.
 */
static bool char_is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           c == 0xFFFD;
}

static int char_columns(uint32_t c)
{
    if (c < 0x300)
        return 1;
    int columns = wcwidth((wchar_t)c);
    return columns < 0 ? 1 : columns;
}

int text_columns(const char *text)
{
    int columns = 0;
    uint32_t c;
    while (*text) {
        text += next_char(text, &c);
        columns += char_is_unsafe(c) ? 1 : char_columns(c);
    }
    return columns;
}

static const char *ascii_of(uint32_t c)
{
    return c == 0x2013 || c == 0x2014 ? "-" : c == 0x2026 ? "." : "?";
}

static void put_char(struct buf *out, const char *text, size_t length, uint32_t c,
                     bool is_utf8)
{
    if (char_is_unsafe(c))
        buf_put_u8(out, '?');
    else if (c < 0x80 || is_utf8)
        buf_append(out, text, length);
    else
        buf_append_text(out, ascii_of(c));
}

void text_fit(struct buf *out, const char *text, int width, bool is_utf8)
{
    uint32_t c;
    bool is_cut = text_columns(text) > width;
    int left = is_cut ? width - 1 : width;
    while (*text) {
        size_t length = next_char(text, &c);
        int columns = char_is_unsafe(c) ? 1 : char_columns(c);
        if (columns > left)
            break;
        put_char(out, text, length, c, is_utf8);
        left -= columns;
        text += length;
    }
    if (is_cut && width > 0) {
        while (left-- > 0)
            buf_put_u8(out, ' ');
        buf_append_text(out, is_utf8 ? "…" : "~");
    }
}

void text_style(struct buf *out, const struct table_look *look, enum style style)
{
    static const char *const CODES[] = {"",         "\033[1m",  "\033[2m", "\033[31m",
                                        "\033[32m", "\033[33m", "\033[36m"};
    if (look->has_colour)
        buf_append_text(out, CODES[style]);
}

void text_plain(struct buf *out, const struct table_look *look)
{
    if (look->has_colour)
        buf_append_text(out, "\033[0m");
}

static void repeat(struct buf *out, const char *text, int count)
{
    while (count-- > 0)
        buf_append_text(out, text);
}

void text_bar(struct buf *out, unsigned permille, int width,
              const struct table_look *look, enum style style)
{
    int halves = (int)(permille * (unsigned)width * 2 / 1000);
    int full = halves / 2, half = halves % 2;
    text_style(out, look, style);
    repeat(out, look->is_utf8 ? "━" : "#", full);
    if (half)
        buf_append_text(out, look->is_utf8 ? "╸" : "+");
    text_plain(out, look);
    text_style(out, look, STYLE_DIM);
    repeat(out, look->is_utf8 ? "─" : "-", width - full - half);
    text_plain(out, look);
}

/* ---- cells ---- */

struct table *table_new(const struct table_column *columns, size_t count)
{
    struct table *table = xcalloc(1, sizeof *table);
    table->column_count = MIN_OF(count, (size_t)TABLE_MAX_COLUMNS);
    memcpy(table->columns, columns, table->column_count * sizeof *columns);
    return table;
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

static struct cell *add_cell(struct table *table)
{
    if (table->cell_count == table->cell_cap) {
        table->cell_cap = table->cell_cap ? table->cell_cap * 2 : 64;
        table->cells = xrealloc(table->cells, table->cell_cap, sizeof *table->cells);
    }
    struct cell *cell = &table->cells[table->cell_count++];
    *cell = (struct cell){.permille = NOT_A_BAR};
    return cell;
}

void table_cell(struct table *table, enum style style, const char *fmt, ...)
{
    char text[CELL_BYTES];
    struct cell *cell = add_cell(table);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap); /* cut is fine */
    va_end(ap);
    cell->style = style;
    cell->text = xstrdup(text);
}

void table_bar(struct table *table, enum style style, unsigned permille)
{
    struct cell *cell = add_cell(table);
    cell->style = style;
    cell->permille = MIN_OF(permille, 1000u);
    cell->text = xstrdup("");
}

/* ---- layout ---- */

struct layout {
    int widths[TABLE_MAX_COLUMNS]; /* 0: dropped */
};

static int total_width(const struct table *table, const struct layout *layout)
{
    int total = 0;
    for (size_t i = 0; i < table->column_count; i++)
        if (layout->widths[i])
            total += layout->widths[i] + (total ? GAP : 0);
    return total;
}

static void natural_widths(const struct table *table, struct layout *layout)
{
    for (size_t i = 0; i < table->column_count; i++) {
        int title = text_columns(table->columns[i].title);
        layout->widths[i] = MAX_OF(title, table->columns[i].is_bar ? BAR_MIN_WIDTH : 1);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->column_count;
        int columns = text_columns(table->cells[i].text);
        if (columns > layout->widths[column])
            layout->widths[column] = columns;
    }
}

/* Bars hold their text at its natural width only while there is room. */
static int least_width(const struct table_column *column)
{
    return column->is_bar ? BAR_MIN_WIDTH : column->min_width;
}

static bool cut_widest(const struct table *table, struct layout *layout)
{
    size_t widest = TABLE_MAX_COLUMNS;
    int most = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        int least = least_width(&table->columns[i]);
        int spare = least && layout->widths[i] ? layout->widths[i] - least : 0;
        if (spare > most) {
            most = spare;
            widest = i;
        }
    }
    if (widest == TABLE_MAX_COLUMNS)
        return false;
    layout->widths[widest]--;
    return true;
}

static bool drop_one(const struct table *table, struct layout *layout)
{
    size_t first = TABLE_MAX_COLUMNS;
    int highest = 0;
    for (size_t i = 0; i < table->column_count; i++)
        if (layout->widths[i] && table->columns[i].drop_order > highest) {
            highest = table->columns[i].drop_order;
            first = i;
        }
    if (first == TABLE_MAX_COLUMNS)
        return false;
    layout->widths[first] = 0;
    return true;
}

/* Sum of the least widths of what is still there. */
static int least_total(const struct table *table, const struct layout *layout)
{
    struct layout least = *layout;
    for (size_t i = 0; i < table->column_count; i++) {
        int width = least_width(&table->columns[i]);
        if (least.widths[i] && width && width < least.widths[i])
            least.widths[i] = width;
    }
    return total_width(table, &least);
}

static void cut_hard(const struct table *table, struct layout *layout, int width)
{
    while (total_width(table, layout) > width) {
        size_t widest = 0;
        for (size_t i = 1; i < table->column_count; i++)
            if (layout->widths[i] > layout->widths[widest])
                widest = i;
        if (layout->widths[widest] <= 1)
            layout->widths[widest] = 0; /* a screen of very few columns */
        else
            layout->widths[widest]--;
        if (total_width(table, layout) == 0)
            return;
    }
}

static void fit_layout(const struct table *table, struct layout *layout, int width)
{
    natural_widths(table, layout);
    while (least_total(table, layout) > width && drop_one(table, layout))
        ;
    while (total_width(table, layout) > width && cut_widest(table, layout))
        ;
    cut_hard(table, layout, width);
    for (size_t i = 0; i < table->column_count; i++) {
        int spare = width - total_width(table, layout);
        if (table->columns[i].is_bar && layout->widths[i] && spare > 0 &&
            layout->widths[i] < BAR_MAX_WIDTH)
            layout->widths[i] = MIN_OF(layout->widths[i] + spare, BAR_MAX_WIDTH);
    }
}

/* ---- rendering ---- */

static void print_cell(const struct table_look *look, const struct table_column *column,
                       const struct cell *cell, int width, bool is_last, struct buf *out)
{
    if (cell->permille != NOT_A_BAR) {
        text_bar(out, cell->permille, width, look, cell->style);
        return;
    }
    int columns = MIN_OF(text_columns(cell->text), width);
    int pad = width - columns;
    if (column->is_right)
        repeat(out, " ", pad);
    text_style(out, look, cell->style);
    text_fit(out, cell->text, width, look->is_utf8);
    if (cell->style != STYLE_PLAIN)
        text_plain(out, look);
    if (!column->is_right && !is_last)
        repeat(out, " ", pad);
}

static void print_row(const struct table *table, const struct table_look *look,
                      const struct layout *layout, const struct cell *cells,
                      struct buf *out)
{
    bool is_first = true;
    size_t last = 0;
    for (size_t i = 0; i < table->column_count; i++)
        if (layout->widths[i])
            last = i;
    for (size_t i = 0; i < table->column_count; i++) {
        if (!layout->widths[i])
            continue;
        if (!is_first)
            repeat(out, " ", GAP);
        is_first = false;
        print_cell(look, &table->columns[i], &cells[i], layout->widths[i], i == last,
                   out);
    }
    buf_put_u8(out, '\n');
}

void table_render(const struct table *table, const struct table_look *look,
                  struct buf *out)
{
    struct layout layout = {0};
    struct cell titles[TABLE_MAX_COLUMNS];
    if (look->width > 0)
        fit_layout(table, &layout, look->width);
    else
        natural_widths(table, &layout);
    for (size_t i = 0; i < table->column_count; i++)
        titles[i] = (struct cell){.text = (char *)(uintptr_t)table->columns[i].title,
                                  .style = STYLE_BOLD,
                                  .permille = NOT_A_BAR};
    print_row(table, look, &layout, titles, out);
    for (size_t at = 0; at + table->column_count <= table->cell_count;
         at += table->column_count)
        print_row(table, look, &layout, &table->cells[at], out);
}
