# SPDX-License-Identifier: Apache-2.0
"""Microsoft.Network: network interfaces; virtual networks, subnets, security groups and private endpoints to read."""
import ipaddress
import random
import re
import uuid

from .disks import clean
from .operations import NETWORK
from .refusal import Refusal, not_found, not_simulated
from .server import Answer, Routes
from .shapes import FLAG, RESOURCE, TAGS, TEXT, Choice, Fields, Items, check
from .world import GROUP, Resource, page

KIND = "Microsoft.Network/networkInterfaces"
VNET, NSG, ENDPOINT = ("Microsoft.Network/virtualNetworks", "Microsoft.Network/networkSecurityGroups",
                       "Microsoft.Network/privateEndpoints")
VERSIONS = ("2024-01-01", "2023-11-01", "2024-05-01")
RESERVED_FIRST, RESERVED_LAST = 4, 1            # addresses of a subnet that nobody gets
routes = Routes()

# A reference may carry the whole resource, as client libraries send it; only its id counts.
SUBNET = Fields("Subnet", required=("id",), ignored=("name", "etag", "type", "properties"), id=TEXT)
SECURITY_GROUP = Fields("NetworkSecurityGroup", required=("id",),
                        ignored=("name", "etag", "type", "location", "tags", "properties"), id=TEXT)
IP_CONFIGURATION = Fields("NetworkInterfaceIPConfiguration", required=("name",), ignored=("id", "etag", "type"),
                          name=TEXT,
                          properties=Fields("NetworkInterfaceIPConfigurationPropertiesFormat",
                                            ignored=("provisioningState",),
                                            not_done=("publicIPAddress", "loadBalancerBackendAddressPools",
                                                      "gatewayLoadBalancer",
                                                      "loadBalancerInboundNatRules", "applicationSecurityGroups",
                                                      "virtualNetworkTaps",
                                                      "applicationGatewayBackendAddressPools",
                                                      "privateIPAddressPrefixLength"),
                                            privateIPAddress=TEXT,
                                            privateIPAllocationMethod=Choice("Static", "Dynamic"),
                                            privateIPAddressVersion=Choice("IPv4"), subnet=SUBNET, primary=FLAG))
BODY = Fields("NetworkInterface", required=("location", "properties"), ignored=(*RESOURCE, "kind"),
              not_done=("extendedLocation",),
              location=TEXT, tags=TAGS,
              properties=Fields("NetworkInterfacePropertiesFormat", required=("ipConfigurations",),
                                ignored=("provisioningState", "resourceGuid", "macAddress", "primary", "virtualMachine",
                                         "hostedWorkloads", "tapConfigurations", "vnetEncryptionSupported",
                                         "defaultOutboundConnectivityEnabled",
                                         "nicType", "auxiliaryMode", "auxiliarySku", "allowPort25Out",
                                         "dscpConfiguration"),
                                not_done=("workloadType", "migrationPhase", "privateLinkService"),
                                ipConfigurations=Items(IP_CONFIGURATION), networkSecurityGroup=SECURITY_GROUP,
                                enableAcceleratedNetworking=FLAG, enableIPForwarding=FLAG, disableTcpStateTracking=FLAG,
                                dnsSettings=Fields("NetworkInterfaceDnsSettings", dnsServers=Items(TEXT),
                                                   ignored=("appliedDnsServers", "internalDomainNameSuffix",
                                                            "internalFqdn"),
                                                   internalDnsNameLabel=TEXT)))


def missing_reference(resource_id, by):
    return Refusal(400, "InvalidResourceReference", f"Resource {resource_id} referenced by resource {by} was not "
                                                    "found. Please make sure that the referenced resource exists, and "
                                                    "that both resources are in the same region.",
                   details=[{"code": "NotFound", "message": f"Resource {resource_id} not found."}])


