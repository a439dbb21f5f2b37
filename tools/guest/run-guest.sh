#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Start the demo guest in the background. See README.md beside this file.
set -euo pipefail

usage()
{
    cat <<'TEXT'
usage: run-guest.sh DIR --name NAME [options] [-- QEMU-ARGUMENTS…]
  DIR has what make-guest.sh made: vmlinux, cmdline, root.* and data.*
  --root IMAGE, --data IMAGE   other disks, for example clones of a replica
  --qmp SOCK       QMP socket (DIR/NAME.qmp)       --serial FILE  (DIR/NAME.serial)
  --pid FILE       process id (DIR/NAME.pid)
  --mac MAC        (52:54:00:6b:65:64)
  --nic MODEL      virtio-net-pci (default) or vmxnet3
  --mem MB         (256)                           --cpus N       (1)
  --hold           check, say ready, write nothing
  --rate N         records a second (10)
  --churn-kib N    KiB overwritten a second on each disk (512)
  --off-after S    switch off S seconds after ready
  --no-flush       do not sync the host's disk: all but a host crash is still survived
environment: KEDGE_ACCEL  tcg (default) or kvm
TEXT
}

die() { echo "run-guest: $*" >&2; exit 1; }

dir="" name="" qmp="" serial="" pid="" root="" data="" append="" flush=""
mac=52:54:00:6b:65:64 nic=virtio-net-pci mem=256 cpus=1
while [ $# -gt 0 ]; do
    case $1 in
    --) shift; break ;;
    --help | -h) usage; exit 0 ;;
    --hold) append+=" kedge.hold=1"; shift; continue ;;
    --no-flush) flush=,cache.no-flush=on; shift; continue ;;
    --*) [ $# -ge 2 ] || die "option $1 needs a value" ;;
    esac
    case $1 in
    --name) name=$2; shift 2 ;;
    --qmp) qmp=$2; shift 2 ;;
    --serial) serial=$2; shift 2 ;;
    --pid) pid=$2; shift 2 ;;
    --root) root=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --mac) mac=$2; shift 2 ;;
    --nic) nic=$2; shift 2 ;;
    --mem) mem=$2; shift 2 ;;
    --cpus) cpus=$2; shift 2 ;;
    --rate) append+=" kedge.rate=$2"; shift 2 ;;
    --churn-kib) append+=" kedge.churn_kib=$2"; shift 2 ;;
    --off-after) append+=" kedge.off_after=$2"; shift 2 ;;
    --*) usage >&2; die "unknown option $1" ;;
    *) [ -z "$dir" ] || die "one DIR only, got '$dir' and '$1'"; dir=$1; shift ;;
    esac
done
if [ -z "$dir" ] || [ -z "$name" ]; then
    usage >&2
    exit 1
fi
if [ ! -e "$dir/vmlinux" ] || [ ! -e "$dir/cmdline" ]; then
    die "'$dir' has no kernel; run make-guest.sh first"
fi

find_disk()
{
    local file
    for file in "$dir/$1.qcow2" "$dir/$1.raw"; do
        [ ! -e "$file" ] || { echo "$file"; return; }
    done
    die "'$dir' has no $1 disk; run make-guest.sh first"
}

# The first bytes decide: what a guest wrote into a raw disk must not choose its format.
blockdev()
{
    local format=raw
    case $2 in *.raw | *.img) ;; *)
        [ "$(od -An -t x1 -N 4 "$2" | tr -d ' ')" != 514649fb ] || format=qcow2 ;;
    esac
    echo "driver=$format,node-name=$1,discard=unmap,file.driver=file,$(
    )file.filename=${2//,/,,}$flush${flush:+,file${flush/,/.}}"
}

root=${root:-$(find_disk root)}
data=${data:-$(find_disk data)}
qmp=${qmp:-$dir/$name.qmp} serial=${serial:-$dir/$name.serial} pid=${pid:-$dir/$name.pid}
[ ${#qmp} -le 100 ] || die "the socket's path '$qmp' is too long; use --qmp"
accel=${KEDGE_ACCEL:-tcg}
[ "$accel" != tcg ] || accel=tcg,tb-size=128
rm -f "$qmp" "$pid"

"$(dirname "$0")/one-cpu/qemu-system-x86_64" -name "$name" -machine pc,usb=off,vmport=off,hpet=off -accel "$accel" \
    -m "$mem" -smp "$cpus" -nodefaults -no-user-config -vga std -display none \
    -kernel "$dir/vmlinux" -append "$(cat "$dir/cmdline") kedge.name=$name$append" \
    -chardev "file,id=serial,path=${serial//,/,,}" -serial chardev:serial \
    -qmp "unix:${qmp//,/,,},server=on,wait=off" \
    -blockdev "$(blockdev root "$root")" -device nvme,drive=root,serial=kedge-root \
    -blockdev "$(blockdev data "$data")" -device nvme,drive=data,serial=kedge-data \
    -netdev user,id=net,restrict=on -device "$nic,netdev=net,mac=$mac,romfile=" \
    -daemonize -pidfile "$pid" "$@" || die "QEMU did not start"
echo "run-guest: $name pid=$(cat "$pid") qmp=$qmp serial=$serial"
