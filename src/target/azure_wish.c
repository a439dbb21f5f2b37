/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options and settings of a machine, checked in full before anything is asked of Azure:
 * its own refusals come late, when half of a VM is made, and name an index.
 */
#include "target/azure_wish.h"

#include "base/file.h"
#include "base/text.h"
#include "http/json.h"
#include "target/azure_names.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <strings.h>

#define SETTINGS_MAX_BYTES (4 * MIB)
#define DEFAULT_SKU        "StandardSSD_LRS"

static const char *const SKUS[] = {"Standard_LRS", "StandardSSD_LRS", "StandardSSD_ZRS",
                                   "Premium_LRS",  "Premium_ZRS",     NULL};
static const char *const SYSTEMS[] = {"Linux", "Windows", NULL};
static const char *const REPLICAS[] = {"auto", "page-blob", "upload", NULL};

bool azure_sku_is_premium(const char *sku)
{
    return text_starts_with(sku, "Premium");
}

/* ---- one value ---- */

static bool is_one_of(const char *what, const char *text, const char *const choices[],
                      size_t *ret_at, struct err *err)
{
    AUTO(buf_release) struct buf known = {0};
    for (size_t i = 0; choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) {
            *ret_at = i;
            return true;
        }
        buf_printf(&known, "%s%s", i ? ", " : "", choices[i]);
    }
    return err_set(err, FAIL_INPUT, "'%s' is '%.60s'; known are %s", what, text,
                   buf_text(&known));
}

static bool copy_checked(const char *what, const char *text, char *ret, size_t ret_bytes,
                         struct err *err)
{
    if (strlen(text) >= ret_bytes)
        return err_set(err, FAIL_INPUT, "'%s' is longer than %zu characters", what,
                       ret_bytes - 1);
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ')
            return err_set(err, FAIL_INPUT, "'%s' holds control characters", what);
    if (text != ret)
        text_copy(ret, ret_bytes, text);
    return true;
}

static bool set_subnet(const char *what, const char *text, char *ret, struct err *err)
{
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return err_set(err, FAIL_INPUT,
                           "'%s' is '%.80s'; give the subnet's name alone", what, text);
    return copy_checked(what, text, ret, AZURE_SUBNET_BYTES, err);
}

static bool set_ip(const char *what, const char *text, char *ret, struct err *err)
{
    struct in_addr address;
    if (*text && inet_pton(AF_INET, text, &address) != 1)
        return err_set(err, FAIL_INPUT, "'%s' is '%.60s', which is no IPv4 address", what,
                       text);
    return copy_checked(what, text, ret, 46, err);
}

static bool set_zone(const char *text, char *ret, struct err *err)
{
    if (*text && (strlen(text) != 1 || *text < '1' || *text > '9'))
        return err_set(err, FAIL_INPUT, "'zone' is '%.20s'; zones are 1, 2 and 3", text);
    return copy_checked("zone", text, ret, 8, err);
}

static bool set_size(const char *text, char *ret, struct err *err)
{
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_-", *p))
            return err_set(err, FAIL_INPUT,
                           "'vm_size' is '%.80s'; sizes are like Standard_D4s_v5", text);
    return copy_checked("vm_size", text, ret, 64, err);
}

/* A later one of the same name wins; names are compared as Azure does. */
static bool add_tag(struct azure_wish *wish, const char *name, const char *value,
                    struct err *err)
{
    size_t at = 0;
    if (!*name || strpbrk(name, "<>%&\\?/"))
        return err_set(err, FAIL_INPUT,
                       "'%.80s' is no name of a tag; none of < > %% & \\ ? /", name);
    if (strncasecmp(name, "kedge-", 6) == 0)
        return err_set(err, FAIL_INPUT, "tag '%.80s': names with 'kedge-' are our own",
                       name);
    while (at < wish->tag_count && strcasecmp(wish->tags[at].name, name) != 0)
        at++;
    if (at == AZURE_MAX_USER_TAGS)
        return err_set(err, FAIL_LIMIT, "more than %d tags", AZURE_MAX_USER_TAGS);
    if (!copy_checked("tag name", name, wish->tags[at].name, sizeof wish->tags[at].name,
                      err) ||
        !copy_checked(name, value, wish->tags[at].value, sizeof wish->tags[at].value,
                      err))
        return false;
    if (at == wish->tag_count)
        wish->tag_count++;
    return true;
}

