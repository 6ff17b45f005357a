"""Work of each kind in pure form, over rows made for it: what `robodf calibrate` runs on a core and on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from robodf.gpu.stored import KINDS


@dataclass(frozen=True)
class Workload:
    """A query of one kind of work and the bytes that go into it, as KINDS counts them."""

    kind: str
    query: pl.LazyFrame
    bytes: int


def workload(kind: str, rows: int, folder: Path) -> Workload:
    """The work of a kind over about so many rows, the same ones each time. `folder` is for a Parquet file.

    >>> import tempfile
    >>> [workload(kind, 1000, Path(tempfile.mkdtemp())).query.collect().height for kind in ("group", "join")]
    [100, 1000]
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    made = _MADE[kind](rows, np.random.default_rng(0), folder)
    return Workload(kind, *made)


Made = tuple[pl.LazyFrame, int]


def _decode(rows: int, rng: np.random.Generator, folder: Path) -> Made:
    path = folder / "decode.parquet"
    frame = _numbers(rows, rng).with_columns(few=pl.Series(rng.integers(0, 100, rows)))
    frame.write_parquet(path, row_group_size=1 << 20)
    return pl.scan_parquet(path), _size(frame)


def _row(rows: int, rng: np.random.Generator, folder: Path) -> Made:
    frame = _numbers(rows, rng)
    kept = frame.lazy().filter(pl.col("x") > 0.5)
    return kept.select(sum=pl.col("x") * 2 + pl.col("y"), least=pl.min_horizontal("x", "y")), _size(frame)


def _text(rows: int, rng: np.random.Generator, folder: Path) -> Made:
    words = np.array(["pick", "place", "open", "close", "the", "red", "green", "block", "drawer", "cup"])
    picked = words[rng.integers(0, len(words), (rows, 8))]
    frame = pl.DataFrame({f"w{k}": picked[:, k] for k in range(8)}).select(t=pl.concat_str(pl.all(), separator=" "))
    return frame.lazy().filter(pl.col("t").str.contains("red .*(drawer|cup)$")), _size(frame)


def _group(rows: int, rng: np.random.Generator, folder: Path) -> Made:
    return _grouped(rows, min(100, rows), rng)


def _group_many(rows: int, rng: np.random.Generator, folder: Path) -> Made:
    return _grouped(rows, max(1, rows // 10), rng)


def _grouped(rows: int, groups: int, rng: np.random.Generator) -> Made:
    frame = _numbers(rows, rng).with_columns(key=_shuffled(rows, groups, rng))
    return frame.lazy().group_by("key").agg(pl.col("x").sum(), pl.col("y").mean()), _size(frame)


def _sort(rows: int, rng: np.random.Generator, folder: Path) -> Made:
    frame = _numbers(rows, rng)
    return frame.lazy().sort("x"), _size(frame)


def _join(rows: int, rng: np.random.Generator, folder: Path) -> Made:
    keys = max(1, rows // 10)
    left = _numbers(rows, rng).with_columns(key=_shuffled(rows, keys, rng))
    right = pl.DataFrame({"key": rng.permutation(keys), "z": rng.random(keys)})
    return left.lazy().join(right.lazy(), on="key"), _size(left) + _size(right)


_MADE: dict[str, Callable[[int, np.random.Generator, Path], Made]] = {
    "decode": _decode, "row": _row, "text": _text, "group": _group, "group_many": _group_many, "sort": _sort,
    "join": _join,
}  # fmt: skip


def _numbers(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame({"x": rng.random(rows), "y": rng.random(rows)})


def _shuffled(rows: int, values: int, rng: np.random.Generator) -> pl.Series:
    """Each of 0, 1, ... `values` - 1 about as often, in no order."""
    return pl.Series(rng.permutation(np.arange(rows) % values))


def _size(frame: pl.DataFrame) -> int:
    return int(frame.estimated_size())
