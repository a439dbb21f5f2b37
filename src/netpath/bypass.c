/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule is brought into one of a few forms when it is read; matching is then a walk over
 * labels from the right.
 *
 * B1  a rule matches whole labels from the right end on: what stands in front of a
 *     suffix is always followed by a dot, and nothing may stand behind it;
 * B2  what could be read in two ways is refused with both of them, never guessed;
 * B3  matching takes time in proportion to name times pattern, whatever they hold.
 */
#include "netpath/bypass.h"

#include "base/text.h"

#include <ctype.h>

#define RULE_MAX_BYTES 300
#define SEPARATORS     ", ;\t\r\n"

enum rule_kind {
    RULE_NAME, /* pattern; "*" as its first label is one label or more */
    RULE_ALL,
    RULE_RANGE, /* base and bits; a single address too */
    RULE_LOCAL,
    RULE_LOOPBACK,
};

struct bypass_rule {
    enum rule_kind kind;
    uint16_t port; /* 0: any */
    char *text, *origin;
    char pattern[RULE_MAX_BYTES];
    struct address base;
    unsigned bits;
};

/* ---- reading ---- */

static bool refuse(const char *text, const char *why, struct err *err)
{
    return err_set(err, FAIL_INPUT, "bypass rule '%.100s': %s", text, why);
}

/* Takes ":443" off the end of "host:443" and "[v6]:443"; a bare IPv6 has no port. */
static bool take_port(char *work, uint16_t *ret)
{
    char *colon = strrchr(work, ':');
    struct address ignored;
    struct err err = ERR_INIT;
    uint64_t port;
    bool has_port = colon && colon > work &&
                    (colon[-1] == ']' || strchr(work, ':') == colon) &&
                    !address_parse(work, &ignored);
    *ret = 0;
    if (!has_port)
        return true;
    if (!text_parse_u64(colon + 1, 1, UINT16_MAX, &port, &err))
        return false;
    *ret = (uint16_t)port;
    *colon = 0;
    return true;
}

/* "^.*\.blob\.core\.windows\.net$": the signs of a regular expression that mean nothing
 * more here are taken away. */
static bool strip_regex(char *work)
{
    size_t bytes = strlen(work), out = 0;
    bool is_regex = false;
    size_t start = work[0] == '^';
    if (bytes > 1 && work[bytes - 1] == '$')
        work[--bytes] = 0;
    for (size_t i = start; i < bytes; i++) {
        if (work[i] == '\\' && work[i + 1] == '.') {
            is_regex = true;
            continue;
        }
        work[out++] = work[i];
    }
    work[out] = 0;
    return is_regex || start;
}

/* A name may hold these; '*' is looked at by itself. */
static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.' || c == '*';
}

static const char *check_name(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!is_name_char(*p))
            return "it is no host, *.domain, address, range or <local>; write the host "
                   "alone, without scheme and path";
    if (strstr(name, "..") || name[0] == '.')
        return "a part between two dots is empty";
    if (strstr(name, "**"))
        return "two '*' in a row";
    for (const char *p = strchr(name, '*'); p; p = strchr(p + 1, '*'))
        if (p == name && p[1] == '.')
            continue;
        else if ((p == name || p[-1] == '.') && (p[1] == '.' || !p[1]))
            return "'*' as a whole part may stand at the front only; write *.domain, or "
                   "name* for names that begin so";
    return NULL;
}

/* ".*" in the middle: a dot and any label to one reader, any text to the other. */
static bool is_ambiguous(const char *work)
{
    const char *at = strstr(work, ".*");
    return at && at != work;
}

static bool take_range(struct bypass_rule *rule, char *work)
{
    char *slash = strchr(work, '/');
    struct err err = ERR_INIT;
    uint64_t bits = 0;
    if (slash)
        *slash++ = 0;
    if (!address_parse(work, &rule->base))
        return false;
    unsigned offset = address_is_v4(&rule->base) ? 96 : 0;
    bits = 128 - offset;
    if (slash && !text_parse_u64(slash, 0, bits, &bits, &err))
        return false;
    rule->kind = RULE_RANGE;
    rule->bits = (unsigned)bits + offset;
    return true;
}

static bool take_name(struct bypass_rule *rule, const char *text, char *work,
                      struct err *err)
{
    char *name = work;
    bool is_below = false;
    bool is_regex = strip_regex(work);
    if (!is_regex && is_ambiguous(work))
        return refuse(text,
                      "'.*' in the middle can be read in two ways; write name*.domain "
                      "for names that begin so",
                      err);
    if (strncmp(name, ".*.", 3) == 0 || strncmp(name, "*.", 2) == 0) {
        name = strchr(name, '*') + 2;
        is_below = true;
    } else if (name[0] == '.' && name[1] != '*') {
        name++;
        is_below = true;
    }
    size_t bytes = strlen(name);
    if (bytes && name[bytes - 1] == '.')
        name[--bytes] = 0;
    if (!bytes)
        return refuse(text, "there is no name in it", err);
    const char *wrong = check_name(name);
    if (wrong)
        return refuse(text, wrong, err);
    rule->kind = RULE_NAME;
    (void)snprintf(rule->pattern, sizeof rule->pattern, "%s%s", is_below ? "*." : "",
                   name);
    return true;
}

/* No name ends in a number; "10.*" and "10.0.0.1-10.0.0.9" are meant as ranges. */
static bool is_broken_address(const char *work)
{
    const char *last = strrchr(work, '.');
    last = last ? last + 1 : work;
    return (*last && !last[strspn(last, "0123456789")]) ||
           !work[strspn(work, "0123456789.*:")];
}

