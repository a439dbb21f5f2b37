/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records and churn blocks of the demo guest. Linked into the guest and into
 * check-records, so that there is one description of what must be on the disks.
 *
 * I1  Record n of the root disk is durable before record n of the data disk is written,
 * and that one before record n + 1 of the root disk. I2  Churn writes of a disk up to
 * record.churn_gen are durable before that record. I3  Where and what generation g writes
 * depends on the disk and on g only. So a checker can replay the plan, and a guest that
 * lost generations at a power cut repeats them. I4  Both kinds of unit end in a checksum
 * of everything before it.
 */
#include "guest-format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_MAGIC        UINT64_C(0x434552454744454b) /* "KEDGEREC" */
#define CHURN_MAGIC         UINT64_C(0x4e484345474445)   /* "EDGECHN" + disk number */
#define CHECKSUM_BYTES      8u
#define RECORD_HEADER_BYTES 40u
#define CHURN_HEADER_BYTES  24u
#define READ_BYTES          (64u * 1024u)

static void put_u64le(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_u64le(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* splitmix64: one well mixed word for each x. */
static uint64_t mix_u64(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* FNV-1a by 64-bit words, folded so that high bits reach low ones. bytes % 8 == 0. */
static uint64_t checksum(const uint8_t *data, size_t data_bytes)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < data_bytes; i += 8) {
        h = (h ^ get_u64le(data + i)) * UINT64_C(0x100000001b3);
        h ^= h >> 29;
    }
    return h;
}

static void fill_random(uint8_t *data, size_t data_bytes, uint64_t seed)
{
    for (size_t i = 0; i + 8 <= data_bytes; i += 8)
        put_u64le(data + i, mix_u64(seed + i));
}

static void fill_text(uint8_t *data, size_t data_bytes, uint64_t number)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "kedge guest %020" PRIu64 " ", number);
    for (size_t i = 0; i < data_bytes; i++)
        data[i] = (uint8_t)line[i % (size_t)n];
}

static void seal(uint8_t *data, size_t data_bytes)
{
    size_t body_bytes = data_bytes - CHECKSUM_BYTES;
    put_u64le(data + body_bytes, checksum(data, body_bytes));
}

static bool seal_is_right(const uint8_t *data, size_t data_bytes)
{
    size_t body_bytes = data_bytes - CHECKSUM_BYTES;
    return get_u64le(data + body_bytes) == checksum(data, body_bytes);
}

static bool bytes_are_zero(const uint8_t *data, size_t data_bytes)
{
    return data[0] == 0 && memcmp(data, data + 1, data_bytes - 1) == 0;
}

static bool fail(char *why, size_t why_bytes, const char *text, enum guest_disk disk,
                 uint64_t number)
{
    (void)snprintf(why, why_bytes, "%s disk: %s %" PRIu64, guest_disk_name(disk), text,
                   number);
    return false;
}

const char *guest_disk_name(enum guest_disk disk)
{
    return disk == DISK_ROOT ? "root" : "data";
}

void record_encode(const struct record *record, uint8_t *bytes)
{
    const size_t payload_bytes = RECORD_BYTES - RECORD_HEADER_BYTES - CHECKSUM_BYTES;
    put_u64le(bytes, RECORD_MAGIC);
    put_u64le(bytes + 8, record->number);
    put_u64le(bytes + 16, record->churn_gen);
    put_u64le(bytes + 24, record->realtime_ns);
    put_u64le(bytes + 32, (uint64_t)record->boot | (uint64_t)record->disk << 32);
    fill_random(bytes + RECORD_HEADER_BYTES, payload_bytes / 2, record->number);
    fill_text(bytes + RECORD_HEADER_BYTES + payload_bytes / 2, payload_bytes / 2,
              record->number);
    seal(bytes, RECORD_BYTES);
}

