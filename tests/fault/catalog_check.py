#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold in a catalog while nothing runs; each rule has a number, and a breach names it.

  catalog_check.py CATALOG [TARGET-FOLDER]

K1  the file is whole: SQLite's own check, and every reference is to a row that is there
K2  no job is queued or running
K3  an ended job has an end; one that succeeded has no error, one that failed says why
K4  a job never did more steps than it has; it ended after it began, and began after it was made
K5  no machine is in a state that only lasts while a job works on it
K6  a machine that is past its initial cycle has a recovery point, and its next cycle is a new number
K7  a cycle that ended says how; none is left running; its number was spent; that of the recovery point
    was applied
K8  every event says who, and belongs to a job that there was
K9  a machine's tests are exactly those that the target has
K10 at most one machine per source machine"""
import json
import pathlib
import sqlite3
import sys

LASTING = {"initial-replication-failed", "delta-sync", "paused", "repair-pending", "migrated",
           "stop-failed"}
NO_POINT = {"initial-replication-failed", "initial-replication-queued", "initial-replication",
            "paused", "stop-failed"}
PASSING_MIGRATION = {"test-in-progress", "migration-in-progress"}


class Broken(Exception):
    pass


def rows(db, sql):
    cursor = db.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor]


def check_file(db):
    if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        yield "K1 integrity_check"
    for table in db.execute("PRAGMA foreign_key_check"):
        yield f"K1 reference of table {table[0]}"


def check_jobs(db):
    for job in rows(db, "SELECT * FROM jobs"):
        what = f"job {job['id']} ({job['operation']})"
        state = job["state"]
        if state in ("queued", "running"):
            yield f"K2 {what} is {state} at step '{job['step']}'"
            continue
        if not job["ended_ms"]:
            yield f"K3 {what} {state} without an end"
        if state == "succeeded" and job["error_kind"] != "none":
            yield f"K3 {what} succeeded with error {job['error_kind']}"
        if state == "failed" and (job["error_kind"] == "none" or not job["error_text"]):
            yield f"K3 {what} failed without a reason"
        if job["progress_done"] > job["progress_total"]:
            yield f"K4 {what}: {job['progress_done']} of {job['progress_total']} steps"
        if job["started_ms"] and not job["created_ms"] <= job["started_ms"] <= job["ended_ms"]:
            yield f"K4 {what}: times {job['created_ms']} {job['started_ms']} {job['ended_ms']}"


def check_machines(db):
    seen = set()
    for m in rows(db, "SELECT * FROM machines"):
        what = f"machine '{m['name']}'"
        if m["state"] not in LASTING:
            yield f"K5 {what} is in {m['state']}"
        if m["migration"] in PASSING_MIGRATION:
            yield f"K5 {what}: migration {m['migration']}"
        if m["state"] not in NO_POINT and not m["recovery_point"]:
            yield f"K6 {what} is in {m['state']} without a recovery point"
        if m["recovery_point"] >= m["next_cycle"]:
            yield f"K6 {what}: recovery point {m['recovery_point']}, next {m['next_cycle']}"
        key = (m["source"], m["source_key"])
        if key in seen:
            yield f"K10 {what}: its source machine is replicated twice"
        seen.add(key)


def check_cycles(db):
    for c in rows(db, "SELECT cycles.*, next_cycle, recovery_point, name FROM cycles JOIN machines "
                      "ON machines.id = cycles.machine"):
        what = f"cycle {c['cycle']} of '{c['name']}'"
        if c["state"] not in ("applied", "failed", "detached"):
            yield f"K7 {what} is '{c['state']}'"
        if c["cycle"] >= c["next_cycle"]:
            yield f"K7 {what}: next is {c['next_cycle']}"
        if c["cycle"] == c["recovery_point"] and c["state"] != "applied":
            yield f"K7 {what} is the recovery point and '{c['state']}'"


def check_events(db):
    last_job = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence "
                          "WHERE name = 'jobs'").fetchone()[0]
    for e in rows(db, "SELECT id, event, who, job FROM events"):
        if not e["who"]:
            yield f"K8 event {e['id']} ({e['event']}) is nobody's"
        if e["job"] > last_job:
            yield f"K8 event {e['id']} names job {e['job']}"


def check_tests(db, target):
    if target is None:
        return
    for m in rows(db, "SELECT name, runtime_json FROM machines"):
        known = sorted(t["name"] for t in json.loads(m["runtime_json"])["tests"])
        folder = pathlib.Path(target) / m["name"] / "tests"
        there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        if known != there:
            yield f"K9 machine '{m['name']}': tests {known}, at the target {there}"


def check(catalog, target=None):
    db = sqlite3.connect(f"file:{catalog}?mode=ro", uri=True, timeout=10)
    try:
        found = []
        for rule in (check_file(db), check_jobs(db), check_machines(db), check_cycles(db),
                     check_events(db), check_tests(db, target)):
            found += list(rule)
    finally:
        db.close()
    if found:
        raise Broken("; ".join(found))


if __name__ == "__main__":
    try:
        check(*sys.argv[1:3])
    except Broken as why:
        sys.exit(f"catalog_check: {why}")
