#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput of the page blob writer to the emulator, beside plain parallel puts by the
vendor's client: same size, same concurrency, interleaved; see README.md.

    bench/azure_pages.py --build build/bench --work DIR [--mib 256] [--lanes 8] [--rounds 5]
                         [--results FILE]

Needs KEDGE_AZURITE and KEDGE_STORAGE_BLOB (folders of the npm packages azurite and
@azure/storage-blob; build-npm/ is looked at when they are not set). Raw results go to FILE, a
JSON object a line; medians go to stdout. Memory is the largest of the one process. Both sides
and the emulator share the machine: only the ratio means anything.
"""
import argparse
import base64
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time

BENCH = pathlib.Path(__file__).resolve().parent
MODULES = BENCH.parent / "build-npm" / "node_modules"
ACCOUNT = "kedgebench"
KEY = base64.b64encode(b"k" * 64).decode()


def package(variable, name):
    folder = pathlib.Path(os.environ.get(variable) or MODULES / name)
    if not folder.exists():
        sys.exit(f"azure_pages: no {folder}; run tools/deps.sh test, or set {variable}")
    return folder


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Emulator:
    def __init__(self, work):
        self.work, self.port = work, free_port()
        self.cert, self.key = work / "tls.pem", work / "tls.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", self.key, "-out", self.cert], check=True, capture_output=True)
        (work / "account.key").write_text(KEY + "\n")
        (work / "account.key").chmod(0o600)
        (work / "access.json").write_text(json.dumps(
            {"kind": "shared-key", "key_file": str(work / "account.key"), "ca_file": str(self.cert)}))
        self.log = work / "azurite.log"
        main = package("KEDGE_AZURITE", "azurite") / "dist/src/blob/main.js"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["node", main, "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--cert",
                 self.cert, "--key", self.key, "--location", work / "blobs", "--silent",
                 "--disableTelemetry", "--skipApiVersionCheck"],
                env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}, stdout=log, stderr=log)
        for _ in range(600):
            if "successfully listens" in self.log.read_text():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"azure_pages: the emulator did not start: {self.log}")

    def container(self):
        return f"https://127.0.0.1:{self.port}/{ACCOUNT}/bench"

    def stop(self):
        self.process.terminate()
        self.process.wait()


def run(argv, env):
    """The JSON of its last line, with the process's memory."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as process:
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"azure_pages: {argv[0]} ended with {process.returncode}")
    result = json.loads(out.strip().splitlines()[-1])
    result["rss_mib"] = usage.ru_maxrss / 1024
    result["cpu_seconds"] = usage.ru_utime + usage.ru_stime
    result["mib_per_s"] = result["mib"] / result["seconds"]
    return result


def contenders(args, emulator):
    yield "kedge", lambda name: [
        pathlib.Path(args.build) / "azure_pages", "--container", emulator.container(), "--access",
        emulator.work / "access.json", "--name", name, "--mib", str(args.mib), "--lanes",
        str(args.lanes)]
    yield "client", lambda name: [
        "node", BENCH / "azure_pages.mjs", package("KEDGE_STORAGE_BLOB", "@azure/storage-blob"),
        emulator.container(), emulator.work / "account.key", name, str(args.mib),
        str(args.lanes)]


def measure(args, emulator, results):
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": str(emulator.cert)}
    rounds = []
    for number in range(args.rounds + 1):
        one = {}
        for name, argv in contenders(args, emulator):
            one[name] = run(argv(f"{name}-{number}"), env)
            one[name].update(contender=name, round=number, load=os.getloadavg()[0])
            if results:
                results.write(json.dumps(one[name]) + "\n")
        if number:  # the first one warms up, and makes the container
            rounds.append(one)
    return rounds


def report(args, rounds):
    def median(of):
        return statistics.median(of(one) for one in rounds)

    print(f"{args.mib} MiB, {args.lanes} at once, {args.rounds} rounds, medians\n")
    print("| | MiB/s | CPU s | RSS MiB |")
    print("|---|---|---|---|")
    for name in ("kedge", "client"):
        print(f"| {name} | {median(lambda r: r[name]['mib_per_s']):.0f} | "
              f"{median(lambda r: r[name]['cpu_seconds']):.2f} | "
              f"{median(lambda r: r[name]['rss_mib']):.0f} |")
    ratio = median(lambda r: r["kedge"]["mib_per_s"] / r["client"]["mib_per_s"])
    print(f"\nthroughput, kedge / client: {ratio:.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--work", required=True, help="an empty or new folder; removed afterwards")
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results")
    args = parser.parse_args()
    work = pathlib.Path(args.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        sys.exit(f"azure_pages: '{work}' is not empty")
    emulator = Emulator(work)
    try:
        with open(args.results or os.devnull, "w", encoding="utf-8") as results:
            report(args, measure(args, emulator, results))
    finally:
        emulator.stop()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