static bool rule_read(struct bypass_rule *rule, const char *text, struct err *err)
{
    char work[RULE_MAX_BYTES];
    if (strlen(text) >= sizeof work - 3)
        return refuse(text, "it is longer than a name can be", err);
    text_copy(work, sizeof work, text);
    if (strcasecmp(work, "<local>") == 0) {
        rule->kind = RULE_LOCAL;
        return true;
    }
    if (strcasecmp(work, "<loopback>") == 0) {
        rule->kind = RULE_LOOPBACK;
        return true;
    }
    if (!take_port(work, &rule->port))
        return refuse(text, "its port is not 1 to 65535", err);
    if (strcmp(work, "*") == 0 || strcmp(work, ".*") == 0) {
        rule->kind = RULE_ALL;
        return true;
    }
    if (take_range(rule, work))
        return true;
    if (strpbrk(text, "/[]") || is_broken_address(work))
        return refuse(text,
                      "it is no host, address or range; write 10.1.0.5, 10.0.0.0/8 or "
                      "the host alone",
                      err);
    return take_name(rule, text, work, err);
}

static void rule_release(struct bypass_rule *rule)
{
    free(rule->text);
    free(rule->origin);
}

void bypass_release(struct bypass_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        rule_release(&list->rules[i]);
    free(list->rules);
    *list = (struct bypass_list){0};
}

bool bypass_add(struct bypass_list *list, const char *text, const char *origin,
                struct err *err)
{
    size_t before = list->count;
    const char *at = text + strspn(text, SEPARATORS);
    for (size_t bytes; *at; at += bytes, at += strspn(at, SEPARATORS)) {
        struct bypass_rule rule = {.text = NULL};
        char one[RULE_MAX_BYTES + 1];
        bytes = strcspn(at, SEPARATORS);
        (void)snprintf(one, sizeof one, "%.*s", (int)MIN_OF(bytes, sizeof one), at);
        bool ok = list->count < BYPASS_MAX_RULES
                      ? rule_read(&rule, one, err)
                      : err_set(err, FAIL_LIMIT,
                                "there are more than %d bypass rules; use *.domain",
                                BYPASS_MAX_RULES);
        if (!ok) {
            while (list->count > before)
                rule_release(&list->rules[--list->count]);
            return false;
        }
        rule.text = xstrdup(one);
        rule.origin = xstrdup(origin);
        list->rules = xrealloc(list->rules, list->count + 1, sizeof rule);
        list->rules[list->count++] = rule;
    }
    return true;
}

/* ---- matching ---- */

/* '*' in the pattern is any text, empty too; neither holds a dot. */
static bool label_matches(const char *pattern, size_t pattern_bytes, const char *label,
                          size_t label_bytes)
{
    size_t p = 0, l = 0, star = SIZE_MAX, resume = 0;
    while (l < label_bytes) {
        if (p < pattern_bytes && pattern[p] == '*') {
            star = p++;
            resume = l;
        } else if (p < pattern_bytes && tolower((unsigned char)pattern[p]) ==
                                            tolower((unsigned char)label[l])) {
            p++;
            l++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            l = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern_bytes && pattern[p] == '*')
        p++;
    return p == pattern_bytes;
}

static size_t last_label(const char *name, size_t bytes)
{
    while (bytes && name[bytes - 1] != '.')
        bytes--;
    return bytes;
}

static bool name_matches(const char *pattern, const char *host, size_t host_bytes)
{
    size_t pattern_bytes = strlen(pattern);
    for (;;) {
        size_t p = last_label(pattern, pattern_bytes);
        size_t h = last_label(host, host_bytes);
        if (p == 0 && pattern_bytes == 1 && pattern[0] == '*')
            return host_bytes > 0; /* one label or more: what is left */
        if (!label_matches(pattern + p, pattern_bytes - p, host + h, host_bytes - h))
            return false;
        if (p == 0 || h == 0)
            return p == h;
        pattern_bytes = p - 1;
        host_bytes = h - 1;
    }
}

static size_t length_without_dot(const char *host)
{
    size_t bytes = strlen(host);
    return bytes && host[bytes - 1] == '.' ? bytes - 1 : bytes;
}

bool bypass_is_loopback(const char *host)
{
    struct address address;
    size_t bytes = length_without_dot(host);
    if (address_parse(host, &address))
        return address_class(&address) == PATH_LOOPBACK;
    return name_matches("localhost", host, bytes) ||
           name_matches("*.localhost", host, bytes);
}

static bool rule_matches(const struct bypass_rule *rule, const char *host, uint16_t port)
{
    struct address address;
    size_t bytes = length_without_dot(host);
    bool is_address = address_parse(host, &address);
    if (rule->port && rule->port != port)
        return false;
    switch (rule->kind) {
    case RULE_ALL:
        return true;
    case RULE_LOOPBACK:
        return bypass_is_loopback(host);
    case RULE_LOCAL:
        return !is_address && bytes && !memchr(host, '.', bytes);
    case RULE_RANGE:
        return is_address && address_is_v4(&address) == address_is_v4(&rule->base) &&
               address_shares_bits(&address, &rule->base, rule->bits);
    default:
        return !is_address && name_matches(rule->pattern, host, bytes);
    }
}

const struct bypass_rule *bypass_find(const struct bypass_list *list, const char *host,
                                      uint16_t port)
{
    for (size_t i = 0; i < list->count; i++)
        if (rule_matches(&list->rules[i], host, port))
            return &list->rules[i];
    return NULL;
}

const char *bypass_rule_text(const struct bypass_rule *rule)
{
    return rule->text;
}

const char *bypass_rule_origin(const struct bypass_rule *rule)
{
    return rule->origin;
}

bool bypass_rule_is_wild(const struct bypass_rule *rule)
{
    return rule->kind == RULE_ALL ||
           (rule->kind == RULE_NAME && strchr(rule->pattern, '*'));
}
