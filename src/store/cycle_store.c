/* SPDX-License-Identifier: Apache-2.0 */
/* Encode, seal and put; get, open and decode. The name is the sealed context. */
#include "store/cycle_store.h"

#include "store/sealed_store.h"

bool cycle_store_put_plan(const struct cycle_store *cs, const struct plan *plan,
                          struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_plan(cs->machine, plan->cycle, name);
    plan_encode(plan, &plain);
    return sealed_put(cs->store, cs->data_key, SEALED_PLAN, name, &plain, err);
}

bool cycle_store_get_plan(const struct cycle_store *cs, uint64_t cycle, struct plan *ret,
                          struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_plan(cs->machine, cycle, name);
    return sealed_get(cs->store, cs->data_key, SEALED_PLAN, name, &plain, err) &&
           plan_decode(plain.data, plain.bytes, ret, err);
}

bool cycle_store_put_manifest(const struct cycle_store *cs,
                              const struct manifest *manifest, struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_manifest(cs->machine, manifest->cycle, name);
    manifest_encode(manifest, &plain);
    return sealed_put(cs->store, cs->data_key, SEALED_MANIFEST, name, &plain, err);
}

bool cycle_store_get_manifest(const struct cycle_store *cs, uint64_t cycle,
                              struct manifest *ret, struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_manifest(cs->machine, cycle, name);
    return sealed_get(cs->store, cs->data_key, SEALED_MANIFEST, name, &plain, err) &&
           manifest_decode(plain.data, plain.bytes, ret, err);
}

struct each_entry {
    const struct cycle_store *cs;
    bool (*each)(void *ctx, struct journal_entry *entry, struct err *err);
    void *ctx;
};

static bool load_entry(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    const struct each_entry *job = ctx;
    AUTO(buf_release) struct buf plain = {0};
    AUTO(journal_entry_release) struct journal_entry entry = {0};
    (void)bytes;
    if (!sealed_get(job->cs->store, job->cs->data_key, SEALED_JOURNAL, name, &plain,
                    err) ||
        !journal_entry_decode(plain.data, plain.bytes, &entry, err))
        return err_wrap(err, "journal");
    return job->each(job->ctx, &entry, err);
}

bool cycle_store_each_journal(const struct cycle_store *cs, uint64_t cycle,
                              bool (*each)(void *ctx, struct journal_entry *entry,
                                           struct err *err),
                              void *ctx, struct err *err)
{
    char prefix[NAMES_MAX];
    struct each_entry job = {.cs = cs, .each = each, .ctx = ctx};
    name_journal_prefix(cs->machine, cycle, prefix);
    return store_list(cs->store, prefix, load_entry, &job, err);
}

bool cycle_store_put_replica(const struct cycle_store *cs,
                             const struct replica_state *state, struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_replica(cs->machine, name);
    replica_state_encode(state, &plain);
    return sealed_put(cs->store, cs->data_key, SEALED_REPLICA, name, &plain, err) ||
           err_wrap(err, "replica state");
}

bool cycle_store_get_replica(const struct cycle_store *cs, struct replica_state *ret,
                             struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    struct err why = ERR_INIT;
    *ret = (struct replica_state){.machine = *cs->machine};
    name_replica(cs->machine, name);
    if (sealed_get(cs->store, cs->data_key, SEALED_REPLICA, name, &plain, &why))
        return replica_state_decode(plain.data, plain.bytes, ret, err);
    if (why.kind == FAIL_GONE)
        return true;
    *err = why;
    return err_wrap(err, "replica state");
}
