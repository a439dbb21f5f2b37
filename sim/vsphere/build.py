# SPDX-License-Identifier: Apache-2.0
"""The inventory of a configuration: morefs as vCenter or a bare host numbers them."""
import os

from .config import ConfigError
from .links import Datastore, Link
from .model import (CONTROLLERS, DISK_KEY_STEP, UNITS_PER_BUS, ComputeResource, Datacenter, DatastoreEntity, Disk, Folder,
                    Host, Network, Nic, ResourcePool, VirtualMachine, World)
from . import snapshots

FOLDERS = (("vm", "v", "vm_folder", ["Folder", "VirtualMachine"]),
           ("host", "h", "host_folder", ["Folder", "ComputeResource"]),
           ("datastore", "s", "datastore_folder", ["Folder", "Datastore"]),
           ("network", "n", "network_folder", ["Folder", "Network"]))


def _folder(world, moref, name, parent, child_types):
    folder = Folder(world, moref, name, parent, child_types)
    if isinstance(parent, Folder):
        parent.children.append(folder)
    return folder


def _compute(world, dc, settings, host_settings):
    """A cluster (settings given) or the wrapping of one standalone host."""
    if world.esxi:
        compute = ComputeResource(world, "ComputeResource", "ha-compute-res", host_settings[0]["name"], dc.host_folder)
        compute.pool = ResourcePool(world, "ha-root-pool", compute)
    else:
        kind, letter = ("ClusterComputeResource", "c") if settings else ("ComputeResource", "s")
        name = settings["name"] if settings else host_settings[0]["name"]
        compute = ComputeResource(world, kind, f"domain-{letter}{world.number()}", name, dc.host_folder)
        compute.pool = ResourcePool(world, f"resgroup-{world.number()}", compute)
    dc.host_folder.children.append(compute)
    for one in host_settings:
        moref = "ha-host" if world.esxi else f"host-{world.number()}"
        compute.hosts.append(Host(world, moref, one, compute, dc))


def _datacenter(world, settings):
    moref = "ha-datacenter" if world.esxi else f"datacenter-{world.number()}"
    dc = Datacenter(world, moref, "ha-datacenter" if world.esxi else settings["name"], world.root)
    world.root.children.append(dc)
    world.datacenters.append(dc)
    for name, letter, attribute, child_types in FOLDERS:
        moref = f"ha-folder-{name}" if world.esxi else f"group-{letter}{world.number()}"
        setattr(dc, attribute, Folder(world, moref, name, dc, child_types))
    for number, one in enumerate(settings["datastores"]):
        capacity = one["capacity_bytes"] or int(one["capacity_gib"] * (1 << 30))
        moref = f"5e9f{number:04x}-0a1b2c3d-4e5f-005056000001" if world.esxi else f"datastore-{world.number()}"
        entity = DatastoreEntity(world, moref, Datastore(one["name"], one["type"], capacity), dc)
        dc.datastores.append(entity)
        dc.datastore_folder.children.append(entity)
    for name in settings["networks"]:
        moref = f"HaNetwork-{name}" if world.esxi else f"network-{world.number()}"
        network = Network(world, moref, name, dc)
        dc.networks.append(network)
        dc.network_folder.children.append(network)
    for cluster in settings["clusters"]:
        _compute(world, dc, cluster, cluster["hosts"])
    for host in settings["hosts"]:
        _compute(world, dc, None, [host])
    for path in settings["folders"]:
        vm_folder(world, dc, path)
    for vm in settings["vms"]:
        add_vm(world, dc, vm)
    return dc


def vm_folder(world, dc, path):
    """The VM folder of a path such as Prod/Web, made where it is missing."""
    folder = dc.vm_folder
    for name in [part for part in path.split("/") if part] if not world.esxi else []:
        below = next((c for c in folder.children if isinstance(c, Folder) and c.name == name), None)
        folder = below or _folder(world, f"group-v{world.number()}", name, folder, ["Folder", "VirtualMachine"])
    return folder


def _named(entities, name, what, vm_name):
    if name is None:
        if not entities:
            raise ConfigError(f"vm '{vm_name}': the datacenter has no {what}")
        return entities[0]
    found = next((e for e in entities if e.name == name), None)
    if found is None:
        raise ConfigError(f"vm '{vm_name}': no {what} named '{name}'")
    return found


