#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole of it at once: replication cycles over SOAP and NFC, written in a page of Python, while the guests write.

After each cycle the replica equals the frozen snapshot. This is the simulator's own proof that snapshots, change ids,
areas and reads belong together; it uses nothing of the product.
"""
import pathlib
import re
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lab import Lab  # noqa: E402
from nfc_client import Gone, Nfc, Soap  # noqa: E402

MIB = 1 << 20


class Replicator:
    def __init__(self, lab, name):
        self.lab, self.name, self.soap = lab, name, Soap(lab)
        self.moref = lab.get("/vm", vm=name)["moref"]
        self.replicas, self.change_ids, self.read_bytes = {}, {}, 0

    def task(self, method, kind, moref, body=""):
        task = re.search(r'<returnval type="Task">([^<]+)<', self.soap.call(method, kind, moref, body))[1]
        spec = ("<specSet><propSet><type>Task</type><pathSet>info</pathSet></propSet>"
                f'<objectSet><obj type="Task">{task}</obj></objectSet></specSet><options/>')
        while True:
            text = self.soap.call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", spec)
            state = re.search(r"<state>(\w+)<", text)[1]
            if state == "error":
                raise RuntimeError(text)
            if state == "success":
                return (re.search(r"<result [^>]*>([^<]+)<", text) or [None, None])[1]
            time.sleep(0.005)

    def areas(self, snapshot, key, since, size):
        start = 0
        while start < size:
            body = (f'<snapshot type="VirtualMachineSnapshot">{snapshot}</snapshot><deviceKey>{key}</deviceKey>'
                    f"<startOffset>{start}</startOffset><changeId>{since}</changeId>")
            text = self.soap.call("QueryChangedDiskAreas", "VirtualMachine", self.moref, body)
            for area in re.finditer(r"<changedArea><start>(\d+)</start><length>(\d+)<", text):
                yield int(area[1]), int(area[2])
            start += int(re.search(r"</startOffset><length>(\d+)<", text)[1])

    def copy(self, disk, areas):
        """Read areas over NFC, 8 requests in flight; after a loss go on with a new ticket."""
        todo = [(at, min(MIB, start + length - at)) for start, length in areas
                for at in range(start, start + length, MIB)]
        while todo:
            try:
                nfc = Nfc(self.soap.ticket(self.moref), secure=len(todo) % 2 == 0, buffer=(262144, 4))
                handle, _ = nfc.open(disk["file"])
                while todo:
                    wanted = {nfc.ask(handle, at, length, 3): (at, length, 3) for at, length in todo[:8]}
                    for op, data in nfc.collect(wanted).items():
                        self.replicas[disk["key"]][wanted[op][0]:wanted[op][0] + len(data)] = data
                        self.read_bytes += len(data)
                    todo = todo[8:]
                nfc.close()
            except (Gone, OSError):
                pass

    def cycle(self):
        snapshot = self.task("CreateSnapshot_Task", "VirtualMachine", self.moref,
                             "<name>kedge</name><memory>false</memory><quiesce>false</quiesce>")
        frozen = next(s for s in self.lab.get("/vm", vm=self.name)["snapshots"] if s["moref"] == snapshot)
        for disk in frozen["disks"]:
            key = disk["key"]
            self.replicas.setdefault(key, bytearray(disk["size_bytes"]))
            self.copy(disk, list(self.areas(snapshot, key, self.change_ids.get(key, "*"), disk["size_bytes"])))
            self.change_ids[key] = disk["change_id"]
        truth = {d["key"]: self.lab.get("/content", vm=self.name, disk=d["key"], snapshot=snapshot)
                 for d in frozen["disks"]}
        wrong = [key for key, content in truth.items() if content != bytes(self.replicas[key])]
        self.task("RemoveSnapshot_Task", "VirtualMachineSnapshot", snapshot,
                  "<removeChildren>false</removeChildren>")
        return wrong


class Cycles(unittest.TestCase):
    config = {"nfc": {"interleave": True, "shuffle": True}, "cbt": {"max_areas": 7}, "vms": [
        {"name": "vm", "cbt": True, "disks": [{"size_mib": 24, "fill_mib": 6},
                                              {"size_bytes": 5 * MIB + 1536, "provisioning": "eager"}]}]}

    def test_replica_equals_the_snapshot_while_guests_write(self):
        with Lab(self.config) as lab:
            for disk in (0, 1):
                lab.post("/workload", vm="vm", disk=disk, writes_per_second=400, bytes=4096, seed=disk)
            replicator = Replicator(lab, "vm")
            for number in range(8):
                if number % 4 == 2:
                    lab.fault("nfc.cut", after_bytes=700000, count=2)
                self.assertEqual(replicator.cycle(), [], f"cycle {number}")
            done = lab.post("/workload", vm="vm", stop=True)
            self.assertGreater(done["writes"], 100)
            self.assertEqual(done["failures"], 0)
            vm = lab.get("/vm", vm="vm")
            self.assertFalse(vm["consolidation_needed"])
            self.assertEqual([len(d["links"]) for d in vm["disks"]], [1, 1])
            self.assertEqual(lab.get("/counters")["nfc_handles"], 0)

    def test_a_lie_of_cbt_is_visible_in_the_replica(self):
        with Lab(self.config) as lab:
            replicator = Replicator(lab, "vm")
            self.assertEqual(replicator.cycle(), [])
            lab.post("/random_writes", vm="vm", count=60, seed=9, zero_pct=0)
            lab.fault("cbt.omit_areas")
            self.assertNotEqual(replicator.cycle(), [])

    def test_many_clients_at_once(self):
        config = {"vms": [{"name": f"vm{n}", "cbt": True, "disks": [{"size_mib": 4, "fill_mib": 1}]} for n in range(6)]}
        with Lab(config) as lab:
            wrong = []

            def run(name):
                replicator = Replicator(lab, name)
                for number in range(4):
                    lab.post("/random_writes", vm=name, count=10, seed=number)
                    wrong.extend(replicator.cycle())
            threads = [threading.Thread(target=run, args=(f"vm{n}",)) for n in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(wrong, [])
            self.assertEqual(lab.get("/counters")["tickets_used"], 24)


if __name__ == "__main__":
    unittest.main(verbosity=1)
