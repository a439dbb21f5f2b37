#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the images that every measurement here uses, once; a second call only checks them.
#
#   bench/images.sh [--size full|small] [--no-debootstrap] DIR
#
#   base.raw                   ext4, about 65 % of it real files: a Debian root file system
#                              from mmdebstrap (full size only), then files of this /usr
#   delta.raw, delta.extents   base with 5 % of all 64 KiB blocks changed at random places
#   churn.raw, churn.extents   base with every other 4 KiB of one 256 MiB range changed
#   manifest.txt               how they were made and their SHA-256
#
# full: 4 GiB, small: 256 MiB with a 16 MiB churn range. The choice of files, their order, the
# ext4 UUID, hash seed and times are fixed; two machines with the same packages still differ
# in inode change times, so quote the manifest beside a result.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
size=full
debootstrap=yes
while [ $# -gt 1 ]; do
    case $1 in
    --size) size=$2; shift 2 ;;
    --no-debootstrap) debootstrap=no; shift ;;
    *) echo "images.sh: unknown option '$1'" >&2; exit 2 ;;
    esac
done
[ $# -eq 1 ] || { echo "usage: images.sh [--size full|small] DIR" >&2; exit 2; }
dir=$1
case $size in
full) image_mib=4096 churn=256M ;;
small) image_mib=256 churn=16M debootstrap=no ;;
*) echo "images.sh: --size is full or small" >&2; exit 2 ;;
esac
# ext4 metadata takes about 2 %; the rest of the 65 % is files.
files_kib=$((image_mib * 1024 * 63 / 100))
epoch=1700000000

mkdir -p "$dir"
work=$dir/making
cleanup() { rm -rf "$work"; }
trap cleanup EXIT
rm -rf "$work"
mkdir -p "$work"

mkdelta=$dir/mkdelta
"${CC:-cc}" -std=c17 -D_GNU_SOURCE -O2 -o "$mkdelta" "$here/mkdelta.c" "$here/measure.c"

make_tree() {
    local tree=$1 used
    mkdir -p "$tree/srv/files"
    if [ $debootstrap = yes ] && command -v mmdebstrap >/dev/null; then
        # Apt's sources of this machine, if any: its mirror is the one that can be reached.
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            grep -v '^#' >"$work/sources.list" || true
        local mirror=()
        [ ! -s "$work/sources.list" ] || mirror=(-)
        if SOURCE_DATE_EPOCH=$epoch mmdebstrap --quiet --mode=root --variant=standard \
            --include=linux-image-amd64,openssh-server bookworm "$work/root.tar" \
            "${mirror[@]}" <"$work/sources.list" >"$work/mmdebstrap.log" 2>&1; then
            tar -C "$tree" --exclude='./dev/*' -xpf "$work/root.tar"
            rm "$work/root.tar"
            echo "root file system: mmdebstrap bookworm, standard + kernel"
        else
            tail -3 "$work/mmdebstrap.log" >&2
            echo "root file system: none, mmdebstrap failed"
        fi
    else
        echo "root file system: none, files of /usr only"
    fi
    used=$(du -sk "$tree" | cut -f1)
    # A fixed shuffle gives a mix of programs, libraries, text and compressed files.
    { yes kedge || true; } | head -c 65536 >"$work/seed"
    find /usr/bin /usr/lib /usr/libexec /usr/share -xdev -type f -size -65536k \
        -printf '%k %p\n' | sort -k2 | sort -R --random-source="$work/seed" |
        awk -v left=$((files_kib - used)) '
            { kib = $1 + 0; if (kib <= left) { left -= kib; sub(/^[0-9]+ /, ""); print } }' \
            >"$work/files"
    tar -C / --no-recursion --verbatim-files-from -T "$work/files" -cf - 2>/dev/null |
        tar -C "$tree/srv/files" -xf -
    echo "files of /usr: $(wc -l <"$work/files")"
    find "$tree" -print0 | xargs -0 touch -h -d "@$epoch"
}

make_base() {
    make_tree "$work/tree" >"$work/manifest"
    rm -f "$work/base.raw"
    truncate -s "${image_mib}M" "$work/base.raw"
    E2FSPROGS_FAKE_TIME=$epoch mke2fs -q -t ext4 -d "$work/tree" -m 0 -b 4096 \
        -U 6b656467-6520-4265-8e63-68206261736f \
        -E hash_seed=6b656467-6520-4265-8e63-686861736821,lazy_itable_init=0 \
        "$work/base.raw"
    rm -rf "$work/tree"
    sync "$work/base.raw"
    mv "$work/base.raw" "$dir/base.raw"
    mv "$work/manifest" "$dir/manifest.base"
    rm -f "$dir/delta.raw" "$dir/churn.raw"
}

# name, then mkdelta's mode, seed and amount
make_changed() {
    cp --sparse=always "$dir/base.raw" "$work/$1.raw"
    "$mkdelta" "$2" "$work/$1.raw" "$work/$1.extents" "$3" "$4"
    mv "$work/$1.extents" "$dir/$1.extents"
    mv "$work/$1.raw" "$dir/$1.raw"
    rm -f "$dir/manifest.txt"
}

want_bytes=$((image_mib * 1024 * 1024))
if [ "$(stat -c %s "$dir/base.raw" 2>/dev/null)" != "$want_bytes" ]; then
    rm -f "$dir/manifest.txt"
    make_base
fi
[ -f "$dir/delta.raw" ] || make_changed delta random 20231114 5
[ -f "$dir/churn.raw" ] || make_changed churn churn 20231115 $churn
if [ ! -f "$dir/manifest.txt" ]; then
    {
        cat "$dir/manifest.base"
        echo "size: $image_mib MiB, $("$mkdelta" stat "$dir/base.raw")"
        (cd "$dir" && sha256sum base.raw delta.raw churn.raw delta.extents churn.extents)
    } >"$work/manifest.txt"
    mv "$work/manifest.txt" "$dir/manifest.txt"
fi
cat "$dir/manifest.txt"
