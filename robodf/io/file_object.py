"""A file of ours as Python's own file objects are, for libraries that read one."""

from __future__ import annotations

import io
import os

from robodf.io.files import FileReader, StorageOptions, open_file

NEAR, FAR = 64 << 10, 1 << 20
"""Bytes that are read at once of a local file and of a remote one: each read of the latter is a request."""


class FileObject(io.RawIOBase):
    """A file that is read and sought, at any offset; what it reads is counted as that of any reader."""

    def __init__(self, file: FileReader):
        self._file = file
        self._at = 0
        self.name = file.path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: a position before the file begins")
        self._at = base + offset
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._file.size - self._at))
        if count:
            view[:count] = self._file.read_at(self._at, count)
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def open_object(path: str, storage: StorageOptions = None, block: int | None = None) -> io.BufferedReader:
    """Open a file as an object with read, seek and tell. Close it, best with `with`.

    >>> import pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.bin")
    >>> _ = name.write_bytes(b"0123456789")
    >>> with open_object(str(name)) as file:
    ...     _ = file.seek(7)
    ...     file.read()
    b'789'
    """
    from robodf.io.counting import read

    file = open_file(path, storage)
    file.counter = read
    return io.BufferedReader(FileObject(file), block or (FAR if file.local is None else NEAR))
