#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""authd and NFC of the simulator: both transports, all packings, tickets, host memory, refusals, and every fault."""
import base64
import pathlib
import socket
import struct
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lab import Lab  # noqa: E402
from nfc_client import Gone, Nfc, NfcError, Soap  # noqa: E402

MIB = 1 << 20
CONFIG = {"vms": [{"name": "a b [é]", "disks": [{"size_mib": 16, "fill_mib": 4}], "snapshots": ["s"]},
                  {"name": "off", "power": "off", "disks": [{"size_bytes": 3 * MIB + 512, "fill_mib": 1}]},
                  {"name": "other", "power": "off", "disks": [{"size_mib": 1}]}]}


class Nfcs(unittest.TestCase):
    config = CONFIG

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(cls.config).__enter__()
        cls.soap = Soap(cls.lab)
        cls.vms = {vm["name"]: vm for vm in cls.lab.get("/vms")}
        cls.frozen = cls.vms["a b [é]"]["snapshots"][0]["disks"][0]["file"] if "a b [é]" in cls.vms else None

    @classmethod
    def tearDownClass(cls):
        cls.lab.__exit__(None, None, None)

    def setUp(self):
        self.lab.clear_faults()

    def connect(self, name="a b [é]", **options):
        nfc = Nfc(self.soap.ticket(self.vms[name]["moref"]), **options)
        self.addCleanup(nfc.sock.close)
        return nfc

    def truth(self, offset, length, name="a b [é]", snapshot="s"):
        query = {"snapshot": snapshot} if snapshot else {}
        return self.lab.get("/content", vm=name, offset=offset, length=length, **query)


class Reads(Nfcs):
    def test_whole_disk_over_both_transports_with_every_packing(self):
        whole = self.truth(0, 16 * MIB)
        for secure in (False, True):
            for kind, buffer in ((0, (2 * MIB, 4)), (3, (65536, 1)), (3, (2 * MIB, 1)), (1, (MIB, 1))):
                nfc = self.connect(secure=secure, buffer=buffer)
                handle, capacity = nfc.open(self.frozen)
                self.assertEqual(capacity, 16 * MIB)
                self.assertEqual(nfc.read(handle, 0, 8 * MIB, kind) + nfc.read(handle, 8 * MIB, 8 * MIB, kind), whole)
                self.assertIn("ssl" if secure else "ha-nfc", nfc.connected)
                nfc.close()

    def test_fastlz_of_both_levels(self):
        text = b"".join(b"line %d of a log that repeats itself\n" % n for n in range(6000))
        self.lab.post("/write", vm="off", force=True, writes=[
            {"offset": 0, "base64": base64.b64encode(text[:131072]).decode()}])
        nfc = self.connect("off")
        handle, _ = nfc.open(self.vms["off"]["disks"][0]["file"])
        self.assertEqual(nfc.read(handle, 0, 131072, 2), text[:131072])
        self.assertEqual(nfc.kinds, {2})
        self.assertEqual(nfc.read(handle, 512, 32768, 2), text[512:512 + 32768])

    def test_a_short_last_piece(self):
        nfc = self.connect("off")
        handle, capacity = nfc.open(self.vms["off"]["disks"][0]["file"])
        self.assertEqual(capacity, 3 * MIB + 512)
        start, length = 3 * MIB - 65536, 65536 + 512
        self.assertEqual(nfc.read(handle, start, length, 3), self.truth(start, length, "off", None))

    def test_the_frozen_parent_stays_while_the_guest_writes(self):
        nfc = self.connect()
        handle, _ = nfc.open(self.frozen)
        before = nfc.read(handle, 0, 16 * MIB, 3)
        self.lab.post("/random_writes", vm="a b [é]", count=50, seed=3)
        self.assertEqual(nfc.read(handle, 0, 16 * MIB, 3), before)

    def test_a_chain_of_deltas_is_read_through_its_top(self):
        name = "a b [é]"
        moref = self.lab.do("create_snapshot", vm=name, name="t")["snapshot"]
        self.lab.post("/random_writes", vm=name, count=20, seed=4)
        self.lab.do("create_snapshot", vm=name, name="u")
        top = next(s for s in self.lab.get("/vm", vm=name)["snapshots"] if s["name"] == "u")["disks"][0]["file"]
        nfc = self.connect()
        handle, _ = nfc.open(top)
        self.assertEqual(nfc.read(handle, 0, 16 * MIB), self.truth(0, 16 * MIB, snapshot="u"))
        nfc.close()
        for snapshot in ("u", moref):
            self.lab.do("remove_snapshot", vm=name, snapshot=snapshot)

    def test_allocated_blocks(self):
        nfc = self.connect()
        handle, _ = nfc.open(self.frozen)
        reply = nfc.message(13, struct.pack("<QQQQQQ", handle, 0, 65536, MIB, 240, 0), 48)
        self.assertEqual(struct.unpack_from("<Q", reply, 32)[0], 240)
        bitmap = nfc.receive(32)
        truth = self.truth(MIB, 15 * MIB)
        for bit in range(240):
            if any(truth[bit * 65536:(bit + 1) * 65536]):
                self.assertTrue(bitmap[bit >> 3] >> (bit & 7) & 1)
        with self.assertRaises(NfcError):
            nfc.message(13, struct.pack("<QQQQQQ", handle, 0, 65536, 512, 1, 0), 48)

    def test_ddb(self):
        nfc = self.connect()
        handle, _ = nfc.open(self.frozen)
        reply = nfc.message(11, struct.pack("<QII", handle, 11, 0), 16, b"adapterType")
        self.assertEqual(nfc.receive(struct.unpack_from("<I", reply, 12)[0]), b"lsilogic")


