#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A boot disk for the demo guest, for hypervisors that boot from disks: a FAT volume with one UEFI program,
# the guest's kernel with its arguments. usage: make-boot-disk.sh DIR (of make-guest.sh) -> DIR/boot.raw
set -euo pipefail
dir=${1:?usage: make-boot-disk.sh DIR}
cache=${KEDGE_CACHE:-$dir/cache}
stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub
die() { echo "make-boot-disk: $*" >&2; exit 1; }

[ -e "$stub" ] || die "'$stub' is missing; install package systemd-boot-efi"
command -v mformat >/dev/null || die "'mformat' is missing; install package mtools"
command -v objcopy >/dev/null || die "'objcopy' is missing; install package binutils"
kernel=$(find "$cache/kernel/boot" -name 'vmlinuz-*' 2>/dev/null | head -n 1)
[ -n "$kernel" ] || die "no kernel in '$cache'; run make-guest.sh first"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The sections and their places are systemd-stub's: os-release, arguments, kernel.
objcopy --add-section .osrel=/etc/os-release --change-section-vma .osrel=0x20000 \
    --add-section .cmdline="$dir/cmdline" --change-section-vma .cmdline=0x30000 \
    --add-section .linux="$kernel" --change-section-vma .linux=0x2000000 "$stub" "$work/boot.efi"
truncate -s 24M "$work/boot.raw"
mformat -i "$work/boot.raw" -v KEDGE -T 49152 -h 16 -s 63 ::
mmd -i "$work/boot.raw" ::/EFI ::/EFI/BOOT
mcopy -i "$work/boot.raw" "$work/boot.efi" ::/EFI/BOOT/BOOTX64.EFI
mv "$work/boot.raw" "$dir/boot.raw"
echo "make-boot-disk: $dir/boot.raw"
