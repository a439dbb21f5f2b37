/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a step needs to touch a machine's data: the unwrapped data key, the
 * open source (this step's alone) and target, and the contexts of gateway and applier.
 * Opened per step, so that a source or a key that came back is seen by the next try, and
 * the key is in memory only while it is used.
 */
#include <stdlib.h>
#include <string.h>

#include "applier/target_remote.h"
#include "base/file.h"
#include "vault/policy.h"

static void fill_contexts(struct work *work, struct machine_io *io)
{
    struct vault *vault = io->vault;
    uint64_t known_point;
    {
        LOCK_GUARD(&vault->lock);
        known_point = io->machine->recovery_cycle;
    }
    io->cycle = (struct cycle_context){
        .machine = io->def,
        .data_key = io->key,
        .key_id = io->key_id,
        .source = io->source,
        .log_store = io->log_view ? io->log_view : vault->log_store,
        .state_store = io->state_view ? io->state_view : vault->state_store,
        .map_dir = io->map_dir,
        .throttle = policy_is_paced(vault) ? NULL : vault->throttle,
        .cancel = &work->cancel,
        .progress = &work->machine->watch.progress,
        .options = vault->cycle_options,
    };
    io->apply = (struct apply_context){
        .machine = io->def,
        .data_key = io->key,
        .target = io->target,
        .log_store = io->cycle.log_store,
        .state_store = io->cycle.state_store,
        .cancel = &work->cancel,
        .progress = &work->machine->watch.applied,
        .workers = vault->cycle_options.workers,
        .known_point = known_point,
    };
}

static bool open_key(struct machine_io *io, struct err *err)
{
    struct machine *machine = io->machine;
    char wrapped[KEYS_WRAPPED_MAX];
    bool is_as_it_was = false;
    while (!io->key && !is_as_it_was) {
        struct err why = ERR_INIT;
        {
            LOCK_GUARD(&io->vault->lock);
            memcpy(wrapped, machine->key_wrapped, sizeof wrapped);
        }
        io->key = keys_unwrap(io->vault->keys, &machine->id, wrapped, &io->key_id, &why);
        /* Unless it was wrapped anew meanwhile and its master is gone. */
        LOCK_GUARD(&io->vault->lock);
        is_as_it_was = strcmp(wrapped, machine->key_wrapped) == 0;
        if (!io->key && is_as_it_was)
            *err = why;
    }
    return io->key != NULL;
}

bool machine_io_open(struct work *work, unsigned needs, struct machine_io *ret,
                     struct err *err)
{
    struct vault *vault = work->vault;
    struct machine *machine = work->machine;
    char id[ID_TEXT_BYTES];
    *ret = (struct machine_io){.vault = vault, .machine = machine};
    ret->def = machine_def_copy(vault, machine);
    AUTO(free) char *maps = file_join(vault->data_dir, "maps");
    ret->map_dir = file_join(maps, id_text(&machine->id, id));
    if (needs & IO_KEY && !open_key(ret, err))
        return err_wrap(err, "data key of machine '%s'", machine->name);
    if (needs & IO_TARGET) {
        ret->target = ends_target(vault, machine->target, err);
        if (!ret->target)
            return false;
        ret->is_remote = target_remote_applier(ret->target) != NULL;
    }
    if (needs & IO_SOURCE) {
        ret->source = ends_source_take(vault, machine->source, 0, &work->cancel, err);
        if (!ret->source)
            return false;
    }
    ret->log_view = store_view(vault->log_store, &work->cancel);
    ret->state_view = store_view(vault->state_store, &work->cancel);
    fill_contexts(work, ret);
    return true;
}

void machine_io_close(struct machine_io *io)
{
    if (io->source)
        ends_source_give(io->vault, io->machine->source, io->source);
    store_close(io->log_view);
    store_close(io->state_view);
    secret_free(io->key);
    free(io->map_dir);
    free(io->def);
    *io = (struct machine_io){0};
}

static struct remote_apply remote_apply_of(struct machine_io *io)
{
    LOCK_GUARD(&io->vault->lock);
    memcpy(io->key_wrapped, io->machine->key_wrapped, sizeof io->key_wrapped);
    return (struct remote_apply){.context = &io->apply, .key_wrapped = io->key_wrapped};
}

bool replica_recover(struct machine_io *io, struct err *err)
{
    struct remote_apply remote = remote_apply_of(io);
    return io->is_remote ? target_remote_recover(&remote, &io->is_open, err)
                         : apply_recover(&io->apply, err);
}

bool replica_apply(struct machine_io *io, uint64_t cycle, struct err *err)
{
    struct remote_apply remote = remote_apply_of(io);
    return io->is_remote ? target_remote_cycle(&remote, cycle, &io->is_open, err)
                         : apply_cycle(&io->apply, cycle, err);
}

bool replica_make_whole(struct machine_io *io, struct err *err)
{
    struct replica_state state;
    if (!replica_recover(io, err))
        return err_wrap(err, "finish the interrupted cycle");
    if (!apply_state_get(&io->apply, &state, err))
        return false;
    if (state.recovery_point == 0)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' has no recovery point; ask for sync first",
                       io->machine->name);
    if (state.doubt || state.applying)
        return err_set(err, FAIL_CONFLICT,
                       "the replica of machine '%s' holds a part of cycle %llu; ask for "
                       "sync to make it whole",
                       io->machine->name,
                       (unsigned long long)(state.doubt ? state.doubt : state.applying));
    return true;
}
