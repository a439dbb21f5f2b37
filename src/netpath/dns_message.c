/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 1035 section 4, as much as an answer to A and AAAA needs. Names are expanded by
 * c-ares, which bounds compression; everything else is bounds here:
 *
 * M1  no byte beyond data_bytes is looked at;
 * M2  at most MAX_RECORDS records are looked at, MAX_HOPS aliases followed: a loop of
 *     aliases ends;
 * M3  a name longer than PATH_NAME_BYTES, or with a character no host name has, ends the
 *     reading: it would reach logs and screens.
 */
#include "netpath/dns_message.h"

#include "base/text.h"
#include "netpath/address.h"
#include "netpath/hosts.h"

#include <ares.h>
#include <ctype.h>
#include <limits.h>

#define HEADER_BYTES 12
#define RECORD_BYTES 10 /* type, class, TTL, length */
#define MAX_RECORDS  64
#define CLASS_IN     1

struct record {
    char name[PATH_NAME_BYTES];
    uint16_t type;
    uint32_t ttl_s;
    char alias[PATH_NAME_BYTES]; /* of a CNAME */
    struct address address;      /* of A and AAAA */
};

static uint16_t get_u16be(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32be(const uint8_t *p)
{
    return (uint32_t)get_u16be(p) << 16 | get_u16be(p + 2);
}

static bool name_is_plain(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            return false;
    return true;
}

static bool read_name(const uint8_t *data, size_t data_bytes, size_t *at,
                      char out[PATH_NAME_BYTES])
{
    char *name = NULL;
    long used = 0;
    if (*at >= data_bytes || data_bytes > INT_MAX ||
        ares_expand_name(data + *at, data, (int)data_bytes, &name, &used) != ARES_SUCCESS)
        return false;
    bool ok = strlen(name) < PATH_NAME_BYTES && name_is_plain(name);
    if (ok)
        text_copy(out, PATH_NAME_BYTES, name);
    ares_free_string(name);
    *at += (size_t)used;
    return ok;
}

/* The rest of a record whose name is read; *is_used: it is one that counts. */
static bool read_record(const uint8_t *data, size_t data_bytes, size_t *at,
                        struct record *ret, bool *is_used)
{
    if (!read_name(data, data_bytes, at, ret->name) || data_bytes - *at < RECORD_BYTES)
        return false;
    const uint8_t *p = data + *at;
    size_t length = get_u16be(p + 8), inner = *at + RECORD_BYTES;
    ret->type = get_u16be(p);
    ret->ttl_s = get_u32be(p + 4);
    if (ret->ttl_s > INT32_MAX)
        ret->ttl_s = 0; /* RFC 2181 section 8 */
    if (data_bytes - inner < length)
        return false;
    *is_used = get_u16be(p + 2) == CLASS_IN;
    *at = inner + length;
    if (ret->type == DNS_CNAME)
        return read_name(data, data_bytes, &inner, ret->alias);
    if (ret->type == DNS_A && length == 4) {
        ret->address = (struct address){.bytes = {[10] = 0xff, [11] = 0xff}};
        memcpy(ret->address.bytes + 12, data + inner, 4);
    } else if (ret->type == DNS_AAAA && length == 16) {
        memcpy(ret->address.bytes, data + inner, 16);
    } else {
        *is_used = false;
    }
    return true;
}

static void follow(const struct record *records, size_t count, struct path_answer *ret,
                   const char *question)
{
    size_t chain_count = 1;
    char(*chain)[PATH_NAME_BYTES] = xcalloc(PATH_MAX_CHAIN, sizeof *chain);
    text_copy(chain[0], sizeof chain[0], question);
    for (bool moved = true; moved && chain_count < PATH_MAX_CHAIN;) { /* M2 */
        moved = false;
        for (size_t i = 0; i < count && !moved; i++)
            if (records[i].type == DNS_CNAME &&
                hosts_same_name(records[i].name, chain[chain_count - 1])) {
                text_copy(chain[chain_count++], PATH_NAME_BYTES, records[i].alias);
                ret->ttl_s = MIN_OF(ret->ttl_s, records[i].ttl_s);
                moved = true;
            }
    }
    for (size_t i = 0; i < count && ret->address_count < PATH_MAX_ADDRESSES; i++)
        if (records[i].type != DNS_CNAME &&
            hosts_same_name(records[i].name, chain[chain_count - 1])) {
            (void)address_text(&records[i].address, ret->addresses[ret->address_count++]);
            ret->ttl_s = MIN_OF(ret->ttl_s, records[i].ttl_s);
        }
    if (chain_count > ret->chain_count) {
        memcpy(ret->chain, chain, chain_count * sizeof *chain);
        ret->chain_count = chain_count;
    }
    free(chain);
}

bool dns_message_read(const uint8_t *data, size_t data_bytes, struct path_answer *ret)
{
    char question[PATH_NAME_BYTES];
    size_t at = HEADER_BYTES, count = 0;
    if (data_bytes < HEADER_BYTES || get_u16be(data + 4) != 1 ||
        !read_name(data, data_bytes, &at, question) || data_bytes - at < 4)
        return false;
    at += 4; /* type and class of the question */
    size_t wanted = MIN_OF((size_t)get_u16be(data + 6), (size_t)MAX_RECORDS);
    struct record *records = xcalloc(wanted + 1, sizeof *records);
    bool ok = true;
    for (size_t i = 0; ok && i < wanted; i++) {
        bool is_used = false;
        ok = read_record(data, data_bytes, &at, &records[count], &is_used);
        count += ok && is_used;
    }
    if (ok)
        follow(records, count, ret, question);
    free(records);
    return ok;
}
