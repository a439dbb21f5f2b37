/* SPDX-License-Identifier: Apache-2.0 */
/* Network interfaces: one IPv4 configuration, never a public address. */
#include "azure/compute_impl.h"

#include <arpa/inet.h>

#define CONFIGURATION "ipconfig1"

static const json_t *first_configuration(const json_t *nic)
{
    return json_array_get(compute_at(nic, "properties.ipConfigurations"), 0);
}

static const char *nic_difference(const void *ctx, const json_t *nic)
{
    const struct azure_nic_make *make = ctx;
    const json_t *configuration = first_configuration(nic);
    if (!arm_id_is_same(compute_text(configuration, "properties.subnet.id"),
                        make->subnet_id))
        return "subnet";
    bool is_static =
        strcasecmp(compute_text(configuration, "properties.privateIPAllocationMethod"),
                   "Static") == 0;
    if (is_static != (make->static_ip != NULL) ||
        (is_static && strcmp(compute_text(configuration, "properties.privateIPAddress"),
                             make->static_ip) != 0))
        return "address";
    const char *group = make->security_group_id ? make->security_group_id : "";
    if (!arm_id_is_same(compute_text(nic, "properties.networkSecurityGroup.id"), group))
        return "security group";
    return NULL;
}

static json_t *nic_body(const struct compute_item *item,
                        const struct azure_nic_make *make)
{
    json_t *properties, *inner = json_object(), *configuration = json_object();
    json_t *body = compute_body(item, &properties), *configurations = json_array();
    json_put_bool(inner, "primary", true);
    json_put_text(inner, "privateIPAddressVersion", "IPv4");
    json_put_text(inner, "privateIPAllocationMethod",
                  make->static_ip ? "Static" : "Dynamic");
    if (make->static_ip)
        json_put_text(inner, "privateIPAddress", make->static_ip);
    json_put_take(inner, "subnet", compute_reference(make->subnet_id));
    json_put_text(configuration, "name", CONFIGURATION);
    json_put_take(configuration, "properties", inner);
    (void)json_array_append_new(configurations, configuration); /* aborts on no memory */
    json_put_take(properties, "ipConfigurations", configurations);
    json_put_bool(properties, "enableAcceleratedNetworking", make->accelerated);
    if (make->security_group_id)
        json_put_take(properties, "networkSecurityGroup",
                      compute_reference(make->security_group_id));
    return body;
}

bool azure_nic_create(struct arm *arm, const struct azure_nic_make *make,
                      const struct cancel *cancel, struct err *err)
{
    struct in_addr address;
    struct compute_item item = {.id = make->id,
                                .api_version = AZURE_VERSION_NETWORK,
                                .location = make->location,
                                .noun = "NIC",
                                .tags = &make->tags,
                                .cancel = cancel,
                                .make = make,
                                .difference = nic_difference};
    if (make->static_ip && inet_pton(AF_INET, make->static_ip, &address) != 1)
        return err_set(err, FAIL_INPUT, "NIC '%s': '%.60s' is not an IPv4 address",
                       arm_id_name(make->id), make->static_ip);
    return compute_create(arm, &item, nic_body(&item, make), err);
}

bool azure_nic_remove(struct arm *arm, const char *id, struct err *err)
{
    return compute_remove(arm, id, AZURE_VERSION_NETWORK, "NIC", err);
}
