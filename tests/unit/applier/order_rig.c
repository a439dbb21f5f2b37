/* SPDX-License-Identifier: Apache-2.0 */
#include "order_rig.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct order_seen order_seen;

void order_must(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s", err->text);
}

/* ---- the target ---- */

static bool held_up(const struct cancel *cancel, struct err *err)
{
    while (atomic_load(&order_seen.hold))
        if (!cancel_sleep_ms(cancel, 2, err)) {
            atomic_store(&order_seen.was_canceled, true);
            return false;
        }
    return true;
}

static bool check(struct target *target, const struct machine_def *machine,
                  struct findings *findings, struct err *err)
{
    (void)target, (void)err;
    struct finding *f = findings_add(findings, FINDING_WARNING, "room.little");
    (void)snprintf(f->what, sizeof f->what, "machine '%s'", machine ? machine->name : "");
    (void)snprintf(f->why, sizeof f->why, "little room");
    (void)snprintf(f->remedy, sizeof f->remedy, "make some");
    return true;
}

static bool create(struct target *target, const struct machine_def *machine,
                   struct err *err)
{
    (void)target;
    unsigned now = atomic_fetch_add(&order_seen.running, 1) + 1;
    if (now > atomic_load(&order_seen.most_running))
        atomic_store(&order_seen.most_running, now);
    bool ok = held_up(NULL, err);
    atomic_fetch_sub(&order_seen.running, 1);
    atomic_fetch_add(&order_seen.created, 1);
    if (strcmp(machine->name, "full") == 0)
        return err_set(err, FAIL_NO_SPACE, "no room for '%s'", machine->name);
    return ok;
}

static bool test_start(struct target *target, const struct machine_def *machine,
                       const struct test_options *options, const struct cancel *cancel,
                       struct vm_info *ret, struct err *err)
{
    (void)target, (void)machine;
    atomic_fetch_add(&order_seen.tests, 1);
    options->on_cloned(options->on_cloned_ctx);
    if (!held_up(cancel, err))
        return false;
    *ret = (struct vm_info){.boot_ms = 7, .disk_count = 1};
    (void)snprintf(ret->name, sizeof ret->name, "m-%s", options->test_name);
    (void)snprintf(ret->disk_paths[0], sizeof ret->disk_paths[0], "/clone");
    return true;
}

static bool test_cleanup(struct target *target, const struct machine_def *machine,
                         const char *test_name, struct err *err)
{
    (void)target, (void)machine, (void)test_name, (void)err;
    atomic_fetch_add(&order_seen.cleaned, 1);
    return true;
}

static bool remove_it(struct target *target, const struct machine_def *machine,
                      struct err *err)
{
    (void)target, (void)machine, (void)err;
    atomic_fetch_add(&order_seen.removed, 1);
    return true;
}

static bool list(struct target *target, target_each each, void *ctx, struct err *err)
{
    struct machine_def machine = {.name = "m1", .cpus = 1, .memory_bytes = 1};
    (void)target;
    machine.id = id_random();
    atomic_fetch_add(&order_seen.listed, 1);
    return each(ctx, &(struct target_item){.machine = &machine}, err) &&
           each(ctx, &(struct target_item){.machine = &machine, .test_name = "t1"}, err);
}

static bool inventory(struct target *target, target_each_thing each, void *ctx,
                      struct err *err)
{
    (void)target;
    return each(ctx,
                &(struct target_thing){.kind = "disk",
                                       .name = "m1-disk0",
                                       .id = "/disks/0",
                                       .machine = "m1",
                                       .machine_id = "",
                                       .role = "replica",
                                       .state = "",
                                       .size_bytes = 512,
                                       .is_known = true},
                err);
}

static void close_it(struct target *target)
{
    free(target);
}

static const struct target_ops NOTED_OPS = {.kind = "noted",
                                            .check = check,
                                            .replica_create = create,
                                            .test_start = test_start,
                                            .test_cleanup = test_cleanup,
                                            .remove = remove_it,
                                            .list = list,
                                            .inventory = inventory,
                                            .close = close_it};

