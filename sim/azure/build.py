# SPDX-License-Identifier: Apache-2.0
"""The resources that the configuration says are there already."""
import uuid

from .catalog import ACCOUNT
from .network import ENDPOINT, NSG, VNET
from .world import Resource


def _etag():
    return f'W/"{uuid.uuid4()}"'


def _add(world, kind, settings, body):
    resource_id = world.id_of(settings["group"], kind, settings["name"])
    body = {"name": settings["name"], "id": resource_id, "type": kind, "location": settings["location"], "tags": {},
            **body}
    return world.add(Resource(resource_id, kind, settings["group"], body))


def _networks(world, config):
    for settings in config["networks"]:
        network = _add(world, VNET, settings, {"etag": _etag(), "properties": {
            "provisioningState": "Succeeded", "resourceGuid": str(uuid.uuid4()), "virtualNetworkPeerings": [],
            "enableDdosProtection": False,
            "addressSpace": {"addressPrefixes": [settings["prefix"]]}, "subnets": []}})
        for subnet in settings["subnets"]:
            subnet_id = f"{network.id}/subnets/{subnet['name']}"
            network.properties["subnets"].append({
                "name": subnet["name"], "id": subnet_id, "etag": _etag(), "type": VNET + "/subnets",
                "properties": {"provisioningState": "Succeeded", "addressPrefix": subnet["prefix"], "delegations": [],
                               "privateEndpointNetworkPolicies": "Disabled",
                               "privateLinkServiceNetworkPolicies": "Enabled"}})
            world.used_addresses[subnet_id.lower()] = list(subnet["used"])
    for settings in config["security_groups"]:
        _add(world, NSG, settings, {"etag": _etag(), "properties": {"provisioningState": "Succeeded",
                                                                    "resourceGuid": str(uuid.uuid4()),
                                                                     "securityRules": [], "defaultSecurityRules": []}})


def _storage(world, config):
    for settings in config["storage_accounts"]:
        url = f"https://{settings['name']}.blob.core.windows.net/"
        _add(world, ACCOUNT, settings, {
            "kind": settings["kind"], "sku": {"name": settings["sku"], "tier": settings["sku"].split("_")[0]},
            "properties": {"provisioningState": "Succeeded", "creationTime": "2026-01-01T00:00:00.0000000Z",
                           "primaryEndpoints": {"blob": url, "dfs": url.replace(".blob.", ".dfs.")},
                           "primaryLocation": settings["location"],
                           "statusOfPrimary": "available", "minimumTlsVersion": settings["min_tls"],
                           "allowBlobPublicAccess": settings["public_blobs"],
                           "allowSharedKeyAccess": settings["shared_key"],
                           "supportsHttpsTrafficOnly": settings["https_only"],
                           "publicNetworkAccess": settings["public_network"],
                           "isHnsEnabled": settings["hierarchical"], "accessTier": "Hot",
                           "privateEndpointConnections": [],
                           "networkAcls": {"bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [],
                                           "defaultAction": "Allow" if settings["public_network"] == "Enabled"
                                           else "Deny"}}})


def _endpoints(world, config):
    for settings in config["private_endpoints"]:
        account = next((a for a in world.of_type(ACCOUNT) if a.name == settings["account"]), None)
        if account is None:
            raise ValueError(f"private endpoint '{settings['name']}': no storage account '{settings['account']}'")
        subnet = settings["subnet"] or world.of_type(VNET)[0].properties["subnets"][0]["id"]
        state = {"status": settings["state"], "description": "", "actionsRequired": "None"}
        endpoint = _add(world, ENDPOINT, settings, {"etag": _etag(), "properties": {
            "provisioningState": "Succeeded", "subnet": {"id": subnet},
            "networkInterfaces": [],
            "manualPrivateLinkServiceConnections": [], "customDnsConfigs": [
                {"fqdn": f"{account.name}.blob.core.windows.net",
                 "ipAddresses": [settings["address"] or "10.0.0.250"]}]}})
        endpoint.properties["privateLinkServiceConnections"] = [{
            "name": settings["name"], "id": f"{endpoint.id}/privateLinkServiceConnections/{settings['name']}",
            "etag": _etag(),
            "properties": {"provisioningState": "Succeeded", "privateLinkServiceId": account.id, "groupIds": ["blob"],
                           "privateLinkServiceConnectionState": state}}]
        account.properties["privateEndpointConnections"].append({
            "id": f"{account.id}/privateEndpointConnections/{account.name}.{uuid.uuid4()}",
            "name": f"{account.name}.{settings['name']}",
            "type": ACCOUNT + "/privateEndpointConnections",
            "properties": {"provisioningState": "Succeeded", "privateEndpoint": {"id": endpoint.id},
                           "privateLinkServiceConnectionState": state}})


def fill(world, config):
    _networks(world, config)
    _storage(world, config)
    _endpoints(world, config)
    for key, kind in (("disk_encryption_sets", "diskEncryptionSets"), ("availability_sets", "availabilitySets"),
                      ("proximity_groups", "proximityPlacementGroups")):
        for settings in config[key]:
            _add(world, f"Microsoft.Compute/{kind}", settings, {"properties": {}})
