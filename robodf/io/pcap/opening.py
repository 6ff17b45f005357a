"""Captures that are opened, and packets of theirs that are read again by where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from robodf.io.files import FileReader, StorageOptions, open_file
from robodf.io.pcap.capture import Packets

if TYPE_CHECKING:
    from numpy.typing import NDArray


def open_capture(path: str, storage: StorageOptions) -> FileReader:
    """The file, whose reads are counted."""
    from robodf.io.counting import read

    file = open_file(path, storage)
    file.counter = read
    return file


def packets_at(
    file: FileReader, offset: NDArray, captured: NDArray, links: NDArray, at_once: int, gap: int
) -> Iterator[Packets]:
    """Packets of ascending offsets, those near to each other by one read; without times and lengths."""
    offset, captured, links = (np.asarray(a, np.int64) for a in (offset, captured, links))
    ends = offset + captured
    first = 0
    while first < len(offset):
        last = first + 1
        # As far as they are near: the next far one, or the one that is too many.
        far = np.flatnonzero(offset[first + 1 :] - ends[first:-1] > gap)
        last = first + 1 + (int(far[0]) if len(far) else len(offset) - first - 1)
        last = max(first + 1, min(last, int(np.searchsorted(ends, offset[first] + at_once, "right"))))
        base = int(offset[first])
        buffer = file.read_at(base, int(ends[last - 1]) - base)
        none = np.zeros(last - first, np.int64)
        yield Packets(base, buffer, offset[first:last] - base, captured[first:last], none, none, links[first:last])
        first = last
