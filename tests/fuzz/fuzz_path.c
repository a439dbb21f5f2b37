/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decides the way of a connection: byte 0 picks a name server's answer, bypass rules
 * with a host, a hosts file, or settings. Names that come out of an answer must be such
 * that a log can show them; a rule never catches what is not below its domain.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/text.h"
#include "netpath/bypass.h"
#include "netpath/dns_message.h"
#include "netpath/hosts.h"
#include "netpath/resolve.h"

#include <ctype.h>

static void try_answer(const uint8_t *data, size_t data_bytes)
{
    static struct path_answer answer;
    memset(&answer, 0, sizeof answer);
    answer.ttl_s = UINT32_MAX;
    if (!dns_message_read(data, data_bytes, &answer))
        return;
    if (answer.chain_count > PATH_MAX_CHAIN || answer.address_count > PATH_MAX_ADDRESSES)
        abort();
    for (size_t i = 0; i < answer.chain_count; i++)
        for (const char *p = answer.chain[i]; *p; p++)
            if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
                abort();
    for (size_t i = 0; i < answer.address_count; i++) {
        struct address address;
        if (!address_parse(answer.addresses[i], &address))
            abort();
    }
    (void)resolve_class(&answer);
}

/* "rules\nhost": whatever is caught by *.DOMAIN must end in ".DOMAIN". */
static void try_bypass(char *text)
{
    struct bypass_list list = {0};
    struct err err = ERR_INIT;
    char *host = strrchr(text, '\n');
    if (!host)
        return;
    *host++ = 0;
    if (bypass_add(&list, text, "fuzz", &err)) {
        const struct bypass_rule *rule = bypass_find(&list, host, 443);
        const char *written = rule ? bypass_rule_text(rule) : "";
        size_t bytes = strlen(host);
        if (bytes && host[bytes - 1] == '.')
            host[bytes - 1] = 0;
        size_t tail = strlen(written);
        if (tail > 2 && strncmp(written, "*.", 2) == 0 &&
            !strpbrk(written + 2, "*\\:$") && written[tail - 1] != '.' &&
            (strlen(host) < tail ||
             strcasecmp(host + strlen(host) - (tail - 1), written + 1) != 0))
            abort();
    } else if (err.kind != FAIL_INPUT && err.kind != FAIL_LIMIT) {
        abort();
    }
    bypass_release(&list);
}

static void try_hosts(const char *text)
{
    static struct path_answer answer;
    struct err err = ERR_INIT;
    if (hosts_find(text, "lsa1.example", &answer) &&
        answer.address_count > PATH_MAX_ADDRESSES)
        abort();
    if (!hosts_check("fuzz", text, &err) && err.kind != FAIL_INPUT)
        abort();
}

static void try_settings(const char *text)
{
    struct err err = ERR_INIT;
    const struct path_settings settings[] = {
        {.proxy = text},
        {.proxy = "http://p:1", .proxy_roles = text},
        {.require_private = text},
        {.dns_servers = text},
    };
    for (size_t i = 0; i < ARRAY_COUNT(settings); i++)
        if (!path_check_settings(&settings[i], &err) && err.kind != FAIL_INPUT &&
            err.kind != FAIL_LIMIT)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    AUTO(buf_release) struct buf text = {0};
    if (data_bytes == 0)
        return 0;
    buf_append(&text, data + 1, data_bytes - 1);
    if (strlen(buf_text(&text)) != text.bytes && (data[0] & 3) != 0)
        return 0;
    switch (data[0] & 3) {
    case 0:
        try_answer(data + 1, data_bytes - 1);
        break;
    case 1:
        if (text.data)
            try_bypass((char *)text.data);
        break;
    case 2:
        try_hosts(buf_text(&text));
        break;
    default:
        try_settings(buf_text(&text));
    }
    return 0;
}
