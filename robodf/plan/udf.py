"""Calling a user's function on a batch in the format that it asked for, and checking what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from robodf.errors import OptionError, SchemaError
from robodf.plan.node import Node, node

ROWS_AT_ONCE = 1 << 14
"""Rows that a row-by-row function is handed at once: only the memory that it takes depends on it."""

FORMATS = ("polars", "arrow", "pandas", "numpy")


@node
class Step(Node):
    """One user function over batches: a callable, or a class that is made once and called with each batch.

    With `reads` it is given these columns only. With `preserves_rows` row i of its answer depends on row i alone, so
    with both the other columns pass by it, and what it returns is added to them.
    """

    function: Any
    batch_format: str
    output: tuple[tuple[str, Any], ...]  # the columns that it returns, with their types
    reads: tuple[str, ...] | None
    preserves_rows: bool
    why: str = ""  # why a lambda runs row by row: for explain()

    @property
    def name(self) -> str:
        return getattr(self.function, "__qualname__", type(self.function).__name__).replace("<locals>.", "")

    @property
    def passes_by(self) -> bool:
        """True where columns that it does not read go past it."""
        return self.reads is not None and self.preserves_rows

    @property
    def made(self) -> frozenset[str]:
        return frozenset(dict(self.output))

    def schema_after(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {**schema, **dict(self.output)} if self.passes_by else dict(self.output)

    def start(self) -> Callable:
        return self.function() if isinstance(self.function, type) else self.function

    def apply(self, function: Callable, batch: pl.DataFrame) -> pl.DataFrame:
        """The frame after the function; SchemaError where the answer is not what was declared."""
        given = batch if self.reads is None else batch.select(self.reads)
        answer = from_format(function(to_format(given, self.batch_format)), self.name)
        missing = [name for name in dict(self.output) if name not in answer.columns]
        if missing:
            raise SchemaError(
                f"{self.name} was declared to return {list(dict(self.output))} but returned {answer.columns}: "
                f"{missing} missing. Correct schema= or the function."
            )
        if self.preserves_rows and answer.height != batch.height:
            raise SchemaError(
                f"{self.name} got {batch.height} rows and returned {answer.height}, but was declared with "
                "preserves_rows=True. Leave that out, or return one row for each."
            )
        columns = [_as_declared(answer.get_column(name), dtype, self.name) for name, dtype in self.output]
        return batch.with_columns(columns) if self.passes_by else pl.DataFrame(columns)

    def label(self) -> str:
        facts = [f"on {self.batch_format}"] if self.batch_format != "rows" else ["row by row"]
        if self.reads is not None:
            facts.append(f"reads {', '.join(self.reads)}")
        if self.preserves_rows:
            facts.append("preserves rows")
        if self.why:
            facts.append(self.why)
        return f"{self.name} ({', '.join(facts)})"


def _as_declared(column: pl.Series, dtype: Any, name: str) -> pl.Series:
    if column.dtype == dtype:
        return column
    try:
        return column.cast(dtype, strict=True)
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"{name} returned {column.name!r} as {column.dtype}, declared {dtype}: {error}") from error


def to_format(batch: pl.DataFrame, batch_format: str) -> Any:
    """The batch as polars.DataFrame, pyarrow.Table, pandas.DataFrame or a dict of NumPy arrays."""
    if batch_format in ("polars", "rows"):
        return batch
    if batch_format == "arrow":
        return batch.to_arrow()
    if batch_format == "pandas":
        return batch.to_pandas()
    if batch_format == "numpy":
        return {name: batch.get_column(name).to_numpy() for name in batch.columns}
    raise OptionError(f"batch_format={batch_format!r}: it is one of {', '.join(FORMATS)}")


def from_format(answer: Any, name: str) -> pl.DataFrame:
    """A frame out of what a batch function returned."""
    if isinstance(answer, pl.DataFrame):
        return answer
    if isinstance(answer, pl.LazyFrame):
        return answer.collect()
    if isinstance(answer, pl.Series):
        return answer.to_frame()
    if isinstance(answer, Mapping):
        return pl.DataFrame(dict(answer))
    if hasattr(answer, "__arrow_c_stream__"):
        return pl.DataFrame(answer)
    if type(answer).__module__.startswith("pandas"):
        return pl.from_pandas(answer)
    raise SchemaError(
        f"{name} returned {type(answer).__name__}; a batch function returns a polars.DataFrame, a pyarrow.Table, "
        "a pandas.DataFrame or a dict of arrays"
    )


class RowFunction:
    """A function of a row (a dict) as a function of a batch.

    `kind` says what its answer is: a row (map), a truth value (filter) or rows (flat_map).
    """

    def __init__(self, function: Callable, kind: str, output: tuple[tuple[str, Any], ...]):
        self.function, self.kind, self.output = function, kind, output
        self.__qualname__ = getattr(function, "__qualname__", type(function).__name__)

    def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
        rows = batch.iter_rows(named=True)
        if self.kind == "filter":
            return batch.filter(pl.Series([bool(self.function(row)) for row in rows], dtype=pl.Boolean))
        if self.kind == "flat_map":
            made = [made for row in rows for made in self.function(row)]
        else:
            made = [self.function(row) for row in rows]
        for row in made:
            if not isinstance(row, Mapping):
                raise SchemaError(f"{self.__qualname__} must return dicts of columns, it returned {type(row).__name__}")
            if row.keys() != dict(self.output).keys():
                raise SchemaError(
                    f"{self.__qualname__} was declared to return the columns {list(dict(self.output))}, "
                    f"it returned {list(row)}. Correct schema= or the function."
                )
        return pl.DataFrame(
            {name: pl.Series(name, [row[name] for row in made], dtype=dtype) for name, dtype in self.output}
        )

    def __reduce__(self):
        return RowFunction, (self.function, self.kind, self.output)
