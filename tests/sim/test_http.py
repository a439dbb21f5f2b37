#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Datastore files over HTTPS, SOAP's own faults, odd answers of QueryChangedDiskAreas, workloads, a fleet."""
import base64
import http.client
import os
import pathlib
import re
import ssl
import sys
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lab import ControlError, Lab  # noqa: E402
from nfc_client import Soap  # noqa: E402

MIB = 1 << 20
OFF = {"name": "off [1] ä", "power": "off", "disks": [{"size_mib": 4, "fill_mib": 1}]}
ON = {"name": "on", "cbt": True, "disks": [{"size_mib": 64, "fill_mib": 2}], "snapshots": ["base"]}


class WithLab(unittest.TestCase):
    config = {"vms": [OFF, ON], "datacenters": [{"name": "DC x/1", "datastores": [{"name": "d s"}]}]}

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab({**cls.config, "record_dir": os.environ.get("KEDGE_SIM_RECORD")}).__enter__()
        cls.soap = Soap(cls.lab)

    @classmethod
    def tearDownClass(cls):
        cls.lab.__exit__(None, None, None)

    def setUp(self):
        self.lab.clear_faults()


class Folder(WithLab):
    def url(self, path, twice=False):
        quote = (lambda t: urllib.parse.quote(urllib.parse.quote(t, safe=""), safe="")) if twice else (
            lambda t: urllib.parse.quote(t, safe=""))
        base = self.lab.ready["url"].removesuffix("/sdk")
        return f"{base}/folder/{urllib.parse.quote(path)}?dcPath={quote('DC x/1')}&dsName={quote('d s')}"

    def get(self, url, cookie=None, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        if cookie is None:
            headers["Cookie"] = self.soap.cookie
        elif cookie:
            headers["Cookie"] = cookie
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=self.soap.trust) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def test_whole_file_and_ranges(self):
        truth = self.lab.get("/content", vm=OFF["name"])
        url = self.url("off [1] ä/off [1] ä-flat.vmdk")
        self.assertEqual(self.get(url), (200, truth))
        self.assertEqual(self.get(self.url("off [1] ä/off [1] ä-flat.vmdk", twice=True)), (200, truth))
        self.assertEqual(self.get(url, Range="bytes=1000-70000"), (206, truth[1000:70001]))
        self.assertEqual(self.get(url, Range="bytes=4194000-9999999"), (206, truth[4194000:]))
        self.assertEqual(self.get(url, Range="bytes=-512"), (206, truth[-512:]))
        self.assertEqual(self.get(url, Range="bytes=4194304-")[0], 416)
        self.assertIn(b"off [1] \xc3\xa4-flat.vmdk", self.get(self.url("off [1] ä/off [1] ä.vmdk"))[1])
        self.assertEqual(self.get(self.url("off [1] ä/none-flat.vmdk"))[0], 404)

    def test_who_may(self):
        url = self.url("off [1] ä/off [1] ä-flat.vmdk")
        self.assertEqual(self.get(url, cookie="")[0], 401)
        self.assertEqual(self.get(url, cookie='vmware_soap_session="0000"')[0], 401)
        basic = base64.b64encode(f"{self.lab.ready['username']}:{self.lab.ready['password']}".encode()).decode()
        self.assertEqual(self.get(url, cookie="", Authorization="Basic " + basic)[0], 200)
        self.assertEqual(self.get(url, cookie="", Authorization="Basic " + base64.b64encode(b"a:b").decode())[0], 401)
        text = self.soap.call("AcquireGenericServiceTicket", "SessionManager", "SessionManager",
                              '<spec xsi:type="SessionManagerHttpServiceRequestSpec"><method>httpGet</method>'
                              f"<url>{url.replace('&', '&amp;')}</url></spec>")
        ticket = re.search("<id>([^<]+)<", text)[1]
        self.assertEqual(self.get(url, cookie=f"vmware_cgi_ticket={ticket}")[0], 200)

    def test_a_running_vm_is_refused(self):
        self.assertEqual(self.get(self.url("on/on-flat.vmdk"))[0], 500)

    def test_faults(self):
        url = self.url("off [1] ä/off [1] ä-flat.vmdk")
        self.lab.fault("folder.error", status=503, count=1)
        self.assertEqual(self.get(url)[0], 503)
        self.lab.fault("folder.no_ranges", count=1)
        self.assertEqual(self.get(url, Range="bytes=0-511")[0], 200)
        self.lab.fault("folder.cut", after_bytes=100000, count=1)
        with self.assertRaises((http.client.IncompleteRead, ssl.SSLError, OSError)):
            self.get(url)
        self.assertEqual(self.get(url, Range="bytes=0-511")[0], 206)