def file_name(name):
    """A VM's name as the name of its folder and files."""
    return name.replace("/", "_").replace("\\", "_")


def add_vm(world, dc, settings):
    hosts = [h for c in dc.host_folder.children for h in c.hosts]
    host = _named(hosts, settings["host"], "host", settings["name"])
    moref = str(world.number("vm")) if world.esxi else f"vm-{world.number()}"
    folder = vm_folder(world, dc, settings["folder"])
    vm = VirtualMachine(world, moref, settings, folder, host)
    vm.home = _named(dc.datastores, settings["datastore"], "datastore", vm.name)
    vm.directory = file_name(vm.name)
    while any(path.startswith(vm.directory + "/") for path in vm.home.storage.links):
        vm.directory += "_1"
    host.vms.append(vm)
    folder.children.append(vm)
    for number, nic in enumerate(settings["nics"]):
        made_up = (0x00, 0x50, 0x56, world.dice.randrange(0x40), *world.dice.randbytes(2))
        mac = nic["mac"] or ":".join(f"{byte:02x}" for byte in made_up)
        vm.nics.append(Nic(4000 + number, _named(dc.networks, nic["network"], "network", vm.name), mac, nic["type"]))
    for disk in settings["disks"]:
        add_disk(world, vm, disk)
    if vm.cbt:
        for disk in vm.disks:
            world.start_tracking(disk)
    for name in settings["snapshots"]:
        snapshots.create(vm, name, "made before", quiesced=False)
    return vm


def _place(vm, settings):
    """(controller key, unit, disk key): given ones, or the next free unit."""
    kind, bus = settings["controller"], settings["bus"]
    type_name, first_key, _, _, first_disk = CONTROLLERS[kind]
    controller_key = first_key + bus
    entry = (controller_key, kind, type_name, bus, settings["bus_sharing"])
    if entry not in vm.controllers:
        vm.controllers.append(entry)
    used = {d.unit for d in vm.disks if d.controller_key == controller_key}
    if not used and kind not in UNITS_PER_BUS:
        used = set()
    unit = settings["unit"]
    if unit is None:
        unit = next(u for u in range(64) if u not in used and u != 7)
    return controller_key, unit, first_disk + bus * DISK_KEY_STEP.get(kind, 16) + unit


def free_path(storage, directory, stem):
    """The first of stem.vmdk, stem_1.vmdk, .. that the datastore does not have."""
    number, path = 0, f"{directory}/{stem}.vmdk"
    while path in storage.links:
        number += 1
        path = f"{directory}/{stem}_{number}.vmdk"
    return path


def _disk_uuid(dice):
    """As VMware makes them: the vendor's prefix, which a guest sees as wwn-0x6000c29..."""
    digits = "6000C29" + dice.randbytes(13).hex()[1:]
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def add_disk(world, vm, settings):
    controller_key, unit, key = _place(vm, settings)
    store = _named(vm.datacenter.datastores, settings["datastore"] or vm.home.name, "datastore", vm.name)
    path = free_path(store.storage, vm.directory, file_name(vm.name))
    backing = os.path.join(world.run_dir, "disks", f"{vm.instance_uuid}-{world.number('file')}.raw")
    link = Link(store.storage, path, backing, settings["size_bytes"], None, settings["provisioning"])
    if settings["image"]:
        link.content = ("image", settings["image"])
    elif settings["fill_mib"]:
        seed = settings["fill_seed"] if settings["fill_seed"] is not None else world.dice.randrange(1 << 30)
        link.content = ("fill", settings["fill_mib"], seed)
    disk = Disk(key, f"Hard disk {len(vm.disks) + 1}", controller_key, unit, settings, link, _disk_uuid(world.dice))
    vm.disks.append(disk)
    return disk


def world(config, run_dir):
    made = World(config, run_dir)
    root = "ha-folder-root" if made.esxi else f"group-d{made.number()}"
    name = "ha-folder-root" if made.esxi else "Datacenters"
    made.root = Folder(made, root, name, None, ["Folder", "Datacenter"])
    for settings in config["datacenters"]:
        _datacenter(made, settings)
    return made
