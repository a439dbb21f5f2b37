# SPDX-License-Identifier: Apache-2.0
"""The configuration file: defaults, unknown keys refused. sim/README.md documents it."""
import ipaddress
import json
import os

LOCATION = "westeurope"


class ConfigError(Exception):
    pass


TOP = {"listen": "127.0.0.1", "port": 0, "control_port": 0, "tls": True, "certificate": None, "key": None,
       "tenant": "11111111-1111-1111-1111-111111111111", "subscription": "22222222-2222-2222-2222-222222222222",
       "locations": [LOCATION, "northeurope", "eastus"], "resource_groups": None, "clients": None, "issuers": [],
       "token_seconds": 3600, "operation_ms": 20, "retry_after_s": 0, "page_items": 100, "throttle": None,
       "networks": None,
       "security_groups": None, "private_endpoints": [], "storage_accounts": [], "managed_account": None,
       "disk_encryption_sets": [], "availability_sets": [], "proximity_groups": [], "quotas": {}, "restrictions": {},
       "guest_agent": True, "disks_dir": None, "boot": None, "record_dir": None, "key_vaults": [], "seed": 1}
GROUP = {"name": None, "location": LOCATION, "tags": {}}
CLIENT = {"id": None, "secret": None, "secret_file": None, "object_id": None, "roles": None}
ROLE = {"scope": "/", "actions": ["*"], "notActions": []}
ISSUER = {"issuer": None, "jwks_file": None, "jwks_url": None, "ca_file": None}
NETWORK = {"name": None, "group": None, "location": LOCATION, "prefix": "10.0.0.0/16", "subnets": None}
SUBNET = {"name": None, "prefix": None, "used": []}
NAMED = {"name": None, "group": None, "location": LOCATION}
ENDPOINT = {**NAMED, "account": None, "state": "Approved", "subnet": None, "address": None}
ACCOUNT = {"name": None, "key": None, "key_file": None, "endpoint": None, "ca_file": None, "public_url": None}
STORAGE = {**ACCOUNT, "group": None, "location": LOCATION, "kind": "StorageV2", "sku": "Standard_LRS",
           "min_tls": "TLS1_2",
           "public_blobs": False, "shared_key": True, "https_only": True, "public_network": "Enabled",
           "hierarchical": False}


def _fill(template, given, where, needed=()):
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: an object is expected")
    for key in given:
        if key not in template:
            raise ConfigError(f"{where}: unknown key '{key}'; known: {', '.join(sorted(template))}")
    filled = {**template, **given}
    for key in needed:
        if filled[key] is None:
            raise ConfigError(f"{where}: '{key}' is missing")
    return filled


def _clients(given, tenant):
    clients = []
    for number, one in enumerate([{"id": "kedge", "secret": "kedge-sim-secret"}] if given is None else given):
        client = _fill(CLIENT, one, f"clients[{number}]", ("id",))
        if client["secret_file"]:
            with open(client["secret_file"], encoding="utf-8") as file:
                client["secret"] = file.read().strip()
        if client["secret"] is None:
            raise ConfigError(f"clients[{number}]: secret or secret_file is missing")
        client["object_id"] = client["object_id"] or f"{number + 1:08}-{tenant[9:]}"
        roles = [{}] if client["roles"] is None else client["roles"]
        client["roles"] = [_fill(ROLE, role, f"clients[{number}] role") for role in roles]
        clients.append(client)
    return clients


def _account(template, given, where):
    account = _fill(template, given, where, ("name", "endpoint"))
    if not account["key"] and not account["key_file"]:
        raise ConfigError(f"{where}: key or key_file is missing")
    return account


def _network(given, number, first_group):
    network = _fill(NETWORK, given, f"networks[{number}]", ("name",))
    network["group"] = network["group"] or first_group
    subnets = [{"name": "default", "prefix": "10.0.0.0/24"}] if network["subnets"] is None else network["subnets"]
    network["subnets"] = [_fill(SUBNET, s, f"networks[{number}] subnet", ("name", "prefix")) for s in subnets]
    for subnet in network["subnets"]:
        if not ipaddress.ip_network(subnet["prefix"]).subnet_of(ipaddress.ip_network(network["prefix"])):
            raise ConfigError(f"networks[{number}]: subnet {subnet['prefix']} is not inside {network['prefix']}")
    return network


def expand(given):
    """The whole configuration, every default filled in. Raises ConfigError."""
    config = _fill(TOP, given, "configuration")
    groups = [{"name": "rg-target"},
              {"name": "rg-test"}] if config["resource_groups"] is None else config["resource_groups"]
    config["resource_groups"] = [_fill(GROUP, {"name": g} if isinstance(g, str) else g, "resource_groups", ("name",))
                                 for g in groups]
    if not config["resource_groups"]:
        raise ConfigError("resource_groups: at least one is needed")
    first = config["resource_groups"][0]["name"]
    config["clients"] = _clients(config["clients"], config["tenant"])
    config["issuers"] = [_fill(ISSUER, i, "issuers", ("issuer",)) for i in config["issuers"]]
    networks = [{"name": "vnet", "subnets": [{"name": "default", "prefix": "10.0.0.0/24"},
                                             {"name": "test", "prefix": "10.0.9.0/24"}]}] \
        if config["networks"] is None else config["networks"]
    config["networks"] = [_network(n, number, first) for number, n in enumerate(networks)]
    for key in ("security_groups", "disk_encryption_sets", "availability_sets", "proximity_groups"):
        given = [{"name": "nsg"}] if config[key] is None else config[key]
        config[key] = [{**_fill(NAMED, n, key, ("name",)), "group": n.get("group") or first} for n in given]
    config["storage_accounts"] = [{**a, "group": a["group"] or first} for a in
                                  (_account(STORAGE, s, f"storage_accounts[{n}]") for n,
                                   s in enumerate(config["storage_accounts"]))]
    config["private_endpoints"] = [{**_fill(ENDPOINT, e, "private_endpoints", ("name", "account")),
                                    "group": e.get("group") or first}
                                   for e in config["private_endpoints"]]
    if config["managed_account"] is not None:
        config["managed_account"] = _account(ACCOUNT, config["managed_account"], "managed_account")
    if (config["certificate"] is None) != (config["key"] is None):
        raise ConfigError("certificate and key belong together")
    if config["boot"]:
        config["boot"] = os.path.abspath(config["boot"])
        if not config["disks_dir"]:
            raise ConfigError("boot needs disks_dir")
    return config


def load(path, overrides):
    """overrides: of the command line, None where not given."""
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    if not isinstance(given, dict):
        raise ConfigError("an object is expected")
    return expand({**given, **{key: value for key, value in overrides.items() if value is not None}})
