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

from robodf.plan.expr import KERNEL, Call, Expr, as_expr, freeze


@dataclass(frozen=True)
class Kernel:
    """A row-wise function: row i of the output comes from row i of each argument alone.

    `run(*series, **options)` gives a series as long as its arguments, of the type `dtype(**options)`. `total` says that
    it never raises, whatever the values: only then may it be evaluated on rows that a query drops.
    """

    run: Callable[..., pl.Series]
    dtype: Callable[..., pl.DataType]
    total: bool = False


_KERNELS: dict[str, Kernel] = {}


def register(name: str, kernel: Kernel) -> None:
    """Make a kernel known under a name that no other has."""
    assert name not in _KERNELS, f"two kernels are named {name}"
    _KERNELS[name] = kernel


def kernel(fn: str) -> Kernel:
    """The kernel of a call such as "robodf.points"."""
    return _KERNELS[fn.removeprefix(KERNEL)]


def call(name: str, *args: Any, **options: Any) -> Expr:
    """The expression of a kernel over columns (names or expressions)."""
    assert name in _KERNELS, f"no kernel is named {name}"
    frozen = tuple((key, freeze(value)) for key, value in sorted(options.items()))
    return Call(KERNEL + name, tuple(as_expr(a) for a in args), frozen)


def lowered(fn: str, args: list[pl.Expr], options: dict[str, Any]) -> pl.Expr:
    """The kernel over Polars expressions; the result has the name of the first."""
    found = kernel(fn)
    dtype = found.dtype(**options)

    def run(packed: pl.Series) -> pl.Series:
        made = found.run(*packed.struct.unnest().get_columns(), **options)
        assert made.dtype == dtype and len(made) == len(packed), f"{fn} gave {made.dtype}, not {dtype}"
        return made.alias(packed.name)

    first = args[0].meta.output_name() if args else fn
    # Arguments may share a name, which fields of a struct cannot.
    packed = pl.struct(*(a.alias(f"_{i}") for i, a in enumerate(args)))
    return packed.map_batches(run, return_dtype=dtype, is_elementwise=True).alias(first)
