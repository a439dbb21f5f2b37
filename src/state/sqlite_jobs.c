/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs, events and settings. Jobs and events outlive the machine they are about, so they
 * hold its name and no reference. The rules of sqlite_machines.c hold here, too.
 */
#include "state/catalog.h"

#include "base/text.h"
#include "state/sqlite_db.h"

#include <inttypes.h>

#define JOB_COLUMNS                                                                      \
    "id, machine, machine_name, operation, options_json, idempotency_key, created_ms, "  \
    "who, state, step, progress_done, progress_total, result_json, error_kind, "         \
    "error_text, "                                                                       \
    "started_ms, ended_ms"
#define JOB_KEYS 8 /* never updated */
static const struct field JOB_FIELDS[] = {
    FIELD_OF(U64, catalog_job, id),
    FIELD_OF(ID, catalog_job, machine),
    FIELD_OF(TEXT, catalog_job, machine_name),
    FIELD_OF(TEXT, catalog_job, operation),
    FIELD_OF(HEAP, catalog_job, options_json),
    FIELD_OF(TEXT, catalog_job, idempotency_key),
    FIELD_OF(U64, catalog_job, created_ms),
    FIELD_OF(TEXT, catalog_job, who),
    FIELD_OF(JOB_STATE, catalog_job, state),
    FIELD_OF(TEXT, catalog_job, step),
    FIELD_OF(U64, catalog_job, progress_done),
    FIELD_OF(U64, catalog_job, progress_total),
    FIELD_OF(HEAP, catalog_job, result_json),
    FIELD_OF(ERR_KIND, catalog_job, error_kind),
    FIELD_OF(HEAP, catalog_job, error_text),
    FIELD_OF(U64, catalog_job, started_ms),
    FIELD_OF(U64, catalog_job, ended_ms),
};
SHAPE(JOB, catalog_job, "job");

#define EVENT_COLUMNS "id, ts_ms, machine, machine_name, job, level, event, who, text"
static const struct field EVENT_FIELDS[] = {
    FIELD_OF(U64, catalog_event, id),     FIELD_OF(U64, catalog_event, ts_ms),
    FIELD_OF(ID, catalog_event, machine), FIELD_OF(TEXT, catalog_event, machine_name),
    FIELD_OF(U64, catalog_event, job),    FIELD_OF(TEXT, catalog_event, level),
    FIELD_OF(TEXT, catalog_event, event), FIELD_OF(TEXT, catalog_event, who),
    FIELD_OF(HEAP, catalog_event, text),
};
SHAPE(EVENT, catalog_event, "event");

void catalog_job_release(struct catalog_job *job)
{
    shape_release_row(&JOB, job);
}

void catalog_job_list_release(struct catalog_job_list *list)
{
    shape_release_rows(&JOB, list->items, list->count);
    *list = (struct catalog_job_list){0};
}

void catalog_event_list_release(struct catalog_event_list *list)
{
    shape_release_rows(&EVENT, list->items, list->count);
    *list = (struct catalog_event_list){0};
}

/* ---- jobs ---- */

/* The job that was made with the same key, if any. */
static bool find_by_key(struct catalog *catalog, const struct catalog_job *job,
                        uint64_t *ret_id, bool *ret_is_new, struct err *err)
{
    AUTO(query_end)
    struct query query = query_begin(catalog, "SELECT id, operation, machine FROM jobs "
                                              "WHERE idempotency_key = ? "
                                              "AND idempotency_key <> ''");
    bool has_row = false;
    char machine[ID_TEXT_BYTES] = "";
    query_text(&query, job->idempotency_key);
    if (!query_step(&query, &has_row, err))
        return false;
    *ret_is_new = !has_row;
    if (!has_row)
        return true;
    if (!id_is_zero(&job->machine))
        (void)id_text(&job->machine, machine);
    if (strcmp(query_column_text(&query, 1), job->operation) != 0 ||
        strcmp(query_column_text(&query, 2), machine) != 0)
        return err_set(err, FAIL_CONFLICT,
                       "idempotency key '%s' was used for job %" PRIu64
                       ", which is another request; use a new key",
                       job->idempotency_key, query_column_u64(&query, 0));
    *ret_id = query_column_u64(&query, 0);
    return true;
}

