/* SPDX-License-Identifier: Apache-2.0 */
/* Object names, fixed width so that byte order is cycle order, and the replica state's
 * bytes. */
#include "block/names.h"

#include "base/bytes.h"
#include "base/text.h"

#include <ctype.h>
#include <inttypes.h>

#define STATE_MAGIC  "KDGRST01"
#define STATE_BYTES  (8 + ID_BYTES + 4 * 8)
#define CYCLE_DIGITS 16
#define SALT_IN_NAME 8

void name_replica(const struct id *machine, char out[NAMES_MAX])
{
    char text[ID_TEXT_BYTES];
    (void)snprintf(out, NAMES_MAX, "%s/replica", id_text(machine, text));
}

void name_cycle_prefix(const struct id *machine, uint64_t cycle, char out[NAMES_MAX])
{
    char text[ID_TEXT_BYTES];
    (void)snprintf(out, NAMES_MAX, "%s/%016" PRIu64 "/", id_text(machine, text), cycle);
}

static void below(const struct id *machine, uint64_t cycle, const char *rest,
                  char out[NAMES_MAX])
{
    char text[ID_TEXT_BYTES];
    (void)snprintf(out, NAMES_MAX, "%s/%016" PRIu64 "/%s", id_text(machine, text), cycle,
                   rest);
}

void name_plan(const struct id *machine, uint64_t cycle, char out[NAMES_MAX])
{
    below(machine, cycle, "plan", out);
}

void name_journal_prefix(const struct id *machine, uint64_t cycle, char out[NAMES_MAX])
{
    below(machine, cycle, "journal/", out);
}

void name_journal(const struct id *machine, uint64_t cycle, uint32_t disk_index,
                  uint32_t seq, char out[NAMES_MAX])
{
    char rest[48];
    (void)snprintf(rest, sizeof rest, "journal/%02" PRIu32 "-%010" PRIu32, disk_index,
                   seq);
    below(machine, cycle, rest, out);
}

void name_segment(const struct id *machine, uint64_t cycle, uint32_t disk_index,
                  uint32_t seq, const uint8_t salt[SEGMENT_SALT_BYTES],
                  char out[NAMES_MAX])
{
    char rest[64], hex[2 * SALT_IN_NAME + 1];
    text_hex(salt, SALT_IN_NAME, hex);
    (void)snprintf(rest, sizeof rest, "seg/%02" PRIu32 "-%010" PRIu32 "-%s", disk_index,
                   seq, hex);
    below(machine, cycle, rest, out);
}

void name_manifest(const struct id *machine, uint64_t cycle, char out[NAMES_MAX])
{
    below(machine, cycle, "manifest", out);
}

bool name_parse_cycle(const struct id *machine, const char *name, uint64_t *ret_cycle)
{
    char text[ID_TEXT_BYTES];
    (void)id_text(machine, text);
    if (strncmp(name, text, ID_TEXT_BYTES - 1) != 0 || name[ID_TEXT_BYTES - 1] != '/')
        return false;
    const char *digits = name + ID_TEXT_BYTES;
    uint64_t cycle = 0;
    for (size_t i = 0; i < CYCLE_DIGITS; i++) {
        if (!isdigit((unsigned char)digits[i]))
            return false;
        cycle = cycle * 10 + (uint64_t)(digits[i] - '0');
    }
    if (digits[CYCLE_DIGITS] != '/')
        return false;
    *ret_cycle = cycle;
    return true;
}

void replica_state_encode(const struct replica_state *state, struct buf *out)
{
    buf_append(out, STATE_MAGIC, 8);
    buf_append(out, state->machine.bytes, ID_BYTES);
    buf_put_u64le(out, state->recovery_point);
    buf_put_u64le(out, state->recovery_wall_ms);
    buf_put_u64le(out, state->applying);
    buf_put_u64le(out, state->doubt);
}

bool replica_state_decode(const uint8_t *data, size_t data_bytes,
                          struct replica_state *ret, struct err *err)
{
    if (data_bytes != STATE_BYTES || memcmp(data, STATE_MAGIC, 8) != 0)
        return err_set(err, FAIL_CORRUPT, "replica state is not one of version 1");
    const uint8_t *p = data + 8 + ID_BYTES;
    memcpy(ret->machine.bytes, data + 8, ID_BYTES);
    ret->recovery_point = get_u64le(p);
    ret->recovery_wall_ms = get_u64le(p + 8);
    ret->applying = get_u64le(p + 16);
    ret->doubt = get_u64le(p + 24);
    return true;
}
