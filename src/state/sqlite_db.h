/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the catalog needs of SQLite, and no more: one connection, transactions, bound
 * queries, rows mapped to structs by a table of fields. Private to src/state.
 */
#ifndef STATE_SQLITE_DB_H
#define STATE_SQLITE_DB_H

#include "base/err.h"
#include "base/id.h"

#include <sqlite3.h>

struct catalog {
    /* Set by catalog_open, never changed. */
    char *path;           /* owned; for error texts */
    pthread_mutex_t lock; /* recursive: catalog_transaction */
    /* Guarded by lock. */
    sqlite3 *db;
    unsigned depth; /* of begun transactions */
};

/* ---- transactions ---- */

/* Takes the lock. true: end it with db_end in every case. */
MUST_CHECK bool db_begin(struct catalog *catalog, struct err *err);
/* Commits when ok, else rolls back and keeps *err. Returns whether it is committed. */
MUST_CHECK bool db_end(struct catalog *catalog, bool ok, struct err *err);

/* Statements without parameters and rows: pragmas, schema. */
MUST_CHECK bool db_exec(struct catalog *catalog, const char *sql, struct err *err);

/* *err from what SQLite says last; always false. */
bool db_fail(struct catalog *catalog, int result, const char *doing, struct err *err);

/* ---- rows ---- */

enum field_type {
    FIELD_ID,        /* struct id; zero is '' */
    FIELD_TEXT,      /* char[bytes] */
    FIELD_HEAP,      /* char *; NULL goes in as '' */
    FIELD_U64,       /* up to INT64_MAX */
    FIELD_ERR_KIND,  /* enum err_kind by name */
    FIELD_JOB_STATE, /* enum catalog_job_state by name */
};

struct field {
    enum field_type type;
    size_t offset;
    size_t bytes;
};

#define FIELD_OF(kind, type, member)                                                     \
    {                                                                                    \
        FIELD_##kind, offsetof(struct type, member), sizeof(((struct type *)0)->member)  \
    }

/* A struct as a row: its columns in the order of all its statements. */
struct shape {
    const char *what; /* "machine": for error texts */
    size_t row_bytes;
    size_t count;
    const struct field *fields;
};

#define SHAPE(name, type, text)                                                          \
    static const struct shape name = {.what = text,                                      \
                                      .row_bytes = sizeof(struct type),                  \
                                      .count = ARRAY_COUNT(name##_FIELDS),               \
                                      .fields = name##_FIELDS}

void shape_release_row(const struct shape *shape, void *row); /* and zeroes it */
void shape_release_rows(const struct shape *shape, void *rows, size_t count);

/* ---- queries ---- */

/*
 * AUTO(query_end) struct query q = query_begin(catalog, SQL); query_text(&q, ...); then
 * query_run, query_row or query_rows. The first failure sticks and is reported there.
 * Holds the catalog's lock from begin to end.
 */
struct query {
    struct catalog *catalog;
    sqlite3_stmt *stmt;
    int next; /* parameter */
    struct err failed;
};

struct query query_begin(struct catalog *catalog, const char *sql);
void query_end(struct query *query);
static inline void auto_query_end(struct query *query)
{
    query_end(query);
}

void query_text(struct query *query, const char *text);
void query_u64(struct query *query, uint64_t v);
/* LIMIT: 0 is none. */
void query_limit(struct query *query, uint64_t limit);
void query_id(struct query *query, const struct id *id);
/* Fields [from, shape->count) of the row. */
void query_fields(struct query *query, const struct shape *shape, size_t from,
                  const void *row);

/* To the end; no rows expected. *ret_changes (may be NULL): rows touched. */
MUST_CHECK bool query_run(struct query *query, uint64_t *ret_changes, struct err *err);
/* The next row, if any. */
MUST_CHECK bool query_step(struct query *query, bool *ret_has_row, struct err *err);
/* One row into *ret; *ret_found false: none. */
MUST_CHECK bool query_row(struct query *query, const struct shape *shape, void *ret,
                          bool *ret_found, struct err *err);
/* All rows into a new array. */
MUST_CHECK bool query_rows(struct query *query, const struct shape *shape, void **ret,
                           size_t *ret_count, struct err *err);
/* Column of the current row. */
const char *query_column_text(struct query *query, int column);
uint64_t query_column_u64(struct query *query, int column);

#endif
