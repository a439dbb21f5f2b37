/* SPDX-License-Identifier: Apache-2.0 */
/* Orders between a vault and its appliers: given, done, canceled, taken over; and what
 * must never be done twice. */
#include "order_rig.h"

#include "base/clock.h"

#include <stdlib.h>

static void is_done_and_leaves_nothing(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    AUTO(findings_release) struct findings findings = {0};
    order_must(target_remote_prove(rig->target, &err), &err);
    order_must(target_check(rig->target, &rig->machine, &findings, &err), &err);
    assert_int_equal(findings.count, 1);
    assert_string_equal(findings.items[0].code, "room.little");
    assert_string_equal(findings.items[0].what, "machine 'm1'");
    order_must(target_replica_create(rig->target, &rig->machine, &err), &err);
    assert_int_equal(order_seen.created, 1);
    assert_int_equal(order_seen.opened, 1); /* kept open between orders */

    /* Its failure is ours, with its kind. */
    struct machine_def full = rig->machine;
    full.id = id_random();
    (void)snprintf(full.name, sizeof full.name, "full");
    assert_false(target_replica_create(rig->target, &full, &err));
    assert_int_equal(err.kind, FAIL_NO_SPACE);
    assert_non_null(strstr(err.text, "applier 'east': no room for 'full'"));
    order_taker_stop(taker);

    AUTO(order_mail_close)
    struct order_mail *mail = order_mail_open(APPLIER_NAME, rig->store, rig->keys, &err);
    struct order_listing *listing = xcalloc(1, sizeof *listing);
    order_must(order_mail_list(mail, listing, &err), &err);
    for (int box = 0; box < BOX_COUNT; box++)
        assert_int_equal(listing->count[box], 0);
    free(listing);
}

static bool count_item(void *ctx, const struct target_item *item, struct err *err)
{
    (void)err;
    assert_string_equal(item->machine->name, "m1");
    *(unsigned *)ctx += item->test_name ? 10 : 1;
    return true;
}

static void brings_back_what_a_target_holds(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    unsigned count = 0;
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    order_must(target_list(rig->target, count_item, &count, &err), &err);
    assert_int_equal(count, 11);
    order_taker_stop(taker);
}

static bool note_thing(void *ctx, const struct target_thing *thing, struct err *err)
{
    (void)err;
    assert_string_equal(thing->id, "/disks/0");
    assert_int_equal(thing->size_bytes, 512);
    assert_true(thing->is_known);
    ++*(unsigned *)ctx;
    return true;
}

static void brings_back_what_exists_there(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    unsigned count = 0;
    AUTO(findings_release) struct findings findings = {0};
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    order_must(target_inventory(rig->target, note_thing, &count, &err), &err);
    assert_int_equal(count, 1);
    /* Of the target alone. */
    order_must(target_check(rig->target, NULL, &findings, &err), &err);
    assert_string_equal(findings.items[0].what, "machine ''");
    order_taker_stop(taker);
}