static void record_decode(const uint8_t *bytes, struct record *ret_record)
{
    uint64_t boot_and_disk = get_u64le(bytes + 32);
    ret_record->number = get_u64le(bytes + 8);
    ret_record->churn_gen = get_u64le(bytes + 16);
    ret_record->realtime_ns = get_u64le(bytes + 24);
    ret_record->boot = (uint32_t)boot_and_disk;
    ret_record->disk = boot_and_disk >> 32 == DISK_ROOT ? DISK_ROOT : DISK_DATA;
}

/* Check the next record and, when it is right, make it the last of state. */
static bool record_accept(struct records_state *state, const uint8_t *bytes,
                          enum guest_disk disk, char *why, size_t why_bytes)
{
    uint64_t number = state->count + 1;
    struct record record;

    if (get_u64le(bytes) != RECORD_MAGIC)
        return fail(why, why_bytes, "no record where there must be record", disk, number);
    if (!seal_is_right(bytes, RECORD_BYTES))
        return fail(why, why_bytes, "wrong checksum of record", disk, number);
    record_decode(bytes, &record);
    if (record.number != number)
        return fail(why, why_bytes, "another number in the place of record", disk,
                    number);
    if (record.disk != disk)
        return fail(why, why_bytes, "the other disk's record in the place of record",
                    disk, number);
    if (state->count > 0 &&
        (record.boot < state->last.boot || record.churn_gen < state->last.churn_gen))
        return fail(why, why_bytes, "boot or churn runs backwards at record", disk,
                    number);
    state->last = record;
    state->count = number;
    return true;
}

