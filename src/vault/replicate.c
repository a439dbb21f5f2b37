/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding machines and enabling replication: discover, pre-flight of both ends, then key,
 * machine and job in one transaction. Nothing of a refused machine is kept but the failed
 * job that holds all findings.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "vault/dispatch.h"
#include "vault/network.h"
#include "vault/ops.h"
#include "vault/records.h"

/* How long a question waits for a source that a cycle has. */
#define SOURCE_WAIT_MS ((uint64_t)10000)

/* ---- discover and check ---- */

static json_t *nics_view(const struct machine_def *def)
{
    json_t *list = json_array();
    for (size_t i = 0; i < def->nic_count; i++) {
        json_t *nic = json_object();
        json_put_text(nic, "mac", def->nics[i].mac);
        json_put_text(nic, "model", def->nics[i].model);
        json_put_text(nic, "network", def->nics[i].network);
        json_array_append_new(list, nic);
    }
    return list;
}

static json_t *found_view(const char *source, const struct machine_def *def,
                          bool is_replicating)
{
    json_t *view = json_object();
    json_t *disks = json_array();
    json_put_text(view, "source", source);
    json_put_text(view, "name", def->name);
    json_put_text(view, "key", def->key);
    json_put_u64(view, "cpus", def->cpus);
    json_put_u64(view, "memory_bytes", def->memory_bytes);
    json_put_text(view, "firmware", def->firmware == FIRMWARE_UEFI ? "uefi" : "bios");
    json_put_bool(view, "running", def->is_running);
    for (size_t i = 0; i < def->disk_count; i++) {
        json_t *disk = json_object();
        json_put_text(disk, "label", def->disks[i].label);
        json_put_text(disk, "key", def->disks[i].key);
        json_put_u64(disk, "bytes", def->disks[i].disk_bytes);
        json_put_text(disk, "bus", def->disks[i].bus);
        json_put_text(disk, "serial", def->disks[i].serial);
        json_array_append_new(disks, disk);
    }
    json_put_take(view, "disks", disks);
    json_put_take(view, "nics", nics_view(def));
    json_put_bool(view, "replicating", is_replicating);
    return view;
}

static struct machine *by_source_locked(struct vault *vault, const char *source,
                                        const char *key)
{
    for (struct machine *m = vault->machines; m; m = m->next) {
        if (!m->is_gone && strcmp(m->source, source) == 0 &&
            strcmp(m->def->key, key) == 0)
            return m;
    }
    return NULL;
}

/* A source that a cycle works with is not disturbed: we know its machine. */
static size_t known_machines(struct vault *vault, const char *source, json_t *list)
{
    size_t count = 0;
    LOCK_GUARD(&vault->lock);
    for (struct machine *m = vault->machines; m; m = m->next) {
        if (m->is_gone || strcmp(m->source, source) != 0 || !m->work)
            continue;
        json_array_append_new(list, found_view(source, m->def, true));
        count++;
    }
    return count;
}

static bool is_replicating(struct vault *vault, const char *source, const char *key)
{
    LOCK_GUARD(&vault->lock);
    return key && by_source_locked(vault, source, key) != NULL;
}

/* Of a kind that tells more than definitions: machines to the others, the rest as an
 * inventory of its own. */
static void add_inventory(struct vault *vault, const char *name, json_t *inventory,
                          json_t *all)
{
    json_t *machines = json_object_get(inventory, "machines"), *machine;
    json_t *inventories = json_object_get(all, "inventories");
    size_t i;
    json_array_foreach(machines, i, machine)
    {
        const char *key = json_string_value(json_object_get(machine, "key"));
        json_put_text(machine, "source", name);
        json_put_bool(machine, "replicating", is_replicating(vault, name, key));
    }
    (void)json_array_extend(json_object_get(all, "machines"), machines);
    (void)json_object_del(inventory, "machines");
    json_put_text(inventory, "source", name);
    if (!inventories) {
        inventories = json_array();
        json_put_take(all, "inventories", inventories);
    }
    (void)json_array_append(inventories, inventory);
}

