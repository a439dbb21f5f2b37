#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whole cycles against a counterpart that was not written beside Kedge: the vCenter simulator of the govmomi
library with changed-block tracking, its disks read over HTTPS (it has no NFC). Skipped (77) without
KEDGE_VCSIM_DIR, the folder that holds vcsim-cbt/main.go, without go and the govmomi sources of Debian
(golang-github-vmware-govmomi-dev), or without python3-pyvmomi.

    KEDGE_VCSIM_DIR=DIR tests/flow/vsphere_vcsim.py BUILD"""
import hashlib
import os
import pathlib
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from vsphere_lab import Failed, VsphereLab, build_dir  # noqa: E402

VM = "DC0_H0_VM0"
DISK_BYTES = 16 << 20


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def find_source():
    source = pathlib.Path(os.environ.get("KEDGE_VCSIM_DIR") or skip("KEDGE_VCSIM_DIR is not set"))
    main = source / "vcsim-cbt" / "main.go"
    if not main.exists() or not shutil.which("go") or \
            not pathlib.Path("/usr/share/gocode/src/github.com/vmware/govmomi").exists():
        skip(f"no {main}, no go, or no govmomi sources")
    try:
        import pyVmomi  # noqa: F401
    except ImportError:
        skip("python3-pyvmomi is not installed")
    return main


def build_vcsim(main, folder):
    work = folder / "vcsim"
    work.mkdir()
    shutil.copy(main, work / "main.go")
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "CGO_ENABLED": "0",
           "HOME": str(work), "GOCACHE": os.environ.get("KEDGE_GOCACHE", str(work / "cache"))}
    subprocess.run(["go", "build", "-o", "vcsim", "main.go"], cwd=work, env=env, check=True)
    return work / "vcsim"


class Vcsim:
    def __init__(self, main, folder):
        self.program = build_vcsim(main, folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.password = folder / "password"
        self.password.write_text("pass\n")
        self.password.chmod(0o600)
        self.process = subprocess.Popen(
            [self.program, "-l", f"127.0.0.1:{self.port}", "-username", "user", "-password", "pass",
             "-max-areas", "3"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.context = ssl._create_unverified_context()

    def fingerprint(self):
        until = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as plain:
                    with self.context.wrap_socket(plain) as tls:
                        der = tls.getpeercert(binary_form=True)
                        return hashlib.sha256(der).hexdigest().upper()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def prepare(self):
        """The machine off, with one small disk of its own instead of the ten gigabytes it comes with."""
        from pyVim.connect import Disconnect, SmartConnect
        from pyVmomi import vim
        service = SmartConnect(host="127.0.0.1", port=self.port, user="user", pwd="pass",
                               sslContext=self.context)
        content = service.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        machine = next(m for m in view.view if m.name == VM)
        machine.PowerOff()
        old = next(d for d in machine.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk))
        store = machine.datastore[0].name
        disk = vim.vm.device.VirtualDisk(
            key=-1, controllerKey=old.controllerKey, unitNumber=1, capacityInKB=DISK_BYTES // 1024,
            backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                fileName=f"[{store}] {VM}/small.vmdk", diskMode="persistent", thinProvisioned=True))
        change = vim.vm.device.VirtualDeviceSpec
        machine.Reconfigure(vim.vm.ConfigSpec(deviceChange=[
            change(operation="remove", device=old),
            change(operation="add", fileOperation="create", device=disk)]))
        time.sleep(1)
        found = [d for d in machine.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]
        if len(found) != 1:
            raise Failed(f"vcsim has {len(found)} disks")
        self.key = found[0].key
        self.machine, self.service, self.close_session = machine, service, Disconnect

    def snapshots(self):
        return [] if self.machine.snapshot is None else self.machine.snapshot.rootSnapshotList

    def write(self, offset, data):
        request = urllib.request.Request(
            f"{self.url}/_sim/write?vm={VM}&key={self.key}&off={offset}", data, method="POST")
        urllib.request.urlopen(request, context=self.context, timeout=20).read()

    def close(self):
        if hasattr(self, "service"):
            self.close_session(self.service)
        self.process.terminate()
        self.process.wait(20)


def main():
    source = find_source()
    lab = VsphereLab(tempfile.mkdtemp(prefix="kedge-vsphere-", dir="/var/tmp"), build_dir(sys.argv[1]), {})
    rng, truth, ok, vcsim = random.Random(4), bytearray(DISK_BYTES), False, None
    try:
        vcsim = Vcsim(source, lab.dir)
        pin = vcsim.fingerprint()
        vcsim.prepare()

        def guest_writes(count):
            for _ in range(count):
                length = rng.randrange(1, 200) * 512
                at = rng.randrange(0, (DISK_BYTES - length) // 512) * 512
                data = rng.randbytes(length)
                vcsim.write(at, data)
                truth[at:at + length] = data

        guest_writes(40)
        lab.kedge("init", str(lab.dir / "k"))
        lab.settings(tracking_check=1000000)
        lab.start_kedged()
        lab.ready = {"url": vcsim.url, "username": "user", "password_file": str(vcsim.password),
                     "sha256": pin}
        lab.add_ends(transports=["https"], match="DC0_H0_*")
        tree = lab.kedge("discover", "--tree").stdout
        if VM not in tree or "DC0" not in tree:
            raise Failed(f"discover: {tree}")
        lab.kedge("replicate", "vc", VM, "--target", "here", "--auto-repair")
        lab.settle(VM, cycles=2)
        for cycle in range(15):
            guest_writes(rng.randrange(0, 30))
            lab.sync(VM)
            have = lab.replica_of(VM, 0).read_bytes()
            if have != bytes(truth):
                at = next(i for i in range(0, DISK_BYTES, 512) if have[i:i + 512] != truth[i:i + 512])
                raise Failed(f"cycle {cycle}: the replica differs at byte {at}")
            if lab.last_cycle(VM)["kind"] != "on-demand":
                raise Failed(f"cycle {cycle} was {lab.last_cycle(VM)['kind']}")
            if vcsim.snapshots():
                raise Failed("a snapshot is left")
        ok = True
        print("15 cycles against vcsim, each equal to the guest's disk, no snapshot left")
    finally:
        if vcsim:
            vcsim.close()
        lab.close()
        if ok:
            shutil.rmtree(lab.dir, ignore_errors=True)
        else:
            print(f"everything is in {lab.dir}")


main()