/* ---- the target's options ---- */

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static bool take_tags(const struct target_azure_options *options, struct azure_wish *wish,
                      struct err *err)
{
    for (size_t i = 0; i < options->tag_count; i++) {
        AUTO(free) char *name = xstrdup(options->tags[i]);
        char *equals = strchr(name, '=');
        if (!equals)
            return err_set(err, FAIL_INPUT, "tag '%.80s' is not NAME=VALUE", name);
        *equals = 0;
        if (!add_tag(wish, name, equals + 1, err))
            return false;
    }
    return true;
}

static bool take_options(const struct target_azure_options *options,
                         struct azure_wish *wish, struct err *err)
{
    const char *sku = *or_empty(options->disk_sku) ? options->disk_sku : DEFAULT_SKU;
    const char *os = *or_empty(options->os_type) ? options->os_type : SYSTEMS[0];
    const char *replica = *or_empty(options->replica) ? options->replica : REPLICAS[0];
    size_t at = 0;
    if (!is_one_of("disk_sku", sku, SKUS, &at, err) ||
        !is_one_of("os_type", os, SYSTEMS, &at, err) ||
        !is_one_of("replica", replica, REPLICAS, &at, err) ||
        !set_size(or_empty(options->vm_size), wish->vm_size, err) ||
        !set_zone(or_empty(options->zone), wish->zone, err) ||
        !take_tags(options, wish, err))
        return false;
    text_copy(wish->os_type, sizeof wish->os_type, os);
    for (size_t i = 0; i < MACHINE_MAX_NICS; i++)
        if (!set_subnet("subnet", or_empty(options->subnet), wish->nics[i].subnet, err) ||
            !set_subnet("test_subnet", or_empty(options->test_subnet),
                        wish->nics[i].test_subnet, err))
            return false;
    for (size_t i = 0; i < MACHINE_MAX_DISKS; i++) {
        text_copy(wish->disks[i].sku, sizeof wish->disks[i].sku, sku);
        wish->disks[i].replica = (enum azure_replica_wish)at;
    }
    return true;
}

bool azure_wish_check_options(const struct target_azure_options *options, struct err *err)
{
    AUTO(free) struct azure_wish *wish = xcalloc(1, sizeof *wish);
    return take_options(options, wish, err);
}

/* ---- the settings of one machine ---- */

static bool parse_nic(const json_t *json, struct azure_wish *wish, size_t at,
                      struct err *err)
{
    static const char *const keys[] = {"subnet", "ip", "test_subnet", "test_ip", NULL};
    const char *subnet, *ip, *test_subnet, *test_ip;
    return (json_is_object(json) || err_set(err, FAIL_INPUT, "it must be an object")) &&
           json_only_keys(json, keys, err) &&
           json_opt_text(json, "subnet", wish->nics[at].subnet, &subnet, err) &&
           json_opt_text(json, "ip", "", &ip, err) &&
           json_opt_text(json, "test_subnet", wish->nics[at].test_subnet, &test_subnet,
                         err) &&
           json_opt_text(json, "test_ip", "", &test_ip, err) &&
           set_subnet("subnet", subnet, wish->nics[at].subnet, err) &&
           set_subnet("test_subnet", test_subnet, wish->nics[at].test_subnet, err) &&
           set_ip("ip", ip, wish->nics[at].ip, err) &&
           set_ip("test_ip", test_ip, wish->nics[at].test_ip, err);
}

static bool parse_disk(const json_t *json, struct azure_wish *wish, size_t at,
                       struct err *err)
{
    static const char *const keys[] = {"sku", "replica", NULL};
    const char *sku, *replica;
    size_t which = 0;
    if (!json_is_object(json))
        return err_set(err, FAIL_INPUT, "it must be an object");
    if (!json_only_keys(json, keys, err) ||
        !json_opt_text(json, "sku", wish->disks[at].sku, &sku, err) ||
        !json_opt_text(json, "replica", REPLICAS[wish->disks[at].replica], &replica,
                       err) ||
        !is_one_of("sku", sku, SKUS, &which, err) ||
        !is_one_of("replica", replica, REPLICAS, &which, err))
        return false;
    wish->disks[at].replica = (enum azure_replica_wish)which;
    return copy_checked("sku", sku, wish->disks[at].sku, sizeof wish->disks[at].sku, err);
}

