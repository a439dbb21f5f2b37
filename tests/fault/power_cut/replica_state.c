/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what the replica of a machine is, from the files of a kedged that does not run:
 *   replica_state DATA_DIR KEY_FILE MACHINE  ->  recovery_point applying doubt
 * "none" when the catalog does not know the machine.
 */
#include "base/buf.h"
#include "keys/keys.h"
#include "state/catalog.h"
#include "store/cycle_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void must(bool ok, const struct err *err)
{
    if (ok)
        return;
    fprintf(stderr, "replica_state: %s\n", err->text);
    exit(1);
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf path = {0};
    if (argc != 4)
        return 2;
    buf_printf(&path, "%s/catalog.db", argv[1]);
    AUTO(catalog_close) struct catalog *catalog = catalog_open(buf_text(&path), &err);
    must(catalog != NULL, &err);
    struct catalog_machine row = {0};
    if (!catalog_machine_get_by_name(catalog, argv[3], &row, &err)) {
        must(err.kind == FAIL_GONE, &err);
        puts("none");
        return 0;
    }
    AUTO(keys_close) struct keys *keys = keys_file_open(argv[2], &err);
    must(keys != NULL, &err);
    struct id key_id;
    AUTO(secret_free)
    struct secret *key = keys_unwrap(keys, &row.id, row.wrapped_key, &key_id, &err);
    must(key != NULL, &err);
    buf_clear(&path);
    buf_printf(&path, "%s/state", argv[1]);
    AUTO(store_close) struct store *store = store_dir_open(buf_text(&path), &err);
    must(store != NULL, &err);
    struct cycle_store cs = {store, key, &row.id};
    struct replica_state state;
    must(cycle_store_get_replica(&cs, &state, &err), &err);
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", state.recovery_point, state.applying,
           state.doubt);
    catalog_machine_release(&row);
    return 0;
}
