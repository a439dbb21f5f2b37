#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# casync: SHA-256 chunk ids, content-defined chunks of about 64 KiB, zstd; no encryption. It
# never calls fsync; syncfs is added.
. "$(dirname "$0")/peer.sh"
need casync

case $verb in
prepare) ;;
full | delta | churn)
    casync make --compression=zstd --store="$store/chunks.castr" "$store/$verb.caibx" \
        "$image" >/dev/null
    ln -sf "$store/$verb.caibx" "$state/newest.caibx"
    sync -f "$store"
    ;;
back)
    casync extract --store="$store/chunks.castr" --seed-output=no \
        "$state/newest.caibx" "$replica"
    sync -d "$replica"
    ;;
version) casync --version | head -n 1 ;;
cleanup) ;;
*) skip "casync: no verb '$verb'" ;;
esac
