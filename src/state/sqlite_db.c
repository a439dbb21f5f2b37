/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SQLite connection behind one lock.
 *
 * Q1  values reach SQL only through bound parameters; statements are constants;
 * Q2  every write is inside db_begin/db_end. The outermost is BEGIN IMMEDIATE, inner ones
 *     are savepoints: each call is all or nothing, also inside a larger change;
 * Q3  SQLite ends a transaction by itself on a full disk or I/O error. From then on
 *     nothing is written until the outermost db_end, which fails: a later statement of
 *     the same change must not be committed alone;
 * Q4  a row that does not fit its struct fails, nothing is cut.
 * The lock is held over I/O of the catalog, on purpose: it is the catalog.
 */
#include "state/sqlite_db.h"

#include "base/fault.h"
#include "state/catalog.h"

#include <errno.h>
#include <inttypes.h>

/* ---- errors ---- */

static enum err_kind kind_of_result(int result, int sys_errno)
{
    if (sys_errno == ENOSPC || sys_errno == EDQUOT)
        return FAIL_NO_SPACE;
    switch (result & 0xff) {
    case SQLITE_FULL:
        return FAIL_NO_SPACE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return FAIL_TRANSIENT;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return FAIL_CORRUPT;
    case SQLITE_CONSTRAINT:
        return FAIL_CONFLICT;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return FAIL_AUTH;
    case SQLITE_TOOBIG:
        return FAIL_LIMIT;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
        return FAIL_BUG;
    default:
        return FAIL_IO;
    }
}

static const char *hint_of_kind(enum err_kind kind)
{
    switch (kind) {
    case FAIL_NO_SPACE:
        return "free space there, work goes on by itself";
    case FAIL_TRANSIENT:
        return "another process has it open; stop that one";
    case FAIL_CORRUPT:
        return "restore it from a backup";
    case FAIL_AUTH:
        return "is it writable for the user that kedged runs as?";
    default:
        return NULL;
    }
}

bool db_fail(struct catalog *catalog, int result, const char *doing, struct err *err)
{
    int sys_errno = 0;
    if ((result & 0xff) == SQLITE_IOERR || (result & 0xff) == SQLITE_CANTOPEN)
        sys_errno = sqlite3_system_errno(catalog->db);
    enum err_kind kind = kind_of_result(result, sys_errno);
    const char *hint = hint_of_kind(kind);
    (void)err_set(err, kind, "catalog '%s': %s: %s%s%s%s%s", catalog->path, doing,
                  sqlite3_errmsg(catalog->db), sys_errno ? ", " : "",
                  sys_errno ? strerrordesc_np(sys_errno) : "", hint ? "; " : "",
                  hint ? hint : "");
    err->sys_errno = sys_errno;
    return false;
}

bool db_exec(struct catalog *catalog, const char *sql, struct err *err)
{
    int result = sqlite3_exec(catalog->db, sql, NULL, NULL, NULL);
    if (result != SQLITE_OK)
        return db_fail(catalog, result, "change", err);
    return true;
}

/* ---- transactions ---- */

static bool begin_locked(struct catalog *catalog, struct err *err)
{
    if (catalog->depth == 0)
        return db_exec(catalog, "BEGIN IMMEDIATE", err);
    if (sqlite3_get_autocommit(catalog->db)) /* Q3 */
        return err_set(err, FAIL_IO,
                       "catalog '%s': an earlier step of this change failed",
                       catalog->path);
    return db_exec(catalog, "SAVEPOINT inner_change", err);
}

bool db_begin(struct catalog *catalog, struct err *err)
{
    (void)lock_now(&catalog->lock);
    if (!begin_locked(catalog, err)) {
        (void)pthread_mutex_unlock(&catalog->lock); /* cannot fail: we hold it */
        return false;
    }
    catalog->depth++;
    return true;
}

static bool commit_locked(struct catalog *catalog, struct err *err)
{
    if (sqlite3_get_autocommit(catalog->db)) /* Q3 */
        return err_set(err, FAIL_IO, "catalog '%s': a step of this change failed",
                       catalog->path);
    if (catalog->depth > 1)
        return db_exec(catalog, "RELEASE inner_change", err);
    if (FAULT(CATALOG_BEFORE_COMMIT, err))
        return false;
    return db_exec(catalog, "COMMIT", err);
}

/* Not reported: the error that brought us here is. A transaction that stays open all the
 * same makes the next BEGIN fail. */
