/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing the catalog. Synchronous FULL: what was reported as done survives a
 * power cut, as the contract says; WAL, so that a reader of the file (a backup, a person
 * with sqlite3) does not stop the vault. The file is private from its first byte, and the
 * files that SQLite puts beside it take its mode.
 */
#include "state/catalog.h"

#include "base/file.h"
#include "state/sqlite_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 5000

const char *catalog_job_state_name(enum catalog_job_state state)
{
    static const char *const NAMES[] = {
        [CATALOG_JOB_QUEUED] = "queued",       [CATALOG_JOB_RUNNING] = "running",
        [CATALOG_JOB_SUCCEEDED] = "succeeded", [CATALOG_JOB_FAILED] = "failed",
        [CATALOG_JOB_CANCELED] = "canceled",
    };
    return NAMES[state];
}

bool catalog_transaction(struct catalog *catalog,
                         bool (*change)(void *ctx, struct err *err), void *ctx,
                         struct err *err)
{
    if (!db_begin(catalog, err))
        return false;
    return db_end(catalog, change(ctx, err), err);
}

static bool make_file(const char *path, struct err *err)
{
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "open catalog '%s'", path);
    return file_sync_parent(path, err);
}

static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    (void)pthread_mutexattr_init(&attr); /* these fail only on values that are none */
    (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(lock, &attr);
    (void)pthread_mutexattr_destroy(&attr);
}

static bool set_up(struct catalog *catalog, struct err *err)
{
    size_t count = 0;
    const struct migration *migrations = schema_migrations(&count);
    (void)sqlite3_busy_timeout(catalog->db, BUSY_TIMEOUT_MS); /* cannot fail */
    (void)sqlite3_db_config(catalog->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return db_exec(catalog, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON",
                   err) &&
           schema_check(catalog, count, err) &&
           db_exec(catalog,
                   "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                   "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY",
                   err) &&
           schema_migrate(catalog, migrations, count, err);
}

struct catalog *catalog_open(const char *path, struct err *err)
{
    if (!make_file(path, err))
        return NULL;
    AUTO(catalog_close) struct catalog *catalog = xcalloc(1, sizeof *catalog);
    catalog->path = xstrdup(path);
    init_lock(&catalog->lock);
    int result = sqlite3_open_v2(path, &catalog->db,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK) {
        (void)db_fail(catalog, result, "open", err);
        return NULL;
    }
    if (!set_up(catalog, err))
        return NULL;
    return TAKE(catalog);
}

void catalog_close(struct catalog *catalog)
{
    if (!catalog)
        return;
    (void)sqlite3_close(catalog->db);            /* statements are all finalized */
    (void)pthread_mutex_destroy(&catalog->lock); /* nobody holds it: we are the last */
    free(catalog->path);
    free(catalog);
}
