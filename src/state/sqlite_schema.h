/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of the catalog, version by version. Private to src/state. */
#ifndef STATE_SQLITE_SCHEMA_H
#define STATE_SQLITE_SCHEMA_H

#include "state/sqlite_db.h"

/* Brings the catalog from version n - 1 to n, and says so: ends with
 * "PRAGMA user_version = n". */
struct migration {
    const char *sql;
};

/* Runs those that the file has not seen, each in a transaction of its own. FAIL_CONFLICT:
 * the file has seen more than there are. */
MUST_CHECK bool schema_migrate(struct catalog *catalog,
                               const struct migration *migrations, size_t count,
                               struct err *err);

/* Ours, or empty; whole; of a version that we know. Reads only. */
MUST_CHECK bool schema_check(struct catalog *catalog, size_t known_version,
                             struct err *err);

/* All there are; the number of the last is the version that this program writes. */
const struct migration *schema_migrations(size_t *ret_count);

#endif
