# SPDX-License-Identifier: Apache-2.0
"""The configuration file: defaults, unknown keys refused, a fleet expanded from one line. sim/README.md documents it."""
import json
import random

MIB = 1 << 20
GIB = 1 << 30


class ConfigError(Exception):
    pass


TOP = {"mode": "vcenter", "listen": "127.0.0.1", "port": 0, "control_port": 0, "version": "8.0.1", "build": "21560480",
       "api_version": "8.0.1.0", "accounts": None, "session_idle_seconds": 1800, "tls_max_version": "1.2", "tasks": {},
       "cbt": {}, "nfc": {}, "folder_refuses_running": True, "record_dir": None,
       "hotadd_dir": None, "seed": 1, "datacenters": None, "vms": [], "fleet": None}
TASKS = {"snapshot_ms": 0, "remove_ms": 0, "consolidate_ms": 0, "power_ms": 0, "shutdown_ms": 200, "reconfigure_ms": 0}
CBT = {"block_bytes": 65536, "max_areas": 2000, "star": "allocated"}
NFC = {"memory_bytes": 48 * MIB, "ticket_seconds": 120, "interleave": False, "shuffle": False,
       "announce_sha256": True, "announce_nfcssl": True}
ACCOUNT = {"username": None, "password": None, "password_file": None, "privileges": "all", "deny": [], "deny_on": {}}
DATACENTER = {"name": "DC0", "networks": ["VM Network"], "datastores": None, "clusters": None, "hosts": [],
              "folders": [], "vms": []}
DATASTORE = {"name": "datastore1", "type": "VMFS", "capacity_gib": 1024, "capacity_bytes": None}
CLUSTER = {"name": "Cluster0", "hosts": []}
HOST = {"name": "esx-01.lab", "address": "127.0.0.1", "authd_port": 0, "version": "8.0.1", "build": "21495797",
        "nfc_lib_version": 11}
VM = {"name": None, "folder": "", "host": None, "datastore": None, "power": "on", "cpus": 2, "memory_mib": 2048,
      "firmware": "bios", "secure_boot": False, "hardware_version": 19, "guest_id": "ubuntu64Guest",
      "guest_name": "Ubuntu Linux (64-bit)", "tools": "running", "hostname": None, "ips": [], "annotation": "",
      "cbt": False, "fault_tolerance": False, "encrypted": False, "snapshots": [], "template": False, "nics": None,
      "disks": []}
NIC = {"network": None, "mac": None, "type": "vmxnet3"}
DISK = {"size_bytes": None, "size_mib": None, "size_gib": None, "provisioning": "thin", "datastore": None,
        "mode": "persistent", "controller": "pvscsi", "bus": 0, "unit": None, "bus_sharing": "noSharing",
        "sharing": "sharingNone", "rdm": None, "encrypted": False, "image": None, "fill_mib": 0, "fill_seed": None}
FLEET = {"vms": 1000, "hosts": 8, "datastores": 4, "seed": 7, "disks": [1, 3], "size_gib": [20, 200], "fill_mib": 0,
         "prefix": "fleet-"}
CHOICES = ((TOP, "mode", ("vcenter", "esxi")), (VM, "power", ("on", "off", "suspended")),
           (VM, "firmware", ("bios", "efi")), (VM, "tools", ("running", "not_running", "not_installed")),
           (DISK, "provisioning", ("thin", "thick", "eager")), (DISK, "rdm", (None, "virtual", "physical")),
           (DISK, "controller", ("pvscsi", "lsilogic", "lsisas", "sata", "ide", "nvme")),
           (DISK, "mode", ("persistent", "independent_persistent", "independent_nonpersistent")),
           (CBT, "star", ("allocated", "whole", "fault")), (DATASTORE, "type", ("VMFS", "NFS", "vsan")))


def _fill(template, given, where):
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: an object is expected")
    for key, value in given.items():
        if key not in template:
            raise ConfigError(f"{where}: unknown key '{key}'; known: {', '.join(sorted(template))}")
        for owner, name, allowed in CHOICES:
            if owner is template and name == key and value not in allowed:
                raise ConfigError(f"{where}: {key} is {value!r}; choose from {allowed}")
    return {**template, **given}


def _disk(given, where):
    disk = _fill(DISK, given, where)
    sizes = [(disk["size_bytes"], 1), (disk["size_mib"], MIB), (disk["size_gib"], GIB)]
    given_sizes = [int(size) * unit for size, unit in sizes if size is not None]
    if len(given_sizes) != 1 or given_sizes[0] <= 0 or given_sizes[0] % 512:
        raise ConfigError(f"{where}: give one of size_bytes, size_mib, size_gib, a multiple of 512 bytes")
    disk["size_bytes"] = given_sizes[0]
    return disk


