"""Dedup in partitions: rows meet by their keys alone, and what is compared goes only to those that met.

    rows with numbers -> their keys -> (by key) pairs -> what is compared, joined to them -> verified pairs -> who goes

Each step is a function of its rows, so a task may run twice; and the pairs are those of the walk in one process
(`dedup/decide.py`), so the answer is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from robodf.compat import run, run_in_batches
from robodf.dedup.caps import Caps
from robodf.dedup.columns import (
    BETTER,
    BETTER_VALUE,
    KEY,
    ROW,
    SAME,
    SIMILARITY,
    VALUE,
    WITNESS,
    WORDS,
    WORSE,
    WORSE_VALUE,
    ranked,
)
from robodf.dedup.exact import Exact
from robodf.dedup.how import How
from robodf.io.stream import from_batches
from robodf.plan.base import Plan, Schema
from robodf.plan.expr import Call, Col, Lit
from robodf.plan.node import lazy, node
from robodf.plan.nodes.concat import Concat
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.join import Join
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.nodes.rows import RowIndex
from robodf.plan.nodes.unique import Unique
from robodf.plan.spread import Groups, Rows, Spread

if TYPE_CHECKING:
    import numpy as np

_STEP = 1 << 16


@node
class RowKeys(Plan):
    """A row for each key of each row: KEY, ROW, the words by which rows are the same, groups and ranks.

    Rows that are the same share a KEY with SAME set; without it a KEY is that of a band.
    """

    input: Plan
    how: How

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        passing = [n for n in self.schema if n not in (KEY, SAME, *WORDS)]

        def batches() -> Iterator[pl.DataFrame]:
            for batch in run_in_batches(inputs[0], _STEP):
                keys = self.how.method.keys(batch.get_column(VALUE))
                there = batch.select(passing).filter(pl.Series(keys.there))
                if keys.same is None:
                    made = there.with_columns(pl.lit(None, pl.UInt64).alias(w) for w in WORDS)
                else:
                    words = keys.same[:, keys.there]
                    made = there.with_columns(pl.Series(w, word) for w, word in zip(WORDS, words))
                    yield self._of(made, words[0], True)
                for band in keys.bands:
                    yield self._of(made, band[keys.there], False)

        return from_batches(batches, self.schema, "keys of rows")

    def _of(self, rows: pl.DataFrame, key: np.ndarray, same: bool) -> pl.DataFrame:
        whole = rows.with_columns(pl.Series(KEY, key, pl.UInt64), pl.lit(same).alias(SAME))
        return whole.select(list(self.schema))

    @lazy
    def schema(self) -> Schema:
        kept = {n: t for n, t in self.input.schema.items() if n != VALUE}
        return {KEY: pl.UInt64(), SAME: pl.Boolean(), **dict.fromkeys(WORDS, pl.UInt64()), **kept}

    def spread(self) -> tuple[Spread, ...]:
        return (Rows(),)

    def estimate(self, *rows: float) -> float:
        return rows[0] * (self.how.method.bands + 1)

    def label(self) -> str:
        return f"RowKeys {self.how.method.describe()}"


@node
class Candidates(Plan):
    """The pairs of rows that share a key: BETTER, WORSE, both with their ranks, and whether they are the SAME."""

    input: Plan
    how: How
    caps: Caps

    cuts = True
    forgets_order = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        def batches() -> Iterator[pl.DataFrame]:
            from robodf.dedup.meeting import pairs_of

            met = run(inputs[0])
            for same in (True, False):
                for pairs in pairs_of(met.filter(pl.col(SAME) == same), same, self.how, self.caps):
                    yield self._of(met, pairs, same)

        return from_batches(batches, self.schema, "candidate pairs")

    def _of(self, met: pl.DataFrame, pairs: tuple[pl.DataFrame, pl.DataFrame], same: bool) -> pl.DataFrame:
        better, worse = pairs
        columns = [better.get_column(ROW).alias(BETTER), worse.get_column(ROW).alias(WORSE)]
        columns += [pl.Series(SAME, [same], pl.Boolean).new_from_index(0, better.height)]
        for name in self.how.ranks:
            columns += [better.get_column(name).alias(ranked(name, "better"))]
            columns += [worse.get_column(name).alias(ranked(name, "worse"))]
        return pl.DataFrame(columns).select(list(self.schema))

    @lazy
    def schema(self) -> Schema:
        ranks = {ranked(n, side): self.input.schema[n] for n in self.how.ranks for side in ("better", "worse")}
        return {BETTER: pl.Int64(), WORSE: pl.Int64(), SAME: pl.Boolean(), **ranks}

    def spread(self) -> tuple[Spread, ...]:
        return (Groups(((Col(KEY),),), None),)

    @property
    def journal(self) -> Caps:
        return self.caps

    def afresh(self) -> Plan:
        return self.replace(caps=Caps())

    def estimate(self, *rows: float) -> float:
        return rows[0] / 10

    def label(self) -> str:
        cap = self.how.method.cap
        return "Candidates" if cap is None else f"Candidates, of a key with more than {cap} rows with its best {cap}"


@node
class Verified(Plan):
    """The pairs that are alike, with SIMILARITY: the input has what is compared of both rows."""

    input: Plan
    how: How

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        def batches() -> Iterator[pl.DataFrame]:
            from robodf.dedup.meeting import similarity_of

            for batch in run_in_batches(inputs[0], _STEP):
                found = similarity_of(batch, BETTER, WORSE, BETTER_VALUE, WORSE_VALUE, self.how.method)
                alike = found >= self.how.method.least
                pairs = batch.drop(BETTER_VALUE, WORSE_VALUE).with_columns(pl.Series(SIMILARITY, found))
                yield pairs.filter(pl.Series(alike)).select(list(self.schema))

        return from_batches(batches, self.schema, "verified pairs")

    @lazy
    def schema(self) -> Schema:
        kept = {n: t for n, t in self.input.schema.items() if n not in (BETTER_VALUE, WORSE_VALUE)}
        return {**kept, SIMILARITY: pl.Float64()}

    def spread(self) -> tuple[Spread, ...]:
        return (Rows(),)

    def estimate(self, *rows: float) -> float:
        return rows[0] / 2

    def label(self) -> str:
        return "Verified"


@node
class Gone(Plan):
    """The rows that go, from verified pairs, all in one place: ROW, WITNESS, SIMILARITY."""

    input: Plan
    how: How

    cuts = True
    forgets_order = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        def batches() -> Iterator[pl.DataFrame]:
            from robodf.dedup.meeting import gone

            row, witness, similarity = gone(run(inputs[0]), self.how)
            yield pl.DataFrame({ROW: row, WITNESS: witness, SIMILARITY: similarity}, schema=self.schema)

        return from_batches(batches, self.schema, "rows that go")

    @lazy
    def schema(self) -> Schema:
        return {ROW: pl.Int64(), WITNESS: pl.Int64(), SIMILARITY: pl.Float64()}

    def in_memory(self) -> str | None:
        return "the pairs of rows that are alike are in one place"

    def label(self) -> str:
        return f"Gone, link {self.how.link}, keep {self.how.keep}"


@node
class GoneInOnePlace(Plan):
    """The rows that go, by a method that compares all rows with all: ROW, WITNESS, SIMILARITY."""

    input: Plan
    against: tuple[Plan, ...]
    how: How
    caps: Caps

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        def batches() -> Iterator[pl.DataFrame]:
            from robodf.dedup.decide import decide
            from robodf.plan.nodes.dedup import reading

            found = decide(reading(inputs[0]), reading(inputs[1]) if self.against else None, self.how)
            self.caps.tell(found.facts)
            yield pl.DataFrame(
                {ROW: found.row, WITNESS: found.witness, SIMILARITY: found.similarity}, schema=self.schema
            )

        return from_batches(batches, self.schema, "rows that go")

    @lazy
    def schema(self) -> Schema:
        return {ROW: pl.Int64(), WITNESS: pl.Int64(), SIMILARITY: pl.Float64()}

    def in_memory(self) -> str | None:
        return "what is compared is in one place"

    @property
    def journal(self) -> Caps:
        return self.caps

    def afresh(self) -> Plan:
        return self.replace(caps=Caps())

    def label(self) -> str:
        return f"GoneInOnePlace {self.how.method.describe()}"


def rows_that_go(light: Plan, against: tuple[Plan, ...], how: How, caps: Caps) -> Plan:
    """The numbers of the rows that go, of rows that are in partitions."""
    if how.whole:
        return GoneInOnePlace(light, against, how, caps)
    rows = numbered(light)
    if against:
        earlier = numbered(against[0])
        earlier = WithColumns(earlier, ((ROW, Call("__sub__", (Lit(-1), Col(ROW)))),))
        # Rows of an earlier data set have no rank: they are better by their number alone.
        absent = tuple((n, Lit(None, light.schema[n])) for n in light.schema if n not in earlier.schema)
        earlier = Select(earlier, (*((n, Col(n)) for n in rows.schema if n in earlier.schema), *absent))
        rows = Concat((earlier, Select(rows, tuple((n, Col(n)) for n in earlier.schema))), "vertical")
    pairs: Plan = Candidates(RowKeys(rows, how), how, caps)
    pairs = Unique(pairs, (BETTER, WORSE), "any", False)
    sure = () if isinstance(how.method, Exact) else (WithColumns(Filter(pairs, Col(SAME)), ((SIMILARITY, Lit(1.0)),)),)
    unsure = pairs if not sure else Filter(pairs, Call("__invert__", (Col(SAME),)))
    if not sure or how.method.bands:
        values = lambda name: Select(rows, ((ROW, Col(ROW)), (name, Col(VALUE))))  # noqa: E731
        unsure = _joined(unsure, BETTER, values(BETTER_VALUE))
        unsure = _joined(unsure, WORSE, values(WORSE_VALUE))
        unsure = Verified(unsure, how)
        names = tuple(unsure.schema)
        sure = (*(Select(s, tuple((n, Col(n)) for n in names)) for s in sure), unsure)
    return Gone(sure[0] if len(sure) == 1 else Concat(sure, "vertical"), how)


def numbered(plan: Plan) -> Plan:
    """The rows with their number as ROW, the last column."""
    made = RowIndex(plan, ROW, 0)
    return Select(made, (*((n, Col(n)) for n in plan.schema), (ROW, Call("cast", (Col(ROW), pl.Int64())))))


def _joined(pairs: Plan, row: str, values: Plan) -> Plan:
    return Join(pairs, values, (Col(row),), (Col(ROW),), "inner", "_right", True, False, None)
