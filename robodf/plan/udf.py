"""Calling a user's function on a batch in the format that it asked for, and checking what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import polars as pl

from robodf.errors import OptionError, SchemaError
from robodf.plan.failures import Calls, tell_start
from robodf.plan.node import Node, node

ROWS_AT_ONCE = 1 << 14
"""Rows that a row-by-row function is handed at once: only the memory that it takes depends on it."""

FORMATS = ("polars", "arrow", "pandas", "numpy")
"""The formats that need nothing but what Polars has; others come with an `Exchange`."""


class Exchange(Protocol):
    """Hands batches to a function in a format of its own, or on a device."""

    @property
    def device(self) -> str | None:
        """Where the function computes, "gpu" or "cpu"; None where it does not matter."""
        ...

    def takes_from_device(self, schema: Mapping[str, Any]) -> bool:
        """Whether batches of these columns may lie on a device, where they are handed over."""
        ...

    def ready(self) -> None:
        """Raise where this process cannot do it, and say why."""
        ...

    def give(self, batch: Any) -> Any:
        """A batch as the function gets it."""
        ...

    def take(self, answer: Any, name: str) -> pl.DataFrame:
        """What the function `name` returned, as a frame; SchemaError where it is no table."""
        ...


_started: dict[Step, Callable] | None = None


def keep_started() -> None:
    """From now on make each class once in this process, not once a task: for workers that stay for many tasks."""
    global _started
    _started = {}


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
    exchange: Exchange | None = None  # None: `batch_format` is one of FORMATS

    @property
    def device(self) -> str | None:
        """The device that it was declared for: "gpu", "cpu" or None."""
        return None if self.exchange is None else self.exchange.device

    @property
    def name(self) -> str:
        return getattr(self.function, "__qualname__", type(self.function).__name__).replace("<locals>.", "")

    @property
    def passes_by(self) -> bool:
        """True where columns that it does not read go past it."""
        return self.reads is not None and self.preserves_rows

    @property
    def by_row(self) -> bool:
        """True where its answer for a row depends on that row alone, not on the batch that the row came in."""
        return self.preserves_rows or isinstance(self.function, RowFunction)

    @property
    def made(self) -> frozenset[str]:
        return frozenset(dict(self.output))

    def schema_after(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {**schema, **dict(self.output)} if self.passes_by else dict(self.output)

    def takes_from_device(self, schema: Mapping[str, Any]) -> bool:
        """Whether it can be handed rows of these columns that lie on a device."""
        given = schema if self.reads is None else {name: schema[name] for name in self.reads}
        return self.exchange is not None and self.exchange.takes_from_device(given)

    def ready(self) -> None:
        """Raise where this process cannot run it, before anything is read for it."""
        if self.exchange is not None:
            self.exchange.ready()

    def start(self) -> Callable:
        if not isinstance(self.function, type):
            return self.function
        if _started is not None and self in _started:
            return _started[self]
        try:
            made = self.function()
        except Exception as error:
            tell_start(error, self.name)
            raise
        if _started is not None:
            _started[self] = made
        return made

    def apply(self, function: Callable, batch: pl.DataFrame, calls: Calls) -> pl.DataFrame | None:
        """The frame after the function; None where that raised and its batch is skipped.

        SchemaError where the answer is not what was declared, whatever else is skipped.
        """
        calls.begin(batch)
        given = batch if self.reads is None else batch.select(self.reads)
        if isinstance(function, RowFunction):
            return self._checked(function.over(given, calls), batch, calls)
        handed = self._handed(given, calls)
        try:
            answer = function(handed)
            if isinstance(answer, pl.LazyFrame):  # what the user asked for runs now
                answer = answer.collect()
        except Exception as error:
            if not calls.skips(error):
                raise
            return None
        return self._checked(answer, batch, calls)

    def _handed(self, given: pl.DataFrame, calls: Calls) -> Any:
        if self.exchange is None:
            return to_format(given, self.batch_format)
        try:
            return self.exchange.give(given)
        except SchemaError as error:  # values that the format does not have, such as nulls
            calls.tell(error)
            raise

    def _checked(self, answer: Any, batch: pl.DataFrame, calls: Calls) -> pl.DataFrame:
        taken = from_format if self.exchange is None else self.exchange.take
        try:
            return self._as_declared(taken(answer, self.name), batch)
        except SchemaError as error:
            calls.tell(error)
            raise

    def _as_declared(self, answer: pl.DataFrame, batch: pl.DataFrame) -> pl.DataFrame:
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
        if self.device is not None:
            facts.append(f"device={self.device}")
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
    if isinstance(answer, pl.Series):
        return answer.to_frame()
    try:
        if isinstance(answer, Mapping):
            return pl.DataFrame(dict(answer))
        if hasattr(answer, "__arrow_c_stream__"):
            return pl.DataFrame(answer)
        if type(answer).__module__.startswith("pandas"):
            return pl.from_pandas(answer)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise SchemaError(f"{name} returned a {type(answer).__name__} that is no table: {error}") from error
    raise SchemaError(
        f"{name} returned {type(answer).__name__}; a batch function returns a polars.DataFrame, a pyarrow.Table, "
        "a pandas.DataFrame or a dict of arrays"
    )


class RowFunction:
    """A function of a row (a dict), run over the rows of a batch.

    `kind` says what its answer is: a row (map), a truth value (filter) or rows (flat_map).
    """

    def __init__(self, function: Callable, kind: str, output: tuple[tuple[str, Any], ...]):
        self.function, self.kind, self.output = function, kind, output
        self.__qualname__ = getattr(function, "__qualname__", type(function).__name__)

    def __call__(self, row: dict) -> list:
        """The rows that come of one row, not yet checked."""
        answer = self.function(row)
        if self.kind == "filter":
            return [row] if answer else []
        if self.kind == "map":
            return [answer]
        if not isinstance(answer, Iterable):
            raise _NoRows(type(answer).__name__)
        return list(answer)  # a generator runs the user's code only now

    def over(self, batch: pl.DataFrame, calls: Calls) -> pl.DataFrame:
        """The frame of its answers, without the rows for which it raised where `calls` skips them."""
        kept: list[bool] = []
        made: list[Mapping] = []
        for number, row in enumerate(batch.iter_rows(named=True)):
            try:
                answer = self(row)
            except _NoRows as wrong:
                raise self._wrong(f"must return an iterable of dicts, it returned {wrong}", calls, number) from None
            except Exception as error:
                if not calls.skips(error, number):
                    raise
                answer = []
            if self.kind == "filter":
                kept.append(bool(answer))
                continue
            for new in answer:
                self._check(new, calls, number)
            made += answer
        if self.kind == "filter":
            return batch.filter(pl.Series(kept, dtype=pl.Boolean))
        return pl.DataFrame([self._column(name, dtype, made, calls) for name, dtype in self.output])

    def _check(self, row: Any, calls: Calls, number: int) -> None:
        if not isinstance(row, Mapping):
            raise self._wrong(f"must return dicts of columns, it returned {type(row).__name__}", calls, number)
        if row.keys() != dict(self.output).keys():
            raise self._wrong(
                f"was declared to return the columns {list(dict(self.output))}, it returned {list(row)}. "
                "Correct schema= or the function.", calls, number,
            )  # fmt: skip

    def _wrong(self, words: str, calls: Calls, number: int) -> SchemaError:
        error = SchemaError(f"{self.__qualname__} {words}")
        calls.tell(error, number)
        return error

    def _column(self, name: str, dtype: Any, made: list[Mapping], calls: Calls) -> pl.Series:
        try:
            return pl.Series(name, [row[name] for row in made], dtype=dtype)
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
            reason = str(error).splitlines()[0]
            wrong = SchemaError(f"{self.__qualname__} was declared to return {name!r} as {dtype}: {reason}")
            calls.tell(wrong)
            raise wrong from error

    def __reduce__(self):
        return RowFunction, (self.function, self.kind, self.output)


class _NoRows(Exception):
    """What flat_map's function returned cannot be gone through."""
