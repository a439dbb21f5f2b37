/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources and targets by name. A source is opened for each piece of work, so what
 * restarted meanwhile is found again. A source of a kind that talks to one client at a
 * time (QMP) is that piece's alone until given back, and never kept from others while
 * idle; of the other kinds (a vCenter with its thousand machines) any number are open. A
 * target is opened at first use and stays open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "applier/target_remote.h"
#include "base/text.h"
#include "vault/ends_open.h"
#include "vault/vault_impl.h"

struct end {
    struct end *next;
    /* Set when it is added or loaded, never changed. */
    enum end_role role;
    char name[CATALOG_NAME_BYTES];
    char kind[CATALOG_KIND_BYTES];
    json_t *options;
    char applier[CATALOG_NAME_BYTES]; /* that does a target's work; "" we do */
    /* Guarded by the vault's lock. */
    bool is_busy;     /* target: being opened; either: being removed */
    size_t use_count; /* source: pieces of work that have it */
    struct target *target;
};

/* Of a target's options; whoever opens the target does not see it. */
#define APPLIER_KEY "applier"

static const char *role_name(enum end_role role)
{
    return role == END_SOURCE ? "source" : "target";
}

static enum catalog_role catalog_role_of(enum end_role role)
{
    return role == END_SOURCE ? CATALOG_SOURCE : CATALOG_TARGET;
}

static void end_free(struct end *end)
{
    if (!end)
        return;
    json_free(end->options);
    target_close(end->target);
    free(end);
}
AUTO_CLEANUP(struct end, end_free);

/* ---- the list ---- */

static struct end *find_locked(struct vault *vault, enum end_role role, const char *name)
{
    for (struct end *e = vault->ends; e; e = e->next) {
        if (e->role == role && strcmp(e->name, name) == 0)
            return e;
    }
    return NULL;
}

static bool no_such(enum end_role role, const char *name, struct err *err)
{
    return err_set(err, FAIL_GONE, "no %s '%s'; '%s list' shows those that there are",
                   role_name(role), name, role_name(role));
}

static struct end *end_new(enum end_role role, const char *name, const char *kind,
                           const json_t *options)
{
    struct end *end = xcalloc(1, sizeof *end);
    end->role = role;
    text_copy(end->name, sizeof end->name, name);
    text_copy(end->kind, sizeof end->kind, kind);
    end->options = options ? json_deep_copy(options) : json_object();
    const char *applier = json_string_value(json_object_get(end->options, APPLIER_KEY));
    if (role == END_TARGET && applier)
        text_copy(end->applier, sizeof end->applier, applier);
    return end;
}

static void link_end(struct vault *vault, struct end *end)
{
    LOCK_GUARD(&vault->lock);
    struct end **at = &vault->ends;
    while (*at && strcmp((*at)->name, end->name) < 0)
        at = &(*at)->next;
    end->next = *at;
    *at = end;
}

static bool load_role(struct vault *vault, enum end_role role, struct err *err)
{
    AUTO(catalog_end_list_release) struct catalog_end_list list = {0};
    if (!catalog_end_list(vault->catalog, catalog_role_of(role), &list, err))
        return false;
    for (size_t i = 0; i < list.count; i++) {
        const struct catalog_end *row = &list.items[i];
        AUTO(json_free)
        json_t *options =
            json_parse("options", row->options_json, strlen(row->options_json), err);
        if (!options)
            return err_wrap(err, "%s '%s' in the catalog", role_name(role), row->name);
        struct end *end = end_new(role, row->name, row->kind, options);
        link_end(vault, end);
        if (*end->applier && !order_desk_watch(vault->desk, end->applier, err))
            return err_wrap(err, "target '%s' in the catalog", row->name);
    }
    return true;
}

bool ends_load(struct vault *vault, struct err *err)
{
    return load_role(vault, END_SOURCE, err) && load_role(vault, END_TARGET, err);
}

void ends_close(struct vault *vault)
{
    while (vault->ends) {
        struct end *end = vault->ends;
        vault->ends = end->next;
        end_free(end);
    }
}

/* ---- use ---- */

