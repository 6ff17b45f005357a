"""Rows without those that say the same as another, which is kept."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.compat import run, run_in_batches
from robodf.dedup import asked
from robodf.dedup.caps import Caps
from robodf.dedup.columns import (
    ROW,
    SIMILARITY,
    THERE,
    VALUE,
    WITNESS,
    WORDS,
    band_column,
    rank_column,
    within_column,
)
from robodf.dedup.exact import Exact, kept_in_memory
from robodf.dedup.how import How
from robodf.errors import FileFormatError
from robodf.io.stream import from_batches
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import UNKNOWN, Bounds
from robodf.plan.expr import Call, Col, Expr
from robodf.plan.node import lazy, node
from robodf.plan.nodes.dedup_apart import rows_that_go
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.join import Join
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.nodes.rows import RowIndex
from robodf.plan.nodes.scan import InMemory
from robodf.plan.nodes.shared import Shared
from robodf.plan.nodes.unique import Unique, constant_in_groups
from robodf.plan.spread import AS_INPUT, Groups, Rows, Spread

if TYPE_CHECKING:
    import numpy as np

    from robodf.dedup.decide import Reading

CLUSTERS: Schema = {"cluster_id": pl.Int64(), "similarity": pl.Float64(), "is_kept": pl.Boolean()}
"""What `clusters` adds."""

PAIRS: Schema = {"lo": pl.Int64(), "hi": pl.Int64(), "similarity": pl.Float64()}
"""What `similar_pairs` gives."""

_STEP = 1 << 17


@node
class Dedup(Plan):
    """The rows that are kept of those that are alike, in their order; or, as `clusters`, all rows and what they are.

    `value` is what is compared, `within` the keys of the groups, `rank` what says which row is better; of an earlier
    data set, `against` has these columns alone (`light`), and no rank. With `apart` the input has a twin there that
    gives nothing but these columns: then nothing else is read or held until it is known which rows stay.
    """

    input: Plan
    apart: tuple[Plan, ...]
    against: tuple[Plan, ...]
    value: Expr
    within: tuple[Expr, ...]
    rank: tuple[Expr, ...]
    how: How
    clusters: bool
    said: str  # what is compared, for explain()
    caps: Caps

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        rows, *others = inputs
        earlier = others[-1] if self.against else None
        engine = asked.engine()

        def batches() -> Iterator[pl.DataFrame]:
            from robodf.dedup.decide import decide

            held = None if self.apart else self._held(rows)  # what cannot be read twice is held
            compared = reading(others[0]) if held is None else Held(held, self._light)
            if isinstance(compared, Held) and (kept := self._kept_at_once(compared)) is not None:
                yield kept
                return
            with asked.during(engine):
                decided = decide(compared, reading(earlier) if earlier is not None else None, self.how)
            self.caps.tell(decided.facts)
            if held is not None and not self.clusters:
                yield _kept(held, 0, decided.row)
                return
            first = 0
            for batch in slices(held) if held is not None else bounded(rows):
                yield self._marked(batch, first, decided) if self.clusters else _kept(batch, first, decided.row)
                first += batch.height
            if first != decided.facts["rows"]:  # rows are known by their numbers: some that should stay went
                raise FileFormatError(
                    f"dedup on {self.said}: {decided.facts['rows']:,} rows were read first, and then {first:,}; "
                    "were files changed meanwhile? Run it again"
                )

        return from_batches(batches, self.schema, f"dedup {self.said}")

    @lazy
    def schema(self) -> Schema:
        return {**self.input.schema, **CLUSTERS} if self.clusters else self.input.schema

    def _held(self, rows: pl.LazyFrame) -> pl.DataFrame:
        # The streaming engine would copy what is in memory as it is.
        return rows.collect(engine="in-memory") if isinstance(self.input, InMemory) else run(rows)

    def _kept_at_once(self, held: Held) -> pl.DataFrame | None:
        """The rows that stay, where nobody asks because of which the others go."""
        if self.clusters or self.against or not isinstance(self.how.method, Exact):
            return None
        light = held.whole
        kept = kept_in_memory(light.get_column(VALUE), light.select(self.how.groups), self.how.keep, self.how.method)
        if kept is None:
            return None
        rows = held.frame.filter(pl.Series(kept))
        self.caps.tell({"rows": len(kept), "against": 0, "dropped": len(kept) - rows.height})
        return rows

    @property
    def _light(self) -> tuple[tuple[str, Expr], ...]:
        return light_columns(self.value, self.within, self.rank)

    def light(self) -> Select:
        """The input with nothing but what is compared."""
        return Select(self.input, self._light)

    def _marked(self, batch: pl.DataFrame, first: int, decided: Any) -> pl.DataFrame:
        import numpy as np

        low, high = np.searchsorted(decided.row, (first, first + batch.height))
        at = decided.row[low:high] - first
        kept = np.ones(batch.height, bool)
        kept[at] = False
        cluster = np.arange(first, first + batch.height, dtype=np.int64)
        cluster[at] = decided.witness[low:high]
        similarity = np.full(batch.height, np.nan)
        similarity[at] = decided.similarity[low:high]
        return batch.with_columns(
            cluster_id=pl.Series(cluster),
            similarity=pl.Series(similarity).fill_nan(None),
            is_kept=pl.Series(kept),
        )

    def needs(self, out: Names) -> tuple[Names, ...]:
        passing = out - CLUSTERS.keys() if self.clusters else out
        read = frozenset().union(*(e.columns for _, e in self._light)) if not self.apart else frozenset()
        return passing | read, *(frozenset(p.schema) for p in (*self.apart, *self.against))

    @property
    def same_count(self) -> bool:  # type: ignore[override]
        return self.clusters

    def push(self, predicate: Expr) -> Plan | None:
        # A filter on anything else may take away the row that another one was dropped for. Numbers of clusters are
        # those of the rows before a filter; and so is a rank that looks at other rows.
        if self.clusters or self.apart or not predicate.columns or not self._ranks_alone:
            return None
        keys = frozenset(e.ref for e in (*self.within, *self._compared) if isinstance(e, Col))
        if not constant_in_groups(predicate, keys, self.input.schema):
            return None
        return self.replace(input=Filter(self.input, predicate))

    @property
    def _ranks_alone(self) -> bool:
        """Whether the rank of a row is the same whatever other rows there are."""
        return all(e.rowwise for e in self.rank)

    @property
    def _compared(self) -> tuple[Expr, ...]:
        """Of exact dedup the columns that are compared: rows that are alike agree on them."""
        if not isinstance(self.how.method, Exact):
            return ()
        return compared_columns(self.value)

    def spread(self) -> tuple[Spread, ...]:
        if self.clusters or self.apart or not self.within or not self._ranks_alone:
            return ()
        names = tuple(Col(within_column(k)) for k in range(len(self.within)))
        return (Groups((self.within, *(names for _ in self.against)), AS_INPUT),)

    def taken_apart(self, wide: bool) -> Plan | None:
        plain = isinstance(self.how.method, Exact) and not self.against and not self.rank and not self.clusters
        keys = (*self.within, *self._compared)
        again = self.input.read_again
        if plain and not (wide and again) and all(isinstance(e, Col) for e in keys):
            names = tuple(dict.fromkeys(e.ref for e in keys if isinstance(e, Col)))
            lone = tuple(e.ref for e in self._compared if isinstance(e, Col)) if self.how.method.lone else ()
            return Unique(self.input, names, self.how.keep, True, lone)
        input = self.input if again else Shared(self.input)
        light = Select(input, self._light)
        gone = rows_that_go(light, self.against, self.how, self.caps)
        rows = RowIndex(input, ROW, 0)
        rows = WithColumns(rows, ((ROW, Call("cast", (Col(ROW), pl.Int64()))),))
        how = "left" if self.clusters else "anti"
        joined = Join(rows, gone, (Col(ROW),), (Col(ROW),), how, "_right", True, False, "left")
        kept = tuple((n, Col(n)) for n in self.input.schema)
        if not self.clusters:
            return Select(joined, kept)
        stays = Call("is_null", (Col(WITNESS),))
        return Select(
            joined,
            (
                *kept,
                ("cluster_id", Call("pl.coalesce", (Col(WITNESS), Col(ROW)))),
                ("similarity", Col(SIMILARITY)),
                ("is_kept", stays),
            ),
        )

    def passes(self, column: str) -> str | None:
        return column if not (self.clusters and column in CLUSTERS) else None

    @property
    def journal(self) -> Caps:
        return self.caps

    def afresh(self) -> Plan:
        return self.replace(caps=Caps())

    def count(self) -> int | None:
        return self.input.count() if self.clusters else None

    def estimate(self, *rows: float) -> float:
        return rows[0] if self.clusters else rows[0] * 0.7

    def range_of(self, column: str) -> Bounds:
        return UNKNOWN if self.clusters and column in CLUSTERS else self.input.range_of(column)

    def in_memory(self) -> str | None:
        return "the keys of all rows are held" if self.apart else "all rows are held"

    def label(self) -> str:
        what = "Clusters" if self.clusters else "Dedup"
        return f"{what} on {self.said}: {self.how.method.describe()}{self.caps.last_run()}"


@node
class SimilarPairs(Plan):
    """The pairs of rows that are alike, by the numbers of the rows; the input is what is compared, see `Dedup`."""

    input: Plan
    against: tuple[Plan, ...]
    how: How
    said: str
    caps: Caps

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        rows, *others = inputs
        engine = asked.engine()

        def batches() -> Iterator[pl.DataFrame]:
            from robodf.dedup.decide import similar

            with asked.during(engine):
                found = similar(reading(rows), reading(others[0]) if others else None, self.how)
            self.caps.tell(found.facts)
            for k in range(0, max(len(found.lo), 1), _STEP):
                part = (found.lo[k : k + _STEP], found.hi[k : k + _STEP], found.similarity[k : k + _STEP])
                yield pl.DataFrame(dict(zip(PAIRS, part)), schema=PAIRS)

        return from_batches(batches, PAIRS, f"similar pairs {self.said}")

    @lazy
    def schema(self) -> Schema:
        return PAIRS

    @property
    def journal(self) -> Caps:
        return self.caps

    def afresh(self) -> Plan:
        return self.replace(caps=Caps())

    def in_memory(self) -> str | None:
        return "the keys of all rows and the pairs are held"

    def label(self) -> str:
        return f"SimilarPairs on {self.said}: {self.how.method.describe()}{self.caps.last_run()}"


@node
class WithKeys(Plan):
    """What is compared with its keys beside it, as an index keeps it; see `Dedup`."""

    input: Plan
    how: How

    cuts = True
    keeps_rows = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        names = [n for n in self.schema if n not in self.input.schema]
        engine = asked.engine()

        def batches() -> Iterator[pl.DataFrame]:
            for batch in run_in_batches(inputs[0], _STEP):
                if self.how.whole:
                    yield batch
                    continue
                with asked.during(engine):
                    keys = self.how.method.keys(batch.get_column(VALUE))
                made = [keys.there, *(() if keys.same is None else keys.same), *keys.bands]
                yield batch.with_columns(pl.Series(n, part) for n, part in zip(names, made))

        return from_batches(batches, self.schema, "keys of an index")

    @lazy
    def schema(self) -> Schema:
        if self.how.whole:
            return self.input.schema
        words = WORDS if self.how.method.knows_same else ()
        bands = (band_column(k) for k in range(self.how.method.bands))
        return {**self.input.schema, THERE: pl.Boolean(), **dict.fromkeys((*words, *bands), pl.UInt64())}

    def spread(self) -> tuple[Spread, ...]:
        return (Rows(),)

    def passes(self, column: str) -> str | None:
        return column

    def label(self) -> str:
        return f"WithKeys {self.how.method.describe()}"


def light_columns(value: Expr, within: tuple[Expr, ...], rank: tuple[Expr, ...]) -> tuple[tuple[str, Expr], ...]:
    """What is compared, under the names that `decide` knows."""
    return (
        (VALUE, value),
        *((within_column(k), e) for k, e in enumerate(within)),
        *((rank_column(k), e) for k, e in enumerate(rank)),
    )


def compared_columns(value: Expr) -> tuple[Expr, ...]:
    """The columns that a value is a struct of, or the value."""
    if isinstance(value, Call) and value.fn == "pl.struct":
        return tuple(a for a in value.args if isinstance(a, Expr))
    return (value,)


def reading(query: pl.LazyFrame) -> Reading:
    """Reads what is compared: all of it, or, the second time, only the value."""

    names = query.collect_schema().names()
    kept = THERE in names  # in an index: the keys are there, and the value is read only where it is compared

    def read(columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        if columns is None and kept:
            columns = [n for n in names if n != VALUE]
        return bounded(query if columns is None else query.select(columns))

    return read


class Held:
    """Reads what is compared of rows that are in memory."""

    def __init__(self, frame: pl.DataFrame, light: tuple[tuple[str, Expr], ...]):
        self.frame, self.light = frame, light

    def __call__(self, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        wanted = [(name, e) for name, e in self.light if columns is None or name in columns]
        exprs = {name: e.polars for name, e in wanted}
        if all(e.rowwise for _, e in wanted):
            return (part.select(**exprs) for part in slices(self.frame))
        # A rank may look at all rows, as "far from the mean" does.
        return slices(self.frame.select(**exprs))

    @cached_property
    def whole(self) -> pl.DataFrame:
        """All rows at once."""
        return self.frame.select(**{name: e.polars for name, e in self.light})


def slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of a frame in order, in parts as those of `bounded`; one of no rows if there are none."""
    each = int(frame.estimated_size()) // max(frame.height, 1)
    step = max(1, min(_STEP, _BYTES // max(each, 1)))
    return (frame.slice(first, step) for first in range(0, max(frame.height, 1), step))


def bounded(query: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows of a query in order, in batches of at most `_STEP` rows, and of not many more than `_BYTES` bytes."""
    narrow = all(_is_narrow(dtype) for dtype in query.collect_schema().values())
    if narrow:
        yield from run_in_batches(query, _STEP)
        return
    waiting: list[pl.DataFrame] = []
    rows = size = 0
    for batch in run_in_batches(query, _FEW):
        waiting.append(batch)
        rows += batch.height
        size += int(batch.estimated_size())
        if rows >= _STEP or size >= _BYTES:
            yield pl.concat(waiting, rechunk=False)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pl.concat(waiting, rechunk=False)


_FEW = 512
_BYTES = 32 << 20


def _is_narrow(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return all(_is_narrow(f.dtype) for f in dtype.fields)  # type: ignore[arg-type]
    return not isinstance(dtype, (pl.String, pl.Binary, pl.List, pl.Array, pl.Object))


def _kept(batch: pl.DataFrame, first: int, gone: np.ndarray) -> pl.DataFrame:
    import numpy as np

    low, high = np.searchsorted(gone, (first, first + batch.height))
    if low == high:
        return batch
    kept = np.ones(batch.height, bool)
    kept[gone[low:high] - first] = False
    return batch.filter(pl.Series(kept))
