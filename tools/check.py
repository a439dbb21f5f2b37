#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test there is, or the tiers named on the command line, and ends with the line
'N passed, N failed' (', N skipped' when there are). Exit status 1 when anything failed.

  tree     ranks, formatting, lengths, documents, headers that compile alone
  gcc      gcc, warnings are errors, fault points compiled in: every unit test, the flows
  asan     clang with ASan and UBSan: every unit test and the fuzz corpora
  tsan     clang with TSan: the threaded parts
  release  gcc and clang, optimised as installed: the programs build without a warning
  crash    each named fault point x {error, crash}, random kill -9 (bounded)
"""
import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIERS = ["tree", "gcc", "release", "asan", "tsan", "crash"]
totals = {"passed": 0, "failed": 0, "skipped": 0}
failures = []


def count(kind, name, detail=""):
    totals[kind] += 1
    if kind == "failed":
        failures.append(name)
        print(f"FAILED  {name}\n{detail}", flush=True)


def count_skip(name, output):
    """Only what tests/allowed-skips lists, and for the reason given there."""
    reason = (output.strip().splitlines() or ["no reason"])[-1]
    for line in (ROOT / "tests" / "allowed-skips").read_text().splitlines():
        pattern, _, words = line.partition(" ")
        if line and line[0] != "#" and fnmatch.fnmatch(name.split()[-1], pattern) and words.strip() in reason:
            print(f"skipped {name}: {reason}", flush=True)
            count("skipped", name)
            return
    count("failed", name, f"skipped, which tests/allowed-skips does not list: {reason}")


def step(name, argv, env=None):
    """One command that is one test."""
    started = time.monotonic()
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False,
                         env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL)
    ok = run.returncode == 0
    print(f"{'ok' if ok else 'FAILED':7} {name} ({time.monotonic() - started:.0f} s)", flush=True)
    count("passed" if ok else "failed", name, (run.stdout + run.stderr)[-6000:])
    return ok


def build(folder, options, env=None, targets=()):
    """All targets, or those; None: what the tests that follow need."""
    path = ROOT / folder
    argv = ["meson", "setup", str(path), *options]
    if (path / "build.ninja").exists():
        argv = ["meson", "setup", "--reconfigure", str(path), *options]
    return (step(f"{folder}: configure", argv, env)
            and (targets is None or step(f"{folder}: build", ["ninja", "-C", str(path), *targets])))


def meson_test(folder, suites, env=None, exclude=()):
    """Builds what is missing, runs suites; counts each test on its own from Meson's log."""
    # Most tests wait more than they compute: two for each core, and more time for each.
    argv = ["meson", "test", "-C", str(ROOT / folder), "--print-errorlogs",
            "--num-processes", str(2 * (os.cpu_count() or 1)), "--timeout-multiplier", "2"]
    for suite in suites:
        argv += ["--suite", suite]
    for suite in exclude:
        argv += ["--no-suite", suite]
    print(f"running {folder}: {', '.join(suites) or 'all'}", flush=True)
    started = time.time()
    run = subprocess.run(argv, cwd=ROOT, text=True, check=False, capture_output=True,
                         env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL)
    log = ROOT / folder / "meson-logs" / "testlog.json"
    seen = 0
    if log.exists() and log.stat().st_mtime >= started - 1:
        for line in log.read_text().splitlines():
            test = json.loads(line)
            seen += 1
            name = f"{folder}: {test['name']}"
            if test["result"] in ("OK", "EXPECTEDFAIL"):
                count("passed", name)
            elif test["result"] == "SKIP":
                count_skip(name, test.get("stdout", "") + test.get("stderr", ""))
            else:
                text = test.get("stdout", "") + test.get("stderr", "")
                count("failed", name, text[-6000:])
    if seen == 0:
        count("failed", f"{folder}: no test ran", (run.stdout + run.stderr)[-3000:])
    print(f"        {seen} tests, {time.time() - started:.0f} s", flush=True)


def tier_tree():
    step("tree: ranks and owners", ["tools/check-ranks"])
    step("tree: files, documents, headers, format", ["tools/check-tree"])


def tier_gcc():
    if build("build-gcc", ["-Dwerror=true", "-Dfaults=true"]):
        meson_test("build-gcc", [])


def tier_release():
    programs = ["src/cli/kedge", "src/daemon/kedged", "src/vsphere/kedge-vddk"]
    build("build-release", ["-Dwerror=true", "--buildtype=release"], targets=programs)
    build("build-clang", ["-Dwerror=true", "--buildtype=release"], {"CC": "clang"}, programs)


def tier_asan():
    clang = {"CC": "clang"}
    options = ["-Dwerror=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
               "-Dfaults=true"]
    if build("build-asan", options, clang):
        meson_test("build-asan", [], env={"UBSAN_OPTIONS": "halt_on_error=1"}, exclude=["flow", "sim", "net"])


def tier_tsan():
    options = ["-Dwerror=true", "-Db_sanitize=thread", "-Db_lundef=false"]
    if build("build-tsan", options, {"CC": "clang"}, targets=None):
        supp = f"suppressions={ROOT}/tests/tsan.supp"
        meson_test("build-tsan", ["threads"], env={"TSAN_OPTIONS": supp})


def tier_crash():
    step("crash: every fault point, random kills", ["tests/fault/crash_sweep.py", "--quick",
                                                    str(ROOT / "build-gcc")])
    step("crash: kill -9 at the points of every kind of job",
         ["tests/fault/job_sweep.py", "--quick", "--sample", "4", str(ROOT / "build-gcc")])
    step("crash: no space left at each store", ["tests/fault/no_space.py",
                                                str(ROOT / "build-gcc")])
    step("crash: a disk cut and grown unseen", ["tests/fault/resize_unseen.py",
                                                str(ROOT / "build-gcc")])
    step("crash: power cuts", ["tests/fault/power_cut/power_cut.py", "--cuts", "20",
                               str(ROOT / "build-gcc")])
    step("crash: the source dies in its initial cycle", ["tests/fault/dead_source.py",
                                                         str(ROOT / "build-gcc")])


def npm_tools():
    """Where tools/deps.sh has put them, unless the caller knows better."""
    modules = ROOT / "build-npm" / "node_modules"
    for variable, name in (("KEDGE_AZURITE", "azurite"), ("KEDGE_OIDC_PROVIDER", "oidc-provider"),
                           ("KEDGE_STORAGE_BLOB", "@azure/storage-blob"), ("KEDGE_OAV", "oav"),
                           ("KEDGE_PRISM", "@stoplight/prism-cli"),
                           ("KEDGE_KEYVAULT_SECRETS", "@azure/keyvault-secrets"),
                           ("KEDGE_KEYVAULT_KEYS", "@azure/keyvault-keys"), ("KEDGE_ARM_SDK", "@azure/arm-compute"),
                           ("KEDGE_AZURE_HTTP_SPECS", "@azure-tools/azure-http-specs")):
        if (modules / name).exists():
            os.environ.setdefault(variable, str(modules / name))


def main():
    npm_tools()
    wanted = sys.argv[1:] or TIERS
    for name in wanted:
        if name not in TIERS:
            sys.exit(f"check.py: no tier '{name}'; there are: {', '.join(TIERS)}")
    for name in wanted:
        globals()[f"tier_{name}"]()
    for name in failures:
        print(f"FAILED  {name}")
    tail = f", {totals['skipped']} skipped" if totals["skipped"] else ""
    print(f"{totals['passed']} passed, {totals['failed']} failed{tail}")
    sys.exit(1 if totals["failed"] else 0)


main()
