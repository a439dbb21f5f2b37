/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding and removing what nobody owns any more.
 *
 * Invariants:
 *  O1  only what is known to have been ours is removed: a machine id that this catalog
 * has had a job for, a folder of our own data_dir, a test of a machine in the list, a
 *      debt that we wrote down. Anything else is shown and left alone: a store or a
 * target may be shared with another vault; O2  whether an id is in the list is asked
 * after it was seen elsewhere: a machine is in the list before its first object is
 * written and until its last one is gone; O3  tests are compared under the machine's
 * lease, so that none is made meanwhile.
 */
#include "vault/orphans.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "vault/debts.h"
#include "vault/dispatch.h"
#include "vault/reach.h"

enum orphan_kind { ORPHAN_LOG, ORPHAN_STATE, ORPHAN_MAP, ORPHAN_TEST, ORPHAN_REPLICA };

struct orphan {
    enum orphan_kind kind;
    struct id machine;
    char machine_name[MACHINE_NAME_BYTES];
    char target[CATALOG_NAME_BYTES];
    char test_name[MACHINE_NAME_BYTES];
    uint64_t objects, bytes;
    bool is_ours;
    struct machine_def *def; /* owned; of tests and replicas */
};

struct finder {
    struct vault *vault;
    const char *target; /* being listed */
    enum orphan_kind kind;
    struct orphan *items;
    size_t count, cap;
};

static void finder_release(struct finder *finder)
{
    for (size_t i = 0; i < finder->count; i++)
        free(finder->items[i].def);
    free(finder->items);
}

static const char *kind_name(enum orphan_kind kind)
{
    static const char *const names[] = {
        [ORPHAN_LOG] = "log objects", [ORPHAN_STATE] = "state objects",
        [ORPHAN_MAP] = "hash map",    [ORPHAN_TEST] = "test machine",
        [ORPHAN_REPLICA] = "replica",
    };
    return names[kind];
}

/* ---- what is known ---- */

static struct machine *by_id_locked(struct vault *vault, const struct id *id)
{
    struct machine *machine = vault->machines;
    while (machine && (machine->is_gone || !id_equal(&machine->id, id)))
        machine = machine->next;
    return machine;
}

static bool is_listed(struct vault *vault, const struct id *id)
{
    LOCK_GUARD(&vault->lock);
    return by_id_locked(vault, id) != NULL;
}

/* Has this catalog had a job for the machine? *ret_name: as it was called. */
static bool was_ours(struct vault *vault, struct orphan *orphan, struct err *err)
{
    AUTO(catalog_job_list_release) struct catalog_job_list list = {0};
    struct catalog_job_filter filter = {.machine = orphan->machine, .limit = 1};
    if (!catalog_job_list(vault->catalog, &filter, &list, err))
        return false;
    orphan->is_ours = list.count > 0;
    if (list.count)
        text_copy(orphan->machine_name, sizeof orphan->machine_name,
                  list.items[0].machine_name);
    return true;
}

static struct orphan *add(struct finder *finder, const struct id *machine)
{
    if (finder->count == finder->cap) {
        finder->cap = finder->cap ? 2 * finder->cap : 8;
        finder->items = xrealloc(finder->items, finder->cap, sizeof *finder->items);
    }
    struct orphan *orphan = &finder->items[finder->count++];
    *orphan = (struct orphan){.kind = finder->kind, .machine = *machine};
    return orphan;
}

/* ---- stores and maps ---- */

static bool note_object(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct finder *finder = ctx;
    char text[ID_TEXT_BYTES];
    struct id id;
    struct err no_id = ERR_INIT;
    const char *slash = strchr(name, '/');
    (void)err;
    if (!slash || (size_t)(slash - name) != ID_TEXT_BYTES - 1)
        return true;
    memcpy(text, name, ID_TEXT_BYTES - 1);
    text[ID_TEXT_BYTES - 1] = 0;
    if (!id_parse(text, &id, &no_id))
        return true; /* not a name of ours */
    struct orphan *last = finder->count ? &finder->items[finder->count - 1] : NULL;
    if (!last || last->kind != finder->kind || !id_equal(&last->machine, &id))
        last = add(finder, &id);
    last->objects++;
    last->bytes += bytes;
    return true;
}

static bool find_objects(struct finder *finder, struct err *err)
{
    struct vault *vault = finder->vault;
    finder->kind = ORPHAN_LOG;
    if (!store_list(reach_log_store(vault), "", note_object, finder, err))
        return err_wrap(err, "list the log store");
    finder->kind = ORPHAN_STATE;
    if (vault->state_store != vault->log_store &&
        !store_list(reach_state_store(vault), "", note_object, finder, err))
        return err_wrap(err, "list the state store");
    return true;
}