static void a_disk_cannot_be_opened_here(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    struct replica_disk *disk = NULL;
    assert_false(target_disk_open(rig->target, &rig->machine, 0, false, &disk, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
}

static void cancel_reaches_the_work(void **state)
{
    struct order_rig *rig = *state;
    struct order_call call;
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    atomic_store(&order_seen.hold, true);
    order_call_begin(rig, &call, true);
    order_rig_wait(&order_seen.tests, 1);
    cancel_set(&call.cancel);
    order_call_end(&call);
    assert_false(call.ok);
    assert_int_equal(call.err.kind, FAIL_CANCELED);
    assert_true(order_seen.was_canceled);
    order_taker_stop(taker);
}

static void two_of_one_name_do_it_once(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    struct order_taker *takers[2] = {order_rig_taker(rig, "a", rig->store, 0),
                                     order_rig_taker(rig, "b", rig->store, 0)};
    for (unsigned i = 1; i <= 20; i++) {
        order_must(target_replica_create(rig->target, &rig->machine, &err), &err);
        assert_int_equal(order_seen.created, i);
    }
    assert_int_equal(order_seen.most_running, 1);
    order_taker_stop(takers[0]);
    order_must(target_replica_create(rig->target, &rig->machine, &err), &err);
    order_taker_stop(takers[1]);
    assert_int_equal(order_seen.created, 21);
}

/* A way to the rig's store that can be cut. */
struct cut_store {
    struct store base;
    struct store *inner;
    _Atomic bool is_cut;
};

static bool is_cut(struct store *store, struct store **ret_inner, struct err *err)
{
    struct cut_store *cut = (struct cut_store *)store;
    *ret_inner = cut->inner;
    return atomic_load(&cut->is_cut) && !err_set(err, FAIL_TRANSIENT, "the way is cut");
}

static bool cut_put(struct store *store, const char *name, const uint8_t *data,
                    size_t data_bytes, enum store_put_mode mode, struct err *err)
{
    return !is_cut(store, &store, err) &&
           store_put(store, name, data, data_bytes, mode, err);
}

static bool cut_get(struct store *store, const char *name, uint64_t offset_bytes,
                    uint8_t *data, size_t data_bytes, size_t *ret_bytes, struct err *err)
{
    return !is_cut(store, &store, err) &&
           store_get(store, name, offset_bytes, data, data_bytes, ret_bytes, err);
}

static bool cut_size(struct store *store, const char *name, uint64_t *ret_bytes,
                     struct err *err)
{
    return !is_cut(store, &store, err) && store_size(store, name, ret_bytes, err);
}

static bool cut_list(struct store *store, const char *prefix,
                     bool (*each)(void *ctx, const char *name, uint64_t bytes,
                                  struct err *err),
                     void *ctx, struct err *err)
{
    return !is_cut(store, &store, err) && store_list(store, prefix, each, ctx, err);
}

static bool cut_remove(struct store *store, const char *name, struct err *err)
{
    return !is_cut(store, &store, err) && store_remove(store, name, err);
}

static const struct store_ops CUT_OPS = {.kind = "cut",
                                         .put = cut_put,
                                         .get = cut_get,
                                         .size = cut_size,
                                         .list = cut_list,
                                         .remove = cut_remove};

/* The store is out of the first one's reach: it stops by itself, and the second one goes
 * on, the first one's result does not count. */
static void lease_is_taken_over(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    struct cut_store way = {.base.ops = &CUT_OPS, .inner = rig->store};
    struct order_call call;
    struct order_taker *first = order_rig_taker(rig, "a", &way.base, 3000);
    order_must(target_remote_prove(rig->target, &err), &err);
    atomic_store(&order_seen.hold, true);
    order_call_begin(rig, &call, true);
    order_rig_wait(&order_seen.tests, 1);
    struct order_taker *second = order_rig_taker(rig, "b", rig->store, 3000);
    atomic_store(&way.is_cut, true);
    /* A test is not begun again: it ends at the first one, and an error says why. */
    order_call_end(&call);
    assert_false(call.ok);
    assert_int_equal(call.err.kind, FAIL_CONFLICT);
    assert_true(order_seen.was_canceled);
    assert_int_equal(order_seen.tests, 1);
    atomic_store(&order_seen.hold, false);
    order_must(target_replica_create(rig->target, &rig->machine, &err), &err);
    assert_true(order_seen.created >= 1);

    /* Back in reach it is a new instance, and takes over in its turn. */
    atomic_store(&way.is_cut, false);
    order_taker_stop(second);
    order_must(target_replica_create(rig->target, &rig->machine, &err), &err);
    order_taker_stop(first);
}

/* Work that goes on is given again to whoever takes over. */
static void work_is_taken_over(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    struct cut_store way = {.base.ops = &CUT_OPS, .inner = rig->store};
    struct order_call call;
    struct order_taker *first = order_rig_taker(rig, "a", &way.base, 3000);
    order_must(target_remote_prove(rig->target, &err), &err);
    atomic_store(&order_seen.hold, true);
    order_call_begin(rig, &call, false);
    order_rig_wait(&order_seen.running, 1);
    struct order_taker *second = order_rig_taker(rig, "b", rig->store, 3000);
    atomic_store(&way.is_cut, true);
    order_rig_wait(&order_seen.running, 2);
    atomic_store(&order_seen.hold, false);
    order_call_end(&call);
    order_must(call.ok, &call.err);
    order_taker_stop(second);
    atomic_store(&way.is_cut, false);
    order_taker_stop(first);
}

static void a_test_is_not_begun_again_elsewhere(void **state)
{
    struct order_rig *rig = *state;
    struct order_call call;
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    atomic_store(&order_seen.hold, true);
    order_call_begin(rig, &call, true);
    order_rig_wait(&order_seen.tests, 1);
    order_taker_stop(taker);
    taker = order_rig_taker(rig, "a", rig->store, 0);
    order_call_end(&call);
    assert_false(call.ok);
    assert_int_equal(call.err.kind, FAIL_CONFLICT);
    assert_int_equal(order_seen.tests, 1);
    order_taker_stop(taker);
}

static void another_start_goes_on(void **state)
{
    struct order_rig *rig = *state;
    struct order_call call;
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    atomic_store(&order_seen.hold, true);
    order_call_begin(rig, &call, false);
    order_rig_wait(&order_seen.running, 1);
    atomic_store(&order_seen.hold, false); /* a create cannot be canceled */
    order_taker_stop(taker);
    /* It may have answered, or not: then the next one does it again. */
    taker = order_rig_taker(rig, "a", rig->store, 0);
    order_call_end(&call);
    order_must(call.ok, &call.err);
    order_taker_stop(taker);
}

/* What the one before had asked for ends before anything new begins for the machine. */
static void the_vault_was_started_anew(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    struct order_call before, after;
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    atomic_store(&order_seen.hold, true);
    order_call_begin(rig, &before, false);
    order_rig_wait(&order_seen.running, 1);

    const struct order_desk_options options = {.store = rig->store, .keys = rig->keys};
    struct order_desk *desk = order_desk_open(&options, &err);
    AUTO(json_free) json_t *of = json_object();
    json_put_text(of, "dir", "/somewhere");
    struct target *target = target_remote_new(desk, APPLIER_NAME, "cloud", "noted", of);
    struct target *first = rig->target;
    rig->target = target;
    order_call_begin(rig, &after, false);
    for (int i = 0; i < 3; i++) /* what is of no machine goes on meanwhile */
        order_must(target_remote_prove(target, &err), &err);
    assert_int_equal(order_seen.running, 1);
    atomic_store(&order_seen.hold, false);
    order_call_end(&after);
    order_must(after.ok, &after.err);
    assert_int_equal(order_seen.most_running, 1);
    assert_int_equal(order_seen.created, 2);

    /* Nobody answers the dead one. */
    order_desk_stop(rig->desk);
    order_taker_stop(taker);
    order_call_end(&before);
    assert_int_equal(before.err.kind, FAIL_CANCELED);
    target_close(target);
    order_desk_stop(desk);
    order_desk_close(desk);
    rig->target = first;
}

static void nobody_there(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    const struct order_desk_options options = {.store = rig->store,
                                               .keys = rig->keys,
                                               .lost_ms = 1,
                                               .give_up_ms = 300,
                                               .brief_ms = 300};
    struct order_desk *desk = order_desk_open(&options, &err);
    AUTO(json_free) json_t *of = json_object();
    struct target *target = target_remote_new(desk, "west", "cloud", "noted", of);
    assert_false(target_remote_prove(target, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    assert_non_null(strstr(err.text, "applier 'west' does not answer; "));
    assert_false(target_replica_create(target, &rig->machine, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    struct order_applier now;
    order_desk_look(desk, "west", &now);
    assert_false(now.is_seen);
    target_close(target);
    order_desk_close(desk);
}

/* ---- who controls the store ---- */

struct kept {
    char names[16][STORE_NAME_MAX];
    struct buf data[16];
    size_t count;
    struct store *store;
};

static bool keep_one(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct kept *kept = ctx;
    (void)bytes;
    if (kept->count == ARRAY_COUNT(kept->data))
        return true;
    (void)snprintf(kept->names[kept->count], STORE_NAME_MAX, "%s", name);
    struct err gone = ERR_INIT;
    (void)err;
    if (store_get_all(kept->store, name, MIB, &kept->data[kept->count], &gone))
        kept->count++;
    return true;
}

static void old_orders_do_nothing(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    struct kept *kept = xcalloc(1, sizeof *kept);
    struct order_call call;
    kept->store = rig->store;
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    atomic_store(&order_seen.hold, true);
    order_call_begin(rig, &call, false);
    order_rig_wait(&order_seen.running, 1);
    order_must(
        store_list(rig->store, "orders/" APPLIER_NAME "/order/", keep_one, kept, &err),
        &err);
    assert_int_equal(kept->count, 1);
    atomic_store(&order_seen.hold, false);
    order_call_end(&call);
    order_must(call.ok, &call.err);
    assert_int_equal(order_seen.created, 1);

    /* Put back: to the one that did it, and to one that was started since. Another order
     * proves each time that the boxes were looked into. */
    for (int again = 0; again < 2; again++) {
        order_must(store_put(rig->store, kept->names[0], kept->data[0].data,
                             kept->data[0].bytes, STORE_REPLACE, &err),
                   &err);
        for (int i = 0; i < 3; i++)
            order_must(target_remote_prove(rig->target, &err), &err);
        assert_int_equal(order_seen.created, 1);
        order_taker_stop(taker);
        taker = order_rig_taker(rig, "a", rig->store, 0);
    }
    order_taker_stop(taker);
    buf_release(&kept->data[0]);
    free(kept);
}

static void forged_orders_do_nothing(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf message = {0};
    AUTO(free) char *path = file_join(rig->dir, "other.key");
    order_must(keys_file_create(path, &err), &err);
    AUTO(keys_close) struct keys *other = keys_file_open(path, &err);
    /* Boxes of the same name under another master key, beside ours: their key does not
     * open what ours sealed, and the other way round. */
    AUTO(store_close) struct store *elsewhere = store_memory_new();
    AUTO(order_mail_close)
    struct order_mail *forger = order_mail_open(APPLIER_NAME, elsewhere, other, &err);
    struct order_taker *taker = order_rig_taker(rig, "a", rig->store, 0);
    order_must(target_remote_prove(rig->target, &err), &err);
    AUTO(order_release)
    struct order order = {.number = clock_wall_ms() + 100000, .what = ORDER_REMOVE};
    order.options = json_object();
    json_put_text(order.options, "dir", "/somewhere");
    (void)snprintf(order.kind, sizeof order.kind, "noted");
    order.def = xcalloc(1, sizeof *order.def);
    *order.def = rig->machine;
    order_encode(&order, &message);
    order_must(order_mail_put(forger, BOX_ORDER, order.number, &message, &err), &err);
    struct kept *kept = xcalloc(1, sizeof *kept);
    kept->store = elsewhere;
    order_must(
        store_list(elsewhere, "orders/" APPLIER_NAME "/order/", keep_one, kept, &err),
        &err);
    order_must(store_put(rig->store, kept->names[0], kept->data[0].data,
                         kept->data[0].bytes, STORE_REPLACE, &err),
               &err);
    for (int i = 0; i < 3; i++)
        order_must(target_remote_prove(rig->target, &err), &err);
    assert_int_equal(order_seen.removed, 0);
    assert_false(order_mail_open(APPLIER_NAME, rig->store, other, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    order_taker_stop(taker);
    buf_release(&kept->data[0]);
    free(kept);
}

int main(void)
{
#define RIGGED(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, order_rig_set_up, order_rig_tear_down)
    const struct CMUnitTest tests[] = {
        RIGGED(is_done_and_leaves_nothing),
        RIGGED(brings_back_what_a_target_holds),
        RIGGED(brings_back_what_exists_there),
        RIGGED(a_disk_cannot_be_opened_here),
        RIGGED(cancel_reaches_the_work),
        RIGGED(two_of_one_name_do_it_once),
        RIGGED(lease_is_taken_over),
        RIGGED(work_is_taken_over),
        RIGGED(a_test_is_not_begun_again_elsewhere),
        RIGGED(another_start_goes_on),
        RIGGED(the_vault_was_started_anew),
        RIGGED(nobody_there),
        RIGGED(old_orders_do_nothing),
        RIGGED(forged_orders_do_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