def find_subnet(world, subnet_id):
    """(virtual network, subnet) or None."""
    match = re.fullmatch(r"(/.+)/subnets/([^/]+)", subnet_id, re.IGNORECASE)
    network = world.find(match[1]) if match else None
    if network is None or network.type != VNET:
        return None
    for subnet in network.properties["subnets"]:
        if subnet["name"].lower() == match[2].lower():
            return network, subnet
    return None


def _used(world, subnet):
    """Address -> id of the IP configuration (or the configuration's word) that has it."""
    used = dict.fromkeys(world.used_addresses.get(subnet["id"].lower(), ()), "another resource")
    for nic in world.of_type(KIND):
        for configuration in nic.properties["ipConfigurations"]:
            if configuration["properties"]["subnet"]["id"].lower() == subnet["id"].lower():
                used[configuration["properties"]["privateIPAddress"]] = configuration["id"]
    return used


def _address(world, subnet, configuration_id, wanted):
    """The given address when it may be had, else the first free one."""
    prefix = ipaddress.ip_network(subnet["properties"]["addressPrefix"])
    first, last = int(prefix[0]) + RESERVED_FIRST, int(prefix[-1]) - RESERVED_LAST
    used = _used(world, subnet)
    used = {address: owner for address, owner in used.items() if owner.lower() != configuration_id.lower()}
    if wanted is None:
        for number in range(first, last + 1):
            if str(ipaddress.ip_address(number)) not in used:
                return str(ipaddress.ip_address(number))
        raise Refusal(400, "SubnetIsFull", f"Subnet {subnet['name']} with address prefix {prefix} does not have enough "
                                           "capacity for 1 IP addresses.")
    try:
        address = ipaddress.IPv4Address(wanted)
    except ValueError:
        raise Refusal(400, "InvalidIPAddressFormat",
                      f"IP address {wanted} of {configuration_id} is not valid.") from None
    if address not in prefix:
        raise Refusal(400, "PrivateIPAddressNotInSubnet", f"Private static IP address {wanted} does not belong to the "
                                                          f"range of subnet prefix {prefix}.")
    if not first <= int(address) <= last:
        raise Refusal(400, "PrivateIPAddressInReservedRange", f"Private static IP address {wanted} falls within "
                                                              f"reserved IP range of subnet prefix {prefix}.")
    if wanted in used:
        raise Refusal(400, "PrivateIPAddressInUse", f"IP configuration {configuration_id} is using the private IP "
                                                    f"address {wanted} which is already allocated to resource "
                                                    f"{used[wanted]}.")
    return wanted


def _configuration(request, nic_id, location, item):
    """One checked and completed IP configuration."""
    world, lab = request.lab.world, request.lab
    item_id = f"{nic_id}/ipConfigurations/{item['name']}"
    given = item.get("properties") or {}
    subnet_id = (given.get("subnet") or {}).get("id")
    if not subnet_id:
        raise Refusal(400, "SubnetNotSpecified", f"A subnet is required for IP configuration {item_id}.")
    found = find_subnet(world, subnet_id)
    if found is None or found[0].location != location:
        raise missing_reference(subnet_id, nic_id)
    network, subnet = found
    lab.roles.check(request.caller, VNET + "/subnets/join/action", subnet["id"], (KIND + "/write", nic_id))
    method = given.get("privateIPAllocationMethod", "Dynamic")
    wanted = given.get("privateIPAddress") if method == "Static" else None
    if method == "Static" and not wanted:
        raise Refusal(400, "PrivateIPAddressNotSpecified", f"A static IP configuration {item_id} needs "
                                                           "privateIPAddress.")
    return {"name": item["name"], "id": item_id, "etag": f'W/"{uuid.uuid4()}"',
            "properties": {"provisioningState": "Updating", "privateIPAllocationMethod": method,
                           "privateIPAddress": _address(world, subnet, item_id, wanted),
                           "privateIPAddressVersion": "IPv4",
                           "subnet": {"id": subnet["id"]}, "primary": given.get("primary", False)}}


