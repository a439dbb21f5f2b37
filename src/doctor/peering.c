/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking up and putting together; the facts are all in regions.def.
 *
 * The storage community of a region is given beside the regional one: it alone is enough
 * for the data, and keeps the number of advertised prefixes small.
 */
#include "doctor/peering.h"

#include "base/text.h"

#include <ctype.h>

#define NAME_BYTES 64
#define NEAR_MAX   5
#define NEAR_LEAST 4 /* characters in common */

#define PEERING_SOURCE(page, date)
#define REGION(cloud, name, title, regional, storage)
#define SERVICE(cloud, name, community)
#define PEERED(cloud, domain, is_data)
#define INTERNET(cloud, address, is_optional)

struct region {
    const char *cloud, *name, *title, *regional, *storage;
};
static const struct region REGIONS[] = {
#undef REGION
#define REGION(cloud, name, title, regional, storage)                                    \
    {cloud, name, title, regional, storage},
#include "doctor/regions.def"
#undef REGION
#define REGION(cloud, name, title, regional, storage)
};

static const struct {
    const char *cloud, *name, *community;
} SERVICES[] = {
#undef SERVICE
#define SERVICE(cloud, name, community) {cloud, name, community},
#include "doctor/regions.def"
#undef SERVICE
#define SERVICE(cloud, name, community)
};

static const struct {
    const char *cloud, *domain;
    bool is_data;
} PEERED_DOMAINS[] = {
#undef PEERED
#define PEERED(cloud, domain, is_data) {cloud, domain, is_data},
#include "doctor/regions.def"
#undef PEERED
#define PEERED(cloud, domain, is_data)
};

static const struct {
    const char *cloud, *address;
    bool is_optional;
} INTERNET_ADDRESSES[] = {
#undef INTERNET
#define INTERNET(cloud, address, is_optional) {cloud, address, is_optional},
#include "doctor/regions.def"
#undef INTERNET
#define INTERNET(cloud, address, is_optional)
};

static const struct {
    const char *page, *date;
} SOURCE = {
#undef PEERING_SOURCE
#define PEERING_SOURCE(page, date) page, date,
#include "doctor/regions.def"
};

static const char APPLIANCE_JSON[] = "\"EnableProxyBypassList\": \"true\"";

/* ---- regions ---- */

/* "East US 2" -> "eastus2" */
static void plain_name(const char *text, char out[NAME_BYTES])
{
    size_t used = 0;
    for (const char *p = text; *p && used + 1 < NAME_BYTES; p++)
        if (isalnum((unsigned char)*p))
            out[used++] = (char)tolower((unsigned char)*p);
    out[used] = 0;
}

/* Length of the longest text that both hold. */
static size_t in_common(const char *a, const char *b)
{
    size_t best = 0;
    for (const char *p = a; *p; p++)
        for (const char *q = b; *q; q++) {
            size_t n = 0;
            while (p[n] && p[n] == q[n])
                n++;
            best = MAX_OF(best, n);
        }
    return best;
}

static bool unknown_region(const char *cloud, const char *text, const char *plain,
                           struct err *err)
{
    AUTO(buf_release) struct buf near = {0};
    size_t best = NEAR_LEAST, count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(REGIONS); i++)
        if (strcmp(REGIONS[i].cloud, cloud) == 0)
            best = MAX_OF(best, in_common(plain, REGIONS[i].name));
    for (size_t i = 0; i < ARRAY_COUNT(REGIONS); i++)
        if (strcmp(REGIONS[i].cloud, cloud) == 0 && count < NEAR_MAX &&
            in_common(plain, REGIONS[i].name) == best) {
            buf_printf(&near, "%s%s", near.bytes ? ", " : "", REGIONS[i].name);
            count++;
        }
    return err_set(err, FAIL_INPUT,
                   "no BGP community is known of region '%.40s' in cloud '%s'; %s%s",
                   text, cloud,
                   near.bytes ? "near names are " : "see the vendor's page on ",
                   near.bytes ? buf_text(&near) : "ExpressRoute routing requirements");
}

static const struct region *find_region(const char *cloud, const char *text,
                                        struct err *err)
{
    char wanted[NAME_BYTES], title[NAME_BYTES];
    plain_name(text, wanted);
    for (size_t i = 0; i < ARRAY_COUNT(REGIONS); i++) {
        plain_name(REGIONS[i].title, title);
        if (strcmp(REGIONS[i].cloud, cloud) == 0 &&
            (strcmp(REGIONS[i].name, wanted) == 0 || strcmp(title, wanted) == 0))
            return &REGIONS[i];
    }
    (void)unknown_region(cloud, text, wanted, err);
    return NULL;
}

