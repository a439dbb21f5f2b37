/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes of virtual machines, and how much of what is allowed is in use.
 *
 * Facts ("Resource Skus - List", 2021-07-01): capabilities are pairs of texts; a
 * restriction of type Location bars the size from the subscription in those locations,
 * one of type Zone from some zones of it.
 */
#include "azure/compute_impl.h"

#include "base/text.h"

/* ---- sizes ---- */

struct sizes {
    char location[COMPUTE_LOCATION_BYTES];
    bool (*each)(void *ctx, const struct azure_size *size, struct err *err);
    void *ctx;
};

static const char *capability(const json_t *sku, const char *name)
{
    const json_t *list = json_object_get(sku, "capabilities");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        if (strcasecmp(compute_text(pair, "name"), name) == 0)
            return compute_text(pair, "value");
    }
    return "";
}

static uint32_t capability_count(const json_t *sku, const char *name)
{
    struct err ignored = ERR_INIT; /* not a number: 0, none */
    uint64_t count = 0;
    return text_parse_u64(capability(sku, name), 0, 1000000, &count, &ignored)
               ? (uint32_t)count
               : 0;
}

/* "3.5" */
static uint64_t capability_gib(const json_t *sku, const char *name)
{
    const char *text = capability(sku, name);
    char *end = NULL;
    double gib = *text >= '0' && *text <= '9' ? strtod(text, &end) : 0;
    return end && *end == 0 && gib < 1e6 ? (uint64_t)(gib * (double)GIB) : 0;
}

static bool has_word(const char *list, const char *word)
{
    size_t bytes = strlen(word);
    while (*list) {
        size_t item_bytes = strcspn(list, ",");
        if (item_bytes == bytes && strncasecmp(list, word, bytes) == 0)
            return true;
        list += item_bytes + (list[item_bytes] == ',');
    }
    return false;
}

static bool names_location(const json_t *locations, const char *location)
{
    char found[COMPUTE_LOCATION_BYTES];
    for (size_t i = 0; i < json_array_size(locations); i++) {
        const char *text = json_string_value(json_array_get(locations, i));
        compute_location(text ? text : "", found);
        if (strcmp(found, location) == 0)
            return true;
    }
    return false;
}

static void add_zones(const json_t *zones, char *out, size_t out_bytes)
{
    for (size_t i = 0; i < json_array_size(zones); i++) {
        const char *zone = json_string_value(json_array_get(zones, i));
        size_t used = strlen(out);
        if (zone && used + strlen(zone) + 2 < out_bytes)
            (void)snprintf(out + used, out_bytes - used, "%s%s", used ? "," : "", zone);
    }
}

static void take_restrictions(const json_t *sku, const char *location,
                              struct azure_size *size)
{
    const json_t *list = json_object_get(sku, "restrictions");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *restriction = json_array_get(list, i);
        const char *type = compute_text(restriction, "type");
        const json_t *info = json_object_get(restriction, "restrictionInfo");
        bool is_here = names_location(json_object_get(restriction, "values"), location) ||
                       names_location(json_object_get(info, "locations"), location);
        if (is_here && strcasecmp(type, "Location") == 0)
            size->is_restricted = true;
        else if (is_here && strcasecmp(type, "Zone") == 0)
            add_zones(json_object_get(info, "zones"), size->restricted_zones,
                      sizeof size->restricted_zones);
    }
}

static bool each_sku(void *ctx, const json_t *sku, struct err *err)
{
    const struct sizes *sizes = ctx;
    const char *name = compute_text(sku, "name");
    if (strcasecmp(compute_text(sku, "resourceType"), "virtualMachines") != 0 || !*name ||
        !names_location(json_object_get(sku, "locations"), sizes->location))
        return true;
    const char *generations = capability(sku, "HyperVGenerations");
    uint32_t cpus = capability_count(sku, "vCPUsAvailable");
    struct azure_size size = {
        .cpus = cpus ? cpus : capability_count(sku, "vCPUs"),
        .max_data_disks = capability_count(sku, "MaxDataDiskCount"),
        .max_nics = capability_count(sku, "MaxNetworkInterfaces"),
        .memory_bytes = capability_gib(sku, "MemoryGB"),
        .gen1 = has_word(generations, "V1"),
        .gen2 = has_word(generations, "V2"),
        .premium_disks = strcasecmp(capability(sku, "PremiumIO"), "True") == 0,
    };
    text_copy(size.name, sizeof size.name, name);
    text_copy(size.family, sizeof size.family, compute_text(sku, "family"));
    take_restrictions(sku, sizes->location, &size);
    return sizes->each(sizes->ctx, &size, err);
}

bool azure_sizes_list(struct arm *arm, const char *location,
                      bool (*each)(void *ctx, const struct azure_size *size,
                                   struct err *err),
                      void *ctx, struct err *err)
{
    struct sizes sizes = {.each = each, .ctx = ctx};
    char filter[COMPUTE_LOCATION_BYTES + 32], what[COMPUTE_WHAT_BYTES];
    AUTO(buf_release) struct buf path = {0};
    compute_location(location, sizes.location);
    buf_printf(&path, "/subscriptions/%s/providers/Microsoft.Compute/skus",
               arm_subscription(arm));
    (void)snprintf(filter, sizeof filter, "location eq '%s'", sizes.location);
    (void)snprintf(what, sizeof what, "list sizes in '%s'", sizes.location);
    struct arm_call call = {.method = "GET",
                            .path = buf_text(&path),
                            .api_version = AZURE_VERSION_SKUS,
                            .filter = filter,
                            .what = what};
    return arm_list(arm, &call, each_sku, &sizes, err);
}

/* ---- usage ---- */

struct usages {
    bool (*each)(void *ctx, const struct azure_usage *usage, struct err *err);
    void *ctx;
};

static bool each_usage(void *ctx, const json_t *item, struct err *err)
{
    const struct usages *usages = ctx;
    json_int_t used = json_integer_value(json_object_get(item, "currentValue"));
    json_int_t limit = json_integer_value(json_object_get(item, "limit"));
    struct azure_usage usage = {.used = (uint64_t)MAX_OF(used, (json_int_t)0),
                                /* some say -1: as much as you like */
                                .limit = limit < 0 ? UINT64_MAX : (uint64_t)limit};
    text_copy(usage.name, sizeof usage.name, compute_text(item, "name.value"));
    return usages->each(usages->ctx, &usage, err);
}

bool azure_usage_list(struct arm *arm, const char *location,
                      bool (*each)(void *ctx, const struct azure_usage *usage,
                                   struct err *err),
                      void *ctx, struct err *err)
{
    struct usages usages = {.each = each, .ctx = ctx};
    char name[COMPUTE_LOCATION_BYTES], what[COMPUTE_WHAT_BYTES];
    AUTO(buf_release) struct buf path = {0};
    compute_location(location, name);
    buf_printf(&path, "/subscriptions/%s/providers/Microsoft.Compute/locations/%s/usages",
               arm_subscription(arm), name);
    (void)snprintf(what, sizeof what, "list usages in '%s'", name);
    struct arm_call call = {.method = "GET",
                            .path = buf_text(&path),
                            .api_version = AZURE_VERSION_COMPUTE,
                            .what = what};
    return arm_list(arm, &call, each_usage, &usages, err);
}
