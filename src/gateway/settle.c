/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a crash or a finished cycle leaves, put in order. Every step is idempotent; the
 * order is what makes it safe: the hash maps are advanced from the journal before the
 * journal goes, the plan of the recovery point stays (its change ids are the base of the
 * next cycle). Of an initial cycle that died everything stays until the next one has
 * taken it over (carry.c).
 */
#include "gateway/cycle_impl.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"

/* The cycles that have objects in a store, ascending. */
struct cycle_list {
    const struct id *machine;
    uint64_t *numbers;
    size_t count, cap;
    bool plans_only;
};

static void release_list(struct cycle_list *list)
{
    free(list->numbers);
}

static bool note_cycle(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct cycle_list *list = ctx;
    uint64_t number;
    (void)bytes;
    (void)err;
    if (!name_parse_cycle(list->machine, name, &number))
        return true;
    if (list->plans_only) {
        size_t length = strlen(name);
        if (length < 5 || strcmp(name + length - 5, "/plan") != 0)
            return true;
    }
    if (list->count && list->numbers[list->count - 1] == number)
        return true;
    if (list->count == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 8;
        list->numbers = xrealloc(list->numbers, list->cap, sizeof *list->numbers);
    }
    list->numbers[list->count++] = number;
    return true;
}

static bool list_cycles(const struct cycle_context *context, struct store *store,
                        struct cycle_list *list, struct err *err)
{
    char prefix[NAMES_MAX], text[ID_TEXT_BYTES];
    list->machine = &context->machine->id;
    (void)snprintf(prefix, sizeof prefix, "%s/", id_text(list->machine, text));
    return store_list(store, prefix, note_cycle, list, err);
}

bool find_unfinished(const struct cycle_context *context, uint64_t recovery_point,
                     uint64_t *ret, struct err *err)
{
    __attribute__((cleanup(release_list))) struct cycle_list list = {.plans_only = true};
    if (!list_cycles(context, context->state_store, &list, err))
        return false;
    uint64_t newest = list.count ? list.numbers[list.count - 1] : 0;
    *ret = newest > recovery_point ? newest : 0;
    return true;
}

bool open_map(const struct cycle_context *context, size_t disk_index,
              struct hashmap **ret, struct err *err)
{
    char name[ID_TEXT_BYTES + 8], text[ID_TEXT_BYTES];
    const struct id *disk = &context->machine->disks[disk_index].id;
    *ret = NULL;
    if (!context->map_dir)
        return true;
    if (!file_make_dirs(context->map_dir, err))
        return false;
    (void)snprintf(name, sizeof name, "%s.map", id_text(disk, text));
    AUTO(free) char *path = file_join(context->map_dir, name);
    *ret = hashmap_open(path, disk, err);
    return *ret != NULL;
}

/* A map may advance only by the whole journal: a missing entry would leave a digest of
 * content that the replica no longer holds. The manifest says which entries there must
 * be. */
struct advance {
    struct hashmap *maps[MACHINE_MAX_DISKS];
    size_t disk_count;
    struct manifest manifest; /* sorted by (disk, seq) */
    size_t matched;
};

static void close_maps(struct advance *advance)
{
    for (size_t i = 0; i < advance->disk_count; i++)
        hashmap_close(advance->maps[i]);
    manifest_release(&advance->manifest);
}

static bool advance_one(void *ctx, struct journal_entry *entry, struct err *err)
{
    struct advance *advance = ctx;
    if (entry->disk_index >= advance->disk_count)
        return err_set(err, FAIL_CORRUPT, "journal entry names disk %u",
                       entry->disk_index);
    const struct manifest_segment *listed =
        manifest_find(&advance->manifest, entry->disk_index, entry->seq);
    if (!listed || memcmp(listed->tag, entry->tag, sizeof entry->tag) != 0)
        return err_set(err, FAIL_CORRUPT,
                       "journal entry %u of disk %u is not in the manifest", entry->seq,
                       entry->disk_index);
    advance->matched++;
    struct hashmap *map = advance->maps[entry->disk_index];
    return hashmap_cycle(map) != 0 || hashmap_apply(map, entry, err);
}