static bool check_cloud(const char *cloud, struct err *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(SERVICES); i++)
        if (strcmp(SERVICES[i].cloud, cloud) == 0)
            return true;
    return err_set(err, FAIL_INPUT,
                   "no communities are known of cloud '%.40s'; known are "
                   "public and usgov",
                   cloud);
}

/* ---- the plan ---- */

static void append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        abort(); /* out of memory, as in xcalloc */
}

static void add_community(json_t *list, const char *community, const char *fmt,
                          const char *name)
{
    char what[128];
    json_t *item = json_object();
    (void)snprintf(what, sizeof what, fmt, name);
    json_put_text(item, "community", community);
    json_put_text(item, "what", what);
    append(list, item);
}

static json_t *communities(const char *cloud, const struct region *from,
                           const struct region *to)
{
    json_t *list = json_array();
    add_community(list, from->regional, "region %s, of the project", from->title);
    if (to != from)
        add_community(list, to->regional, "region %s, where machines go", to->title);
    for (size_t i = 0; i < ARRAY_COUNT(SERVICES); i++)
        if (strcmp(SERVICES[i].cloud, cloud) == 0)
            add_community(list, SERVICES[i].community, "%s", SERVICES[i].name);
    return list;
}

/* Enough for the data alone. */
static json_t *storage_communities(const struct region *from, const struct region *to)
{
    json_t *list = json_array();
    if (from->storage[0])
        add_community(list, from->storage, "storage of region %s", from->title);
    if (to != from && to->storage[0])
        add_community(list, to->storage, "storage of region %s", to->title);
    return list;
}

static json_t *internet(const char *cloud)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(INTERNET_ADDRESSES); i++) {
        if (strcmp(INTERNET_ADDRESSES[i].cloud, cloud) != 0)
            continue;
        json_t *item = json_object();
        json_put_text(item, "address", INTERNET_ADDRESSES[i].address);
        json_put_bool(item, "optional", INTERNET_ADDRESSES[i].is_optional);
        append(list, item);
    }
    return list;
}

static json_t *microsoft_peering(const char *cloud)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(PEERED_DOMAINS); i++) {
        char rule[128];
        if (strcmp(PEERED_DOMAINS[i].cloud, cloud) != 0)
            continue;
        json_t *item = json_object();
        (void)snprintf(rule, sizeof rule, ".*.%s", PEERED_DOMAINS[i].domain);
        json_put_text(item, "rule", rule);
        json_put_bool(item, "data", PEERED_DOMAINS[i].is_data);
        append(list, item);
    }
    return list;
}

static json_t *private_peering(const char *cloud, const char *account)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(PEERED_DOMAINS); i++) {
        char rule[200];
        if (strcmp(PEERED_DOMAINS[i].cloud, cloud) != 0 || !PEERED_DOMAINS[i].is_data)
            continue;
        (void)snprintf(rule, sizeof rule, "%.63s.%s", account ? account : "LOGACCOUNT",
                       PEERED_DOMAINS[i].domain);
        append(list, json_string(rule));
    }
    return list;
}

json_t *peering_plan(const struct peering_request *request, struct err *err)
{
    const char *cloud = request->cloud;
    if (!check_cloud(cloud, err))
        return NULL;
    const struct region *from = find_region(cloud, request->source_region, err);
    const struct region *to =
        from ? find_region(cloud, request->target_region, err) : NULL;
    if (!from || !to)
        return NULL;
    json_t *plan = json_object();
    json_put_text(plan, "cloud", cloud);
    json_put_text(plan, "source_region", from->name);
    json_put_text(plan, "target_region", to->name);
    json_put_take(plan, "communities", communities(cloud, from, to));
    json_put_take(plan, "storage_communities", storage_communities(from, to));
    json_put_take(plan, "internet", internet(cloud));
    json_put_take(plan, "microsoft_peering", microsoft_peering(cloud));
    json_put_take(plan, "private_peering", private_peering(cloud, request->log_account));
    json_put_text(plan, "appliance_json", APPLIANCE_JSON);
    json_put_text(plan, "source", SOURCE.page);
    json_put_text(plan, "source_date", SOURCE.date);
    return plan;
}
