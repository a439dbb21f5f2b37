# SPDX-License-Identifier: Apache-2.0
"""What a file system may hold after a power cut, made from a recorder's log.

The rules are those of POSIX, read against us, not those of one file system:
  - content that was not synced is lost, kept, or kept in part, page by page, in any order; a file may have
    grown with nothing but zeros in it;
  - of the names of a folder that was not synced the newest changes are lost, any number of them; folders do
    not wait for each other; a file synced under a name that was not is gone;
  - what was synced stays."""
import os
import pathlib
import shutil

PAGE = 4096


class Inode:
    def __init__(self):
        self.durable = bytearray()
        self.pending = []  # of (name, offset, data or length)
        self.is_folder = False

    def sync(self):
        self.durable = self.content(lambda op: True)
        self.pending = []

    def content(self, keeps):
        data = bytearray(self.durable)
        for op in self.pending:
            for piece in pieces(op):
                if keeps(piece):
                    apply(data, piece)
        return data


def pieces(op):
    """A write tears at page boundaries."""
    name, offset, data = op
    if name != "write":
        return [op]
    cut = []
    while data:
        take = PAGE - offset % PAGE
        cut.append((name, offset, data[:take]))
        offset, data = offset + take, data[take:]
    return cut


def apply(data, op):
    name, offset, what = op
    if name == "write":
        if len(data) < offset + len(what):
            data.extend(bytes(offset + len(what) - len(data)))
        data[offset:offset + len(what)] = what
    elif name == "size":
        if len(data) > offset:
            del data[offset:]
        data.extend(bytes(offset - len(data)))
    elif name == "grow":
        data.extend(bytes(max(0, offset - len(data))))
    elif name == "zero":
        end = min(len(data), offset + what)
        if offset < end:
            data[offset:end] = bytes(end - offset)


class Folder:
    def __init__(self):
        self.durable = {}  # name -> inode or folder path
        self.pending = []  # each a dict name -> Inode, Folder or None


class Disk:
    """Folders by path, files by inode number; a number comes again once its file is gone."""

    def __init__(self):
        self.folders = {".": Folder()}
        self.inodes = {}

    @staticmethod
    def split(path):
        folder, _, name = path.rpartition("/")
        return folder or ".", name

    def change(self, path, value, and_path=None, and_value=None):
        folder, name = self.split(path)
        changes = {name: value}
        if and_path is not None:
            other, other_name = self.split(and_path)
            assert other == folder, f"a name moved from {path} to {and_path}"
            changes[other_name] = and_value
        self.folders[folder].pending.append(changes)

    def step(self, record):
        name, inode, offset, length, paths, data = record
        path = paths[0]
        if name == "create":
            self.inodes[inode] = Inode()
            self.change(path, self.inodes[inode])
        elif name == "rename":
            self.change(path, None, paths[1], self.inodes[inode])
        elif name == "link":
            self.change(paths[1], self.inodes[inode])
        elif name in ("unlink", "rmdir"):
            self.change(path, None)
            self.folders.pop(path, None)
        elif name == "mkdir":
            self.folders[path] = Folder()
            self.change(path, self.folders[path])
        elif name == "sync" and path in self.folders:
            folder = self.folders[path]
            for changes in folder.pending:
                folder.durable.update(changes)
            folder.pending = []
        elif inode in self.inodes:
            if name == "sync":
                self.inodes[inode].sync()
            else:
                self.inodes[inode].pending.append(
                    (name, offset, data if name == "write" else length))

    def write_out(self, top, random, mode):
        """mode: what becomes of what was not synced: "lost", "kept", or "torn" (at random)."""
        shutil.rmtree(top, ignore_errors=True)
        self.write_folder(pathlib.Path(top), self.folders["."], random, mode)

    def write_folder(self, path, folder, random, mode):
        os.mkdir(path, 0o700)
        names = dict(folder.durable)
        count = len(folder.pending)
        kept = {"lost": 0, "kept": count}.get(mode, random.randint(0, count))
        for changes in folder.pending[:kept]:
            names.update(changes)
        for name, what in names.items():
            if isinstance(what, Folder):
                self.write_folder(path / name, what, random, mode)
            elif what is not None:
                share = random.random()
                keeps = {"lost": lambda piece: False, "kept": lambda piece: True}.get(
                    mode, lambda piece: random.random() < share)
                with open(path / name, "wb") as f:
                    os.fchmod(f.fileno(), 0o600)
                    f.write(what.content(keeps))


def read_log(path):
    """Yields (name, inode, offset, length, paths, data)."""
    with open(path, "rb") as log:
        while line := log.readline():
            name, inode, offset, length, rest = line.decode().rstrip("\n").split(" ", 4)
            data = log.read(int(length)) if name == "write" else b""
            yield name, int(inode), int(offset), int(length), rest.split(" "), data
