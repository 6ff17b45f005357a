"""Blocks that outlive the driver: written to a store of pieces instead of handed on, so that a later run has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from robodf.io.stream import from_batches
from robodf.physical.cut import Limits
from robodf.physical.piece_store import PieceStore
from robodf.physical.task import Output
from robodf.plan.base import Plan, Schema
from robodf.plan.node import lazy, node


@dataclass(frozen=True)
class Stored:
    """A block in a store: one bucket of a piece of a stage."""

    stage: str
    piece: int
    bucket: int


@dataclass(frozen=True)
class Keeping(Output):
    """What another output makes, as a piece of a store. It says the rows of each block."""

    output: Output
    store: PieceStore
    stage: str
    piece: int

    blocks = 0

    def run(self, query: pl.LazyFrame) -> tuple[list[pl.DataFrame], Any]:
        frames, _ = self.output.run(query)
        self.store.write(self.stage, self.piece, frames)
        return [], tuple(frame.height for frame in frames)


@node
class FromStore(Plan):
    """The rows of blocks in a store, one block after the other."""

    store: PieceStore
    blocks: tuple[Stored, ...]
    columns: tuple[tuple[str, Any], ...]

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        def batches() -> Iterator[pl.DataFrame]:
            for block in self.blocks:
                yield self.store.read(block.stage, block.piece, block.bucket)

        return from_batches(batches, self.schema, "kept rows")

    @lazy
    def schema(self) -> Schema:
        return dict(self.columns)

    def label(self) -> str:
        return f"FromStore {len(self.blocks)} blocks"


_LIMITS = "limits"


def limits_of(store: PieceStore, limits: Limits) -> Limits:
    """The limits that the first run with this store was cut by: another cut would have other pieces."""
    if store.done(_LIMITS):
        return Limits(**store.read(_LIMITS, 0, 0).row(0, named=True))
    store.write(_LIMITS, 0, [pl.DataFrame([asdict(limits)], schema_overrides={"partitions": pl.Int64})])
    return limits
