# SPDX-License-Identifier: Apache-2.0
"""Datastores and the links of disk chains.

A link is one file of a disk: the base, or a delta over its parent. Its bytes lie in a sparse file of the run folder;
`grains` is the set of 64 KiB grains that it holds (a base that was never written holds none). A read goes to the
youngest link that holds the grain; a write to a delta first copies the rest of the grain up.

  L1  A link that has children or that a snapshot froze is never written, except by merge_child(), which leaves what
      every younger link shows unchanged.
  L2  A link with readers, or whose child has some, is not merged (see may_merge).
  L3  used_bytes of a datastore is the sum of allocated_bytes of its links.

Callers hold the disk's lock for writes and merges; reads of a frozen link need no lock (L1, L2).
"""
import os
import random
import threading

GRAIN = 65536
MIB = 1 << 20
READERS_LOCK = threading.Lock()


class DatastoreFull(Exception):
    pass


class Datastore:
    """Space and file names of one datastore; entity properties are in model.py."""

    def __init__(self, name, kind, capacity_bytes):
        self.name, self.kind, self.capacity_bytes = name, kind, capacity_bytes
        self.used_bytes = 0
        self.filler_bytes = 0
        self.links = {}                     # "dir/name.vmdk" -> Link
        self.lock = threading.Lock()

    def free_bytes(self):
        return max(0, self.capacity_bytes - self.used_bytes - self.filler_bytes)

    def take(self, length):
        with self.lock:
            if length > 0 and length > self.free_bytes():
                raise DatastoreFull(self.name)
            self.used_bytes += length


