#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# borg: BLAKE2b keyed ids and MAC, AES-256-CTR, lz4, fixed chunks of 64 KiB.
. "$(dirname "$0")/peer.sh"
need borg
export BORG_REPO="${store:-}" BORG_PASSPHRASE=bench BORG_BASE_DIR="${state:-}"
export BORG_RELOCATED_REPO_ACCESS_IS_OK=yes

case $verb in
prepare) borg init -e repokey-blake2 ;;
full | delta | churn)
    borg create -C lz4 --chunker-params fixed,65536 --files-cache disabled "::$verb" "$image"
    ;;
back)
    cd "$out/replica"
    borg extract --sparse "::$(borg list --last 1 --format '{archive}')"
    mv "$(find . -type f -name '*.raw')" "$replica"
    sync -d "$replica"
    ;;
version) borg --version ;;
cleanup) ;;
*) skip "borg: no verb '$verb'" ;;
esac
