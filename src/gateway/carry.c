/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An initial cycle after one that died: its snapshot is gone, so it cannot be resumed,
 * but what it had sent is on the replica. The new one reads the new point in time and
 * sends only what differs.
 *
 * Y1  the applier comes first: it has written and flushed every segment that the dead
 * cycle's journal names, and no other of that cycle can be on the replica (segments are
 * handed on after their entry is durable); Y2  the maps start empty: an entry that is
 * lost costs knowledge, it cannot leave a digest of content that was overwritten. So only
 * the last attempt is known, not those before it; Y3  the maps then carry the new cycle's
 * number, marked HASHMAP_BENEATH: when it is interrupted and resumed, what it has not
 * covered yet is still as they say (I5). They never pass for the recovery point it makes:
 * when it is committed they are made anew from its own journal, in which SAME blocks
 * stand with their digests; and so they are when it dies too (Y2).
 */
#include "gateway/cycle_impl.h"

#include "base/log.h"

static bool note_entry(void *ctx, struct journal_entry *entry, struct err *err)
{
    struct cycle *cycle = ctx;
    if (entry->disk_index >= cycle->plan.disk_count)
        return err_set(err, FAIL_CORRUPT, "journal entry names disk %u",
                       entry->disk_index);
    return hashmap_apply(cycle->maps[entry->disk_index], entry, err);
}

static bool fill_maps(struct cycle *cycle, uint64_t dead, struct err *err)
{
    AUTO(plan_release) struct plan plan = {0};
    struct cycle_store cs = context_state_store(&cycle->context);
    if (!cycle_store_get_plan(&cs, dead, &plan, err))
        return false;
    if (!plan_is_of(&plan, cycle->context.machine))
        return err_set(err, FAIL_CORRUPT, "cycle %llu was of other disks",
                       (unsigned long long)dead);
    for (size_t i = 0; i < cycle->plan.disk_count; i++) {
        if (!cycle->maps[i] && !open_map(&cycle->context, i, &cycle->maps[i], err))
            return false;
        if (!hashmap_begin(cycle->maps[i], 0, err)) /* Y2 */
            return false;
    }
    if (!cycle_store_each_journal(&cs, dead, note_entry, cycle, err))
        return false;
    for (size_t i = 0; i < cycle->plan.disk_count; i++)
        if (!hashmap_commit(cycle->maps[i], cycle->plan.cycle | HASHMAP_BENEATH,
                            err)) /* Y3 */
            return false;
    return true;
}

bool cycle_carry(struct cycle *cycle, uint64_t dead, struct err *err)
{
    const struct cycle_context *context = &cycle->context;
    struct err why = ERR_INIT;
    if (dead == 0 || !context->options.skip_same || !context->map_dir)
        return true;
    cycle->may_skip = fill_maps(cycle, dead, &why);
    if (!cycle->may_skip && why.kind != FAIL_CORRUPT && why.kind != FAIL_GONE) {
        *err = why;
        return err_wrap(err, "hash map of the interrupted cycle");
    }
    char quoted[LOG_QUOTED_BYTES];
    if (cycle->may_skip)
        log_info("cycle_carried", "machine=%s cycle=%llu from=%llu",
                 context->machine->name, (unsigned long long)cycle->plan.cycle,
                 (unsigned long long)dead);
    else
        log_warn("hash_map_lost", "machine=%s text=%s", context->machine->name,
                 log_quote(why.text, quoted));
    return remove_cycle_data(context, dead, false, err);
}
