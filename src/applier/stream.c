/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An initial cycle applied while it is sent. Nothing is lost by it: there is no recovery
 * point to keep, and until the commit the whole plan is in doubt. Applying a segment
 * twice (after a resume) is harmless within one plan: records of a cycle never overlap.
 */
#include "applier/applier.h"

#include "applier/crew.h"
#include "applier/objects.h"

#include <stdatomic.h>

struct apply_stream {
    const struct apply_context *context;
    const struct plan *plan;
    struct crew *crew;
    struct manifest pushed; /* what the crew was given */
};

static void stream_free(struct apply_stream *stream)
{
    if (!stream)
        return;
    crew_cancel(stream->crew);
    manifest_release(&stream->pushed);
    free(stream);
}
AUTO_CLEANUP(struct apply_stream, stream_free);

bool apply_stream_open(const struct apply_context *context, const struct plan *plan,
                       struct apply_stream **ret, struct err *err)
{
    AUTO(stream_free) struct apply_stream *stream = xcalloc(1, sizeof *stream);
    struct replica_state state;
    objects_reset_progress(context->progress);
    if (!apply_state_get(context, &state, err))
        return false;
    if (state.recovery_point || state.applying)
        return err_set(
            err, FAIL_CONFLICT,
            "the replica has a recovery point; only an initial cycle may stream");
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

bool apply_stream_push(struct apply_stream *stream,
                       const struct manifest_segment *segment, struct err *err)
{
    manifest_add(&stream->pushed, segment);
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
    manifest_sort(&manifest);
    bool is_same = manifest.segment_count == stream->pushed.segment_count;
    for (size_t i = 0; is_same && i < stream->pushed.segment_count; i++) {
        const struct manifest_segment *mine = &stream->pushed.segments[i];
        const struct manifest_segment *listed =
            manifest_find(&manifest, mine->disk_index, mine->seq);
        is_same = listed && memcmp(listed->tag, mine->tag, SEAL_TAG_BYTES) == 0;
    }
    if (!is_same)
        return err_set(err, FAIL_CORRUPT,
                       "the manifest lists %zu segments, %zu were applied",
                       manifest.segment_count, stream->pushed.segment_count);
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
