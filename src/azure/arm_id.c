/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of resources and the names in them. Pure.
 *
 * Source of the rules: the vendor's "naming rules and restrictions for Azure resources"
 * and the descriptions in the published specifications. Where both differ from what the
 * service takes (a VM's resource name, when no computer name is set), the wider one is
 * here: the service has the last word.
 */
#include "azure/arm_impl.h"

#include "base/text.h"

#define SEGMENT_MAX_BYTES 260
#define MAX_SEGMENTS      20

struct name_rule {
    const char *type;
    size_t min_bytes, max_bytes;
    const char *besides; /* allowed besides letters and digits */
    bool is_lower;       /* no capitals */
    bool any_first;      /* else a letter or digit */
    const char *not_last;
};

static const struct name_rule NAME_RULES[] = {
    {"Microsoft.Compute/disks", 1, 80, "_-", false, false, ""},
    {"Microsoft.Compute/snapshots", 1, 80, "_-", false, false, ""},
    {"Microsoft.Compute/virtualMachines", 1, 64, "._-", false, false, ".-"},
    {"Microsoft.Network/networkInterfaces", 1, 80, "._-", false, false, ".-"},
    {"Microsoft.Storage/storageAccounts", 3, 24, "", true, false, ""},
};
static const struct name_rule GROUP_RULE = {"", 1, 90, "._-()", false, true, "."};

static bool is_letter_or_digit(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool check_name(const char *what, const struct name_rule *rule, const char *name,
                       struct err *err)
{
    size_t bytes = strlen(name);
    if (bytes < rule->min_bytes || bytes > rule->max_bytes)
        return err_set(err, FAIL_INPUT,
                       "%s '%.100s' has %zu characters; it must have %zu to %zu", what,
                       name, bytes, rule->min_bytes, rule->max_bytes);
    for (const char *p = name; *p; p++) {
        bool is_capital = *p >= 'A' && *p <= 'Z';
        bool is_good = is_letter_or_digit((unsigned char)*p)
                           ? !(is_capital && rule->is_lower)
                           : strchr(rule->besides, *p) && (p > name || rule->any_first);
        if (!is_good)
            return err_set(
                err, FAIL_INPUT, "%s '%.100s': '%.1s' may not stand there; use %s%s%s%s",
                what, name, p,
                rule->is_lower ? "small letters and digits" : "letters, digits",
                *rule->besides ? " and " : "", rule->besides,
                rule->any_first ? "" : ", a letter or digit first");
    }
    if (strchr(rule->not_last, name[bytes - 1]))
        return err_set(err, FAIL_INPUT, "%s '%.100s' may not end in '%c'", what, name,
                       name[bytes - 1]);
    return true;
}

static bool check_name_of_type(const char *type, const char *name, struct err *err)
{
    char what[100];
    (void)snprintf(what, sizeof what, "the name of a %.80s", type);
    for (size_t i = 0; i < ARRAY_COUNT(NAME_RULES); i++)
        if (strcasecmp(NAME_RULES[i].type, type) == 0)
            return check_name(what, &NAME_RULES[i], name, err);
    return true; /* the service has the last word */
}

bool arm_id(const struct arm *arm, const char *resource_group, const char *type,
            const char *name, char ret[ARM_ID_BYTES], struct err *err)
{
    if (!check_name("resource group", &GROUP_RULE, resource_group, err) ||
        !check_name_of_type(type, name, err))
        return false;
    int need =
        snprintf(ret, ARM_ID_BYTES, "/subscriptions/%s/resourceGroups/%s/providers/%s/%s",
                 arm->subscription, resource_group, type, name);
    if (need < 0 || need >= ARM_ID_BYTES)
        return err_set(err, FAIL_INPUT, "the id of %.80s '%.100s' has more than %d bytes",
                       type, name, ARM_ID_BYTES - 1);
    return true;
}

/* ---- ids of users ---- */

/* Segments in place: starts[i], bytes[i]; false: too many, or one cannot be a name. */
struct segments {
    const char *starts[MAX_SEGMENTS];
    size_t bytes[MAX_SEGMENTS];
    size_t count;
};

static bool segment_is_good(const char *start, size_t bytes)
{
    if (bytes == 0 || bytes > SEGMENT_MAX_BYTES || (bytes == 1 && *start == '.') ||
        (bytes == 2 && memcmp(start, "..", 2) == 0))
        return false;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)start[i] <= ' ' || (unsigned char)start[i] == 0x7f ||
            strchr("<>%&\\?#\"'", start[i]))
            return false;
    return true;
}

