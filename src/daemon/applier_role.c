/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The applier role on its own. It has no catalog: which targets there are, and what is to
 * be done, stands in the orders; credentials of targets are files on this host, which
 * their options name.
 */
#include "daemon/applier_role.h"

#include "applier/order_taker.h"
#include "base/clock.h"
#include "base/file.h"
#include "vault/ends_open.h"

struct applier_role {
    char *data_dir;
    uint64_t started_mono_ms;
    struct store *log_store, *state_store; /* may be the same */
    struct keys *keys;
    struct order_taker *taker;
};

bool applier_role_is_meant(const struct config *config)
{
    return strcmp(config->roles, "applier") == 0;
}

static const char *path_or_null(const char *value)
{
    return strcmp(value, "none") == 0 ? NULL : value;
}

static bool open_stores(struct applier_role *role, const struct config *config,
                        struct err *err)
{
    role->log_store =
        store_open_address(config->log_store, path_or_null(config->log_store_credential),
                           ROLE_LOG_STORE, err);
    if (!role->log_store)
        return err_wrap(err, "log store");
    if (strcmp(config->log_store, config->state_store) == 0) {
        role->state_store = role->log_store;
        return true;
    }
    role->state_store = store_open_address(config->state_store,
                                           path_or_null(config->state_store_credential),
                                           ROLE_STATE_STORE, err);
    return role->state_store != NULL || err_wrap(err, "state store");
}

static struct keys *open_keys(const struct config *config, struct err *err)
{
    bool is_vault = strcmp(config->keys, "file") != 0;
    const struct keys_options options = {
        .address = is_vault ? config->keys : config->key_file,
        .credential = path_or_null(config->keys_credential),
        .passphrase = path_or_null(config->key_passphrase),
        .earlier_file =
            is_vault && file_exists(config->key_file) ? config->key_file : NULL,
    };
    return keys_open(&options, err);
}

struct applier_role *applier_role_open(const struct config *config, struct err *err)
{
    AUTO(applier_role_close) struct applier_role *role = xcalloc(1, sizeof *role);
    role->data_dir = xstrdup(config->data_dir);
    role->started_mono_ms = clock_mono_ms();
    role->keys = open_keys(config, err);
    if (!role->keys || !open_stores(role, config, err))
        return NULL;
    const struct order_taker_options options = {
        .applier = config->applier_name,
        .data_dir = config->data_dir,
        .log_store = role->log_store,
        .state_store = role->state_store,
        .keys = role->keys,
        .workers = (uint32_t)config->cycle_workers,
        .lease_ms = config->applier_lease_ms,
        .open_target = end_open_target,
    };
    role->taker = order_taker_start(&options, err);
    return role->taker ? TAKE(role) : NULL;
}

void applier_role_close(struct applier_role *role)
{
    if (!role)
        return;
    if (role->keys)
        keys_cancel(role->keys); /* nobody waits for a vault of keys any more */
    order_taker_stop(role->taker);
    keys_close(role->keys);
    if (role->state_store != role->log_store)
        store_close(role->state_store);
    store_close(role->log_store);
    free(role->data_dir);
    free(role);
}

json_t *applier_role_view(void *ctx)
{
    struct applier_role *role = ctx;
    json_t *view = order_taker_view(role->taker);
    json_put_text(view, "version", KEDGE_VERSION);
    json_put_u64(view, "uptime_ms", clock_mono_ms() - role->started_mono_ms);
    json_put_text(view, "data_dir", role->data_dir);
    return view;
}
