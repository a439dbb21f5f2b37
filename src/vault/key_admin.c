/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Master keys: what is in use, and their rotation.
 *
 *   1  a new master is made; the keys in use keep the one before       (keys_rotate)
 *   2  each machine's data key is wrapped with the new one: unwrapped and wrapped with no
 *      lock held, then put into memory and catalog under change_lock    (rewrap_one)
 *      and so is the key of each remote applier's orders, in the state store;
 *   3  the one before is forgotten                                      (keys_retire)
 *
 * X1  step 3 comes only when every machine's row in the catalog names the new master:
 *     at any instant, and after a crash at any instant, every data key opens;
 * X2  a machine that is enabled meanwhile either is in the list of step 2, which is made
 *     under change_lock after step 1, or finds under change_lock that its master is not
 *     the newest any more and makes its key anew (replicate.c);
 * X3  data keys stay what they are: segments, journals and maps are not touched.
 */
#include <stdlib.h>
#include <string.h>

#include "applier/order_desk.h"
#include "base/fault.h"
#include "base/text.h"
#include "vault/records.h"

struct wrapped_key {
    struct id machine;
    char name[MACHINE_NAME_BYTES];
    char text[KEYS_WRAPPED_MAX];
};

struct wrapped_keys {
    struct wrapped_key *items; /* owned */
    size_t count;
};

static void auto_wrapped_keys(struct wrapped_keys *keys)
{
    free(keys->items);
}

/* Of all machines, as they are now (X2). */
static void list_keys(struct vault *vault, struct wrapped_keys *ret)
{
    size_t count = 0;
    LOCK_GUARD(&vault->change_lock);
    LOCK_GUARD(&vault->lock);
    for (const struct machine *m = vault->machines; m; m = m->next)
        count += !m->is_gone;
    *ret = (struct wrapped_keys){.items = xcalloc(count ? count : 1, sizeof *ret->items)};
    for (const struct machine *m = vault->machines; m; m = m->next) {
        if (m->is_gone)
            continue;
        struct wrapped_key *key = &ret->items[ret->count++];
        key->machine = m->id;
        text_copy(key->name, sizeof key->name, m->name);
        text_copy(key->text, sizeof key->text, m->key_wrapped);
    }
}

/* ---- status ---- */

static json_t *view_master(const struct keys_version *version, size_t machines)
{
    json_t *view = json_object();
    json_put_text(view, "master", version->master);
    json_put_bool(view, "current", version->is_current);
    json_put_bool(view, "enabled", version->is_enabled);
    if (version->created_ms)
        json_put_u64(view, "created_ms", version->created_ms);
    json_put_u64(view, "machines", machines);
    return view;
}

/* Machines whose master is not in the list, each under the master's name. */
static void add_others(const struct keys_status *status,
                       char (*masters)[KEYS_MASTER_BYTES], size_t count, json_t *list)
{
    for (size_t i = 0; i < count; i++) {
        bool is_known = false;
        size_t machines = 0;
        for (size_t k = 0; k < status->version_count; k++)
            is_known = is_known || strcmp(masters[i], status->versions[k].master) == 0;
        for (size_t k = 0; k < count; k++) {
            bool is_same = strcmp(masters[i], masters[k]) == 0;
            is_known = is_known || (is_same && k < i); /* told already */
            machines += is_same;
        }
        struct keys_version other = {.is_enabled = true};
        text_copy(other.master, sizeof other.master, masters[i]);
        if (!is_known)
            (void)json_array_append_new(list, view_master(&other, machines));
    }
}

json_t *vault_keys_status(struct vault *vault, struct err *err)
{
    __attribute__((cleanup(auto_wrapped_keys))) struct wrapped_keys keys = {.count = 0};
    AUTO(free) struct keys_status *status = xcalloc(1, sizeof *status);
    size_t pending = 0;
    if (!keys_status_get(vault->keys, status, err))
        return NULL;
    list_keys(vault, &keys);
    AUTO(free)
    char(*masters)[KEYS_MASTER_BYTES] =
        xcalloc(keys.count ? keys.count : 1, sizeof *masters);
    for (size_t i = 0; i < keys.count; i++) {
        keys_master_of(vault->keys, &keys.items[i].machine, keys.items[i].text,
                       masters[i]);
        pending += !keys_is_current(vault->keys, keys.items[i].text);
    }
    json_t *view = json_object(), *list = json_array();
    json_put_text(view, "kind", status->kind);
    json_put_text(view, "where", status->where);
    json_put_bool(view, "passphrase", status->has_passphrase);
    for (size_t i = 0; i < status->version_count; i++) {
        size_t machines = 0;
        for (size_t k = 0; k < keys.count; k++)
            machines += strcmp(masters[k], status->versions[i].master) == 0;
        (void)json_array_append_new(list, view_master(&status->versions[i], machines));
    }
    add_others(status, masters, keys.count, list);
    json_put_take(view, "masters", list);
    json_put_u64(view, "machines", keys.count);
    json_put_u64(view, "pending", pending);
    return view;
}

