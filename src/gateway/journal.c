/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: one sealed entry per segment that the log store has acknowledged.
 *
 * J1  an entry is written after its segment's put returned: a journalled segment is
 * there; J2  a segment without an entry (we died in between) is sent again under another
 * name, the orphan goes with the cycle's other objects; J3  entries stay until the hash
 * map was advanced from them.
 */
#include "gateway/cycle_impl.h"

#include "base/fault.h"
#include "store/sealed_store.h"

#include <stdatomic.h>

bool journal_store(const struct cycle *cycle, const struct journal_entry *entry,
                   struct err *err)
{
    const struct cycle_context *context = &cycle->context;
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_journal(&context->machine->id, cycle->plan.cycle, entry->disk_index, entry->seq,
                 name);
    journal_entry_encode(entry, &plain);
    return sealed_put(context->state_store, context->data_key, SEALED_JOURNAL, name,
                      &plain, err) &&
           !FAULT(CYCLE_AFTER_JOURNAL, err);
}

struct take_entries {
    struct cycle *cycle;
    struct buf found[MACHINE_MAX_DISKS]; /* struct extent, in any order */
};

static bool take_entry(void *ctx, struct journal_entry *entry, struct err *err)
{
    struct take_entries *job = ctx;
    struct cycle *cycle = job->cycle;
    struct cycle_progress *progress = cycle->context.progress;
    if (entry->disk_index >= cycle->plan.disk_count)
        return err_set(err, FAIL_CORRUPT, "journal entry names disk %u of %zu",
                       entry->disk_index, cycle->plan.disk_count);
    struct manifest_segment segment = journal_entry_segment(entry);
    buf_append(&job->found[entry->disk_index], entry->covered.items,
               entry->covered.count * sizeof *entry->covered.items);
    cycle->next_seq[entry->disk_index] =
        MAX_OF(cycle->next_seq[entry->disk_index], entry->seq + 1);
    manifest_add(&cycle->manifest, &segment);
    atomic_fetch_add(&progress->done_bytes, extents_total_bytes(&entry->covered));
    atomic_fetch_add(&progress->content_bytes, entry->content_bytes);
    atomic_fetch_add(&progress->stored_bytes, entry->segment_bytes);
    atomic_fetch_add(&progress->segments, 1);
    return !cycle->context.on_segment ||
           cycle->context.on_segment(cycle->context.on_segment_ctx, &segment, err);
}

bool journal_load(struct cycle *cycle, struct err *err)
{
    struct take_entries *job = xcalloc(1, sizeof *job);
    job->cycle = cycle;
    struct cycle_store cs = context_state_store(&cycle->context);
    bool ok = cycle_store_each_journal(&cs, cycle->plan.cycle, take_entry, job, err);
    for (size_t i = 0; i < cycle->plan.disk_count; i++) {
        extents_clear(&cycle->covered[i]);
        extents_add_unsorted(&cycle->covered[i],
                             (const struct extent *)(const void *)job->found[i].data,
                             job->found[i].bytes / sizeof(struct extent));
        buf_release(&job->found[i]);
    }
    free(job);
    return ok;
}
