# SPDX-License-Identifier: Apache-2.0
"""python3 -m azure --config FILE --run-dir DIR [--disks DIR] [--boot CMD] [--record DIR]: serve until SIGTERM."""
import argparse
import os
import signal
import sys

from . import config
from .lab import Lab


def main():
    parser = argparse.ArgumentParser(prog="kedge-azure-sim", description="A simulated Azure Resource Manager; see "
                                     "sim/README.md.")
    parser.add_argument("--config", required=True, help="configuration, JSON")
    parser.add_argument("--run-dir", required=True, help="folder for certificates and ready.json")
    parser.add_argument("--ready-file", help="where to write ports and credentials (default: RUN_DIR/ready.json)")
    parser.add_argument("--disks", help="folder for the bytes of disks: DISK.raw (default: only their sizes are kept)")
    parser.add_argument("--boot", help="command that runs while a virtual machine does; needs --disks")
    parser.add_argument("--record", help="folder for each exchange, in the form that oav validates")
    options = parser.parse_args()
    os.umask(0o077)
    overrides = {"disks_dir": options.disks, "boot": options.boot, "record_dir": options.record}
    try:
        lab = Lab(config.load(options.config, overrides), os.path.abspath(options.run_dir))
    except (OSError, ValueError, config.ConfigError) as error:
        print(f"kedge-azure-sim: {options.config}: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: lab.stopping.set())
    lab.start()
    ready = lab.write_ready(options.ready_file or os.path.join(lab.run_dir, "ready.json"))
    print(f"serving {ready['url']}; control {ready['control']}", flush=True)
    lab.stopping.wait()
    lab.stop()
    sys.stdout.flush()
    os._exit(0)                             # connections may still be inside OpenSSL: no teardown under them


if __name__ == "__main__":
    sys.exit(main())
