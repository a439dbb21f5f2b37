/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An initial cycle applied while it is sent. Nothing is lost by it: there is no recovery
 * point to keep, and until the commit the whole plan is in doubt. Applying a segment
 * twice (after a resume) is harmless within one plan: records of a cycle never overlap.
 *
 * A dead initial cycle (its snapshot is gone) leaves on the replica what it had applied,
 * but nobody knows how much: workers stop in mid queue, and a power cut takes what was
 * not flushed. Its journal and segments are still there, so they are applied once more
 * (A5); then the replica holds what the journal says, and the gateway may skip what is
 * equal.
 */
#include "applier/applier.h"

#include "applier/crew.h"
#include "applier/objects.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdatomic.h>

struct apply_stream {
    const struct apply_context *context;
    const struct plan *plan;
    struct crew *crew;
    struct manifest_sum pushed; /* what the crew was given */
    uint64_t carried;           /* dead cycle whose journal is on the replica; 0: none */
};

static void stream_free(struct apply_stream *stream)
{
    if (!stream)
        return;
    crew_cancel(stream->crew);
    free(stream);
}
AUTO_CLEANUP(struct apply_stream, stream_free);

static bool push_entry(void *ctx, struct journal_entry *entry, struct err *err)
{
    struct manifest_segment segment = journal_entry_segment(entry);
    return crew_push(ctx, &segment, err);
}

/* A5 */
static bool redo_journal(const struct apply_context *context, const struct plan *plan,
                         struct err *err)
{
    struct cycle_store state_store = apply_state_store(context);
    struct crew *crew = crew_start(context, plan, CREW_WRITE, err);
    if (!crew)
        return false;
    if (!cycle_store_each_journal(&state_store, plan->cycle, push_entry, crew, err)) {
        crew_cancel(crew);
        return false;
    }
    return crew_finish(crew, false, err);
}

static bool carry(const struct apply_context *context, uint64_t dead,
                  uint64_t *ret_carried, struct err *err)
{
    AUTO(plan_release) struct plan plan = {0};
    struct cycle_store state_store = apply_state_store(context);
    struct err why = ERR_INIT;
    if (!cycle_store_get_plan(&state_store, dead, &plan, err))
        return false;
    if (!plan_is_of(&plan, context->machine))
        return true;
    if (redo_journal(context, &plan, &why)) {
        *ret_carried = dead;
        return true;
    }
    if (why.kind != FAIL_CORRUPT && why.kind != FAIL_CONFLICT) {
        *err = why;
        return err_wrap(err, "take over what cycle %" PRIu64 " had sent", dead);
    }
    char quoted[LOG_QUOTED_BYTES];
    log_warn("carry_lost", "machine=%s cycle=%" PRIu64 " text=%s", context->machine->name,
             dead, log_quote(why.text, quoted));
    return true;
}

bool apply_stream_open(const struct apply_context *context, const struct plan *plan,
                       struct apply_stream **ret, struct err *err)
{
    AUTO(stream_free) struct apply_stream *stream = xcalloc(1, sizeof *stream);
    struct replica_state state;
    if (!apply_state_get(context, &state, err))
        return false;
    if (state.recovery_point || state.applying)
        return err_set(
            err, FAIL_CONFLICT,
            "the replica has a recovery point; only an initial cycle may stream");
    if (state.doubt && state.doubt != plan->cycle &&
        !carry(context, state.doubt, &stream->carried, err))
        return false;
    objects_reset_progress(context->progress);
    if (state.doubt != plan->cycle) {
        state.doubt = plan->cycle;
        if (!objects_put_state(context, &state, err))
            return err_wrap(err, "replica state");
    }
    stream->context = context;
    stream->plan = plan;
    stream->crew = crew_start(context, plan, CREW_WRITE, err);
    if (!stream->crew)
        return false;
    *ret = TAKE(stream);
    return true;
}

uint64_t apply_stream_carried(const struct apply_stream *stream)
{
    return stream->carried;
}

bool apply_stream_push(struct apply_stream *stream,
                       const struct manifest_segment *segment, struct err *err)
{
    manifest_sum_add(&stream->pushed, segment);
    return crew_push(stream->crew, segment, err);
}

/* What the manifest lists must be what was pushed. */
static bool check_manifest(struct apply_stream *stream, struct err *err)
{
    const struct apply_context *context = stream->context;
    AUTO(manifest_release) struct manifest manifest = {0};
    struct cycle_store log_store = apply_log_store(context);
    if (!cycle_store_get_manifest(&log_store, stream->plan->cycle, &manifest, err))
        return false;
    atomic_store(&context->progress->segments_total, manifest.segment_count);
    struct manifest_sum listed = {0};
    for (size_t i = 0; i < manifest.segment_count; i++)
        manifest_sum_add(&listed, &manifest.segments[i]);
    bool is_same = listed.count == stream->pushed.count &&
                   listed.low == stream->pushed.low && listed.high == stream->pushed.high;
    if (!is_same)
        return err_set(err, FAIL_CORRUPT,
                       "the manifest lists %" PRIu64 " segments, %" PRIu64
                       " were applied, or others",
                       listed.count, stream->pushed.count);
    return true;
}

bool apply_stream_finish(struct apply_stream *stream, struct err *err)
{
    AUTO(stream_free) __attribute__((unused)) struct apply_stream *owned = stream;
    struct replica_state state;
    if (!crew_finish(TAKE(stream->crew), true, err) || !check_manifest(stream, err) ||
        !apply_state_get(stream->context, &state, err))
        return err_wrap(err, "apply the initial cycle");
    return objects_commit(stream->context, &state, stream->plan, err);
}

void apply_stream_cancel(struct apply_stream *stream)
{
    stream_free(stream);
}