static struct target *open_target(const struct vault *vault, const struct end *end,
                                  struct err *err)
{
    if (!*end->applier)
        return end_open_target(end->name, end->kind, end->options, vault->data_dir, err);
    AUTO(json_free) json_t *options = json_copy(end->options);
    (void)json_object_del(options, APPLIER_KEY);
    if (!order_desk_watch(vault->desk, end->applier, err))
        return NULL;
    return target_remote_new(vault->desk, end->applier, end->name, end->kind, options);
}

/* Whether somebody more may have it now. */
static bool has_room_locked(const struct end *end)
{
    return !end->is_busy && (end->use_count == 0 || end_source_is_shared(end->kind));
}

struct source *ends_source_take(struct vault *vault, const char *name,
                                uint64_t deadline_ms, const struct cancel *cancel,
                                struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + deadline_ms;
    struct end *end = NULL;
    for (;;) {
        {
            LOCK_GUARD(&vault->lock);
            end = find_locked(vault, END_SOURCE, name);
            if (!end) {
                (void)no_such(END_SOURCE, name, err);
                return NULL;
            }
            if (has_room_locked(end)) {
                end->use_count++;
                break;
            }
        }
        if (deadline_ms && clock_mono_ms() >= until_ms) {
            (void)err_set(err, FAIL_TRANSIENT,
                          "source '%s' is in use by a cycle; ask again when it is done",
                          name);
            return NULL;
        }
        if (!cancel_sleep_ms(cancel, 50, err))
            return NULL;
    }
    struct source *source =
        end_open_source(end->name, end->kind, end->options, vault->data_dir, err);
    if (!source)
        ends_source_give(vault, name, NULL);
    return source;
}

void ends_source_give(struct vault *vault, const char *name, struct source *source)
{
    source_close(source);
    LOCK_GUARD(&vault->lock);
    struct end *end = find_locked(vault, END_SOURCE, name);
    if (end)
        end->use_count--;
    (void)pthread_cond_broadcast(&vault->changed);
}

struct target *ends_target(struct vault *vault, const char *name, struct err *err)
{
    struct end *end = NULL;
    for (;;) {
        {
            LOCK_GUARD(&vault->lock);
            end = find_locked(vault, END_TARGET, name);
            if (!end) {
                (void)no_such(END_TARGET, name, err);
                return NULL;
            }
            if (end->target)
                return end->target;
            if (!end->is_busy) {
                end->is_busy = true;
                break;
            }
        }
        clock_sleep_ms(20); /* another one is opening it */
    }
    struct target *target = open_target(vault, end, err);
    LOCK_GUARD(&vault->lock);
    end->is_busy = false;
    end->target = target;
    return target;
}

/* ---- add, remove, list ---- */

/* Opened once to prove that it works; a target stays open. */
static bool try_end(const struct vault *vault, struct end *end, struct err *err)
{
    if (end->role == END_TARGET) {
        end->target = open_target(vault, end, err);
        return end->target && (!*end->applier || target_remote_prove(end->target, err));
    }
    struct source *source =
        end_open_source(end->name, end->kind, end->options, vault->data_dir, err);
    source_close(source);
    return source != NULL;
}

static bool add(struct vault *vault, enum end_role role, struct end *given,
                struct err *err)
{
    AUTO(end_free) struct end *end = given;
    AUTO(buf_release) struct buf text = {0};
    struct catalog_end row = {.created_ms = clock_wall_ms()};
    {
        LOCK_GUARD(&vault->lock);
        if (find_locked(vault, role, end->name))
            return err_set(err, FAIL_CONFLICT, "a %s '%s' exists; choose another name",
                           role_name(role), end->name);
    }
    if (!try_end(vault, end, err))
        return false;
    json_print(end->options, &text);
    text_copy(row.name, sizeof row.name, end->name);
    text_copy(row.kind, sizeof row.kind, end->kind);
    row.options_json = (char *)(uintptr_t)buf_text(&text); /* only read */
    if (!catalog_end_add(vault->catalog, catalog_role_of(role), &row, err))
        return false;
    vault_event(vault, NULL, NULL, "info", "end_added", "%s '%s' (%s) was added",
                role_name(role), end->name, end->kind);
    link_end(vault, TAKE(end));
    return true;
}

