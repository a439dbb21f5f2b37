#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole measurement: images (made once), build, interleaved rounds, a Markdown table and the raw lines.
# KEDGE_BENCH_DIR: about 50 GB free, not tmpfs. ROUNDS, TASKS, ONLY pass through to run.py.
set -euo pipefail
cd "$(dirname "$0")/.."
DIR=${KEDGE_BENCH_DIR:-/var/tmp/kedge-bench}
mkdir -p "$DIR"
meson setup --buildtype=release -Dbench=true build-bench >/dev/null 2>&1 ||
    meson setup --reconfigure --buildtype=release -Dbench=true build-bench >/dev/null
ninja -C build-bench bench >/dev/null
bench/images.sh "$DIR/images"
args=(--images "$DIR/images" --work "$DIR/work" --build build-bench/bench --rounds "${ROUNDS:-5}"
    --subject kedge --results "$DIR/results.jsonl")
[ -z "${TASKS:-}" ] || args+=(--tasks "$TASKS")
[ -z "${ONLY:-}" ] || args+=(--only "$ONLY")
bench/run.py "${args[@]}" | tee "$DIR/results.md"
echo "raw lines: $DIR/results.jsonl"