static bool parse_list(const json_t *json, const char *key, size_t max,
                       bool (*parse)(const json_t *, struct azure_wish *, size_t,
                                     struct err *),
                       struct azure_wish *wish, struct err *err)
{
    json_t *list;
    if (!json_object_get(json, key))
        return true;
    if (!json_get_array(json, key, &list, err))
        return false;
    if (json_array_size(list) > max)
        return err_set(err, FAIL_INPUT, "'%s' has %zu entries, the machine has %zu", key,
                       json_array_size(list), max);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!parse(json_array_get(list, i), wish, i, err))
            return err_wrap(err, "entry %zu of '%s'", i + 1, key);
    return true;
}

static bool parse_tags(const json_t *json, struct azure_wish *wish, struct err *err)
{
    json_t *tags = json_object_get(json, "tags"), *value;
    const char *name;
    if (!tags)
        return true;
    if (!json_is_object(tags))
        return err_set(err, FAIL_INPUT, "'tags' must be an object of texts");
    json_object_foreach(tags, name, value)
    {
        if (!json_is_string(value))
            return err_set(err, FAIL_INPUT, "tag '%.80s' must be a text", name);
        if (!add_tag(wish, name, json_string_value(value), err))
            return false;
    }
    return true;
}

static bool parse_machine(const json_t *json, const struct machine_def *machine,
                          struct azure_wish *wish, struct err *err)
{
    static const char *const keys[] = {"vm_name", "vm_size", "os_type", "zone",
                                       "tags",    "nics",    "disks",   NULL};
    const char *vm_name, *vm_size, *os_type, *zone;
    size_t at = 0;
    if (!json_is_object(json))
        return err_set(err, FAIL_INPUT, "it must be an object");
    if (!json_only_keys(json, keys, err) ||
        !json_opt_text(json, "vm_name", wish->vm_name, &vm_name, err) ||
        !json_opt_text(json, "vm_size", wish->vm_size, &vm_size, err) ||
        !json_opt_text(json, "os_type", wish->os_type, &os_type, err) ||
        !json_opt_text(json, "zone", wish->zone, &zone, err) ||
        !azure_name_check(vm_name, err) ||
        !is_one_of("os_type", os_type, SYSTEMS, &at, err) ||
        !set_size(vm_size, wish->vm_size, err) || !set_zone(zone, wish->zone, err))
        return false;
    text_copy(wish->os_type, sizeof wish->os_type, SYSTEMS[at]);
    return copy_checked("vm_name", vm_name, wish->vm_name, sizeof wish->vm_name, err) &&
           parse_tags(json, wish, err) &&
           parse_list(json, "nics", MAX_OF(machine->nic_count, (size_t)1), parse_nic,
                      wish, err) &&
           parse_list(json, "disks", machine->disk_count, parse_disk, wish, err);
}

bool azure_wish_parse(const struct target_azure_options *options,
                      const struct machine_def *machine, const char *text,
                      size_t text_bytes, struct azure_wish *ret, struct err *err)
{
    if (!take_options(options, ret, err))
        return false;
    azure_name_clean(machine->name, ret->vm_name);
    if (!text)
        return true;
    AUTO(json_free) json_t *json = json_parse("the settings", text, text_bytes, err);
    if (!json)
        return false;
    if (!json_is_object(json))
        return err_set(err, FAIL_INPUT, "it must be an object of machines");
    const json_t *of_machine = json_object_get(json, machine->name);
    return !of_machine || parse_machine(of_machine, machine, ret, err) ||
           err_wrap(err, "machine '%s'", machine->name);
}

struct azure_wish *azure_wish_read(const struct target_azure_options *options,
                                   const struct machine_def *machine, struct err *err)
{
    const char *path = or_empty(options->machine_settings);
    AUTO(free) struct azure_wish *wish = xcalloc(1, sizeof *wish);
    AUTO(buf_release) struct buf text = {0};
    if (*path && !file_read(path, SETTINGS_MAX_BYTES, &text, err)) {
        (void)err_wrap(err, "machine settings");
        return NULL;
    }
    if (!azure_wish_parse(options, machine, *path ? buf_text(&text) : NULL, text.bytes,
                          wish, err)) {
        if (*path)
            (void)err_wrap(err, "'%s'", path);
        return NULL;
    }
    return TAKE(wish);
}
