"""Rows from a source, and rows that are in memory already."""

from __future__ import annotations

import polars as pl

from robodf.io.source import LOCATOR, Request, Source, Support
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import UNKNOWN, Bounds, narrowed
from robodf.plan.expr import SEPARATOR, Expr, base_names
from robodf.plan.node import lazy, node


@node
class Scan(Plan):
    """The rows of a source, with what was pushed into it.

    `columns` are in schema order; `fields` are paths into struct columns that replace whole columns; `limit` counts
    the rows that satisfy `predicates`. With `locator` LOCATOR is a last column, by which the source finds a row again.
    """

    source: Source
    columns: tuple[str, ...] | None = None
    fields: tuple[tuple[str, ...], ...] = ()
    predicates: tuple[Expr, ...] = ()
    limit: int | None = None
    locator: bool = False

    rowwise_cost = True
    repeats = True
    passes_paths = True

    @property
    def request(self) -> Request:
        columns = tuple(self.source.schema) if self.columns is None else self.columns
        return Request(columns, self.predicates, self.limit, self.fields, self.locator)

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return self.source.scan(self.request)

    @lazy
    def schema(self) -> Schema:
        whole = self.source.schema
        names = whole if self.columns is None else self.columns
        found = {name: _reduced(whole[name], name, self.fields) for name in names}
        return {**found, LOCATOR: pl.UInt64()} if self.locator else found

    @property
    def reads(self) -> Schema:
        return self.source.schema

    @property
    def work(self) -> str:
        return "decode"

    def needs(self, out: Names) -> tuple[Names, ...]:
        return ()

    def prune(self, out: Names) -> Plan:
        names = base_names(out)
        locator = self.locator and LOCATOR in names
        given = [name for name in self.schema if name != LOCATOR or not self.locator]
        wanted = tuple(name for name in given if name in names) or (() if locator else self._narrowest())
        fields = ()
        if self.source.nested_projection:
            parts = sorted(path for path in out if SEPARATOR in path and path.split(SEPARATOR, 1)[0] not in out)
            fields = tuple(tuple(path.split(SEPARATOR)) for path in parts)
        if len(wanted) == len(given) and locator == self.locator and not fields:
            return self
        return self.replace(columns=wanted, fields=fields, locator=locator)

    def _narrowest(self) -> tuple[str, ...]:
        """One column for a query that asks for none: a frame without columns has no rows."""
        schema = {name: dtype for name, dtype in self.schema.items() if name != LOCATOR or not self.locator}
        light = [name for name in schema if name not in self.source.heavy]
        fixed = [name for name in light if schema[name].is_numeric() or schema[name].is_temporal()]
        return tuple((fixed or light or list(schema or self.source.schema))[:1])

    def push(self, predicate: Expr) -> Plan | None:
        if self.limit is not None or any(p is predicate for p in self.predicates):
            return None
        support = self.source.support(predicate)
        if support is Support.NONE:
            return None
        narrowed = self.replace(predicates=(*self.predicates, predicate))
        if support is Support.EXACT:
            return narrowed
        from robodf.plan.nodes.filter import Filter

        return Filter(narrowed, predicate)

    def push_limit(self, n: int) -> Plan | None:
        if not self.source.limits or (self.limit is not None and self.limit <= n):
            return None
        if any(self.source.support(p) is not Support.EXACT for p in self.predicates):
            return None
        return self.replace(limit=n)

    def count(self) -> int | None:
        if any(self.source.support(p) is not Support.EXACT for p in self.predicates):
            return None
        total = self.source.count(self.predicates)
        return total if total is None or self.limit is None else min(total, self.limit)

    def range_of(self, column: str) -> Bounds:
        if column not in self.schema:
            return UNKNOWN
        exact = [p for p in self.predicates if self.source.support(p) is Support.EXACT]
        known = self.source.bounds(column, self.predicates) or UNKNOWN
        return narrowed(known, exact, column, self.schema[column])

    @property
    def journal(self) -> Source:
        return self.source

    def label(self) -> str:
        parts = [f"Scan {self.source.describe()}"]
        if self.columns is not None:
            parts.append(f"columns=[{', '.join(self._shown_columns())}]")
        if self.predicates:
            said = [f"{p!r} ({self.source.support(p).value})" for p in self.predicates]
            parts.append(f"where={' & '.join(said)}")
        if self.limit is not None:
            parts.append(f"limit={self.limit}")
        if self.locator:
            parts.append("with locators")
        return " ".join(parts)

    def _shown_columns(self) -> list[str]:
        shown: list[str] = []
        for name in self.columns or ():
            paths = [".".join(path) for path in self.fields if path[0] == name]
            shown.extend(paths or [name])
        return shown


def _reduced(dtype: pl.DataType, name: str, fields: tuple[tuple[str, ...], ...]) -> pl.DataType:
    paths = [path[1:] for path in fields if path[0] == name]
    return reduce_struct(dtype, paths) if paths else dtype


def reduce_struct(dtype: pl.DataType, paths: list[tuple[str, ...]]) -> pl.DataType:
    """A struct type with only the fields on `paths`, in the order of the whole type."""
    if not isinstance(dtype, pl.Struct) or () in paths:
        return dtype
    kept = []
    for f in dtype.fields:
        below = [path[1:] for path in paths if path[0] == f.name]
        if below:
            kept.append(pl.Field(f.name, reduce_struct(f.dtype, below)))  # type: ignore[arg-type]
    return pl.Struct(kept)


@node
class InMemory(Plan):
    """A Polars frame that the user gave."""

    frame: pl.DataFrame | pl.LazyFrame

    rowwise_cost = True

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        return isinstance(self.frame, pl.DataFrame)

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return self.frame.lazy()

    @lazy
    def schema(self) -> Schema:
        return dict(self.frame.collect_schema())

    def needs(self, out: Names) -> tuple[Names, ...]:
        return ()

    @property
    def at_hand(self) -> bool:  # type: ignore[override]
        return isinstance(self.frame, pl.DataFrame)

    def count(self) -> int | None:
        return self.frame.height if isinstance(self.frame, pl.DataFrame) else None

    def label(self) -> str:
        if isinstance(self.frame, pl.DataFrame):
            return f"InMemory {self.frame.height:,} rows, {self.frame.width} columns"
        return f"LazyFrame of Polars, {len(self.schema)} columns"
