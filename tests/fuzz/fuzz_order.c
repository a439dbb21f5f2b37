/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vault and remote applier write to each other, without its seal. Byte 0 chooses:
 * order, progress, result (with each body it may have), beat. What decodes must encode to
 * something that decodes to the same.
 */
#include "fuzz.h"

#include "applier/order.h"

static void one_order(const uint8_t *data, size_t data_bytes, struct err *err)
{
    AUTO(order_release) struct order order = {0}, again = {0};
    AUTO(buf_release) struct buf first = {0}, second = {0};
    if (!order_decode(data, data_bytes, &order, err))
        return;
    order_encode(&order, &first);
    if (!order_decode(first.data, first.bytes, &again, err))
        abort();
    order_encode(&again, &second);
    if (first.bytes != second.bytes || memcmp(first.data, second.data, first.bytes) != 0)
        abort();
}

static void one_progress(const uint8_t *data, size_t data_bytes, struct err *err)
{
    struct order_progress progress, again;
    AUTO(buf_release) struct buf text = {0};
    if (!order_progress_decode(data, data_bytes, &progress, err))
        return;
    order_progress_encode(&progress, &text);
    if (!order_progress_decode(text.data, text.bytes, &again, err) ||
        memcmp(&progress, &again, sizeof again) != 0)
        abort();
}

static bool any_item(void *ctx, const struct target_item *item, struct err *err)
{
    (void)ctx, (void)err;
    if (!item->machine)
        abort();
    return true;
}

static bool any_thing(void *ctx, const struct target_thing *thing, struct err *err)
{
    (void)ctx, (void)err;
    if (!thing->kind || !thing->name || !thing->id || !thing->role)
        abort();
    return true;
}

static void one_result(const uint8_t *data, size_t data_bytes, struct err *err)
{
    AUTO(order_result_release) struct order_result result = {0}, again = {0};
    AUTO(findings_release) struct findings findings = {0};
    AUTO(buf_release) struct buf text = {0};
    if (!order_result_decode(data, data_bytes, &result, err))
        return;
    order_result_encode(&result, &text);
    if (!order_result_decode(text.data, text.bytes, &again, err) ||
        again.failure.kind != result.failure.kind)
        abort();
    AUTO(free) struct vm_info *vm = xcalloc(1, sizeof *vm);
    struct err ignored = ERR_INIT;
    bool is_vm = order_vm_from_json(result.body, vm, &ignored);
    if (is_vm && vm->disk_count > MACHINE_MAX_DISKS)
        abort();
    ignored = ERR_INIT;
    bool are_findings = order_findings_from_json(result.body, &findings, &ignored);
    ignored = ERR_INIT;
    bool are_items = order_items_each(result.body, any_item, NULL, &ignored);
    ignored = ERR_INIT;
    bool are_things = order_things_each(result.body, any_thing, NULL, &ignored);
    if (is_vm && (are_findings || are_items || are_things))
        abort();
}

static void one_beat(const uint8_t *data, size_t data_bytes, struct err *err)
{
    struct order_beat beat, again;
    AUTO(buf_release) struct buf text = {0};
    if (!order_beat_decode(data, data_bytes, &beat, err))
        return;
    order_beat_encode(&beat, &text);
    if (!order_beat_decode(text.data, text.bytes, &again, err) ||
        again.sequence != beat.sequence || !id_equal(&again.instance, &beat.instance))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    static void (*const ALL[])(const uint8_t *, size_t, struct err *) = {
        one_order, one_progress, one_result, one_beat};
    struct err err = ERR_INIT;
    if (data_bytes == 0)
        return 0;
    ALL[data[0] % ARRAY_COUNT(ALL)](data + 1, data_bytes - 1, &err);
    if (err.kind != FAIL_NONE && err.kind != FAIL_CORRUPT)
        abort(); /* each refusal is of that kind */
    return 0;
}
