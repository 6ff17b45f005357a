"""Queries over frames that lie on the device already, and how long frames take to get there: what is measured by.

This takes private classes of cudf-polars; the tree of operators is that of `gpu/translation.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from robodf.gpu.library import library


def resident(root: Any) -> Callable[[], Any]:
    """What runs a tree of operators over frames that are moved to the device now, and waits for the answer.

    The answer (cudf_polars.containers.DataFrame) stays there.
    """
    context = library("cudf_polars.dsl.ir").IRExecutionContext()
    moved: dict[int, Any] = {}

    def evaluate(node: Any) -> Any:
        if id(node) in moved:
            return moved[id(node)]
        inputs = [evaluate(child) for child in node.children]
        return node.do_evaluate(*node._non_child_args, *inputs, context=context)

    def frames(node: Any) -> None:
        if type(node).__name__ == "DataFrameScan":
            moved[id(node)] = evaluate(node)
        for child in node.children:
            frames(child)

    def run() -> Any:
        answer = evaluate(root)
        answer.stream.synchronize()
        return answer

    frames(root)
    return run


def crossing(frame: pl.DataFrame) -> tuple[Callable[[], None], Callable[[], pl.DataFrame]]:
    """What moves a frame to the device, and what brings it back, conversions included. It lies there until both end."""
    containers = library("cudf_polars.containers")
    stream = library("cudf_polars.utils.cuda_stream").get_cuda_stream()
    there = containers.DataFrame.from_polars(frame, stream)

    def give() -> None:
        containers.DataFrame.from_polars(frame, stream)
        stream.synchronize()

    return give, there.to_polars
