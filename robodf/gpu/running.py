"""A fragment's query on a GPU: whole in its memory, else in pieces, else on the CPU; and which of them it was.

cudf-polars tells of device memory that ended by MemoryError (libcudf's std::bad_alloc, RMM's out_of_memory), which
Polars hands on as it is, and of more rows than a column of libcudf holds by OverflowError. What it finds impossible
while it runs is a NotImplementedError. Any other error is the query's own, as on the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl

from robodf.compat import KEEP_ORDER, run
from robodf.gpu.device_rows import DeviceRows, staying

Collect = Callable[[pl.LazyFrame], pl.DataFrame | DeviceRows]
Ways = tuple[tuple[str, Collect], ...]
"""Ways to run a query, by name, the best first. Each but the last may end without memory."""

GPU, PIECES, CPU = "GPU", "GPU in pieces", "CPU"


@dataclass(frozen=True)
class Ran:
    """Where a fragment ran, for how many seconds in all, and why not where it was tried before."""

    where: str
    seconds: float
    rows: int
    bytes: int
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        before = "".join(f"; {text}" for text in self.failed)
        return f"ran on the {self.where} in {self.seconds:.3g} s{before}"


def whole(query: pl.LazyFrame, share: float = 1.0) -> pl.DataFrame:
    """All rows of a query by cudf-polars, which holds every column that it works on in the device's memory.

    `share` is the part of the GPU that is this process' own.
    """
    return _by_cudf(query, share, executor="in-memory")


def in_pieces(query: pl.LazyFrame, share: float = 1.0) -> pl.DataFrame:
    """All rows of a query by cudf-polars, piece by piece, with what is not needed now moved to the host."""
    # Some steps need all rows in one piece: it does those so, and would warn of it.
    return _by_cudf(query, share, executor="streaming", executor_options={"fallback_mode": "silent"})


def _by_cudf(query: pl.LazyFrame, share: float, **options: object) -> pl.DataFrame:
    from robodf.gpu.memory import ensure_pool

    # Unless it is given one, cudf-polars makes a pool of its own, of most of what is free.
    engine = pl.GPUEngine(raise_on_fail=True, memory_resource=ensure_pool(share), **options)  # type: ignore[arg-type]
    rows = query.collect(engine=engine, optimizations=KEEP_ORDER)
    _HAS_RUN[0] = True
    return rows


_HAS_RUN = [False]


def has_run() -> bool:
    """Whether a query ran on the GPU in this process: the next does not wait for it to start."""
    return _HAS_RUN[0]


def ways_of(share: float = 1.0, *, fits: bool = True, stays: bool = False) -> Ways:
    """How a process that has a share of a GPU runs a query: whole only if it is expected to fit.

    With `stays` the rows of one that runs whole are left on the device.
    """
    large: Ways = ((PIECES, partial(in_pieces, share=share)), (CPU, run))
    return ((GPU, partial(_left_there if stays else whole, share=share)), *large) if fits else large


def _left_there(query: pl.LazyFrame, share: float) -> DeviceRows:
    rows = staying(query, share)
    _HAS_RUN[0] = True
    return rows


def collected(query: pl.LazyFrame, ways: Ways) -> tuple[pl.DataFrame | DeviceRows, Ran]:
    """All rows of a query by the first way that can, and which that was.

    >>> def full(query):
    ...     raise MemoryError("out_of_memory")
    >>> rows, ran = collected(pl.LazyFrame({"a": [1]}), (("GPU", full), ("CPU", pl.LazyFrame.collect)))
    >>> ran.where, ran.failed
    ('CPU', ('GPU: no memory left (out_of_memory)',))
    """
    started = time.perf_counter()
    failed: list[str] = []
    impossible = False
    for k, (name, way) in enumerate(ways):
        last = k == len(ways) - 1
        if impossible and not last:
            continue
        try:
            rows = way(query)
        except (MemoryError, OverflowError) as error:
            if last:
                raise
            what = "no memory left" if isinstance(error, MemoryError) else "more rows than fit"
            failed.append(f"{name}: {what} ({_line(error)})")
        except (NotImplementedError, pl.exceptions.ComputeError) as error:
            if last or not _says_impossible(error):
                raise
            impossible = True
            failed.append(f"{name}: cudf-polars cannot do it ({_line(error)})")
        else:
            seconds = time.perf_counter() - started
            return rows, Ran(name, seconds, rows.height, int(rows.estimated_size()), tuple(failed))
    raise ValueError("no way to run a query was given")


def _says_impossible(error: Exception) -> bool:
    # Polars puts what the translation of a query raised into a text.
    return isinstance(error, NotImplementedError) or "'cuda' conversion failed: NotImplementedError" in str(error)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