class Interleaved(Nfcs):
    config = {**CONFIG, "nfc": {"interleave": True, "shuffle": True}}

    def test_many_in_flight_in_any_order(self):
        for secure in (False, True):
            nfc = self.connect(secure=secure)
            handle, _ = nfc.open(self.frozen)
            wanted = {nfc.ask(handle, n * 262144, 262144, n % 4): (n * 262144, 262144, n % 4) for n in range(16)
                      if n % 4 != 2}
            for op, data in nfc.collect(wanted).items():
                self.assertEqual(data, self.truth(wanted[op][0], 262144))


class Refusals(Nfcs):
    config = {**CONFIG, "nfc": {"memory_bytes": 4 * MIB}}

    def test_the_live_leaf_of_a_running_vm(self):
        with self.assertRaisesRegex(NfcError, "multiwriter"):
            self.connect().open(self.lab.get("/vm", vm="a b [é]")["disks"][0]["file"])

    def test_a_file_of_another_vm_and_one_that_is_not_there(self):
        nfc = self.connect()
        with self.assertRaisesRegex(NfcError, "permission check failed"):
            nfc.open(self.vms["other"]["disks"][0]["file"])
        with self.assertRaises(NfcError):
            nfc.open("[datastore1] nothing/here.vmdk")
        with self.assertRaises(NfcError) as caught:
            nfc.open(self.frozen, 0x1A)
        self.assertEqual(caught.exception.args[0][0], 0x0B)

    def test_reads_past_the_end_and_unaligned(self):
        nfc = self.connect()
        handle, _ = nfc.open(self.frozen)
        for offset, length in ((16 * MIB, 512), (16 * MIB - 512, 1024), (1, 512), (0, 100)):
            with self.assertRaises(NfcError):
                nfc.read(handle, offset, length)

    def test_a_ticket_is_good_once_and_not_for_long(self):
        ticket = self.soap.ticket(self.vms["off"]["moref"])
        Nfc(ticket).close()
        with self.assertRaisesRegex(RuntimeError, "530"):
            Nfc(ticket)
        ticket = self.soap.ticket(self.vms["off"]["moref"])
        self.lab.post("/clock", skip_seconds=121)
        with self.assertRaisesRegex(RuntimeError, "530"):
            Nfc(ticket)

    def test_host_memory(self):
        first = self.connect(buffer=(MIB, 3))
        with self.assertRaisesRegex(NfcError, "Failed to allocate"):
            self.connect(buffer=(MIB, 2))
        first.close()
        time.sleep(0.1)
        self.connect(buffer=(MIB, 2)).close()
        with self.assertRaises(NfcError):
            self.connect(buffer=(16 * MIB, 1))

    def test_a_plain_command_closes(self):
        sock = socket.create_connection(("127.0.0.1", self.lab.ready["hosts"][0]["authd_port"]), timeout=5)
        self.assertTrue(sock.recv(4096).startswith(b"220 "))
        sock.sendall(b"USER root\r\n")
        try:
            self.assertEqual(sock.recv(100), b"")
        except ConnectionResetError:
            pass
        sock.close()

    def test_a_host_that_is_down(self):
        nfc = self.connect()
        handle, _ = nfc.open(self.frozen)
        self.lab.do("host_down", host="esx-01.lab")
        with self.assertRaises((Gone, OSError)):
            nfc.read(handle, 0, 512)
        with self.assertRaisesRegex(RuntimeError, "HostNotConnected"):
            self.soap.ticket(self.vms["off"]["moref"])
        self.lab.do("host_up", host="esx-01.lab")
        self.connect().close()

    def test_removing_a_snapshot_under_a_reader_needs_consolidation(self):
        nfc = self.connect()
        nfc.open(self.frozen)
        self.lab.do("remove_snapshot", vm="a b [é]", snapshot="s")
        self.assertTrue(self.lab.get("/vm", vm="a b [é]")["consolidation_needed"])
        nfc.close()
        self.lab.do("create_snapshot", vm="a b [é]", name="s")

    def test_tickets_of_both_namespaces_and_kinds(self):
        moref = self.vms["off"]["moref"]
        self.assertEqual(self.soap.ticket(moref, namespace="urn:nfc")["service"], "vpxa-nfc")
        Nfc(self.soap.ticket(moref, "NfcRandomAccessOpenReadonly", "<diskDeviceKey>2000</diskDeviceKey>")).close()
        with self.assertRaisesRegex(RuntimeError, "diskDeviceKey"):
            self.soap.ticket(moref, "NfcRandomAccessOpenReadonly", "<diskDeviceKey>7</diskDeviceKey>")
        text = self.soap.call("NfcGetServerNfcLibVersion", "NfcService", "nfcService",
                              f'<hostForAccess type="HostSystem">{self.lab.ready["hosts"][0]["moref"]}</hostForAccess>')
        self.assertIn("<returnval>11</returnval>", text)


