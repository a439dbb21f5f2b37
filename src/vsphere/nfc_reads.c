/* SPDX-License-Identifier: Apache-2.0 */
/*
 * R1  left_bytes is the read's length less 512 for each bit set in covered.
 * R2  a sector is covered once: a second fragment for it is refused, so that a complete
 *     read had every byte delivered exactly once.
 * R3  count = waiting + asked; a read is in one of waiting, asked, done.
 */
#include "vsphere/nfc_reads.h"

bool nfc_reads_submit(struct nfc_reads *reads, struct lane_read *read,
                      uint64_t disk_bytes, struct err *err)
{
    uint64_t length = read->length_bytes;
    if (length == 0 || length > LANE_READ_MAX_BYTES || length % SECTOR_BYTES ||
        read->offset_bytes % SECTOR_BYTES || read->offset_bytes > disk_bytes ||
        length > disk_bytes - read->offset_bytes)
        return err_set(err, FAIL_INPUT,
                       "read of %llu bytes at %llu of a disk of %llu bytes",
                       (unsigned long long)length, (unsigned long long)read->offset_bytes,
                       (unsigned long long)disk_bytes);
    struct nfc_slot *slot = reads->slots;
    while (slot < reads->slots + LANE_MAX_IN_FLIGHT && slot->read)
        slot++;
    if (slot == reads->slots + LANE_MAX_IN_FLIGHT)
        return err_set(err, FAIL_BUG, "more than %d reads in flight", LANE_MAX_IN_FLIGHT);
    slot->read = read;
    slot->is_asked = slot->has_budget = false;
    slot->refusals = 0;
    slot->next = NULL;
    if (reads->last)
        reads->last->next = slot;
    else
        reads->first = slot;
    reads->last = slot;
    reads->count++;
    return true;
}

void nfc_reads_asked(struct nfc_reads *reads, uint32_t op_id)
{
    struct nfc_slot *slot = reads->first;
    reads->first = slot->next;
    if (!reads->first)
        reads->last = NULL;
    slot->next = NULL;
    slot->is_asked = true;
    slot->op_id = op_id;
    slot->left_bytes = slot->read->length_bytes;
    memset(slot->covered, 0, sizeof slot->covered);
    reads->asked_count++;
}

struct nfc_slot *nfc_reads_find(struct nfc_reads *reads, uint32_t op_id)
{
    for (struct nfc_slot *slot = reads->slots; slot < reads->slots + LANE_MAX_IN_FLIGHT;
         slot++)
        if (slot->read && slot->is_asked && slot->op_id == op_id)
            return slot;
    return NULL;
}

/* Bits [first, end) of word `index`. */
static uint64_t word_mask(size_t index, size_t first, size_t end)
{
    size_t low = MAX_OF(first, index * 64) - index * 64;
    size_t high = MIN_OF(end, index * 64 + 64) - index * 64; /* 1 .. 64 */
    return (~(uint64_t)0 >> (64 - (high - low))) << low;
}

bool nfc_slot_check(const struct nfc_slot *slot, const struct nfc_fragment *fragment,
                    struct err *err)
{
    const struct lane_read *read = slot->read;
    size_t first = fragment->offset_bytes / SECTOR_BYTES;
    size_t end = first + fragment->plain_bytes / SECTOR_BYTES;
    if (fragment->total_bytes != read->length_bytes ||
        fragment->disk_offset_bytes != read->offset_bytes)
        return err_set(
            err, FAIL_CORRUPT,
            "NFC read %u: the answer is for %u bytes at %llu, asked were %u at "
            "%llu",
            slot->op_id, fragment->total_bytes,
            (unsigned long long)fragment->disk_offset_bytes, read->length_bytes,
            (unsigned long long)read->offset_bytes);
    for (size_t i = first / 64; i * 64 < end; i++)
        if (slot->covered[i] & word_mask(i, first, end))
            return err_set(err, FAIL_CORRUPT, "NFC read %u: %u bytes at %u came twice",
                           slot->op_id, fragment->plain_bytes, fragment->offset_bytes);
    return true;
}

bool nfc_slot_cover(struct nfc_slot *slot, const struct nfc_fragment *fragment)
{
    size_t first = fragment->offset_bytes / SECTOR_BYTES;
    size_t end = first + fragment->plain_bytes / SECTOR_BYTES;
    for (size_t i = first / 64; i * 64 < end; i++)
        slot->covered[i] |= word_mask(i, first, end);
    slot->left_bytes -= fragment->plain_bytes;
    return slot->left_bytes == 0;
}

static void unlink_waiting(struct nfc_reads *reads, struct nfc_slot *slot)
{
    struct nfc_slot *before = NULL;
    for (struct nfc_slot *at = reads->first; at != slot; at = at->next)
        before = at;
    if (before)
        before->next = slot->next;
    else
        reads->first = slot->next;
    if (reads->last == slot)
        reads->last = before;
}

void nfc_reads_finish(struct nfc_reads *reads, struct nfc_slot *slot,
                      const struct err *why)
{
    struct lane_read *read = slot->read;
    if (slot->is_asked)
        reads->asked_count--;
    else
        unlink_waiting(reads, slot);
    reads->count--;
    slot->read = NULL;
    read->ok = !why;
    if (why)
        read->err = *why;
    read->next = NULL;
    if (reads->last_done)
        reads->last_done->next = read;
    else
        reads->first_done = read;
    reads->last_done = read;
}

uint64_t nfc_reads_requeue(struct nfc_reads *reads)
{
    uint64_t bytes = 0;
    for (size_t i = LANE_MAX_IN_FLIGHT; i-- > 0;) {
        struct nfc_slot *slot = &reads->slots[i];
        if (!slot->read || !slot->is_asked)
            continue;
        slot->is_asked = false;
        slot->next = reads->first;
        reads->first = slot;
        if (!reads->last)
            reads->last = slot;
        reads->asked_count--;
        bytes += slot->read->length_bytes;
    }
    return bytes;
}

struct lane_read *nfc_reads_take(struct nfc_reads *reads)
{
    struct lane_read *read = reads->first_done;
    if (!read)
        return NULL;
    reads->first_done = read->next;
    if (!reads->first_done)
        reads->last_done = NULL;
    read->next = NULL;
    return read;
}
