/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the settings. Everything that can be wrong is found here, before a set of rules
 * is in force; files with passwords are read once, so that a connection never fails for a
 * file that has gone since.
 */
#include "netpath/rules.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "netpath/hosts.h"
#include "netpath/resolve.h"

#include <ctype.h>

#define LIST_MAX_ITEMS 64
#define BLANKS         " \t"

/* ---- URLs ---- */

static bool parse_port(const char *text, uint16_t *ret)
{
    struct err err = ERR_INIT;
    uint64_t port;
    if (!text_parse_u64(text, 1, UINT16_MAX, &port, &err))
        return false;
    *ret = (uint16_t)port;
    return true;
}

/* "host", "host:port", "[v6]:port" */
static bool split_authority(const char *text, char host[PATH_NAME_BYTES], uint16_t *port)
{
    struct address address;
    const char *rest = NULL;
    size_t bytes;
    bool has_brackets = text[0] == '[';
    if (has_brackets) {
        const char *end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':'))
            return false;
        rest = end[1] ? end + 2 : NULL;
        bytes = (size_t)(end - ++text);
    } else {
        bytes = strcspn(text, ":");
        rest = text[bytes] ? text + bytes + 1 : NULL;
    }
    if (!bytes || bytes >= PATH_NAME_BYTES || (rest && !parse_port(rest, port)))
        return false;
    memcpy(host, text, bytes);
    host[bytes] = 0;
    return has_brackets ? address_parse(host, &address) && strchr(host, ':')
                        : resolve_host_is_plain(host);
}

/* Behind the scheme up to the path, which must be empty; NULL: not so. */
static const char *authority(const char *url, const char *scheme, char *out,
                             size_t out_bytes)
{
    if (strncasecmp(url, scheme, strlen(scheme)) != 0)
        return NULL;
    url += strlen(scheme);
    size_t bytes = strcspn(url, "/?#");
    if (bytes >= out_bytes || (url[bytes] && strcmp(url + bytes, "/") != 0))
        return NULL;
    memcpy(out, url, bytes);
    out[bytes] = 0;
    return out;
}

bool url_parse(const char *url, char ret_host[PATH_NAME_BYTES], uint16_t *ret_port,
               struct err *err)
{
    char work[PATH_NAME_BYTES + 8];
    const char *text = authority(url, "https://", work, sizeof work);
    *ret_port = text ? 443 : 80;
    if (!text)
        text = authority(url, "http://", work, sizeof work);
    if (!text || !split_authority(text, ret_host, ret_port))
        return err_set(err, FAIL_INPUT,
                       "'%.100s' is not the address of a server; write https://HOST or "
                       "https://HOST:PORT",
                       url);
    return true;
}

/* Percent-encoded; false: it is not well formed, or holds a control character. */
static bool decode(const char *text, size_t bytes, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (c == '%') {
            char hex[3] = {0};
            uint8_t value;
            struct err err = ERR_INIT;
            if (i + 2 >= bytes)
                return false;
            memcpy(hex, text + i + 1, 2);
            if (!text_unhex(hex, &value, 1, &err))
                return false;
            c = (char)value;
            i += 2;
        }
        if (n + 1 >= out_bytes || iscntrl((unsigned char)c))
            return false;
        out[n++] = c;
    }
    out[n] = 0;
    return true;
}

bool proxy_parse(const char *text, char ret_url[PATH_NAME_BYTES],
                 char ret_user[PATH_NAME_BYTES], struct err *err)
{
    char work[2 * PATH_NAME_BYTES], host[PATH_NAME_BYTES];
    uint16_t port = 1080; /* as libcurl does */
    const char *rest = authority(text, "http://", work, sizeof work);
    const char *at = rest ? strrchr(rest, '@') : NULL;
    bool ok = rest != NULL;
    ret_user[0] = 0;
    if (at) {
        size_t user_bytes = (size_t)(at - rest);
        ok = user_bytes && !memchr(rest, ':', user_bytes) && /* a password */
             decode(rest, user_bytes, ret_user, PATH_NAME_BYTES);
        rest = at + 1;
    }
    ok = ok && split_authority(rest, host, &port);
    if (ok)
        ok = snprintf(ret_url, PATH_NAME_BYTES,
                      strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u", host,
                      port) < PATH_NAME_BYTES;
    secret_wipe(work, sizeof work);
    if (!ok) /* not the text: a password may be in it */
        return err_set(err, FAIL_INPUT,
                       "the proxy's address is not http://[USER@]HOST:PORT; a password "
                       "goes into a file of its own");
    return true;
}

/* ---- lists ---- */

static bool is_set(const char *text)
{
    return text && *text;
}

/* Calls each() for every item, trimmed. */
static bool for_items(const char *text, struct path_rules *rules,
                      bool (*each)(struct path_rules *, char *item, struct err *),
                      struct err *err)
{
    size_t count = 0;
    for (const char *at = text; *at;) {
        char item[256];
        at += strspn(at, BLANKS ",");
        size_t bytes = strcspn(at, ",");
        size_t kept = bytes;
        while (kept && strchr(BLANKS, at[kept - 1]))
            kept--;
        if (kept >= sizeof item || ++count > LIST_MAX_ITEMS)
            return err_set(err, FAIL_LIMIT, "'%.60s' is too long for a list", text);
        memcpy(item, at, kept);
        item[kept] = 0;
        if (kept && !each(rules, item, err))
            return false;
        at += bytes;
    }
    return true;
}