class Link:
    def __init__(self, datastore, path, backing_file, capacity_bytes, parent=None, provisioning="thin"):
        self.datastore, self.path, self.backing_file = datastore, path, backing_file
        self.capacity_bytes, self.parent, self.provisioning = capacity_bytes, parent, provisioning
        self.children = 0
        self.grains = set()
        self.readers = 0
        self.dropped = False
        self.content = None                 # how to fill a base on first use: ("image", path) or ("fill", MiB, seed)
        self._fd = None
        self._open_lock = threading.Lock()
        self.preallocated = parent is None and provisioning != "thin"
        if self.preallocated:
            datastore.take(capacity_bytes)
        if parent is not None:
            parent.children += 1
        datastore.links[path] = self

    @property
    def ds_path(self):
        return f"[{self.datastore.name}] {self.path}"

    def allocated_bytes(self):
        return self.capacity_bytes if self.preallocated else len(self.grains) * GRAIN

    def chain(self):
        """This link and its ancestors, youngest first."""
        link, found = self, []
        while link is not None:
            found.append(link)
            link = link.parent
        return found

    def fd(self):
        if self._fd is None:
            with self._open_lock:
                if self._fd is None:
                    self._fd = self._materialize()
        return self._fd

    def _materialize(self):
        os.makedirs(os.path.dirname(self.backing_file), exist_ok=True)
        fd = os.open(self.backing_file, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, self.capacity_bytes)
        if self.content is not None:
            kind, content = self.content[0], self.content[1:]
            self.content = None
            (self._copy_image if kind == "image" else self._fill)(fd, *content)
        return fd

    def _copy_image(self, fd, image):
        with open(image, "rb") as source:
            offset = 0
            while block := source.read(MIB):
                for at in range(0, len(block), GRAIN):
                    piece = block[at:at + GRAIN]
                    if piece.count(0) != len(piece):
                        self._put(fd, offset + at, piece)
                offset += len(block)

    def _fill(self, fd, mib, seed):
        dice = random.Random(seed)
        total = min(mib * MIB, self.capacity_bytes)
        stretches = max(1, (self.capacity_bytes + MIB - 1) // MIB)
        for slot in sorted(dice.sample(range(stretches), min(stretches, max(1, total // MIB)))):
            length = min(MIB, self.capacity_bytes - slot * MIB)
            self._put(fd, slot * MIB, dice.randbytes(length))

    def _put(self, fd, offset, data):
        new = set(range(offset // GRAIN, (offset + len(data) - 1) // GRAIN + 1)) - self.grains
        if not self.preallocated:
            self.datastore.take(len(new) * GRAIN)
        self.grains |= new
        os.pwrite(fd, data, offset)

    def read_into(self, offset, view):
        """Fill `view` with what this link shows at `offset`."""
        if self.parent is None:
            self._read_own(offset, view)
            return
        chain = self.chain()
        end = offset + len(view)
        position, owner, start = offset, None, offset
        while position < end:
            grain = position // GRAIN
            holder = next((link for link in chain[:-1] if grain in link.grains), chain[-1])
            if owner is not None and holder is not owner:
                owner._read_own(start, view[start - offset:position - offset])
                start = position
            owner = holder
            position = min(end, (grain + 1) * GRAIN)
        owner._read_own(start, view[start - offset:])

    def _read_own(self, offset, view):
        fd = self.fd() if self.content is not None or self._fd is not None or self.grains else None
        if fd is None:
            view[:] = bytes(len(view))
            return
        done = 0
        while done < len(view):
            count = os.preadv(fd, [view[done:]], offset + done)
            if count == 0:
                view[done:] = bytes(len(view) - done)
                return
            done += count

    def read(self, offset, length):
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer))
        return buffer

    def write(self, offset, data):
        """A guest's write to this leaf. Raises DatastoreFull before anything is changed."""
        fd = self.fd()
        first, last = offset // GRAIN, (offset + len(data) - 1) // GRAIN
        new = [g for g in range(first, last + 1) if g not in self.grains]
        if not self.preallocated:
            self.datastore.take(len(new) * GRAIN)
        if self.parent is not None:
            for grain in {g for g in new if g in (first, last)}:
                begin = grain * GRAIN
                length = min(GRAIN, self.capacity_bytes - begin)
                if not (offset <= begin and begin + length <= offset + len(data)):
                    os.pwrite(fd, self.parent.read(begin, length), begin)
        self.grains.update(new)
        os.pwrite(fd, data, offset)

    def allocated_grains(self):
        """Grains that hold data anywhere in the chain; all of them for an eager-zeroed base."""
        grains = set()
        for link in self.chain():
            if link.content is not None:
                link.fd()
            grains |= link.grains
            if link.parent is None and link.provisioning == "eager":
                grains = set(range((link.capacity_bytes + GRAIN - 1) // GRAIN))
        return grains

    def merge_child(self, child, count):
        """Move up to `count` grains of `child` down into this link; True when none is left (L1)."""
        moved = 0
        while child.grains and moved < count:
            grain = next(iter(child.grains))
            begin = grain * GRAIN
            length = min(GRAIN, self.capacity_bytes - begin)
            if grain not in self.grains:
                if not self.preallocated:
                    self.datastore.take(GRAIN)
                self.grains.add(grain)
            os.pwrite(self.fd(), os.pread(child.fd(), length, begin), begin)
            child.grains.discard(grain)
            child.datastore.take(-GRAIN)
            moved += 1
        return not child.grains

    def drop(self):
        """The file is deleted; nothing refers to it any more."""
        self.datastore.take(-self.allocated_bytes())
        self.datastore.links.pop(self.path, None)
        self.grains = set()
        if self.parent is not None:
            self.parent.children -= 1
            self.parent = None
        self.dropped = True
        self._close_if_unused()
        if os.path.exists(self.backing_file):
            os.unlink(self.backing_file)

    def _close_if_unused(self):
        if self.dropped and self.readers == 0 and self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def acquire(self):
        """A reader opens this link: the whole chain is held (L2). Give the result to release()."""
        with READERS_LOCK:
            chain = self.chain()
            for link in chain:
                link.readers += 1
        return chain

    @staticmethod
    def release(chain):
        with READERS_LOCK:
            for link in chain:
                link.readers -= 1
                link._close_if_unused()

    def extend(self, capacity_bytes):
        """A larger disk; the new part is empty."""
        self.capacity_bytes = capacity_bytes
        os.ftruncate(self.fd(), capacity_bytes)

    def rename(self, datastore, path):
        """Storage vMotion: another datastore, another name."""
        datastore.take(self.allocated_bytes())
        self.datastore.take(-self.allocated_bytes())
        self.datastore.links.pop(self.path, None)
        self.datastore, self.path = datastore, path
        datastore.links[path] = self


def may_merge(link, child):
    """L2, and a link with two branches on it stays."""
    return link.readers == 0 and child.readers == 0 and link.children == 1
