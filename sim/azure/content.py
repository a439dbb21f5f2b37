# SPDX-License-Identifier: Apache-2.0
"""The bytes of disks and snapshots: sparse raw files in the folder of --disks, or, without one, sizes only."""
import os
import re
import subprocess
import uuid

from . import vhd
from .blobs import PIECE_BYTES, BlobError, unreachable
from .refusal import Refusal, invalid, not_simulated

ZERO = bytes(PIECE_BYTES)


class Content:
    def __init__(self, path, size_bytes):
        self.path, self.size_bytes = path, size_bytes

    def remove(self):
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)


class Contents:
    def __init__(self, folder):
        self.folder = folder
        if folder:
            os.makedirs(os.path.join(folder, "snapshots"), exist_ok=True)

    def _path(self, name, is_snapshot):
        if not self.folder:
            return None
        path = os.path.join(self.folder, *(["snapshots"] if is_snapshot else []), name + ".raw")
        if os.path.exists(path):
            raise not_simulated(f"two disks named '{name}', their files are kept by name alone")
        return path

    def given(self, name, size_bytes, is_snapshot):
        """For a resource that no request made: zeros, or the file that is there already."""
        path = os.path.join(self.folder, *(["snapshots"] if is_snapshot else []),
                            name + ".raw") if self.folder else None
        if path and not os.path.exists(path):
            with open(path, "wb") as file:
                file.truncate(size_bytes)
        return Content(path, size_bytes)

    def of_blob(self, account, blob, snapshot, name):
        """Reads a page blob with a VHD in it; Refusal InvalidVhd and others."""
        try:
            size = account.size(blob, snapshot)
            data_bytes = size - vhd.FOOTER_BYTES
            if data_bytes < 0:
                raise Refusal(400, "InvalidVhd", f"The blob of disk '{name}' has {size} bytes: too small for a VHD.")
            vhd.check(account.read(blob, data_bytes, size, snapshot), data_bytes, name)
            content = Content(self._path(name, False), data_bytes)
            if content.path:
                self._fetch(account, blob, snapshot, content)
            return content
        except BlobError as error:
            if error.status == 404:
                raise Refusal(404, "BlobNotFound",
                              f"The specified blob '{blob}' of disk '{name}' does not exist.") from None
            if error.code == "InvalidBlobType":
                raise Refusal(400, "InvalidBlobType", f"The blob of disk '{name}' is not a page blob.") from None
            raise unreachable(account, error) from None
        except OSError as error:
            raise unreachable(account, error) from None

    @staticmethod
    def _fetch(account, blob, snapshot, content):
        with open(content.path + ".part", "wb") as file:
            file.truncate(content.size_bytes)
            for start, end in account.ranges(blob, snapshot):
                end = min(end, content.size_bytes)
                for at in range(start, end, PIECE_BYTES):
                    data = account.read(blob, at, min(end, at + PIECE_BYTES), snapshot)
                    if data != ZERO[:len(data)]:
                        file.seek(at)
                        file.write(data)
        os.rename(content.path + ".part", content.path)

    def copy(self, source, name, is_snapshot):
        """A point in time of a disk or snapshot."""
        content = Content(self._path(name, is_snapshot), source.size_bytes)
        if content.path:
            if not os.path.exists(source.path):
                raise Refusal(409, "OperationNotAllowed", f"The source of '{name}' was deleted.")
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", source.path, content.path], check=True)
        return content


class Grant:
    """A disk's bytes in the account that plays the service's own storage, behind a service SAS."""

    def __init__(self, account, access, size_bytes):
        self.account, self.access, self.size_bytes = account, access, size_bytes
        self.container = "sim-" + uuid.uuid4().hex[:16]
        self.blob = f"{self.container}/abcd"
        self._policies = []

    def open(self, content):
        self.account.create(self.blob, self.size_bytes)
        if content is None:
            return
        with open(content.path, "rb") as file:
            at = 0
            while data := file.read(PIECE_BYTES):
                if data != ZERO[:len(data)]:
                    self.account.put(self.blob, at, data)
                at += len(data)
        self.account.put(self.blob, content.size_bytes, vhd.make(content.size_bytes))

    def address(self, end_s):
        """A new SAS that ends at that time; older ones stay good until their own end (four of them)."""
        policy = str(uuid.uuid4())
        self._policies = [*self._policies[-4:], (policy, "rw" if self.access == "Write" else "r", end_s)]
        self.account.set_policies(self.container, self._policies)
        return self.account.sas(self.blob, policy)

    def expire(self):
        """Every SAS given until now is refused; the bytes stay."""
        self._policies = []
        self.account.set_policies(self.container, [])

    def close(self):
        self.account.remove_container(self.container)


def blob_of(accounts, source_uri):
    """(account, "container/name", snapshot) of an import's source."""
    if not re.match(r"https?://[^/]+/", source_uri):
        raise invalid(f"The source URI '{source_uri}' is not a blob's address.", "disk.creationData.sourceUri")
    for account in accounts:
        found = account.blob_of(source_uri)
        if found:
            return account, *found
    raise invalid(f"The source blob URI '{source_uri.split('?')[0]}' is of no storage account of this subscription.",
                  "disk.creationData.sourceUri")