static bool take_private(struct path_rules *rules, char *item, struct err *err)
{
    enum path_role role;
    if (!path_role_parse(item, &role, err))
        return false;
    rules->must_be_private[role] = true;
    return true;
}

static bool take_wish(struct path_rules *rules, char *item, struct err *err)
{
    enum path_role role;
    char *value = strchr(item, '=');
    if (value)
        *value++ = 0;
    bool is_always = value && strcmp(value, "proxy") == 0;
    if (!value ||
        (!is_always && strcmp(value, "direct") != 0 && strcmp(value, "rules") != 0))
        return err_set(err, FAIL_INPUT,
                       "'%.60s' must be ROLE=proxy, ROLE=direct or ROLE=rules", item);
    if (!path_role_parse(item, &role, err))
        return false;
    if (role == ROLE_LOCAL && is_always)
        return err_set(err, FAIL_INPUT, "role 'local' never uses a proxy");
    rules->wish[role] = is_always                     ? PROXY_ALWAYS
                        : strcmp(value, "rules") == 0 ? PROXY_BY_RULES
                                                      : PROXY_NEVER;
    return true;
}

static void add_server(char **servers, const char *server)
{
    AUTO(buf_release) struct buf text = {0};
    if (*servers)
        buf_printf(&text, "%s,", *servers);
    buf_append_text(&text, server);
    free(*servers);
    *servers = buf_take_text(&text);
}

/* Those of a role come in place of the common ones, which are spread afterwards. */
static bool take_server(struct path_rules *rules, char *item, struct err *err)
{
    enum path_role role = ROLE_OTHER;
    char *server = strchr(item, '=');
    if (server)
        *server++ = 0;
    else
        server = item;
    if ((server != item && !path_role_parse(item, &role, err)) ||
        !resolve_check_servers(server, err))
        return false;
    add_server(&rules->servers[role], server);
    return true;
}

static void spread_servers(struct path_rules *rules)
{
    const char *common = rules->servers[ROLE_OTHER];
    for (int role = 0; common && role < ROLE_COUNT; role++)
        if (!rules->servers[role])
            rules->servers[role] = xstrdup(common);
}

/* ---- all of it ---- */

static bool read_proxy(struct path_rules *rules, const struct path_settings *settings,
                       struct err *err)
{
    if (is_set(settings->proxy) &&
        !proxy_parse(settings->proxy, rules->proxy_url, rules->proxy_user, err))
        return err_wrap(err, "proxy");
    if (is_set(settings->proxy_roles) &&
        !for_items(settings->proxy_roles, rules, take_wish, err))
        return err_wrap(err, "proxy_roles");
    for (int role = 0; role < ROLE_COUNT; role++)
        if (rules->wish[role] == PROXY_ALWAYS && !rules->proxy_url[0])
            return err_set(
                err, FAIL_INPUT,
                "proxy_roles: '%s' wants the proxy, and none is set; set proxy",
                path_role_name((enum path_role)role));
    if (!is_set(settings->proxy_password_file))
        return true;
    if (!rules->proxy_user[0])
        return err_set(
            err, FAIL_INPUT,
            "proxy_password_file is set and the proxy has no user; write proxy "
            "= http://USER@HOST:PORT");
    rules->proxy_password = secret_read_file(settings->proxy_password_file, err);
    return rules->proxy_password || err_wrap(err, "proxy_password_file");
}

static bool read_names(struct path_rules *rules, const struct path_settings *settings,
                       struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (is_set(settings->require_private) &&
        !for_items(settings->require_private, rules, take_private, err))
        return err_wrap(err, "require_private");
    if (is_set(settings->dns_servers) &&
        !for_items(settings->dns_servers, rules, take_server, err))
        return err_wrap(err, "dns_servers");
    spread_servers(rules);
    if (!is_set(settings->hosts_file))
        return true;
    rules->hosts_file = xstrdup(settings->hosts_file);
    return (file_read(settings->hosts_file, HOSTS_MAX_BYTES, &text, err) &&
            hosts_check(settings->hosts_file, buf_text(&text), err)) ||
           err_wrap(err, "hosts_file");
}

struct path_rules *path_rules_new(const struct path_settings *settings, struct err *err)
{
    AUTO(path_rules_drop) struct path_rules *rules = xcalloc(1, sizeof *rules);
    rules->holders = 1;
    /* On this site, where a proxy to the internet leads nowhere. */
    rules->wish[ROLE_VCENTER] = rules->wish[ROLE_ESXI] = PROXY_NEVER;
    if (!read_proxy(rules, settings, err) || !read_names(rules, settings, err))
        return NULL;
    if (is_set(settings->proxy_bypass) &&
        !bypass_add(&rules->bypass, settings->proxy_bypass, "proxy_bypass", err)) {
        (void)err_wrap(err, "proxy_bypass");
        return NULL;
    }
    if (is_set(settings->appliance_bypass) &&
        !bypass_add(&rules->bypass, settings->appliance_bypass, "appliance.json", err)) {
        (void)err_wrap(err, "appliance.json");
        return NULL;
    }
    return TAKE(rules);
}

void path_rules_hold(struct path_rules *rules)
{
    rules->holders++;
}

void path_rules_drop(struct path_rules *rules)
{
    if (!rules || --rules->holders > 0)
        return;
    secret_free(rules->proxy_password);
    bypass_release(&rules->bypass);
    for (int role = 0; role < ROLE_COUNT; role++)
        free(rules->servers[role]);
    free(rules->hosts_file);
    free(rules);
}
