"""Group-bys, a join and a sort over one large table, written once for the frames of robodf and of Polars."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import robodf as rd
from benchmarks.measure import DATA

FEW = 100  # groups
_FILES = 16


@dataclass(frozen=True)
class Large:
    """`facts` (two numbers and two keys, of 100 and of a tenth as many values as rows) and `names`, a row a key."""

    facts: Any
    names: Any
    library: Any


def made(rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Facts and names as frames in memory, the same ones each time; 32 bytes a fact."""
    rng = np.random.default_rng(11)
    keys = max(1, rows // 10)
    facts = pl.DataFrame({
        "x": rng.random(rows),
        "y": rng.random(rows),
        "few": rng.integers(0, min(FEW, rows), rows),
        "many": rng.permutation(np.arange(rows) % keys),
    })  # fmt: skip
    return facts, pl.DataFrame({"key": rng.permutation(keys), "z": rng.random(keys)})


def written(rows: int) -> Path:
    """A folder with the two as Parquet, the facts in some files; written if it is not there."""
    folder = DATA / f"large-{rows}"
    mark = folder / "complete.json"
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "facts").mkdir(parents=True)
        facts, names = made(rows)
        step = -(-rows // _FILES)
        for k in range(_FILES):
            facts.slice(k * step, step).write_parquet(folder / "facts" / f"{k:02}.parquet", row_group_size=1 << 20)
        names.write_parquet(folder / "names.parquet", row_group_size=1 << 20)
        mark.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return folder


def in_memory(facts: pl.DataFrame, names: pl.DataFrame, library: Any) -> Large:
    frames = (rd.from_polars(f) if library is rd else f.lazy() for f in (facts, names))
    return Large(*frames, library)


def from_parquet(folder: Path, library: Any) -> Large:
    read = rd.read_parquet if library is rd else pl.scan_parquet
    return Large(read(str(folder / "facts" / "*.parquet")), read(str(folder / "names.parquet")), library)


def _grouped(t: Large, key: str) -> Any:
    col = t.library.col
    return t.facts.group_by(key).agg(total=col("x").sum(), mean=col("y").mean(), n=t.library.len())


def _join(t: Large) -> Any:
    col = t.library.col
    joined = t.facts.join(t.names, left_on="many", right_on="key")
    # Sums, as queries make them of joined rows: what comes back to the host is not what is compared.
    return joined.select(n=t.library.len(), total=(col("x") * col("z")).sum())


QUERIES: dict[str, Callable[[Large], Any]] = {
    "group-by, 100 groups": lambda t: _grouped(t, "few"),
    "group-by, a group for 10 rows": lambda t: _grouped(t, "many"),
    "join with a tenth as many rows": _join,
    "sort": lambda t: t.facts.select("x", "y").sort("x"),
}
"""By name. All but the sort are of those that have goals."""

OF_GOALS = tuple(name for name in QUERIES if name != "sort")
