/* SPDX-License-Identifier: Apache-2.0 */
/* What orders look like for ever, what is refused, who opens what, and who is in charge.
 */
#include "order_rig.h"

#include "applier/order_office.h"

#include <stdlib.h>

/* ---- the golden messages ---- */

static void load(const char *name, struct buf *ret)
{
    struct err err = ERR_INIT;
    AUTO(free) char *path = file_join(GOLDEN_DIR, name);
    order_must(file_read(path, MIB, ret, &err), &err);
    assert_true(ret->bytes > 1 && ret->data[ret->bytes - 1] == '\n');
    ret->data[--ret->bytes] = 0;
}

static void assert_same(const struct buf *got, const struct buf *want)
{
    assert_string_equal(buf_text(got), buf_text(want));
}

static void order_is_golden(void **state)
{
    AUTO(buf_release) struct buf file = {0}, again = {0};
    AUTO(order_release) struct order order = {0};
    struct err err = ERR_INIT;
    (void)state;
    load("order-v1.json", &file);
    order_must(order_decode(file.data, file.bytes, &order, &err), &err);
    assert_int_equal(order.what, ORDER_APPLY);
    assert_int_equal(order.number, UINT64_C(1795347363184));
    assert_int_equal(order.cycle, 7);
    assert_int_equal(order.known_point, 6);
    assert_string_equal(order.def->disks[0].label, "root");
    order_encode(&order, &again);
    assert_same(&again, &file);
}

static void the_others_are_golden(void **state)
{
    AUTO(buf_release) struct buf file = {0}, again = {0};
    AUTO(order_result_release) struct order_result result = {0};
    struct order_progress progress;
    struct order_beat beat;
    struct err err = ERR_INIT;
    (void)state;
    load("order-progress-v1.json", &file);
    order_must(order_progress_decode(file.data, file.bytes, &progress, &err), &err);
    assert_true(progress.is_cloned);
    assert_int_equal(progress.segments_applied, 4);
    order_progress_encode(&progress, &again);
    assert_same(&again, &file);
    buf_clear(&file), buf_clear(&again);
    load("order-result-v1.json", &file);
    order_must(order_result_decode(file.data, file.bytes, &result, &err), &err);
    assert_int_equal(result.failure.kind, FAIL_NO_SPACE);
    assert_string_equal(result.failure.text, "no room for 'm1'");
    order_result_encode(&result, &again);
    assert_same(&again, &file);
    buf_clear(&file), buf_clear(&again);
    load("order-beat-v1.json", &file);
    order_must(order_beat_decode(file.data, file.bytes, &beat, &err), &err);
    assert_int_equal(beat.sequence, 42);
    order_beat_encode(&beat, &again);
    assert_same(&again, &file);
}

/* ---- strictness ---- */

static bool decodes(int kind, const uint8_t *data, size_t bytes, struct err *err)
{
    AUTO(order_release) struct order order = {0};
    AUTO(order_result_release) struct order_result result = {0};
    struct order_progress progress;
    struct order_beat beat;
    switch (kind) {
    case 0:
        return order_decode(data, bytes, &order, err);
    case 1:
        return order_progress_decode(data, bytes, &progress, err);
    case 2:
        return order_result_decode(data, bytes, &result, err);
    default:
        return order_beat_decode(data, bytes, &beat, err);
    }
}

static const char *const FILES[] = {"order-v1.json", "order-progress-v1.json",
                                    "order-result-v1.json", "order-beat-v1.json"};

static void what_is_cut_is_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        AUTO(buf_release) struct buf file = {0};
        load(FILES[kind], &file);
        for (size_t bytes = 0; bytes < file.bytes; bytes++) {
            struct err err = ERR_INIT;
            assert_false(decodes(kind, file.data, bytes, &err));
            assert_int_equal(err.kind, FAIL_CORRUPT);
        }
    }
}

