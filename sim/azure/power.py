# SPDX-License-Identifier: Apache-2.0
"""Power of virtual machines: with --boot a command runs as long as the machine does.

    CMD FOLDER NAME GENERATION DISK...      # GENERATION V1 or V2; the first file is the OS disk

It may leave serial.log and screen.png in FOLDER, at any time; they become boot diagnostics. It gets SIGTERM when the
machine is to stop; when it ends by itself the machine is stopped, as after a shutdown in the guest."""
import base64
import os
import signal
import subprocess
import uuid

from .refusal import Refusal
from .server import Answer, Routes

STOP_S = 20
# One grey pixel: what the screen shows of a machine that nothing boots.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
NOTHING = b"simulated machine: nothing was booted\r\n"
routes = Routes()


class Power:
    def __init__(self, lab):
        self._lab = lab

    def _command(self):
        return self._lab.config["boot"]

    def start(self, vm, disks):
        vm.power = "running"
        if not self._command() or vm.process is not None:
            return
        folder = os.path.join(self._lab.run_dir, "vms", vm.name)
        os.makedirs(folder, exist_ok=True)
        files = [disk.content.path for disk in disks]
        generation = disks[0].properties.get("hyperVGeneration", "V1")
        with open(os.path.join(folder, "boot.log"), "ab") as log:
            vm.process = subprocess.Popen([self._command(), folder, vm.name, generation, *files],
                                          stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, start_new_session=True)

    def stop(self, vm, state):
        """Blocks until the command is gone; not under the world's lock."""
        process, vm.process = vm.process, None
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        vm.power = state

    def state(self, vm):
        if vm.power == "running" and vm.process is not None and vm.process.poll() is not None:
            vm.process, vm.power = None, "stopped"
        return vm.power

    def stop_all(self):
        for vm in self._lab.world.all():
            if vm.process is not None:
                self.stop(vm, "stopped")

    def diagnostics(self, vm, base_url):
        """Addresses that work until the process ends, as those of the service work for their minutes."""
        key = vm.diagnostics_key = vm.diagnostics_key or uuid.uuid4().hex
        place = f"{base_url}/bootdiagnostics/{vm.vm_id}"
        return {"consoleScreenshotBlobUri": f"{place}/screenshot.png?sig={key}",
                "serialConsoleLogBlobUri": f"{place}/serialconsole.log?sig={key}"}


@routes.on("GET", "/bootdiagnostics/{vm}/{name}", audience=None)
def diagnostics(request):
    lab, name = request.lab, request.params["name"]
    vm = next((r for r in lab.world.all() if r.vm_id == request.params["vm"]), None)
    if vm is None or name not in ("screenshot.png", "serialconsole.log"):
        raise Refusal(404, "BlobNotFound", "The specified blob does not exist.")
    if not vm.diagnostics_key or request.query.get("sig") != vm.diagnostics_key:
        raise Refusal(403, "AuthenticationFailed", "Server failed to authenticate the request.")
    kind = "image/png" if name == "screenshot.png" else "text/plain"
    if not lab.config["boot"]:
        return Answer(200, PIXEL if kind == "image/png" else NOTHING, content_type=kind)
    path = os.path.join(lab.run_dir, "vms", vm.name, "screen.png" if kind == "image/png" else "serial.log")
    if not os.path.exists(path):
        raise Refusal(404, "BlobNotFound", "The specified blob does not exist.")
    with open(path, "rb") as file:
        return Answer(200, file.read(), content_type=kind)
