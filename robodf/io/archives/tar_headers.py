"""The headers of TAR archives: ustar, pax, GNU and the oldest ones (POSIX.1-2017, pax; GNU tar manual, appendix D)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from robodf.errors import FileFormatError

BLOCK = 512

_MOST = 1 << 20  # bytes of a name or of pax records
_NOTHING = bytes(BLOCK)
_LONGEST = 1 << 16
_MOST_RECORDS = 10_000
_OCTAL = re.compile(rb"[0-7]{1,21}")
_DECIMAL = re.compile(r"[0-9]{1,19}")
_SECONDS = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,18})?")
_EMPTY: dict[str, str] = {}
_SPARSE = ("GNU.sparse.major", "GNU.sparse.size", "GNU.sparse.map", "GNU.sparse.numblocks")


class Front(Protocol):
    """A file that is read from the front."""

    at: int

    def read(self, count: int) -> bytes: ...

    def skip(self, count: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive. `offset` is that of its bytes; None for one whose bytes are not there as they are."""

    name: str
    size: int
    modified: int | None  # nanoseconds since 1970
    offset: int | None


class CutOffArchive(FileFormatError):
    """An archive that ends before it should, or is damaged behind some members."""


def members(file: Front, path: str) -> Iterator[Member]:
    """The files of an archive in order, hard links with the bytes of what they name. Other members are passed over.

    CutOffArchive where the archive is damaged; what precedes has been given.
    """
    places: dict[str, tuple[int, int | None]] = {}
    everywhere: dict[str, str] = {}
    here: dict[str, str] = {}
    while True:
        start = file.at
        header = file.read(BLOCK)
        if not header or header == _NOTHING:
            if here:
                raise CutOffArchive(f"{path}: ends at offset {start}, where a member should follow its name")
            return
        if len(header) < BLOCK:
            raise CutOffArchive(f"{path}: a header at offset {start} has {len(header)} of {BLOCK} bytes: it is cut off")
        try:
            kind, size = header[156:157], _checked_size(header)
            if kind in b"xgLK":
                found = _records(_body(file, size), kind)
                everywhere.update(found) if kind == b"g" else here.update(found)
                continue
            said, here = {**everywhere, **here} if everywhere or here else _EMPTY, {}
            if "size" in said:
                size = int(_matching(_DECIMAL, said["size"], "size"))
            name = said.get("GNU.sparse.name") or said.get("path") or _name(header)
            if len(name) > _LONGEST:
                raise _Damaged(f"has a name of {len(name)} characters")
            modified = _modified(said.get("mtime"), header)
            sparse = kind == b"S" or not said.keys().isdisjoint(_SPARSE)
            if kind == b"S":
                _skip_sparse_map(file, header)
        except _Damaged as error:
            raise CutOffArchive(f"{path}: the header at offset {start} {error}: the archive is damaged") from error
        offset = file.at
        if kind == b"1":
            size, place = places.get(said.get("linkpath") or _text(header[157:257]), (0, None))
            yield Member(name, size, modified, place)
            continue
        if kind in b"23456":  # links, devices and folders, which have no bytes whatever their size says
            continue
        passed = file.skip(size)
        if passed < size:
            raise CutOffArchive(f"{path}: {name!r} at offset {offset} has {passed} of {size} bytes: it is cut off")
        file.skip(-size % BLOCK)
        if (kind.isupper() and kind != b"S") or (kind == b"\0" and name.endswith("/")):
            continue  # labels and lists of GNU tar, and a folder as the oldest archives have it
        places[name] = (size, None if sparse else offset)
        yield Member(name, size, modified, None if sparse else offset)


class _Damaged(Exception):
    """Says what is wrong with a header."""


def _checked_size(header: bytes) -> int:
    """The size of the body, of a header whose sum is right."""
    field = header[148:156]
    said, plain = _number(field), sum(header) - sum(field) + 8 * 32
    if said != plain and said != plain - 256 * sum(b > 127 for b in header[:148] + header[156:]):
        raise _Damaged("differs from its checksum")  # neither as bytes nor, as some old programs add, as signed ones
    return _number(header[124:136])


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU: a binary number
        if field[0] != 0x80:
            raise _Damaged("has a number that is negative or too large")
        found = int.from_bytes(field[1:])
        if found >= 1 << 63:
            raise _Damaged("has a number that is too large")
        return found
    text = field.split(b"\0", 1)[0].strip()
    if not text:
        return 0
    if not _OCTAL.fullmatch(text):
        raise _Damaged("has a number that is none")
    return int(text, 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _modified(said: str | None, header: bytes) -> int | None:
    """Nanoseconds since 1970, None for a time that does not fit."""
    if said is not None:
        whole, _, part = _matching(_SECONDS, said, "mtime").partition(".")
        found = int(whole) * 10**9 + int((part + "0" * 9)[:9]) * (-1 if whole.startswith("-") else 1)
    else:
        try:
            found = _number(header[136:148]) * 10**9
        except _Damaged:  # before 1970
            return None
    return found if abs(found) < 1 << 63 else None


def _matching(pattern: re.Pattern[str], text: str, key: str) -> str:
    if not pattern.fullmatch(text):
        raise _Damaged(f"is preceded by a {key} that is none")
    return text


def _body(file: Front, size: int) -> bytes:
    if size > _MOST:
        raise _Damaged(f"has a name or pax records of {size} bytes")
    data = file.read(size)
    if len(data) < size:
        raise _Damaged("is that of a name which is cut off")
    file.skip(-size % BLOCK)
    return data


def _records(data: bytes, kind: bytes) -> dict[str, str]:
    """What an extended header says of the next member, or of all that follow."""
    if kind == b"L":
        return {"path": _text(data)}
    if kind == b"K":
        return {"linkpath": _text(data)}
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        length = data[at:space] if space > 0 else b""
        if not length.isdigit() or int(length) <= space - at + 1 or at + int(length) > len(data):
            raise _Damaged("has pax records that do not fit")
        key, equal, value = data[space + 1 : at + int(length) - 1].partition(b"=")
        if not equal or len(found) >= _MOST_RECORDS:
            raise _Damaged("has pax records that do not fit")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        at += int(length)
    return found


def _skip_sparse_map(file: Front, header: bytes) -> None:
    more = header[482]
    while more:
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise _Damaged("is that of a sparse file, whose map is cut off")
        more = block[504]
