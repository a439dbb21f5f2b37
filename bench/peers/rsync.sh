#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# rsync --inplace: the replica is the store; torn by a crash, no encryption. A local rsync
# copies whole files unless told not to: the delta uses its rolling checksum.
. "$(dirname "$0")/peer.sh"
need rsync

case $verb in
prepare) ;;
full) rsync --inplace --sparse --whole-file --fsync "$image" "$store/disk.raw" ;;
delta | churn)
    rsync --inplace --no-whole-file --ignore-times --fsync "$image" "$store/disk.raw"
    ;;
back) skip 'the store is the replica already' ;;
version) rsync --version | head -n 1 ;;
cleanup) ;;
*) skip "rsync: no verb '$verb'" ;;
esac
