"""Several streams at the times of one clock."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from robodf.align.blend import blended
from robodf.align.way import Way
from robodf.compat import run, run_in_batches
from robodf.io.stream import from_batches
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import UNKNOWN, Bounds, both, narrowed
from robodf.plan.durations import moment
from robodf.plan.expr import SEPARATOR, Col, Expr, Lit, base_names
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter, with_filters
from robodf.plan.nodes.unique import constant_in_groups
from robodf.plan.spread import AS_INPUT, Beside, Groups, Spread


@node
class Align(Plan):
    """The rows of `clock`, or the ticks of `period`, with the samples of each stream that belong to that time.

    `period` is (numerator, denominator) in units of `on`; its ticks lie from `first` to `last` (inclusive), by group
    and time. `limited` is the time range of each stream that was pushed down already. `said` is how `explain()` names
    the clock.
    """

    clock: Plan | None
    streams: tuple[Plan, ...]
    ways: tuple[Way, ...]
    on: str
    by: tuple[str, ...]
    period: tuple[int, int] | None
    first: int | None
    last: int | None
    said: str
    limited: tuple[Bounds, ...]

    cuts = True
    passes_paths = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        clock, streams = (None, inputs) if self.clock is None else (inputs[0], inputs[1:])
        schema = self.schema

        def batches() -> Iterator[pl.DataFrame]:
            from robodf.align.rows import STEP, Alignment
            from robodf.align.ticks import Ticks

            aligned = Alignment(_run_all(streams), self.ways, self.on, self.by)
            if clock is not None:
                times = run_in_batches(clock, STEP)
            else:
                assert self.period is not None
                times = aligned.clock(Ticks(self.period, self.first, self.last), schema[self.on])
            return aligned.at(times, schema)

        return from_batches(batches, schema, "align")

    @lazy
    def schema(self) -> Schema:
        times = (self.streams[0] if self.clock is None else self.clock).schema
        keys = (*self.by, self.on)
        schema = {name: times[name] for name in keys}
        if self.clock is not None:
            schema |= {name: dtype for name, dtype in times.items() if name not in keys}
        on = times[self.on]
        age = pl.Int64() if on.is_integer() else pl.Duration(on.time_unit)  # type: ignore[attr-defined]
        for way, stream in zip(self.ways, self.streams):
            for name, dtype in stream.schema.items():
                if name not in keys:
                    schema[way.prefix + name] = blended(dtype) if way.blends else dtype
            schema[way.age] = age
        return schema

    @property
    def same_count(self) -> bool:  # type: ignore[override]
        return self.clock is not None  # the first of its inputs

    def needs(self, out: Names) -> tuple[Names, ...]:
        keys = frozenset((*self.by, self.on))
        asked = [] if self.clock is None else [_without_prefix(out, "", self.clock.schema) | keys]
        for way, stream in zip(self.ways, self.streams):
            found = _without_prefix(out, way.prefix, stream.schema)
            # A quaternion is one value: it is known by its four fields, and turned as a whole.
            asked.append((base_names(found) if way.method == "slerp" else found) | keys)
        return tuple(asked)

    def prune(self, out: Names) -> Plan:
        if self.clock is None:
            return self  # every stream has a say in which ticks there are
        names = base_names(out)
        kept = [k for k, way in enumerate(self.ways) if way.age in names or self._made_by(k) & names]
        if len(kept) == len(self.ways):
            return self
        if not kept:
            return self.clock
        streams, ways = tuple(self.streams[k] for k in kept), tuple(self.ways[k] for k in kept)
        return self.replace(streams=streams, ways=ways, limited=tuple(self.limited[k] for k in kept))

    def _made_by(self, k: int) -> Names:
        keys = (*self.by, self.on)
        return frozenset(self.ways[k].prefix + name for name in self.streams[k].schema if name not in keys)

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns:
            return None
        keys = self.streams[0].schema if self.clock is None else self.clock.schema
        whole_groups = constant_in_groups(predicate, frozenset(self.by), keys)
        if self.clock is None and not whole_groups:
            return self._push_time(predicate)
        if self.clock is not None and not predicate.columns <= self.clock.schema.keys():
            return None
        clock = None if self.clock is None else with_filters(self.clock, [predicate])
        streams = tuple(with_filters(s, [predicate]) for s in self.streams) if whole_groups else self.streams
        return self.replace(clock=clock, streams=streams)

    def _push_time(self, predicate: Expr) -> Plan | None:
        """Fewer ticks; the filter stays, because Polars may compare times in a coarser unit than they have."""
        bounds = narrowed((self.first, self.last), [predicate], self.on, self.schema[self.on])
        if bounds == (self.first, self.last):
            return None
        return Filter(self.replace(first=bounds[0], last=bounds[1]), predicate)

    def push_limit(self, n: int) -> Plan | None:
        from robodf.plan.nodes.rows import Slice

        if self.clock is None or _gives_at_most(self.clock, n):
            return None
        return self.replace(clock=Slice(self.clock, 0, n))

    def count(self) -> int | None:
        return None if self.clock is None else self.clock.count()

    def spread(self) -> tuple[Spread, ...]:
        beside: tuple[Spread, ...] = () if self.clock is None else (Beside(0),)
        if not self.by:
            return beside
        keys: tuple[Expr, ...] = tuple(map(Col, self.by))
        order = (*self.by, self.on) if self.clock is None else AS_INPUT
        return (Groups(tuple(keys for _ in self.inputs()), order), *beside)

    def passes(self, column: str) -> str | None:
        return column if column in self.by or (self.clock is not None and column in self.clock.schema) else None

    def estimate(self, *rows: float) -> float:
        return rows[0] if self.clock is not None else max(rows)

    def range_of(self, column: str) -> Bounds:
        if self.clock is not None:
            return self.clock.range_of(column) if column in self.clock.schema else UNKNOWN
        return (self.first, self.last) if column == self.on else UNKNOWN

    def reach(self, k: int) -> Bounds:
        """The times between which a sample of stream `k` may matter, as far as is known."""
        if self.clock is None and not all(way.local for way in self.ways):
            return UNKNOWN  # the first and the last sample of a group say which ticks there are
        low, high = self.ways[k].reach(*self.range_of(self.on))
        return both((low, high), self.limited[k])

    def in_memory(self) -> str | None:
        return "the streams are held whole" + ("" if self.clock is None else ", the clock is not")

    def label(self) -> str:
        by = f" by {', '.join(self.by)}" if self.by else ""
        on = self.streams[0].schema[self.on]
        ways = " ".join(f"{way.name}:{way.method}{_within(way.tolerance, on)}" for way in self.ways)
        ends = [f"{op} {_shown(at, on)}" for op, at in ((">=", self.first), ("<=", self.last)) if at is not None]
        return f"Align on {self.on}{by} clock={self.said}{''.join(f' {end}' for end in ends)} {ways}"


def _run_all(streams: tuple[pl.LazyFrame, ...]) -> list[pl.DataFrame]:
    """The rows of each stream. Side by side, so that topics of one log share the chunks that they are read from."""
    if len(streams) == 1:
        return [run(streams[0])]
    with ThreadPoolExecutor(len(streams), "robodf-align") as pool:
        return list(pool.map(run, streams))


def constant(units: int, dtype: pl.DataType) -> Lit:
    """A time given in the units of a column of times, as a constant to compare the column with."""
    if isinstance(dtype, pl.Datetime):
        return moment(units, dtype)
    return Lit(units) if dtype.is_integer() else Lit(units, dtype)


def _without_prefix(out: Names, prefix: str, schema: Schema) -> Names:
    """The paths of a stream that the output columns `out` are made of."""
    bare = (path.removeprefix(prefix) for path in out if path.startswith(prefix))
    return frozenset(path for path in bare if path.split(SEPARATOR, 1)[0] in schema)


def _gives_at_most(plan: Plan, n: int) -> bool:
    """True where a limit of `n` on the rows of `plan` would change nothing."""
    from robodf.plan.nodes.rows import Slice
    from robodf.plan.nodes.scan import Scan

    known = plan.count()
    while plan.keeps_rows or plan.same_count:
        plan = plan.inputs()[0]
    limit = plan.length if isinstance(plan, Slice) else plan.limit if isinstance(plan, Scan) else known
    return limit is not None and limit <= n


_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


def _within(tolerance: int | None, on: pl.DataType) -> str:
    if tolerance is None:
        return ""
    if on.is_integer():
        return f"({tolerance})"
    total = tolerance * _UNITS[on.time_unit]  # type: ignore[attr-defined]
    unit = next(u for u in ("s", "ms", "us", "ns") if total % _UNITS[u] == 0)
    return f"({total // _UNITS[unit]}{unit})"


def _shown(at: int, on: pl.DataType) -> str:
    return str(at) if on.is_integer() else str(pl.Series([at]).cast(on).dt.to_string("iso")[0])
