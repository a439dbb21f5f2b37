#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Make the demo guest: a kernel, a root disk and a data disk. See README.md.
set -euo pipefail

usage()
{
    cat <<'TEXT'
usage: make-guest.sh OUTDIR [options]
  --root-mib N         size of the root disk (512)
  --data-mib N         size of the data disk (256)
  --root-fill-mib N    real files copied to the root disk (60)
  --data-fill-mib N    real files copied to the data disk (20)
  --format qcow2|raw   format of the disks (qcow2: keeps dirty bitmaps)
  --hostname NAME      name of the machine inside (kedge-guest)
  --force              make disks anew that are there already
environment: KEDGE_CACHE  where the kernel package is kept (OUTDIR/cache)
             KEDGE_KERNEL_PACKAGE  exact package (what linux-image-cloud-amd64 asks for)
             CC           compiler (cc)
TEXT
}

say() { echo "make-guest: $*"; }
die() { echo "make-guest: $*" >&2; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Fixed, so that the kernel arguments fit every disk made here and every copy of it.
root_partuuid=4b454447-4755-4553-5452-4f4f54303031
root_start_mib=1
modules="evdev button vmxnet3 virtio virtio_ring virtio_pci_legacy_dev
    virtio_pci_modern_dev virtio_pci failover net_failover virtio_net"

parse_options()
{
    out="" root_mib=512 data_mib=256 root_fill_mib=60 data_fill_mib=20 format=qcow2
    hostname=kedge-guest force=no
    while [ $# -gt 0 ]; do
        case $1 in
        --help | -h) usage; exit 0 ;;
        --force) force=yes; shift; continue ;;
        --*) [ $# -ge 2 ] || die "option $1 needs a value" ;;
        esac
        case $1 in
        --root-mib) root_mib=$2; shift 2 ;;
        --data-mib) data_mib=$2; shift 2 ;;
        --root-fill-mib) root_fill_mib=$2; shift 2 ;;
        --data-fill-mib) data_fill_mib=$2; shift 2 ;;
        --format) format=$2; shift 2 ;;
        --hostname) hostname=$2; shift 2 ;;
        --*) usage >&2; die "unknown option $1" ;;
        *) [ -z "$out" ] || die "one OUTDIR only, got '$out' and '$1'"; out=$1; shift ;;
        esac
    done
    [ -n "$out" ] || { usage >&2; exit 1; }
    case $format in qcow2 | raw) ;; *) die "format '$format': use qcow2 or raw" ;; esac
    local n
    for n in $root_mib $data_mib $root_fill_mib $data_fill_mib; do
        [[ $n =~ ^[0-9]+$ ]] || die "'$n' is no number of MiB"
    done
    [ "$root_mib" -ge $((root_fill_mib + 48)) ] ||
        die "a root disk of $root_mib MiB is too small for $root_fill_mib MiB of files"
    [ "$data_mib" -ge $((data_fill_mib + 64)) ] ||
        die "a data disk of $data_mib MiB is too small for $data_fill_mib MiB of files"
}

need_tools()
{
    PATH=$PATH:/usr/sbin:/sbin
    local pair
    for pair in "${CC:-cc}:gcc" mke2fs:e2fsprogs sfdisk:fdisk qemu-img:qemu-utils \
        dpkg-deb:dpkg apt-get:apt lz4:lz4 flock:util-linux; do
        command -v "${pair%%:*}" >/dev/null ||
            die "'${pair%%:*}' is missing; install package '${pair##*:}'"
    done
}

