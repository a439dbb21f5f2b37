#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that a goal needs and that are missing. `tools/deps.sh build test demo`
set -eu

build="gcc meson ninja-build pkg-config libssl-dev libzstd-dev liblz4-dev libxxhash-dev libnbd-dev
liburing-dev libjansson-dev libcurl4-openssl-dev libsqlite3-dev libmicrohttpd-dev libcmocka-dev"
run="qemu-system-x86 qemu-utils"
demo="e2fsprogs fdisk zstd xz-utils perl-base jq procps"
test="clang clang-format libclang-rt-14-dev libnbd-bin jq curl sqlite3 python3 ovmf"

want="$build $run"
for goal in "$@"; do
    case $goal in
    build) ;;
    demo) want="$want $demo" ;;
    test) want="$want $demo $test" ;;
    *) echo "deps.sh: unknown goal '$goal'; use build, demo or test" >&2; exit 2 ;;
    esac
done

missing=""
for package in $want; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "deps.sh: these packages are missing; install them as root: apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $missing >/dev/null
