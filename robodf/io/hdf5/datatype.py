"""What the bytes of one element are: the datatype message of HDF5."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

_DEEPEST = 16


@dataclass(frozen=True)
class Type:
    """`kind` is number, bool, text (fixed length), texts, bytes (both of any length), opaque, record, array or other.

    `dtype` is NumPy's of a number; `fields` are (name, offset, type) of a record; `base` and `dims` are those of an
    array; `why` says of `other` what it is.
    """

    kind: str
    size: int
    dtype: np.dtype | None = None
    fields: tuple[tuple[str, int, Type], ...] = ()
    base: Type | None = None
    dims: tuple[int, ...] = ()
    spaces: bool = False  # a text is padded with spaces, not zeros
    why: str = ""

    @property
    def problem(self) -> str:
        """Why it cannot be read, or an empty text."""
        if self.kind == "other":
            return self.why
        parts = [t for _, _, t in self.fields] + ([self.base] if self.base is not None else [])
        return next((t.problem for t in parts if t.problem), "")

    def __str__(self) -> str:
        if self.dtype is not None and self.kind == "number":
            return str(self.dtype)
        if self.kind == "text":
            return f"text of {self.size} bytes"
        if self.kind == "record":
            return "{" + ", ".join(f"{name}: {t}" for name, _, t in self.fields) + "}"
        if self.kind == "array":
            return f"{self.base}{list(self.dims)}"
        return self.why or self.kind


def parse(data: bytes, depth: int = 0) -> tuple[Type, int]:
    """The type of a message and the bytes that it takes; ValueError and its like where it is none."""
    if depth > _DEEPEST:
        raise ValueError("types are nested too deep")
    first, low, mid, _, size = struct.unpack_from("<BBBBI", data)
    version, kind = first >> 4, first & 15
    bits = low | mid << 8
    if not 1 <= version <= 5:
        raise ValueError(f"datatype of version {version}")
    order = ">" if bits & 1 else "<"
    if kind in (0, 4):  # integers and bit fields
        offset, precision = struct.unpack_from("<HH", data, 8)
        sign = "i" if kind == 0 and bits & 8 else "u"
        whole = size in (1, 2, 4, 8) and offset == 0 and precision == 8 * size
        if not whole:
            return _other(size, f"integers of {precision} bits in {size} bytes"), 12
        return Type("number", size, np.dtype(f"{order}{sign}{size}")), 12
    if kind == 1:
        return _float(data, size, bits, order), 20
    if kind == 3:
        return Type("text", size, spaces=bits & 15 == 2), 8
    if kind == 5:
        tag = data[8 : 8 + low]
        return Type("opaque", size), 8 + len(tag)
    if kind == 6:
        return _record(data, size, bits, version, depth)
    if kind == 7:
        return _other(size, "references"), 8
    if kind == 8:
        return _enum(data, size, bits, version, depth)
    if kind == 9:
        base, used = parse(data[8:], depth + 1)
        if bits & 15 == 1:
            return Type("texts", size), 8 + used
        if base.kind == "number" and base.size == 1:
            return Type("bytes", size), 8 + used
        return _other(size, f"lists of any length, of {base}"), 8 + used
    if kind == 10:
        return _array(data, size, version, depth)
    return _other(size, f"the datatype class {kind}"), len(data)


def _other(size: int, why: str) -> Type:
    return Type("other", size, why=why)


def _float(data: bytes, size: int, bits: int, order: str) -> Type:
    facts = struct.unpack_from("<HHBBBBI", data, 8)
    known = {
        2: (0, 16, 10, 5, 0, 10, 15),
        4: (0, 32, 23, 8, 0, 23, 127),
        8: (0, 64, 52, 11, 0, 52, 1023),
    }
    if facts != known.get(size) or bits & 0x40:
        return _other(size, f"floating point numbers of {size} bytes that are not of IEEE 754")
    return Type("number", size, np.dtype(f"{order}f{size}"))


def _name(data: bytes, at: int, padded: bool) -> tuple[str, int]:
    end = data.index(b"\0", at)
    after = at + (end - at) // 8 * 8 + 8 if padded else end + 1
    return data[at:end].decode(), after


def _record(data: bytes, size: int, count: int, version: int, depth: int) -> tuple[Type, int]:
    at, fields = 8, []
    for _ in range(count):
        name, at = _name(data, at, version < 3)
        if version >= 3:
            width = max(1, (size.bit_length() + 7) // 8)
            offset = int.from_bytes(data[at : at + width], "little")
            at += width
        else:
            (offset,) = struct.unpack_from("<I", data, at)
            at += 4
        dims: tuple[int, ...] = ()
        if version == 1:
            rank = data[at]
            if rank > 4:
                raise ValueError(f"a field of {rank} dimensions")
            dims = struct.unpack_from("<4I", data, at + 12)[:rank]
            at += 28
        kind, used = parse(data[at:], depth + 1)
        at += used
        if dims:
            kind = Type("array", kind.size * int(np.prod(dims, dtype=object)), base=kind, dims=dims)
        if offset + kind.size > size or not kind.size:
            raise ValueError(f"the field {name!r} lies outside of its record")
        fields.append((name, offset, kind))
    if len({name for name, _, _ in fields}) != len(fields) or not fields:
        raise ValueError("a record without fields, or with two of one name")
    return Type("record", size, fields=tuple(fields)), at


def _enum(data: bytes, size: int, count: int, version: int, depth: int) -> tuple[Type, int]:
    base, used = parse(data[8:], depth + 1)
    at, names = 8 + used, []
    for _ in range(count):
        name, at = _name(data, at, version < 3)
        names.append(name)
    values = [data[at + k * base.size : at + (k + 1) * base.size] for k in range(count)]
    at += count * base.size
    if size == 1 and dict(zip(names, values)) == {"FALSE": b"\0", "TRUE": b"\1"}:
        return Type("bool", 1), at
    return base, at  # what it numbers


def _array(data: bytes, size: int, version: int, depth: int) -> tuple[Type, int]:
    rank = data[8]
    at = 9 if version >= 3 else 12
    dims = struct.unpack_from(f"<{rank}I", data, at)
    at += 4 * rank * (2 if version < 3 else 1)
    base, used = parse(data[at:], depth + 1)
    if int(np.prod(dims, dtype=object)) * base.size != size or not size:
        raise ValueError(f"an array type of {dims} elements of {base.size} bytes takes {size} bytes")
    return Type("array", size, base=base, dims=dims), at + used
