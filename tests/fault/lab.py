# SPDX-License-Identifier: Apache-2.0
"""A small laboratory: a real QEMU without a guest in it (its disks are written through the monitor), a
kedged with its own folders, and the command line. Used by the sweep and the random kills."""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

MARKER = "kedge-boot-sector-ran"
SECTOR = 512


def boot_sector():
    """Prints MARKER on the first serial port, then halts."""
    code = bytes([0x31, 0xC0, 0x8E, 0xD8, 0xFC, 0xBE, 22, 0x7C, 0xAC, 0x84, 0xC0, 0x74, 0x06,
                  0xBA, 0xF8, 0x03, 0xEE, 0xEB, 0xF5, 0xF4, 0xEB, 0xFD])
    text = (MARKER + "\r\n").encode() + b"\0"
    return (code + text).ljust(510, b"\0") + b"\x55\xaa"


class Failed(Exception):
    pass


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rw")
        json.loads(self.file.readline())
        self.call("qmp_capabilities")

    def call(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise Failed(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        self.file.close()
        self.socket.close()


class Lab:
    """disks: node name -> MiB. Two monitors: one for Kedge, one for us."""

    def __init__(self, folder, build, disks=None, seed=1):
        self.dir = pathlib.Path(folder)
        self.build = pathlib.Path(build)
        self.disks = disks or {"root": 24, "data": 16}
        self.random = random.Random(seed)
        self.qemu = self.daemon = None
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True, mode=0o700)
        (self.dir / "vm").mkdir()
        self.log = open(self.dir / "kedged.log", "ab")

    # ---- the machine ----

    def disk(self, node):
        return self.dir / "vm" / f"{node}.qcow2"

    def make_disks(self):
        for node, mib in self.disks.items():
            raw = self.dir / "vm" / "new.raw"
            with open(raw, "wb") as f:
                f.truncate(mib << 20)
                for at in range(0, mib << 20, 2 << 20):
                    f.seek(at)
                    f.write(self.random.randbytes(700 * 1024))
                if node == next(iter(self.disks)):
                    f.seek(0)
                    f.write(boot_sector())
            subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(self.disk(node))],
                           check=True)
            raw.unlink()

    def start_qemu(self):
        argv = ["qemu-system-x86_64", "-name", "m1", "-S", "-nodefaults", "-machine",
                "pc,accel=tcg", "-m", "64", "-display", "none",
                "-qmp", f"unix:{self.dir}/vm/kedge.qmp,server=on,wait=off",
                "-qmp", f"unix:{self.dir}/vm/test.qmp,server=on,wait=off"]
        for node in self.disks:
            argv += ["-blockdev", json.dumps({
                "driver": "qcow2", "node-name": node,
                "file": {"driver": "file", "filename": str(self.disk(node))}}),
                     "-device", f"virtio-blk-pci,id=dev-{node},drive={node},serial={node}"]
        self.qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log,
                                     stderr=self.log)
        self.qmp = self.retry(lambda: Qmp(self.dir / "vm" / "test.qmp"), 10)

    @staticmethod
    def retry(attempt, seconds):
        until = time.monotonic() + seconds
        while True:
            try:
                return attempt()
            except (OSError, Failed):
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def io(self, node, command):
        """A write as the guest's own: through the device, so change tracking sees it."""
        answer = self.qmp.call("human-monitor-command",
                               **{"command-line": f'qemu-io -d /machine/peripheral/dev-{node}/virtio-backend "{command}"'})
        if answer.strip() and not answer.startswith("wrote "):
            raise Failed(f"qemu-io {command}: {answer.strip()}")

    def guest_writes(self, count=8):
        """Random places, random patterns, some zeros; flushed."""
        for node, mib in self.disks.items():
            for _ in range(count):
                length = self.random.randrange(1, 128) * SECTOR
                at = self.random.randrange(1, ((mib << 20) - length) // SECTOR) * SECTOR
                what = "-z" if self.random.random() < 0.2 else f"-P {self.random.randrange(1, 256)}"
                self.io(node, f"write {what} {at} {length}")
            self.io(node, "flush")

    # ---- Kedge ----

    def kedge(self, *argv, check=True, timeout=120, revive=True):
        """Runs the command; when the daemon ends meanwhile it is started again (without faults), and the
        command is expected to find it."""
        run = subprocess.Popen([self.build / "src/cli/kedge", *argv], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "KEDGE_CONFIG": str(self.dir / "k/kedge.conf")})
        until = time.monotonic() + timeout
        while True:
            try:
                out, err = run.communicate(timeout=0.01)  # drains: a full pipe would hold the command up
                break
            except subprocess.TimeoutExpired:
                if revive and self.daemon and not self.is_up():
                    self.start_kedged()
                if time.monotonic() > until:
                    run.kill()
        if check and run.returncode:
            raise Failed(f"kedge {' '.join(argv)}: exit {run.returncode}: "
                         f"{err.strip() or out.strip()}")
        return subprocess.CompletedProcess(argv, run.returncode, out, err)

    def json(self, *argv):
        return json.loads(self.kedge(*argv, "--json").stdout)

    def start_kedged(self, faults=None, visits=None):
        env = {**os.environ}
        env.pop("FAULTS", None)
        if faults:
            env["FAULTS"] = faults
        if visits:
            env["FAULTS_LOG"] = str(visits)
        self.daemon = subprocess.Popen(
            [self.build / "src/daemon/kedged", "--config", self.dir / "k/kedge.conf"], env=env,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

        def up():
            if self.daemon.poll() is not None:
                return False  # died at once: an armed point of the start
            if self.kedge("status", check=False, revive=False).returncode:
                raise Failed("not yet")
            return True
        return self.retry(up, 20)

    def is_up(self):
        return self.daemon is not None and self.daemon.poll() is None

    def kill_kedged(self, sig=signal.SIGKILL):
        if self.is_up():
            self.daemon.send_signal(sig)
            self.daemon.wait(30)

    def init(self):
        self.make_disks()
        self.start_qemu()
        self.kedge("init", str(self.dir / "k"))

    # ---- what must hold ----

    def replica(self, index):
        found = sorted((self.dir / "replicas").glob(f"*/disk{index}.*"))
        if len(found) != 1:
            raise Failed(f"replica disk {index}: found {[p.name for p in found]}")
        return found[0]

    def check_equal(self):
        """The guest does not write now: replica and source must be one and the same."""
        for index, node in enumerate(self.disks):
            run = subprocess.run(["qemu-img", "compare", "-U", "-s", str(self.disk(node)),
                                  str(self.replica(index))], capture_output=True, text=True,
                                 check=False)
            # -s (strict) also compares allocation; what counts is the content
            if run.returncode not in (0, 1):
                raise Failed(f"compare {node}: {run.stderr}")
            run = subprocess.run(["qemu-img", "compare", "-U", str(self.disk(node)),
                                  str(self.replica(index))], capture_output=True, text=True,
                                 check=False)
            if run.returncode:
                raise Failed(f"disk '{node}': {run.stdout.strip()}")

    def check_no_orphans(self):
        left = [str(p) for p in (self.dir / "k").rglob("*/seg/*") if p.is_file()]
        if left:
            raise Failed(f"segments left in the log store: {left[:3]}")
        left = [str(p) for p in self.dir.rglob("*.tmp")]
        if left:
            raise Failed(f"temporary files left: {left[:3]}")
        for block in self.qmp.call("query-named-block-nodes"):
            if block["node-name"] in self.disks:
                names = [b["name"] for b in block.get("dirty-bitmaps", [])]
                if len(names) != 1:
                    raise Failed(f"disk '{block['node-name']}' has bitmaps {names}")
        exports = self.qmp.call("query-block-exports")
        if exports:
            raise Failed(f"exports left: {[e['id'] for e in exports]}")
        jobs = self.qmp.call("query-jobs")
        if jobs:
            raise Failed(f"QEMU jobs left: {[j['id'] for j in jobs]}")

    def close(self):
        self.kill_kedged()
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
        subprocess.run(["pkill", "-KILL", "-f", f"qemu-.*{self.dir}/"], check=False)
        self.log.close()
