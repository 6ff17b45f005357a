"""Equal values: rows meet by two 64-bit hashes, and are compared by value."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from robodf.compat import run
from robodf.dedup.columns import VALUE
from robodf.dedup.method import Keys
from robodf.dedup.spool import Spool

if TYPE_CHECKING:  # importing robodf does not wait for NumPy
    import numpy as np

    from robodf.dedup.decide import Met, Values

_SEEDS = (0x5EED, 0xD1FF)


@dataclass(frozen=True)
class Exact:
    """The same value: NaN equals NaN, 0.0 equals -0.0, null equals null inside of lists and structs.

    With `lone` a row that has nothing (null, "", b"", an empty list; of several keys all of them) is like no other.
    """

    lone: bool = True

    bands = 0
    knows_same = True
    cap = None
    least = 1.0

    def keys(self, values: pl.Series) -> Keys:
        """No bands: rows that are alike are the same, but for a collision of both hashes."""
        import numpy as np

        n = len(values)
        named = values.cast(_by_name(values.dtype))
        same = np.stack([named.hash(seed).to_numpy() for seed in _SEEDS]) if n else np.zeros((2, 0), np.uint64)
        there = self.there(values)
        return Keys(np.zeros((0, n), np.uint64), there, same)

    def there(self, values: pl.Series) -> np.ndarray:
        """Whether a row has a value: (n,) bool."""
        import numpy as np

        if not self.lone:
            return np.ones(len(values), bool)
        empty = values.alias("v").to_frame().select(has_nothing(pl.col("v"), values.dtype)).to_series()
        return (~empty).to_numpy()

    def describe(self) -> str:
        return f"exact, each verified by value{'' if self.lone else ', null equals null'}"


def equal_in_memory(values: pl.Series, groups: pl.DataFrame, place: np.ndarray | None, method: Exact) -> np.ndarray:
    """For each row the best of those that are equal to it and of its group, of rows in memory: (n,) uint32."""
    import numpy as np

    there = method.there(values)
    if not groups.width and importlib.util.find_spec("numba"):
        from robodf.dedup.first_equal import first_equal, fits

        if fits(values.dtype):
            return first_equal(values, there, place)
    keys = groups.with_columns(values.alias(VALUE)).to_struct("keys") if groups.width else values
    if not len(values):
        return np.empty(0, np.uint32)
    best = by_hash(np.stack([keys.hash(seed).to_numpy() for seed in _SEEDS]), there, None, place)
    row = np.flatnonzero(best != np.arange(len(best), dtype=np.uint32))
    for k in range(0, len(row), _AT_ONCE):
        some = row[k : k + _AT_ONCE]
        other = some[~keys.gather(some).eq_missing(keys.gather(best[some])).to_numpy()]
        best[other] = other  # both hashes agree by chance: the row is on its own
    return best


def kept_in_memory(values: pl.Series, groups: pl.DataFrame, keep: str, method: Exact) -> np.ndarray | None:
    """Which rows stay of those in memory, the first or the last of its kind: (n,) bool. None: ask `equal_in_memory`."""
    if keep not in ("first", "last") or not importlib.util.find_spec("numba"):
        return None
    from robodf.dedup.first_kept import kept, takes

    flat = isinstance(values.dtype, pl.Struct) and not values.null_count()
    columns = [*groups.get_columns(), *(values.struct.unnest().get_columns() if flat else [values])]
    if not takes([c.dtype for c in columns]):
        return None
    return kept(columns, method.there(values), keep == "last")


def equal_rows(met: Met, values: Values) -> np.ndarray:
    """For each row the best of those that are equal to it, by value: (n,) uint32."""
    import numpy as np

    assert met.same is not None
    best = by_hash(met.same, met.there, met.group, met.place)
    row = np.flatnonzero(best != met.numbers)
    if not len(row):
        return best
    asked = np.zeros(met.rows, bool)
    asked[row] = True
    asked[best[row]] = True
    wanted = np.flatnonzero(asked)
    slot = np.cumsum(asked, dtype=np.uint32) - np.uint32(1)
    spool = Spool()
    for piece in values.of(wanted):
        spool.add(piece)
    kept = spool.finish()
    assert kept is not None
    mine, its = slot[row], slot[best[row]]
    step = max(1, _COMPARED // max(1, int(kept.estimated_size()) // len(kept)))
    for k in range(0, len(row), step):
        equal = kept.gather(mine[k : k + step]).eq_missing(kept.gather(its[k : k + step])).to_numpy()
        other = row[k : k + step][~equal]
        best[other] = other  # both hashes agree by chance: the row is on its own
    return best


def by_hash(same: np.ndarray, there: np.ndarray, group: np.ndarray | None, place: np.ndarray | None) -> np.ndarray:
    """The best of the rows that agree on both hashes and the group: numba's table, or Polars where numba is not."""
    if importlib.util.find_spec("numba"):
        from robodf.dedup.alike import collapse

        return collapse(same, there, group, place)
    return by_hash_in_polars(same, there, group, place)


def by_hash_in_polars(
    same: np.ndarray, there: np.ndarray, group: np.ndarray | None, place: np.ndarray | None
) -> np.ndarray:
    """The same answer as that of `alike.collapse`, without numba, and slower."""
    import numpy as np

    keys = {"a": same[0], "b": same[1], "g": np.zeros(len(there), np.uint32) if group is None else group}
    rows = pl.LazyFrame({**keys, "row": np.arange(len(there), dtype=np.uint32)}).filter(pl.Series(there))
    if place is not None:
        rows = rows.sort(pl.Series(place).filter(pl.Series(there)))
    found = run(rows.select("row", best=pl.col("row").first().over("a", "b", "g")))
    best = np.arange(len(there), dtype=np.uint32)
    best[found["row"].to_numpy()] = found["best"].to_numpy()
    return best


def _by_name(dtype: pl.DataType) -> pl.DataType:
    """Categories as texts: inside of lists Polars hashes their numbers, which are other ones in another process."""
    if isinstance(dtype, pl.Categorical):
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(_by_name(dtype.inner))  # type: ignore[arg-type]
    if isinstance(dtype, pl.Array):
        return pl.Array(_by_name(dtype.inner), dtype.size)  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: _by_name(f.dtype) for f in dtype.fields})  # type: ignore[arg-type]
    return dtype


_COMPARED = 32 << 20  # bytes of values that are compared at once
_AT_ONCE = 1 << 20  # rows of them, where they are in memory anyway


def has_nothing(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """True for null, an empty text, bytes or list, and a struct that has nothing in any field."""
    empty = value.is_null()
    if isinstance(dtype, pl.Struct):
        inside = [has_nothing(value.struct.field(f.name), f.dtype) for f in dtype.fields]  # type: ignore[arg-type]
        return empty | pl.all_horizontal(inside) if inside else empty
    size = (
        value.str.len_bytes() if isinstance(dtype, pl.String)
        else value.bin.size() if isinstance(dtype, pl.Binary)
        else value.list.len() if isinstance(dtype, pl.List)
        else None
    )  # fmt: skip
    return empty if size is None else empty | (size == 0)
