/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without snapshots of ours and without disks that wait for consolidation: how
 * every cycle begins and ends. What is ours is told by name and description together,
 * read from the server each time, so a crash at any instant leaves nothing that a later
 * run would not find, and nobody else's snapshot is ever touched.
 *
 * A removal that is lost on the way (nobody answered), is refused because another task
 * runs, or leaves disks to consolidate because a file is still locked, is tried again
 * with growing pauses within the bound.
 */
#include "source/vsphere.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <inttypes.h>

#define OUR_TEXT       "Kedge replication of machine "
#define PAUSE_FIRST_MS 500
#define PAUSE_MAX_MS   15000

/* ---- whose ---- */

void vsphere_snapshot_name(struct vsphere_snapshot *snapshot)
{
    char nonce[9];
    struct id random = id_random();
    text_hex(random.bytes, 4, nonce);
    (void)snprintf(snapshot->name, sizeof snapshot->name,
                   VSPHERE_OUR_PREFIX "%" PRIu64 "-%s", snapshot->cycle, nonce);
}

void vsphere_snapshot_describe(const struct vsphere_snapshot *snapshot, char *out,
                               size_t out_bytes)
{
    char id[ID_TEXT_BYTES];
    (void)snprintf(out, out_bytes,
                   OUR_TEXT "%s, cycle %" PRIu64
                            ". Kedge removes it when the cycle has ended; do not revert "
                            "to it.",
                   id_text(&snapshot->machine_id, id), snapshot->cycle);
}

bool vsphere_snapshot_is_kedge(const struct vim_snapshot *snapshot)
{
    return text_starts_with(snapshot->name, VSPHERE_OUR_PREFIX) &&
           text_starts_with(snapshot->description, OUR_TEXT);
}

bool vsphere_snapshot_is_ours(const struct vim_snapshot *snapshot,
                              const struct id *machine_id)
{
    char id[ID_TEXT_BYTES];
    return vsphere_snapshot_is_kedge(snapshot) &&
           text_starts_with(snapshot->description + strlen(OUR_TEXT),
                            id_text(machine_id, id));
}

/* ---- one attempt ---- */

static bool remove_one(const struct vsphere_rest *rest,
                       const struct vim_snapshot *snapshot, struct err *err)
{
    struct vim_wait wait = {.deadline_ms = VSPHERE_MERGE_MS, .cancel = rest->cancel};
    log_debug("vsphere_snapshot_remove", "vm=%s snapshot=%s name=%s", rest->vm->id,
              snapshot->ref.id, snapshot->name);
    if (vim_snapshot_remove(rest->vim, &snapshot->ref, &wait, err))
        return true;
    if (err->kind == FAIL_GONE) {
        err_clear(err);
        return true;
    }
    return err_wrap(err, "remove snapshot '%s'", snapshot->name);
}

static bool remove_ours(const struct vsphere_rest *rest,
                        const struct vim_machine *machine, struct err *err)
{
    for (size_t i = 0; i < machine->snapshot_count; i++) {
        const struct vim_snapshot *snapshot = &machine->snapshots[i];
        if (!vsphere_snapshot_is_ours(snapshot, rest->machine_id) ||
            (rest->keep && vim_ref_equal(rest->keep, &snapshot->ref)))
            continue;
        if (!remove_one(rest, snapshot, err))
            return false;
    }
    return true;
}

static bool consolidate(const struct vsphere_rest *rest, struct err *err)
{
    struct vim_state state;
    struct vim_wait wait = {.deadline_ms = VSPHERE_MERGE_MS, .cancel = rest->cancel};
    if (!vim_state_get(rest->vim, rest->vm, rest->cancel, &state, err))
        return false;
    if (!state.is_consolidation_needed)
        return true;
    log_debug("vsphere_consolidate", "vm=%s", rest->vm->id);
    return vim_consolidate(rest->vim, rest->vm, &wait, err) ||
           err_wrap(err, "consolidate the disks");
}

static bool attempt(const struct vsphere_rest *rest, struct err *err)
{
    AUTO(vim_machine_free)
    struct vim_machine *machine = vim_machine_get(rest->vim, rest->vm, rest->cancel, err);
    return machine && remove_ours(rest, machine, err) && consolidate(rest, err);
}

/* Whether trying again can help. */
static bool may_pass(enum err_kind kind)
{
    return kind != FAIL_AUTH && kind != FAIL_CANCELED && kind != FAIL_INPUT &&
           kind != FAIL_BUG;
}

bool vsphere_come_to_rest(const struct vsphere_rest *rest, struct err *err)
{
    uint64_t begin_ms = clock_mono_ms(), pause_ms = PAUSE_FIRST_MS;
    for (;;) {
        struct err why = ERR_INIT;
        if (attempt(rest, &why) || why.kind == FAIL_GONE)
            return true; /* a machine that is gone took its snapshots with it */
        uint64_t past_ms = clock_mono_ms() - begin_ms;
        if (!may_pass(why.kind) || past_ms + pause_ms >= rest->deadline_ms) {
            *err = why;
            return err_hint(err, "the next cycle tries again; or delete the snapshot and "
                                 "consolidate the disks in the vSphere client");
        }
        uint64_t wait_ms = MAX_OF(pause_ms, (uint64_t)why.retry_after_ms);
        log_debug("vsphere_rest_again", "vm=%s pause_ms=%" PRIu64 " text=\"%s\"",
                  rest->vm->id, wait_ms, why.text);
        if (!cancel_sleep_ms(rest->cancel, wait_ms, err))
            return false;
        pause_ms = MIN_OF(2 * pause_ms, (uint64_t)PAUSE_MAX_MS);
    }
}
