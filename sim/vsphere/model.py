# SPDX-License-Identifier: Apache-2.0
"""The inventory: what exists, who contains whom, and one clock, lock and version for all of it.

World.lock guards the shape (inventory, snapshots, power, sessions, tasks); a Disk's lock guards its content and chain.
A thread may take disk locks while it holds World.lock, never the other way round. Every change that a property shows
goes through World.touch(), which wakes those who wait for updates.
"""
import dataclasses
import random
import threading
import time
import uuid

from .cbt import Tracker, tracking_uuid
from .vimtypes import Ref

CONTROLLERS = {                             # kind: (type, first key, name, key of the parent, first disk key)
    "pvscsi": ("ParaVirtualSCSIController", 1000, "SCSI controller", 100, 2000),
    "lsilogic": ("VirtualLsiLogicController", 1000, "SCSI controller", 100, 2000),
    "lsisas": ("VirtualLsiLogicSASController", 1000, "SCSI controller", 100, 2000),
    "ide": ("VirtualIDEController", 200, "IDE", None, 3000),
    "sata": ("VirtualAHCIController", 15000, "SATA controller", 100, 16000),
    "nvme": ("VirtualNVMEController", 31000, "NVME controller", 100, 32000)}
UNITS_PER_BUS = {"ide": 2, "sata": 30, "nvme": 15}
DISK_KEY_STEP = {"ide": 2, "sata": 30, "nvme": 15}


class Clock:
    """Wall clock that tests can move forward."""

    def __init__(self):
        self.skipped = 0.0

    def now(self):
        return time.time() + self.skipped


