#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what the measurements need and this machine lacks (Debian 12, as root).
#   bench/deps.sh            all but libvirt
#   bench/deps.sh libvirt    also libvirt and QEMU, for virtnbdbackup
set -eu

packages='build-essential pkg-config meson ninja-build libssl-dev liblz4-dev libzstd-dev
    libxxhash-dev python3 mmdebstrap e2fsprogs restic borgbackup casync qemu-utils
    libnbd-bin rsync zstd openssl'
[ "${1:-}" != libvirt ] ||
    packages="$packages virtnbdbackup libvirt-daemon-system
    libvirt-clients qemu-system-x86"

missing=
for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo 'deps.sh: nothing missing'
    exit 0
fi
echo "deps.sh: installing$missing"
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
