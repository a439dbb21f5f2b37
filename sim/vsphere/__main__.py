# SPDX-License-Identifier: Apache-2.0
"""python3 -m vsphere --config FILE --run-dir DIR [--ready-file FILE]: serve until SIGTERM."""
import argparse
import gc
import os
import signal
import sys

from . import config
from .lab import Lab


def main():
    parser = argparse.ArgumentParser(prog="kedge-vsphere-sim", description="A simulated vSphere; see sim/README.md.")
    parser.add_argument("--config", required=True, help="configuration, JSON")
    parser.add_argument("--run-dir", required=True, help="folder for disks, certificates and ready.json")
    parser.add_argument("--ready-file", help="where to write ports and credentials (default: RUN_DIR/ready.json)")
    options = parser.parse_args()
    os.umask(0o077)
    try:
        settings = config.load(options.config)
        lab = Lab(settings, os.path.abspath(options.run_dir))
    except (OSError, ValueError, config.ConfigError) as error:
        print(f"kedge-vsphere-sim: {options.config}: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: lab.stopping.set())
    gc.freeze()                             # the inventory lives as long as the process
    lab.start()
    ready = lab.write_ready(options.ready_file or os.path.join(lab.run_dir, "ready.json"))
    print(f"serving {ready['url']} with {ready['vms']} VMs; control {ready['control']}", flush=True)
    lab.stopping.wait()
    lab.stop()
    sys.stdout.flush()
    os._exit(0)                             # connections may still be inside OpenSSL: no teardown under them


if __name__ == "__main__":
    sys.exit(main())
