#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a guest has changed on its disks, written into a machine of the simulated vSphere as that machine's
own writes: replay-writes.py CONTROL-URL VM DISK OLD NEW [DISK OLD NEW ...]

DISK is the index in the simulator, OLD a copy of the disk before, NEW the disk now. Only what differs is
written, 64 KiB at a time, and OLD is brought up to NEW."""
import base64
import json
import sys
import urllib.request

PIECE = 65536
BATCH = 64


def post(control, vm, disk, writes):
    body = {"vm": vm, "disk": disk, "writes": writes}
    request = urllib.request.Request(control + "/write", json.dumps(body).encode())
    urllib.request.urlopen(request, timeout=120).read()


def replay(control, vm, disk, old, new):
    written, batch = 0, []
    with open(old, "r+b") as before, open(new, "rb") as after:
        offset = 0
        while True:
            now = after.read(PIECE)
            if not now:
                break
            before.seek(offset)
            if before.read(len(now)) != now:
                before.seek(offset)
                before.write(now)
                batch.append({"offset": offset, "base64": base64.b64encode(now).decode()})
                written += len(now)
            if len(batch) == BATCH:
                post(control, vm, disk, batch)
                batch = []
            offset += len(now)
    if batch:
        post(control, vm, disk, batch)
    return written


def main():
    control, vm, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    total = sum(replay(control, vm, int(rest[i]), rest[i + 1], rest[i + 2])
                for i in range(0, len(rest), 3))
    print(f"the guest wrote: {total / 2**20:.1f} MiB of its disks are different now")


main()