# Fill $cache with the package, its files, the uncompressed kernel. Needs the lock.
fetch_kernel()
{
    local package=${KEDGE_KERNEL_PACKAGE:-} deb
    if [ -e "$cache/vmlinux" ] && [ -d "$cache/kernel/lib/modules" ] &&
        { [ -z "$package" ] || [ "$(cat "$cache/package")" = "$package" ]; }; then
        say "kernel $(cat "$cache/package") is in the cache"
        return
    fi
    [ -n "$package" ] || package=$(kernel_package)
    if [ -z "$package" ] && [ "$(id -u)" = 0 ]; then
        apt-get -qq update || true
        package=$(kernel_package)
    fi
    [ -n "$package" ] || die "no kernel package known; run 'apt-get update' as root first"
    download "$package" ||
        { [ "$(id -u)" = 0 ] && apt-get -qq update && download "$package"; } ||
        die "cannot download '$package'; run 'apt-get update' as root first"
    deb=$(find "$cache" -maxdepth 1 -name "${package}_*.deb" | sort -V | tail -n 1)
    rm -rf "$cache/kernel"
    dpkg-deb -x "$deb" "$cache/kernel"
    unpack_kernel "$cache/kernel/boot/vmlinuz-"* "$cache/vmlinux.new"
    mv "$cache/vmlinux.new" "$cache/vmlinux"
    echo "$package" >"$cache/package"
    say "kernel $package downloaded and unpacked (not installed)"
}

download() { (cd "$cache" && apt-get -qq -o APT::Sandbox::User=root download "$1"); }

kernel_package()
{
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1
}

header_number() { od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '; }

# The payload of a bzImage: its place is in the header (boot protocol 2.08).
unpack_kernel()
{
    local image=$1 vmlinux=$2 start length magic tool
    start=$(((($(header_number "$image" 0x1f1 1)) + 1) * 512))
    start=$((start + $(header_number "$image" 0x248 4)))
    length=$(header_number "$image" 0x24c 4)
    magic=$(od -An -v -t x1 -j "$start" -N 4 "$image" | tr -d ' ')
    case $magic in
    02214c18) tool="lz4 -dc" ;;
    fd377a58) tool="xz -dc --single-stream" ;;
    28b52ffd) tool="zstd -dc" ;;
    1f8b*) tool="gzip -dc" ;;
    *) die "kernel '$image': packed in an unknown way, magic $magic" ;;
    esac
    # The payload ends in its unpacked size, which is not part of the stream.
    head -c $((start + length - 4)) "$image" | tail -c +$((start + 1)) |
        $tool >"$vmlinux" ||
        die "kernel '$image': cannot unpack with '$tool'"
    [ "$(od -An -t x1 -N 4 "$vmlinux" | tr -d ' ')" = 7f454c46 ] ||
        die "kernel '$image': the payload is no ELF file"
}

compile_init()
{
    "${CC:-cc}" -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Wshadow -Wconversion -static \
        -o "$work/init" "$here"/guest-*.c || die "cannot compile guest-init.c"
    say "guest-init compiled, $(($(stat -c %s "$work/init") / 1024)) KiB static"
}

