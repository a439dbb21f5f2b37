#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated Azure, disks: import from a page blob and from its snapshot, upload by SAS, copies; what is no VHD."""
import pathlib
import random
import unittest

import azure_blob as blob
from azure_lab import DISKS, MIB, Lab

SNAPSHOTS = "Microsoft.Compute/snapshots"


class Disks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(azurite=True)
        cls.lab.__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)

    def file(self, name):
        return (pathlib.Path(self.lab.disks) / f"{name}.raw").read_bytes()

    def create(self, name, body):
        return self.lab.run("PUT", self.lab.disk_id(name), DISKS, body)[0]

    def state(self, name):
        return self.lab.call("GET", self.lab.disk_id(name), DISKS)[2]["properties"]["diskState"]

    def test_import(self):
        """What is in the page blob is what the disk has; a snapshot gives what was there then; the seed goes on."""
        dice, azurite = random.Random(5), self.lab.azurite
        pages = [(0, dice.randbytes(4096)), (7 * MIB + 512, dice.randbytes(3 * MIB)),
                 (32 * MIB - 512, dice.randbytes(512))]
        blob.page_blob(azurite, "import/disk", 32 * MIB, pages)
        taken = blob.snapshot(azurite, "import/disk")
        blob.put_page(azurite, "import/disk", 0, b"\x55" * 4096)
        content = bytearray(32 * MIB)
        for offset, data in pages:
            content[offset:offset + len(data)] = data
        self.assertEqual(self.create("then", self.lab.import_body(f"import/disk?snapshot={taken}")), "Succeeded")
        self.assertEqual(self.file("then"), bytes(content))
        content[0:4096] = b"\x55" * 4096
        self.assertEqual(self.create("now", self.lab.import_body("import/disk", osType="Linux",
                                                                 hyperVGeneration="V2")), "Succeeded")
        self.assertEqual(self.file("now"), bytes(content))
        body = self.lab.import_body("import/disk")
        body["properties"]["creationData"]["sourceUri"] = "https://seed.blob.core.windows.net/import/disk"
        self.assertEqual(self.create("by-host", body), "Succeeded")
        self.assertEqual(self.file("by-host"), bytes(content))
        shown = self.lab.call("GET", self.lab.disk_id("now"), DISKS)[2]
        self.assertEqual((shown["properties"]["diskState"], shown["properties"]["diskSizeBytes"],
                          shown["properties"]["diskSizeGB"]),
                         ("Unattached", 32 * MIB, 1))

    def test_import_of_no_vhd(self):
        azurite, size = self.lab.azurite, 4 * MIB
        bad = {"cookie": blob.footer(size, cookie=b"conectiX"), "sum": blob.footer(size, damage=True),
               "kind": blob.footer(size, kind=3),
               "size": blob.footer(2 * size), "none": bytes(512)}
        for name, last in bad.items():
            blob.page_blob(azurite, f"bad/{name}", size, [], last)
            self.assertEqual(self.create("bad-" + name, self.lab.import_body(f"bad/{name}")), "InvalidVhd", name)
            self.assertEqual(self.lab.call("GET", self.lab.disk_id("bad-" + name),
                                           DISKS)[2]["properties"]["provisioningState"], "Failed")
        blob.page_blob(azurite, "bad/odd", size + 512, [])
        self.assertEqual(self.create("bad-odd", self.lab.import_body("bad/odd")), "InvalidVhd")
        self.assertEqual(self.create("bad-gone", self.lab.import_body("bad/gone")), "BlobNotFound")
        blob.by_key(azurite, "seed", "PUT", "bad/block", (), {"x-ms-blob-type": "BlockBlob"}, b"x" * 512)
        self.assertEqual(self.create("bad-block", self.lab.import_body("bad/block")), "InvalidBlobType")
        body = self.lab.import_body("bad/size")
        body["properties"]["creationData"]["sourceUri"] = "https://another.blob.core.windows.net/bad/size"
        self.assertEqual(self.create("bad-account", body), "InvalidParameter")
        self.assertNotIn("bad-account", self.lab.inventory())

    def grant(self, name, access="Write"):
        end, answer = self.lab.run("POST", self.lab.disk_id(name) + "/beginGetAccess", DISKS,
                                   {"access": access, "durationInSeconds": 600})
        return answer["properties"]["output"]["accessSAS"] if end == "Succeeded" else end

    def test_upload(self):
        """ReadyToUpload, ActiveUpload, Unattached: the bytes behind the SAS become the disk's, and the SAS ends."""
        azurite, size, data = self.lab.azurite, 24 * MIB, random.Random(6).randbytes(MIB)
        self.assertEqual(self.create("up", self.lab.upload_body(size)), "Succeeded")
        self.assertEqual(self.state("up"), "ReadyToUpload")
        sas = self.grant("up")
        self.assertEqual(self.state("up"), "ActiveUpload")
        self.assertEqual(blob.put_by_sas(azurite, sas, 5 * MIB, data), 201)
        self.assertEqual(self.lab.run("POST", self.lab.disk_id("up") + "/endGetAccess", DISKS)[0], "InvalidVhd")
        self.assertEqual(self.state("up"), "ActiveUpload")
        again = self.grant("up")
        self.assertNotEqual(sas, again)
        self.assertEqual(blob.put_by_sas(azurite, again, size, blob.footer(size)), 201)
        self.assertEqual(self.lab.run("DELETE", self.lab.disk_id("up"), DISKS)[0], "OperationNotAllowed")
        self.assertEqual(self.grant("up", "Read"), "OperationNotAllowed")
        self.assertEqual(self.lab.run("PUT", self.lab.id(SNAPSHOTS, "s-up"), DISKS, self.copy_of("up"))[0],
                         "OperationNotAllowed")
        self.assertEqual(self.lab.run("POST", self.lab.disk_id("up") + "/endGetAccess", DISKS)[0], "Succeeded")
        self.assertEqual(self.state("up"), "Unattached")
        self.assertIn(blob.put_by_sas(azurite, again, 0, data[:512]), (403, 404))
        self.assertEqual(self.file("up"), bytes(5 * MIB) + data + bytes(size - 6 * MIB))
        self.assertEqual(self.grant("up"), "OperationNotAllowed")
        read = self.grant("up", "Read")
        status, content = blob.get_by_sas(azurite, read)
        self.assertEqual((status, content[:size], content[size:size + 8]), (200, self.file("up"), b"conectix"))
        self.assertEqual(blob.put_by_sas(azurite, read, 0, data[:512]), 403)
        self.assertEqual(self.lab.run("POST", self.lab.disk_id("up") + "/endGetAccess", DISKS)[0], "Succeeded")

    def test_sas_ends(self):
        azurite = self.lab.azurite
        self.assertEqual(self.create("ends", self.lab.upload_body(20 * MIB)), "Succeeded")
        sas = self.grant("ends")
        self.assertEqual(blob.put_by_sas(azurite, sas, 0, b"\x01" * 512), 201)
        self.lab.control("POST", "/sas/expire", {"name": "ends"})
        self.assertEqual(blob.put_by_sas(azurite, sas, 512, b"\x02" * 512), 403)
        again = self.grant("ends")
        self.assertEqual(blob.put_by_sas(azurite, again, 512, b"\x02" * 512), 201)
        blob.put_by_sas(azurite, again, 20 * MIB, blob.footer(20 * MIB))
        self.assertEqual(self.lab.run("POST", self.lab.disk_id("ends") + "/endGetAccess", DISKS)[0], "Succeeded")
        self.assertEqual(self.file("ends")[:1025], b"\x01" * 512 + b"\x02" * 512 + b"\0")

    def copy_of(self, name, kind="Microsoft.Compute/disks"):
        return {"location": "westeurope", "properties": {"creationData": {"createOption": "Copy",
                                                                          "sourceResourceId": self.lab.id(kind, name)}}}

    def test_snapshot(self):
        """A disk, its snapshot, the disk gone, a disk of the snapshot."""
        blob.page_blob(self.lab.azurite, "copy/disk", 4 * MIB, [(MIB, b"\x07" * 1024)])
        self.assertEqual(self.create("first", self.lab.import_body("copy/disk", osType="Windows",
                                                                   hyperVGeneration="V1")), "Succeeded")
        content = self.file("first")
        self.assertEqual(self.lab.run("PUT", self.lab.id(SNAPSHOTS, "snap"), DISKS, self.copy_of("first"))[0],
                         "Succeeded")
        self.assertEqual(self.lab.run("DELETE", self.lab.disk_id("first"), DISKS)[0], "Succeeded")
        self.assertFalse((pathlib.Path(self.lab.disks) / "first.raw").exists())
        self.assertEqual(self.create("second", self.copy_of("snap", SNAPSHOTS)), "Succeeded")
        self.assertEqual(self.file("second"), content)
        shown = self.lab.call("GET", self.lab.disk_id("second"), DISKS)[2]["properties"]
        self.assertEqual((shown["osType"], shown["hyperVGeneration"]), ("Windows", "V1"))
        self.assertEqual(self.create("third", self.copy_of("first")), "NotFound")
        self.assertEqual(self.lab.run("DELETE", self.lab.id(SNAPSHOTS, "snap"), DISKS)[0], "Succeeded")
        self.assertEqual(self.lab.call("GET", self.lab.id(SNAPSHOTS, "snap"), DISKS)[0], 404)


if __name__ == "__main__":
    unittest.main()
