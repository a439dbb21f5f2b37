#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated Azure: Microsoft's own client libraries go through a migration against it, and back."""
import os
import pathlib
import subprocess
import unittest

import azure_blob as blob
from azure_lab import MIB, Lab, skip

HERE = pathlib.Path(__file__).resolve().parent
SDK = os.environ.get("KEDGE_ARM_SDK", "")


class Sdk(unittest.TestCase):
    def test_migration(self):
        modules = pathlib.Path(SDK).parents[1]
        with Lab(azurite=True) as lab:
            blob.page_blob(lab.azurite, "replica/os", 8 * MIB, [(0, b"\x11" * 512), (5 * MIB, b"\x22" * 4096)])
            trusted = lab.path / "trusted.pem"
            trusted.write_bytes(pathlib.Path(lab.ready["certificate"]).read_bytes() + lab.azurite.ca.read_bytes())
            run = subprocess.run(["node", HERE / "azure_sdk.mjs", modules, lab.path / "run/ready.json",
                                  lab.seed_url("replica/os"),
                                  blob.footer(24 * MIB).hex()], capture_output=True, text=True, timeout=200,
                                  check=False,
                                 env={**os.environ, "NODE_EXTRA_CA_CERTS": str(trusted), "NODE_NO_WARNINGS": "1"})
            self.assertEqual((run.returncode, run.stdout), (0, "ok\n"), run.stdout + run.stderr)
            self.assertEqual(lab.inventory(), {})
            self.assertEqual([p.name for p in lab.disks.rglob("*.raw")], [])


if __name__ == "__main__":
    if not (pathlib.Path(SDK) / "package.json").exists():
        skip("KEDGE_ARM_SDK names no folder of the npm package @azure/arm-compute")
    unittest.main()
