"""What cudf-polars makes of a Polars query: the one place that knows its private Translator.

Asking needs no GPU and reads no data: a piece of a plan is asked over empty frames of its inputs' types, a scan over
the files that it names, of which Polars reads the footers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import polars as pl

from robodf.compat import KEEP_ORDER, POLARS
from robodf.errors import DeviceError

Ask = Callable[[pl.LazyFrame], list[str]]
"""Why a query cannot run on a GPU and give the rows that Polars gives; nothing where it can."""

INSTALL = "pip install 'robodf[gpu]' installs it, with the Polars that it works with"


@cache
def available() -> str | None:
    """Why cudf-polars cannot be used in this environment; None where it can. It says nothing about a GPU."""
    if importlib.util.find_spec("cudf_polars") is None:
        return f"cudf-polars is not installed: {INSTALL}"
    if POLARS >= (2, 0):
        return f"Polars {pl.__version__} is newer than cudf-polars can read the plans of: {INSTALL}"
    try:
        found = obstacles(pl.LazyFrame({"a": [1]}).select(pl.col("a") + 1))
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # a library of CUDA, or a part of Polars
        return f"cudf-polars cannot be imported ({str(error).splitlines()[0]}): {INSTALL}"
    return f"cudf-polars cannot read the plans of Polars {pl.__version__} ({found[0]}): {INSTALL}" if found else None


def obstacles(query: pl.LazyFrame) -> list[str]:
    """Why cudf-polars cannot run a query, or would give other rows than Polars does; nothing where it can.

    A clean answer means that the query translates, not that it fits into a GPU's memory. ImportError without
    cudf-polars: ask `available` first.
    """
    from robodf.gpu.differences import differences

    try:
        tree, errors = _translate(query)
    except (pl.exceptions.PolarsError, OSError) as error:  # Polars cannot plan it: a file may be gone
        return [_line(error)]
    except NotImplementedError as error:
        return [_line(error)]
    found = [_refusal(error) for error in errors]
    return list(dict.fromkeys(found or differences(tree)))


def translated(query: pl.LazyFrame) -> Any:
    """The tree of cudf-polars' operators (cudf_polars.dsl.ir.IR) for a query; it needs no GPU.

    DeviceError without cudf-polars; NotImplementedError for a query that it does not translate.
    """
    why = available()
    if why is not None:
        raise DeviceError(why)
    tree, errors = _translate(query)
    if errors:
        raise NotImplementedError(f"cudf-polars does not translate it: {_refusal(errors[0])}")
    return tree


def _translate(query: pl.LazyFrame) -> tuple[Any, list[Exception]]:
    """The translated query, and what it has met on its way that it does not translate."""
    from cudf_polars.dsl.translate import Translator  # pyright: ignore[reportMissingImports]

    asked: Any = Translator(
        query._ldf.with_optimizations(KEEP_ORDER._pyoptflags).visit(), pl.GPUEngine(executor="in-memory")
    )
    return asked.translate_ir(), asked.errors


def _refusal(error: Exception) -> str:
    if isinstance(error, NotImplementedError):
        return _line(error)
    # Met on what it does not know at all, such as the options of an as-of join.
    return f"cudf-polars does not understand it ({type(error).__name__}: {_line(error)})"


def _line(error: Exception) -> str:
    """What an error says, in a line that stands for it in `explain()`."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