static bool insert_job(struct catalog *catalog, const struct catalog_job *job,
                       uint64_t *ret_id, struct err *err)
{
    struct query query = query_begin(
        catalog, "INSERT INTO jobs (machine, machine_name, operation, options_json, "
                 "idempotency_key, created_ms, who, state, step, progress_done, "
                 "progress_total, result_json, error_kind, error_text, started_ms, "
                 "ended_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    query_fields(&query, &JOB, 1, job);
    bool ok = query_run(&query, NULL, err);
    query_end(&query);
    if (ok)
        *ret_id = (uint64_t)sqlite3_last_insert_rowid(catalog->db);
    return ok;
}

static bool forget_old_jobs(struct catalog *catalog, uint64_t newest_id, struct err *err)
{
    if (newest_id <= CATALOG_JOBS_KEPT)
        return true;
    AUTO(query_end)
    struct query query = query_begin(catalog, "DELETE FROM jobs WHERE id <= ? AND "
                                              "state NOT IN ('queued', 'running')");
    query_u64(&query, newest_id - CATALOG_JOBS_KEPT);
    return query_run(&query, NULL, err);
}

bool catalog_job_create(struct catalog *catalog, const struct catalog_job *job,
                        uint64_t *ret_id, bool *ret_is_new, struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    uint64_t id = 0;
    bool is_new = false;
    bool ok = find_by_key(catalog, job, &id, &is_new, err);
    if (ok && is_new)
        ok = insert_job(catalog, job, &id, err) && forget_old_jobs(catalog, id, err);
    if (!db_end(catalog, ok, err))
        return false;
    *ret_id = id;
    *ret_is_new = is_new;
    return true;
}

bool catalog_job_update(struct catalog *catalog, const struct catalog_job *job,
                        struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    uint64_t changes = 0;
    struct query query = query_begin(
        catalog, "UPDATE jobs SET state = ?, step = ?, progress_done = ?, "
                 "progress_total = ?, result_json = ?, error_kind = ?, error_text = ?, "
                 "started_ms = ?, ended_ms = ? WHERE id = ?");
    query_fields(&query, &JOB, JOB_KEYS, job);
    query_u64(&query, job->id);
    bool ok = query_run(&query, &changes, err);
    query_end(&query);
    if (ok && changes == 0)
        ok = err_set(err, FAIL_GONE, "there is no job %" PRIu64, job->id);
    return db_end(catalog, ok, err);
}

bool catalog_job_get(struct catalog *catalog, uint64_t id, struct catalog_job *ret,
                     struct err *err)
{
    AUTO(query_end)
    struct query query =
        query_begin(catalog, "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?");
    bool is_found = false;
    query_u64(&query, MIN_OF(id, (uint64_t)INT64_MAX));
    if (!query_row(&query, &JOB, ret, &is_found, err))
        return false;
    return is_found || err_set(err, FAIL_GONE, "there is no job %" PRIu64, id);
}

bool catalog_job_list(struct catalog *catalog, const struct catalog_job_filter *filter,
                      struct catalog_job_list *ret, struct err *err)
{
    AUTO(query_end)
    struct query query = query_begin(
        catalog, "SELECT " JOB_COLUMNS " FROM jobs WHERE (?1 = '' OR machine = ?1) "
                 "AND (?2 = 0 OR state IN ('queued', 'running')) AND id < ?3 "
                 "AND (?4 = '' OR machine_name = ?4) "
                 "AND (?5 = '' OR idempotency_key = ?5) ORDER BY id DESC LIMIT ?6");
    void *items = NULL;
    query_id(&query, &filter->machine);
    query_u64(&query, filter->active_only ? 1 : 0);
    query_u64(&query, filter->before_id ? MIN_OF(filter->before_id, (uint64_t)INT64_MAX)
                                        : (uint64_t)INT64_MAX);
    query_text(&query, filter->machine_name ? filter->machine_name : "");
    query_text(&query, filter->idempotency_key ? filter->idempotency_key : "");
    query_limit(&query, filter->limit);
    if (!query_rows(&query, &JOB, &items, &ret->count, err))
        return false;
    ret->items = items;
    return true;
}

/* ---- events ---- */

static bool events_kept(struct catalog *catalog, uint64_t *ret, struct err *err)
{
    AUTO(query_end)
    struct query query = query_begin(catalog, "SELECT value FROM settings WHERE key = ?");
    bool has_row = false;
    struct err ignored; /* a value that is none: the default */
    query_text(&query, CATALOG_EVENTS_KEPT_SETTING);
    if (!query_step(&query, &has_row, err))
        return false;
    if (!has_row ||
        !text_parse_u64(query_column_text(&query, 0), 1, INT64_MAX, ret, &ignored))
        *ret = CATALOG_EVENTS_KEPT;
    return true;
}

static bool insert_event(struct catalog *catalog, const struct catalog_event *event,
                         uint64_t *ret_id, struct err *err)
{
    struct query query = query_begin(
        catalog, "INSERT INTO events (ts_ms, machine, machine_name, job, level, event, "
                 "who, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    query_fields(&query, &EVENT, 1, event);
    bool ok = query_run(&query, NULL, err);
    query_end(&query);
    if (ok)
        *ret_id = (uint64_t)sqlite3_last_insert_rowid(catalog->db);
    return ok;
}

static bool forget_old_events(struct catalog *catalog, uint64_t newest_id,
                              struct err *err)
{
    uint64_t kept = 0;
    if (!events_kept(catalog, &kept, err))
        return false;
    if (newest_id <= kept)
        return true;
    AUTO(query_end)
    struct query query =
        query_begin(catalog, "DELETE FROM events WHERE id IN (SELECT id FROM events "
                             "WHERE id <= ? ORDER BY id LIMIT ?)");
    query_u64(&query, newest_id - kept);
    query_u64(&query, CATALOG_FORGET_STEP);
    return query_run(&query, NULL, err);
}

/* Only the oldest are looked at: events are in the order of time but for clocks that were
 * set. */
bool catalog_event_forget(struct catalog *catalog, uint64_t before_ms,
                          uint64_t *ret_removed, struct err *err)
{
    uint64_t removed = 0;
    if (!db_begin(catalog, err))
        return false;
    struct query query = query_begin(
        catalog, "DELETE FROM events WHERE id IN (SELECT id FROM (SELECT id, ts_ms FROM "
                 "events ORDER BY id LIMIT ?) WHERE ts_ms < ?)");
    query_u64(&query, CATALOG_FORGET_STEP);
    query_u64(&query, MIN_OF(before_ms, (uint64_t)INT64_MAX));
    bool ok = query_run(&query, &removed, err);
    query_end(&query);
    if (!db_end(catalog, ok, err))
        return false;
    *ret_removed = removed;
    return true;
}

bool catalog_event_append(struct catalog *catalog, const struct catalog_event *event,
                          uint64_t *ret_id, struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    uint64_t id = 0;
    bool ok =
        insert_event(catalog, event, &id, err) && forget_old_events(catalog, id, err);
    if (!db_end(catalog, ok, err))
        return false;
    *ret_id = id;
    return true;
}

bool catalog_event_list(struct catalog *catalog, uint64_t since, uint64_t limit,
                        struct catalog_event_list *ret, struct err *err)
{
    AUTO(query_end)
    struct query query = query_begin(catalog, "SELECT " EVENT_COLUMNS " FROM events "
                                              "WHERE id > ? ORDER BY id LIMIT ?");
    void *items = NULL;
    query_u64(&query, MIN_OF(since, (uint64_t)INT64_MAX));
    query_limit(&query, limit);
    if (!query_rows(&query, &EVENT, &items, &ret->count, err))
        return false;
    ret->items = items;
    return true;
}

bool catalog_event_last(struct catalog *catalog, uint64_t *ret_id, struct err *err)
{
    AUTO(query_end)
    struct query query =
        query_begin(catalog, "SELECT seq FROM sqlite_sequence WHERE name = 'events'");
    bool has_row = false;
    if (!query_step(&query, &has_row, err))
        return false;
    *ret_id = has_row ? query_column_u64(&query, 0) : 0;
    return true;
}

/* ---- settings ---- */

bool catalog_setting_get(struct catalog *catalog, const char *key, char **ret_value,
                         struct err *err)
{
    AUTO(query_end)
    struct query query = query_begin(catalog, "SELECT value FROM settings WHERE key = ?");
    bool has_row = false;
    query_text(&query, key);
    if (!query_step(&query, &has_row, err))
        return false;
    if (!has_row)
        return err_set(err, FAIL_GONE, "setting '%.80s' is not set", key);
    *ret_value = xstrdup(query_column_text(&query, 0));
    return true;
}

static struct query begin_set(struct catalog *catalog, const char *key, const char *value)
{
    struct query query = query_begin(
        catalog, value ? "INSERT INTO settings (key, value) VALUES (?, ?) "
                         "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
                       : "DELETE FROM settings WHERE key = ?");
    query_text(&query, key);
    if (value)
        query_text(&query, value);
    return query;
}

bool catalog_setting_set(struct catalog *catalog, const char *key, const char *value,
                         struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    struct query query = begin_set(catalog, key, value);
    bool ok = query_run(&query, NULL, err);
    query_end(&query);
    return db_end(catalog, ok, err);
}