/* Read at most bytes; fewer only at the end of the file. */
static bool read_full(int fd, uint8_t *data, size_t bytes, uint64_t offset_bytes,
                      size_t *ret_bytes)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(fd, data + done, bytes - done, (off_t)(offset_bytes + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_bytes = done;
    return true;
}

bool records_verify(int fd, enum guest_disk disk, struct records_state *ret_state,
                    char *why, size_t why_bytes)
{
    static uint8_t chunk[READ_BYTES];
    struct records_state state = {0};
    uint64_t offset_bytes = 0;
    size_t got_bytes = sizeof(chunk);

    for (; got_bytes == sizeof(chunk); offset_bytes += got_bytes) {
        if (!read_full(fd, chunk, sizeof(chunk), offset_bytes, &got_bytes))
            return fail(why, why_bytes, "cannot read after record", disk, state.count);
        for (size_t at = 0; at < got_bytes; at += RECORD_BYTES) {
            if (state.has_torn_tail)
                return fail(why, why_bytes, "zeros in the place of record", disk,
                            state.count + 1);
            if (got_bytes - at < RECORD_BYTES)
                return fail(why, why_bytes, "a part of a record after record", disk,
                            state.count);
            if (bytes_are_zero(chunk + at, RECORD_BYTES))
                state.has_torn_tail = true;
            else if (!record_accept(&state, chunk + at, disk, why, why_bytes))
                return false;
        }
    }
    *ret_state = state;
    return true;
}

struct churn_plan churn_plan_get(enum guest_disk disk, uint64_t gen, uint64_t file_blocks)
{
    uint64_t word = mix_u64(gen * 2 + (uint64_t)disk);
    struct churn_plan plan = {.blocks = 1 + word % CHURN_MAX_BLOCKS};
    plan.first_block = (word >> 16) % (file_blocks - plan.blocks + 1);
    return plan;
}

void churn_encode(enum guest_disk disk, uint64_t gen, uint64_t block, uint8_t *bytes)
{
    const size_t half_bytes = CHURN_BLOCK_BYTES / 2;
    put_u64le(bytes, CHURN_MAGIC + (uint64_t)disk);
    put_u64le(bytes + 8, gen);
    put_u64le(bytes + 16, block);
    fill_random(bytes + CHURN_HEADER_BYTES, half_bytes - CHURN_HEADER_BYTES,
                mix_u64(gen) + block * CHURN_BLOCK_BYTES);
    fill_text(bytes + half_bytes, half_bytes - CHECKSUM_BYTES, gen);
    seal(bytes, CHURN_BLOCK_BYTES);
}

/* NULL when the block is as it must be, otherwise what is wrong with it. */
static const char *churn_block_fault(const uint8_t *bytes, enum guest_disk disk,
                                     uint64_t block, uint64_t min_gen,
                                     uint64_t file_blocks)
{
    if (bytes_are_zero(bytes, CHURN_BLOCK_BYTES))
        return min_gen > 0 ? "zeros instead of data in churn block" : NULL;
    if (get_u64le(bytes) != CHURN_MAGIC + (uint64_t)disk)
        return "foreign data in churn block";
    if (!seal_is_right(bytes, CHURN_BLOCK_BYTES))
        return "wrong checksum of churn block";
    if (get_u64le(bytes + 16) != block)
        return "another block's data in churn block";
    uint64_t gen = get_u64le(bytes + 8);
    if (gen < min_gen)
        return "stale data in churn block";
    struct churn_plan plan = churn_plan_get(disk, gen, file_blocks);
    if (block < plan.first_block || block - plan.first_block >= plan.blocks)
        return "a generation that never wrote it in churn block";
    return NULL;
}

/* For each block the last of generations 1 .. gen that writes it, 0 for none. */
static uint64_t *churn_replay(enum guest_disk disk, uint64_t gen, uint64_t file_blocks)
{
    uint64_t *min_gens = calloc((size_t)file_blocks, sizeof(*min_gens));
    for (uint64_t g = 1; min_gens != NULL && g <= gen; g++) {
        struct churn_plan plan = churn_plan_get(disk, g, file_blocks);
        for (uint64_t i = 0; i < plan.blocks; i++)
            min_gens[plan.first_block + i] = g;
    }
    return min_gens;
}

bool churn_verify(int fd, enum guest_disk disk, uint64_t gen,
                  struct churn_state *ret_state, char *why, size_t why_bytes)
{
    static uint8_t chunk[READ_BYTES];
    struct churn_state state = {0};
    struct stat st;
    const char *fault = NULL;
    uint64_t block = 0;

    if (fstat(fd, &st) != 0)
        return fail(why, why_bytes, "cannot stat the churn file, generation", disk, gen);
    state.blocks = (uint64_t)st.st_size / CHURN_BLOCK_BYTES;
    if (state.blocks < CHURN_MAX_BLOCKS) {
        *ret_state = state;
        return gen == 0 ||
               fail(why, why_bytes, "the churn file is cut, generation", disk, gen);
    }
    uint64_t *min_gens = churn_replay(disk, gen, state.blocks);
    if (min_gens == NULL)
        return fail(why, why_bytes, "no memory for churn generations", disk, gen);
    while (fault == NULL && block < state.blocks) {
        size_t at = (size_t)(block * CHURN_BLOCK_BYTES % READ_BYTES);
        size_t got_bytes = sizeof(chunk);
        if (at == 0 &&
            !read_full(fd, chunk, sizeof(chunk), block * CHURN_BLOCK_BYTES, &got_bytes))
            fault = "cannot read churn block";
        else
            fault =
                churn_block_fault(chunk + at, disk, block, min_gens[block], state.blocks);
        state.written_blocks += !bytes_are_zero(chunk + at, CHURN_BLOCK_BYTES);
        block += fault == NULL;
    }
    free(min_gens);
    if (fault != NULL)
        return fail(why, why_bytes, fault, disk, block);
    *ret_state = state;
    return true;
}

bool records_compare(const struct records_state *root, const struct records_state *data,
                     char *why, size_t why_bytes)
{
    if (root->count == data->count || root->count == data->count + 1)
        return true;
    (void)snprintf(why, why_bytes,
                   "the disks are not of one instant: root has %" PRIu64
                   " records, data %" PRIu64,
                   root->count, data->count);
    return false;
}