def vm(given, where):
    result = _fill(VM, given, where)
    if not result["name"]:
        raise ConfigError(f"{where}: a VM needs a name")
    result["disks"] = [_disk(d, f"{where} disk {n}") for n, d in enumerate(result["disks"])]
    nics = [{}] if result["nics"] is None else result["nics"]
    result["nics"] = [_fill(NIC, n, f"{where} nic") for n in nics]
    return result


def _datacenter(given, number):
    where = f"datacenters[{number}]"
    dc = _fill(DATACENTER, given, where)
    stores = [{}] if dc["datastores"] is None else dc["datastores"]
    dc["datastores"] = [_fill(DATASTORE, d, f"{where} datastore") for d in stores]
    clusters = ([{"hosts": [{}]}] if not dc["hosts"] else []) if dc["clusters"] is None else dc["clusters"]
    dc["clusters"] = [_fill(CLUSTER, c, f"{where} cluster") for c in clusters]
    for cluster in dc["clusters"]:
        cluster["hosts"] = [_fill(HOST, h, f"{where} host") for h in cluster["hosts"]]
    dc["hosts"] = [_fill(HOST, h, f"{where} host") for h in dc["hosts"]]
    dc["vms"] = [vm(v, f"{where} vm {v.get('name', n)}") for n, v in enumerate(dc["vms"])]
    return dc


def _add_fleet(config, dc):
    fleet = _fill(FLEET, config["fleet"], "fleet")
    dice = random.Random(fleet["seed"])
    hosts = [_fill(HOST, {"name": f"{fleet['prefix']}esx-{n + 1:02}.lab"}, "fleet") for n in range(fleet["hosts"])]
    stores = [_fill(DATASTORE, {"name": f"{fleet['prefix']}ds-{n + 1:02}", "capacity_gib": 65536}, "fleet")
              for n in range(fleet["datastores"])]
    if config["mode"] == "vcenter" and hosts:
        dc["clusters"].append({"name": f"{fleet['prefix']}cluster", "hosts": hosts})
    dc["datastores"] += stores
    for number in range(fleet["vms"]):
        disks = [{"size_gib": dice.randint(*fleet["size_gib"]), "fill_mib": fleet["fill_mib"],
                  "fill_seed": dice.randrange(1 << 30)} for _ in range(dice.randint(*fleet["disks"]))]
        given = {"name": f"{fleet['prefix']}{number + 1:05}", "disks": disks, "cpus": dice.choice((1, 2, 4, 8)),
                 "memory_mib": dice.choice((1024, 4096, 16384)), "firmware": dice.choice(("bios", "efi")),
                 "power": "on" if dice.random() < 0.9 else "off",
                 "folder": f"{fleet['prefix']}team-{number % 10}"}
        if hosts and config["mode"] == "vcenter":
            given["host"] = hosts[number % len(hosts)]["name"]
        if stores:
            given["datastore"] = stores[number % len(stores)]["name"]
        dc["vms"].append(vm(given, f"fleet {number}"))


def _accounts(config):
    first = "administrator@vsphere.local" if config["mode"] == "vcenter" else "root"
    given = config["accounts"] or [{"username": first, "password": "Kedge-sim-1!"}]
    accounts = [_fill(ACCOUNT, a, f"accounts[{n}]") for n, a in enumerate(given)]
    for account in accounts:
        if account["password_file"]:
            with open(account["password_file"], encoding="utf-8") as file:
                account["password"] = file.read().rstrip("\n")
        if not account["username"] or account["password"] is None:
            raise ConfigError("accounts: each needs username and password or password_file")
    return accounts


def expand(given):
    """The whole configuration, every default filled in. Raises ConfigError."""
    config = _fill(TOP, given, "configuration")
    config["tasks"] = _fill(TASKS, config["tasks"], "tasks")
    config["cbt"] = _fill(CBT, config["cbt"], "cbt")
    config["nfc"] = _fill(NFC, config["nfc"], "nfc")
    config["accounts"] = _accounts(config)
    config["datacenters"] = [_datacenter(d, n) for n, d in enumerate(config["datacenters"] or [{}])]
    first = config["datacenters"][0]
    first["vms"] += [vm(v, f"vms[{n}]") for n, v in enumerate(config["vms"])]
    if config["fleet"] is not None:
        _add_fleet(config, first)
    hosts = [h for dc in config["datacenters"] for c in dc["clusters"] for h in c["hosts"]]
    hosts += [h for dc in config["datacenters"] for h in dc["hosts"]]
    if config["mode"] == "esxi" and (len(config["datacenters"]) != 1 or len(hosts) != 1):
        raise ConfigError("mode esxi: exactly one datacenter with one host")
    return config


def load(path):
    with open(path, encoding="utf-8") as file:
        return expand(json.load(file))
