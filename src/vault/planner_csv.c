/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet out of a table of comma-separated values. Everything is checked when it is
 * read; an error names line and column and what would be right.
 */
#include "vault/planner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

#define MAX_FIELDS      32
#define MAX_FIELD_BYTES 1024
#define MAX_GIB         ((double)(1024 * 1024)) /* a PiB */

struct line {
    size_t number;
    char fields[MAX_FIELDS][MAX_FIELD_BYTES];
    size_t count;
};

struct column {
    const char *name;
    bool (*take)(const char *value, struct plan_machine *m, struct err *err);
};

struct reader {
    struct planner *planner;
    const struct column *columns[MAX_FIELDS]; /* of the header */
    size_t column_count;
};

/* ---- values ---- */

static bool parse_number(const char *value, double min, double max, double *ret,
                         struct err *err)
{
    char *end = NULL;
    double number = strtod(value, &end);
    /* strtod also reads hexadecimal, infinities and blanks. */
    if (!*value || *end || value[strspn(value, "0123456789.")] || !isfinite(number) ||
        number < min || number > max)
        return err_set(err, FAIL_INPUT, "'%.40s' is not a number from %g to %g", value,
                       min, max);
    *ret = number;
    return true;
}

static bool parse_bytes(const char *value, double max, uint64_t unit, uint64_t *ret,
                        struct err *err)
{
    double number = 0;
    if (!parse_number(value, 0, max, &number, err))
        return false;
    *ret = (uint64_t)(number * (double)unit);
    return true;
}

static bool take_text(const char *value, char *out, size_t out_bytes, struct err *err)
{
    if (strlen(value) >= out_bytes)
        return err_set(err, FAIL_INPUT, "'%.20s…' is longer than %zu bytes", value,
                       out_bytes - 1);
    text_copy(out, out_bytes, value);
    return true;
}

static bool take_name(const char *value, struct plan_machine *m, struct err *err)
{
    return text_check_name("machine", value, err) &&
           take_text(value, m->name, sizeof m->name, err);
}

static bool take_size(const char *value, struct plan_machine *m, struct err *err)
{
    return parse_bytes(value, MAX_GIB, GIB, &m->used_bytes, err);
}

/* Of the size, which is read first. */
static bool take_used(const char *value, struct plan_machine *m, struct err *err)
{
    double pct = 0;
    if (!parse_number(value, 0, 100, &pct, err))
        return false;
    m->used_bytes = (uint64_t)((double)m->used_bytes * pct / 100.0);
    return true;
}

static bool take_gateway(const char *value, struct plan_machine *m, struct err *err)
{
    return text_check_name("gateway", value, err) &&
           take_text(value, m->gateway, sizeof m->gateway, err);
}

static bool take_host(const char *value, struct plan_machine *m, struct err *err)
{
    return take_text(value, m->host, sizeof m->host, err);
}

static bool take_datastores(const char *value, struct plan_machine *m, struct err *err)
{
    m->datastore_count = 0;
    while (*value) {
        size_t bytes = strcspn(value, ";");
        if (m->datastore_count == PLAN_MAX_DATASTORES)
            return err_set(err, FAIL_INPUT, "more than %u datastores",
                           PLAN_MAX_DATASTORES);
        if (bytes >= sizeof m->datastores[0])
            return err_set(err, FAIL_INPUT, "'%.20s…' is longer than %zu bytes", value,
                           sizeof m->datastores[0] - 1);
        char *out = m->datastores[m->datastore_count];
        memcpy(out, value, bytes);
        out[bytes] = 0;
        for (size_t i = 0; i < m->datastore_count; i++) {
            if (strcmp(m->datastores[i], out) == 0)
                return err_set(err, FAIL_INPUT, "'%.40s' is there twice", out);
        }
        m->datastore_count += bytes > 0;
        value += bytes + (value[bytes] == ';');
    }
    return true;
}

static bool take_disks(const char *value, struct plan_machine *m, struct err *err)
{
    uint64_t disks;
    if (!text_parse_u64(value, 1, MACHINE_MAX_DISKS, &disks, err))
        return false;
    m->disk_count = (uint32_t)disks;
    return true;
}

static bool take_churn(const char *value, struct plan_machine *m, struct err *err)
{
    return parse_bytes(value, MAX_GIB, MIB, &m->churn_bytes_hour, err);
}

static bool take_pattern(const char *value, struct plan_machine *m, struct err *err)
{
    if (strcmp(value, "skewed") == 0)
        m->pattern = CHURN_SKEWED;
    else if (strcmp(value, "scattered") == 0)
        m->pattern = CHURN_SCATTERED;
    else
        return err_set(err, FAIL_INPUT, "'%.40s'; known are 'skewed' and 'scattered'",
                       value);
    return true;
}

static bool take_read(const char *value, struct plan_machine *m, struct err *err)
{
    return parse_bytes(value, MAX_GIB, MIB, &m->read_bps, err);
}

/* size_gib comes before used_pct: fields are taken in this order. */
static const struct column COLUMNS[] = {
    {"name", take_name},       {"size_gib", take_size},
    {"used_pct", take_used},   {"gateway", take_gateway},
    {"host", take_host},       {"datastore", take_datastores},
    {"disks", take_disks},     {"churn_mib_per_h", take_churn},
    {"pattern", take_pattern}, {"read_mib_per_s", take_read},
};

/* ---- lines ---- */

static bool put_char(struct line *line, size_t *used, char c, struct err *err)
{
    if (*used + 1 >= MAX_FIELD_BYTES)
        return err_set(err, FAIL_INPUT, "field %zu is longer than %d bytes",
                       line->count + 1, MAX_FIELD_BYTES - 1);
    line->fields[line->count][(*used)++] = c;
    return true;
}

