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


@dataclass(frozen=True)
class Kernel:
    """A row-wise function: row i of the output comes from row i of each argument alone.

    `run(*series, **options)` gives a series as long as its arguments, of the type `dtype(**options)`, or of that of its
    first argument where `dtype` is None. `total` says that it never raises, whatever the values: only then may it be
    evaluated on rows that a query drops. One that is not total sees all rows in one piece, in memory: make it total, by
    giving null, wherever there is a way.
    """

    run: Callable[..., pl.Series]
    dtype: Callable[..., pl.DataType] | None
    total: bool = False


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
