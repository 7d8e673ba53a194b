"""Partition tables in image files: made, and read again without the program under test."""

import struct
import zlib

SECTOR = 512
SLOT = 1 << 20
# "Linux generic", as it stands in a table.
GENERIC = "af3dc60f838472478e793d69d8477de4"


def image(labels):
    """The bytes of an image with so many partitions of the generic type."""
    length = (len(labels) + 2) * SLOT
    data = bytearray(length)
    entries = bytearray(128 * 128)
    for index, label in enumerate(labels):
        start = (index + 1) * SLOT
        entry = bytearray(128)
        entry[:16] = bytes.fromhex(GENERIC)
        entry[16:32] = bytes([0xa0 + index]) * 16
        struct.pack_into("<QQQ", entry, 32, start // SECTOR, (start + SLOT) // SECTOR - 1, 0)
        text = label.encode("utf-16-le")
        entry[56:56 + len(text)] = text
        entries[index * 128:index * 128 + 128] = entry
        data[start:start + SLOT] = b"\xee" * SLOT
    last = length // SECTOR - 1
    for own, other, at in ((1, last, 2), (last, 1, last - 32)):
        header = bytearray(92)
        header[:12] = b"EFI PART\0\0\1\0"
        struct.pack_into("<I", header, 12, 92)
        struct.pack_into("<QQQQ", header, 24, own, other, 34, last - 33)
        header[56:72] = b"\x5a" * 16
        struct.pack_into("<QIII", header, 72, at, 128, 128, zlib.crc32(entries))
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        data[own * SECTOR:own * SECTOR + 92] = header
        data[at * SECTOR:at * SECTOR + len(entries)] = entries
    # A protective record in the first sector.
    data[446:462] = bytes([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0]) + struct.pack("<I", last)
    data[510:512] = b"\x55\xaa"
    return bytes(data)


def copies(data):
    """The entries by the first and by the last copy of the table; None for one that is not whole."""
    found = []
    last = len(data) // SECTOR - 1
    for own in (1, last):
        header = bytearray(data[own * SECTOR:own * SECTOR + 92])
        expected = struct.unpack_from("<I", header, 16)[0]
        header[16:20] = bytes(4)
        at, count, size, checksum = struct.unpack_from("<QIII", header, 72)
        entries = data[at * SECTOR:at * SECTOR + count * size]
        is_whole = zlib.crc32(bytes(header)) == expected and zlib.crc32(entries) == checksum
        found.append(bytes(entries) if is_whole else None)
    return found


def partitions(data, entries):
    """Number, type, UUID, attributes, label and content of each partition."""
    for index in range(0, len(entries), 128):
        entry = entries[index:index + 128]
        if entry[:16] == bytes(16):
            continue
        first, end, flags = struct.unpack_from("<QQQ", entry, 32)
        label = entry[56:].decode("utf-16-le").split("\0")[0]
        yield index // 128 + 1, entry[:16].hex(), entry[16:32].hex(), flags, label, data[first * SECTOR:(end + 1) * SECTOR]
