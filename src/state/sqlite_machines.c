/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources, targets, machines and their cycles. SQL is in the sqlite_*.c files only, one
 * constant for each statement. A shape lists a row's columns once, in the order that its
 * statements use; fields that never change come first, so that an update binds the rest.
 *
 * C1  a function that changes something is one transaction (sqlite_db.c Q2);
 * C2  bounded: cycles, jobs and events forget their oldest in the transaction that adds.
 * Must never build SQL out of values.
 */
#include "state/catalog.h"

#include "state/sqlite_db.h"

#include <inttypes.h>

static const char *const ROLES[] = {
    [CATALOG_SOURCE] = "source", [CATALOG_TARGET] = "target"};

/* ---- shapes: the columns of each statement below, in this order ---- */

#define END_COLUMNS "name, kind, options_json, created_ms"
static const struct field END_FIELDS[] = {
    FIELD_OF(TEXT, catalog_end, name),
    FIELD_OF(TEXT, catalog_end, kind),
    FIELD_OF(HEAP, catalog_end, options_json),
    FIELD_OF(U64, catalog_end, created_ms),
};
SHAPE(END, catalog_end, "source or target");

#define MACHINE_COLUMNS                                                                  \
    "id, created_ms, version, name, source, source_key, target, state, migration, "      \
    "status_detail, def_json, settings_json, runtime_json, wrapped_key, key_id, "        \
    "next_cycle, recovery_point, recovery_point_ms, next_cycle_at_ms, migrated_ms, "     \
    "error_kind, last_error"
#define MACHINE_KEYS 2 /* never updated */
static const struct field MACHINE_FIELDS[] = {
    FIELD_OF(ID, catalog_machine, id),
    FIELD_OF(U64, catalog_machine, created_ms),
    FIELD_OF(U64, catalog_machine, version),
    FIELD_OF(TEXT, catalog_machine, name),
    FIELD_OF(TEXT, catalog_machine, source),
    FIELD_OF(TEXT, catalog_machine, source_key),
    FIELD_OF(TEXT, catalog_machine, target),
    FIELD_OF(TEXT, catalog_machine, state),
    FIELD_OF(TEXT, catalog_machine, migration),
    FIELD_OF(HEAP, catalog_machine, status_detail),
    FIELD_OF(HEAP, catalog_machine, def_json),
    FIELD_OF(HEAP, catalog_machine, settings_json),
    FIELD_OF(HEAP, catalog_machine, runtime_json),
    FIELD_OF(HEAP, catalog_machine, wrapped_key),
    FIELD_OF(ID, catalog_machine, key_id),
    FIELD_OF(U64, catalog_machine, next_cycle),
    FIELD_OF(U64, catalog_machine, recovery_point),
    FIELD_OF(U64, catalog_machine, recovery_point_ms),
    FIELD_OF(U64, catalog_machine, next_cycle_at_ms),
    FIELD_OF(U64, catalog_machine, migrated_ms),
    FIELD_OF(ERR_KIND, catalog_machine, error_kind),
    FIELD_OF(HEAP, catalog_machine, last_error),
};
SHAPE(MACHINE, catalog_machine, "machine");

#define CYCLE_COLUMNS                                                                    \
    "machine, cycle, kind, state, started_ms, ended_ms, snapshot_ms, planned_bytes, "    \
    "read_bytes, zero_bytes, same_bytes, sent_bytes, stored_bytes, applied_bytes, "      \
    "error_text"
static const struct field CYCLE_FIELDS[] = {
    FIELD_OF(ID, catalog_cycle, machine),
    FIELD_OF(U64, catalog_cycle, cycle),
    FIELD_OF(TEXT, catalog_cycle, kind),
    FIELD_OF(TEXT, catalog_cycle, state),
    FIELD_OF(U64, catalog_cycle, started_ms),
    FIELD_OF(U64, catalog_cycle, ended_ms),
    FIELD_OF(U64, catalog_cycle, snapshot_ms),
    FIELD_OF(U64, catalog_cycle, planned_bytes),
    FIELD_OF(U64, catalog_cycle, read_bytes),
    FIELD_OF(U64, catalog_cycle, zero_bytes),
    FIELD_OF(U64, catalog_cycle, same_bytes),
    FIELD_OF(U64, catalog_cycle, sent_bytes),
    FIELD_OF(U64, catalog_cycle, stored_bytes),
    FIELD_OF(U64, catalog_cycle, applied_bytes),
    FIELD_OF(HEAP, catalog_cycle, error_text),
};
SHAPE(CYCLE, catalog_cycle, "cycle");

