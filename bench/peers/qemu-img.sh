#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# qemu-img convert, raw to sparse raw: a bare copy. O_DIRECT out, 8 requests, any order.
. "$(dirname "$0")/peer.sh"
need qemu-img

case $verb in
prepare) ;;
full)
    qemu-img convert -f raw -O raw -t none -m 8 -W "$image" "$store/disk.raw"
    sync -d "$store/disk.raw"
    ;;
back) skip 'the store is the replica already' ;;
version) qemu-img --version | head -n 1 ;;
cleanup) ;;
*) skip "qemu-img: no '$verb' without a running VM and its bitmap" ;;
esac