static void rollback_locked(struct catalog *catalog)
{
    if (sqlite3_get_autocommit(catalog->db))
        return;
    const char *sql = catalog->depth > 1
                          ? "ROLLBACK TO inner_change; RELEASE inner_change"
                          : "ROLLBACK";
    (void)sqlite3_exec(catalog->db, sql, NULL, NULL, NULL);
}

bool db_end(struct catalog *catalog, bool ok, struct err *err)
{
    bool is_committed = ok && commit_locked(catalog, err);
    if (!is_committed)
        rollback_locked(catalog);
    bool is_outermost = --catalog->depth == 0;
    (void)pthread_mutex_unlock(&catalog->lock); /* cannot fail: we hold it */
    if (is_committed && is_outermost && FAULT(CATALOG_AFTER_COMMIT, err))
        return false;
    return is_committed;
}

/* ---- queries ---- */

struct query query_begin(struct catalog *catalog, const char *sql)
{
    struct query query = {.catalog = catalog, .next = 1};
    (void)lock_now(&catalog->lock);
    int result = sqlite3_prepare_v2(catalog->db, sql, -1, &query.stmt, NULL);
    if (result != SQLITE_OK)
        (void)db_fail(catalog, result, "prepare", &query.failed);
    return query;
}

void query_end(struct query *query)
{
    if (!query->catalog)
        return;
    (void)sqlite3_finalize(query->stmt); /* repeats an error that step reported */
    (void)pthread_mutex_unlock(&query->catalog->lock); /* cannot fail: we hold it */
    query->catalog = NULL;
}

static void bound(struct query *query, int result)
{
    query->next++;
    if (result != SQLITE_OK && query->failed.kind == FAIL_NONE)
        (void)db_fail(query->catalog, result, "bind", &query->failed);
}

void query_text(struct query *query, const char *text)
{
    bound(query, sqlite3_bind_text(query->stmt, query->next, text ? text : "", -1,
                                   SQLITE_TRANSIENT));
}

void query_u64(struct query *query, uint64_t v)
{
    if (v > INT64_MAX && query->failed.kind == FAIL_NONE)
        (void)err_set(&query->failed, FAIL_LIMIT,
                      "catalog '%s': %" PRIu64 " is more than a column holds",
                      query->catalog->path, v);
    bound(query, sqlite3_bind_int64(query->stmt, query->next, (sqlite3_int64)v));
}

void query_limit(struct query *query, uint64_t limit)
{
    query_u64(query, limit && limit < INT64_MAX ? limit : (uint64_t)INT64_MAX);
}

void query_id(struct query *query, const struct id *id)
{
    char text[ID_TEXT_BYTES];
    query_text(query, id_is_zero(id) ? "" : id_text(id, text));
}

static void bind_field(struct query *query, const struct field *field, const uint8_t *at)
{
    uint64_t number;
    enum err_kind kind;
    enum catalog_job_state state;
    const char *text;
    switch (field->type) {
    case FIELD_ID:
        query_id(query, (const struct id *)at);
        break;
    case FIELD_TEXT:
        query_text(query, (const char *)at);
        break;
    case FIELD_HEAP:
        memcpy(&text, at, sizeof text);
        query_text(query, text);
        break;
    case FIELD_U64:
        memcpy(&number, at, sizeof number);
        query_u64(query, number);
        break;
    case FIELD_ERR_KIND:
        memcpy(&kind, at, sizeof kind);
        query_text(query, err_kind_name(kind));
        break;
    case FIELD_JOB_STATE:
        memcpy(&state, at, sizeof state);
        query_text(query, catalog_job_state_name(state));
        break;
    }
}

void query_fields(struct query *query, const struct shape *shape, size_t from,
                  const void *row)
{
    for (size_t i = from; i < shape->count; i++)
        bind_field(query, &shape->fields[i],
                   (const uint8_t *)row + shape->fields[i].offset);
}

bool query_step(struct query *query, bool *ret_has_row, struct err *err)
{
    if (query->failed.kind != FAIL_NONE) {
        *err = query->failed;
        return false;
    }
    int result = sqlite3_step(query->stmt);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        return db_fail(query->catalog, result, "step", err);
    *ret_has_row = result == SQLITE_ROW;
    return true;
}

bool query_run(struct query *query, uint64_t *ret_changes, struct err *err)
{
    bool has_row = true;
    while (has_row)
        if (!query_step(query, &has_row, err))
            return false;
    if (ret_changes)
        *ret_changes = (uint64_t)sqlite3_changes64(query->catalog->db);
    return true;
}

