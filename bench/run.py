#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the contenders of contenders.py in interleaved rounds; see README.md.

    bench/run.py --images DIR --work DIR [--build build/bench] [--tasks full,delta]
                 [--only fused,restic] [--rounds 5] [--subject kedge] [--results FILE]

Raw results go to FILE, one JSON object a line, the machine first; a Markdown table of medians
and ratios goes to stdout. Nothing outside --work and FILE is written.
"""
import argparse
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import time

BENCH = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, BENCH)
sys.dont_write_bytecode = True
import contenders  # noqa: E402

SKIP = 77


def note(text):
    print(text, file=sys.stderr, flush=True)


def first_line(path, key):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(key):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown"


def commit_id():
    done = subprocess.run(["git", "-C", BENCH, "describe", "--always", "--dirty", "--abbrev=12"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def machine(args):
    manifest = os.path.join(args.images, "manifest.txt")
    text = open(manifest, encoding="utf-8").read().splitlines() if os.path.exists(manifest) else []
    return {
        "kind": "machine", "cpu": first_line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(), "memory": first_line("/proc/meminfo", "MemTotal"),
        "kernel": os.uname().release, "commit": commit_id(), "images": text,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "rounds": args.rounds,
        "load_at_start": os.getloadavg()[0],
    }


def touch_memory(mib):
    """Makes the host give back memory it took: its first touch costs 20 times a later one."""
    with mmap.mmap(-1, max(mib, 1) << 20) as region:
        for at in range(0, len(region), 4096):
            region[at] = 1


def warm(path, buffer=bytearray(4 << 20)):
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def stored_bytes(folder):
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            st = os.lstat(os.path.join(root, name))
            total += min(st.st_size, st.st_blocks * 512)
    return total


class Skip(Exception):
    pass


class Entry:
    """One contender at one task."""

    def __init__(self, args, task, contender):
        self.args, self.task, self.name = args, task, contender["name"]
        self.spec = contender["tasks"][task]
        self.out = os.path.join(args.work, f"{task}-{self.name}")
        self.pristine = self.out + ".pristine"
        self.timed = os.path.join(args.build, "timed")
        image = os.path.join(args.images, contenders.TASKS[task])
        self.image = image + ".raw"
        self.fill = {"images": args.images, "image": self.image, "extents": image + ".extents",
                     "out": self.out, "build": args.build, "bench": BENCH}

    def shell(self, key):
        if key not in self.spec:
            return
        done = subprocess.run(["/bin/sh", "-c", self.spec[key].format(**self.fill)],
                              capture_output=True, text=True, check=False)
        self.check(f"{key} failed", done.returncode, done.stderr)

    def check(self, what, status, stderr):
        if status == 0:
            return
        reason = (stderr.strip().splitlines() or ["no message"])[-1]
        if status != SKIP:
            note(stderr)
        raise Skip(reason if status == SKIP else f"{what}, status {status}: {reason}")

    def prepare(self):
        for folder in (self.out, self.pristine):
            shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(self.out)
        self.shell("prepare")
        if not self.spec.get("in_place"):
            os.rename(self.out, self.pristine)

    def reset(self):
        if self.spec.get("in_place"):
            return
        shutil.rmtree(self.out, ignore_errors=True)
        subprocess.run(["cp", "-a", "--sparse=always", self.pristine, self.out], check=True)

    def measure(self, round_number):
        self.reset()
        self.shell("before")
        os.sync()
        warm(self.image)
        store = os.path.join(self.out, "store")
        before = stored_bytes(store)
        result_path = os.path.join(self.args.work, "result.json")
        done = subprocess.run([self.timed, result_path, self.spec["run"].format(**self.fill)],
                              capture_output=True, text=True, check=False)
        self.check("run failed", done.returncode, done.stderr)
        with open(result_path, encoding="ascii") as file:
            result = json.load(file)
        own = (done.stdout.strip().splitlines() or [""])[-1]
        result.update(kind="run", task=self.task, contender=self.name, round=round_number,
                      cpu_s=result["user_s"] + result["sys_s"],
                      stored_bytes=stored_bytes(store) - before, load=os.getloadavg()[0],
                      own=json.loads(own) if own.startswith("{") else None)
        self.shell("verify")
        return result

    def end(self):
        try:
            self.shell("cleanup")
        except Skip:
            pass
        if not self.args.keep:
            for folder in (self.out, self.pristine):
                shutil.rmtree(folder, ignore_errors=True)


def run_task(args, task, results):
    """All rounds of one task: A B C, A B C, ...; round 0 is discarded."""
    entries, runs = [], []

    def drop(entry, why):
        note(f"{task}: {entry.name} left out: {why}")
        results.write(json.dumps({"kind": "skip", "task": task, "contender": entry.name,
                                  "reason": str(why)}) + "\n")
        runs[:] = [run for run in runs if run["contender"] != entry.name]
        entry.end()

    def attempt(step, *arguments):
        kept = []
        for entry in entries:
            try:
                done = getattr(entry, step)(*arguments)
            except Skip as why:
                drop(entry, why)
                continue
            kept.append(entry)
            if done and done["round"] > 0:
                runs.append(done)
                results.write(json.dumps(done) + "\n")
                results.flush()
        entries[:] = kept

    for contender in contenders.CONTENDERS:
        if task not in contender["tasks"] or (args.only and contender["name"] not in args.only):
            continue
        entry = Entry(args, task, contender)
        if os.path.exists(contender.get("needs", "/").format(**entry.fill)):
            entries.append(entry)
        else:
            note(f"{task}: {entry.name} left out: not built")
    try:
        attempt("prepare")
        for number in range(args.rounds + 1):
            note(f"{task}: round {number} of {args.rounds}: {' '.join(e.name for e in entries)}")
            attempt("measure", number)
    finally:
        for entry in entries:
            entry.end()
    return runs


def ratio(runs, name, reference):
    """Median over the rounds of wall(name) / wall(reference) in the same round."""
    wall = {(run["contender"], run["round"]): run["wall_s"] for run in runs}
    ratios = [wall[name, number] / wall[reference, number] for who, number in wall
              if who == name and (reference, number) in wall]
    return f"{statistics.median(ratios):.2f}" if ratios else "-"


def table(task, runs, subject):
    names = list(dict.fromkeys(run["contender"] for run in runs))
    print(f"\n### {task}\n\n| contender | wall s | min..max | CPU s | max RSS MB | stored MB | "
          f"/ fused | / {subject} |\n|---|---|---|---|---|---|---|---|")
    for name in names:
        mine = [run for run in runs if run["contender"] == name]
        mid = {key: statistics.median(run[key] for run in mine)
               for key in ("wall_s", "cpu_s", "maxrss_kib", "stored_bytes")}
        walls = [run["wall_s"] for run in mine]
        print(f"| {name} | {mid['wall_s']:.2f} | {min(walls):.2f}..{max(walls):.2f} | "
              f"{mid['cpu_s']:.2f} | {mid['maxrss_kib'] * 1024 / 1e6:.0f} | "
              f"{mid['stored_bytes'] / 1e6:.1f} | {ratio(runs, name, 'fused')} | "
              f"{ratio(runs, name, subject)} |")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True)
    parser.add_argument("--work", required=True, help="scratch folder, on the disk to measure")
    parser.add_argument("--build", default="build/bench")
    parser.add_argument("--tasks", default=",".join(contenders.TASKS))
    parser.add_argument("--only", default="", help="contenders, comma separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subject", default="kedge", help="second column of ratios")
    parser.add_argument("--results", default="bench-results.jsonl")
    parser.add_argument("--touch-mib", type=int, default=4096)
    parser.add_argument("--keep", action="store_true", help="leave the scratch folders")
    args = parser.parse_args()
    args.only = [name for name in args.only.split(",") if name]
    args.images, args.work, args.build = map(os.path.abspath, (args.images, args.work, args.build))
    unknown = set(args.tasks.split(",")) - set(contenders.TASKS)
    unknown |= set(args.only) - {entry["name"] for entry in contenders.CONTENDERS}
    if unknown:
        parser.error(f"unknown: {' '.join(sorted(unknown))}")
    return args


def main():
    args = parse_args()
    os.makedirs(args.work, exist_ok=True)
    host = machine(args)
    touch_memory(args.touch_mib)
    print(f"{host['cpu']}, {host['cores']} cores, {host['memory']}, Linux {host['kernel']}; "
          f"commit {host['commit']}; {host['date']}; medians of {args.rounds} interleaved rounds, "
          "warm source; ratios are medians of same-round ratios")
    with open(args.results, "a", encoding="utf-8") as results:
        results.write(json.dumps(host) + "\n")
        for task in args.tasks.split(","):
            table(task, run_task(args, task, results), args.subject)


if __name__ == "__main__":
    main()