class Soaps(WithLab):
    def now(self):
        return self.soap.call("CurrentTime", "ServiceInstance", "ServiceInstance")

    def test_faults_of_the_transport(self):
        self.lab.fault("soap.503", count=1)
        with self.assertRaisesRegex(RuntimeError, "503"):
            self.now()
        self.lab.fault("soap.cut", count=1)
        with self.assertRaises((http.client.IncompleteRead, OSError)):
            self.now()
        self.lab.fault("soap.slow", ms=300, count=1, method="CurrentTime")
        began = time.monotonic()
        self.now()
        self.assertGreater(time.monotonic() - began, 0.3)
        self.lab.fault("soap.method_fault", fault="HostNotConnected", method="CurrentTime", count=1)
        with self.assertRaisesRegex(RuntimeError, "HostNotConnectedFault"):
            self.now()
        self.now()

    def test_expiry_by_fault(self):
        self.lab.fault("soap.session_expired", count=1)
        with self.assertRaisesRegex(RuntimeError, "NotAuthenticated"):
            self.now()
        type(self).soap = Soap(self.lab)
        self.now()

    def test_what_a_real_server_refuses(self):
        swapped = "<deviceKey>1</deviceKey><snapshot type='VirtualMachineSnapshot'>x</snapshot>"
        for body in ("<a/>", swapped):
            with self.assertRaisesRegex(RuntimeError, "InvalidRequest"):
                self.soap.call("QueryChangedDiskAreas", "VirtualMachine", self.lab.get("/vms")[0]["moref"], body)
        with self.assertRaisesRegex(RuntimeError, "MethodNotFound"):
            self.soap.call("Nonsense", "ServiceInstance", "ServiceInstance")
        with self.assertRaisesRegex(RuntimeError, "ManagedObjectNotFound"):
            self.soap.call("PowerOnVM_Task", "VirtualMachine", "vm-999")
        with self.assertRaisesRegex(RuntimeError, "ManagedObjectNotFound"):
            self.soap.call("NfcGetVmFiles", "NfcService", "ha-nfc", "<vm type='VirtualMachine'>vm-1</vm>")
        for text in (b"", b"<x", b"<!DOCTYPE a><a/>"):
            request = urllib.request.Request(self.lab.ready["url"], text or b" ", {"Content-Type": "text/xml"})
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, context=self.soap.trust)
            self.assertEqual(caught.exception.code, 500)

    def test_the_cookie_is_quoted_as_by_the_real_server(self):
        self.assertRegex(self.soap.cookie, r'^vmware_soap_session="[0-9a-f]{40}"$')

    def test_fetch(self):
        vm = self.lab.get("/vms")[1]
        self.assertIn('<returnval xsi:type="xsd:string">on</returnval>',
                      self.soap.call("Fetch", "VirtualMachine", vm["moref"], "<prop>name</prop>"))

    def test_versions(self):
        base = self.lab.ready["url"]
        for name in ("vim", "nfc"):
            with urllib.request.urlopen(f"{base}/{name}ServiceVersions.xml", context=self.soap.trust) as answer:
                self.assertIn(b"<version>8.0.1.0</version>", answer.read())


