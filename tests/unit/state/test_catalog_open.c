/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: modes, strangers' files, damage, versions, and the table of migrations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "state/catalog.h"
#include "state/sqlite_schema.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[32];
    char *path;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    memcpy(f->dir, "/tmp/kedge-state-XXXXXX", 24);
    assert_non_null(mkdtemp(f->dir));
    f->path = file_join(f->dir, "catalog.db");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    bool ok = file_remove_tree(f->dir, &err);
    free(f->path);
    free(f);
    return ok ? 0 : -1;
}

static struct catalog *open_or_fail(const char *path)
{
    struct err err = ERR_INIT;
    struct catalog *catalog = catalog_open(path, &err);
    if (!catalog)
        fail_msg("%s", err.text);
    return catalog;
}

static void assert_refused(const char *path, enum err_kind kind, const char *part)
{
    struct err err = ERR_INIT;
    struct catalog *catalog = catalog_open(path, &err);
    if (catalog)
        fail_msg("opened, not refused with '%s'", part);
    if (err.kind != kind || !strstr(err.text, part) || !strstr(err.text, path))
        fail_msg("%s: %s", err_kind_name(err.kind), err.text);
}

/* Changes a catalog file behind our back. */
static void change_file(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void files_are_private(void **state)
{
    const struct fixture *f = *state;
    static const char *const SUFFIXES[] = {"", "-wal", "-shm"};
    mode_t old = umask(0);
    struct catalog *catalog = open_or_fail(f->path);
    (void)umask(old);
    for (size_t i = 0; i < ARRAY_COUNT(SUFFIXES); i++) {
        AUTO(buf_release) struct buf name = {0};
        struct stat st;
        buf_printf(&name, "%s%s", f->path, SUFFIXES[i]);
        assert_int_equal(stat(buf_text(&name), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    catalog_close(catalog);
}

static void what_is_no_catalog_is_refused(void **state)
{
    const struct fixture *f = *state;
    struct err err = ERR_INIT;
    const char *text = "this is not a database, but it is long enough to be looked at, "
                       "with more than the hundred bytes of a header";
    assert_true(file_write_durable(f->path, text, strlen(text), 0600, &err));
    assert_refused(f->path, FAIL_CORRUPT, "not a database");
    AUTO(buf_release) struct buf now = {0};
    assert_true(file_read(f->path, 4096, &now, &err));
    assert_string_equal(buf_text(&now), text); /* not touched */
    AUTO(free) char *other = file_join(f->dir, "other.db");
    change_file(other, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    assert_refused(other, FAIL_INPUT, "another program");
    assert_refused(f->dir, FAIL_INPUT, "directory");
    AUTO(free) char *nowhere = file_join(f->dir, "no/such/folder.db");
    assert_refused(nowhere, FAIL_GONE, "No such file");
}

static void a_newer_version_is_refused_untouched(void **state)
{
    const struct fixture *f = *state;
    catalog_close(open_or_fail(f->path));
    change_file(f->path, "PRAGMA user_version = 99");
    assert_refused(f->path, FAIL_CONFLICT, "version 99");
    change_file(f->path, "PRAGMA user_version = 2");
    catalog_close(open_or_fail(f->path));
}

/* A catalog as version 0.1 wrote it keeps its jobs and events; nobody asked for them. */
static void an_older_version_is_brought_up_to_date(void **state)
{
    const struct fixture *f = *state;
    struct err err = ERR_INIT;
    AUTO(catalog_event_list_release) struct catalog_event_list events = {0};
    AUTO(catalog_job_list_release) struct catalog_job_list jobs = {0};
    catalog_close(open_or_fail(f->path));
    change_file(
        f->path,
        "ALTER TABLE jobs DROP COLUMN who; ALTER TABLE events DROP COLUMN who;"
        "INSERT INTO events (ts_ms, machine, machine_name, job, level, event, text)"
        " VALUES (5, '', 'web', 3, 'info', 'old', 'as it was');"
        "INSERT INTO jobs (machine, machine_name, operation, state, step, "
        "progress_done, progress_total, options_json, idempotency_key, "
        "result_json, error_kind, error_text, created_ms, started_ms, ended_ms) "
        "VALUES ('', 'web', 'sync', 'succeeded', '', 1, 1, '', 'k', '', 'none', "
        "'', 1, 2, 3); PRAGMA user_version = 1");
    AUTO(catalog_close) struct catalog *catalog = open_or_fail(f->path);
    assert_true(catalog_event_list(catalog, 0, 0, &events, &err));
    assert_int_equal(events.count, 1);
    assert_string_equal(events.items[0].text, "as it was");
    assert_string_equal(events.items[0].who, "");
    struct catalog_job_filter by_key = {.idempotency_key = "k"};
    assert_true(catalog_job_list(catalog, &by_key, &jobs, &err));
    assert_int_equal(jobs.count, 1);
    struct catalog_event event = {.who = "uid:7", .text = (char *)(uintptr_t) "new"};
    uint64_t id = 0;
    assert_true(catalog_event_append(catalog, &event, &id, &err));
    catalog_event_list_release(&events);
    assert_true(catalog_event_list(catalog, 1, 0, &events, &err));
    assert_string_equal(events.items[0].who, "uid:7");
}

static void damage_is_found_at_open(void **state)
{
    const struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct catalog *catalog = open_or_fail(f->path);
    char value[200];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < 300; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%d", i);
        assert_true(catalog_setting_set(catalog, key, value, &err));
    }
    catalog_close(catalog);
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t page[4096], noise[64];
    memset(noise, 0xa5, sizeof noise);
    unsigned found = 0, pages = (unsigned)(st.st_size / 4096);
    for (unsigned i = 0; i < pages; i++) { /* the head of each page, in turn */
        off_t at = (off_t)i * 4096;
        assert_int_equal(pread(fd, page, sizeof page, at), sizeof page);
        assert_int_equal(pwrite(fd, noise, sizeof noise, at), sizeof noise);
        struct catalog *damaged = catalog_open(f->path, &err);
        if (!damaged) {
            assert_int_equal(err.kind, FAIL_CORRUPT);
            assert_non_null(strstr(err.text, "; restore it from a backup"));
            found++;
        }
        catalog_close(damaged);
        assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
    }
    assert_int_equal(found, pages);
    assert_int_equal(ftruncate(fd, st.st_size / 2), 0);
    assert_refused(f->path, FAIL_CORRUPT, "; restore it from a backup");
    (void)close(fd);
}

static void broken_references_are_found_at_open(void **state)
{
    const struct fixture *f = *state;
    catalog_close(open_or_fail(f->path));
    change_file(f->path, "PRAGMA foreign_keys = OFF; INSERT INTO cycles VALUES "
                         "('nobody',1,'','',0,0,0,0,0,0,0,0,0,0,'')");
    assert_refused(f->path, FAIL_CORRUPT, "'cycles'");
}

static uint64_t number(struct catalog *catalog, const char *sql)
{
    AUTO(query_end) struct query query = query_begin(catalog, sql);
    struct err err = ERR_INIT;
    bool has_row = false;
    if (!query_step(&query, &has_row, &err))
        fail_msg("%s", err.text);
    assert_true(has_row);
    return query_column_u64(&query, 0);
}

static void what_is_reported_done_survives_a_power_cut(void **state)
{
    const struct fixture *f = *state;
    AUTO(catalog_close) struct catalog *catalog = open_or_fail(f->path);
    assert_int_equal(number(catalog, "PRAGMA synchronous"), 2); /* FULL */
    assert_int_equal(number(catalog, "PRAGMA foreign_keys"), 1);
    assert_int_equal(
        number(catalog, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
}

/* ---- migrations ---- */

static const struct migration STEPS[] = {
    {"PRAGMA application_id = 1262765893; CREATE TABLE a (x INTEGER);"
     "INSERT INTO a VALUES (1); PRAGMA user_version = 1;"},
    {"ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 7; PRAGMA user_version = 2;"},
    {"CREATE TABLE b AS SELECT x + y AS z FROM a; PRAGMA user_version = 3;"},
};
static const struct migration BROKEN_LAST[] = {
    {"not run"},
    {"ALTER TABLE a ADD COLUMN half INTEGER; INSERT INTO nowhere VALUES (1);"
     "PRAGMA user_version = 2;"},
};

static struct catalog *open_raw(const char *path)
{
    struct catalog *catalog = xcalloc(1, sizeof *catalog);
    pthread_mutexattr_t attr;
    (void)pthread_mutexattr_init(&attr);
    (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&catalog->lock, &attr);
    (void)pthread_mutexattr_destroy(&attr);
    catalog->path = xstrdup(path);
    assert_int_equal(sqlite3_open(path, &catalog->db), SQLITE_OK);
    return catalog;
}

static void migrations_run_once_each_and_in_order(void **state)
{
    const struct fixture *f = *state;
    struct err err = ERR_INIT;
    AUTO(catalog_close) struct catalog *catalog = open_raw(f->path);
    assert_true(schema_migrate(catalog, STEPS, 1, &err)); /* an old version */
    assert_int_equal(number(catalog, "PRAGMA user_version"), 1);
    assert_false(schema_migrate(catalog, BROKEN_LAST, 2, &err));
    assert_non_null(strstr(err.text, "schema version 2"));
    assert_int_equal(number(catalog, "PRAGMA user_version"), 1);
    assert_int_equal(number(catalog, "SELECT count(*) FROM pragma_table_info('a')"), 1);
    assert_true(schema_migrate(catalog, STEPS, 3, &err)); /* two at once */
    assert_true(schema_migrate(catalog, STEPS, 3, &err)); /* nothing left to do */
    assert_int_equal(number(catalog, "PRAGMA user_version"), 3);
    assert_int_equal(number(catalog, "SELECT z FROM b"), 8);
    assert_false(schema_migrate(catalog, STEPS, 2, &err)); /* forward only */
    assert_int_equal(err.kind, FAIL_CONFLICT);
}

static void each_released_migration_says_its_version(void **state)
{
    (void)state;
    size_t count = 0;
    const struct migration *migrations = schema_migrations(&count);
    for (size_t i = 0; i < count; i++) {
        char says[64];
        (void)snprintf(says, sizeof says, "PRAGMA user_version = %zu;", i + 1);
        const char *at = strstr(migrations[i].sql, says);
        assert_non_null(at);
        assert_string_equal(at, says); /* the last thing it does */
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_are_private),
        CASE(what_is_no_catalog_is_refused),
        CASE(a_newer_version_is_refused_untouched),
        CASE(an_older_version_is_brought_up_to_date),
        CASE(damage_is_found_at_open),
        CASE(what_is_reported_done_survives_a_power_cut),
        CASE(broken_references_are_found_at_open),
        CASE(migrations_run_once_each_and_in_order),
        CASE(each_released_migration_says_its_version),
    };
    return cmocka_run_group_tests_name("catalog_open", tests, NULL, NULL);
}
