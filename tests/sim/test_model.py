#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The simulator's model without its network: snapshots, chains, tracking and space against plain byte arrays."""
import pathlib
import random
import sys
import tempfile
import unittest
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "sim"))
from vsphere import build, config, events, guest, packing, snapshots  # noqa: E402
from vsphere.cbt import Tracker, parse, runs  # noqa: E402
from vsphere.links import GRAIN, DatastoreFull, Link  # noqa: E402
from vsphere.vimfault import VimFault  # noqa: E402

MIB = 1 << 20
SIZE = MIB + 512


class Worlds(unittest.TestCase):
    def world(self, **settings):
        folder = tempfile.TemporaryDirectory(prefix="kedge-sim-")
        self.addCleanup(folder.cleanup)
        return build.world(config.expand(settings), folder.name)

    def vm(self, disks, **settings):
        capacity = settings.pop("capacity_bytes", 1 << 30)
        self.made = self.world(datacenters=[{"datastores": [{"name": "d", "capacity_bytes": capacity}, {"name": "e"}]}],
                               vms=[{"name": "vm", "disks": disks, **settings}])
        return self.made.vms()[0]


class Against(Worlds):
    """Random writes, snapshots, removals and reverts; every live and frozen disk equals its byte array."""

    def check_space(self, vm):
        for store in self.made.datacenters[0].datastores:
            held = sum(link.allocated_bytes() for link in store.storage.links.values())
            self.assertEqual(store.storage.used_bytes, held, "L3")

    def check(self, vm, live, frozen):
        for disk in vm.disks:
            self.assertEqual(guest.content(disk, 0, SIZE), bytes(live[disk.key]), "live")
        for snapshot in vm.snapshots():
            for disk in snapshot.disks.values():
                self.assertEqual(guest.content(disk, 0, SIZE), frozen[snapshot.moref][disk.key], "frozen")
        self.check_space(vm)

    def check_areas(self, vm, base, snapshot, frozen):
        """CBT superset: what differs between two snapshots of one epoch lies in the reported blocks."""
        for key, disk in snapshot.disks.items():
            old = base.disks.get(key)
            if old is None or not old.change_id or not disk.change_id:
                continue
            since, until = parse(old.change_id), parse(disk.change_id)
            if since[0] != until[0]:
                continue
            blocks = disk.tracker.changed(since[1], until[1])
            before, after = frozen[base.moref][key], frozen[snapshot.moref][key]
            for block in range((SIZE + GRAIN - 1) // GRAIN):
                span = slice(block * GRAIN, (block + 1) * GRAIN)
                if before[span] != after[span]:
                    self.assertIn(block, blocks)

    def steps(self, seed, count):
        dice = random.Random(seed)
        vm = self.vm([{"size_bytes": SIZE, "fill_mib": 1, "fill_seed": seed},
                      {"size_bytes": SIZE, "provisioning": "eager"}], cbt=True)
        live = {d.key: bytearray(guest.content(d, 0, SIZE)) for d in vm.disks}
        frozen = {}
        for _ in range(count):
            move = dice.random()
            if move < 0.6:
                disk = dice.choice(vm.disks)
                length = dice.choice((512, 4096, 65536, 200000 // 512 * 512))
                offset = dice.randrange((SIZE - length) // 512 + 1) * 512
                data = dice.randbytes(length) if dice.random() < 0.8 else bytes(length)
                guest.write(vm, disk, offset, data)
                live[disk.key][offset:offset + length] = data
            elif move < 0.8 and len(vm.snapshots()) < 5:
                made = snapshots.create(vm, "s", "", False)
                frozen[made.moref] = {key: bytes(content) for key, content in live.items()}
                for base in vm.snapshots():
                    if base is not made:
                        self.check_areas(vm, base, made, frozen)
            elif move < 0.95 and vm.snapshots():
                snapshots.take_off(vm, dice.choice(vm.snapshots()), dice.random() < 0.2)
                self.assertTrue(snapshots.consolidate(vm))
            elif vm.snapshots():
                chosen = dice.choice(vm.snapshots())
                snapshots.revert(vm, chosen)
                events.set_power(vm, "poweredOn")
                live = {key: bytearray(content) for key, content in frozen[chosen.moref].items()}
            self.check(vm, live, frozen)
        for snapshot in list(vm.snapshots()):
            snapshots.take_off(vm, snapshot, False)
            snapshots.consolidate(vm)
        self.check(vm, live, frozen)
        self.assertFalse(vm.consolidation_needed)
        self.assertTrue(all(disk.leaf.parent is None for disk in vm.disks), "one file per disk is left")
        self.assertEqual(len(vm.home.storage.links), 2)

    def test_random_steps(self):
        for seed in range(8):
            with self.subTest(seed=seed):
                self.steps(seed, 50)


class Rules(Worlds):
    def test_names_of_delta_links(self):
        vm = self.vm([{"size_mib": 1}])
        one = snapshots.create(vm, "1", "", False)
        snapshots.create(vm, "2", "", False)
        disk = vm.disks[0]
        self.assertEqual([link.ds_path for link in disk.leaf.chain()],
                         ["[d] vm/vm-000002.vmdk", "[d] vm/vm-000001.vmdk", "[d] vm/vm.vmdk"])
        snapshots.take_off(vm, one, False)
        snapshots.consolidate(vm)
        self.assertEqual([link.ds_path for link in disk.leaf.chain()], ["[d] vm/vm-000002.vmdk", "[d] vm/vm.vmdk"])
        self.assertEqual(vm.snapshots()[0].disks[2000].leaf.ds_path, "[d] vm/vm.vmdk")

    def test_a_reader_keeps_a_link_from_being_merged(self):
        vm = self.vm([{"size_mib": 1}])
        snapshot = snapshots.create(vm, "s", "", False)
        before = guest.content(snapshot.disks[2000], 0, MIB)
        chain = snapshot.disks[2000].leaf.acquire()
        guest.write(vm, vm.disks[0], 0, b"x" * 512)
        snapshots.take_off(vm, snapshot, False)
        self.assertFalse(snapshots.consolidate(vm))
        self.assertTrue(vm.consolidation_needed)
        self.assertEqual(bytes(chain[0].read(0, MIB)), before)
        Link.release(chain)
        self.assertTrue(snapshots.consolidate(vm))
        self.assertEqual(guest.content(vm.disks[0], 0, 512), b"x" * 512)

    def test_a_link_with_two_branches_is_not_merged(self):
        vm = self.vm([{"size_mib": 1}])
        first = snapshots.create(vm, "1", "", False)
        guest.write(vm, vm.disks[0], 0, b"2" * 512)
        second = snapshots.create(vm, "2", "", False)
        snapshots.revert(vm, first)
        events.set_power(vm, "poweredOn")
        guest.write(vm, vm.disks[0], 0, b"3" * 512)
        snapshots.take_off(vm, first, False)
        snapshots.consolidate(vm)
        self.assertEqual(guest.content(second.disks[2000], 0, 512), b"2" * 512)
        self.assertEqual(guest.content(vm.disks[0], 0, 512), b"3" * 512)
        self.assertEqual(len(vm.disks[0].leaf.chain()), 2)
        self.assertFalse(vm.consolidation_needed)

    def test_a_full_datastore_stops_the_guest_and_loses_nothing(self):
        vm = self.vm([{"size_mib": 8}], capacity_bytes=3 * MIB)
        guest.write(vm, vm.disks[0], 0, b"a" * (2 * MIB))
        snapshots.create(vm, "s", "", False)
        with self.assertRaises(DatastoreFull):
            guest.write(vm, vm.disks[0], 0, b"b" * (2 * MIB))
        self.assertEqual(guest.content(vm.disks[0], 0, 2 * MIB), b"a" * (2 * MIB))
        guest.write(vm, vm.disks[0], 4 * MIB, b"c" * (MIB - 65536))
        with self.assertRaises(VimFault) as caught:
            snapshots.check_possible(vm)
        self.assertEqual(caught.exception.data.type, "NoDiskSpace")

    def test_what_resets_tracking(self):
        for name, event in (("power failure", events.power_failure), ("reset", events.reset_tracking),
                            ("storage vMotion", lambda v: events.storage_vmotion(v, "e")),
                            ("resize", lambda v: events.resize_disk(v, 2000, 2 * MIB))):
            with self.subTest(name):
                vm = self.vm([{"size_mib": 1}], cbt=True)
                before = vm.disks[0].tracker.uuid
                event(vm)
                self.assertNotEqual(vm.disks[0].tracker.uuid, before)
        vm = self.vm([{"size_mib": 1}], cbt=True)
        before = vm.disks[0].tracker.uuid
        events.vmotion(vm, "esx-01.lab")
        self.assertEqual(vm.disks[0].tracker.uuid, before, "vMotion alone keeps it")

    def test_storage_vmotion_changes_names_and_keeps_bytes(self):
        vm = self.vm([{"size_mib": 1, "fill_mib": 1}])
        snapshot = snapshots.create(vm, "s", "", False)
        guest.write(vm, vm.disks[0], 0, b"n" * 512)
        frozen, live = guest.sha256(snapshot.disks[2000]), guest.sha256(vm.disks[0])
        events.storage_vmotion(vm, "e")
        self.assertEqual(snapshot.disks[2000].leaf.ds_path, "[e] vm_1/vm.vmdk")
        self.assertEqual((guest.sha256(snapshot.disks[2000]), guest.sha256(vm.disks[0])), (frozen, live))
        first, second = self.made.datacenters[0].datastores
        self.assertEqual(first.storage.used_bytes, 0)
        self.assertGreater(second.storage.used_bytes, 0)

    def test_tracking_starts_at_a_stun_only(self):
        vm = self.vm([{"size_mib": 1}])
        events.set_tracking(vm, True)
        self.assertIsNone(vm.disks[0].tracker)
        self.assertIsNone(snapshots.create(vm, "s", "", False).disks[2000].change_id)
        self.assertIsNotNone(vm.disks[0].tracker)

    def test_independent_disks_are_not_frozen(self):
        vm = self.vm([{"size_mib": 1}, {"size_mib": 1, "mode": "independent_persistent"}], power="off")
        snapshots.create(vm, "s", "", False)
        self.assertIsNotNone(vm.disks[0].leaf.parent)
        self.assertIsNone(vm.disks[1].leaf.parent)

    def test_hotadd_holds_the_chain_until_detached(self):
        made = self.world(vms=[{"name": "a", "disks": [{"size_mib": 1, "fill_mib": 1}]}, {"name": "gateway"}])
        vm, gateway = made.vms()
        snapshot = snapshots.create(vm, "s", "", False)
        disk = events.attach(gateway, snapshot.disks[2000].leaf.ds_path, "independent_nonpersistent", 0, False)
        self.assertEqual(guest.sha256(disk), guest.sha256(snapshot.disks[2000]))
        snapshots.take_off(vm, snapshot, False)
        self.assertFalse(snapshots.consolidate(vm))
        events.remove_disk(gateway, disk.key, False)
        self.assertTrue(snapshots.consolidate(vm))

    def test_an_unknown_key_is_refused(self):
        for bad in ({"vm": []}, {"vms": [{"nam": "x"}]}, {"vms": [{"name": "x", "disks": [{}]}]}, {"mode": "x"},
                    {"vms": [{"name": "x", "disks": [{"size_mib": 1, "mode": "x"}]}]}):
            with self.assertRaises(config.ConfigError):
                config.expand(bad)

    def test_a_fleet_from_a_line(self):
        made = self.world(fleet={"vms": 1000, "fill_mib": 1})
        self.assertEqual(len(made.vms()), 1000)
        again = self.world(fleet={"vms": 1000, "fill_mib": 1})
        self.assertEqual([(v.uuid, v.name, v.host.name) for v in made.vms()],
                         [(v.uuid, v.name, v.host.name) for v in again.vms()])
        self.assertEqual(len({v.host for v in made.vms()}), 8)


class Tracking(unittest.TestCase):
    def test_intervals(self):
        tracker = Tracker("u", GRAIN)
        tracker.mark(0, 1)
        first = parse(tracker.cut())
        tracker.mark(65535, 2)
        tracker.mark(GRAIN * 5, GRAIN)
        second = parse(tracker.cut())
        tracker.mark(GRAIN * 9, 512)
        self.assertEqual(tracker.changed(first[1], second[1]), {0, 1, 5})
        self.assertEqual(runs({0, 1, 5}, GRAIN, 5 * GRAIN + 100), [(0, 2 * GRAIN), (5 * GRAIN, 100)])


class Packing(unittest.TestCase):
    def samples(self):
        dice = random.Random(5)
        text = b"".join(b"%d bottles of beer on the wall\n" % n for n in range(9000))
        yield bytes(65536)
        yield b"\1" + bytes(65534) + b"\2"
        yield text[:65536]
        yield text[:4096]
        yield dice.randbytes(65536)
        yield dice.randbytes(512)
        for size in (16, 17, 31, 32, 33, 512, 8192, 65536, 131072):
            block = bytearray(size)
            for _ in range(dice.randint(0, 30)):
                start = dice.randrange(size)
                piece = dice.choice((dice.randbytes(dice.randint(1, 900)), text[start % 5000:start % 5000 + 700]))
                block[start:start + len(piece)] = piece
            yield bytes(block[:size])
        far = dice.randbytes(700)
        yield (far + dice.randbytes(40000) + far + dice.randbytes(20000) + far)[:65536]
        yield (far + dice.randbytes(7491) + far + bytes(9000))[:16384]      # a match at exactly 8191 and beyond

    def test_round_trips(self):
        for number, data in enumerate(self.samples()):
            for kind in (packing.NONE, packing.ZLIB, packing.FASTLZ, packing.SKIPZ):
                used, packed = packing.encode(kind, bytearray(data))
                self.assertEqual(packing.decode(used, packed, len(data)), data, (number, kind, used))
                if used:
                    self.assertLess(len(packed), len(data))

    def test_both_levels_of_fastlz(self):
        for number, data in enumerate(self.samples()):
            for level in (1, 2):
                packed = packing.fastlz_encode(data, level)
                if packed is not None:
                    self.assertEqual(packed[0] >> 5, level - 1)
                    self.assertEqual(packing.fastlz_decode(packed, len(data)), data, (number, level))

    def test_known_blocks(self):
        self.assertEqual(packing.skipz_encode(bytearray(65536)), bytes.fromhex("0000010000000000"))
        self.assertEqual(packing.fastlz_decode(bytes.fromhex("0261626320024" "1" "00" "64")[:4], 3), b"abc")
        # level 1: "a", then a match of 9 + 6 bytes at distance 1
        self.assertEqual(packing.fastlz_decode(bytes([0x00, 0x61, 0xE0, 6, 0]), 16), b"a" * 16)
        # level 2: three literals, a match of 9 + 255 + 1 at distance 3
        self.assertEqual(packing.fastlz_decode(bytes([0x22, 1, 2, 3, 0xE0, 255, 1, 2]), 268), (b"\1\2\3" * 90)[:268])

    def test_damage_is_found(self):
        for packed, length in ((b"\x00", 1), (b"\x60aa", 2), (bytes([0x00, 0x61, 0xE0, 6, 9]), 16)):
            with self.assertRaises((ValueError, IndexError)):
                packing.fastlz_decode(packed, length)
        with self.assertRaises(ValueError):
            packing.skipz_decode(bytes.fromhex("0002000000000000" "ff01000002000000" "4141"), 512)

    def test_zlib_is_plain_zlib(self):
        self.assertEqual(zlib.decompress(packing.encode(packing.ZLIB, b"a" * 4096)[1]), b"a" * 4096)


if __name__ == "__main__":
    unittest.main(verbosity=1)