static void find_maps(struct finder *finder)
{
    AUTO(free) char *path = file_join(finder->vault->data_dir, "maps");
    DIR *dir = opendir(path);
    if (!dir)
        return; /* none was made yet */
    finder->kind = ORPHAN_MAP;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct err no_id = ERR_INIT;
        struct id id;
        if (id_parse(entry->d_name, &id, &no_id))
            (void)add(finder, &id);
    }
    (void)closedir(dir);
}

/* ---- targets ---- */

/* Caller holds lock. */
static bool has_test_locked(const struct machine *machine, const char *name)
{
    size_t i;
    json_t *test;
    json_array_foreach(machine->tests, i, test)
    {
        const char *known = json_string_value(json_object_get(test, "name"));
        if (known && strcmp(known, name) == 0)
            return true;
    }
    return false;
}

static bool note_item(void *ctx, const struct target_item *item, struct err *err)
{
    struct finder *finder = ctx;
    (void)err;
    if (item->is_migrated)
        return true; /* a VM that somebody uses */
    {
        LOCK_GUARD(&finder->vault->lock);
        struct machine *machine = by_id_locked(finder->vault, &item->machine->id);
        if (machine && (!item->test_name || has_test_locked(machine, item->test_name)))
            return true;
        /* A test of a machine that is gone goes with its replica. */
        if (!machine && item->test_name)
            return true;
    }
    finder->kind = item->test_name ? ORPHAN_TEST : ORPHAN_REPLICA;
    struct orphan *orphan = add(finder, &item->machine->id);
    text_copy(orphan->machine_name, sizeof orphan->machine_name, item->machine->name);
    text_copy(orphan->target, sizeof orphan->target, finder->target);
    text_copy(orphan->test_name, sizeof orphan->test_name,
              item->test_name ? item->test_name : "");
    orphan->def = xcalloc(1, sizeof *orphan->def);
    *orphan->def = *item->machine;
    return true;
}

static bool find_at_targets(struct finder *finder, struct err *err)
{
    AUTO(json_free) json_t *targets = ends_view(finder->vault, END_TARGET);
    size_t i;
    json_t *end;
    json_array_foreach(targets, i, end)
    {
        struct err why = ERR_INIT;
        finder->target = json_string_value(json_object_get(end, "name"));
        struct target *target = ends_target(finder->vault, finder->target, &why);
        if (!target || !target_list(target, note_item, finder, &why))
            log_warn("target_not_listed", "target=%s text=\"%s\"", finder->target,
                     why.text); /* the next sweep sees it */
    }
    (void)err;
    return true;
}

/* Everything that is not in the list, and whether it was ours (O1, O2). */
static bool find_all(struct finder *finder, struct err *err)
{
    if (!find_objects(finder, err) || !find_at_targets(finder, err))
        return false;
    find_maps(finder);
    size_t kept = 0;
    for (size_t i = 0; i < finder->count; i++) {
        struct orphan *orphan = &finder->items[i];
        if (orphan->kind == ORPHAN_TEST || orphan->kind == ORPHAN_MAP)
            orphan->is_ours = true;
        else if (!was_ours(finder->vault, orphan, err))
            return false;
        if (orphan->kind != ORPHAN_TEST && is_listed(finder->vault, &orphan->machine)) {
            free(orphan->def);
            orphan->def = NULL;
            continue;
        }
        struct orphan moved = *orphan;
        orphan->def = NULL;
        finder->items[kept++] = moved;
    }
    finder->count = kept;
    return true;
}

/* ---- removing ---- */

/* The lease of a machine that nobody works on and nothing is asked of. */
static bool take_lease(struct vault *vault, const struct id *id, struct work *work)
{
    LOCK_GUARD(&vault->lock);
    struct machine *machine = by_id_locked(vault, id);
    bool is_free = machine && !machine->work && !machine->aside && !vault->is_closing;
    for (struct job *j = vault->jobs; j && is_free; j = j->next)
        is_free = j->machine != machine;
    if (is_free) {
        work->machine = machine;
        machine->work = work;
        dispatch_touch_locked(vault, machine);
    }
    return is_free;
}

static void give_lease(struct vault *vault, struct work *work)
{
    LOCK_GUARD(&vault->lock);
    work->machine->work = NULL;
    dispatch_touch_locked(vault, work->machine);
    (void)pthread_cond_broadcast(&vault->changed);
}

