"""Kernels that numba compiles: once for all processes of one version of this package.

Only modules that are imported inside functions use this one, as numba is an extra.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

try:
    import numba
except ImportError as error:
    raise ImportError("dedup by similarity needs numba: pip install 'robodf[dedup]'") from error


def kernel(function: Callable) -> Callable:
    """`numba.njit`, without the GIL, kept on disk where a folder can be written.

    What is kept is of all sources of the package: numba itself looks at the file of the kernel alone, and would go on
    running what it inlined from another file before that one changed. Nothing is compiled in parallel: numba's own
    threads end the process where two threads of Python call it at once (`in_ranges` has ours).
    """
    made = numba.njit(nogil=True, boundscheck=False)(function)
    try:
        made.enable_caching()
    except RuntimeError:  # no folder for it: this process compiles for itself
        return made
    made._cache._cache_file._source_stamp = _sources()  # type: ignore[attr-defined]
    return made


@cache
def _sources() -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def in_ranges(rows: int, run: Callable[[int, int], Any], least: int = 1024) -> list[Any]:
    """`run(first, end)` on ranges of rows that cover all of them, in threads; the answers in order.

    As many threads as Polars has. What `run` computes for a row must not depend on the range that the row is in.
    """
    threads = min(pl.thread_pool_size(), -(-rows // least))
    if threads <= 1:
        return [run(0, rows)] if rows else []
    # Some more ranges than threads: they take different times.
    count = min(threads * 4, -(-rows // least))
    edges = [rows * k // count for k in range(count + 1)]
    with ThreadPoolExecutor(threads, "robodf-dedup") as pool:
        return list(pool.map(run, edges[:-1], edges[1:]))