class Areas(WithLab):
    def setUp(self):
        super().setUp()
        vm = self.lab.get("/vm", vm="on")
        self.first, self.key = vm["snapshots"][0], vm["moref"]
        self.lab.post("/write", vm="on", writes=[{"offset": n * MIB, "length": 512, "byte": n + 1} for n in range(40)])
        self.second = self.lab.do("create_snapshot", vm="on", name="two")["snapshot"]
        self.addCleanup(self.lab.do, "remove_snapshot", vm="on", snapshot=self.second)
        self.since = self.first["disks"][0]["change_id"]

    def query(self, start=0, since=None):
        text = self.soap.call("QueryChangedDiskAreas", "VirtualMachine", self.key,
                              f'<snapshot type="VirtualMachineSnapshot">{self.second}</snapshot><deviceKey>2000</deviceKey>'
                              f"<startOffset>{start}</startOffset><changeId>{since or self.since}</changeId>")
        areas = re.findall(r"<changedArea><start>(\d+)</start><length>(\d+)</length>", text)
        length = int(re.search(r"<returnval><startOffset>\d+</startOffset><length>(\d+)", text)[1])
        return length, [(int(a), int(b)) for a, b in areas]

    def test_the_truth(self):
        self.assertEqual(self.query(), (64 * MIB, [(n * MIB, 65536) for n in range(40)]))
        self.assertEqual(self.query(10 * MIB + 512)[1][0], (10 * MIB + 512, 65536 - 512))

    def test_each_oddity(self):
        truth = [(n * MIB, 65536) for n in range(40)]
        self.lab.fault("cbt.small_pages", count=1)
        self.assertEqual(self.query(), (2 * MIB + 65536, truth[:3]))
        self.lab.fault("cbt.empty_pages", page_bytes=65536, count=1)
        self.assertEqual(self.query(65536), (65536, []))
        self.lab.fault("cbt.past_capacity", count=1)
        length, areas = self.query()
        self.assertGreater(length, 64 * MIB)
        self.assertTrue(any(a + n > 64 * MIB for a, n in areas))
        self.lab.fault("cbt.overlap", count=1)
        areas = self.query()[1]
        self.assertTrue(any(a[0] + a[1] > b[0] for a, b in zip(areas, areas[1:])))
        self.lab.fault("cbt.unsorted", count=1)
        areas = self.query()[1]
        self.assertNotEqual(areas, truth)
        self.assertEqual(sorted(areas), truth)
        self.lab.fault("cbt.truncate", count=1)
        self.assertEqual(self.query(), (0, []))
        self.lab.fault("cbt.omit_areas", count=1)
        areas = self.query()[1]
        self.assertLess(len(areas), 40)
        self.assertLess(set(areas), set(truth))
        for name, text in (("cbt.file_fault", "FileFault"), ("cbt.start_offset_fault", "startOffset")):
            self.lab.fault(name, count=1)
            with self.assertRaisesRegex(RuntimeError, text):
                self.query()
        self.assertEqual(self.query()[1], truth)

    def test_a_silent_reset_forgets(self):
        self.lab.fault("cbt.silent_reset", count=1)
        self.assertEqual(self.query(), (64 * MIB, []))

    def test_a_wrong_change_id(self):
        for since, text in (("rubbish", "changeId"), (self.since.replace("52", "53", 1), "FileFault"),
                            (self.since.split("/")[0] + "/99", "FileFault")):
            with self.assertRaisesRegex(RuntimeError, text):
                self.query(since=since)
        with self.assertRaisesRegex(RuntimeError, "startOffset"):
            self.query(64 * MIB)


