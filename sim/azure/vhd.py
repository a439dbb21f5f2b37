# SPDX-License-Identifier: Apache-2.0
"""The footer of a fixed VHD, read and made after the "Virtual Hard Disk Image Format Specification" (October 2006)."""
import struct
import uuid

from .refusal import Refusal

FOOTER_BYTES = 512
MIB = 1 << 20
# cookie, features, version, data offset, time, creator application, version, host OS, original size, current size,
# cylinders, heads, sectors, type, checksum, unique id
LAYOUT = struct.Struct(">8sIIQI4sI4sQQHBBII16s")
FIXED = 2


def _checksum(footer):
    return ~(sum(footer) - sum(footer[64:68])) & 0xffffffff


def check(footer, data_bytes, name):
    """Raises the refusal that an import of it meets."""
    def bad(why):
        return Refusal(400, "InvalidVhd", f"The disk with name '{name}' is not a supported VHD: {why}.")
    if data_bytes <= 0 or data_bytes % MIB:
        raise bad(f"its virtual size {data_bytes} must be a whole number of MiB")
    cookie, _, version, offset, _, _, _, _, _, size, _, _, _, kind, checksum, _ = LAYOUT.unpack_from(footer)
    if cookie != b"conectix":
        raise bad("disk is expected to have cookie value 'conectix'")
    if checksum != _checksum(footer):
        raise bad("the checksum of its footer is wrong")
    if kind != FIXED or offset != 0xffffffffffffffff or version >> 16 != 1:
        raise bad("it is not of the type fixed")
    if size != data_bytes:
        raise bad(f"its footer says {size} bytes, the blob has {data_bytes}")


def make(data_bytes):
    """For a disk that is read through a SAS."""
    footer = bytearray(FOOTER_BYTES)
    LAYOUT.pack_into(footer, 0, b"conectix", 2, 0x10000, 0xffffffffffffffff, 0, b"sim ", 0x10000, b"Wi2k", data_bytes,
                     data_bytes, min(65535, data_bytes // 512 // (16 * 255)), 16, 255, FIXED, 0, uuid.uuid4().bytes)
    footer[64:68] = struct.pack(">I", _checksum(footer))
    return bytes(footer)