class TwoHosts(Nfcs):
    config = {"datacenters": [{"clusters": [{"hosts": [{"name": "h1"}, {"name": "h2"}]}]}],
              "vms": [{"name": "off", "power": "off", "host": "h1", "disks": [{"size_mib": 1, "fill_mib": 1}]}]}

    def test_a_ticket_is_for_one_host(self):
        ticket = self.soap.ticket(self.vms["off"]["moref"])
        self.assertEqual(int(ticket["port"]), self.lab.ready["hosts"][0]["authd_port"])
        with self.assertRaisesRegex(RuntimeError, "530"):
            Nfc({**ticket, "port": self.lab.ready["hosts"][1]["authd_port"]})

    def test_vmotion_keeps_the_connection_and_moves_new_tickets(self):
        nfc = self.connect("off")
        handle, _ = nfc.open("[datastore1] off/off.vmdk")
        self.lab.do("vmotion", vm="off", host="h2")
        truth = self.truth(0, MIB, "off", None)
        self.assertEqual(nfc.read(handle, 0, MIB, 3), truth)
        ticket = self.soap.ticket(self.vms["off"]["moref"])
        self.assertEqual(int(ticket["port"]), self.lab.ready["hosts"][1]["authd_port"])
        again = Nfc(ticket)
        handle, _ = again.open("[datastore1] off/off.vmdk")
        self.assertEqual(again.read(handle, 0, MIB, 3), truth)
        again.close()


class OldHost(Nfcs):
    config = {"mode": "esxi", "datacenters": [{"hosts": [{"nfc_lib_version": 7}]}], "nfc": {"announce_sha256": False},
              "vms": [{"name": "off", "power": "off", "disks": [{"size_mib": 1, "fill_mib": 1}]}]}

    def test_without_message_43_and_sha256(self):
        ticket = self.soap.ticket("1")
        self.assertNotIn("host", ticket)
        self.assertEqual((ticket["service"], self.soap.nfc_service()), ("nfc", "ha-nfc-service"))
        nfc = Nfc(ticket, version=7)
        self.assertEqual(nfc.server_version, 7)
        handle, _ = nfc.open("[datastore1] off/off.vmdk")
        self.assertEqual(nfc.read(handle, 0, MIB, 3), self.truth(0, MIB, "off", None))

    def test_message_43_is_refused(self):
        with self.assertRaises((RuntimeError, Gone)):
            Nfc(self.soap.ticket("1"), version=11)