/* Brings the maps of all disks to the recovery point, from its journal. */
static bool advance_maps(const struct cycle_context *context, uint64_t recovery_point,
                         struct err *err)
{
    __attribute__((cleanup(close_maps))) struct advance advance = {
        .disk_count = context->machine->disk_count};
    AUTO(plan_release) struct plan plan = {0};
    struct cycle_store state_store = context_state_store(context);
    struct cycle_store log_store = context_log_store(context);
    bool is_behind = false;
    if (!context->map_dir || recovery_point == 0)
        return true;
    for (size_t i = 0; i < advance.disk_count; i++) {
        if (!open_map(context, i, &advance.maps[i], err))
            return false;
        is_behind = is_behind || hashmap_cycle(advance.maps[i]) != recovery_point;
    }
    if (!is_behind)
        return true;
    if (FAULT(CYCLE_BEFORE_MAP, err) ||
        !cycle_store_get_plan(&state_store, recovery_point, &plan, err) ||
        !cycle_store_get_manifest(&log_store, recovery_point, &advance.manifest, err))
        return false;
    manifest_sort(&advance.manifest);
    for (size_t i = 0; i < advance.disk_count; i++)
        if (hashmap_cycle(advance.maps[i]) != recovery_point &&
            !hashmap_begin(advance.maps[i], plan.base_cycle, err))
            return false;
    if (!cycle_store_each_journal(&state_store, recovery_point, advance_one, &advance,
                                  err))
        return false;
    if (advance.matched != advance.manifest.segment_count)
        return err_set(err, FAIL_CORRUPT, "the journal has %zu of %zu entries",
                       advance.matched, advance.manifest.segment_count);
    for (size_t i = 0; i < advance.disk_count; i++)
        if (hashmap_cycle(advance.maps[i]) != recovery_point &&
            !hashmap_commit(advance.maps[i], recovery_point, err))
            return false;
    return !FAULT(CYCLE_AFTER_MAP, err);
}

bool remove_cycle_data(const struct cycle_context *context, uint64_t number,
                       bool keep_plan, struct err *err)
{
    char prefix[NAMES_MAX], journal[NAMES_MAX];
    name_cycle_prefix(&context->machine->id, number, prefix);
    name_journal_prefix(&context->machine->id, number, journal);
    return !FAULT(CYCLE_IN_RETENTION, err) &&
           store_remove_prefix(context->log_store, prefix, err) &&
           store_remove_prefix(context->state_store, keep_plan ? journal : prefix, err);
}

/* Objects of cycles that nobody needs any more. */
static bool remove_old(const struct cycle_context *context, struct store *store,
                       const struct replica_state *replica, uint64_t unfinished,
                       struct err *err)
{
    __attribute__((cleanup(release_list))) struct cycle_list list = {0};
    if (!list_cycles(context, store, &list, err))
        return false;
    for (size_t i = 0; i < list.count; i++) {
        uint64_t number = list.numbers[i];
        bool is_carried = number == replica->doubt && replica->recovery_point == 0;
        if (number == unfinished || number == replica->applying || is_carried)
            continue;
        bool keep_plan = number == replica->recovery_point || number == replica->doubt;
        if (!remove_cycle_data(context, number, keep_plan, err))
            return false;
    }
    return true;
}

bool cycle_settle(const struct cycle_context *context, struct err *err)
{
    struct replica_state replica;
    struct cycle_store cs = context_state_store(context);
    uint64_t unfinished;
    if (!cycle_store_get_replica(&cs, &replica, err) ||
        !find_unfinished(context, replica.recovery_point, &unfinished, err))
        return false;
    struct err why = ERR_INIT;
    if (!advance_maps(context, replica.recovery_point, &why)) {
        /* A damaged journal costs the map, never the replica: unknown blocks are sent. */
        if (why.kind != FAIL_CORRUPT && why.kind != FAIL_GONE) {
            *err = why;
            return err_wrap(err, "advance the hash map");
        }
        char quoted[LOG_QUOTED_BYTES];
        log_warn("hash_map_lost", "machine=%s text=%s", context->machine->name,
                 log_quote(why.text, quoted));
    }
    if (!remove_old(context, context->log_store, &replica, unfinished, err) ||
        !remove_old(context, context->state_store, &replica, unfinished, err))
        return err_wrap(err, "remove objects of finished cycles");
    return true;
}

bool cycle_forget(const struct cycle_context *context, struct err *err)
{
    char prefix[NAMES_MAX], text[ID_TEXT_BYTES];
    (void)snprintf(prefix, sizeof prefix, "%s/", id_text(&context->machine->id, text));
    if (!store_remove_prefix(context->log_store, prefix, err) ||
        !store_remove_prefix(context->state_store, prefix, err))
        return err_wrap(err, "remove the objects of machine '%s'",
                        context->machine->name);
    return !context->map_dir || file_remove_tree(context->map_dir, err);
}