# fill STAGE MIB DIR…: copy files up to MIB in the order of their names, keeping paths.
fill()
{
    local stage=$1 limit_bytes=$(($2 << 20)) dir base name
    shift 2
    for dir in "$@"; do
        [ -d "$dir" ] || continue
        base=/ name=${dir#/}
        [ "${dir#"$cache/kernel/"}" = "$dir" ] || base=$cache/kernel name=${dir#"$base/"}
        (cd "$base" && find "$name" -type d ! \( -readable -executable \) -prune -o \
            -type f -readable -size -8192k -printf '%s %p\n' |
            LC_ALL=C sort -k 2 |
            awk -v limit="$limit_bytes" '{ sum += $1 }
                sum <= limit { sub(/^[0-9]+ /, ""); print }' |
            tar -cf - --no-recursion --verbatim-files-from -T -) | tar -xf - -C "$stage"
        limit_bytes=$((limit_bytes - $(du -sb "$stage" | cut -f 1) + filled_bytes))
        filled_bytes=$(du -sb "$stage" | cut -f 1)
    done
}

say_filled()
{
    say "$1 disk: $(find "$work/$1" -type f | wc -l) files," \
        "$(du -sm --apparent-size "$work/$1" | cut -f 1) MiB"
}

stage_root()
{
    local stage=$work/root name
    mkdir -p "$stage"/{proc,sys,dev,data,sbin,etc,lib/kedge,var/lib/kedge,tmp}
    cp "$work/init" "$stage/sbin/init"
    echo "$hostname" >"$stage/etc/hostname"
    : >"$stage/var/lib/kedge/records.log"
    for name in $modules; do
        find "$cache/kernel/lib/modules" -name "$name.ko" \
            -exec cp {} "$stage/lib/kedge/" \;
    done
    filled_bytes=$(du -sb "$stage" | cut -f 1)
    fill "$stage" $((root_fill_mib * 2 / 3)) "$cache/kernel/lib/modules"
    fill "$stage" $((root_fill_mib - root_fill_mib * 2 / 3)) /usr/share/doc /usr/share
    say_filled root
}

stage_data()
{
    local stage=$work/data
    mkdir -p "$stage/kedge"
    : >"$stage/kedge/records.log"
    filled_bytes=$(du -sb "$stage" | cut -f 1)
    fill "$stage" "$data_fill_mib" /usr/share/perl /usr/share/doc /usr/share
    say_filled data
}

# make_ext4 FILE LABEL STAGE OFFSET_MIB SIZE_MIB: complete, nothing left for the guest.
make_ext4()
{
    mke2fs -q -F -t ext4 -b 4096 -L "$2" -d "$3" \
        -E "offset=$(($4 << 20)),lazy_itable_init=0,lazy_journal_init=0" \
        "$1" $(($5 * 256)) 2>"$work/mke2fs.log" ||
        { cat "$work/mke2fs.log" >&2; die "mke2fs of '$2' failed"; }
}

make_disks()
{
    truncate -s "${root_mib}M" "$work/root.raw"
    printf 'label: gpt\nstart=%d, type=linux, uuid=%s, name=kedge-root\n' \
        $((root_start_mib * 2048)) "$root_partuuid" |
        sfdisk -q --no-tell-kernel "$work/root.raw" || die "sfdisk failed"
    make_ext4 "$work/root.raw" kedge-root "$work/root" $root_start_mib \
        $((root_mib - root_start_mib - 1))
    truncate -s "${data_mib}M" "$work/data.raw"
    make_ext4 "$work/data.raw" kedge-data "$work/data" 0 "$data_mib"
    local disk
    for disk in root data; do
        if [ "$format" = qcow2 ]; then
            qemu-img convert -q -f raw -O qcow2 "$work/$disk.raw" "$work/$disk.qcow2"
        fi
        rm -f "$out/$disk.qcow2" "$out/$disk.raw"
        mv "$work/$disk.$format" "$out/$disk.$format"
        say "$disk.$format: $(du -m "$out/$disk.$format" | cut -f 1) MiB used"
    done
}

write_kernel()
{
    ln -f "$cache/vmlinux" "$out/" 2>/dev/null || cp "$cache/vmlinux" "$out/"
    echo "root=PARTUUID=$root_partuuid rootfstype=ext4 rootwait ro init=/sbin/init" \
        "console=ttyS0 quiet mitigations=off no_timer_check tsc=reliable" \
        "random.trust_cpu=on nokaslr lpj=5000000 i8042.nokbd i8042.noaux" >"$out/cmdline"
}

parse_options "$@"
need_tools
mkdir -p "$out"
out=$(cd "$out" && pwd)
mkdir -p "${KEDGE_CACHE:-$out/cache}"
cache=$(cd "${KEDGE_CACHE:-$out/cache}" && pwd)
exec 9>"$cache/lock"
flock 9
fetch_kernel
flock -u 9
write_kernel
if [ "$force" = no ] && [ -e "$out/root.$format" ] && [ -e "$out/data.$format" ]; then
    say "disks are there already, kept as they are; --force makes them anew"
    exit 0
fi
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
compile_init
stage_root
stage_data
make_disks
say "done: $out"
