"""A user's own functions, over rows and over batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, QueryError
from robodf.frame.base import FrameBase
from robodf.plan.expr import Col, Expr, Lit
from robodf.plan.nodes.map import MapBatches
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.resolve import column_names, resolve
from robodf.plan.trace import Traced, trace
from robodf.plan.udf import FORMATS, ROWS_AT_ONCE, RowFunction, Step

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


class Calling(FrameBase):
    """Methods that call the user's Python."""

    def map(self, function: Callable[[dict], dict], schema: Mapping[str, Any] | None = None) -> PipelineDataFrame:
        """A new row for each row: `function` gets a row as a dict and returns a dict of columns.

        A lambda of plain arithmetic and comparisons is turned into expressions (vectorised, pushed down); then
        `schema` is not needed. Any other function runs row by row and needs `schema`, the columns that it returns.

        >>> import robodf as rd
        >>> df = rd.from_dict({"a": [1, -1]})
        >>> df.map(lambda x: {**x, "ok": x["a"] > 0}).collect().rows()
        [(1, True), (-1, False)]
        >>> df.map(lambda x: {"text": str(x["a"])}, schema={"text": str}).collect().rows()
        [('1',), ('-1',)]
        """
        have = self._plan.schema
        traced = trace(function, have) if schema is None else None
        if isinstance(traced, Traced) and isinstance(traced.result, dict):
            return self._project(traced.result)
        why = "schema= was given" if traced is None else getattr(traced, "reason", "it does not return a dict")
        if schema is None:
            raise QueryError(
                f"map: this function runs row by row ({why}), so the columns that it returns must be given: "
                'schema={"name": pl.Float64, ...}'
            )
        return self._rows(function, "map", schema, True, why)

    def _project(self, columns: Mapping[str, Expr]) -> PipelineDataFrame:
        if not columns:
            raise QueryError("map: the function returns no column")
        # A bare number is what Python says it is: 64 bits, where Polars would take 32 for an integer.
        typed = {n: Lit(e.value, pl.Int64()) if _is_integer(e) else e for n, e in columns.items()}
        named = resolve((), typed, self._plan.schema, "map")
        if any(e.columns for _, e in named):
            return self._then(Select(self._plan, named))
        # Constants alone would give one row: they are added to the rows, and the rows dropped.
        added = WithColumns(self._plan, named)
        return self._then(Select(added, tuple((name, Col(name)) for name, _ in named if isinstance(name, str))))

    def flat_map(self, function: Callable[[dict], Any], schema: Mapping[str, Any]) -> PipelineDataFrame:
        """Any number of rows for each row: `function` gets a row as a dict and returns an iterable of dicts.

        >>> import robodf as rd
        >>> df = rd.from_dict({"text": ["pick up", "go"]})
        >>> words = df.flat_map(lambda x: [{"word": w} for w in x["text"].split()], schema={"word": str})
        >>> words.collect()["word"].to_list()
        ['pick', 'up', 'go']
        """
        return self._rows(function, "flat_map", schema, False, "")

    def _rows(
        self, function: Callable, kind: str, schema: Mapping[str, Any], preserves: bool, why: str
    ) -> PipelineDataFrame:
        output = _declared(schema)
        step = Step(RowFunction(function, kind, output), "rows", output, None, preserves, why)
        return self._then(MapBatches(self._plan, (step,), ROWS_AT_ONCE))

    def map_batches(self, function: Any, batch_size: int | None = 1024, *, batch_format: str = "polars",
                    schema: Mapping[str, Any] | None = None, reads: Any = None,
                    preserves_rows: bool = False) -> PipelineDataFrame:  # fmt: skip
        """`function` over batches of exactly `batch_size` rows in order (the last one shorter; None: all rows at once).

        `function` is a callable, or a class that is made once per run and called with each batch (for models).
        `batch_format` is polars, arrow, pandas or numpy (a dict of arrays). `schema` gives the columns that it returns;
        without it, those that it gets. `reads` names the only columns that it needs. `preserves_rows=True` promises
        that row i of the answer depends on row i of the batch alone; with `reads` too, the other columns pass by the
        function, what it returns is added to them, and filters on them run before it.

        >>> import robodf as rd, polars as pl
        >>> df = rd.from_dict({"a": [1, 2, 3], "id": ["x", "y", "z"]})
        >>> def double(batch):
        ...     return {"b": batch["a"] * 2}
        >>> doubled = df.map_batches(
        ...     double, batch_format="numpy", reads=["a"], schema={"b": pl.Int64}, preserves_rows=True
        ... )
        >>> doubled.collect().rows()
        [(1, 'x', 2), (2, 'y', 4), (3, 'z', 6)]
        """
        if not callable(function):
            raise OptionError(f"map_batches takes a function or a class, not {type(function).__name__}")
        if batch_format not in FORMATS:
            raise OptionError(f"map_batches: batch_format is one of {', '.join(FORMATS)}, not {batch_format!r}")
        if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
            raise OptionError(
                f"map_batches: batch_size is at least 1, or None for all rows at once, not {batch_size!r}"
            )
        have = self._plan.schema
        names = None if reads is None else column_names([reads], have, "map_batches")
        if names == ():
            raise OptionError("map_batches: reads= names no column")
        given = have if names is None else {name: have[name] for name in names}
        output = tuple(given.items()) if schema is None else _declared(schema)
        step = Step(function, batch_format, output, names, bool(preserves_rows))
        return self._then(MapBatches(self._plan, (step,), batch_size))


def _declared(schema: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The user's schema with instances of Polars types; Python types are understood."""
    if not isinstance(schema, Mapping) or not schema:
        raise OptionError('schema= is a dict of column names and types: {"name": pl.Float64, ...}')
    return tuple(pl.Schema(schema).items())


def _is_integer(e: Expr) -> bool:
    return isinstance(e, Lit) and type(e.value) is int and e.dtype is None and -(1 << 63) <= e.value < 1 << 63
