#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# nbdcopy from qemu-nbd over a Unix socket, to sparse raw: a bare copy.
. "$(dirname "$0")/peer.sh"
need nbdcopy
need qemu-nbd

case $verb in
prepare) ;;
full) nbdcopy --flush -- [ qemu-nbd -r -e 8 -f raw "$image" ] "$store/disk.raw" ;;
back) skip 'the store is the replica already' ;;
version) nbdcopy --version ;;
cleanup) ;;
*) skip "nbdcopy: copies everything, has no '$verb'" ;;
esac
