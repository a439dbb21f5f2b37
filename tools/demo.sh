#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job on one machine, for real: a QEMU guest that keeps writing is replicated, test-migrated
# while replication goes on, migrated, and it is proved that no record was lost. `make demo` calls it.
# KEDGE_DEMO_DIR: where everything lives (removed and made anew); KEDGE_CACHE: downloaded kernel.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=$(realpath "${1:-build}")
DIR=${KEDGE_DEMO_DIR:-/var/tmp/kedge-demo}
export KEDGE_CACHE=${KEDGE_CACHE:-/var/tmp/kedge-cache}
export KEDGE_CONFIG=$DIR/kedge/kedge.conf
kedge=$BUILD/src/cli/kedge
kedged=$BUILD/src/daemon/kedged
guest=tools/guest
export PATH=$PWD/$guest/one-cpu:$PATH # why: see there
started=$SECONDS

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' plain=$'\e[0m'; else bold='' dim='' green='' plain=''; fi
say() { printf '\n%s== %s%s  %s(%d s)%s\n' "$bold" "$*" "$plain" "$dim" $((SECONDS - started)) "$plain"; }
run() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; "$@"; }
k() { printf '%s$ kedge %s%s\n' "$dim" "$*" "$plain"; "$kedge" "$@"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

stop_all() {
    local pid_file
    for pid_file in "$DIR"/kedge/run/*.pid "$DIR"/guest/*.pid "$DIR"/kedged.pid; do
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

stop_all
rm -rf "$DIR"
mkdir -p "$DIR/guest" "$DIR/kedge"
chmod 700 "$DIR"

say "A production machine: two disks, a guest that writes numbered records and never stops"
run $guest/make-guest.sh "$DIR/guest"
run $guest/run-guest.sh "$DIR/guest" --name prod --qmp "$DIR/guest/prod.qmp" --serial "$DIR/guest/prod.serial"
$guest/wait-marker.sh "$DIR/guest/prod.serial" 'kedge-guest: ready' 90

say "Kedge: one daemon with all roles"
k init "$DIR/kedge"
"$kedged" --config "$KEDGE_CONFIG" >>"$DIR/kedged.log" 2>&1 &
echo $! >"$DIR/kedged.pid"
for _ in $(seq 100); do "$kedge" status >/dev/null 2>&1 && break; sleep 0.1; done
k source add lab qemu --qmp "$DIR/guest/prod.qmp" --scratch-dir "$DIR/guest"
k target add replicas local --dir "$DIR/replicas"
k source check lab
k discover

say "Initial replication, while the guest writes (held back to 15 MiB/s, so that there is something to see)"
k throttle 15M
k replicate lab prod --target replicas --marker 'kedge-guest: ready'
k throttle 0
say "Delta cycles: only what changed"
for _ in 1 2; do
    sleep 3
    k sync prod
done
k status prod

say "Test migration: a clone boots, isolated; the replica is not touched; replication goes on"
k test-migrate prod --no-wait
sleep 1
k sync prod
job=$("$kedge" jobs --machine prod --json | jq -r '[.jobs[] | select(.operation == "test-migrate")][0].id')
k job "$job" --follow
clone_serial=$("$kedge" status prod --json | jq -r '.tests[0].serial_log')
clone_screen=$("$kedge" status prod --json | jq -r '.tests[0].screen_png')
grep -a 'kedge-guest: \(boot\|ready\)' "$clone_serial" | tail -n 2
echo "screen of the clone: $clone_screen"
k test-cleanup prod

say "Verify: source snapshot and replica compared sector by sector"
k verify prod

say "Migrate: guest shut down, last delta, the target VM boots"
k migrate prod
last=$(grep -a 'clean shutdown last=' "$DIR/guest/prod.serial" | tail -n 1 | sed 's/.*last=\([0-9]*\).*/\1/')
vm_serial=$("$kedge" status prod --json | jq -r '.vm.serial_log')
booted=$(grep -a 'kedge-guest: boot=' "$vm_serial" | tail -n 1)
echo "source, last words : clean shutdown, last record $last"
echo "target, first words: $booted"
found=$(printf '%s' "$booted" | sed -n 's/.*records=\([0-9]*\).*/\1/p')
case $booted in *check=ok*) ;; *) fail "the target guest found damaged records" ;; esac
[ -n "$last" ] && [ "$found" = "$last" ] || fail "the target has record $found, the source wrote $last"

say "Complete: what only replication needed goes away"
k complete prod
k list
k jobs --limit 12
cp "$clone_screen" "$DIR/test-screen.png"

printf '\n%s%sNothing was lost: %s records written, %s records at the target, checksums right.%s\n' \
    "$bold" "$green" "$last" "$found" "$plain"
printf 'Took %d s. Everything is below %s: the clone'"'"'s screen is test-screen.png, the log kedged.log.\n' \
    $((SECONDS - started)) "$DIR"