void catalog_end_release(struct catalog_end *end)
{
    shape_release_row(&END, end);
}

void catalog_end_list_release(struct catalog_end_list *list)
{
    shape_release_rows(&END, list->items, list->count);
    *list = (struct catalog_end_list){0};
}

void catalog_machine_release(struct catalog_machine *row)
{
    shape_release_row(&MACHINE, row);
}

void catalog_machine_list_release(struct catalog_machine_list *list)
{
    shape_release_rows(&MACHINE, list->items, list->count);
    *list = (struct catalog_machine_list){0};
}

void catalog_cycle_list_release(struct catalog_cycle_list *list)
{
    shape_release_rows(&CYCLE, list->items, list->count);
    *list = (struct catalog_cycle_list){0};
}

/* ---- sources and targets ---- */

bool catalog_end_add(struct catalog *catalog, enum catalog_role role,
                     const struct catalog_end *end, struct err *err)
{
    static const char *const SQL[] = {
        "INSERT INTO sources (" END_COLUMNS ") VALUES (?, ?, ?, ?)",
        "INSERT INTO targets (" END_COLUMNS ") VALUES (?, ?, ?, ?)",
    };
    if (!db_begin(catalog, err))
        return false;
    struct query query = query_begin(catalog, SQL[role]);
    query_fields(&query, &END, 0, end);
    bool ok = query_run(&query, NULL, err);
    query_end(&query);
    if (!ok && err->kind == FAIL_CONFLICT)
        (void)err_set(
            err, FAIL_CONFLICT,
            "there is a %s '%s' already; choose another name or remove that one",
            ROLES[role], end->name);
    return db_end(catalog, ok, err);
}

bool catalog_end_get(struct catalog *catalog, enum catalog_role role, const char *name,
                     struct catalog_end *ret, struct err *err)
{
    static const char *const SQL[] = {
        "SELECT " END_COLUMNS " FROM sources WHERE name = ?",
        "SELECT " END_COLUMNS " FROM targets WHERE name = ?",
    };
    AUTO(query_end) struct query query = query_begin(catalog, SQL[role]);
    bool is_found = false;
    query_text(&query, name);
    if (!query_row(&query, &END, ret, &is_found, err))
        return false;
    return is_found ||
           err_set(err, FAIL_GONE, "there is no %s '%.80s'", ROLES[role], name);
}

bool catalog_end_list(struct catalog *catalog, enum catalog_role role,
                      struct catalog_end_list *ret, struct err *err)
{
    static const char *const SQL[] = {
        "SELECT " END_COLUMNS " FROM sources ORDER BY name",
        "SELECT " END_COLUMNS " FROM targets ORDER BY name",
    };
    AUTO(query_end) struct query query = query_begin(catalog, SQL[role]);
    void *items = NULL;
    if (!query_rows(&query, &END, &items, &ret->count, err))
        return false;
    ret->items = items;
    return true;
}

static bool end_is_unused(struct catalog *catalog, enum catalog_role role,
                          const char *name, struct err *err)
{
    static const char *const SQL[] = {
        "SELECT name FROM machines WHERE source = ? ORDER BY name LIMIT 1",
        "SELECT name FROM machines WHERE target = ? ORDER BY name LIMIT 1",
    };
    AUTO(query_end) struct query query = query_begin(catalog, SQL[role]);
    bool has_row = false;
    query_text(&query, name);
    if (!query_step(&query, &has_row, err))
        return false;
    if (has_row)
        return err_set(err, FAIL_CONFLICT,
                       "%s '%.80s' is in use by machine '%s'; stop its replication first",
                       ROLES[role], name, query_column_text(&query, 0));
    return true;
}