/* Every key: left out, of another type, and one that nobody knows. */
static void other_shapes_are_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        AUTO(buf_release) struct buf file = {0};
        struct err err = ERR_INIT;
        load(FILES[kind], &file);
        AUTO(json_free)
        json_t *good = json_parse("golden", buf_text(&file), file.bytes, &err);
        const char *key;
        json_t *value;
        json_object_foreach(good, key, value)
        {
            AUTO(json_free) json_t *other = json_copy(good);
            AUTO(buf_release) struct buf text = {0};
            (void)json_object_set_new(other, key, json_real(1.5));
            json_print(other, &text);
            err = ERR_INIT;
            /* A result's body is read by whoever asked for it. */
            assert_int_equal(decodes(kind, text.data, text.bytes, &err),
                             strcmp(key, "body") == 0);
        }
        AUTO(buf_release) struct buf text = {0};
        json_put_bool(good, "more", true);
        json_print(good, &text);
        assert_false(decodes(kind, text.data, text.bytes, &err));
        assert_int_equal(err.kind, FAIL_CORRUPT);
    }
}

static void bounds_hold(void **state)
{
    AUTO(buf_release) struct buf file = {0};
    struct err err = ERR_INIT;
    (void)state;
    load(FILES[0], &file);
    AUTO(json_free)
    json_t *order = json_parse("golden", buf_text(&file), file.bytes, &err);
    static const struct {
        const char *key, *value;
    } TOO_MUCH[] = {{"target",
                     "a123456789012345678901234567890123456789012345678901234567"
                     "89012345"},
                    {"what", "format"}};
    for (size_t i = 0; i < ARRAY_COUNT(TOO_MUCH); i++) {
        AUTO(json_free) json_t *other = json_copy(order);
        AUTO(buf_release) struct buf text = {0};
        json_put_text(other, TOO_MUCH[i].key, TOO_MUCH[i].value);
        json_print(other, &text);
        assert_false(decodes(0, text.data, text.bytes, &err));
        assert_int_equal(err.kind, FAIL_CORRUPT);
    }
    /* A resize of a disk that the machine has not got; an apply without a machine. */
    json_put_text(order, "what", "resize");
    json_put_u64(order, "disk", 1);
    buf_clear(&file);
    json_print(order, &file);
    assert_false(decodes(0, file.data, file.bytes, &err));
    json_put_text(order, "what", "apply");
    (void)json_object_del(order, "machine");
    buf_clear(&file);
    json_print(order, &file);
    assert_false(decodes(0, file.data, file.bytes, &err));
}

