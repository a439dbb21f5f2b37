#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets as hex text to tests/fuzz/corpus.

They are the golden objects and a few records put together here; run it again after a
format got a new version. Seeds of crashes are added by hand and not touched by this.
"""
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"


def golden(name):
    return bytes.fromhex((GOLDEN / f"{name}-v1.hex").read_text())


def put(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    text = data.hex()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")


def record(kind, offset, length, pieces=(), content=b"", digests=0, method=0, packed=None):
    """Flags byte, plain header, piece table, room for digests, content (mode 1)."""
    packed = content if packed is None else packed
    head = struct.pack("<4sBBHQQIIIHHQ", b"KREC", kind, method, len(pieces), offset, length,
                       len(content), len(packed), 0, digests, 0, 0)
    table = b"".join(struct.pack("<II", *piece) for piece in pieces)
    return b"\x03" + head + table + bytes(16 * digests) + packed


def end(content_bytes, data, zero, same):
    return b"\x01" + struct.pack("<4sBBHQIIIIIHHQ", b"KREC", 4, 0, 0, content_bytes, data,
                                 zero, same, 0, 0, 0, 0, 0)


def shape(kind, offset, length, method, pieces=()):
    """A record for the writer (mode 2)."""
    return b"\x02" + struct.pack("<BIIBB", kind, offset, length, method, 1) + b"".join(
        struct.pack("<HH", *piece) for piece in pieces)


def main():
    put("bitmap", "golden", b"\x00" + golden("bitmap"))
    put("bitmap", "golden-fixed", b"\x01" + golden("bitmap")[:-8])
    put("bitmap", "empty", b"\x01KDGBMP01" + struct.pack("<HHIQQ", 1, 32, 512, 4096, 0))
    for number, name in enumerate(("plan", "journal", "manifest", "sealed")):
        put("objects", name, bytes([number]) + golden(name))
    put("objects", "replica", b"\x04KDGRST01" + bytes(48))
    for name in ("stored", "lz4", "zstd"):
        put("segment", name, b"\x00" + golden(f"segment-{name}"))
    sector = bytes(range(256)) * 2
    # one literal-only LZ4 block would not be smaller: a run of one byte is
    lz4 = bytes([0x1f, 0x61, 0x01, 0x00, 255, 232, 0x50]) + b"a" * 5
    put("segment", "records", b"\x01" +
        record(1, 65536 - 512, 1024, content=sector * 2, digests=2) +
        record(2, 1 << 20, 3 << 20) +
        record(1, 0, 4096, pieces=((0, 1), (5, 2)), content=sector * 3, digests=1) +
        record(3, 1 << 40, 65536) + end(5 * 512, 2, 1, 1))
    put("segment", "record-lz4", b"\x01" +
        record(1, 0, 512, content=bytes(512), digests=1, method=1, packed=lz4) +
        end(512, 1, 0, 0))
    put("segment", "shape-span", shape(1, 0, 2048, 1, ((0, 2048),)))
    put("segment", "shape-pieces", shape(1, 2040, 8, 2, ((0, 1), (2, 3), (7, 1))))
    put("segment", "shape-zero", shape(2, 5, 4000, 0))


if __name__ == "__main__":
    main()