bool catalog_end_remove(struct catalog *catalog, enum catalog_role role, const char *name,
                        struct err *err)
{
    static const char *const SQL[] = {"DELETE FROM sources WHERE name = ?",
                                      "DELETE FROM targets WHERE name = ?"};
    if (!db_begin(catalog, err))
        return false;
    uint64_t changes = 0;
    bool ok = end_is_unused(catalog, role, name, err);
    if (ok) {
        AUTO(query_end) struct query query = query_begin(catalog, SQL[role]);
        query_text(&query, name);
        ok = query_run(&query, &changes, err);
    }
    if (ok && changes == 0)
        ok = err_set(err, FAIL_GONE, "there is no %s '%.80s'", ROLES[role], name);
    return db_end(catalog, ok, err);
}

/* ---- machines ---- */

/* Says what a broken constraint means; called right after the failed statement. */
static bool machine_failed(struct catalog *catalog, const struct catalog_machine *row,
                           struct err *err)
{
    if (err->kind != FAIL_CONFLICT)
        return false;
    if (sqlite3_extended_errcode(catalog->db) == SQLITE_CONSTRAINT_FOREIGNKEY)
        return err_set(
            err, FAIL_GONE,
            "machine '%s': there is no source '%s' or no target '%s' (any more)",
            row->name, row->source, row->target);
    return err_set(err, FAIL_CONFLICT,
                   "there is a machine '%s' already; choose another name", row->name);
}

bool catalog_machine_insert(struct catalog *catalog, const struct catalog_machine *row,
                            struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    struct catalog_machine first = *row; /* borrows the texts */
    first.version = 1;
    struct query query =
        query_begin(catalog, "INSERT INTO machines (" MACHINE_COLUMNS ") VALUES "
                             "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                             "?, ?, ?)");
    query_fields(&query, &MACHINE, 0, &first);
    bool ok = query_run(&query, NULL, err) || machine_failed(catalog, row, err);
    query_end(&query);
    return db_end(catalog, ok, err);
}

bool catalog_machine_get(struct catalog *catalog, const struct id *id,
                         struct catalog_machine *ret, struct err *err)
{
    AUTO(query_end)
    struct query query =
        query_begin(catalog, "SELECT " MACHINE_COLUMNS " FROM machines WHERE id = ?");
    bool is_found = false;
    char text[ID_TEXT_BYTES];
    query_id(&query, id);
    if (!query_row(&query, &MACHINE, ret, &is_found, err))
        return false;
    return is_found ||
           err_set(err, FAIL_GONE, "there is no machine with id %s", id_text(id, text));
}

bool catalog_machine_get_by_name(struct catalog *catalog, const char *name,
                                 struct catalog_machine *ret, struct err *err)
{
    AUTO(query_end)
    struct query query =
        query_begin(catalog, "SELECT " MACHINE_COLUMNS " FROM machines WHERE name = ?");
    bool is_found = false;
    query_text(&query, name);
    if (!query_row(&query, &MACHINE, ret, &is_found, err))
        return false;
    return is_found || err_set(err, FAIL_GONE, "there is no machine '%.80s'", name);
}

/* Why an update of a (machine, version) met no row. */
static bool machine_not_met(struct catalog *catalog, const struct catalog_machine *row,
                            struct err *err)
{
    AUTO(query_end)
    struct query query =
        query_begin(catalog, "SELECT version FROM machines WHERE id = ?");
    bool has_row = false;
    query_id(&query, &row->id);
    if (!query_step(&query, &has_row, err))
        return false;
    if (!has_row)
        return err_set(err, FAIL_GONE, "machine '%s' is not in the catalog any more",
                       row->name);
    return err_set(err, FAIL_CONFLICT,
                   "machine '%s' was changed meanwhile (version %" PRIu64 ", not %" PRIu64
                   "); read it again",
                   row->name, query_column_u64(&query, 0), row->version);
}

bool catalog_machine_update(struct catalog *catalog, struct catalog_machine *row,
                            struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    struct catalog_machine next = *row; /* borrows the texts */
    next.version++;
    uint64_t changes = 0;
    struct query query = query_begin(
        catalog, "UPDATE machines SET version = ?, name = ?, source = ?, source_key = ?, "
                 "target = ?, state = ?, migration = ?, status_detail = ?, def_json = ?, "
                 "settings_json = ?, runtime_json = ?, wrapped_key = ?, key_id = ?, "
                 "next_cycle = ?, recovery_point = ?, recovery_point_ms = ?, "
                 "next_cycle_at_ms = ?, migrated_ms = ?, error_kind = ?, last_error = ? "
                 "WHERE id = ? AND version = ?");
    query_fields(&query, &MACHINE, MACHINE_KEYS, &next);
    query_id(&query, &row->id);
    query_u64(&query, row->version);
    bool ok = query_run(&query, &changes, err) || machine_failed(catalog, row, err);
    query_end(&query);
    if (ok && changes == 0)
        ok = machine_not_met(catalog, row, err);
    if (!db_end(catalog, ok, err))
        return false;
    row->version++;
    return true;
}