class World(WithLab):
    def test_a_workload_writes_and_stops(self):
        before = self.lab.get("/sha256", vm="on")
        self.lab.post("/workload", vm="on", writes_per_second=500, bytes=4096, seed=3)
        time.sleep(0.5)
        done = self.lab.post("/workload", vm="on", stop=True)
        self.assertGreater(done["writes"], 50)
        self.assertEqual(done["failures"], 0)
        self.assertNotEqual(self.lab.get("/sha256", vm="on"), before)

    def test_the_guest_of_a_vm_that_is_off_writes_nothing(self):
        with self.assertRaisesRegex(ControlError, "409"):
            self.lab.post("/write", vm=OFF["name"], writes=[{"offset": 0, "length": 512, "seed": 1}])

    def test_mistakes_are_named(self):
        for call, text in ((lambda: self.lab.get("/vm", vm="none"), "no VM 'none'"),
                           (lambda: self.lab.fault("nfc.none"), "no fault"),
                           (lambda: self.lab.fault("nfc.cut", nonsense=1), "nonsense"),
                           (lambda: self.lab.do("fly"), "no action")):
            with self.assertRaisesRegex(ControlError, text):
                call()

    def test_space_grows_with_a_snapshot(self):
        used = self.lab.get("/state")["datastores"][0]["used_bytes"]
        self.lab.do("create_snapshot", vm="on", name="grow")
        self.lab.post("/write", vm="on", writes=[{"offset": 0, "length": 10 * MIB, "byte": 1}])
        self.assertEqual(self.lab.get("/state")["datastores"][0]["used_bytes"] - used, 10 * MIB)
        self.lab.do("remove_snapshot", vm="on", snapshot="grow")

    def test_the_readme_names_every_fault_and_action(self):
        text = (pathlib.Path(__file__).resolve().parents[2] / "sim" / "README.md").read_text()
        for fault in self.lab.get("/faults"):
            self.assertIn(f"`{fault['name']}`", text)
            for parameter in fault["parameters"]:
                self.assertIn(f"`{parameter}`", text)
        with self.assertRaises(ControlError) as caught:
            self.lab.do("none")
        for action in re.search("known: ([^\"]+)", str(caught.exception))[1].split(", "):
            self.assertIn(f"`{action}`", text)

    def test_vcenter_is_away_for_a_while(self):
        self.lab.do("vcenter_restart", seconds=0.5)
        with self.assertRaisesRegex(RuntimeError, "503"):
            Soap(self.lab)
        time.sleep(0.6)
        type(self).soap = Soap(self.lab)

    def test_counters(self):
        self.lab.post("/counters/reset")
        self.soap.call("CurrentTime", "ServiceInstance", "ServiceInstance")
        self.assertEqual(self.lab.get("/counters")["methods"], {"CurrentTime": 1})


class Fleet(WithLab):
    config = {"fleet": {"vms": 1000}}

    def test_a_thousand_vms_in_pages(self):
        spec = ("<specSet><propSet><type>VirtualMachine</type><pathSet>name</pathSet>"
                "<pathSet>config.hardware.device</pathSet><pathSet>runtime.powerState</pathSet></propSet>"
                '<objectSet><obj type="ContainerView">%s</obj><skip>true</skip><selectSet xsi:type="TraversalSpec">'
                "<type>ContainerView</type><path>view</path></selectSet></objectSet></specSet>"
                "<options><maxObjects>100</maxObjects></options>")
        view = re.search(r"<returnval[^>]*>([^<]+)<", self.soap.call(
            "CreateContainerView", "ViewManager", "ViewManager",
            '<container type="Folder">group-d1</container><type>VirtualMachine</type><recursive>true</recursive>'))[1]
        began = time.monotonic()
        text = self.soap.call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", spec % view)
        names = re.findall(r"<name>name</name><val[^>]*>([^<]*)<", text)
        while token := re.search(r"<token>([^<]+)</token>", text):
            text = self.soap.call("ContinueRetrievePropertiesEx", "PropertyCollector", "propertyCollector",
                                  f"<token>{token[1]}</token>")
            names += re.findall(r"<name>name</name><val[^>]*>([^<]*)<", text)
        self.assertEqual(len(set(names)), 1000)
        print(f"1000 VMs with their devices in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    unittest.main(verbosity=1)
