/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of a disk between two cycles:
 *
 *   1 <bytes>.<device key>.<machine>.<disk>.<place> <the server's change id>
 *
 * machine, disk and place are short hashes of instance UUID, backing UUID and the folder
 * of the disk's file. The server's own id only says since when; asked with it after the
 * disk was resized, re-created, reverted or moved, vSphere may answer too little without
 * any error (KB 2090639, KB 1020128, and restores of another machine's id). So every
 * part must match before the server is asked at all.
 *
 * Must never: say CHANGES_KNOWN for an id it could not read.
 */
#include "source/vsphere.h"

#include "base/text.h"

#include <inttypes.h>

#define VERSION "1 "

/* FNV-1a: tells different ones apart; nothing secret in it. */
static uint32_t short_hash(const char *text, size_t bytes)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (uint8_t)text[i]) * 1099511628211u;
    return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t hash_of(const char *text)
{
    return short_hash(text, strlen(text));
}

/* "[store] dir/disk.vmdk": everything before the file's own name, which changes with
 * snapshots. */
static uint32_t place_of(const char *file_name)
{
    const char *slash = strrchr(file_name, '/');
    return short_hash(file_name, slash ? (size_t)(slash - file_name) : 0);
}

void vsphere_change_id_print(const struct vsphere_identity *identity, const char *raw,
                             char out[CHANGE_ID_MAX])
{
    AUTO(buf_release) struct buf text = {0};
    out[0] = 0;
    if (!raw[0])
        return;
    buf_printf(&text, VERSION "%" PRIu64 ".%" PRId32 ".%08x.%08x.%08x %s",
               identity->disk_bytes, identity->device_key,
               hash_of(identity->instance_uuid), hash_of(identity->backing_uuid),
               place_of(identity->file_name), raw);
    if (text.bytes < CHANGE_ID_MAX)
        text_copy(out, CHANGE_ID_MAX, buf_text(&text));
}

struct parsed {
    uint64_t disk_bytes;
    int32_t device_key;
    uint32_t machine, disk, place;
    const char *raw; /* in the parsed text */
};

static bool parse(const char *text, struct parsed *ret)
{
    int length = 0;
    unsigned machine, disk, place;
    if (!text_starts_with(text, VERSION) ||
        sscanf(text + strlen(VERSION), "%20" SCNu64 ".%11" SCNd32 ".%8x.%8x.%8x %n",
               &ret->disk_bytes, &ret->device_key, &machine, &disk, &place,
               &length) != 5 ||
        length == 0 || !text[strlen(VERSION) + (size_t)length])
        return false;
    ret->machine = machine;
    ret->disk = disk;
    ret->place = place;
    ret->raw = text + strlen(VERSION) + length;
    return true;
}

#define WHY(...) (void)snprintf(why, 200, __VA_ARGS__)

/* false: why says what is different. */
static bool is_same_disk(const struct parsed *before, const struct vsphere_identity *now,
                         char why[200])
{
    if (before->machine != hash_of(now->instance_uuid))
        WHY("the machine has another instance UUID than at the last cycle: it was "
            "restored or registered anew");
    else if (before->device_key != now->device_key ||
             before->disk != hash_of(now->backing_uuid))
        WHY("another disk is attached as device %" PRId32 " than at the last cycle",
            now->device_key);
    else if (before->disk_bytes != now->disk_bytes)
        WHY("the disk was resized from %" PRIu64 " to %" PRIu64
            " bytes: change tracking is not reliable across that (KB 2090639)",
            before->disk_bytes, now->disk_bytes);
    else if (before->place != place_of(now->file_name))
        WHY("the disk's files were moved (storage vMotion) to '%.90s'", now->file_name);
    else
        return true;
    return false;
}

static bool is_same_epoch(const char *before, const char *now, char why[200])
{
    char epoch_before[VIM_EPOCH_BYTES], epoch_now[VIM_EPOCH_BYTES];
    uint64_t sequence_before, sequence_now;
    if (!vim_change_id_split(before, epoch_before, &sequence_before) ||
        !vim_change_id_split(now, epoch_now, &sequence_now))
        WHY("change id '%.60s' is not of the form that Kedge knows", now);
    else if (strcmp(epoch_before, epoch_now) != 0)
        WHY("change tracking was reset since the last cycle (power failure, host crash, "
            "switched off and on, or a backup tool)");
    else if (sequence_now < sequence_before)
        WHY("change tracking went back from %" PRIu64 " to %" PRIu64
            ": the machine was reverted to an older snapshot",
            sequence_before, sequence_now);
    else
        return true;
    return false;
}

enum change_knowledge vsphere_change_id_compare(const char *previous,
                                                const struct vsphere_identity *now,
                                                const char *raw_now,
                                                char ret_raw[VSPHERE_RAW_BYTES],
                                                char why[200])
{
    struct parsed before;
    ret_raw[0] = why[0] = 0;
    if (!previous[0] && raw_now[0])
        WHY("no earlier cycle");
    else if (!previous[0])
        WHY("no earlier cycle, and change tracking is not effective on this disk");
    if (!previous[0])
        return CHANGES_NONE;
    if (!parse(previous, &before)) {
        WHY("the remembered change id '%.60s' cannot be read", previous);
        return CHANGES_LOST;
    }
    if (!raw_now[0]) {
        WHY("change tracking is not effective on this disk any more: the snapshot has "
            "no change id for it");
        return CHANGES_LOST;
    }
    if (!is_same_disk(&before, now, why) || !is_same_epoch(before.raw, raw_now, why))
        return CHANGES_LOST;
    text_copy(ret_raw, VSPHERE_RAW_BYTES, before.raw);
    return CHANGES_KNOWN;
}
