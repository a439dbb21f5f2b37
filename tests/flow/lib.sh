# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the flow tests: a folder of their own, a real guest, a daemon, and checks that name what failed.
set -euo pipefail
ROOT=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
BUILD=$(realpath "${1:?usage: TEST BUILD}")
GUEST=$ROOT/tools/guest
DIR=$(mktemp -d /var/tmp/kedge-flow-XXXXXX)
export KEDGE_CACHE=${KEDGE_CACHE:-/var/tmp/kedge-cache}
export KEDGE_CONFIG=$DIR/k/kedge.conf
export PATH=$GUEST/one-cpu:$PATH
KEDGED_PID=

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
say() { printf '== %s\n' "$*"; }
kedge() { "$BUILD/src/cli/kedge" "$@"; }

# Waits too: what still runs writes into the folder while it is removed.
end_child() { # PID or "", signal
    [ -z "$1" ] || kill "-$2" "$1" 2>/dev/null || true
    [ -z "$1" ] || wait "$1" 2>/dev/null || true
}

end_more() { :; } # a test that starts more than kedged says here how it ends

cleanup() {
    local status=$?
    end_more
    end_child "$KEDGED_PID" KILL
    pkill -KILL -f "qemu-.*$DIR/" 2>/dev/null || true
    if [ "$status" != 0 ] && [ "$status" != 77 ]; then
        tail -n 20 "$DIR/kedged.log" 2>/dev/null || true
        tail -n 5 "$DIR"/guest/*.serial 2>/dev/null || true
    fi
    rm -rf "$DIR" || say "left behind: $DIR"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

start_kedged() {
    "$BUILD/src/daemon/kedged" --config "$KEDGE_CONFIG" >>"$DIR/kedged.log" 2>&1 &
    KEDGED_PID=$!
    local i
    for i in $(seq 200); do
        kedge status >/dev/null 2>&1 && return
        sleep 0.05
    done
    fail "the daemon did not come up"
}

# The field of machine prod in `kedge status --json` that a jq filter picks.
state() { kedge status prod --json | jq -r "$1"; }

start_guest() { # more arguments: see run-guest.sh
    rm -f "$DIR/guest/prod.serial"
    "$GUEST/run-guest.sh" "$DIR/guest" --name prod "$@" >/dev/null
    "$GUEST/wait-marker.sh" "$DIR/guest/prod.serial" 'kedge-guest: ready' 120 ||
        fail "the guest did not come up"
}

guest_pid() { cat "$DIR/guest/prod.pid"; }

# The first delta follows the initial cycle at once; after it nothing runs unasked for an hour.
wait_first_delta() {
    local i
    for i in $(seq 600); do
        [ "$(state '[.last_cycles[0].kind, .cycle, .job] | tostring')" = '["delta",null,null]' ] && return
        sleep 0.1
    done
    fail "no first delta: $(state '[.status, .last_cycles[0].kind] | tostring')"
}

# Copies of the replica's disks as they are now (no cycle may be running: it would write meanwhile), checked as a guest's disks: file systems, records.
check_replica() { # minimum number of records
    local copies=$DIR/copies i
    [ "$(state .cycle)" = null ] || fail "a cycle runs while the replica is to be looked at"
    rm -rf "$copies"
    mkdir "$copies"
    for i in 0 1; do cp --sparse=always "$DIR/replicas/prod/disk$i.raw" "$copies/"; done
    "$GUEST/check-image.sh" --min "$1" "$copies/disk0.raw" "$copies/disk1.raw" ||
        fail "the replica is not the guest at one instant"
}

records() { # of the copies
    "$GUEST/check-image.sh" --json "$DIR/copies/disk0.raw" "$DIR/copies/disk1.raw" | jq -r .root
}