/* One field; *at ends on the comma or at the end. */
static bool read_field(struct line *line, const char **at, const char *end,
                       struct err *err)
{
    size_t used = 0;
    const char *c = *at;
    while (c < end && (*c == ' ' || *c == '\t'))
        c++;
    bool is_quoted = c < end && *c == '"';
    for (c += is_quoted; c < end && (is_quoted || *c != ','); c++) {
        if (is_quoted && *c == '"') {
            if (c + 1 < end && c[1] == '"')
                c++;
            else
                break;
        }
        if (!put_char(line, &used, *c, err))
            return false;
    }
    if (is_quoted && c == end)
        return err_set(err, FAIL_INPUT, "the quote of field %zu has no end",
                       line->count + 1);
    c += is_quoted;
    while (c < end && (*c == ' ' || *c == '\t'))
        c++;
    if (c < end && *c != ',')
        return err_set(err, FAIL_INPUT, "text after the quote of field %zu",
                       line->count + 1);
    char *field = line->fields[line->count++];
    while (!is_quoted && used && (field[used - 1] == ' ' || field[used - 1] == '\t'))
        used--;
    field[used] = 0;
    *at = c;
    return true;
}

static bool read_fields(struct line *line, const char *at, const char *end,
                        struct err *err)
{
    line->count = 0;
    for (;;) {
        if (line->count == MAX_FIELDS)
            return err_set(err, FAIL_INPUT, "more than %d fields", MAX_FIELDS);
        if (!read_field(line, &at, end, err))
            return false;
        if (at == end)
            return true;
        at++;
    }
}

static bool read_header(struct reader *reader, const struct line *line, struct err *err)
{
    for (size_t i = 0; i < line->count; i++) {
        const struct column *found = NULL;
        for (size_t k = 0; k < ARRAY_COUNT(COLUMNS); k++) {
            if (strcmp(COLUMNS[k].name, line->fields[i]) == 0)
                found = &COLUMNS[k];
        }
        if (!found)
            return err_set(err, FAIL_INPUT,
                           "unknown column '%.40s'; known are name, size_gib, used_pct, "
                           "gateway, host, datastore, disks, churn_mib_per_h, pattern "
                           "and read_mib_per_s",
                           line->fields[i]);
        for (size_t k = 0; k < i; k++) {
            if (reader->columns[k] == found)
                return err_set(err, FAIL_INPUT, "column '%s' is there twice",
                               found->name);
        }
        reader->columns[i] = found;
    }
    reader->column_count = line->count;
    for (size_t needed = 0; needed < 2; needed++) {
        size_t at = 0;
        while (at < line->count && reader->columns[at] != &COLUMNS[needed])
            at++;
        if (at == line->count)
            return err_set(err, FAIL_INPUT, "there is no column '%s'",
                           COLUMNS[needed].name);
    }
    return true;
}

static bool read_machine(struct reader *reader, const struct line *line, struct err *err)
{
    struct plan_machine m = reader->planner->fallback;
    bool has_churn = m.churn_bytes_hour > 0;
    if (line->count != reader->column_count)
        return err_set(err, FAIL_INPUT, "%zu fields; the header has %zu", line->count,
                       reader->column_count);
    for (size_t k = 0; k < ARRAY_COUNT(COLUMNS); k++) {
        for (size_t i = 0; i < line->count; i++) {
            if (reader->columns[i] != &COLUMNS[k])
                continue;
            if (!line->fields[i][0] && k > 1)
                continue; /* left out */
            if (!COLUMNS[k].take(line->fields[i], &m, err))
                return err_wrap(err, "%s", COLUMNS[k].name);
            has_churn = has_churn || COLUMNS[k].take == take_churn;
        }
    }
    if (!has_churn)
        m.churn_bytes_hour = PLAN_CHURN_BYTES_HOUR(m.used_bytes);
    return planner_add(reader->planner, &m, err);
}

static int by_name(const void *a, const void *b)
{
    const struct plan_machine *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static bool check_names(const struct planner *planner, struct err *err)
{
    AUTO(free)
    const struct plan_machine **sorted = xcalloc(planner->count + 1, sizeof *sorted);
    for (size_t i = 0; i < planner->count; i++)
        sorted[i] = &planner->machines[i];
    qsort(sorted, planner->count, sizeof *sorted, by_name);
    for (size_t i = 1; i < planner->count; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return err_set(err, FAIL_INPUT, "machine '%s' is there twice",
                           sorted[i]->name);
    }
    return true;
}

bool planner_read_csv(struct planner *planner, const char *text, size_t text_bytes,
                      struct err *err)
{
    struct reader reader = {.planner = planner};
    AUTO(free) struct line *line = xcalloc(1, sizeof *line);
    const char *at = text, *end = text + text_bytes;
    if (text_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        at += 3; /* the byte order mark of spreadsheets */
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop ? stop + 1 : end;
        stop = stop ? stop : end;
        if (stop > at && stop[-1] == '\r')
            stop--;
        line->number++;
        bool is_blank = stop == at || *at == '#';
        bool ok = is_blank || (memchr(at, 0, (size_t)(stop - at)) == NULL &&
                               read_fields(line, at, stop, err));
        if (!ok && err->kind == FAIL_NONE)
            (void)err_set(err, FAIL_INPUT, "the line holds a NUL character");
        if (ok && !is_blank)
            ok = reader.column_count ? read_machine(&reader, line, err)
                                     : read_header(&reader, line, err);
        if (!ok)
            return err_wrap(err, "line %zu", line->number);
        at = next;
    }
    if (!planner->count)
        return err_set(err, FAIL_INPUT,
                       "the table has no machines; its first line names the columns, "
                       "like 'name,size_gib,host'");
    return check_names(planner, err);
}