static struct target *open_noted(const char *name, const char *kind,
                                 const json_t *options, const char *data_dir,
                                 struct err *err)
{
    (void)name, (void)data_dir;
    if (strcmp(kind, "noted") != 0 || !json_object_get(options, "dir")) {
        (void)err_set(err, FAIL_INPUT, "kind '%s' is not noted", kind);
        return NULL;
    }
    struct target *target = xcalloc(1, sizeof *target);
    target->ops = &NOTED_OPS;
    atomic_fetch_add(&order_seen.opened, 1);
    return target;
}

/* ---- the rig ---- */

int order_rig_set_up(void **state)
{
    struct order_rig *rig = xcalloc(1, sizeof *rig);
    struct err err = ERR_INIT;
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/kedge-orders-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    AUTO(free) char *key = file_join(rig->dir, "master.key");
    memset(&order_seen, 0, sizeof order_seen);
    order_must(keys_file_create(key, &err), &err);
    rig->keys = keys_file_open(key, &err);
    order_must(rig->keys != NULL, &err);
    rig->store = store_memory_new();
    const struct order_desk_options options = {
        .store = rig->store, .keys = rig->keys, .brief_ms = 20000};
    rig->desk = order_desk_open(&options, &err);
    order_must(rig->desk != NULL, &err);
    AUTO(json_free) json_t *target = json_object();
    json_put_text(target, "dir", "/somewhere");
    rig->target = target_remote_new(rig->desk, APPLIER_NAME, "cloud", "noted", target);
    rig->machine = (struct machine_def){
        .name = "m1", .cpus = 1, .memory_bytes = MIB, .disk_count = 1};
    rig->machine.id = id_random();
    rig->machine.disks[0].disk_bytes = MIB;
    (void)snprintf(rig->machine.disks[0].label, sizeof rig->machine.disks[0].label, "d");
    *state = rig;
    return 0;
}

int order_rig_tear_down(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    target_close(rig->target);
    order_desk_stop(rig->desk);
    order_desk_close(rig->desk);
    keys_close(rig->keys);
    store_close(rig->store);
    order_must(file_remove_tree(rig->dir, &err), &err);
    free(rig);
    return 0;
}

struct order_taker *order_rig_taker(struct order_rig *rig, const char *name,
                                    struct store *store, uint64_t lease_ms)
{
    struct err err = ERR_INIT;
    AUTO(free) char *dir = file_join(rig->dir, name);
    order_must(file_make_dirs(dir, &err), &err);
    const struct order_taker_options options = {.applier = APPLIER_NAME,
                                                .data_dir = dir,
                                                .log_store = rig->store,
                                                .state_store = store,
                                                .keys = rig->keys,
                                                .lease_ms = lease_ms,
                                                .open_target = open_noted};
    struct order_taker *taker = order_taker_start(&options, &err);
    order_must(taker != NULL, &err);
    return taker;
}

void order_rig_wait(const _Atomic unsigned *counter, unsigned at_least)
{
    uint64_t until_ms = clock_mono_ms() + 60000;
    while (atomic_load(counter) < at_least && clock_mono_ms() < until_ms)
        clock_sleep_ms(2);
    assert_true(atomic_load(counter) >= at_least);
}

static void *call_main(void *ctx)
{
    struct order_call *call = ctx;
    struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = {.test_name = "t1",
                                   .network = "isolated",
                                   .marker = "",
                                   .start = true,
                                   .boot_deadline_ms = 1000};
    call->ok = call->is_test
                   ? target_test_start(call->target, call->machine, &options,
                                       &call->cancel, info, &call->err)
                   : target_replica_create(call->target, call->machine, &call->err);
    free(info);
    return NULL;
}

void order_call_begin(struct order_rig *rig, struct order_call *call, bool is_test)
{
    *call = (struct order_call){
        .target = rig->target, .machine = &rig->machine, .is_test = is_test};
    cancel_init(&call->cancel);
    assert_int_equal(pthread_create(&call->thread, NULL, call_main, call), 0);
}

void order_call_end(struct order_call *call)
{
    assert_int_equal(pthread_join(call->thread, NULL), 0);
    cancel_release(&call->cancel);
}
