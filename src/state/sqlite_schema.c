/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of the catalog.
 *
 * A migration that was released is never changed: the next version is a new line at the
 * end of the table. Forward only; a file of a newer version is refused before anything is
 * written to it. Machine names are repeated in jobs and events, which outlive machines.
 */
#include "state/sqlite_schema.h"

#include <inttypes.h>

#define APPLICATION_ID 1262765893 /* "KDGE" in the file's header */

static const char VERSION_1[] =
    "PRAGMA application_id = 1262765893;"
    "CREATE TABLE sources ("
    " name TEXT NOT NULL PRIMARY KEY,"
    " kind TEXT NOT NULL,"
    " options_json TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE targets ("
    " name TEXT NOT NULL PRIMARY KEY,"
    " kind TEXT NOT NULL,"
    " options_json TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE machines ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " version INTEGER NOT NULL,"
    " name TEXT NOT NULL UNIQUE,"
    " source TEXT NOT NULL REFERENCES sources (name),"
    " source_key TEXT NOT NULL,"
    " target TEXT NOT NULL REFERENCES targets (name),"
    " state TEXT NOT NULL,"
    " migration TEXT NOT NULL,"
    " status_detail TEXT NOT NULL,"
    " def_json TEXT NOT NULL,"
    " settings_json TEXT NOT NULL,"
    " runtime_json TEXT NOT NULL,"
    " wrapped_key TEXT NOT NULL,"
    " key_id TEXT NOT NULL,"
    " next_cycle INTEGER NOT NULL,"
    " recovery_point INTEGER NOT NULL,"
    " recovery_point_ms INTEGER NOT NULL,"
    " next_cycle_at_ms INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " migrated_ms INTEGER NOT NULL,"
    " error_kind TEXT NOT NULL,"
    " last_error TEXT NOT NULL) STRICT;"
    "CREATE INDEX machines_by_source ON machines (source);"
    "CREATE INDEX machines_by_target ON machines (target);"
    "CREATE TABLE jobs ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " machine TEXT NOT NULL," /* '' none; may be gone */
    " machine_name TEXT NOT NULL,"
    " operation TEXT NOT NULL,"
    " state TEXT NOT NULL,"
    " step TEXT NOT NULL,"
    " progress_done INTEGER NOT NULL,"
    " progress_total INTEGER NOT NULL,"
    " options_json TEXT NOT NULL,"
    " idempotency_key TEXT NOT NULL," /* '' none */
    " result_json TEXT NOT NULL,"
    " error_kind TEXT NOT NULL,"
    " error_text TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " started_ms INTEGER NOT NULL,"
    " ended_ms INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX jobs_by_key ON jobs (idempotency_key)"
    " WHERE idempotency_key <> '';"
    "CREATE INDEX jobs_by_machine ON jobs (machine, id);"
    "CREATE TABLE events ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " ts_ms INTEGER NOT NULL,"
    " machine TEXT NOT NULL," /* '' none; may be gone */
    " machine_name TEXT NOT NULL,"
    " job INTEGER NOT NULL," /* 0 none; may be gone */
    " level TEXT NOT NULL,"
    " event TEXT NOT NULL,"
    " text TEXT NOT NULL) STRICT;"
    "CREATE TABLE settings ("
    " key TEXT NOT NULL PRIMARY KEY,"
    " value TEXT NOT NULL) STRICT;"
    "CREATE TABLE cycles ("
    " machine TEXT NOT NULL REFERENCES machines (id) ON DELETE CASCADE,"
    " cycle INTEGER NOT NULL,"
    " kind TEXT NOT NULL,"
    " state TEXT NOT NULL,"
    " started_ms INTEGER NOT NULL,"
    " ended_ms INTEGER NOT NULL,"
    " snapshot_ms INTEGER NOT NULL,"
    " planned_bytes INTEGER NOT NULL,"
    " read_bytes INTEGER NOT NULL,"
    " zero_bytes INTEGER NOT NULL,"
    " same_bytes INTEGER NOT NULL,"
    " sent_bytes INTEGER NOT NULL,"
    " stored_bytes INTEGER NOT NULL,"
    " applied_bytes INTEGER NOT NULL,"
    " error_text TEXT NOT NULL,"
    " PRIMARY KEY (machine, cycle)) STRICT, WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

/* Who asked. */
static const char VERSION_2[] =
    "ALTER TABLE jobs ADD COLUMN who TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE events ADD COLUMN who TEXT NOT NULL DEFAULT '';"
    "PRAGMA user_version = 2;";

static const struct migration MIGRATIONS[] = {
    {VERSION_1},
    {VERSION_2},
};

const struct migration *schema_migrations(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(MIGRATIONS);
    return MIGRATIONS;
}

/* One value of one row; *ret_text (may be NULL) is cut to its size. */
static bool read_one(struct catalog *catalog, const char *sql, uint64_t *ret,
                     char ret_text[200], struct err *err)
{
    AUTO(query_end) struct query query = query_begin(catalog, sql);
    bool has_row = false;
    if (!query_step(&query, &has_row, err))
        return false;
    *ret = has_row ? query_column_u64(&query, 0) : 0;
    if (ret_text)
        (void)snprintf(ret_text, 200, "%s", has_row ? query_column_text(&query, 0) : "");
    return true;
}

static bool check_whole(struct catalog *catalog, struct err *err)
{
    uint64_t ignored;
    char found[200];
    if (!read_one(catalog, "PRAGMA integrity_check(1)", &ignored, found, err))
        return false;
    if (strcmp(found, "ok") != 0)
        return err_set(err, FAIL_CORRUPT,
                       "catalog '%s' is damaged: %s; restore it from a backup",
                       catalog->path, found);
    if (!read_one(catalog, "PRAGMA foreign_key_check", &ignored, found, err))
        return false;
    if (found[0])
        return err_set(err, FAIL_CORRUPT,
                       "catalog '%s' is damaged: table '%s' refers to rows that are not "
                       "there; restore it from a backup",
                       catalog->path, found);
    return true;
}

bool schema_check(struct catalog *catalog, size_t known_version, struct err *err)
{
    uint64_t application = 0, version = 0, tables = 0;
    if (!read_one(catalog, "PRAGMA application_id", &application, NULL, err) ||
        !read_one(catalog, "PRAGMA user_version", &version, NULL, err) ||
        !read_one(catalog, "SELECT count(*) FROM sqlite_schema", &tables, NULL, err))
        return false;
    bool is_empty = application == 0 && version == 0 && tables == 0;
    if (!is_empty && application != APPLICATION_ID)
        return err_set(err, FAIL_INPUT,
                       "'%s' is a database of another program, not a catalog; name "
                       "another file",
                       catalog->path);
    if (version > known_version)
        return err_set(err, FAIL_CONFLICT,
                       "catalog '%s' has schema version %" PRIu64 ", this kedge knows up "
                       "to %zu; install the newer version again, or restore a backup",
                       catalog->path, version, known_version);
    return check_whole(catalog, err);
}

bool schema_migrate(struct catalog *catalog, const struct migration *migrations,
                    size_t count, struct err *err)
{
    uint64_t version = 0;
    if (!schema_check(catalog, count, err) ||
        !read_one(catalog, "PRAGMA user_version", &version, NULL, err))
        return false;
    for (size_t i = (size_t)version; i < count; i++) {
        if (!db_begin(catalog, err))
            return false;
        bool ok = db_exec(catalog, migrations[i].sql, err);
        if (!db_end(catalog, ok, err))
            return err_wrap(err, "bring the catalog to schema version %zu", i + 1);
    }
    return true;
}
