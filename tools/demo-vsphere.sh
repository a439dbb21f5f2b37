#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The life of a migration off vSphere, without a vSphere: a simulated vCenter with one ESXi host holds the demo
# guest's disks; Kedge finds the machine, replicates it through the host's NFC service, follows its changes by
# changed-block tracking, tests, verifies, migrates it to QEMU, and the guest itself says that nothing was lost.
# `make demo-vsphere` calls it.
#
# What is simulated: vCenter, host, snapshots, change tracking, NFC. What is real: the guest. It lives in QEMU for
# some seconds between the steps, and what it changed on its disks is written into the simulated machine as that
# machine's own writes.
# KEDGE_DEMO_DIR: where everything lives (removed and made anew); KEDGE_CACHE: downloaded kernel.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=$(realpath "${1:-build}")
DIR=${KEDGE_DEMO_DIR:-/var/tmp/kedge-demo-vsphere}
export KEDGE_CACHE=${KEDGE_CACHE:-/var/tmp/kedge-cache}
export KEDGE_CONFIG=$DIR/kedge/kedge.conf
kedge=$BUILD/src/cli/kedge
kedged=$BUILD/src/daemon/kedged
guest=tools/guest
export PATH=$PWD/$guest/one-cpu:$PATH # why: see there
started=$SECONDS

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' plain=$'\e[0m'; else bold='' dim='' green='' plain=''; fi
say() { printf '\n%s== %s%s  %s(%d s)%s\n' "$bold" "$*" "$plain" "$dim" $((SECONDS - started)) "$plain"; }
k() { printf '%s$ kedge %s%s\n' "$dim" "$*" "$plain"; "$kedge" "$@"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

stop_all() {
    local pid_file
    for pid_file in "$DIR"/guest/*.pid "$DIR"/kedged.pid "$DIR"/sim.pid; do
        [ -s "$pid_file" ] && kill "$(cat "$pid_file")" 2>/dev/null || true
    done
    # VMs that Kedge started have their socket below our folder.
    pkill -f "qemu-system-x86_64.*$DIR/" 2>/dev/null || true
}
on_exit() {
    local status=$?
    stop_all
    [ "$status" = 0 ] || {
        printf '\ndemo failed (exit %d); the end of the daemon log:\n' "$status" >&2
        tail -n 15 "$DIR/kedged.log" >&2 2>/dev/null || true
    }
}
trap on_exit EXIT
trap 'exit 130' INT TERM

# The guest lives for a while, shuts down, and what it wrote becomes writes of the simulated machine.
guest_lives() { # seconds
    $guest/run-guest.sh "$DIR/guest" --name prod --qmp "$DIR/guest/prod.qmp" \
        --serial "$DIR/guest/prod.serial" >/dev/null
    $guest/wait-marker.sh "$DIR/guest/prod.serial" 'kedge-guest: ready' 120 >/dev/null
    sleep "$1"
    $guest/guest-qmp.pl "$DIR/guest/prod.qmp" system_powerdown >/dev/null
    $guest/wait-marker.sh "$DIR/guest/prod.serial" 'kedge-guest: clean shutdown' 60 >/dev/null
    while pgrep -F "$DIR/guest/prod.pid" >/dev/null 2>&1; do sleep 0.1; done
}
tell_vsphere() {
    $guest/replay-writes.py "$control" prod 1 "$DIR/lab/root.raw" "$DIR/guest/root.raw" \
        2 "$DIR/lab/data.raw" "$DIR/guest/data.raw"
}

stop_all
rm -rf "$DIR"
mkdir -p "$DIR/guest" "$DIR/lab" "$DIR/kedge"
chmod 700 "$DIR"

say "A guest that writes numbered records on two disks, and a disk that it boots from"
$guest/make-guest.sh "$DIR/guest" --format raw --root-mib 160 --data-mib 96
$guest/make-boot-disk.sh "$DIR/guest"
guest_lives 3
cp --sparse=always "$DIR/guest/root.raw" "$DIR/guest/data.raw" "$DIR/lab/"

say "A simulated vCenter with that machine on it"
cat >"$DIR/sim.json" <<JSON
{"datacenters": [{"name": "DC0", "networks": ["VM Network"], "folders": ["Production"],
  "clusters": [{"name": "Cluster 1", "hosts": [{"name": "esx-01.lab"}]}],
  "vms": [{"name": "prod", "folder": "Production", "power": "on", "firmware": "efi", "cpus": 1, "memory_mib": 256,
    "guest_id": "debian11_64Guest", "guest_name": "Debian GNU/Linux 12 (64-bit)",
    "disks": [{"size_mib": 24, "controller": "nvme", "image": "$DIR/guest/boot.raw"},
              {"size_mib": 160, "controller": "nvme", "image": "$DIR/lab/root.raw"},
              {"size_mib": 96, "controller": "nvme", "image": "$DIR/lab/data.raw"}]},
   {"name": "old-db", "power": "off", "snapshots": ["before upgrade"],
    "disks": [{"size_mib": 16, "mode": "independent_persistent"}]}]}]}
JSON
sim/kedge-vsphere-sim --config "$DIR/sim.json" --run-dir "$DIR/sim" >"$DIR/sim.log" 2>&1 &
echo $! >"$DIR/sim.pid"
for _ in $(seq 100); do [ -s "$DIR/sim/ready.json" ] && break; sleep 0.1; done
ready() { jq -r ".$1" "$DIR/sim/ready.json"; }
control=$(ready control)

say "Kedge: one daemon with all roles; the vCenter's certificate is shown before it is trusted"
k init "$DIR/kedge"
"$kedged" --config "$KEDGE_CONFIG" >>"$DIR/kedged.log" 2>&1 &
echo $! >"$DIR/kedged.pid"
for _ in $(seq 100); do "$kedge" status >/dev/null 2>&1 && break; sleep 0.1; done
source_options=(--url "$(ready url)" --user "$(ready username)" --password-file "$(ready password_file)"
    --transport nfc,https --datastore-floor 1G)
k source add vcenter vsphere "${source_options[@]}" || true
k source add vcenter vsphere "${source_options[@]}" --fingerprint "$(ready sha256)"
k target add replicas local --dir "$DIR/replicas"
k discover --tree
k source check vcenter || true

say "Initial replication over NFC, held back to 10 MiB/s, while the guest goes on writing"
k throttle 10M
k replicate vcenter prod --target replicas --marker 'kedge-guest: ready' --no-wait
(guest_lives 2; tell_vsphere) &
life=$!
job=$("$kedge" jobs --machine prod --json | jq -r '.jobs[0].id')
k job "$job" --follow
wait "$life"
k throttle 0

say "Delta cycles: only what changed, asked of changed-block tracking"
for _ in 1 2; do
    guest_lives 2
    tell_vsphere
    k sync prod
done
k status prod

say "Test migration: a clone boots, isolated; the replica is not touched"
k test-migrate prod --boot-deadline 180s
clone_serial=$("$kedge" status prod --json | jq -r '.tests[0].serial_log')
clone_screen=$("$kedge" status prod --json | jq -r '.tests[0].screen_png')
grep -a 'kedge-guest: \(boot\|ready\)' "$clone_serial" | tail -n 2
cp "$clone_screen" "$DIR/test-screen.png"
k test-cleanup prod

say "Verify: the vSphere snapshot and the replica compared sector by sector"
k verify prod

say "Migrate: the source is shut down by its tools, last delta, the target machine boots"
guest_lives 2
tell_vsphere
k migrate prod --boot-deadline 180s
last=$(grep -a 'clean shutdown last=' "$DIR/guest/prod.serial" | tail -n 1 | sed 's/.*last=\([0-9]*\).*/\1/')
vm_serial=$("$kedge" status prod --json | jq -r '.vm.serial_log')
booted=$(grep -a 'kedge-guest: boot=' "$vm_serial" | tail -n 1)
power=$(curl -s "$control/vm?vm=prod" | jq -r .power)
left=$(curl -s "$control/vm?vm=prod" | jq '.snapshots | length')
echo "source, last words : clean shutdown, last record $last; now $power with $left snapshots"
echo "target, first words: $booted"
found=$(printf '%s' "$booted" | sed -n 's/.*records=\([0-9]*\).*/\1/p')
case $booted in *check=ok*) ;; *) fail "the target guest found damaged records" ;; esac
[ -n "$last" ] && [ "$found" = "$last" ] || fail "the target has record $found, the source wrote $last"
[ "$power" = poweredOff ] || fail "the source is $power"
[ "$left" = 0 ] || fail "$left snapshots are left at the source"

say "Complete: what only replication needed goes away"
k complete prod
k list
k jobs --limit 12

printf '\n%s%sNothing was lost: %s records written, %s records at the target, checksums right.%s\n' \
    "$bold" "$green" "$last" "$found" "$plain"
printf 'Took %d s. Everything is below %s: the clone'"'"'s screen is test-screen.png, the log kedged.log.\n' \
    $((SECONDS - started)) "$DIR"
