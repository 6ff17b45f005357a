"""Video whose frames are messages of a log, decoded in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from robodf.compat import run_in_batches
from robodf.errors import FileFormatError
from robodf.images.layout import IMAGE
from robodf.io.stream import from_batches
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.expr import Col, Expr
from robodf.plan.failures import OnError
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import limited
from robodf.plan.nodes.unique import constant_in_groups
from robodf.plan.spread import AS_INPUT, Groups, Spread


@node
class DecodeVideo(Plan):
    """The rows with the frame of each message of `data`, of which those before it are decoded first.

    Rows with equal `by` are one stream. A row has no frame before the first one at which decoding can start.
    """

    input: Plan
    data: str
    format: str
    by: tuple[str, ...]
    order: str | None
    name: str
    resolution: tuple[int, int] | None
    on_error: OnError

    cuts = True
    computes = True
    same_count = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        (source,) = inputs
        schema = self.schema

        def batches() -> Iterator[pl.DataFrame]:
            from robodf.images.video_messages import BATCH, Decoding

            decoding = Decoding(self.data, self.format, self.by, self.order, self.name, self.resolution, self._tell)
            for batch in run_in_batches(source, BATCH):
                if batch.height:
                    yield from decoding.batch(batch)
            yield from decoding.end()

        return from_batches(batches, schema, "decode_video")

    def _tell(self, row: int, fact: dict[str, Any], why: str, damage: bool) -> None:
        recording = str(fact[self.by[0]]) if self.by else None
        at = "" if self.order is None else f" at {self.order} {fact[self.order]}"
        if damage and self.on_error.mode == "raise":
            raise FileFormatError(
                f"decode_video: {recording or 'the stream'}, row {row}{at}: {why}. "
                "Pass on_error='collect' for null there"
            )
        # The number of a row is that in its partition, so it is told only where nothing better is known.
        self.on_error.log.add(recording, f"{why}{at} (in decode_video)", None, row if self.order is None else None)

    @lazy
    def schema(self) -> Schema:
        return {**self.input.schema, self.name: IMAGE}

    def needs(self, out: Names) -> tuple[Names, ...]:
        order = [] if self.order is None else [self.order]
        return ((out - {self.name}) | {self.data, self.format, *self.by, *order},)

    def prune(self, out: Names) -> Plan:
        return self if self.name in out else self.input

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or not constant_in_groups(predicate, frozenset(self.by), self.input.schema):
            return None
        return self.replace(input=Filter(self.input, predicate))

    def push_limit(self, n: int) -> Plan | None:
        return limited(self, n)

    def count(self) -> int | None:
        return self.input.count()

    def spread(self) -> tuple[Spread, ...]:
        return (Groups((tuple(map(Col, self.by)),), AS_INPUT),) if self.by else ()

    def passes(self, column: str) -> str | None:
        return None if column == self.name else column

    @property
    def journal(self) -> OnError:
        return self.on_error

    def afresh(self) -> Plan:
        return self.replace(on_error=OnError(self.on_error.mode))

    def label(self) -> str:
        by = f" by {', '.join(self.by)}" if self.by else ""
        return f"DecodeVideo {self.data} as {self.name}{by} on_error={self.on_error.mode}"
