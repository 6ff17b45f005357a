"""What was read of files last, as long as it is small together."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values of at most `most` bytes together; the one that was not asked for longest goes first."""

    def __init__(self, most: int):
        self._most, self._size = most, 0
        self._found: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key not in self._found:
                return None
            self._found.move_to_end(key)
            return self._found[key][0]

    def put(self, key: Hashable, value: T, size: int) -> None:
        with self._lock:
            if key not in self._found:
                self._found[key] = value, size
                self._size += size
            while self._size > self._most:
                self._size -= self._found.popitem(last=False)[1][1]
