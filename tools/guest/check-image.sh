#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Check two disk images of the demo guest, as a power cut, a snapshot or a replication
# left them. The images are only read: all work is done on sparse copies. See README.md.
set -euo pipefail

usage()
{
    cat <<'TEXT'
usage: check-image.sh [--min N] [--json] [--keep DIR] ROOT-IMAGE DATA-IMAGE
  --min N     record N must be there
  --json      one line of JSON instead of text
  --keep DIR  leave the replayed copies and the files in DIR
environment: CHECK_RECORDS  compiled check-records (built on the fly without it)
             CC, TMPDIR
exit: 0 right, 1 wrong (file system or records), 2 could not check
TEXT
}

die() { echo "check-image: $*" >&2; exit 2; }

# Same form as check-records' own failures, so that callers read one line either way.
wrong()
{
    if [ "$json" = yes ]; then
        printf '{"ok":false,"why":"%s"}\n' "${*//[\"\\]/?}"
    else
        echo "records FAILED $*"
    fi
    exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
json=no keep="" images=() options=()
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage; exit 0 ;;
    --json) json=yes; options+=(--json); shift ;;
    --min | --keep)
        [ $# -ge 2 ] || die "option $1 needs a value"
        if [ "$1" = --keep ]; then keep=$2; else options+=(--min "$2"); fi
        shift 2
        ;;
    --*) usage >&2; die "unknown option $1" ;;
    *) images+=("$1"); shift ;;
    esac
done
[ ${#images[@]} -eq 2 ] || { usage >&2; exit 2; }
for tool in qemu-img:qemu-utils e2fsck:e2fsprogs debugfs:e2fsprogs sfdisk:fdisk; do
    command -v "${tool%%:*}" >/dev/null ||
        die "'${tool%%:*}' is missing; install package '${tool##*:}'"
done

if [ -n "$keep" ]; then
    mkdir -p "$keep"
    work=$keep
else
    work=$(mktemp -d "${TMPDIR:-/tmp}/check-image.XXXXXX")
    trap 'rm -rf "$work"' EXIT
fi

checker=${CHECK_RECORDS:-}
if [ -z "$checker" ]; then
    checker=$work/check-records
    "${CC:-cc}" -std=c17 -D_GNU_SOURCE -O2 -o "$checker" "$here/check-records.c" \
        "$here/guest-format.c" || die "cannot compile check-records.c"
fi

# The first bytes decide between qcow2 and raw; anything else is asked of qemu-img.
copy_image()
{
    local image=$1 copy=$2 format=raw
    [ -r "$image" ] || die "image '$image' cannot be read"
    if [ "$(od -An -t x1 -N 4 "$image" | tr -d ' ')" = 514649fb ]; then
        format=qcow2
    fi
    qemu-img convert -f "$format" -O raw "$image" "$copy" ||
        die "image '$image' cannot be copied; is a machine running on it?"
}

# Where the ext4 file system starts: at 0, or in the first partition.
fs_offset()
{
    local copy=$1 start
    if [ "$(od -An -t x1 -j 1080 -N 2 "$copy" | tr -d ' ')" = 53ef ]; then
        echo 0
        return
    fi
    start=$(sfdisk -d "$copy" 2>/dev/null | sed -n 's/^.*: *start= *\([0-9]*\),.*/\1/p' |
        sed -n 1p)
    [ -n "$start" ] || return 1
    echo $((start * 512))
}

# e2fsck replays the journal as a boot would; after that nothing may be left to repair.
check_fs()
{
    local disk=$1 fs=$2 code=0
    e2fsck -p "$fs" >"$work/$disk.replay.log" 2>&1 || code=$?
    [ "$code" -le 1 ] || { cat "$work/$disk.replay.log" >&2
        wrong "$disk disk: the journal cannot be replayed, e2fsck says $code"; }
    code=0
    e2fsck -fn "$fs" >"$work/$disk.fsck.log" 2>&1 || code=$?
    [ "$code" -eq 0 ] || { cat "$work/$disk.fsck.log" >&2
        wrong "$disk disk: the file system is damaged, e2fsck says $code"; }
}

extract()
{
    local disk=$1 image=$2 folder=$3 copy=$work/$1.raw offset name
    copy_image "$image" "$copy"
    offset=$(fs_offset "$copy") ||
        wrong "$disk disk: no partition and no ext4 file system"
    # A file of its own: e2fsck forgets an offset when it opens anew after the replay.
    if [ "$offset" -gt 0 ]; then
        dd if="$copy" of="$copy.part" bs=1M iflag=skip_bytes skip="$offset" conv=sparse \
            status=none || die "cannot copy the partition of '$image'"
        mv "$copy.part" "$copy"
    fi
    check_fs "$disk" "$copy"
    mkdir -p "$work/$disk"
    for name in records.log churn.bin; do
        rm -f "$work/$disk/$name"
        debugfs -R "dump $folder/$name $work/$disk/$name" "$copy" \
            >"$work/$disk.debugfs.log" 2>&1 || die "debugfs failed on '$image'"
        if grep -q 'File not found' "$work/$disk.debugfs.log"; then
            rm -f "$work/$disk/$name"
        fi
    done
}

extract root "${images[0]}" /var/lib/kedge
extract data "${images[1]}" /kedge
"$checker" "${options[@]}" "$work/root" "$work/data"
