/* SPDX-License-Identifier: Apache-2.0 */
/* Source: virtualNetwork.json (VirtualNetworks_Get) and the PATCH operations that take
 * {"tags": {...}} of disk.json, networkInterface.json and virtualMachine.json. */
#include "azure/group_items.h"

#include "base/text.h"

static const char *const VERSIONS[] = {
    [AZURE_ITEM_DISK] = AZURE_VERSION_DISKS,
    [AZURE_ITEM_NIC] = AZURE_VERSION_NETWORK,
    [AZURE_ITEM_VM] = AZURE_VERSION_COMPUTE,
};

bool azure_subnets_list(struct arm *arm, const char *network_id,
                        bool (*each)(void *ctx, const char *name, struct err *err),
                        void *ctx, struct err *err)
{
    char what[160];
    json_t *answer = NULL;
    (void)snprintf(what, sizeof what, "network '%.100s'", arm_id_name(network_id));
    struct arm_call call = {.method = "GET",
                            .path = network_id,
                            .api_version = AZURE_VERSION_NETWORK,
                            .what = what};
    if (!arm_run(arm, &call, &answer, err))
        return false;
    AUTO(json_free) json_t *network = answer;
    const json_t *subnets =
        json_object_get(json_object_get(network, "properties"), "subnets");
    for (size_t i = 0; i < json_array_size(subnets); i++) {
        const char *name;
        if (!json_get_text(json_array_get(subnets, i), "name", &name, err))
            return err_wrap(err, "%s", what);
        if (!each(ctx, name, err))
            return false;
    }
    return true;
}

bool azure_tag_get(struct arm *arm, enum azure_item item, const char *id, const char *tag,
                   char ret[AZURE_TAG_BYTES], struct err *err)
{
    char what[160];
    json_t *answer = NULL;
    const char *value;
    (void)snprintf(what, sizeof what, "look at '%.100s'", arm_id_name(id));
    struct arm_call call = {
        .method = "GET", .path = id, .api_version = VERSIONS[item], .what = what};
    if (!arm_run(arm, &call, &answer, err))
        return false;
    AUTO(json_free) json_t *resource = answer;
    const json_t *tags = json_object_get(resource, "tags");
    value = json_string_value(json_object_get(tags, tag));
    text_copy(ret, AZURE_TAG_BYTES, value ? value : "");
    return true;
}

bool azure_tags_replace(struct arm *arm, enum azure_item item, const char *id,
                        const struct azure_tags *tags, struct err *err)
{
    char what[160];
    json_t *object = json_object();
    AUTO(json_free) json_t *body = json_object();
    for (size_t i = 0; i < tags->count; i++)
        json_put_text(object, tags->items[i].name, tags->items[i].value);
    json_put_take(body, "tags", object);
    (void)snprintf(what, sizeof what, "tags of '%.100s'", arm_id_name(id));
    struct arm_call call = {.method = "PATCH",
                            .path = id,
                            .api_version = VERSIONS[item],
                            .body = body,
                            .what = what};
    return arm_run(arm, &call, NULL, err);
}
