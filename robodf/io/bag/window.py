"""Reading a file from record to record in few reads."""

from __future__ import annotations

from robodf.io.bag.records import BadRecord, Head, header_length, read_head
from robodf.io.files import FileReader

_BLOCK = 64 << 10
_LARGEST_BLOCK = 4 << 20


class Window:
    """Blocks of the file, larger while they follow each other, small after a jump; `first` is the size of the first."""

    def __init__(self, file: FileReader, first: int = _BLOCK):
        self._file = file
        self._block = first
        self._first = first
        self.data = b""
        self.base = -1

    def at(self, offset: int, need: int) -> tuple[bytes, int]:
        """A buffer, and the position in it from which it holds `need` bytes of the file's `offset`."""
        i = offset - self.base
        if self.base < 0 or i < 0 or i + need > len(self.data):
            if self.base >= 0:
                follows = 0 <= i <= len(self.data)
                self._block = min(self._block * 2, _LARGEST_BLOCK) if follows else min(self._first, _BLOCK)
            length = min(max(need, self._block), self._file.size - offset)
            self.data, self.base, i = self._file.read_at(offset, length), offset, 0
        return self.data, i

    def head(self, offset: int) -> Head:
        """The header of the record at `offset`, in a buffer that need not hold its data; BadRecord where it is none."""
        left = self._file.size - offset
        if left < 4:
            raise BadRecord(f"the file ends after {left} bytes of it")
        data, i = self.at(offset, 4)
        need = 8 + header_length(data, i)
        if need > left:
            raise BadRecord(f"the file ends after {left} bytes of it")
        data, i = self.at(offset, need)
        return read_head(data, i, i + need)

    def record(self, offset: int, largest: int) -> Head:
        """As `head`, with all of its data in the buffer: at most `largest` bytes."""
        head = self.head(offset)
        size = head.data + head.length - (offset - self.base)
        left = self._file.size - offset
        if size > left:
            raise BadRecord(f"it has {size} bytes, but the file ends after {left}")
        if size > largest:
            raise BadRecord(f"it has {size} bytes, more than the {largest} that are read")
        data, i = self.at(offset, size)
        return read_head(data, i, i + size)