static bool remove_test(struct vault *vault, const struct orphan *orphan,
                        bool *ret_removed, struct err *err)
{
    struct work work = {.vault = vault};
    bool ok = true, is_known;
    struct target *target = ends_target(vault, orphan->target, err);
    if (!target)
        return false;
    if (!take_lease(vault, &orphan->machine, &work))
        return true; /* busy: the next sweep */
    cancel_init(&work.cancel);
    {
        LOCK_GUARD(&vault->lock);
        is_known = has_test_locked(work.machine, orphan->test_name);
    }
    if (!is_known) {
        ok = target_test_cleanup(target, orphan->def, orphan->test_name, err);
        *ret_removed = ok;
    }
    give_lease(vault, &work);
    cancel_release(&work.cancel);
    return ok;
}

static bool remove_replica(struct vault *vault, const struct orphan *orphan,
                           struct err *err)
{
    struct target *target = ends_target(vault, orphan->target, err);
    return target && target_remove(target, orphan->def, err);
}

static bool remove_one(struct vault *vault, const struct orphan *orphan,
                       bool *ret_removed, struct err *err)
{
    char text[ID_TEXT_BYTES], prefix[ID_TEXT_BYTES + 1];
    (void)snprintf(prefix, sizeof prefix, "%s/", id_text(&orphan->machine, text));
    *ret_removed = false;
    if (orphan->kind == ORPHAN_TEST)
        return remove_test(vault, orphan, ret_removed, err);
    if (!orphan->is_ours || is_listed(vault, &orphan->machine))
        return true;
    *ret_removed = true;
    if (orphan->kind == ORPHAN_REPLICA)
        return remove_replica(vault, orphan, err);
    if (orphan->kind == ORPHAN_LOG)
        return store_remove_prefix(reach_log_store(vault), prefix, err);
    if (orphan->kind == ORPHAN_STATE)
        return store_remove_prefix(reach_state_store(vault), prefix, err);
    AUTO(free) char *maps = file_join(vault->data_dir, "maps");
    AUTO(free) char *map = file_join(maps, text);
    return file_remove_tree(map, err);
}

/* ---- the vault's calls ---- */

static json_t *orphan_view(const struct orphan *orphan)
{
    char id[ID_TEXT_BYTES];
    AUTO(buf_release) struct buf what = {0};
    json_t *view = json_object();
    json_put_text(view, "kind", kind_name(orphan->kind));
    json_put_text(view, "machine", orphan->machine_name);
    json_put_text(view, "machine_id", id_text(&orphan->machine, id));
    if (orphan->kind == ORPHAN_TEST)
        buf_printf(&what, "test '%s' at target '%s'", orphan->test_name, orphan->target);
    else if (orphan->kind == ORPHAN_REPLICA)
        buf_printf(&what, "replica at target '%s'", orphan->target);
    else if (orphan->kind == ORPHAN_MAP)
        buf_append_text(&what, "hash map");
    else
        buf_printf(&what, "%llu objects, %llu bytes", (unsigned long long)orphan->objects,
                   (unsigned long long)orphan->bytes);
    json_put_text(view, "what", buf_text(&what));
    json_put_bool(view, "ours", orphan->is_ours);
    return view;
}

json_t *vault_orphans(struct vault *vault, struct err *err)
{
    __attribute__((cleanup(finder_release))) struct finder finder = {.vault = vault};
    if (!find_all(&finder, err))
        return NULL;
    json_t *view = json_object(), *list = json_array();
    for (size_t i = 0; i < finder.count; i++)
        (void)json_array_append_new(list, orphan_view(&finder.items[i]));
    debts_view(vault, list);
    json_put_take(view, "orphans", list);
    return view;
}

json_t *vault_orphans_clean(struct vault *vault, struct err *err)
{
    __attribute__((cleanup(finder_release))) struct finder finder = {.vault = vault};
    if (!find_all(&finder, err))
        return NULL;
    json_t *view = json_object(), *list = json_array();
    for (size_t i = 0; i < finder.count; i++) {
        struct err why = ERR_INIT;
        bool is_removed = false;
        const struct orphan *orphan = &finder.items[i];
        if (!remove_one(vault, orphan, &is_removed, &why)) {
            vault_event(vault, NULL, NULL, "warning", "orphan_stays",
                        "%s of machine '%s': %s; trying again in an hour",
                        kind_name(orphan->kind), orphan->machine_name, why.text);
            continue;
        }
        if (!is_removed)
            continue;
        vault_event(vault, NULL, NULL, "info", "orphan_removed", "%s of machine '%s'%s%s",
                    kind_name(orphan->kind), orphan->machine_name,
                    *orphan->test_name ? ": " : "", orphan->test_name);
        (void)json_array_append_new(list, orphan_view(orphan));
    }
    debts_pay(vault);
    json_put_take(view, "orphans", list);
    return view;
}

void orphans_sweep(struct vault *vault)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *removed = vault_orphans_clean(vault, &err);
    if (!removed)
        vault_event(vault, NULL, NULL, "warning", "orphans_not_looked_for",
                    "%s; trying again in an hour", err.text);
}