static bool ask_one(struct vault *vault, const char *name, struct source *source,
                    json_t *all, struct err *err)
{
    AUTO(free) struct machine_def *found = NULL;
    AUTO(json_free) json_t *inventory = NULL;
    size_t count = 0;
    if (!source_inventory(source, &inventory, err))
        return false;
    if (inventory) {
        add_inventory(vault, name, inventory, all);
        return true;
    }
    if (!source_discover(source, &found, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            json_object_get(all, "machines"),
            found_view(name, &found[i], is_replicating(vault, name, found[i].key)));
    return true;
}

static bool discover_one(struct vault *vault, const char *name, json_t *all,
                         struct err *err)
{
    struct source *source = ends_source_take(vault, name, 1, NULL, err);
    if (!source) {
        json_t *list = json_object_get(all, "machines");
        if (err->kind != FAIL_TRANSIENT || known_machines(vault, name, list) == 0)
            return false;
        err_clear(err);
        return true;
    }
    bool ok = ask_one(vault, name, source, all, err);
    ends_source_give(vault, name, source);
    return ok;
}

json_t *vault_discover(struct vault *vault, const char *source, struct err *err)
{
    AUTO(json_free) json_t *all = json_object();
    json_put_take(all, "machines", json_array());
    if (source)
        return discover_one(vault, source, all, err) ? TAKE(all) : NULL;
    AUTO(json_free) json_t *ends = ends_view(vault, END_SOURCE);
    json_t *errors = json_array();
    json_put_take(all, "errors", errors);
    size_t i;
    json_t *end;
    /* One source that does not answer must not hide the others. */
    json_array_foreach(ends, i, end)
    {
        struct err why = ERR_INIT;
        const char *name = json_string_value(json_object_get(end, "name"));
        if (discover_one(vault, name, all, &why))
            continue;
        json_t *error = json_object();
        json_put_text(error, "source", name);
        json_put_text(error, "kind", err_kind_name(why.kind));
        json_put_text(error, "text", why.text);
        json_array_append_new(errors, error);
    }
    return TAKE(all);
}

json_t *vault_source_check(struct vault *vault, const char *name, struct err *err)
{
    AUTO(findings_release) struct findings findings = {0};
    AUTO(free) struct machine_def *found = NULL;
    size_t count = 0;
    struct source *source = ends_source_take(vault, name, SOURCE_WAIT_MS, NULL, err);
    if (!source)
        return NULL;
    bool ok = source_discover(source, &found, &count, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = source_check(source, &found[i], &findings, err);
    ends_source_give(vault, name, source);
    return ok ? view_findings(&findings) : NULL;
}

/* ---- enabling ---- */

struct enabling {
    struct vault *vault;
    const char *source;
    const char *target;
    const char *key;
    struct machine *machine; /* owned until published */
    struct job *job;         /* the same */
    uint64_t id;
    bool is_new;
};

static bool find_and_check(struct enabling *e, struct source *source, const char *name,
                           struct findings *findings, struct err *err)
{
    return (source_find(source, name, e->machine->def, err) ||
            err_wrap(err, "source '%s'", e->source)) &&
           source_check(source, e->machine->def, findings, err);
}

static void note_duplicate(struct findings *findings, const char *code,
                           const struct machine *machine, const char *remedy)
{
    struct finding *f = findings_add(findings, FINDING_BLOCKER, code);
    (void)snprintf(f->what, sizeof f->what, "machine '%s'", machine->name);
    (void)snprintf(f->why, sizeof f->why,
                   "is replicating from source '%s' to target '%s' already",
                   machine->source, machine->target);
    text_copy(f->remedy, sizeof f->remedy, remedy);
}

static void find_duplicates(struct enabling *e, struct findings *findings)
{
    LOCK_GUARD(&e->vault->lock);
    struct machine *same = by_source_locked(e->vault, e->source, e->machine->def->key);
    if (same) {
        note_duplicate(findings, "machine.duplicate", same,
                       "stop its replication first to start afresh");
        return;
    }
    same = machine_find_locked(e->vault, e->machine->name);
    if (same)
        note_duplicate(findings, "machine.name", same,
                       "give this one another name (option 'name')");
}

static bool take_identity(struct enabling *e, const json_t *options, struct err *err)
{
    struct machine *machine = e->machine;
    struct machine_def *def = machine->def;
    const char *name, *marker;
    bool auto_repair;
    if (!json_opt_text(options, "name", def->name, &name, err) ||
        !json_opt_text(options, "marker", "", &marker, err) ||
        !json_opt_bool(options, "auto_repair", e->vault->auto_repair, &auto_repair, err))
        return false;
    if (!text_check_name("machine", name, err))
        return err_hint(err, "give it another name (option 'name')");
    text_copy(machine->name, sizeof machine->name, name);
    text_copy(machine->source, sizeof machine->source, e->source);
    text_copy(machine->target, sizeof machine->target, e->target);
    text_copy(machine->marker, sizeof machine->marker, marker);
    text_copy(def->name, sizeof def->name, machine->name);
    machine->auto_repair = auto_repair;
    machine->created_ms = clock_wall_ms();
    machine->id = id_random();
    def->id = machine->id;
    for (size_t i = 0; i < def->disk_count; i++)
        def->disks[i].id = id_random();
    return true;
}

static bool preflight(struct enabling *e, const char *name, const json_t *options,
                      struct findings *findings, struct err *err)
{
    struct target *target = ends_target(e->vault, e->target, err);
    if (!target)
        return false;
    struct source *source =
        ends_source_take(e->vault, e->source, SOURCE_WAIT_MS, NULL, err);
    if (!source)
        return false;
    bool ok = find_and_check(e, source, name, findings, err);
    ends_source_give(e->vault, e->source, source);
    if (!ok || !take_identity(e, options, err))
        return false;
    find_duplicates(e, findings);
    network_preflight(e->vault, e->target, findings);
    return findings_have_blocker(findings) ||
           target_check(target, e->machine->def, findings, err);
}

/* The refusal stays readable: a failed job with every finding in its result. */
static bool refuse(struct enabling *e, const struct findings *findings, struct err *err)
{
    AUTO(json_free) json_t *view = view_findings(findings);
    AUTO(buf_release) struct buf result = {0};
    const struct finding *first = findings->items;
    size_t blockers = 0;
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->items[i];
        if (f->severity == FINDING_BLOCKER && blockers++ == 0)
            first = f;
    }
    (void)err_set(err, FAIL_CONFLICT, "%s: %s; %s", first->what, first->why,
                  first->remedy);
    json_print(view, &result);
    struct catalog_job row = {.state = CATALOG_JOB_FAILED,
                              .error_kind = err->kind,
                              .error_text = err->text,
                              .result_json = (char *)(uintptr_t)buf_text(&result),
                              .created_ms = clock_wall_ms(),
                              .ended_ms = clock_wall_ms()};
    text_copy(row.machine_name, sizeof row.machine_name, e->machine->name);
    text_copy(row.operation, sizeof row.operation, operation_name(OP_REPLICATE));
    text_copy(row.who, sizeof row.who, audit_who());
    text_copy(row.step, sizeof row.step, "pre-flight");
    struct err late = ERR_INIT;
    uint64_t id = 0;
    if (!catalog_job_create(e->vault->catalog, &row, &id, &e->is_new, &late))
        log_error("job_row_lost", "text=\"%s\"", late.text);
    row.id = id;
    if (id && !catalog_job_update(e->vault->catalog, &row, &late))
        log_error("job_row_lost", "text=\"%s\"", late.text);
    vault_event(e->vault, NULL, NULL, "error", "preflight_refused",
                "machine '%s': %zu blocker(s), see job %llu; %s", e->machine->name,
                blockers, (unsigned long long)id, err->text);
    return false;
}

static bool enable_change(void *ctx, struct err *err)
{
    struct enabling *e = ctx;
    AUTO(buf_release) struct buf options = {0};
    json_print(e->job->options, &options);
    struct catalog_job row = {.machine = e->machine->id,
                              .state = CATALOG_JOB_QUEUED,
                              .progress_total = e->job->steps_total,
                              .options_json = (char *)(uintptr_t)buf_text(&options),
                              .created_ms = e->job->created_ms};
    text_copy(row.machine_name, sizeof row.machine_name, e->machine->name);
    text_copy(row.operation, sizeof row.operation, operation_name(OP_REPLICATE));
    text_copy(row.idempotency_key, sizeof row.idempotency_key, e->key ? e->key : "");
    text_copy(row.who, sizeof row.who, e->job->who);
    return record_machine_insert(e->vault, e->machine, err) &&
           catalog_job_create(e->vault->catalog, &row, &e->id, &e->is_new, err);
}

/* *ret_again: the master key was rotated meanwhile, and ours is not among those that were
 * wrapped anew. */
static bool enable_once(struct enabling *e, bool *ret_again, struct err *err)
{
    struct vault *vault = e->vault;
    struct machine *machine = e->machine;
    if (!keys_make(vault->keys, &machine->id, &machine->key_id, machine->key_wrapped,
                   err))
        return err_wrap(err, "data key of machine '%s'", machine->name);
    LOCK_GUARD(&vault->change_lock);
    *ret_again = !keys_is_current(vault->keys, machine->key_wrapped);
    if (*ret_again)
        return true;
    {
        LOCK_GUARD(&vault->lock);
        if (!dispatch_has_room_locked(vault, machine->gateway, err))
            return false;
    }
    if (!catalog_transaction(vault->catalog, enable_change, e, err))
        return false;
    e->job->id = e->id;
    LOCK_GUARD(&vault->lock);
    struct job **last = &vault->jobs;
    while (*last)
        last = &(*last)->next;
    *last = TAKE(e->job);
    struct machine **at = &vault->machines;
    while (*at && strcmp((*at)->name, machine->name) < 0)
        at = &(*at)->next;
    machine->next = *at;
    *at = TAKE(e->machine);
    dispatch_touch_locked(vault, machine);
    (void)pthread_cond_broadcast(&vault->changed);
    return true;
}

static bool enable(struct enabling *e, const json_t *options, struct err *err)
{
    bool again = true;
    e->job = job_new(e->machine, OP_REPLICATE, options);
    while (again)
        if (!enable_once(e, &again, err))
            return false;
    return true;
}

/* The same key again: the job that it made, if that is what it made. */
static bool asked_before(struct vault *vault, const char *key, uint64_t *ret_job,
                         bool *ret_found, struct err *err)
{
    AUTO(catalog_job_list_release) struct catalog_job_list list = {0};
    struct catalog_job_filter same_key = {.idempotency_key = key, .limit = 1};
    *ret_found = false;
    if (!key || !*key)
        return true;
    if (strlen(key) >= CATALOG_KEY_BYTES)
        return err_set(err, FAIL_INPUT, "idempotency key of %zu bytes; %d are allowed",
                       strlen(key), CATALOG_KEY_BYTES - 1);
    if (!catalog_job_list(vault->catalog, &same_key, &list, err))
        return false;
    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(list.items[i].operation, operation_name(OP_REPLICATE)) != 0)
            return err_set(err, FAIL_CONFLICT,
                           "idempotency key was used for %s of machine '%s'",
                           list.items[i].operation, list.items[i].machine_name);
        *ret_job = list.items[i].id;
        *ret_found = true;
    }
    return true;
}

