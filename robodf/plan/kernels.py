"""Functions over columns that Polars lacks, known by name.

An expression names such a function as `Call("robodf.<name>", (column, ...), options)`, so it can be compared, pickled,
pushed down and shipped as any other. The table holds what robodf registers when it is imported; a plan from elsewhere
can name nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from robodf.errors import QueryError, hint
from robodf.plan.expr import KERNEL, Call, Expr, as_expr, freeze
from robodf.plan.node import Node


@dataclass(frozen=True)
class Kernel:
    """A row-wise function: row i of the output comes from row i of each argument alone.

    `run(*series, **options)` gives a series as long as its arguments, of the type `dtype(**options)`, or of that of its
    first argument where `dtype` is None. `total` says that it never raises, whatever the values: only then may it be
    evaluated on rows that a query drops. One that is not total sees all rows in one piece, in memory: make it total, by
    giving null, wherever there is a way. `on_gpu` says that it may run on a GPU too: then `run` takes an option
    `engine`, the one that the query was asked to run on, or None.
    """

    run: Callable[..., pl.Series]
    dtype: Callable[..., pl.DataType] | None
    total: bool = False
    on_gpu: bool = False


_KERNELS: dict[str, Kernel] = {}


def register(name: str, kernel: Kernel) -> None:
    """Make a kernel known under a name that no other has; ValueError where another has it."""
    if _KERNELS.setdefault(name, kernel) != kernel:
        raise ValueError(f"two kernels are named {name!r}")


def kernel(fn: str) -> Kernel:
    """The kernel of a call such as "robodf.ros.points"; QueryError where this robodf has none of that name."""
    name = fn.removeprefix(KERNEL)
    if name not in _KERNELS:
        raise QueryError(f"this robodf has no function {name!r}{hint(name, _KERNELS)}")
    return _KERNELS[name]


def call(name: str, *args: Any, **options: Any) -> Expr:
    """The expression of a kernel over columns (names or expressions); it has at least one, and its name."""
    kernel(name)
    if not args:
        raise ValueError(f"the kernel {name!r} needs a column")
    frozen = tuple((key, freeze(value)) for key, value in sorted(options.items()))
    return Call(KERNEL + name, tuple(as_expr(a) for a in args), frozen)


def runs_on_gpu(fn: str) -> bool:
    """Whether a function's name is that of a kernel that may run on a GPU too."""
    return fn.startswith(KERNEL) and kernel(fn).on_gpu


def with_engine(e: Expr, engine: str) -> Expr:
    """The expression with the engine told to those of its kernels that may run on a GPU."""

    def told(x: Any) -> Any:
        x = Node.map(x, told)
        if not isinstance(x, Call) or not runs_on_gpu(x.fn):
            return x
        rest = tuple(option for option in x.options if option[0] != "engine")
        return Call(x.fn, x.args, (*rest, ("engine", engine)))

    return told(e)


def lowered(fn: str, args: list[pl.Expr], options: dict[str, Any]) -> pl.Expr:
    """The kernel over Polars expressions; the result has the name of the first."""
    found = kernel(fn)
    stated = None if found.dtype is None else found.dtype(**options)

    def run(packed: pl.Series) -> pl.Series:
        given = packed.struct.unnest().get_columns()
        made = found.run(*given, **options)
        dtype = given[0].dtype if stated is None else stated
        if made.dtype != dtype or len(made) != len(packed):
            # Polars believes what it is told of types and lengths: what comes later would read beyond its memory.
            raise TypeError(f"{fn} gave {len(made)} rows of {made.dtype}, not {len(packed)} rows of {dtype}")
        return made.alias(packed.name)

    first = args[0].meta.output_name()
    # Arguments may share a name, which fields of a struct cannot.
    packed = pl.struct(*(a.alias(f"_{i}") for i, a in enumerate(args)))
    # Polars moves what it is told is elementwise before other filters, to rows on which a function may raise.
    dtype = pl.dtype_of(args[0]) if stated is None else stated
    return packed.map_batches(run, return_dtype=dtype, is_elementwise=found.total).alias(first)
