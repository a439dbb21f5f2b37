/* SPDX-License-Identifier: Apache-2.0 */
/* What a source tells of its open snapshot: into definition, watch and events. */
#include "vault/cycle_facts.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define LOOK_EVERY_MS 1000

/* true: some place is another than before. */
static bool take_places(const struct snapshot_facts *now, struct machine_def *def)
{
    bool is_changed = false;
    if (now->host[0] && strcmp(now->host, def->host) != 0) {
        text_copy(def->host, sizeof def->host, now->host);
        is_changed = true;
    }
    for (size_t i = 0; i < def->disk_count; i++) {
        struct machine_disk *disk = &def->disks[i];
        const char *datastore = now->disks[i].datastore;
        if (!datastore[0] || strcmp(datastore, disk->datastore) == 0)
            continue;
        text_copy(disk->datastore, sizeof disk->datastore, datastore);
        is_changed = true;
    }
    return is_changed;
}

static void tell_lies(struct work *work, const struct cycle *cycle,
                      const struct machine_def *def)
{
    for (size_t i = 0; i < def->disk_count; i++) {
        uint64_t offset_bytes;
        if (!cycle_caught_lie(cycle, i, &offset_bytes))
            continue;
        vault_event(work->vault, work->machine, work->job, "error", "tracking_lies",
                    "ALARM: change tracking of disk '%s' said unchanged at byte %llu, "
                    "which had changed; this cycle compares the whole disk. Known vendor "
                    "bugs: KB 2090639 (disk extended), KB 2136854 (ESXi 6.0), KB 1020128 "
                    "(storage vMotion); patch the host, reset the machine's change "
                    "tracking, and ask for verify",
                    def->disks[i].label, (unsigned long long)offset_bytes);
    }
}

static void show_reading(struct work *work, const struct snapshot_facts *now)
{
    json_t *reading = json_array();
    for (size_t i = 0; i < MACHINE_MAX_DISKS; i++)
        json_array_append_new(reading, json_string(now->disks[i].reading));
    LOCK_GUARD(&work->vault->lock);
    json_free(work->machine->watch.reading);
    work->machine->watch.reading = reading;
}

void cycle_facts_look(struct cycle_facts *facts, struct work *work,
                      struct snapshot *snapshot, bool is_last)
{
    uint64_t now_ms = clock_mono_ms();
    if (!is_last && facts->looked_ms && now_ms - facts->looked_ms < LOOK_EVERY_MS)
        return;
    facts->looked_ms = now_ms;
    struct snapshot_facts *now = xcalloc(1, sizeof *now);
    snapshot_facts_get(snapshot, now);
    show_reading(work, now);
    if (now->notice[0] && strcmp(now->notice, facts->notice) != 0) {
        text_copy(facts->notice, sizeof facts->notice, now->notice);
        vault_event(work->vault, work->machine, work->job, "warning", "snapshot_notice",
                    "%s", now->notice);
    }
    free(now);
}

void cycle_facts_begin(struct cycle_facts *facts, struct work *work, struct cycle *cycle,
                       struct machine_def *def)
{
    struct snapshot *snapshot = cycle_snapshot(cycle);
    struct snapshot_facts *now = xcalloc(1, sizeof *now);
    snapshot_facts_get(snapshot, now);
    if (take_places(now, def))
        machine_change(work->vault, work->machine,
                       &(struct machine_change){.trigger = TRIGGER_COUNT, .def = def});
    free(now);
    tell_lies(work, cycle, def);
    cycle_facts_look(facts, work, snapshot, false);
}