def _configurations(request, nic_id, location, items):
    if not items:
        raise Refusal(400, "NetworkInterfaceMustHaveOneIpConfiguration", f"Network interface {nic_id} must have an IP "
                      "configuration.")
    if len({item["name"].lower() for item in items}) != len(items):
        raise Refusal(400, "DuplicateResourceName", f"Two IP configurations of {nic_id} have one name.")
    made = [_configuration(request, nic_id, location, item) for item in items]
    primary = [c for c in made if c["properties"]["primary"]]
    if len(made) == 1:
        made[0]["properties"]["primary"] = True
    elif len(primary) != 1:
        raise Refusal(400, "NetworkInterfaceMustHaveExactlyOnePrimaryIpConfiguration",
                      f"{nic_id} needs one primary IP configuration.")
    if len({c["properties"]["privateIPAddress"] for c in made}) != len(made):
        raise not_simulated("several dynamic addresses of one network interface in one subnet")
    return made


@routes.on("PUT", GROUP + "/providers/" + KIND + "/{name}", versions=VERSIONS, action=KIND + "/write")
def put(request):
    lab, world, body = request.lab, request.lab.world, request.json()
    check(BODY, body)
    name = request.params["name"]
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?", name):
        raise Refusal(400, "InvalidResourceName", f"Resource name {name} is invalid.")
    body = clean(body, BODY)
    with world.lock:
        nic_id, nic = world.named(request, KIND)
        location = world.place(request, body, KIND, nic)
        if nic is not None and nic.busy:
            if nic.busy.method == "PUT" and nic.busy.body == request.body:
                return Answer(201, nic.body, nic.busy.headers(request))
            world.not_busy(nic)
        given = body["properties"]
        group_id = (given.get("networkSecurityGroup") or {}).get("id")
        if group_id:
            group = world.find(group_id)
            if group is None or group.type != NSG or group.location != location:
                raise missing_reference(group_id, nic_id)
            lab.roles.check(request.caller, NSG + "/join/action", group.id, (KIND + "/write", nic_id))
        configurations = _configurations(request, nic_id, location, given["ipConfigurations"])
        is_new = nic is None
        if is_new:
            nic = world.add(Resource(nic_id, KIND, world.group(request), {"properties": {}}))
            nic.origin = "request"
        nic.request = request.json()
        _fill(nic, body, location, configurations, group_id)
        operation = world.operations.start(request, NETWORK, location, lambda: lambda: _made(nic), nic,
                                           lambda state: nic.properties.update(provisioningState=state))
        headers = operation.headers(request)
        return Answer(201 if is_new else 200, nic.body,
                      {k: headers[k] for k in ("Azure-AsyncOperation", "Retry-After")})


def _fill(nic, body, location, configurations, group_id):
    given, old = body["properties"], nic.body["properties"]
    dns = given.get("dnsSettings") or {}
    properties = {"provisioningState": "Updating", "resourceGuid": old.get("resourceGuid", str(uuid.uuid4())),
                  "ipConfigurations": configurations,
                  "dnsSettings": {"dnsServers": [], "appliedDnsServers": [],
                                  "internalDomainNameSuffix": "sim.internal.cloudapp.net", **dns},
                  "macAddress": old.get("macAddress", ""), "vnetEncryptionSupported": False,
                  "enableAcceleratedNetworking": given.get("enableAcceleratedNetworking", False),
                  "enableIPForwarding": given.get("enableIPForwarding", False),
                  "disableTcpStateTracking": given.get("disableTcpStateTracking", False),
                  "hostedWorkloads": [], "tapConfigurations": [], "nicType": "Standard", "auxiliaryMode": "None",
                  "auxiliarySku": "None"}
    if group_id:
        properties["networkSecurityGroup"] = {"id": group_id}
    for key in ("virtualMachine", "primary"):
        if key in old:
            properties[key] = old[key]
    nic.body = {"name": nic.name, "id": nic.id, "etag": f'W/"{uuid.uuid4()}"', "type": KIND, "location": location,
                "tags": body.get("tags", {}), "properties": properties}


