/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machines in memory and the one way in which they change. A change moves the states
 * by the table, updates what came along with it, and is written to the catalog before
 * anybody else can change the machine.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vault/dispatch.h"
#include "vault/records.h"

struct machine *machine_new(const char *name, const struct id *id)
{
    struct machine *machine = xcalloc(1, sizeof *machine);
    machine->id = *id;
    text_copy(machine->name, sizeof machine->name, name);
    machine->def = xcalloc(1, sizeof *machine->def);
    machine->facts.name = machine->name;
    machine->tests = json_array();
    machine->next_cycle_number = 1;
    text_copy(machine->gateway, sizeof machine->gateway, DISPATCH_LOCAL);
    return machine;
}

void machine_free(struct machine *machine)
{
    if (!machine)
        return;
    json_free(machine->tests);
    json_free(machine->vm);
    json_free(machine->watch.reading);
    free(machine->def);
    free(machine);
}

struct machine *machine_find_locked(struct vault *vault, const char *name_or_id)
{
    char text[ID_TEXT_BYTES];
    for (struct machine *m = vault->machines; m; m = m->next) {
        if (!m->is_gone && (strcmp(m->name, name_or_id) == 0 ||
                            strcmp(id_text(&m->id, text), name_or_id) == 0))
            return m;
    }
    return NULL;
}

struct machine_def *machine_def_copy(struct vault *vault, struct machine *machine)
{
    struct machine_def *copy = xcalloc(1, sizeof *copy);
    LOCK_GUARD(&vault->lock);
    *copy = *machine->def;
    return copy;
}

struct machine_facts machine_facts_locked(const struct machine *machine)
{
    struct machine_facts facts = machine->facts;
    facts.has_recovery_point = machine->recovery_cycle != 0;
    facts.test_count = json_array_size(machine->tests);
    facts.percent = watch_percent(&machine->watch);
    facts.is_waiting = dispatch_is_waiting_locked(machine, clock_wall_ms());
    return facts;
}

static void take_errors(struct machine *machine, const struct machine_change *change)
{
    if (change->failure) {
        machine->last_error = *change->failure;
        if (machine->failures < UINT32_MAX)
            machine->failures++;
    }
    if (change->clear_failure) {
        err_clear(&machine->last_error);
        machine->failures = 0;
    }
}

static void take_values(struct machine *machine, const struct machine_change *change)
{
    if (change->has_next)
        machine->next_cycle_ms = change->next_cycle_ms;
    if (change->replica) {
        machine->recovery_cycle = change->replica->recovery_point;
        machine->recovery_ms = change->replica->recovery_wall_ms;
    }
    if (change->duration_ms)
        machine->last_duration_ms = change->duration_ms;
    if (change->def)
        *machine->def = *change->def;
    if (change->tests) {
        json_free(machine->tests);
        machine->tests = change->tests;
    }
    if (change->vm) {
        json_free(machine->vm);
        machine->vm = change->vm;
    }
    if (change->migrated_now) {
        machine->facts.has_migrated = true;
        machine->facts.migrated_ms = clock_wall_ms();
    }
    if (change->next_cycle_number)
        machine->next_cycle_number =
            MAX_OF(machine->next_cycle_number, change->next_cycle_number);
    if (change->distrust_map || change->trust_map)
        machine->is_map_distrusted = change->distrust_map;
}

void machine_move_locked(struct machine *machine, unsigned trigger)
{
    struct machine_facts facts = machine_facts_locked(machine);
    machine_move(&facts, trigger);
    machine->facts = facts;
}

void machine_change(struct vault *vault, struct machine *machine,
                    const struct machine_change *change)
{
    struct job asked = {.id = 0}; /* what an event looks at */
    struct machine_facts before, after;
    AUTO(buf_release) struct buf text = {0};
    LOCK_GUARD(&vault->change_lock);
    {
        LOCK_GUARD(&vault->lock);
        before = machine->facts;
        take_errors(machine, change);
        take_values(machine, change);
        if (change->trigger != TRIGGER_COUNT)
            machine_move_locked(machine, change->trigger);
        dispatch_touch_locked(vault, machine);
        after = machine->facts;
        if (machine->work && machine->work->job) {
            asked.id = machine->work->job->id;
            text_copy(asked.who, sizeof asked.who, machine->work->job->who);
        }
        (void)pthread_cond_broadcast(&vault->changed);
    }
    record_machine_or_later(vault, machine);
    if (audit_moved(&before, &after, &text))
        vault_event(vault, machine, asked.id ? &asked : NULL, "info", "state_changed",
                    "%s", buf_text(&text));
}
