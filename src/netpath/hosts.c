/* SPDX-License-Identifier: Apache-2.0 */
/* The form of hosts(5): an address, then names; read anew each time, so that a change
 * counts at once. */
#include "netpath/hosts.h"

#include "base/text.h"
#include "netpath/address.h"

#define LINE_MAX_BYTES 4096
#define BLANKS         " \t\r"

static size_t name_bytes(const char *name, size_t bytes)
{
    return bytes && name[bytes - 1] == '.' ? bytes - 1 : bytes;
}

bool hosts_same_name(const char *a, const char *b)
{
    size_t a_bytes = name_bytes(a, strlen(a)), b_bytes = name_bytes(b, strlen(b));
    return a_bytes == b_bytes && strncasecmp(a, b, a_bytes) == 0;
}

/* Next word of [*at, end); false: none. */
static bool next_word(const char **at, const char *end, const char **ret_word,
                      size_t *ret_bytes)
{
    while (*at < end && strchr(BLANKS, **at))
        (*at)++;
    *ret_word = *at;
    while (*at < end && **at != '#' && !strchr(BLANKS, **at))
        (*at)++;
    *ret_bytes = (size_t)(*at - *ret_word);
    return *ret_bytes > 0;
}

static bool line_address(const char **at, const char *end, struct address *ret)
{
    char text[ADDRESS_TEXT_BYTES];
    const char *word;
    size_t bytes;
    if (!next_word(at, end, &word, &bytes) || bytes >= sizeof text)
        return false;
    memcpy(text, word, bytes);
    text[bytes] = 0;
    return address_parse(text, ret);
}

static void take_line(const char *at, const char *end, const char *host,
                      struct path_answer *ret)
{
    struct address address;
    const char *word;
    size_t bytes;
    size_t host_bytes = name_bytes(host, strlen(host));
    if (!line_address(&at, end, &address))
        return;
    while (next_word(&at, end, &word, &bytes))
        if (name_bytes(word, bytes) == host_bytes &&
            strncasecmp(word, host, host_bytes) == 0 &&
            ret->address_count < PATH_MAX_ADDRESSES) {
            (void)address_text(&address, ret->addresses[ret->address_count++]);
            return;
        }
}

bool hosts_find(const char *text, const char *host, struct path_answer *ret)
{
    ret->address_count = 0;
    for (const char *at = text; *at;) {
        const char *end = at + strcspn(at, "\n");
        take_line(at, end, host, ret);
        at = *end ? end + 1 : end;
    }
    return ret->address_count > 0;
}

bool hosts_check(const char *path, const char *text, struct err *err)
{
    size_t line = 1;
    for (const char *at = text; *at; line++) {
        const char *end = at + strcspn(at, "\n");
        const char *p = at, *word;
        struct address address;
        size_t bytes;
        bool is_empty = !next_word(&p, end, &word, &bytes);
        p = at;
        bool ok = is_empty ||
                  ((size_t)(end - at) <= LINE_MAX_BYTES &&
                   line_address(&p, end, &address) && next_word(&p, end, &word, &bytes));
        if (!ok)
            return err_set(err, FAIL_INPUT,
                           "%s:%zu: '%.60s' is not ADDRESS NAME...; write the name's "
                           "address first",
                           path, line, at);
        at = *end ? end + 1 : end;
    }
    return true;
}