def escaped(name):
    """A name as the API shows it: percent and the slashes are escaped in inventory names."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


class Entity:
    """Anything with a managed object reference."""

    def __init__(self, world, type_name, moref, name, parent=None):
        self.world, self.type, self.moref, self.name, self.parent = world, type_name, moref, name, parent
        self.version = 0
        world.add(self)

    @property
    def ref(self):
        return Ref(self.type, self.moref)


class Folder(Entity):
    def __init__(self, world, moref, name, parent, child_types):
        super().__init__(world, "Folder", moref, name, parent)
        self.child_types = child_types
        self.children = []


class Datacenter(Entity):
    def __init__(self, world, moref, name, parent):
        super().__init__(world, "Datacenter", moref, name, parent)
        self.vm_folder = self.host_folder = self.datastore_folder = self.network_folder = None
        self.datastores, self.networks = [], []


class ComputeResource(Entity):
    def __init__(self, world, type_name, moref, name, parent):
        super().__init__(world, type_name, moref, name, parent)
        self.hosts = []
        self.pool = None


class ResourcePool(Entity):
    def __init__(self, world, moref, parent):
        super().__init__(world, "ResourcePool", moref, "Resources", parent)
        self.owner = parent


class Host(Entity):
    def __init__(self, world, moref, settings, compute, datacenter):
        super().__init__(world, "HostSystem", moref, settings["name"], compute)
        self.settings, self.compute, self.datacenter = settings, compute, datacenter
        self.connected = True
        self.listener = None                # authd.Listener
        self.vms = []


class DatastoreEntity(Entity):
    def __init__(self, world, moref, storage, datacenter):
        super().__init__(world, "Datastore", moref, storage.name, datacenter.datastore_folder)
        self.storage, self.datacenter = storage, datacenter
        self.alarm_time = None              # when the alarm on its usage was triggered


class Network(Entity):
    def __init__(self, world, moref, name, datacenter):
        super().__init__(world, "Network", moref, name, datacenter.network_folder)


@dataclasses.dataclass
class Nic:
    key: int
    network: Network
    mac: str
    type: str


@dataclasses.dataclass
class Disk:
    """A virtual disk, or (in a snapshot) what it was at that instant: then `leaf` is frozen and `change_id` set."""
    key: int
    label: str
    controller_key: int
    unit: int
    settings: dict
    leaf: object
    uuid: str
    tracker: Tracker = None
    change_id: str = None
    borrowed: list = None                   # hotadd: the chain of another VM's file that is held while attached
    lock: threading.RLock = dataclasses.field(default_factory=threading.RLock)

    @property
    def capacity_bytes(self):
        return self.leaf.capacity_bytes

    def can_snapshot(self):
        return not self.settings["mode"].startswith("independent") and self.settings["rdm"] != "physical"


class Snapshot(Entity):
    def __init__(self, vm, moref, number, name, description, quiesced, disks):
        super().__init__(vm.world, "VirtualMachineSnapshot", moref, name)
        self.vm, self.number, self.description, self.quiesced, self.disks = vm, number, description, quiesced, disks
        self.created = vm.world.clock.now()
        self.power = vm.power
        self.above = None                   # parent snapshot
        self.below = []                     # child snapshots


class VirtualMachine(Entity):
    def __init__(self, world, moref, settings, folder, host):
        super().__init__(world, "VirtualMachine", moref, settings["name"], folder)
        self.settings, self.host = settings, host
        self.datacenter = host.datacenter
        dice = world.dice
        self.uuid = str(uuid.UUID(bytes=dice.randbytes(16), version=4))
        self.instance_uuid = str(uuid.UUID(bytes=dice.randbytes(16), version=4))
        self.power = {"on": "poweredOn", "off": "poweredOff", "suspended": "suspended"}[settings["power"]]
        self.cbt = settings["cbt"]          # config.changeTrackingEnabled; effective per disk: Disk.tracker
        self.nics, self.disks, self.controllers = [], [], []
        self.roots, self.current_snapshot = [], None
        self.next_snapshot_number = 1
        self.consolidation_needed = False
        self.task = None                    # the running task: a second one gets TaskInProgress
        self.alive = True
        self.directory = None               # "name" inside its datastore
        self.home = None                    # DatastoreEntity
        self.boot_time = world.clock.now()

    def snapshots(self):
        """All snapshots, parents before children."""
        found, queue = [], list(self.roots)
        while queue:
            one = queue.pop(0)
            found.append(one)
            queue += one.below
        return found

    def disk(self, key):
        return next((d for d in self.disks if d.key == key), None)

    def datastores(self):
        """Every datastore that holds a file of this VM."""
        names = [self.home] + [self.world.datastore_of(link) for d in self.disks for link in d.leaf.chain()]
        return list(dict.fromkeys(names))


class World:
    def __init__(self, config, run_dir):
        self.config, self.run_dir = config, run_dir
        self.esxi = config["mode"] == "esxi"
        self.clock = Clock()
        self.dice = random.Random(config["seed"])
        self.lock = threading.RLock()
        self.updated = threading.Condition(self.lock)
        self.version = 1
        self.entities = {}
        self._numbers = {}
        self.root = None
        self.datacenters = []

    def add(self, entity):
        self.entities[entity.moref] = entity
        self.touch(entity)

    def remove(self, entity):
        self.entities.pop(entity.moref, None)
        self.touch(entity)

    def touch(self, *entities):
        """These show something new; whoever waits for updates looks again."""
        with self.lock:
            self.version += 1
            for entity in entities:
                entity.version = self.version
            self.updated.notify_all()

    def number(self, kind="all"):
        with self.lock:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            return self._numbers[kind]

    def of_type(self, cls):
        return [e for e in list(self.entities.values()) if isinstance(e, cls)]

    def vms(self):
        return self.of_type(VirtualMachine)

    def find(self, ref, cls=Entity):
        entity = self.entities.get(ref.value)
        return entity if isinstance(entity, cls) else None

    def datastore_of(self, link):
        return next(d for dc in self.datacenters for d in dc.datastores if d.storage is link.datastore)

    def start_tracking(self, disk):
        """A new epoch: all earlier change ids of this disk are void."""
        disk.tracker = Tracker(tracking_uuid(self.dice), self.config["cbt"]["block_bytes"])
