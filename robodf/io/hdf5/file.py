"""The bytes of an HDF5 file: where they start, pieces at addresses, and equal pieces at many addresses at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from types import TracebackType

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.counting import read as counter
from robodf.io.files import StorageOptions, open_file

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
"""The address of what is not there."""

_BLOCK, _BLOCKS = 256 << 10, 64  # of a remote file: each read is a request
_NEAR, _RUN = 64 << 10, 8 << 20  # pieces of a remote file that lie nearer are read together, up to so much


class Hdf5File:
    """An open file. Addresses are relative to its superblock, as they stand in the file.

    FileFormatError where it is no HDF5 file, or one of a kind that nobody writes (addresses of other than 8 bytes).
    """

    def __init__(self, path: str, storage: StorageOptions = None):
        self.path = path
        self._file = open_file(path, storage)
        self._file.counter = counter
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        self.base, self.size = 0, self._file.size
        start = 0
        while start + 48 <= self.size:
            head = self.read(start, 48)
            if head[:8] == SIGNATURE:
                break
            start = max(512, 2 * start)
        else:
            raise FileFormatError(f"{self.path}: not an HDF5 file: no superblock at offset 0, 512, 1024, ...")
        version = head[8]
        word = lambda data, at: int.from_bytes(data[at : at + 8], "little")  # noqa: E731
        sizes = head[13:15] if version < 2 else head[9:11]
        if version > 3 or sizes != b"\x08\x08":
            raise FileFormatError(
                f"{self.path}: superblock of version {version} with addresses and lengths of {sizes[0]} and {sizes[1]} "
                "bytes; versions 0 to 3 with 8 and 8 bytes are read"
            )
        self.leaf_k, self.node_k, self.chunk_k = 4, 16, 32
        if version < 2:
            self.leaf_k = int.from_bytes(head[16:18], "little")
            self.node_k = int.from_bytes(head[18:20], "little")
            at = 24
            if version == 1:
                self.chunk_k = int.from_bytes(head[24:26], "little")
                at = 28
            rest = self.read(start, at + 48)
            base, self.root = word(rest, at), word(rest, at + 40)
        else:
            base, self.root = word(head, 12), word(head, 36)
        if base != start:
            raise FileFormatError(f"{self.path}: the superblock at offset {start} says that it is at {base}")
        self.base = base
        self.size -= base
        if not (0 < self.leaf_k <= 4096 and 0 < self.node_k <= 4096 and 0 < self.chunk_k <= 4096):
            raise FileFormatError(f"{self.path}: impossible sizes of tree nodes in the superblock at offset {start}")

    def bad(self, address: int, what: str) -> FileFormatError:
        """The error for what stands at an address."""
        return FileFormatError(f"{self.path}: at offset {address + self.base}: {what}")

    def read(self, address: int, length: int) -> bytes:
        """Exactly these bytes; of a remote file through blocks that are kept."""
        at = address + self.base
        if self._file.local is not None or at < 0 or at + length > self._file.size or length > _BLOCK:
            return self._file.read_at(at, length)
        first, last = at // _BLOCK, max(at, at + length - 1) // _BLOCK
        data = b"".join(self._block(k) for k in range(first, last + 1))
        return data[at - first * _BLOCK :][:length]

    def _block(self, number: int) -> bytes:
        with self._lock:
            found = self._blocks.get(number)
            if found is not None:
                self._blocks.move_to_end(number)
                return found
        data = self._file.read_at(number * _BLOCK, min(_BLOCK, self._file.size - number * _BLOCK))
        with self._lock:
            self._blocks[number] = data
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        return data

    def up_to(self, address: int, length: int) -> bytes:
        """These bytes, or as many of them as the file has."""
        return self.read(address, max(0, min(length, self.size - address)))

    def gather(self, addresses: np.ndarray, length: int) -> np.ndarray:
        """Pieces of one length at many addresses: uint8 (n, length)."""
        out = np.empty((len(addresses), length), np.uint8)
        self.fill(addresses, np.full(len(addresses), length, np.int64), out)
        return out

    def fill(self, addresses: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        """Pieces at many addresses, one after the other, into `out`, which has room for just these."""
        if not len(addresses):
            return
        # Checked in Python's integers, or an address near 2**64 would wrap.
        wrong = (addresses < 0) | (lengths < 0) | (lengths > self.size) | (addresses > self.size - lengths)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise self.bad(int(addresses[k]), f"{int(lengths[k])} bytes are needed, but the file has {self.size}")
        view = memoryview(out.reshape(-1).view(np.uint8))
        places = addresses.astype(np.int64) + self.base
        if self._file.local is not None:
            self._file.read_into(places.tolist(), lengths.tolist(), view)
            return
        targets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        order = np.argsort(places, kind="stable")
        held, start = b"", 0
        k = 0
        for i in order.tolist():
            at, length = int(places[i]), int(lengths[i])
            if not (start <= at and at + length <= start + len(held)):
                end, j = at + length, k
                while j + 1 < len(order):
                    follows = int(places[order[j + 1]])
                    further = max(end, follows + int(lengths[order[j + 1]]))
                    if follows > end + _NEAR or further - at > _RUN:
                        break
                    end, j = further, j + 1
                start, held = at, self._file.read_at(at, end - at)
            view[targets[i] : targets[i] + length] = held[at - start : at - start + length]
            k += 1

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