static void a_vm_comes_back_whole(void **state)
{
    struct vm_info *info = xcalloc(1, sizeof *info), *again = xcalloc(1, sizeof *again);
    struct err err = ERR_INIT;
    (void)state;
    (void)snprintf(info->name, sizeof info->name, "m1-t1");
    (void)snprintf(info->how_booted, sizeof info->how_booted, "serial marker");
    info->boot_ms = 1234;
    info->pid = 77;
    info->disk_count = MACHINE_MAX_DISKS;
    for (size_t i = 0; i < info->disk_count; i++) {
        memset(info->disk_paths[i], 'p', MACHINE_PATH_BYTES - 1);
        info->disk_paths[i][0] = '/';
    }
    AUTO(json_free) json_t *body = order_vm_to_json(info);
    order_must(order_vm_from_json(body, again, &err), &err);
    assert_memory_equal(info, again, sizeof *info);
    assert_false(order_vm_from_json(NULL, again, &err));
    (void)json_array_append_new(json_object_get(body, "disk_paths"), json_string("/x"));
    assert_false(order_vm_from_json(body, again, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    free(info);
    free(again);
}

/* ---- the boxes ---- */

static void copy_object(struct store *store, const char *from, const char *to)
{
    AUTO(buf_release) struct buf data = {0};
    struct err err = ERR_INIT;
    order_must(store_get_all(store, from, MIB, &data, &err), &err);
    order_must(store_put(store, to, data.data, data.bytes, STORE_REPLACE, &err), &err);
}

static void a_message_opens_in_its_place_only(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf message = {0}, got = {0};
    AUTO(order_mail_close)
    struct order_mail *east = order_mail_open("east", rig->store, rig->keys, &err);
    AUTO(order_mail_close)
    struct order_mail *west = order_mail_open("west", rig->store, rig->keys, &err);
    buf_append_text(&message, "{}");
    order_must(order_mail_put(east, BOX_RESULT, 7, &message, &err), &err);
    order_must(order_mail_get(east, BOX_RESULT, 7, &got, &err), &err);
    assert_string_equal(buf_text(&got), "{}");
    static const char *const FROM = "orders/east/result/0000000000000007";
    copy_object(rig->store, FROM, "orders/east/result/0000000000000008");
    copy_object(rig->store, FROM, "orders/east/cancel/0000000000000007");
    copy_object(rig->store, FROM, "orders/west/result/0000000000000007");
    assert_false(order_mail_get(east, BOX_RESULT, 8, &got, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    assert_false(order_mail_get(east, BOX_CANCEL, 7, &got, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    assert_false(order_mail_get(west, BOX_RESULT, 7, &got, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    assert_false(order_mail_get(east, BOX_RESULT, 9, &got, &err));
    assert_int_equal(err.kind, FAIL_GONE);
}

static void a_huge_message_is_not_read(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf got = {0};
    AUTO(order_mail_close)
    struct order_mail *mail = order_mail_open("east", rig->store, rig->keys, &err);
    size_t bytes = ORDER_MAX_BYTES + 1;
    AUTO(free) uint8_t *zeros = xcalloc(1, bytes);
    order_must(store_put(rig->store, "orders/east/order/0000000000000001", zeros, bytes,
                         STORE_REPLACE, &err),
               &err);
    assert_false(order_mail_get(mail, BOX_ORDER, 1, &got, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    assert_int_equal(got.cap_bytes, 0);
}

static void a_listing_is_bounded(void **state)
{
    struct order_rig *rig = *state;
    struct err err = ERR_INIT;
    AUTO(order_mail_close)
    struct order_mail *mail = order_mail_open("east", rig->store, rig->keys, &err);
    struct order_listing *listing = xcalloc(1, sizeof *listing);
    for (unsigned i = 0; i < ORDER_BOX_MAX + 50; i++) {
        char name[STORE_NAME_MAX];
        (void)snprintf(name, sizeof name, "orders/east/order/%016u", i);
        order_must(store_put(rig->store, name, NULL, 0, STORE_REPLACE, &err), &err);
    }
    static const char *const ODD[] = {"orders/east/order/1", "orders/east/order/x",
                                      "orders/east/beat/not-an-id",
                                      "orders/east/result/9999999999999999999",
                                      "orders/east/elsewhere/0000000000000001"};
    for (size_t i = 0; i < ARRAY_COUNT(ODD); i++)
        order_must(store_put(rig->store, ODD[i], NULL, 0, STORE_REPLACE, &err), &err);
    order_must(order_mail_list(mail, listing, &err), &err);
    assert_int_equal(listing->count[BOX_ORDER], ORDER_BOX_MAX);
    assert_int_equal(listing->count[BOX_RESULT], 0);
    assert_int_equal(listing->count[BOX_BEAT], 0);
    assert_true(order_listing_has(listing, BOX_ORDER, 3));
    free(listing);
}

/* ---- who is in charge ---- */

static struct order_beat beat_of(uint8_t instance, uint64_t sequence)
{
    struct order_beat beat = {.sequence = sequence, .lease_ms = 30000};
    beat.instance.bytes[0] = instance;
    return beat;
}

static void look(struct order_office *office, uint64_t now_ms,
                 const struct order_beat *beats, size_t count)
{
    order_office_begin(office);
    for (size_t i = 0; i < count; i++)
        order_office_note(office, &beats[i], now_ms);
    order_office_end(office, now_ms);
}

static int current_of(const struct order_office *office)
{
    const struct office_instance *who = order_office_current(office);
    return who ? who->beat.instance.bytes[0] : 0;
}

static void the_second_waits_for_the_lease(void **state)
{
    struct order_office office;
    struct order_beat beats[] = {beat_of(1, 1), beat_of(2, 1)};
    (void)state;
    order_office_init(&office, 1000);
    assert_int_equal(current_of(&office), 0);
    look(&office, 1000, beats, 1);
    assert_int_equal(current_of(&office), 1);
    beats[1].sequence = 2;
    look(&office, 20000, beats, 2); /* the first is silent since 1000 */
    assert_int_equal(current_of(&office), 1);
    beats[1].sequence = 3;
    look(&office, 30999, beats, 2);
    assert_int_equal(current_of(&office), 1);
    beats[1].sequence = 4;
    look(&office, 31000, beats, 2);
    assert_int_equal(current_of(&office), 2);
    beats[0].sequence = 2; /* it is back: too late */
    look(&office, 31001, beats, 2);
    assert_int_equal(current_of(&office), 2);
}

static void one_that_goes_makes_room_at_once(void **state)
{
    struct order_office office;
    struct order_beat beats[] = {beat_of(2, 1), beat_of(1, 1)};
    (void)state;
    order_office_init(&office, 0);
    look(&office, 10, beats + 1, 1);
    look(&office, 20, beats, 2);
    assert_int_equal(current_of(&office), 1);
    look(&office, 30, beats, 1); /* it took its beat away */
    assert_int_equal(current_of(&office), 2);
    look(&office, 40, beats, 0);
    assert_int_equal(current_of(&office), 0);
    assert_int_equal(order_office_silent_ms(&office, 520), 500);
}

static void one_that_replaces_does_not_wait(void **state)
{
    struct order_office office;
    struct order_beat beats[] = {beat_of(1, 5), beat_of(2, 1)};
    (void)state;
    order_office_init(&office, 0);
    look(&office, 10, beats, 1);
    beats[1].replaces = beats[0].instance;
    look(&office, 20, beats, 2);
    assert_int_equal(current_of(&office), 2);
    beats[0].sequence = 6; /* whoever puts an old beat back gets nothing by it */
    look(&office, 30, beats, 2);
    assert_int_equal(current_of(&office), 2);
}

static void an_old_beat_is_no_life(void **state)
{
    struct order_office office;
    struct order_beat beat = beat_of(1, 9);
    (void)state;
    order_office_init(&office, 0);
    look(&office, 0, &beat, 1);
    for (uint64_t now_ms = 1000; now_ms < 30000; now_ms += 1000) {
        beat.sequence = 1 + now_ms / 4000; /* at most 8 */
        look(&office, now_ms, &beat, 1);
    }
    assert_int_equal(current_of(&office), 1);
    look(&office, 30000, &beat, 1);
    assert_int_equal(current_of(&office), 0);
}

static void more_than_there_is_room_for(void **state)
{
    struct order_office office;
    struct order_beat first = beat_of(1, 1);
    (void)state;
    order_office_init(&office, 0);
    look(&office, 1, &first, 1);
    for (uint8_t i = 2; i < 200; i++) {
        struct order_beat beats[] = {first, beat_of(i, 1)};
        beats[0].sequence = i;
        look(&office, i, beats, 2);
        assert_int_equal(current_of(&office), 1);
    }
    assert_true(office.count <= ORDER_BEATS_MAX);
}

int main(void)
{
#define RIGGED(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, order_rig_set_up, order_rig_tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_golden),
        cmocka_unit_test(the_others_are_golden),
        cmocka_unit_test(what_is_cut_is_refused),
        cmocka_unit_test(other_shapes_are_refused),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(a_vm_comes_back_whole),
        RIGGED(a_message_opens_in_its_place_only),
        RIGGED(a_huge_message_is_not_read),
        RIGGED(a_listing_is_bounded),
        cmocka_unit_test(the_second_waits_for_the_lease),
        cmocka_unit_test(one_that_goes_makes_room_at_once),
        cmocka_unit_test(one_that_replaces_does_not_wait),
        cmocka_unit_test(an_old_beat_is_no_life),
        cmocka_unit_test(more_than_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
