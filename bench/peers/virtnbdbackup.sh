#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# virtnbdbackup: libvirt's checkpoints (QEMU dirty bitmaps) of a running VM, lz4, no encryption.
#
# `prepare` starts a libvirtd of its own and a VM that is paused at its first instruction, on a
# qcow2 copy of the image. `change IMAGE EXTENTS` writes the changed extents through the VM's
# own disk, so that the bitmap sees them; a guest does no more. Not measured: QEMU's share of
# the CPU time and memory, which run.py cannot see because libvirtd starts QEMU.
. "$(dirname "$0")/peer.sh"
for tool in virtnbdbackup libvirtd virtlogd virsh qemu-system-x86_64 qemu-img; do
    need $tool
done
domain=kedge-bench
LIBVIRT_DEFAULT_URI="qemu:///system?socket=${state:-}/libvirt/libvirt-sock"
export LIBVIRT_DEFAULT_URI

start_libvirtd() {
    ! pgrep -x libvirtd >/dev/null || skip 'another libvirtd is running on this machine'
    mkdir -p "$state/libvirt"
    cat >"$state/libvirtd.conf" <<END
unix_sock_dir = "$state/libvirt"
auth_unix_rw = "none"
log_outputs = "2:file:$state/libvirtd.log"
END
    mkdir -p /var/log/libvirt/qemu
    pgrep -x virtlogd >/dev/null || virtlogd -d -p "$state/virtlogd.pid"
    libvirtd -d -f "$state/libvirtd.conf" -p "$state/libvirtd.pid"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        ! virsh -q list >/dev/null 2>&1 || return 0
        sleep 0.5
    done
    skip "libvirtd does not answer: $(tail -n 1 "$state/libvirtd.log" 2>&1)"
}

start_vm() {
    qemu-img convert -q -f raw -O qcow2 "$image" "$state/disk.qcow2"
    cat >"$state/domain.xml" <<END
<domain type='qemu'>
  <name>$domain</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file='$state/disk.qcow2'/><target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
END
    virsh -q define "$state/domain.xml"
    virsh -q start --paused $domain
}

backup() {
    virtnbdbackup -U "$LIBVIRT_DEFAULT_URI" -d $domain -l "$1" -n -z \
        -S "$state" -o "$2" >"$state/backup.log" 2>&1 || {
        tail -n 5 "$state/backup.log" >&2
        exit 1
    }
    find "$2" -type f -exec sync -d {} +
}

# One HMP qemu-io write an extent, all through one virsh.
change() {
    mkdir -p "$state/pieces"
    python3 - "$image" "$extents" "$state/pieces" <<'END' >"$state/writes"
import sys
image, extents, pieces = sys.argv[1:]
device = "/machine/peripheral/virtio-disk0/virtio-backend"
with open(image, "rb") as source, open(extents) as lines:
    for line in lines:
        offset, length = map(int, line.split())
        source.seek(offset)
        piece = f"{pieces}/{offset}"
        with open(piece, "wb") as out:
            out.write(source.read(length))
        print(f'qemu-monitor-command kedge-bench --hmp '
              f"'qemu-io -d {device} \"write -s {piece} {offset} {length}\"'")
END
    virsh -q <"$state/writes" >"$state/writes.log" 2>&1
    if grep -iE '^error|fail|unknown' "$state/writes.log" >&2; then
        exit 1
    fi
    rm -rf "$state/pieces"
}

case $verb in
prepare)
    start_libvirtd
    start_vm
    ;;
# A full backup wants a new folder; increments follow in the newest one.
full)
    newest=$store/$(find "$store" -mindepth 1 -maxdepth 1 | wc -l)
    backup full "$newest"
    ln -sfn "$newest" "$state/newest"
    ;;
change) change ;;
delta | churn) backup inc "$(readlink "$state/newest")" ;;
back)
    rm -rf "$out/replica"
    virtnbdrestore -U "$LIBVIRT_DEFAULT_URI" -n -a restore \
        -i "$(readlink "$state/newest")" -o "$out/replica" >"$state/restore.log" 2>&1
    mv "$(find "$out/replica" -type f -size +1M)" "$replica"
    sync -d "$replica"
    ;;
version) virtnbdbackup -V ;;
cleanup)
    virsh -q destroy $domain || true
    virsh -q undefine --checkpoints-metadata $domain || true
    for daemon in libvirtd virtlogd; do
        [ -f "$state/$daemon.pid" ] || continue
        pid=$(cat "$state/$daemon.pid")
        kill "$pid" || true
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.5
        done
    done
    ;;
*) skip "virtnbdbackup: no verb '$verb'" ;;
esac
