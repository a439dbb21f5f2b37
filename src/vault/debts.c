/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debts: change records of ours that had to stay at a source which did not answer when
 * replication of a machine ended. Written down in the catalog, paid when it answers.
 *
 * Must never: touch a source machine that is replicated again; its records are in use,
 * and what is old among them goes with its first cycle.
 */
#include "vault/debts.h"

#include <string.h>

#include "base/log.h"
#include "http/machine_json.h"

#define DEBTS_SETTING  "source_debts"
#define DEBTS_MAX      1000
#define SOURCE_WAIT_MS ((uint64_t)2000)

static json_t *debts_load(struct vault *vault, struct err *err)
{
    AUTO(free) char *text = NULL;
    struct err why = ERR_INIT;
    if (!catalog_setting_get(vault->catalog, DEBTS_SETTING, &text, &why)) {
        if (why.kind == FAIL_GONE)
            return json_array();
        *err = why;
        return NULL;
    }
    json_t *debts = json_parse("setting '" DEBTS_SETTING "'", text, strlen(text), err);
    if (!debts || json_is_array(debts))
        return debts;
    json_free(debts);
    (void)err_set(err, FAIL_CORRUPT, "setting '" DEBTS_SETTING "' is not a list");
    return NULL;
}

static bool debts_save(struct vault *vault, const json_t *debts, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    json_print(debts, &text);
    return catalog_setting_set(vault->catalog, DEBTS_SETTING,
                               json_array_size(debts) ? buf_text(&text) : NULL, err);
}

bool debt_add(struct vault *vault, struct machine *machine, struct err *err)
{
    AUTO(free) struct machine_def *def = machine_def_copy(vault, machine);
    LOCK_GUARD(&vault->change_lock);
    AUTO(json_free) json_t *debts = debts_load(vault, err);
    if (!debts)
        return false;
    if (json_array_size(debts) >= DEBTS_MAX)
        return true; /* a thousand sources that never came back; the event told it */
    json_t *debt = json_object();
    json_put_text(debt, "source", machine->source);
    json_put_text(debt, "name", machine->name);
    json_put_take(debt, "machine", machine_to_json(def));
    (void)json_array_append_new(debts, debt);
    return debts_save(vault, debts, err);
}

static bool is_in_use(struct vault *vault, const char *source, const char *key)
{
    LOCK_GUARD(&vault->lock);
    for (struct machine *m = vault->machines; m; m = m->next)
        if (!m->is_gone && strcmp(m->source, source) == 0 &&
            strcmp(m->def->key, key) == 0)
            return true;
    return false;
}

/* true: the debt is paid, or there is nothing to pay it to. */
static bool pay(struct vault *vault, const json_t *debt)
{
    struct err err = ERR_INIT;
    AUTO(free) struct machine_def *def = xcalloc(1, sizeof *def);
    const char *source_name, *name;
    if (!json_get_text(debt, "source", &source_name, &err) ||
        !json_get_text(debt, "name", &name, &err) ||
        !machine_from_json(json_object_get(debt, "machine"), def, &err))
        return true;
    if (is_in_use(vault, source_name, def->key))
        return true;
    struct source *source =
        ends_source_take(vault, source_name, SOURCE_WAIT_MS, NULL, &err);
    bool ok = source && source_forget(source, def, &err);
    if (source)
        ends_source_give(vault, source_name, source);
    if (!ok && err.kind != FAIL_GONE) {
        log_debug("orphan_stays", "source=%s text=\"%s\"", source_name, err.text);
        return false;
    }
    vault_event(vault, NULL, NULL, "info", "orphan_removed",
                ok ? "what replication of '%s' had left at source '%s' is removed"
                   : "what replication of '%s' had left is gone with source '%s'",
                name, source_name);
    return true;
}

static void drop_debt(struct vault *vault, const json_t *paid)
{
    struct err err = ERR_INIT;
    LOCK_GUARD(&vault->change_lock);
    AUTO(json_free) json_t *debts = debts_load(vault, &err);
    size_t i = 0;
    while (i < json_array_size(debts)) {
        if (json_equal(json_array_get(debts, i), paid))
            (void)json_array_remove(debts, i);
        else
            i++;
    }
    if (!debts || !debts_save(vault, debts, &err))
        log_warn("debts_not_saved", "text=\"%s\", trying again", err.text);
}

void debts_pay(struct vault *vault)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *debts = debts_load(vault, &err);
    size_t i;
    json_t *debt;
    json_array_foreach(debts, i, debt)
    {
        if (pay(vault, debt))
            drop_debt(vault, debt);
    }
}

void debts_view(struct vault *vault, json_t *list)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *debts = debts_load(vault, &err);
    size_t i;
    json_t *debt;
    json_array_foreach(debts, i, debt)
    {
        AUTO(buf_release) struct buf what = {0};
        const char *source = json_string_value(json_object_get(debt, "source"));
        const char *name = json_string_value(json_object_get(debt, "name"));
        json_t *view = json_object();
        buf_printf(&what, "change records at source '%s'", source ? source : "");
        json_put_text(view, "kind", "source records");
        json_put_text(view, "machine", name ? name : "");
        json_put_text(view, "machine_id", "");
        json_put_text(view, "what", buf_text(&what));
        json_put_bool(view, "ours", true);
        (void)json_array_append_new(list, view);
    }
}
