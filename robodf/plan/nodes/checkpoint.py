"""Rows that are kept in files, so that a later run of the same query starts from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.compat import run_in_batches
from robodf.io.stream import from_batches
from robodf.plan.base import Plan, Schema
from robodf.plan.node import lazy, node

if TYPE_CHECKING:
    from robodf.physical.piece_store import PieceStore

ROWS, ROWS_OF_ONE = "rows", "rows-of-one-process"
"""The stage of a store that has the rows of a checkpoint; the two engines cut them into other pieces."""

_WHOLE = "complete-"
_BATCH, _PIECE = 1 << 17, 64 << 20  # rows that are taken at once; bytes in memory of a piece


@node
class Checkpoint(Plan):
    """The rows of the input, read from `store` where it is complete, else computed and written there first.

    Nothing is pushed or pruned through it: what it keeps must not depend on what is asked of it. `store` is one of
    `physical/piece_store.py`, named by the key of the input.
    """

    input: Plan
    store: Any

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        store: PieceStore = self.store

        def batches() -> Iterator[pl.DataFrame]:
            if kept_stage(store) is None:
                with store.locked():
                    if kept_stage(store) is None:  # another process may have completed it meanwhile
                        write(store, inputs[0])
            stage = kept_stage(store)
            assert stage is not None
            for piece in sorted(store.done(stage)):
                yield store.read(stage, piece, 0)

        return from_batches(batches, self.schema, "checkpoint")

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    def count(self) -> int | None:
        return self.input.count() if self.kept_rows is None else self.kept_rows

    @property
    def kept_rows(self) -> int | None:
        """How many rows are there already; None where they must be computed first."""
        stage = kept_stage(self.store)
        return None if stage is None else self.store.complete().stages[stage].rows

    def label(self) -> str:
        rows = self.kept_rows
        if rows is not None:
            found = f"{rows:,} rows are there and are read"
        elif pieces := self.store.done(ROWS):
            found = f"{len(pieces):,} partitions of a run that stopped are there and are read, the others computed"
        else:
            found = "computed by the first run"
        return f"Checkpoint {self.store.path} ({found})"


def kept_stage(store: PieceStore) -> str | None:
    """The stage that has all rows, where one does."""
    done = store.complete()
    if done is None:
        return None
    return next(stage for stage in (ROWS, ROWS_OF_ONE) if _WHOLE + stage in done.stages)


def complete(store: PieceStore, stage: str) -> None:
    """Say that a stage has all rows."""
    store.write(_WHOLE + stage, 0, [pl.DataFrame({"complete": [True]})])
    store.finish()


def write(store: PieceStore, query: pl.LazyFrame) -> None:
    """Keep the rows of a query, in pieces; what an earlier run left unfinished is written anew."""
    waiting: list[pl.DataFrame] = []
    size = piece = 0
    for batch in run_in_batches(query, _BATCH):
        waiting.append(batch)
        size += batch.estimated_size()
        if size >= _PIECE:
            store.write(ROWS_OF_ONE, piece, [pl.concat(waiting)])
            waiting, size, piece = [], 0, piece + 1
    if waiting or not piece:
        rows = pl.concat(waiting) if waiting else pl.DataFrame(schema=query.collect_schema())
        store.write(ROWS_OF_ONE, piece, [rows])
    complete(store, ROWS_OF_ONE)
