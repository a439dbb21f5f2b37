/* SPDX-License-Identifier: Apache-2.0 */
/*
 * appliance.json is the Azure Migrate appliance's own file. Its switch
 * "EnableProxyBypassList" is documented, as the text "true"; where the appliance keeps
 * the list itself is not, so that we take "ProxyBypassList" beside the switch. Other keys
 * are the appliance's and no mistake.
 */
#include "daemon/network_rules.h"

#include "base/file.h"
#include "base/finding.h"
#include "base/text.h"
#include "http/json.h"
#include "netpath/path.h"

#define APPLIANCE_MAX_BYTES (1 * MIB)
#define UTF8_MARK           "\xef\xbb\xbf" /* Notepad writes it */

static const char *value_or_null(const char *value)
{
    return strcmp(value, "none") == 0 ? NULL : value;
}

bool network_option_check(const char *option, const char *value, struct err *err)
{
    struct path_settings settings = {.proxy = "http://proxy:1"};
    if (strcmp(option, "proxy") == 0)
        settings.proxy = value;
    else if (strcmp(option, "proxy_bypass") == 0)
        settings.proxy_bypass = value;
    else if (strcmp(option, "proxy_roles") == 0)
        settings.proxy_roles = value;
    else if (strcmp(option, "require_private") == 0)
        settings.require_private = value;
    else if (strcmp(option, "dns_servers") == 0)
        settings.dns_servers = value;
    return path_check_settings(&settings, err);
}

static bool read_switch(const json_t *json, bool *ret, struct err *err)
{
    const json_t *value = json_object_get(json, "EnableProxyBypassList");
    *ret = json_is_true(value);
    if (!value || json_is_boolean(value))
        return true;
    const char *text = json_string_value(value);
    if (!text || (strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0))
        return err_set(err, FAIL_INPUT,
                       "'EnableProxyBypassList' must be \"true\" or \"false\"");
    *ret = strcasecmp(text, "true") == 0;
    return true;
}

static bool read_list(const json_t *json, struct buf *ret, struct err *err)
{
    const json_t *list = json_object_get(json, "ProxyBypassList");
    if (!list)
        return true;
    if (json_is_string(list)) {
        buf_printf(ret, "%s\n", json_string_value(list));
        return true;
    }
    for (size_t i = 0; json_is_array(list) && i < json_array_size(list); i++) {
        const char *rule = json_string_value(json_array_get(list, i));
        if (!rule)
            return err_set(err, FAIL_INPUT,
                           "'ProxyBypassList' holds something that is no text");
        buf_printf(ret, "%s\n", rule);
    }
    return json_is_array(list) ||
           err_set(err, FAIL_INPUT,
                   "'ProxyBypassList' must be a text or a list of texts");
}

bool appliance_bypass_read(const char *name, const char *text, size_t text_bytes,
                           struct buf *ret, struct err *err)
{
    bool is_enabled = false;
    size_t mark_bytes = strlen(UTF8_MARK);
    if (text_bytes >= mark_bytes && memcmp(text, UTF8_MARK, mark_bytes) == 0) {
        text += mark_bytes;
        text_bytes -= mark_bytes;
    }
    AUTO(json_free) json_t *json = json_parse(name, text, text_bytes, err);
    if (!json)
        return false;
    if (!json_is_object(json))
        return err_set(err, FAIL_INPUT, "'%.200s' is not a JSON object", name);
    return (read_switch(json, &is_enabled, err) &&
            (!is_enabled || read_list(json, ret, err))) ||
           err_wrap(err, "'%.200s'", name);
}

/* "https://account.blob.core.windows.net" of "blob:https://account.../container". */
static bool store_url(const char *address, char *out, size_t out_bytes)
{
    const char *url = text_starts_with(address, "blob:") ? address + 5 : "";
    const char *host = strstr(url, "://");
    if (!host)
        return false;
    size_t bytes = (size_t)(host - url) + 3 + strcspn(host + 3, "/");
    text_copy(out, MIN_OF(out_bytes, bytes + 1), url);
    return bytes < out_bytes;
}

static void warn_of_rules(const struct config *config)
{
    char urls[2][PATH_NAME_BYTES];
    struct path_endpoint known[2];
    AUTO(findings_release) struct findings findings = {0};
    size_t count = 0;
    if (store_url(config->log_store, urls[count], sizeof urls[0])) {
        known[count] = (struct path_endpoint){ROLE_LOG_STORE, urls[count]};
        count++;
    }
    if (store_url(config->state_store, urls[count], sizeof urls[0])) {
        known[count] = (struct path_endpoint){ROLE_STATE_STORE, urls[count]};
        count++;
    }
    path_check_rules(known, count, &findings);
    for (size_t i = 0; i < findings.count; i++) {
        char what[LOG_QUOTED_BYTES], why[LOG_QUOTED_BYTES], remedy[LOG_QUOTED_BYTES];
        log_warn("network_rule", "what=%s why=%s remedy=%s",
                 log_quote(findings.items[i].what, what),
                 log_quote(findings.items[i].why, why),
                 log_quote(findings.items[i].remedy, remedy));
    }
}

bool network_apply(const struct config *config, struct err *err)
{
    AUTO(buf_release) struct buf appliance = {0};
    AUTO(buf_release) struct buf rules = {0};
    const char *appliance_json = value_or_null(config->appliance_json);
    if (appliance_json &&
        (!file_read(appliance_json, APPLIANCE_MAX_BYTES, &appliance, err) ||
         !appliance_bypass_read(appliance_json, buf_text(&appliance), appliance.bytes,
                                &rules, err)))
        return err_wrap(err, "appliance_json");
    const struct path_settings settings = {
        .proxy = value_or_null(config->proxy),
        .proxy_password_file = value_or_null(config->proxy_password_file),
        .proxy_roles = value_or_null(config->proxy_roles),
        .proxy_bypass = value_or_null(config->proxy_bypass),
        .appliance_bypass = buf_text(&rules),
        .require_private = value_or_null(config->require_private),
        .dns_servers = value_or_null(config->dns_servers),
        .hosts_file = value_or_null(config->hosts_file),
    };
    if (!path_configure(&settings, err))
        return false;
    warn_of_rules(config);
    return true;
}
