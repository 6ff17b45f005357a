"""The bytes of an HDF5 file: where they start, pieces at addresses, and equal pieces at many addresses at once."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from types import TracebackType

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.counting import read as counter
from robodf.io.files import StorageOptions, open_file

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
"""The address of what is not there."""

_BLOCK, _BLOCKS = 8 << 10, 4096  # headers, trees and names lie near each other: few reads serve many of them
_FAR_BLOCK, _FAR_BLOCKS = 256 << 10, 128  # of a remote file: each read is a request
_POOL_BLOCK, _MOST_POOL = 2 << 10, 256 << 20  # of what `gather` reads, at places all over the file
_RUN_BLOCKS = 32  # of a remote file that are read at once at most


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
        far = self._file.local is None
        self._block_size, self._most_blocks = (_FAR_BLOCK, _FAR_BLOCKS) if far else (_BLOCK, _BLOCKS)
        self._pool, self._pool_block = np.empty(0, np.uint8), _FAR_BLOCK if far else _POOL_BLOCK
        self._held = self._slots = np.empty(0, np.int64)  # numbers of blocks in the pool, ascending; where they are
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
        """Exactly these bytes, through blocks that are kept where they are few."""
        at, block = address + self.base, self._block_size
        if at < 0 or at + length > self._file.size or length > block:
            return self._file.read_at(at, length)
        first, last = at // block, max(at, at + length - 1) // block
        data = self._block(first) if first == last else self._block(first) + self._block(last)
        start = at - first * block
        return data[start : start + length]

    def _block(self, number: int) -> bytes:
        with self._lock:
            found = self._blocks.get(number)
        if found is not None:
            return found
        block = self._block_size
        data = self._file.read_at(number * block, min(block, self._file.size - number * block))
        with self._lock:
            self._blocks[number] = data
            if len(self._blocks) > self._most_blocks:
                self._blocks.popitem(last=False)
        return data

    def up_to(self, address: int, length: int) -> bytes:
        """These bytes, or as many of them as the file has."""
        return self.read(address, max(0, min(length, self.size - address)))

    def gather(self, addresses: np.ndarray, length: int) -> np.ndarray:
        """Pieces of one length at many addresses: uint8 (n, length). What lies near them is kept for the next call."""
        lengths = np.full(len(addresses), length, np.int64)
        self._refuse(addresses, lengths)
        block = self._pool_block
        at = addresses.astype(np.int64) + self.base
        first, last = at // block, (at + max(length, 1) - 1) // block
        wanted = np.unique(np.concatenate([first, last]))
        if length > block or not len(addresses) or not self._hold(wanted):
            out = np.empty((len(addresses), length), np.uint8)
            self.fill(addresses, lengths, out)
            return out
        # Nearly all that HDF5 writes begins at a multiple of eight: then eight bytes are taken at once.
        word = 8 if length % 8 == 0 and not (at % 8).any() else 1
        inside = (at - first * block)[:, None] + np.arange(0, length, word)
        places = self._place(first)[:, None] + inside
        over = (last != first).nonzero()[0]
        if len(over):  # what lies in the block after
            follows = self._place(last[over])[:, None] + inside[over] - block
            places[over] = np.where(inside[over] < block, places[over], follows)
        found = self._pool.view(f"u{word}")[places // word if word > 1 else places]
        return found.view(np.uint8).reshape(len(addresses), length)

    def _place(self, blocks: np.ndarray) -> np.ndarray:
        return self._slots[np.searchsorted(self._held, blocks)] * self._pool_block

    def _hold(self, wanted: np.ndarray) -> bool:
        """Have these blocks in the pool, if they fit."""
        block = self._pool_block
        missing = np.setdiff1d(wanted, self._held, assume_unique=True)
        if not len(missing):
            return True
        if not len(self._pool):
            most = min(_MOST_POOL // block, self._file.size // block + 1)
            self._pool = np.empty(most * block, np.uint8)  # of which only what is used takes memory
        used = len(self._held)
        if (used + len(missing)) * block > len(self._pool):
            return False
        cut = np.nonzero(np.diff(missing) != 1)[0] + 1
        first = np.concatenate([[0], cut])
        starts = missing[first] * block
        lengths = np.minimum((np.concatenate([cut, [len(missing)]]) - first) * block, self._file.size - starts)
        # Only the last block of a file is not full, and it is the last of these.
        self._fill(starts, lengths, self._pool[used * block : used * block + int(lengths.sum())])
        held = np.concatenate([self._held, missing])
        slots = np.concatenate([self._slots, np.arange(used, used + len(missing))])
        order = np.argsort(held, kind="stable")
        self._held, self._slots = held[order], slots[order]
        return True

    def _refuse(self, addresses: np.ndarray, lengths: np.ndarray) -> None:
        """FileFormatError for pieces that are not in the file. Addresses are compared unsigned: none wraps."""
        wrong = (addresses < 0) | (lengths < 0) | (lengths > self.size) | (addresses > self.size - lengths)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise self.bad(int(addresses[k]), f"{int(lengths[k])} bytes are needed, but the file has {self.size}")

    def fill(self, addresses: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        """Pieces at many addresses, one after the other, into `out`, which has room for just these."""
        self._refuse(addresses, lengths)
        if out.size:
            self._fill(addresses.astype(np.int64) + self.base, lengths, out)

    def _fill(self, places: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        view = memoryview(out.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        if self._file.local is not None:
            self._file.read_into(places.tolist(), lengths.tolist(), view)
            return
        targets = (np.cumsum(lengths) - lengths).tolist()
        order = np.argsort(places, kind="stable")
        # Columns lie between each other: blocks that one needs are there for the next.
        block = self._block_size
        wanted = np.unique(np.concatenate([places // block, (places + np.maximum(lengths, 1) - 1) // block])).tolist()
        for i in order.tolist():
            at, length, target = int(places[i]), int(lengths[i]), targets[i]
            if length > block:
                view[target : target + length] = self._file.read_at(at, length)
            elif length:
                first, last = at // block, (at + length - 1) // block
                data = b"".join(self._far_block(k, wanted) for k in range(first, last + 1))
                view[target : target + length] = data[at - first * block :][:length]

    def _far_block(self, number: int, wanted: list[int]) -> bytes:
        """A block of a remote file, read together with those wanted that follow it closely."""
        with self._lock:
            found = self._blocks.get(number)
            if found is not None:
                return found
            end = number
            for follows in wanted[bisect_right(wanted, number) :]:
                if follows > end + 2 or follows in self._blocks or follows - number >= _RUN_BLOCKS:
                    break
                end = follows
        block, start = self._block_size, number * self._block_size
        data = self._file.read_at(start, min((end + 1 - number) * block, self._file.size - start))
        with self._lock:
            for k in range(number, end + 1):
                self._blocks[k] = data[(k - number) * block :][:block]
            while len(self._blocks) > self._most_blocks:
                self._blocks.popitem(last=False)
        return data[:block]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
