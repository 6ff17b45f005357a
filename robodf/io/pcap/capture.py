"""The packets of a capture, pcap or pcapng: when each came, how long it is, and where its bytes lie.

The formats are those of draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robodf.errors import FileFormatError

if TYPE_CHECKING:
    from robodf.io.files import FileReader

NO_TIME = np.iinfo(np.int64).min
"""The time of a packet whose block has none, or none that 64 bits of nanoseconds hold."""

_BLOCK = 4 << 20
_LONGEST = 262_144  # bytes of a packet, where the file does not say that its packets may be longer
_MOST = 128 << 20
_CLASSIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000), b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000), b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}  # fmt: skip
_PATCHED = (b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34")
_SECTION = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}


@dataclass(frozen=True)
class Packets:
    """Packets whose bytes are in `buffer`, which begins at `base` in the file. All arrays are int64.

    `at` counts from the begin of the buffer. `times` are nanoseconds since 1970.
    """

    base: int
    buffer: bytes
    at: np.ndarray
    captured: np.ndarray
    length: np.ndarray
    times: np.ndarray
    links: np.ndarray


class Damage(FileFormatError):
    """Where a capture cannot be read on; the packets before it were given."""


def packets(file: FileReader) -> Iterator[Packets]:
    """All packets in file order, some megabytes at once.

    FileFormatError for what is no capture; Damage, after the packets before it, for one that is cut or damaged.
    """
    magic = file.read_at(0, min(4, file.size))
    if magic in _CLASSIC:
        yield from _classic(file, *_CLASSIC[magic])
    elif magic == _SECTION:
        yield from _blocks(file)
    elif magic in _PATCHED:
        raise FileFormatError(
            f"{file.path}: a capture of the modified pcap format of 1999; convert it: editcap -F pcap IN OUT"
        )
    else:
        raise FileFormatError(f"{file.path}: begins with {magic!r}: neither a pcap nor a pcapng file")


# -- pcap -----------------------------------------------------------------------------------------------------


def _classic(file: FileReader, order: str, unit: int) -> Iterator[Packets]:
    snap, network = struct.unpack(f"{order}16x2I", file.read_at(0, 24))
    longest = min(max(_LONGEST, snap), _MOST)
    at, done = 24, 0
    needed = _BLOCK
    while at < file.size:
        buffer = file.read_at(at, min(max(needed, _BLOCK), file.size - at))
        starts, end, needed = _starts(buffer, order, longest)
        head = np.frombuffer(buffer, np.uint8)[starts[:, None] + np.arange(16)].view(f"{order}u4").astype(np.int64)
        seconds, parts, captured, length = head.T if len(starts) else np.zeros((4, 0), np.int64)
        wrong = np.flatnonzero(parts >= unit)
        good = int(wrong[0]) if len(wrong) else len(starts)
        times = seconds * 1_000_000_000 + parts * (1_000_000_000 // unit)
        links = np.full(good, network & 0xFFFF)
        if good:
            yield Packets(at, buffer, starts[:good] + 16, captured[:good], length[:good], times[:good], links)
        done += good
        if len(wrong):
            raise Damage(
                f"{file.path}: packet {done} at offset {at + int(starts[good])} is {int(parts[good])} parts after a "
                f"second, which has {unit}: the file is damaged"
            )
        at += end
        if at + 16 > file.size and at < file.size:
            raise Damage(f"{file.path}: the header of packet {done} at offset {at} is cut off")
        if needed > file.size - at > 0 or needed > longest + 16:
            raise Damage(
                f"{file.path}: packet {done} at offset {at} has {needed - 16} bytes, but {file.size - at - 16} are "
                f"left and none may have more than {longest}: the file is cut off or damaged"
            )


def _starts(buffer: bytes, order: str, longest: int) -> tuple[np.ndarray, int, int]:
    """Where the packets that are whole in a buffer start, where they end, and the bytes that the next one needs.

    Each header says where the next one is. Packets of a sensor are of one size, so that many headers are looked at as
    one array; where sizes vary, one after the other.
    """
    size_at = struct.Struct(f"{order}8xI").unpack_from
    runs: list[np.ndarray] = []
    single: list[int] = []
    at, total, varied = 0, len(buffer), 0
    needed = 16
    while at + 16 <= total:
        (captured,) = size_at(buffer, at)
        step = 16 + captured
        if at + step > total or captured > longest:
            needed = step
            break
        fit = (total - at) // step
        if varied or fit < 8:
            for _ in range(max(varied, 1)):
                single.append(at)
                at += step
                if at + 16 > total:
                    break
                step = 16 + size_at(buffer, at)[0]
                if at + step > total or step > longest + 16:
                    break
            varied = 0
            continue
        sizes = np.ndarray((fit,), f"{order}u4", buffer, at + 8, (step,))
        count = _equal(sizes)
        if single:
            runs.append(np.array(single, np.int64))
            single = []
        runs.append(at + step * np.arange(count, dtype=np.int64))
        at += step * count
        varied = 0 if count >= 8 else 1024
    if single:
        runs.append(np.array(single, np.int64))
    return np.concatenate(runs) if runs else np.zeros(0, np.int64), at, needed


def _equal(values: np.ndarray) -> int:
    """How many of the first values are equal; a long look only where a short one found no other."""
    window = 8
    while True:
        other = np.flatnonzero(values[:window] != values[0])
        if len(other):
            return int(other[0])
        if window >= len(values):
            return len(values)
        window *= 8


# -- pcapng ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Interface:
    link: int
    snap: int
    unit: int  # parts of a second
    offset: int  # seconds


def _blocks(file: FileReader) -> Iterator[Packets]:
    order, interfaces = "<", list[_Interface]()
    at = done = 0
    needed = _BLOCK
    while at < file.size:
        base, buffer = at, file.read_at(at, min(max(needed, _BLOCK), file.size - at))
        rows: list[tuple[int, int, int, int, int]] = []
        damage = None
        inside, needed = 0, 12
        while inside < len(buffer) and damage is None:
            if inside + 12 > len(buffer):
                break
            kind = buffer[inside : inside + 4]
            if kind == _SECTION:
                order, interfaces = _ORDERS.get(buffer[inside + 8 : inside + 12], ""), []
            if not order:
                damage = "a section whose byte order is none"
                break
            number, size = struct.unpack_from(f"{order}2I", buffer, inside)
            if size < 12 or size % 4 or size > _MOST:
                damage = f"a block of {size} bytes"
                break
            if inside + size > len(buffer):
                needed = size
                break
            body = inside + 8
            if struct.unpack_from(f"{order}I", buffer, inside + size - 4)[0] != size:
                damage = f"a block of {size} bytes whose end says another size"
            elif number == 1:
                damage = _interface(buffer, body, inside + size - 4, order, interfaces)
            elif number in (2, 3, 6):
                row = _packet(number, buffer, body, inside + size - 4, order, interfaces)
                if row is None:
                    damage = "a packet that does not fit its block, or of an interface that is not described"
                else:
                    rows.append(row)
            if damage is None:
                inside += size
        if rows:
            table = np.array(rows, np.int64).T
            yield Packets(base, buffer, *table)
            done += len(rows)
        at = base + inside
        if damage is None and at < file.size and (at + needed > file.size or at + 12 > file.size):
            damage = f"a block of {needed} bytes, but {file.size - at} are left"
        if damage is not None:
            raise Damage(f"{file.path}: {damage} at offset {at}, after packet {done - 1}: it is cut off or damaged")


def _interface(buffer: bytes, body: int, end: int, order: str, interfaces: list[_Interface]) -> str | None:
    """Takes over the description of an interface; what is wrong with it, if anything is."""
    if end - body < 8:
        return "an interface without a description"
    link, snap = struct.unpack_from(f"{order}HxxI", buffer, body)
    unit, offset, at = 1_000_000, 0, body + 8
    while at + 4 <= end:
        code, size = struct.unpack_from(f"{order}2H", buffer, at)
        if code == 0:
            break
        if at + 4 + size > end:
            return "an interface with an option that is cut off"
        if code == 9 and size == 1:  # if_tsresol
            power = buffer[at + 4]
            unit = 2 ** (power & 0x7F) if power & 0x80 else 10**power
        elif code == 14 and size == 8:  # if_tsoffset
            (offset,) = struct.unpack_from(f"{order}q", buffer, at + 4)
        at += 4 + (size + 3) // 4 * 4
    interfaces.append(_Interface(link, snap, unit, offset))
    return None


def _packet(
    kind: int, buffer: bytes, body: int, end: int, order: str, interfaces: list[_Interface]
) -> tuple[int, int, int, int, int] | None:
    """Where a packet lies in the buffer, its captured and whole length, its time and link type; None: it is damaged."""
    if kind == 3:  # simple: of the first interface, without a time
        if end - body < 4 or not interfaces:
            return None
        (length,) = struct.unpack_from(f"{order}I", buffer, body)
        snap = interfaces[0].snap
        captured, at = min(length, snap) if snap else length, body + 4
        return (at, captured, length, NO_TIME, interfaces[0].link) if at + captured <= end else None
    if end - body < 20:
        return None
    layout = "I4I" if kind == 6 else "Hxx4I"  # 2 is the obsolete form
    number, high, low, captured, length = struct.unpack_from(f"{order}{layout}", buffer, body)
    if number >= len(interfaces) or body + 20 + captured > end:
        return None
    interface = interfaces[number]
    time = interface.offset * 1_000_000_000 + (high << 32 | low) * 1_000_000_000 // interface.unit
    return body + 20, captured, length, time if abs(time) < 1 << 63 else NO_TIME, interface.link