const char *query_column_text(struct query *query, int column)
{
    const unsigned char *text = sqlite3_column_text(query->stmt, column);
    return text ? (const char *)text : "";
}

uint64_t query_column_u64(struct query *query, int column)
{
    return (uint64_t)sqlite3_column_int64(query->stmt, column);
}

/* ---- rows ---- */

static bool job_state_from_name(const char *name, enum catalog_job_state *ret)
{
    for (int i = CATALOG_JOB_QUEUED; i <= CATALOG_JOB_CANCELED; i++)
        if (strcmp(catalog_job_state_name((enum catalog_job_state)i), name) == 0) {
            *ret = (enum catalog_job_state)i;
            return true;
        }
    return false;
}

/* false: the text is not what the field can be. */
static bool read_text_field(const struct field *field, const char *text, uint8_t *at)
{
    struct err ignored;
    enum err_kind kind;
    enum catalog_job_state state;
    char *copy;
    switch (field->type) {
    case FIELD_ID:
        return !*text || id_parse(text, (struct id *)at, &ignored);
    case FIELD_TEXT:
        if (strlen(text) >= field->bytes)
            return false;
        memcpy(at, text, strlen(text) + 1);
        return true;
    case FIELD_HEAP:
        copy = xstrdup(text);
        memcpy(at, &copy, sizeof copy);
        return true;
    case FIELD_ERR_KIND:
        kind = err_kind_from_name(text); /* of a newer version: FAIL_BUG */
        memcpy(at, &kind, sizeof kind);
        return true;
    case FIELD_JOB_STATE:
        if (!job_state_from_name(text, &state))
            return false;
        memcpy(at, &state, sizeof state);
        return true;
    case FIELD_U64:
        break;
    }
    return false;
}

static bool read_row(struct query *query, const struct shape *shape, uint8_t *row,
                     struct err *err)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &shape->fields[i];
        if (field->type == FIELD_U64) {
            uint64_t number = query_column_u64(query, (int)i);
            memcpy(row + field->offset, &number, sizeof number);
        } else if (!read_text_field(field, query_column_text(query, (int)i),
                                    row + field->offset)) {
            (void)err_set(err, FAIL_LIMIT,
                          "catalog '%s': column '%s' of a %s holds '%.60s', which this "
                          "version cannot read",
                          query->catalog->path, sqlite3_column_name(query->stmt, (int)i),
                          shape->what, query_column_text(query, (int)i));
            shape_release_row(shape, row);
            return false;
        }
    }
    return true;
}

void shape_release_row(const struct shape *shape, void *row)
{
    if (!row)
        return;
    for (size_t i = 0; i < shape->count; i++)
        if (shape->fields[i].type == FIELD_HEAP) {
            char *text;
            memcpy(&text, (uint8_t *)row + shape->fields[i].offset, sizeof text);
            free(text);
        }
    memset(row, 0, shape->row_bytes);
}

void shape_release_rows(const struct shape *shape, void *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        shape_release_row(shape, (uint8_t *)rows + i * shape->row_bytes);
    free(rows);
}

bool query_row(struct query *query, const struct shape *shape, void *ret, bool *ret_found,
               struct err *err)
{
    if (!query_step(query, ret_found, err))
        return false;
    if (!*ret_found)
        return true;
    uint8_t *row = xcalloc(1, shape->row_bytes);
    bool ok = read_row(query, shape, row, err);
    if (ok)
        memcpy(ret, row, shape->row_bytes);
    free(row);
    return ok;
}

bool query_rows(struct query *query, const struct shape *shape, void **ret,
                size_t *ret_count, struct err *err)
{
    uint8_t *rows = NULL;
    size_t count = 0, cap = 0;
    bool has_row = false, ok = true;
    while ((ok = query_step(query, &has_row, err)) && has_row) {
        if (count == cap) {
            cap = cap ? 2 * cap : 16;
            rows = xrealloc(rows, cap, shape->row_bytes);
        }
        memset(rows + count * shape->row_bytes, 0, shape->row_bytes);
        ok = read_row(query, shape, rows + count * shape->row_bytes, err);
        if (!ok)
            break;
        count++;
    }
    if (!ok) {
        shape_release_rows(shape, rows, count);
        return false;
    }
    *ret = rows;
    *ret_count = count;
    return true;
}