/* ---- rotation ---- */

/* Under change_lock; true also when it has left the list. */
static bool put_key(struct vault *vault, const struct id *id, const char *text,
                    struct err *err)
{
    struct machine *machine = NULL;
    {
        LOCK_GUARD(&vault->lock);
        for (struct machine *m = vault->machines; m && !machine; m = m->next)
            machine = id_equal(&m->id, id) && !m->is_gone ? m : NULL;
        if (machine)
            text_copy(machine->key_wrapped, sizeof machine->key_wrapped, text);
    }
    return !machine || record_machine(vault, machine, err);
}

/* Step 2 for one machine. */
static bool rewrap_one(struct vault *vault, const struct wrapped_key *key,
                       struct err *err)
{
    char text[KEYS_WRAPPED_MAX];
    if (FAULT(KEYS_BEFORE_REWRAP, err) ||
        !keys_rewrap(vault->keys, &key->machine, key->text, text, err))
        return err_wrap(err, "data key of machine '%s'", key->name);
    LOCK_GUARD(&vault->change_lock);
    if (!put_key(vault, &key->machine, text, err))
        return err_wrap(err, "data key of machine '%s'", key->name);
    return !FAULT(KEYS_AFTER_REWRAP, err);
}

static bool rewrap_all(struct vault *vault, size_t *ret_done, size_t *ret_count,
                       struct err *err)
{
    __attribute__((cleanup(auto_wrapped_keys))) struct wrapped_keys keys = {.count = 0};
    list_keys(vault, &keys);
    *ret_done = 0;
    *ret_count = keys.count;
    for (size_t i = 0; i < keys.count; i++) {
        if (keys_is_current(vault->keys, keys.items[i].text))
            continue;
        if (!rewrap_one(vault, &keys.items[i], err))
            return false;
        ++*ret_done;
    }
    return true;
}

/* A row that could not be written is still the old one (X1). */
static bool rows_are_written(struct vault *vault, struct err *err)
{
    LOCK_GUARD(&vault->lock);
    for (const struct machine *m = vault->machines; m; m = m->next)
        if (m->is_dirty && !m->is_gone)
            return err_set(err, FAIL_TRANSIENT,
                           "the catalog does not hold the new key of machine '%s' yet; "
                           "ask again",
                           m->name);
    return true;
}

/* Steps 2 and 3. */
static bool finish(struct vault *vault, json_t *view, struct err *err)
{
    char master[KEYS_MASTER_BYTES];
    size_t done = 0, count = 0;
    if (!keys_current(vault->keys, master, err) ||
        !rewrap_all(vault, &done, &count, err) || !rows_are_written(vault, err) ||
        !order_desk_rewrap(vault->desk, err) || !keys_retire(vault->keys, err))
        return false;
    json_put_text(view, "master", master);
    json_put_u64(view, "rewrapped", done);
    json_put_u64(view, "machines", count);
    return true;
}

/* Step 1; when a file still holds the one before, that rotation is finished first. */
static bool make_master(struct vault *vault, json_t *view, struct err *err)
{
    struct err why = ERR_INIT;
    if (keys_rotate(vault->keys, &why))
        return true;
    if (why.kind == FAIL_CONFLICT)
        return finish(vault, view, err) && keys_rotate(vault->keys, err);
    *err = why;
    return false;
}

json_t *vault_keys_rewrap(struct vault *vault, bool is_new, struct err *err)
{
    const char *what = is_new ? "rotate" : "rewrap";
    AUTO(json_free) json_t *view = json_object();
    if (pthread_mutex_trylock(&vault->keys_lock) != 0) {
        (void)err_set(err, FAIL_CONFLICT,
                      "a rotation of keys is running; wait for its end");
        return NULL;
    }
    json_put_bool(view, "made", is_new);
    bool ok = (!is_new || make_master(vault, view, err)) && finish(vault, view, err);
    (void)pthread_mutex_unlock(&vault->keys_lock); /* we hold it */
    if (!ok) {
        vault_event(vault, NULL, NULL, "error", "keys_not_rotated",
                    "%s by %s: %s; every data key still opens, ask again", what,
                    audit_who(), err->text);
        return NULL;
    }
    vault_event(
        vault, NULL, NULL, "info", is_new ? "keys_rotated" : "keys_rewrapped",
        "%s master key %s; %llu data keys wrapped anew", is_new ? "new" : "newest",
        json_string_value(json_object_get(view, "master")),
        (unsigned long long)json_integer_value(json_object_get(view, "rewrapped")));
    return TAKE(view);
}
