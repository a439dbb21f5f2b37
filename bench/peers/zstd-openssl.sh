#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# zstd -1 with two threads piped to openssl AES-256-CTR: no authentication, no increments.
. "$(dirname "$0")/peer.sh"
need zstd
need openssl
crypt() { openssl enc -aes-256-ctr -pbkdf2 -pass pass:bench "$@"; }

case $verb in
prepare) ;;
full)
    zstd -q -1 -T2 -c "$image" | crypt -out "$store/disk.zst.enc"
    sync -d "$store/disk.zst.enc"
    ;;
back)
    crypt -d -in "$store/disk.zst.enc" | zstd -q -d --sparse -o "$replica"
    sync -d "$replica"
    ;;
version) echo "$(zstd --version) / $(openssl version)" ;;
cleanup) ;;
*) skip "zstd-openssl: stores everything again, has no '$verb'" ;;
esac
