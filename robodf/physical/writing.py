"""The last stage of a query that ends in files or in a Ray Dataset: each task sees to its own partition."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import polars as pl

from robodf.io.sink_part import Part, write_part
from robodf.physical.task import Output


@dataclass(frozen=True)
class Writing(Output):
    """The rows as files of a data set, under names of this attempt. It says which they are."""

    part: Part
    number: int

    blocks = 0

    def run(self, query: pl.LazyFrame) -> tuple[list[pl.DataFrame], Any]:
        return [], write_part(self.part, query, self.number)


@dataclass(frozen=True)
class AsTables(Output):
    """The rows as Ray Data takes them."""

    def pack(self, frame: pl.DataFrame) -> Any:
        from robodf.io.ray_datasets import table_of

        return table_of(frame)


def pieces_beside(target: str) -> str:
    """Where the stages of a write that can be resumed are kept until it is done: beside its target."""
    if "://" in target:
        return target.rstrip("/") + ".robodf-pieces"
    path = os.path.realpath(os.path.expanduser(target))
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.robodf-pieces")