class Faults(Nfcs):
    def read(self, kind=3, **options):
        nfc = self.connect(**options)
        handle, _ = nfc.open(self.frozen)
        return nfc.read(handle, 0, 262144, kind)

    def test_each_read_fault_is_seen(self):
        for name, error in (("nfc.cut", Gone), ("nfc.bad_magic", RuntimeError), ("nfc.duplicate_fragment", RuntimeError),
                            ("nfc.length_overflow", RuntimeError), ("nfc.foreign_opid", RuntimeError),
                            ("nfc.unknown_type", RuntimeError), ("nfc.zero_fragment", RuntimeError),
                            ("nfc.error_mid_read", NfcError), ("nfc.bad_packed", (ValueError, RuntimeError, IndexError)),
                            ("nfc.refuse_open", NfcError), ("authd.expired_ticket", RuntimeError),
                            ("authd.busy", (RuntimeError, Gone, OSError)),
                            ("authd.wrong_thumbprint", RuntimeError), ("authd.wrong_certificate", RuntimeError)):
            with self.subTest(name):
                self.lab.fault(name, count=1)
                with self.assertRaises(error):
                    self.read()
                self.assertEqual(self.read(), self.truth(0, 262144), "the fault strikes once")

    def test_out_of_memory_at_the_session_and_at_a_read(self):
        self.lab.fault("nfc.out_of_memory", count=1)
        with self.assertRaisesRegex(NfcError, "Failed to allocate"):
            self.connect()
        nfc = self.connect()
        handle, _ = nfc.open(self.frozen)
        self.lab.fault("nfc.out_of_memory", count=1)
        with self.assertRaisesRegex(NfcError, "Failed to allocate"):
            nfc.read(handle, 0, 65536)
        self.assertEqual(nfc.read(handle, 0, 65536), self.truth(0, 65536))

    def test_cut_after_some_bytes(self):
        for where in ("data", "header"):
            self.lab.fault("nfc.cut", after_bytes=300000, where=where, count=1)
            nfc = self.connect()
            handle, _ = nfc.open(self.frozen)
            nfc.read(handle, 0, 262144)
            with self.assertRaises(Gone):
                nfc.read(handle, 262144, 262144)

    def test_corrupt_data_comes_without_a_word(self):
        self.lab.fault("nfc.corrupt_data", count=1)
        self.assertNotEqual(self.read(), self.truth(0, 262144))

    def test_another_certificate_for_tls2(self):
        nfc = self.connect()
        self.assertEqual(nfc.certificates[0], nfc.certificates[1])
        self.lab.fault("authd.tls2_other_certificate", count=1)
        nfc = self.connect()
        self.assertNotEqual(nfc.certificates[0], nfc.certificates[1])

    def test_slow_stalled_and_tiny(self):
        self.lab.fault("nfc.slow", ms=200, count=1)
        began = time.monotonic()
        self.read()
        self.assertGreater(time.monotonic() - began, 0.2)
        self.lab.fault("nfc.tiny_writes", count=1)
        nfc = self.connect(secure=False)
        handle, _ = nfc.open(self.frozen)
        self.assertEqual(nfc.read(handle, 0, 4096), self.truth(0, 4096))

    def test_cut_all_connections(self):
        nfc = self.connect()
        handle, _ = nfc.open(self.frozen)
        self.assertGreaterEqual(self.lab.do("cut_nfc")["cut"], 1)
        with self.assertRaises((Gone, OSError)):
            nfc.read(handle, 0, 512)

    def test_a_vm_deleted_under_the_reader(self):
        nfc = self.connect("other")
        handle, _ = nfc.open(self.vms["other"]["disks"][0]["file"])
        self.lab.do("delete_vm", vm="other")
        with self.assertRaises(NfcError):
            nfc.read(handle, 0, 512)


if __name__ == "__main__":
    unittest.main(verbosity=1)
