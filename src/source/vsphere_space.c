/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datastore guard. A snapshot grows with everything that the guest writes, on the
 * datastore where the guest's disks live; a datastore that fills up stops every machine
 * on it. So no cycle begins while less than the floor is free, a cycle that runs ends
 * early (its snapshot goes, which gives the space back), and people hear of it at twice
 * the floor.
 *
 * A datastore that cannot be asked is not taken for a full one.
 */
#include "source/vsphere.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <stdatomic.h>

static bool check_one(struct vsphere_snapshot *snapshot, const struct vsphere_disk *disk,
                      const struct cancel *cancel, struct err *err)
{
    uint64_t floor_bytes = snapshot->source->floor_bytes;
    char free_text[TEXT_HUMAN_BYTES], floor_text[TEXT_HUMAN_BYTES];
    struct err ignored = ERR_INIT;
    AUTO(vim_datastore_free)
    struct vim_datastore *store =
        vim_datastore_get(snapshot->source->vim, &disk->datastore_ref, cancel, &ignored);
    if (!store || !store->is_accessible)
        return true;
    text_bytes(store->free_bytes, free_text);
    text_bytes(floor_bytes, floor_text);
    if (store->free_bytes < floor_bytes)
        return err_set(err, FAIL_NO_SPACE,
                       "datastore '%s' has %s free, less than the floor of %s; free "
                       "space there, or lower the source's datastore_floor",
                       store->name, free_text, floor_text);
    if (store->free_bytes / 2 < floor_bytes)
        vsphere_notice(snapshot, "datastore_low",
                       "datastore '%s' has %s free; cycles stop at %s", store->name,
                       free_text, floor_text);
    return true;
}

bool vsphere_space_check(struct vsphere_snapshot *snapshot, const struct cancel *cancel,
                         struct err *err)
{
    for (size_t i = 0; snapshot->source->floor_bytes && i < snapshot->disk_count; i++) {
        const struct vsphere_disk *disk = &snapshot->disks[i];
        bool is_known = !vim_ref_is_set(&disk->datastore_ref);
        for (size_t j = 0; j < i; j++)
            is_known = is_known || vim_ref_equal(&snapshot->disks[j].datastore_ref,
                                                 &disk->datastore_ref);
        if (!is_known && !check_one(snapshot, disk, cancel, err))
            return false;
    }
    return true;
}

bool vsphere_space_guard(struct vsphere_snapshot *snapshot, const struct cancel *cancel,
                         struct err *err)
{
    uint64_t now_ms = clock_mono_ms(), last_ms = atomic_load(&snapshot->guard_mono_ms);
    struct err ignored = ERR_INIT;
    if (now_ms - last_ms < VSPHERE_GUARD_EVERY_MS ||
        !atomic_compare_exchange_strong(&snapshot->guard_mono_ms, &last_ms, now_ms))
        return true;
    /* A session that cannot be kept is renewed by the next call that needs it. */
    if (!vim_keep_alive(snapshot->source->vim, VIM_IDLE_MS, cancel, &ignored))
        log_debug("vsphere_keep_alive", "text=\"%s\"", ignored.text);
    if (vsphere_space_check(snapshot, cancel, err))
        return true;
    atomic_store(&snapshot->is_space_low, true);
    return err_wrap(err, "the cycle ends early");
}