static bool split(const char *text, struct segments *ret)
{
    const char *at = text;
    ret->count = 0;
    while (*at) {
        size_t bytes = strcspn(at, "/");
        if (ret->count == MAX_SEGMENTS || !segment_is_good(at, bytes))
            return false;
        ret->starts[ret->count] = at;
        ret->bytes[ret->count++] = bytes;
        at += bytes;
        if (*at == '/' && at[1])
            at++;
        else if (*at == '/')
            return false; /* nothing behind the last one */
    }
    return true;
}

static bool segment_is(const struct segments *segments, size_t index, const char *word,
                       size_t word_bytes)
{
    return index < segments->count && segments->bytes[index] == word_bytes &&
           strncasecmp(segments->starts[index], word, word_bytes) == 0;
}

static bool is_uuid(const char *text, size_t bytes)
{
    if (bytes != 36)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool is_hex = (text[i] >= '0' && text[i] <= '9') ||
                      (text[i] >= 'a' && text[i] <= 'f') ||
                      (text[i] >= 'A' && text[i] <= 'F');
        if (is_dash ? text[i] != '-' : !is_hex)
            return false;
    }
    return true;
}

bool arm_subscription_check(const char *text, struct err *err)
{
    return is_uuid(text, strlen(text)) ||
           err_set(err, FAIL_INPUT,
                   "subscription '%.60s' is not an id like "
                   "00000000-0000-0000-0000-000000000000",
                   text);
}

/* "Microsoft.Network/virtualNetworks/subnets" against
 * ".../Microsoft.Network/virtualNetworks/V/subnets/S". */
static bool type_is(const struct segments *id, const char *type)
{
    struct segments want;
    if (!split(type, &want) || want.count < 2 || id->count != 4 + 2 * want.count)
        return false;
    if (!segment_is(id, 5, want.starts[0], want.bytes[0]))
        return false;
    for (size_t i = 1; i < want.count; i++)
        if (!segment_is(id, 4 + 2 * i, want.starts[i], want.bytes[i]))
            return false;
    return true;
}

bool arm_id_check(const char *id, const char *type, struct err *err)
{
    struct segments segments;
    if (strlen(id) >= ARM_ID_BYTES)
        return err_set(err, FAIL_INPUT, "'%.100s...' has more than %d bytes", id,
                       ARM_ID_BYTES - 1);
    bool is_id = id[0] == '/' && split(id + 1, &segments) && segments.count >= 8 &&
                 segment_is(&segments, 0, "subscriptions", 13) &&
                 segment_is(&segments, 2, "resourceGroups", 14) &&
                 segment_is(&segments, 4, "providers", 9);
    if (!is_id)
        return err_set(err, FAIL_INPUT,
                       "'%.160s' is not the id of a resource; it must be like "
                       "/subscriptions/.../resourceGroups/.../providers/%.80s/...",
                       id, type);
    if (!is_uuid(segments.starts[1], segments.bytes[1]))
        return err_set(err, FAIL_INPUT, "'%.160s': its subscription is not a UUID", id);
    return type_is(&segments, type) ||
           err_set(err, FAIL_INPUT, "'%.160s' is not of type %.80s", id, type);
}

const char *arm_id_name(const char *id)
{
    const char *slash = strrchr(id, '/');
    return slash ? slash + 1 : id;
}

bool arm_id_is_same(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}