bool catalog_machine_list(struct catalog *catalog, struct catalog_machine_list *ret,
                          struct err *err)
{
    AUTO(query_end)
    struct query query =
        query_begin(catalog, "SELECT " MACHINE_COLUMNS " FROM machines ORDER BY name");
    void *items = NULL;
    if (!query_rows(&query, &MACHINE, &items, &ret->count, err))
        return false;
    ret->items = items;
    return true;
}

bool catalog_machine_delete(struct catalog *catalog, const struct id *id, struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    struct query query = query_begin(catalog, "DELETE FROM machines WHERE id = ?");
    query_id(&query, id);
    bool ok = query_run(&query, NULL, err);
    query_end(&query);
    return db_end(catalog, ok, err);
}

/* ---- cycles ---- */

static bool forget_old_cycles(struct catalog *catalog, const struct catalog_cycle *cycle,
                              struct err *err)
{
    AUTO(query_end)
    struct query query =
        query_begin(catalog, "DELETE FROM cycles WHERE machine = ? AND cycle <= ?");
    query_id(&query, &cycle->machine);
    query_u64(&query, cycle->cycle - CATALOG_CYCLES_KEPT);
    return query_run(&query, NULL, err);
}

bool catalog_cycle_put(struct catalog *catalog, const struct catalog_cycle *cycle,
                       struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    struct query query = query_begin(
        catalog, "INSERT INTO cycles (" CYCLE_COLUMNS ") VALUES "
                 "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                 "ON CONFLICT (machine, cycle) DO UPDATE SET kind = excluded.kind, "
                 "state = excluded.state, started_ms = excluded.started_ms, "
                 "ended_ms = excluded.ended_ms, snapshot_ms = excluded.snapshot_ms, "
                 "planned_bytes = excluded.planned_bytes, "
                 "read_bytes = excluded.read_bytes, zero_bytes = excluded.zero_bytes, "
                 "same_bytes = excluded.same_bytes, sent_bytes = excluded.sent_bytes, "
                 "stored_bytes = excluded.stored_bytes, "
                 "applied_bytes = excluded.applied_bytes, "
                 "error_text = excluded.error_text");
    query_fields(&query, &CYCLE, 0, cycle);
    bool ok = query_run(&query, NULL, err);
    if (!ok && err->kind == FAIL_CONFLICT) /* the only constraint left: the reference */
        (void)err_set(err, FAIL_GONE,
                      "cycle %" PRIu64 ": its machine is not in the catalog",
                      cycle->cycle);
    query_end(&query);
    if (ok && cycle->cycle > CATALOG_CYCLES_KEPT)
        ok = forget_old_cycles(catalog, cycle, err);
    return db_end(catalog, ok, err);
}

bool catalog_cycles_left(struct catalog *catalog, const char *from, const char *to,
                         uint64_t ended_ms, struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    struct query query =
        query_begin(catalog, "UPDATE cycles SET state = ?, ended_ms = ? WHERE state = ?");
    query_text(&query, to);
    query_u64(&query, ended_ms);
    query_text(&query, from);
    bool ok = query_run(&query, NULL, err);
    query_end(&query);
    return db_end(catalog, ok, err);
}

bool catalog_cycle_list(struct catalog *catalog, const struct id *machine, uint64_t limit,
                        struct catalog_cycle_list *ret, struct err *err)
{
    AUTO(query_end)
    struct query query = query_begin(catalog, "SELECT " CYCLE_COLUMNS " FROM cycles "
                                              "WHERE machine = ? "
                                              "ORDER BY cycle DESC LIMIT ?");
    void *items = NULL;
    query_id(&query, machine);
    query_limit(&query, limit);
    if (!query_rows(&query, &CYCLE, &items, &ret->count, err))
        return false;
    ret->items = items;
    return true;
}
