"""Thrift's compact protocol, as far as the structures of a Parquet file need it: they say how their pages lie."""

from __future__ import annotations

from typing import Any

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DEEPEST = 16  # structs in each other: those of Parquet end at 5


class Cut(ValueError):
    """The bytes end inside a structure."""


class Compact:
    """Values of a buffer, one after the other; `at` is where the next one begins.

    ValueError for what no writer makes, `Cut` where there are too few bytes.

    >>> Compact(bytes([0x15, 0x06, 0x19, 0x25, 0x02, 0x04, 0x00])).struct()
    {1: 3, 2: [1, 2]}
    """

    def __init__(self, data: bytes | memoryview, at: int = 0):
        self._data = data
        self.at = at

    def varint(self) -> int:
        data, at, found, shift = self._data, self.at, 0, 0
        try:
            while True:
                byte = data[at]
                at += 1
                found |= (byte & 0x7F) << shift
                if byte < 0x80:
                    self.at = at
                    return found
                shift += 7
                if shift > 63:
                    raise ValueError("a number of more than 64 bits")
        except IndexError:
            raise Cut("ends inside a number") from None

    def number(self) -> int:
        """A signed number of any width."""
        found = self.varint()
        return (found >> 1) ^ -(found & 1)

    def struct(self, depth: int = 0, field: int = 0) -> dict[int, Any]:
        """The fields of a struct after `field`, by their numbers: numbers, bytes, booleans, lists, structs again."""
        if depth > _DEEPEST:
            raise ValueError("structs in structs without end")
        found: dict[int, Any] = {}
        while head := self._byte():
            kind = head & 15
            field = field + (head >> 4) if head >> 4 else self.number()
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self.number()
        if kind == _BINARY:
            return self._bytes(self.varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind in (_TRUE, _FALSE, _BYTE):  # of a list: a byte each
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise ValueError(f"a field of type {kind}")  # maps are in none of the structures of Parquet

    def _list(self, depth: int) -> list:
        head = self._byte()
        size = head >> 4 if head >> 4 < 15 else self.varint()
        if size > len(self._data) - self.at:  # each item has a byte at least
            raise Cut("ends inside a list")
        return [self._value(head & 15, depth) for _ in range(size)]

    def _byte(self) -> int:
        try:
            found = self._data[self.at]
        except IndexError:
            raise Cut("ends inside a struct") from None
        self.at += 1
        return found

    def _bytes(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise Cut("ends inside a text")
        start, self.at = self.at, self.at + size
        return bytes(self._data[start : self.at])
