# SPDX-License-Identifier: Apache-2.0
"""The table of contenders that run.py measures. Plain data: add a line, not code.

A contender: "name", and "tasks", one entry for each task it can do:
    prepare   shell command, not measured, run once; what it leaves in {out} is given back
              before every round, so that each round starts from the same state
    in_place  true: {out} is left alone between rounds (it belongs to something that runs)
    before    shell command, not measured, before every round
    run       shell command, measured
    verify    shell command, not measured, after every round; must exit 0
    cleanup   shell command, not measured, run once at the end
Only "run" is needed. Placeholders: {images} the image folder, {image} the task's image,
{extents} its list of changed extents, {out} an empty folder of this contender and task,
{build} where the built programs are, {bench} this folder. What lies under {out}/store counts
as stored. Exit status 77 means "cannot": the contender is left out of that task, with its
reason. A last line of JSON on stdout is kept in the raw results.
"""

# Which image and extents a task is about.
TASKS = {
    "full": "base",  # whole image -> durable log (or store)
    "delta": "delta",  # 5 % changed, from a map where the contender can use one
    "churn": "churn",  # every other 4 KiB of a range changed
    "back": "base",  # log -> new replica, verified, durable
    "back_over": "base",  # log -> over an existing replica
    "apply_delta": "delta",  # log of the delta -> onto a replica of base
    "apply_churn": "churn",
    "both": "base",  # image -> log -> verified replica, overlapped
    "resync": "delta",  # the delta found by content hash, to the log
    "scan": "base",  # read + zero test + digest: what a resync must read
}

COPY_BASE = "mkdir -p {out}/replica; cp --sparse=always {images}/base.raw {out}/replica/disk.raw; "
SAME = "cmp {image} {out}/replica/disk.raw"


def fused(name, options):
    """The roofline with one set of options; the name 'fused' is what ratios refer to."""
    send = "{build}/fused send " + options
    receive = "{build}/fused receive {out}/store/log {out}/replica/disk.raw"
    mk = "mkdir -p {out}/store {out}/replica; "
    log = mk + send + " {image} {out}/store/log"
    log_map = mk + send + " --extents {extents} {image} {out}/store/log"
    apply_map = {"prepare": COPY_BASE + log_map, "run": receive, "verify": SAME}
    return {
        "name": name,
        "tasks": {
            "full": {"prepare": mk, "run": send + " {image} {out}/store/log"},
            "delta": {"prepare": mk, "run": log_map},
            "churn": {"prepare": mk, "run": log_map},
            "back": {"prepare": log, "run": receive + " --new", "verify": SAME},
            "back_over": {"prepare": COPY_BASE + log, "run": receive, "verify": SAME},
            "apply_delta": apply_map,
            "apply_churn": apply_map,
            "scan": {"run": "{build}/fused scan " + options + " {image}"},
        },
    }


def peer(name):
    """A script of peers/: see peers/peer.sh for what each verb means."""

    def verb(word, image="{image}"):
        return "{bench}/peers/" + name + ".sh " + word + " " + image + " {extents} {out}"

    prepare = verb("prepare", "{images}/base.raw")
    stored = prepare + " && " + verb("full", "{images}/base.raw")
    end = {"cleanup": verb("cleanup")}
    return {
        "name": name,
        "tasks": {
            "full": {"prepare": prepare, "run": verb("full"), **end},
            "delta": {"prepare": stored, "run": verb("delta"), **end},
            "churn": {"prepare": stored, "run": verb("churn"), **end},
            "back": {"prepare": stored, "run": verb("back"), "verify": SAME, **end},
        },
    }


def virtnbdbackup():
    """Backs up a running VM: the change is written through the VM before each increment."""
    entry = peer("virtnbdbackup")
    change = "{bench}/peers/virtnbdbackup.sh change {image} {extents} {out}"
    for task in entry["tasks"].values():
        task["in_place"] = True
    for task in ("delta", "churn"):
        entry["tasks"][task]["before"] = change
    entry["tasks"]["back"]["verify"] = "qemu-img compare -q {image} {out}/replica/disk.raw"
    return entry


def without(contender, *tasks):
    for task in tasks:
        del contender["tasks"][task]
    return contender


def kedge(name, options):
    """Kedge's own measuring command; skipped until it is built."""
    program = "{build}/kedge-bench"
    base = program + " cycle " + options + " {images}/base.raw {out}"
    # With a list of changes the image counts as tracked; its first cycle is whole all the same.
    tracked = program + " cycle " + options + " --extents {extents} {images}/base.raw {out}"
    send = program + " send " + options + " {image} {out}"
    send_map = program + " send " + options + " --extents {extents} {image} {out}"
    apply = program + " apply " + options + " {image} {out}"
    same = "cmp {image} {out}/replica/disk0.raw"
    apply_map = {"prepare": tracked + " && " + send_map, "run": apply, "verify": same}
    return {
        "name": name,
        "needs": program,
        "tasks": {
            "full": {"run": send},
            "delta": {"prepare": tracked, "run": send_map},
            "churn": {"prepare": tracked, "run": send_map},
            "back": {"prepare": send, "run": apply, "verify": same},
            "back_over": {
                "prepare": base + " && rm -rf {out}/state {out}/store {out}/maps && " + send,
                "run": apply,
                "verify": same,
            },
            "apply_delta": apply_map,
            "apply_churn": apply_map,
            "both": {"run": program + " cycle " + options + " {image} {out}", "verify": same},
            "scan": {"prepare": base, "run": send},
            "resync": {"prepare": base, "run": send},
        },
    }


CONTENDERS = [
    fused("fused", "--digest xxh3"),
    fused("fused-sha256", "--digest sha256"),
    fused("fused-gmac", "--digest gmac"),
    without(fused("fused-zstd", "--digest xxh3 --codec zstd"), "scan"),
    kedge("kedge", ""),
    without(kedge("kedge-compact", "--compact"), "scan", "resync", "churn", "apply_churn"),
    peer("restic"),
    peer("borg"),
    virtnbdbackup(),
    peer("casync"),
    without(peer("zstd-openssl"), "delta", "churn"),
    without(peer("qemu-img"), "delta", "churn", "back"),
    without(peer("nbdcopy"), "delta", "churn", "back"),
    without(peer("rsync"), "back"),
    {
        "name": "cp",
        "tasks": {
            "full": {
                "prepare": "mkdir -p {out}/store",
                "run": "cp --sparse=always {image} {out}/store/disk.raw && "
                "sync -d {out}/store/disk.raw",
            }
        },
    },
]
