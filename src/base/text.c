/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsing and friendly printing; see the header for the grammar of each. */
#include "base/text.h"

#include <ctype.h>
#include <inttypes.h>

static bool digits_u64(const char **at, uint64_t *ret)
{
    uint64_t v = 0;
    const char *p = *at;
    if (!isdigit((unsigned char)*p))
        return false;
    for (; isdigit((unsigned char)*p); p++)
        if (!mul_u64(v, 10, &v) || !add_u64(v, (uint64_t)(*p - '0'), &v))
            return false;
    *at = p;
    *ret = v;
    return true;
}

static bool in_range(const char *text, uint64_t v, uint64_t min, uint64_t max,
                     struct err *err)
{
    if (v < min || v > max)
        return err_set(err, FAIL_INPUT,
                       "'%s' is out of range; allowed is %" PRIu64 " to %" PRIu64, text,
                       min, max);
    return true;
}

bool text_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret,
                    struct err *err)
{
    const char *p = text;
    uint64_t v;
    if (!digits_u64(&p, &v) || *p)
        return err_set(err, FAIL_INPUT, "'%s' is not a whole number", text);
    if (!in_range(text, v, min, max, err))
        return false;
    *ret = v;
    return true;
}

bool text_parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *ret,
                     struct err *err)
{
    static const char UNITS[] = "KMGT";
    const char *p = text;
    uint64_t v;
    if (!digits_u64(&p, &v))
        return err_set(err, FAIL_INPUT, "'%s' is not a size; write like 65536, 64K or 8M",
                       text);
    const char *unit = *p ? strchr(UNITS, toupper((unsigned char)*p)) : NULL;
    if (unit) {
        if (!mul_u64(v, (uint64_t)1 << (10 * (unsigned)(unit - UNITS + 1)), &v))
            return err_set(err, FAIL_INPUT, "'%s' is too large", text);
        p++;
        if (strcmp(p, "iB") == 0 || strcmp(p, "B") == 0)
            p += strlen(p);
    }
    if (*p)
        return err_set(err, FAIL_INPUT, "'%s' is not a size; write like 65536, 64K or 8M",
                       text);
    if (!in_range(text, v, min, max, err))
        return false;
    *ret = v;
    return true;
}

#define RATE_MAX_BPS UINT64_C(1000000000000000)

bool text_parse_rate(const char *text, uint64_t *ret_bps, struct err *err)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } UNITS[] = {
        {"", 1},          {"B", 1},
        {"K", KIB},       {"KB", KIB},
        {"KIB", KIB},     {"M", MIB},
        {"MB", MIB},      {"MIB", MIB},
        {"G", GIB},       {"GB", GIB},
        {"GIB", GIB},     {"KBIT", 1000 / 8},
        {"MBIT", 125000}, {"GBIT", 125000000},
    };
    const char *p = text;
    uint64_t v = 0;
    if (strcasecmp(text, "off") == 0) {
        *ret_bps = 0;
        return true;
    }
    bool ok = digits_u64(&p, &v);
    size_t unit_bytes = strlen(p), i = 0;
    if (unit_bytes >= 2 && strcasecmp(p + unit_bytes - 2, "/s") == 0)
        unit_bytes -= 2;
    while (i < ARRAY_COUNT(UNITS) && (strlen(UNITS[i].name) != unit_bytes ||
                                      strncasecmp(UNITS[i].name, p, unit_bytes) != 0))
        i++;
    ok = ok && i < ARRAY_COUNT(UNITS);
    if (!ok)
        return err_set(err, FAIL_INPUT,
                       "'%s' is not a rate; write like 10MB/s, 80Mbit/s or off", text);
    if (!mul_u64(v, UNITS[i].bytes, &v) || v > RATE_MAX_BPS)
        return err_set(err, FAIL_INPUT, "'%s' is too large", text);
    *ret_bps = v;
    return true;
}

static uint64_t duration_unit_ms(const char **at)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } UNITS[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    for (size_t i = 0; i < ARRAY_COUNT(UNITS); i++)
        if (text_starts_with(*at, UNITS[i].name)) {
            *at += strlen(UNITS[i].name);
            return UNITS[i].ms;
        }
    return 0;
}

