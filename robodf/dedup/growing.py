"""An array of unknown length, in memory while it is small and in a file after that."""

from __future__ import annotations

import os
import tempfile
from io import FileIO
from typing import Any, cast

import numpy as np

IN_MEMORY = 256 << 20
"""Bytes that the arrays of one dedup have in memory; what grows beyond lies in files."""


class Budget:
    """How many bytes several arrays may have in memory together."""

    def __init__(self, most: int = IN_MEMORY):
        self.left = most

    def takes(self, size: int) -> bool:
        """Whether there is room for so many more bytes, which are taken then."""
        if size > self.left:
            self.left = 0  # what comes after it goes to files too, or small arrays would be cut in many
            return False
        self.left -= size
        return True


class Growing:
    """Arrays one after the other as one array.

    Where the budget ends all of it goes to a file without a name in the folder of temporary files: the system drops its
    pages from memory where it needs the room, and the file itself when the array is gone or the process ends, however
    it ends.

    Where few arrays grow much, `whole=True` sets aside the whole budget at once, of which the system gives what is
    written to: then nothing is copied at the end.

    Examples:
        >>> growing = Growing(np.uint64)
        >>> growing.append(np.arange(3))
        >>> growing.append(np.arange(2))
        >>> growing.finish().tolist()
        [0, 1, 2, 0, 1]
    """

    def __init__(self, dtype: Any, budget: Budget | None = None, whole: bool = False):
        self._dtype = np.dtype(dtype)
        self._budget = budget or Budget()
        self._whole = np.empty(self._budget.left // self._dtype.itemsize, self._dtype) if whole else None
        self._parts: list[np.ndarray] = []
        self._bytes = 0
        self._file: FileIO | None = None

    def __len__(self) -> int:
        return self._bytes // self._dtype.itemsize

    def append(self, values: np.ndarray) -> None:
        """Add an array of one dimension.

        Raises:
            OSError: the folder of temporary files has no room: the message names it.
        """
        if values.ndim != 1:
            raise ValueError(f"an array of one dimension is expected, not of {values.ndim}")
        if not values.size:
            return
        self._bytes += values.size * self._dtype.itemsize
        if self._file is None and self._budget.takes(values.size * self._dtype.itemsize):
            # A copy, as it may be a part of a larger array, or be written to.
            if self._whole is None:
                self._parts.append(np.array(values, self._dtype))
            else:
                end = len(self)
                self._whole[end - values.size : end] = values
                self._parts = [self._whole[:end]]
            return
        for part in (*self._parts, np.ascontiguousarray(values, self._dtype)):
            self._write(part)
        self._parts = []
        self._whole = None

    def finish(self) -> np.ndarray:
        """All of it as one array that cannot be written to; nothing can be appended after that."""
        if self._whole is not None:
            whole = self._whole[: len(self)]
            self._whole = None
        elif self._file is None:
            whole = np.empty(len(self), self._dtype)
            first = 0
            while self._parts:  # each is freed once it is copied
                part = self._parts.pop(0)
                whole[first : first + part.size] = part
                first += part.size
        else:
            try:
                self._file.flush()
            except OSError as error:
                raise self._full(error) from error
            kept = os.fstat(self._file.fileno()).st_size
            if kept != self._bytes:  # reading past its end would end the process
                raise OSError(
                    f"a temporary file in {tempfile.gettempdir()} has {kept} bytes, {self._bytes} were written"
                )
            # A plain array of it: compiled code takes no other.
            whole = np.asarray(np.memmap(self._file, self._dtype, "r"))
            self._file.close()
        whole.setflags(write=False)
        return whole

    def _write(self, values: np.ndarray) -> None:
        try:
            if self._file is None:
                # Without a buffer of Python's: that would try once more where the disk is full, when it is dropped.
                self._file = cast(FileIO, tempfile.TemporaryFile(buffering=0, prefix="robodf-"))  # noqa: SIM115
            left = values.view(np.uint8).data
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            if self._file is not None:
                self._file.close()
            raise self._full(error) from error

    def _full(self, error: OSError) -> OSError:
        return OSError(
            error.errno,
            f"{error.strerror or error}: {self._bytes:,} bytes do not go into a file in {tempfile.gettempdir()}; "
            "set TMPDIR to a folder with more room",
        )