/* What will be made and what is not as it should be, where the user reads it. */
static void tell_findings(struct vault *vault, const char *machine,
                          const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->items[i];
        bool is_plan = text_ends_with(f->code, ".plan");
        if (f->severity == FINDING_OK && !is_plan)
            continue;
        vault_event(vault, NULL, NULL, is_plan ? "info" : "warning",
                    is_plan ? "planned" : "preflight", "machine '%s': %s: %s%s%s",
                    machine, f->what, f->why, f->remedy[0] ? "; " : "", f->remedy);
    }
}

static bool replicate(struct enabling *e, const char *name, const json_t *options,
                      struct err *err)
{
    AUTO(findings_release) struct findings findings = {0};
    struct id none = {0};
    e->machine = machine_new("", &none);
    if (!preflight(e, name, options, &findings, err))
        return false;
    if (findings_have_blocker(&findings))
        return refuse(e, &findings, err);
    char machine_name[MACHINE_NAME_BYTES];
    text_copy(machine_name, sizeof machine_name, e->machine->name);
    tell_findings(e->vault, machine_name, &findings);
    if (!enable(e, options, err))
        return false;
    vault_event(e->vault, NULL, NULL, "info", "replication_enabled",
                "machine '%s': from source '%s' to target '%s'", machine_name, e->source,
                e->target);
    return true;
}

bool vault_replicate(struct vault *vault, const char *source, const char *machine,
                     const char *target, const json_t *options,
                     const char *idempotency_key, uint64_t *ret_job, struct err *err)
{
    struct enabling e = {
        .vault = vault, .source = source, .target = target, .key = idempotency_key};
    bool was_asked = false;
    AUTO(json_free) json_t *none = json_object();
    options = options ? options : none;
    if (!options_check(OP_REPLICATE, options, err) ||
        !asked_before(vault, idempotency_key, ret_job, &was_asked, err))
        return false;
    if (was_asked)
        return true;
    bool ok = replicate(&e, machine, options, err);
    if (!ok)
        audit_refused(vault, machine, operation_name(OP_REPLICATE), err);
    if (ok)
        *ret_job = e.id;
    machine_free(e.machine);
    job_free(e.job);
    return ok;
}
