#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# wait-marker.sh FILE REGEX TIMEOUT_S: print the first line of FILE that matches the
# extended expression, as soon as it is there. Exit 1 with the end of the file when the
# time is over.
set -euo pipefail

[ $# -eq 3 ] || { echo "usage: wait-marker.sh FILE REGEX TIMEOUT_S" >&2; exit 2; }
end_ns=$(($(date +%s%N) + $3 * 1000000000))
while :; do
    if [ -e "$1" ] && line=$(grep -a -m 1 -E -- "$2" "$1"); then
        line=${line%$'\r'}
        echo "$line"
        exit 0
    fi
    [ "$(date +%s%N)" -lt "$end_ns" ] || break
    sleep 0.1
done
{
    echo "wait-marker: no '$2' in '$1' after $3 s; it ends:"
    [ ! -e "$1" ] || tail -n 5 "$1"
} >&2
exit 1