bool text_parse_duration_ms(const char *text, uint64_t *ret, struct err *err)
{
    const char *p = text;
    uint64_t total = 0;
    if (strcmp(text, "0") == 0) {
        *ret = 0;
        return true;
    }
    do {
        uint64_t v, unit_ms;
        if (!digits_u64(&p, &v) || (unit_ms = duration_unit_ms(&p)) == 0 ||
            !mul_u64(v, unit_ms, &v) || !add_u64(total, v, &total))
            return err_set(err, FAIL_INPUT,
                           "'%s' is not a duration; write like 90s, 15m or 1d7h", text);
    } while (*p);
    *ret = total;
    return true;
}

bool text_parse_bool(const char *text, bool *ret, struct err *err)
{
    static const char *const YES[] = {"yes", "true", "on", "1"};
    static const char *const NO[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < ARRAY_COUNT(YES); i++) {
        if (strcmp(text, YES[i]) == 0 || strcmp(text, NO[i]) == 0) {
            *ret = strcmp(text, YES[i]) == 0;
            return true;
        }
    }
    return err_set(err, FAIL_INPUT, "'%s' is neither yes nor no", text);
}

const char *text_bytes(uint64_t bytes, char out[TEXT_HUMAN_BYTES])
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes;
    size_t unit = 0;
    while (v >= 1024 && unit + 1 < ARRAY_COUNT(UNITS)) {
        v /= 1024;
        unit++;
    }
    (void)snprintf(out, TEXT_HUMAN_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", v,
                   UNITS[unit]);
    return out;
}

const char *text_duration(uint64_t ms, char out[TEXT_HUMAN_BYTES])
{
    uint64_t s = ms / 1000;
    if (ms < 10000)
        (void)snprintf(out, TEXT_HUMAN_BYTES, "%.1fs", (double)ms / 1000);
    else if (s < 60)
        (void)snprintf(out, TEXT_HUMAN_BYTES, "%" PRIu64 "s", s);
    else if (s < 3600)
        (void)snprintf(out, TEXT_HUMAN_BYTES, "%" PRIu64 "m %02" PRIu64 "s", s / 60,
                       s % 60);
    else
        (void)snprintf(out, TEXT_HUMAN_BYTES, "%" PRIu64 "h %02" PRIu64 "m", s / 3600,
                       s % 3600 / 60);
    return out;
}

void text_hex(const uint8_t *data, size_t data_bytes, char *out)
{
    static const char DIGITS[] = "0123456789abcdef";
    for (size_t i = 0; i < data_bytes; i++) {
        out[2 * i] = DIGITS[data[i] >> 4];
        out[2 * i + 1] = DIGITS[data[i] & 15];
    }
    out[2 * data_bytes] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool text_unhex(const char *hex, uint8_t *out, size_t out_bytes, struct err *err)
{
    if (strlen(hex) != 2 * out_bytes)
        return err_set(err, FAIL_INPUT, "'%s' does not have %zu hex digits", hex,
                       2 * out_bytes);
    for (const char *p = hex; *p; p++)
        if (hex_digit(*p) < 0)
            return err_set(err, FAIL_INPUT, "'%s' is not hexadecimal", hex);
    for (size_t i = 0; i < out_bytes; i++)
        out[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return true;
}

bool text_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *text, const char *suffix)
{
    size_t t = strlen(text), s = strlen(suffix);
    return t >= s && strcmp(text + t - s, suffix) == 0;
}

bool text_check_name(const char *what, const char *name, struct err *err)
{
    size_t length = strlen(name);
    bool ok = length >= 1 && length <= 63 && isalnum((unsigned char)name[0]);
    for (size_t i = 0; ok && i < length; i++)
        ok = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
    if (!ok)
        return err_set(
            err, FAIL_INPUT,
            "%s '%.80s' is not a valid name; use 1 to 63 letters, digits, '.', '_' "
            "or '-', beginning with a letter or digit",
            what, name);
    return true;
}

void text_copy(char *out, size_t out_bytes, const char *text)
{
    (void)snprintf(out, out_bytes, "%s", text);
}
