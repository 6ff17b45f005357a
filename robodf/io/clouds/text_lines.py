"""The lines of the text part of a cloud file, in blocks, with their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from robodf.errors import FileFormatError

if TYPE_CHECKING:
    from robodf.io.files import FileReader

_BLOCK = 4 << 20
_LONGEST = 1 << 20  # bytes of a line


def lines(file: FileReader, offset: int, first: int) -> Iterator[list[tuple[int, list[bytes]]]]:
    """The words of the lines from an offset on, whose first line has the number `first`; blank lines are left out."""
    rest, number = b"", first
    while offset < file.size:
        block = file.read_at(offset, min(_BLOCK, file.size - offset))
        offset += len(block)
        whole = rest + block
        # A block may end between \r and \n.
        held = b"\r" if whole.endswith(b"\r") and offset < file.size else b""
        found = whole[: len(whole) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest = found.pop() + held if offset < file.size else b""
        if len(rest) > _LONGEST:
            raise FileFormatError(f"{file.path}: line {number + len(found)} is longer than {_LONGEST} bytes")
        yield [(number + k, words) for k, line in enumerate(found) if (words := line.split())]
        number += len(found)
