# SPDX-License-Identifier: Apache-2.0
"""The packings of NFC fragments: SkipZ, FastLZ level 1 and 2, zlib. Encoders answer None when packing does not shrink.

FastLZ (Ariya Hidayat's format): the top three bits of the first byte are level - 1, the first instruction is a literal
run. An instruction byte b has t = b >> 5 and d = b & 31: t = 0 copies d + 1 literals; t = 1..6 is a match of t + 2 bytes,
t = 7 one of 9 + following byte (level 2: more bytes while one is 255); then a byte e gives the distance (d << 8 | e) + 1,
or on level 2 with d = 31 and e = 255 two more bytes, big-endian, plus 8192.
"""
import struct
import zlib

NONE, ZLIB, FASTLZ, SKIPZ = 0, 1, 2, 3
PAGE = 4096
ZERO_PAGE = bytes(PAGE)
ZERO_FRAGMENT = bytes(2 << 20)
FASTLZ_MIN_BYTES = 16
FASTLZ_LEVEL2_BYTES = 65536


def is_zero(data):
    """Whether a bytes or bytearray of at most 2 MiB holds nothing but zeros."""
    return not data[0] and not data[-1] and data == ZERO_FRAGMENT[:len(data)]


def skipz_encode(data):
    """u32 total, u32 0, then (u32 offset, u32 length, bytes) for what is not zero, trimmed to the byte."""
    if is_zero(data):
        return struct.pack("<II", len(data), 0)
    runs = []
    for start in range(0, len(data), PAGE):
        page = data[start:start + PAGE]
        if page[:1] == b"\0" and page == ZERO_PAGE[:len(page)]:
            continue
        if runs and runs[-1][1] == start:
            runs[-1][1] = start + len(page)
        else:
            runs.append([start, start + len(page)])
    if len(runs) == 1 and runs[0] == [0, len(data)] and data[0] and data[-1]:
        return None
    out = [struct.pack("<II", len(data), 0)]
    for start, end in runs:
        stripped = bytes(data[start:end]).lstrip(b"\0")
        start = end - len(stripped)
        stripped = stripped.rstrip(b"\0")
        out += [struct.pack("<II", start, len(stripped)), stripped]
    packed = b"".join(out)
    return packed if len(packed) < len(data) else None


def skipz_decode(packed, length):
    total, zero = struct.unpack_from("<II", packed)
    if total != length or zero:
        raise ValueError("SkipZ header")
    out, at, last = bytearray(length), 8, 0
    while at < len(packed):
        offset, size = struct.unpack_from("<II", packed, at)
        at += 8
        if offset < last or offset + size > length or at + size > len(packed):
            raise ValueError("SkipZ record")
        out[offset:offset + size] = packed[at:at + size]
        at, last = at + size, offset + size
    return bytes(out)


def _literals(out, data, start, end):
    while start < end:
        count = min(32, end - start)
        out.append(count - 1)
        out += data[start:start + count]
        start += count


def _match(out, length, distance, level):
    near = distance - 1 if level == 1 or distance <= 8191 else (31 << 8) | 255
    high, low = near >> 8, near & 255
    if length < 9:
        out.append((length - 2) << 5 | high)
    else:
        out.append(7 << 5 | high)
        rest = length - 9
        if level == 2:
            while rest >= 255:
                out.append(255)
                rest -= 255
        out.append(rest)
    out.append(low)
    if level == 2 and distance > 8191:
        out += struct.pack(">H", distance - 8192)


def _match_length(data, older, here, limit):
    length = 3
    while length + 64 <= limit and data[older + length:older + length + 64] == data[here + length:here + length + 64]:
        length += 64
    while length < limit and data[older + length] == data[here + length]:
        length += 1
    return length


def fastlz_encode(data, level=None):
    """A FastLZ block, or None when it is not smaller; level 2 from 64 KiB on, as hosts do."""
    data = bytes(data)
    size = len(data)
    if size < FASTLZ_MIN_BYTES:
        return None
    if level is None:
        level = 2 if size >= FASTLZ_LEVEL2_BYTES else 1
    longest = 8192 if level == 1 else 8192 + 65535
    out, table = bytearray(), {}
    anchor, here, misses = 0, 1, 0
    table[data[0:3]] = 0
    while here < size - 12:
        key = data[here:here + 3]
        older = table.get(key)
        table[key] = here
        if older is None or here - older > longest:
            misses += 1
            here += 1 + (misses >> 6)
            continue
        limit = min(size - here - 4, 264 if level == 1 else size)
        length = _match_length(data, older, here, limit)
        if here - older > 8191 and length < 5:
            here += 1
            continue
        _literals(out, data, anchor, here)
        _match(out, length, here - older, level)
        here += length
        anchor, misses = here, 0
    _literals(out, data, anchor, size)
    out[0] |= (level - 1) << 5
    return bytes(out) if len(out) < size else None


def fastlz_decode(packed, length):
    """The bytes of a FastLZ block; ValueError when it is damaged or not exactly `length` long."""
    level = (packed[0] >> 5) + 1
    if level not in (1, 2):
        raise ValueError("FastLZ level")
    out, at, code = bytearray(), 1, packed[0] & 31
    while True:
        kind, low_bits = code >> 5, code & 31
        if kind == 0:
            if at + low_bits + 1 > len(packed):
                raise ValueError("FastLZ literals")
            out += packed[at:at + low_bits + 1]
            at += low_bits + 1
        else:
            size, at = _decode_length(packed, at, kind, level)
            low = packed[at]
            at += 1
            distance = (low_bits << 8 | low) + 1
            if level == 2 and low_bits == 31 and low == 255:
                distance = struct.unpack_from(">H", packed, at)[0] + 8192
                at += 2
            if distance > len(out) or len(out) + size > length:
                raise ValueError("FastLZ match")
            for _ in range(size):
                out.append(out[-distance])
        if at >= len(packed):
            break
        code = packed[at]
        at += 1
    if len(out) != length:
        raise ValueError("FastLZ length")
    return bytes(out)


def _decode_length(packed, at, kind, level):
    if kind < 7:
        return kind + 2, at
    size = 9
    while True:
        more = packed[at]
        at += 1
        size += more
        if level == 1 or more != 255:
            return size, at


def encode(kind, data):
    """(code used, bytes): `kind` when it shrinks, else stored."""
    packed = None
    if kind == SKIPZ:
        packed = skipz_encode(data)
    elif kind == FASTLZ:
        packed = fastlz_encode(data)
    elif kind == ZLIB:
        packed = zlib.compress(bytes(data), 1)
        packed = packed if len(packed) < len(data) else None
    return (NONE, data) if packed is None else (kind, packed)


def decode(kind, packed, length):
    if kind == NONE:
        return bytes(packed)
    if kind == ZLIB:
        out = zlib.decompress(bytes(packed))
    else:
        out = (skipz_decode if kind == SKIPZ else fastlz_decode)(bytes(packed), length)
    if len(out) != length:
        raise ValueError("length")
    return out
