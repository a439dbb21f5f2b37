/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is there and what we may do: resources by tag, permissions, storage accounts.
 *
 * Facts: a listing that the service filters by tag name and value comes without the tags,
 * so all is listed and the choice made here ("Resources - List By Resource Group",
 * 2021-04-01). Of a storage account (2023-05-01) null means: TLS 1.0, a shared key, a
 * public network; of public blobs the versions differ, and we take the worse.
 */
#include "azure/compute_impl.h"

#include "base/text.h"

/* ---- resources ---- */

struct resources {
    const char *tag;
    bool (*each)(void *ctx, const struct azure_resource *resource, struct err *err);
    void *ctx;
};

static bool has_tag(const json_t *tags, const char *name)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tags, key, value)
    {
        if (strcasecmp(key, name) == 0)
            return true;
    }
    return false;
}

static bool each_resource(void *ctx, const json_t *item, struct err *err)
{
    const struct resources *resources = ctx;
    struct azure_resource resource = {.id = compute_text(item, "id"),
                                      .type = compute_text(item, "type"),
                                      .location = compute_text(item, "location"),
                                      .tags = json_object_get(item, "tags")};
    if (resources->tag && !has_tag(resource.tags, resources->tag))
        return true;
    return resources->each(resources->ctx, &resource, err);
}

bool azure_resources_list(struct arm *arm, const char *resource_group, const char *tag,
                          bool (*each)(void *ctx, const struct azure_resource *resource,
                                       struct err *err),
                          void *ctx, struct err *err)
{
    struct resources resources = {.tag = tag, .each = each, .ctx = ctx};
    char what[COMPUTE_WHAT_BYTES];
    AUTO(buf_release) struct buf path = {0};
    buf_printf(&path, "/subscriptions/%s/resourceGroups/%s/resources",
               arm_subscription(arm), resource_group);
    (void)snprintf(what, sizeof what, "list resource group '%s'", resource_group);
    struct arm_call call = {.method = "GET",
                            .path = buf_text(&path),
                            .api_version = AZURE_VERSION_RESOURCES,
                            .what = what};
    return arm_list(arm, &call, each_resource, &resources, err);
}

/* ---- permissions ---- */

struct permissions {
    const char *const *actions;
    size_t count;
    uint64_t allowed;
};

/* '*' is any text; case does not matter. */
static bool matches(const char *pattern, const char *text)
{
    const char *star = NULL, *from = text;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (strncasecmp(pattern, text, 1) == 0 && *pattern) {
            pattern++;
            text++;
        } else if (star) { /* let the last star take one more */
            pattern = star + 1;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

static bool one_matches(const json_t *patterns, const char *action)
{
    for (size_t i = 0; i < json_array_size(patterns); i++) {
        const char *pattern = json_string_value(json_array_get(patterns, i));
        if (pattern && matches(pattern, action))
            return true;
    }
    return false;
}

static bool each_permission(void *ctx, const json_t *item, struct err *err)
{
    struct permissions *permissions = ctx;
    const json_t *yes = json_object_get(item, "actions");
    const json_t *no = json_object_get(item, "notActions");
    (void)err; /* what is not understood allows nothing */
    for (size_t i = 0; i < permissions->count; i++)
        if (one_matches(yes, permissions->actions[i]) &&
            !one_matches(no, permissions->actions[i]))
            permissions->allowed |= UINT64_C(1) << i;
    return true;
}

bool azure_permissions(struct arm *arm, const char *scope, const char *const *actions,
                       size_t action_count, uint64_t *ret, struct err *err)
{
    struct permissions permissions = {.actions = actions,
                                      .count = MIN_OF(action_count, (size_t)64)};
    char what[COMPUTE_WHAT_BYTES];
    AUTO(buf_release) struct buf path = {0};
    buf_printf(&path, "%s/providers/Microsoft.Authorization/permissions", scope);
    (void)snprintf(what, sizeof what, "permissions on '%.100s'", arm_id_name(scope));
    struct arm_call call = {.method = "GET",
                            .path = buf_text(&path),
                            .api_version = AZURE_VERSION_AUTHORIZATION,
                            .what = what};
    if (!arm_list(arm, &call, each_permission, &permissions, err))
        return false;
    *ret = permissions.allowed;
    return true;
}

/* ---- storage accounts ---- */

/* Absent or null: as fallback says. */
static bool flag_of(const json_t *account, const char *path, bool fallback)
{
    const json_t *value = compute_at(account, path);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static void count_endpoints(const json_t *account, struct azure_account_info *ret)
{
    const json_t *list = compute_at(account, "properties.privateEndpointConnections");
    ret->endpoint_count = json_array_size(list);
    for (size_t i = 0; i < ret->endpoint_count; i++) {
        const char *status =
            compute_text(json_array_get(list, i),
                         "properties.privateLinkServiceConnectionState.status");
        ret->endpoint_approved += strcasecmp(status, "Approved") == 0;
    }
}

bool azure_account_get(struct arm *arm, const char *id, struct azure_account_info *ret,
                       struct err *err)
{
    char what[COMPUTE_WHAT_BYTES];
    AUTO(json_free) json_t *account = NULL;
    (void)snprintf(what, sizeof what, "look at storage account '%s'", arm_id_name(id));
    struct arm_call call = {
        .method = "GET", .path = id, .api_version = AZURE_VERSION_STORAGE, .what = what};
    if (!arm_run(arm, &call, &account, err))
        return false;
    const char *tls = compute_text(account, "properties.minimumTlsVersion");
    const char *network = compute_text(account, "properties.publicNetworkAccess");
    *ret = (struct azure_account_info){
        .allows_public_blobs = flag_of(account, "properties.allowBlobPublicAccess", true),
        .allows_http = !flag_of(account, "properties.supportsHttpsTrafficOnly", false),
        .allows_shared_key = flag_of(account, "properties.allowSharedKeyAccess", true),
        .has_public_network = !*network || strcasecmp(network, "Enabled") == 0,
        .is_hierarchical = flag_of(account, "properties.isHnsEnabled", false),
    };
    text_copy(ret->kind, sizeof ret->kind, compute_text(account, "kind"));
    text_copy(ret->sku, sizeof ret->sku, compute_text(account, "sku.name"));
    text_copy(ret->location, sizeof ret->location, compute_text(account, "location"));
    text_copy(ret->min_tls, sizeof ret->min_tls, *tls ? tls : "TLS1_0");
    count_endpoints(account, ret);
    return true;
}
