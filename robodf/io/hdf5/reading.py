"""Rows of datasets: which bytes of the file they are, each chunk read and decompressed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.counting import read as counter
from robodf.io.hdf5.alike import Alike
from robodf.io.hdf5.chunks import Chunk, Places, chunk_bytes, places
from robodf.io.hdf5.file import UNDEFINED, Hdf5File
from robodf.io.hdf5.filters import RATIO, problem, undo
from robodf.io.hdf5.objects import Dataset

_NEAR = 4096  # rows of a file that lie nearer are read together
_LARGEST = 1 << 32  # bytes of a chunk, as HDF5 itself limits them

BATCH_BYTES, BATCH_ROWS = 32 << 20, 1 << 18
"""How much is read at once."""

MOST_ROWS = 1 << 31
_NEVER_WRITTEN = 1 << 20  # rows of a dataset without chunks that are believed

Make = Callable[[np.ndarray, Dataset], pl.Series]
Tell = Callable[[int, FileFormatError], None]


def believable(file: Hdf5File, found: Dataset) -> int:
    """The rows of a dataset; FileFormatError where its data cannot hold so many."""
    held = found.rows
    if found.problem or not held:
        return held
    if found.layout.kind == "contiguous" and found.layout.address != UNDEFINED:
        held = file.size // max(found.row_bytes, 1)
    elif found.layout.kind == "compact":
        held = len(found.layout.data) // max(found.row_bytes, 1)
    elif held > BATCH_ROWS or found.layout.kind == "contiguous":
        there = places(file, found) if found.layout.kind == "chunked" else {}
        held = max(len({at[0] for at in there}) * (found.layout.chunk or (1,))[0], _NEVER_WRITTEN)
    if found.rows > held or (held > MOST_ROWS and found.rows > MOST_ROWS):
        raise file.bad(found.address, f"a dataset says that it has {found.rows} rows, but only {held} can be there")
    return found.rows


class RowReader:
    """Rows of one path in many groups (episodes), asked for in ascending order, batch by batch.

    What is damaged goes to `tell(episode, error)`, which raises or notes it: then these rows are null.
    """

    def __init__(self, file: Hdf5File, path: str, found: Alike, make: Make, wanted: pl.DataType, tell: Tell,
                 pool: ThreadPoolExecutor | None = None):  # fmt: skip
        self._file, self._path, self._found = file, path, found
        self._make, self._wanted, self._tell, self._pool = make, wanted, tell, pool
        self._index: tuple[int, Places] = -1, {}  # of the dataset that was read last
        self._kept: dict[
            tuple[int, int], dict[tuple[int, ...], bytes]
        ] = {}  # chunks that hold more rows than were asked

    @property
    def row_bytes(self) -> int:
        if self._found.like is not None:
            return self._found.like.row_bytes
        return max((d.row_bytes for d in self._found.others.values() if d is not None and d.shape), default=1)

    def read(self, episodes: np.ndarray, steps: np.ndarray, lengths: np.ndarray) -> pl.Series:
        """The values at these steps of these episodes, each of which has `lengths[episode]` steps."""
        parts = [self._piece(e, s, lengths) for e, s in self._pieces(episodes, steps)]
        if not parts:
            return pl.Series(values=[], dtype=self._wanted)
        return pl.concat(parts, rechunk=False) if len(parts) > 1 else parts[0]

    def _pieces(self, episodes: np.ndarray, steps: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Runs of episodes that are alike, and each of the others on its own."""
        if not len(episodes):
            return
        apart = self._found.others.keys() | self._found.broken.keys()
        if not apart or episodes[0] == episodes[-1]:
            yield episodes, steps
            return
        odd = np.isin(episodes, np.fromiter(apart, np.int64, len(apart)))
        cut = np.nonzero((np.diff(episodes) != 0) & (odd[1:] | odd[:-1]))[0] + 1
        yield from zip(np.split(episodes, cut), np.split(steps, cut))

    def _piece(self, episodes: np.ndarray, steps: np.ndarray, lengths: np.ndarray) -> pl.Series:
        first = int(episodes[0])
        try:
            found = self._found[first]
            if found is None:
                return pl.Series(values=[None], dtype=self._wanted).new_from_index(0, len(steps))
            self._check(found)
            if first not in self._found.others:
                wrong = self._found.rows[episodes] != lengths[episodes]
                if wrong.any():
                    return self._apart(episodes, steps, lengths)
                if found.layout.kind == "contiguous":
                    return self._made(self._contiguous(found, self._found.places, episodes, steps), found)
            elif found.rows != lengths[first]:
                raise FileFormatError(
                    f"{self._file.path}: the dataset {self._path!r} of this episode has {found.rows} rows, "
                    f"but the episode has {lengths[first]} steps"
                )
            return self._made(self._of(found, episodes, steps), found)
        except FileFormatError as error:
            if len(episodes) and episodes[-1] != first:
                return self._apart(episodes, steps, lengths)
            self._tell(first, error)
            return pl.Series(values=[None], dtype=self._wanted).new_from_index(0, len(steps))

    def _apart(self, episodes: np.ndarray, steps: np.ndarray, lengths: np.ndarray) -> pl.Series:
        """Episode by episode, so that only the damaged ones are lost."""
        cut = np.nonzero(np.diff(episodes))[0] + 1
        parts = []
        for e, s in zip(np.split(episodes, cut), np.split(steps, cut)):
            k = int(e[0])
            rows = int(self._found.rows[k])
            if rows != lengths[k] and k not in self._found.others:
                self._tell(k, FileFormatError(
                    f"{self._file.path}: the dataset {self._path!r} of this episode has {rows} rows, "
                    f"but the episode has {lengths[k]} steps"
                ))  # fmt: skip
                parts.append(pl.Series(values=[None], dtype=self._wanted).new_from_index(0, len(s)))
            else:
                parts.append(self._piece(e, s, lengths))
        return pl.concat(parts, rechunk=False)

    def _check(self, found: Dataset) -> None:
        why = found.problem or (problem(found.filters) if found.layout.kind == "chunked" else "")
        if why:
            raise FileFormatError(f"{self._file.path}: the dataset {self._path!r} cannot be read: {why}")
        if found.row_bytes > max(self._file.size * RATIO, 1 << 20):
            raise FileFormatError(
                f"{self._file.path}: the dataset {self._path!r} has rows of {found.row_bytes} bytes, "
                f"more than a file of {self._file.size} bytes can hold"
            )

    def _made(self, raw: np.ndarray, found: Dataset) -> pl.Series:
        series = self._make(raw, found)
        if series.dtype == self._wanted:
            return series
        if _widens(series.dtype, self._wanted):
            return series.cast(self._wanted)
        raise FileFormatError(
            f"{self._file.path}: the dataset {self._path!r} is {series.dtype} here and {self._wanted} elsewhere"
        )

    def _of(self, found: Dataset, episodes: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The bytes of rows, (rows, bytes of a row)."""
        layout = found.layout
        if layout.kind == "contiguous":
            return self._one_contiguous(found, steps)
        if layout.kind == "compact":
            if len(layout.data) < found.rows * found.row_bytes:
                raise self._file.bad(found.address, f"the dataset {self._path!r} is cut off")
            whole = np.frombuffer(layout.data, np.uint8, found.rows * found.row_bytes)
            return whole.reshape(found.rows, found.row_bytes)[steps]
        return self._chunked(episodes, steps)

    def _one_contiguous(self, found: Dataset, steps: np.ndarray) -> np.ndarray:
        layout, row = found.layout, found.row_bytes
        if layout.address == UNDEFINED:
            return _filled(found, len(steps))
        total = found.rows * row
        if (layout.bytes >= 0 and layout.bytes < total) or layout.address > self._file.size - min(
            total, self._file.size
        ):
            raise self._file.bad(found.address, f"the dataset {self._path!r} needs {total} bytes, which are not there")
        return self._contiguous(found, np.array([layout.address], np.uint64), np.zeros(len(steps), np.int64), steps)

    def _contiguous(self, found: Dataset, at: np.ndarray, episodes: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Rows that lie one after the other: a read for each run of them, or of nearly all of a run."""
        row = found.row_bytes
        gap = np.diff(steps)
        cut = (np.diff(episodes) != 0) | ((gap - 1) * row > _NEAR)
        first = np.concatenate([[0], np.nonzero(cut)[0] + 1])
        last = np.concatenate([first[1:] - 1, [len(steps) - 1]])
        counts = steps[last] - steps[first] + 1
        out = np.empty((int(counts.sum()), row), np.uint8)
        addresses = at[episodes[first]] + (steps[first] * row).astype(np.uint64)
        self._file.fill(addresses, counts * row, out)
        if len(out) == len(steps):
            return out
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        inside = np.repeat(starts - steps[first], last - first + 1)
        return out[steps + inside]

    # -- chunks -----------------------------------------------------------------------------------------------

    def _chunked(self, episodes: np.ndarray, steps: np.ndarray) -> np.ndarray:
        cut = np.concatenate([[0], np.nonzero(np.diff(episodes))[0] + 1, [len(episodes)]])
        which = episodes[cut[:-1]]
        first = self._found[int(which[0])]
        assert first is not None
        out = np.empty((len(steps), first.row_bytes), np.uint8)
        jobs: list[Callable[[], None]] = []
        done = self._whole(first, which, cut, steps, out, jobs) if len(which) > 8 else np.zeros(len(which), bool)
        found = first
        for k in np.nonzero(~done)[0].tolist():
            low, high = int(cut[k]), int(cut[k + 1])
            one = self._found[int(which[k])]
            assert one is not None
            found = one
            self._of_episode(int(which[k]), one, steps[low:high], out[low:high], jobs)
        last = int(episodes[-1]), int(steps[-1]) // found.layout.chunk[0]
        self._kept = {key: value for key, value in self._kept.items() if key == last}
        self._run(jobs)
        return out

    def _whole(self, like: Dataset, which: np.ndarray, cut: np.ndarray, steps: np.ndarray, out: np.ndarray,
               jobs: list[Callable[[], None]]) -> np.ndarray:  # fmt: skip
        """The episodes that are one chunk each, as short ones are: their indexes and chunks are read together.

        Not the first and the last one, whose chunks may hold rows of the batch before or after this one.
        """
        done = np.zeros(len(which), bool)
        if like.layout.index != "tree" or like.layout.chunk[1:] != like.item:
            return done
        rank = len(like.layout.chunk)
        entry = 8 + 8 * (rank + 1)
        left = np.arange(1, len(which) - 1)
        left = left[self._found.chunk_rows[which[left]] >= self._found.rows[which[left]]]
        address = self._found.places[which[left]]
        left = left[address <= np.uint64(max(0, self._file.size - 32 - entry))]
        if not len(left):
            return done
        node = self._file.gather(self._found.places[which[left]], 32 + entry)
        one = np.frombuffer(b"TREE\1\0\1\0", np.uint8)
        key = np.ascontiguousarray(node[:, 24:]).view("<u8").reshape(len(left), -1)
        sizes, skipped = (key[:, 0] & 0xFFFF_FFFF).astype(np.int64), (key[:, 0] >> 32).astype(np.int64)
        child = key[:, -1]
        sound = (node[:, :8] == one).all(axis=1) & (key[:, 1:-1] == 0).all(axis=1) & (sizes > 0)
        sound &= child <= (self._file.size - np.minimum(sizes, self._file.size)).astype(np.uint64)
        left, sizes, skipped, child = left[sound], sizes[sound], skipped[sound], child[sound]
        raw = np.empty(int(sizes.sum()), np.uint8)
        self._file.fill(child, sizes, raw)
        counter.add(chunks=len(left))
        ends = np.cumsum(sizes)
        row = like.row_bytes
        for k, end, size, mark in zip(left.tolist(), ends.tolist(), sizes.tolist(), skipped.tolist()):
            low, high = int(cut[k]), int(cut[k + 1])
            episode = int(which[k])
            jobs.append(partial(
                self._one_chunk, like, raw[end - size : end], mark, int(self._found.chunk_rows[episode]) * row,
                int(self._found.places[episode]), steps[low:high], out[low:high],
            ))  # fmt: skip
        done[left] = True
        return done

    def _one_chunk(self, like: Dataset, raw: np.ndarray, skipped: int, size: int, address: int, steps: np.ndarray,
                   target: np.ndarray) -> None:  # fmt: skip
        data = np.frombuffer(self._undone(like, raw.tobytes(), skipped, size, address), np.uint8)
        target[...] = (
            data.reshape(-1, like.row_bytes)[int(steps[0]) : int(steps[-1]) + 1]
            if (int(steps[-1]) - int(steps[0]) + 1 == len(steps))
            else data.reshape(-1, like.row_bytes)[steps]
        )

    def _run(self, jobs: list[Callable[[], None]]) -> None:
        if self._pool is None or len(jobs) < 2:
            for job in jobs:
                job()
            return

        def some(part: list[Callable[[], None]]) -> None:
            for job in part:
                job()

        size = max(1, min(64, len(jobs) // 4))
        waiting = [self._pool.submit(some, jobs[k : k + size]) for k in range(0, len(jobs), size)]
        for future in waiting:
            future.result()

    def _of_episode(self, k: int, found: Dataset, steps: np.ndarray, out: np.ndarray, jobs: list) -> None:
        if self._index[0] != k:
            self._index = k, places(self._file, found)
        index = self._index[1]
        chunk, item, size = found.layout.chunk, found.item, found.type.size
        grid = [-(-n // c) for n, c in zip(item, chunk[1:])]
        if math.prod(grid) > max(len(index), 1) and math.prod(grid) > 1 << 20:
            raise self._file.bad(found.address, f"the dataset {self._path!r} has {grid} chunks in a row")
        numbers = steps // chunk[0]
        cut = [0, *(np.nonzero(np.diff(numbers))[0] + 1).tolist(), len(numbers)]
        plain = chunk[1:] == item
        shaped = out.reshape(len(out), *item, size)
        for low, high in pairwise(cut):
            number = int(numbers[low])
            rows = steps[low:high] - number * chunk[0]
            if len(rows) == rows[-1] - rows[0] + 1:
                rows = slice(int(rows[0]), int(rows[-1]) + 1)
            more = steps[high - 1] + 1 < min(found.rows, (number + 1) * chunk[0]) and high == len(steps)
            kept = self._kept.setdefault((k, number), {}) if more or (k, number) in self._kept else None
            for place in np.ndindex(*grid):
                at = (number, *place)
                if plain:
                    target = shaped[low:high]
                else:
                    edges = [slice(p * c, min((p + 1) * c, n)) for p, c, n in zip(place, chunk[1:], item)]
                    target = shaped[(slice(low, high), *edges)]
                if at not in index:
                    target[...] = np.frombuffer(found.fill or bytes(size), np.uint8)
                    continue
                jobs.append(_Job(self, found, index[at], at, rows, target, kept))

    def decoded(self, found: Dataset, chunk: Chunk) -> bytes:
        """The bytes of a chunk as they were before its filters."""
        counter.add(chunks=1)
        size = chunk_bytes(found)
        if size > _LARGEST:
            raise self._file.bad(chunk.address, f"a chunk of {size} bytes")
        return self._undone(found, self._file.read(chunk.address, chunk.bytes), chunk.skipped, size, chunk.address)

    def _undone(self, found: Dataset, raw: bytes, skipped: int, size: int, address: int) -> bytes:
        only_gzip = all(f.number < 32000 for f in found.filters)
        most = len(raw) * (RATIO if only_gzip else 1 << 15) + 4096 if found.filters else len(raw)
        if size > most:
            raise self._file.bad(address, f"a chunk of {size} bytes cannot come from {len(raw)}")
        try:
            return undo(raw, found.filters, skipped, size, found.type.size)
        except ValueError as error:
            raise self._file.bad(address, f"a chunk of the dataset {self._path!r}: {error}") from error


class _Job:
    """Some rows of one chunk into their place."""

    __slots__ = ("at", "chunk", "found", "kept", "reader", "rows", "target")

    def __init__(self, reader: RowReader, found: Dataset, chunk: Chunk, at: tuple[int, ...], rows: slice | np.ndarray,
                 target: np.ndarray, kept: dict[tuple[int, ...], bytes] | None):  # fmt: skip
        self.reader, self.found, self.chunk, self.at = reader, found, chunk, at
        self.rows, self.target, self.kept = rows, target, kept

    def __call__(self) -> None:
        data = self.kept.get(self.at) if self.kept is not None else None
        if data is None:
            data = self.reader.decoded(self.found, self.chunk)
            if self.kept is not None:
                self.kept[self.at] = data
        whole = np.frombuffer(data, np.uint8).reshape(*self.found.layout.chunk, self.found.type.size)
        clipped = tuple(slice(0, n) for n in self.target.shape[1:-1])
        self.target[...] = whole[(self.rows, *clipped)]


def _filled(found: Dataset, rows: int) -> np.ndarray:
    """Rows of a dataset that was never written."""
    element = found.fill or bytes(found.type.size)
    count = found.row_bytes // found.type.size
    return np.tile(np.frombuffer(element * count, np.uint8), (rows, 1))


def _widens(narrow: pl.DataType, wide: pl.DataType) -> bool:
    """Whether all values of one type of numbers, or of arrays of them, are values of another."""
    while isinstance(narrow, pl.Array) and isinstance(wide, pl.Array) and narrow.size == wide.size:
        narrow, wide = narrow.inner, wide.inner  # type: ignore[assignment]
    names = [str(t).lower() for t in (narrow, wide)]
    if not (narrow.is_numeric() and wide.is_numeric()):
        return False
    return np.can_cast(np.dtype(names[0]), np.dtype(names[1]), "safe")
