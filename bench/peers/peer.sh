# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Sourced by every peer script. The interface of a peer:
#
#   peers/NAME.sh VERB IMAGE EXTENTS OUT
#
#   prepare   make an empty repository (or whatever it needs) in OUT; not measured
#   full      store IMAGE
#   delta     store IMAGE once more, after `full` stored another state of it
#   churn     the same, for the churn image
#   back      give the newest state back as OUT/replica/disk.raw, durable
#   version   print the tool's version
#   cleanup   undo what prepare started outside OUT; not measured
#
# OUT/store holds what counts as stored, OUT/state (caches, keys) what does not. Exit 77, with
# the reason on stderr, means that the peer cannot do this verb (or not on this machine).
# Whatever a tool does not make durable itself, its script syncs, inside the measured time.
set -eu

verb=${1:?verb}
image=${2:-}
extents=${3:-}
out=${4:-}

skip() {
    echo "skip: $1" >&2
    exit 77
}

need() {
    command -v "$1" >/dev/null || skip "'$1' is not installed; run bench/deps.sh"
}

if [ -n "$out" ]; then
    store=$out/store
    state=$out/state
    replica=$out/replica/disk.raw
    mkdir -p "$store" "$state" "$out/replica"
fi
: "$verb" "$image" "$extents" "${store:-}" "${state:-}" "${replica:-}"
