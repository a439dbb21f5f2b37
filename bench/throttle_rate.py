#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does the throttle hold on a fast link? A replication to the storage emulator over a 1 Gbit/s circuit of
tests/net/lab.py, at each rate; every window of ten seconds as the interface counts it, against the bound.
Needs root, KEDGE_AZURITE, and cores to spare: a machine that cannot reach a rate says so.
throttle_rate.py BUILD [MB_PER_SECOND...]   (without: 1 10 100; MB are 10^6 bytes)"""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "net"))
import lab  # noqa: E402

MB, SETTLE_S, WINDOW_S, SAMPLE_S = 1000 * 1000, 2, 10, 0.1
SITE = f"lsakedge.{lab.DOMAIN}"


def start(build):
    box = lab.Lab(build, circuit_rate="1gbit")
    box.make_wires()
    box.name(SITE, lab.PRIVATE)
    azurite = box.start_azurite("lsakedge")
    box.start_dns()
    box.wait_log("azurite.log", "successfully listens", azurite)
    key = box.credential("key", kind="shared-key", key_file=str(box.secret("account.key", lab.KEY)))
    box.start_kedged(box.config("k", log_store=f"blob:https://{SITE}/logs", log_store_credential=key,
                                compression="none", network_check_interval="0"))
    box.kedge("target", "add", "here", "local", "--dir", box.dir / "replicas", "--accel", "tcg")
    return box


def image(box, name, size):
    """Not compressible; made of a few MiB, so that it is made quickly."""
    piece = os.urandom(8 * 1024 * 1024 + 4096)
    path = box.dir / f"{name}.raw"
    with open(path, "wb") as file:
        while file.tell() < size:
            file.write(piece)
        file.truncate((size + MB) // 4096 * 4096)
    box.kedge("source", "add", name, "image", "--path", path)


def measure(box, rate_mb):
    name, limit = f"m{rate_mb}", rate_mb * MB
    image(box, name, int(limit * (SETTLE_S + WINDOW_S + 6)))
    box.kedge("throttle", "set", str(limit))
    job = box.spawn("o", box.build / "src/cli/kedge", "--config", box.conf, "replicate", name, name,
                    log=f"{name}.log")
    first = box.sent("circ")
    while box.sent("circ") - first < 100000:
        time.sleep(0.02)
    time.sleep(SETTLE_S)
    samples = []
    while not samples or samples[-1][0] - samples[0][0] < WINDOW_S + 3:
        samples.append((time.monotonic(), box.sent("circ")))
        if job.poll() is not None:
            break
        time.sleep(SAMPLE_S)
    rates = []
    for at, sent in samples:
        later = next(((t, s) for t, s in samples if t - at >= WINDOW_S), None)
        if later:
            rates.append((later[1] - sent) / (later[0] - at) / limit)
    box.kedge("stop", name, "--force", check=False)
    job.wait(60)
    if not rates:
        return "the cycle was over too soon"
    verdict = ("IS EXCEEDED" if max(rates) > 1.05 else "holds" if min(rates) >= 0.95 else
               "holds from above; this machine does not keep up")
    return (f"windows of {WINDOW_S} s: {min(rates) * 100:.1f} % to {max(rates) * 100:.1f} % of the bound "
            f"({len(rates)} of them): {verdict}")


def main():
    lab.require()
    box = start(sys.argv[1])
    try:
        for rate in sys.argv[2:] or ("1", "10", "100"):
            print(f"{rate:>4} MB/s  {measure(box, int(rate))}", flush=True)
    except BaseException:
        print(box.read("kedged.log")[-3000:])
        raise
    finally:
        box.close()


main()
