"""A user's own functions, over rows and over batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, QueryError, user_line
from robodf.frame.base import FrameBase
from robodf.plan.expr import Col, Expr, Lit
from robodf.plan.failures import OnError
from robodf.plan.nodes.map import MapBatches
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.resolve import column_names, resolve
from robodf.plan.trace import Traced, trace
from robodf.plan.udf import FORMATS, ROWS_AT_ONCE, Exchange, RowFunction, Step

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


class Calling(FrameBase):
    """Methods that call the user's Python."""

    def map(self, function: Callable[[dict], dict], schema: Mapping[str, Any] | None = None, *,
            on_error: str = "raise") -> PipelineDataFrame:  # fmt: skip
        """A new row for each row: `function` gets a row as a dict and returns a dict of columns.

        A lambda of plain arithmetic and comparisons is turned into expressions (vectorised, pushed down); then
        `schema` is not needed. Any other function runs row by row and needs `schema`, the columns that it returns.

        What the function raises has a note that names the row. With `on_error="skip"` (or "collect", the same) the
        function runs row by row, rows for which it raises are left out, and `df.errors` lists them: file (the value of
        a column `recording`), offset (the number of the row, from 0, among those that the function was given), time
        (of a column `log_time`) and error. An answer that does not fit `schema` is a SchemaError all the same.

        >>> import robodf as rd
        >>> df = rd.from_dict({"a": [1, -1]})
        >>> df.map(lambda x: {**x, "ok": x["a"] > 0}).collect().rows()
        [(1, True), (-1, False)]
        >>> df.map(lambda x: {"text": str(x["a"])}, schema={"text": str}).collect().rows()
        [('1',), ('-1',)]
        >>> inverse = df.map(lambda x: {"b": 1 / (x["a"] + 1)}, schema={"b": float}, on_error="skip")
        >>> inverse.collect().rows(), inverse.errors["error"].to_list()
        ([(0.5,)], ['ZeroDivisionError: division by zero (in <lambda>)'])
        """
        skipping = on_error_of(on_error)
        have = self._plan.schema
        traced = trace(function, have) if schema is None and skipping is None else None
        if isinstance(traced, Traced) and isinstance(traced.result, dict):
            return self._project(traced.result)
        if traced is not None:
            why = getattr(traced, "reason", "it does not return a dict")
        else:
            why = "schema= was given" if skipping is None else BY_ROW
        if schema is None:
            raise QueryError(
                f"map: this function runs row by row ({why}), so the columns that it returns must be given: "
                'schema={"name": pl.Float64, ...}'
            )
        return self._rows(function, "map", schema, why, skipping)

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

    def flat_map(self, function: Callable[[dict], Any], schema: Mapping[str, Any], *,
                 on_error: str = "raise") -> PipelineDataFrame:  # fmt: skip
        """Any number of rows for each row: `function` gets a row as a dict and returns an iterable of dicts.

        `on_error` is that of `map`: of a row for which it raises no row is made, even if some were before it raised.

        >>> import robodf as rd
        >>> df = rd.from_dict({"text": ["pick up", "go"]})
        >>> words = df.flat_map(lambda x: [{"word": w} for w in x["text"].split()], schema={"word": str})
        >>> words.collect()["word"].to_list()
        ['pick', 'up', 'go']
        """
        return self._rows(function, "flat_map", schema, "", on_error_of(on_error))

    def _rows(
        self, function: Callable, kind: str, schema: Mapping[str, Any], why: str, skipping: OnError | None
    ) -> PipelineDataFrame:
        output = _declared(schema)
        preserves = kind == "map" and skipping is None
        step = Step(RowFunction(function, kind, output), "rows", output, None, preserves, why)
        return self._then(MapBatches(self._plan, (step,), ROWS_AT_ONCE, skipping))

    def map_batches(self, function: Any, batch_size: int | None = 1024, *, batch_format: str = "polars",
                    schema: Mapping[str, Any] | None = None, reads: Any = None,
                    preserves_rows: bool = False, on_error: str = "raise", device: str | None = None,
                    num_cpus: float | None = None, num_gpus: float = 0,
                    concurrency: int | None = None) -> PipelineDataFrame:  # fmt: skip
        """`function` over batches of exactly `batch_size` rows in order (the last one shorter; None: all rows at once).

        `function` is a callable, or a class that is made once per run and called with each batch (for models).
        `batch_format` is polars, arrow, pandas or numpy (a dict of arrays); torch (a dict of tensors); cupy (a dict of
        arrays on the GPU) or cudf. A column of type Array is an array of shape (rows, n). `schema` gives the columns
        that it returns; without it, those that it gets. `reads` names the only columns that it needs.
        `preserves_rows=True` promises that row i of the answer depends on row i of the batch alone; with `reads` too,
        the other columns pass by the function, what it returns is added to them, and filters on them run before it.

        What the function raises has a note that says which rows it was given. With `on_error="skip"` (or "collect",
        the same) a batch for which it raises is left out as a whole, and has a row in `df.errors` with the recording,
        number and time of its first row (see `map`).

        `device="gpu"` says that the function computes on a GPU: tensors are given on it, and what it returns may lie
        on it, in any library that speaks DLPack or the CUDA array interface. cupy and cudf are always of a GPU. Tensors
        and arrays have no nulls, texts, times or lists: such a column is a SchemaError, and cudf takes it. Where no GPU
        is found when the query runs, that is a DeviceError.

        `num_cpus` and `num_gpus` are what one call needs (a share of a GPU, such as 0.25, or whole ones; 0 is 1 with
        `device="gpu"`), and `concurrency` is how many calls run at once at most. They place the function on a Ray
        cluster; an engine of one process accepts them and calls the function as always.

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
        _check_format(batch_format, device)
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
        skipping = on_error_of(on_error)
        if skipping is not None and preserves_rows:
            raise OptionError(
                f"map_batches: with on_error={on_error!r} batches are left out, so preserves_rows=True cannot hold: "
                "leave one of them out, or catch the error in the function and return nulls"
            )
        asked = _resources(num_cpus, num_gpus, concurrency)
        exchange = None
        if batch_format not in FORMATS or device is not None:
            exchange, asked = _exchange(batch_format, device, asked, given)
        step = Step(function, batch_format, output, names, bool(preserves_rows), exchange=exchange)
        return self._then(MapBatches(self._plan, (step,), batch_size, skipping, *asked))


_OF_A_LIBRARY = ("torch", "cupy", "cudf")
_OF_A_GPU = ("cupy", "cudf")
_Asked = tuple[float | None, float, int | None]  # num_cpus, num_gpus, concurrency


def _check_format(batch_format: Any, device: Any) -> None:
    known = (*FORMATS, *_OF_A_LIBRARY)
    if batch_format not in known:
        raise OptionError(f"map_batches: batch_format is one of {', '.join(known)}, not {batch_format!r}")
    if device not in (None, "gpu", "cpu"):
        raise OptionError(f"map_batches: device is 'gpu', 'cpu' or None, not {device!r}")
    if device == "cpu" and batch_format in _OF_A_GPU:
        raise OptionError(
            f"map_batches: batch_format={batch_format!r} is of a GPU: leave device= out, or take 'numpy' or 'torch'"
        )


def _exchange(
    batch_format: str, device: str | None, asked: _Asked, given: Mapping[str, Any]
) -> tuple[Exchange, _Asked]:
    """How batches are handed over, and the resources: a function of a GPU needs one, unless it said how much of one."""
    from robodf.gpu.exchange import Exchange as OnDevice

    device = "gpu" if batch_format in _OF_A_GPU else device
    cpus, gpus, concurrency = asked
    if device == "gpu" and not gpus:
        gpus = 1.0
    exchange = OnDevice(batch_format, device, min(gpus, 1.0) or 1.0, user_line())
    exchange.check(given)
    return exchange, (cpus, gpus, concurrency)


BY_ROW = "on_error= was given"
"""Why a lambda runs row by row that could be turned into an expression: that would not raise what the lambda does."""


def on_error_of(on_error: str) -> OnError | None:
    """What `on_error=` of a method says, with a log of its own; None: errors are raised."""
    if on_error not in ("raise", "skip", "collect"):
        raise OptionError(f"on_error is 'raise', 'skip' or 'collect', not {on_error!r}")
    return None if on_error == "raise" else OnError(on_error)


def _resources(num_cpus: Any, num_gpus: Any, concurrency: Any) -> _Asked:
    for name, amount in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if amount is None and name == "num_cpus":
            continue
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not 0 <= amount < math.inf:
            raise OptionError(f"map_batches: {name} is a number, 0 or more, not {amount!r}")
    if num_gpus > 1 and num_gpus != int(num_gpus):
        raise OptionError(f"map_batches: num_gpus is a share of one GPU or a whole number, not {num_gpus!r}")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise OptionError(f"map_batches: concurrency is a whole number, 1 or more, or None, not {concurrency!r}")
    return None if num_cpus is None else float(num_cpus), float(num_gpus), concurrency


def _declared(schema: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The user's schema with instances of Polars types; Python types are understood."""
    if not isinstance(schema, Mapping) or not schema:
        raise OptionError('schema= is a dict of column names and types: {"name": pl.Float64, ...}')
    return tuple(pl.Schema(schema).items())


def _is_integer(e: Expr) -> bool:
    return isinstance(e, Lit) and type(e.value) is int and e.dtype is None and -(1 << 63) <= e.value < 1 << 63