static bool add_checked(struct vault *vault, enum end_role role, const char *name,
                        const char *kind, const json_t *options, struct err *err)
{
    if (!text_check_name(role_name(role), name, err))
        return false;
    if (!kind || !json_is_object(options))
        return err_set(err, FAIL_INPUT, "%s '%s' needs a kind and options",
                       role_name(role), name);
    const json_t *applier = json_object_get(options, APPLIER_KEY);
    if (role == END_TARGET && applier &&
        (!json_is_string(applier) ||
         !text_check_name("applier", json_string_value(applier), err)))
        return json_is_string(applier)
                   ? false
                   : err_set(err, FAIL_INPUT, "'" APPLIER_KEY "' must be a name");
    return add(vault, role, end_new(role, name, kind, options), err);
}

static bool remove_end(struct vault *vault, enum end_role role, const char *name,
                       struct err *err)
{
    struct end *end = NULL;
    {
        LOCK_GUARD(&vault->lock);
        end = find_locked(vault, role, name);
        if (!end)
            return no_such(role, name, err);
        if (end->is_busy || end->use_count)
            return err_set(err, FAIL_TRANSIENT, "%s '%s' is in use; ask again",
                           role_name(role), name);
        end->is_busy = true;
    }
    bool ok = catalog_end_remove(vault->catalog, catalog_role_of(role), name, err);
    {
        LOCK_GUARD(&vault->lock);
        end->is_busy = false;
        if (!ok)
            return false;
        struct end **at = &vault->ends;
        while (*at != end)
            at = &(*at)->next;
        *at = end->next;
    }
    end_free(end);
    vault_event(vault, NULL, NULL, "info", "end_removed", "%s '%s' was removed",
                role_name(role), name);
    return true;
}

/* null: we do the work. */
static json_t *applier_view(struct vault *vault, const char *name)
{
    struct order_applier now;
    if (!*name)
        return json_null();
    json_t *view = json_object();
    order_desk_look(vault->desk, name, &now);
    json_put_text(view, "name", name);
    json_put_text(view, "state",
                  now.is_lost    ? "lost"
                  : now.is_alive ? "working"
                  : now.is_seen  ? "silent"
                                 : "not seen yet");
    json_put_u64(view, "silent_ms", now.silent_ms);
    json_put_u64(view, "orders", now.running);
    json_put_text(view, "host", now.host);
    json_put_text(view, "version", now.version);
    return view;
}

json_t *ends_applier_view_locked(struct vault *vault, const char *target)
{
    const struct end *end = find_locked(vault, END_TARGET, target);
    return applier_view(vault, end ? end->applier : "");
}

json_t *ends_view(struct vault *vault, enum end_role role)
{
    json_t *list = json_array();
    LOCK_GUARD(&vault->lock);
    for (struct end *e = vault->ends; e; e = e->next) {
        if (e->role != role)
            continue;
        uint64_t machines = 0;
        for (struct machine *m = vault->machines; m; m = m->next)
            machines += !m->is_gone &&
                        strcmp(role == END_SOURCE ? m->source : m->target, e->name) == 0;
        json_t *view = json_object();
        json_put_text(view, "name", e->name);
        json_put_text(view, "kind", e->kind);
        json_put_take(view, "options", json_deep_copy(e->options));
        json_put_u64(view, "machines", machines);
        if (role == END_TARGET)
            json_put_take(view, "applier", applier_view(vault, e->applier));
        json_array_append_new(list, view);
    }
    return list;
}

static json_t *list_view(struct vault *vault, enum end_role role, const char *key)
{
    json_t *view = json_object();
    json_put_take(view, key, ends_view(vault, role));
    return view;
}

bool vault_source_add(struct vault *vault, const char *name, const char *kind,
                      const json_t *options, struct err *err)
{
    return add_checked(vault, END_SOURCE, name, kind, options, err);
}

bool vault_target_add(struct vault *vault, const char *name, const char *kind,
                      const json_t *options, struct err *err)
{
    return add_checked(vault, END_TARGET, name, kind, options, err);
}

bool vault_source_remove(struct vault *vault, const char *name, struct err *err)
{
    return remove_end(vault, END_SOURCE, name, err);
}

bool vault_target_remove(struct vault *vault, const char *name, struct err *err)
{
    return remove_end(vault, END_TARGET, name, err);
}

json_t *vault_source_list(struct vault *vault, struct err *err)
{
    (void)err;
    return list_view(vault, END_SOURCE, "sources");
}

json_t *vault_target_list(struct vault *vault, struct err *err)
{
    (void)err;
    return list_view(vault, END_TARGET, "targets");
}