def _made(nic):
    nic.properties["provisioningState"] = "Succeeded"
    for configuration in nic.properties["ipConfigurations"]:
        configuration["properties"]["provisioningState"] = "Succeeded"
    return dict(nic.body)


def attach(nic, vm_id, is_primary):
    """A VM has it; the lock is held."""
    nic.properties["virtualMachine"] = {"id": vm_id}
    nic.properties["primary"] = is_primary
    dice = random.Random(nic.id.lower())
    nic.properties["macAddress"] = "00-0D-3A-" + "-".join(f"{dice.randrange(256):02X}" for _ in range(3))


def detach(nic):
    for key in ("virtualMachine", "primary"):
        nic.properties.pop(key, None)


@routes.on("DELETE", GROUP + "/providers/" + KIND + "/{name}", versions=VERSIONS, action=KIND + "/delete")
def delete(request):
    world = request.lab.world
    with world.lock:
        _, nic = world.named(request, KIND)
        if nic is None:
            return Answer(204)
        owner = nic.properties.get("virtualMachine")
        if owner:
            raise Refusal(400, "NicInUse", f"Network Interface {nic.id} is used by existing resource {owner['id']}. In "
                                           "order to delete the network interface, it must be dissociated from the "
                                           "resource.")
        if nic.busy:
            if nic.busy.method == "DELETE":
                return Answer(202, None, nic.busy.headers(request))
            world.not_busy(nic)

        operation = world.operations.start(request, NETWORK, nic.location, lambda: lambda: world.remove(nic), nic,
                                           lambda _state: nic.properties.update(provisioningState="Succeeded"))
        nic.properties["provisioningState"] = "Deleting"
        return Answer(202, None, operation.headers(request))


def _readable(kind):
    def get(request):
        with request.lab.world.lock:
            resource_id, resource = request.lab.world.named(request, kind)
            if resource is None:
                raise not_found(resource_id, request.params["group"])
            return Answer(200, resource.body, {"ETag": resource.body["etag"]} if "etag" in resource.body else None)

    def list_group(request):
        with request.lab.world.lock:
            group = request.lab.world.group(request)
            return Answer(200, page(request, [r.body for r in request.lab.world.of_type(kind, group)]))

    def list_all(request):
        with request.lab.world.lock:
            request.lab.world.subscription(request)
            return Answer(200, page(request, [r.body for r in request.lab.world.of_type(kind)]))
    routes.on("GET", f"{GROUP}/providers/{kind}/{{name}}", versions=VERSIONS, action=kind + "/read")(get)
    routes.on("GET", f"{GROUP}/providers/{kind}", versions=VERSIONS, action=kind + "/read")(list_group)
    routes.on("GET", f"/subscriptions/{{sub}}/providers/{kind}", versions=VERSIONS, action=kind + "/read")(list_all)


for _kind in (KIND, VNET, NSG, ENDPOINT):
    _readable(_kind)


@routes.on("GET", GROUP + "/providers/" + VNET + "/{name}/subnets/{subnet}", versions=VERSIONS,
           action=VNET + "/subnets/read")
def get_subnet(request):
    with request.lab.world.lock:
        network_id, _ = request.lab.world.named(request, VNET)
        found = find_subnet(request.lab.world, f"{network_id}/subnets/{request.params['subnet']}")
        if found is None:
            raise Refusal(404, "NotFound", f"Resource {network_id}/subnets/{request.params['subnet']} not found.")
        return Answer(200, found[1])


@routes.on("GET", GROUP + "/providers/" + VNET + "/{name}/subnets", versions=VERSIONS, action=VNET + "/subnets/read")
def list_subnets(request):
    with request.lab.world.lock:
        network_id, network = request.lab.world.named(request, VNET)
        if network is None:
            raise not_found(network_id, request.params["group"])
        return Answer(200, {"value": network.properties["subnets"]})
