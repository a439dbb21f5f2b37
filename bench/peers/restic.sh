#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# restic: SHA-256, content-defined chunks, zstd ("auto"), AES-256-CTR + Poly1305.
. "$(dirname "$0")/peer.sh"
need restic
export RESTIC_REPOSITORY="${store:-}" RESTIC_PASSWORD=bench
export RESTIC_CACHE_DIR="${state:-}/cache"

case $verb in
prepare) restic init -q --repository-version 2 ;;
full | delta | churn) restic backup -q "$image" ;;
back)
    restic restore -q latest --target "$out/replica"
    mv "$(find "$out/replica" -type f -name '*.raw')" "$replica"
    sync -d "$replica"
    ;;
version) restic version ;;
cleanup) ;;
*) skip "restic: no verb '$verb'" ;;
esac
