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
from robodf.plan.durations import exact_times
from robodf.plan.expr import Col, Expr, conjunction
from robodf.plan.failures import OnError
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import limited
from robodf.plan.nodes.unique import constant_in_groups
from robodf.plan.spread import AS_INPUT, Groups, Spread


@node
class DecodeVideo(Plan):
    """The rows with the frame of each message of `data`, of which those before it are decoded first.

    Rows with equal `by` are one stream. A row has no frame before the first one at which decoding can start. With
    `wanted` it gives the rows for which that is true, and decodes what they need alone.
    """

    input: Plan
    data: str
    format: str
    by: tuple[str, ...]
    order: str | None
    name: str
    resolution: tuple[int, int] | None
    on_error: OnError
    wanted: Expr | None = None

    cuts = True
    computes = True

    @property
    def same_count(self) -> bool:  # type: ignore[override]
        return self.wanted is None

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        (source,) = inputs
        schema = self.schema
        wanted = None if self.wanted is None else exact_times(self.wanted, self.input.schema).polars

        def batches() -> Iterator[pl.DataFrame]:
            from robodf.images.video_messages import BATCH, Decoding

            decoding = Decoding(self.data, self.format, self.by, self.order, self.name, self.resolution, self._tell)
            for batch in run_in_batches(source, BATCH):
                if batch.height:
                    kept = None if wanted is None else batch.select(wanted.fill_null(False)).to_series()
                    yield from decoding.batch(batch, kept)
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
        asked = frozenset() if self.wanted is None else self.wanted.columns
        return ((out - {self.name}) | {self.data, self.format, *self.by, *order} | asked,)

    def prune(self, out: Names) -> Plan:
        if self.name in out:
            return self
        return self.input if self.wanted is None else Filter(self.input, self.wanted)

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or self.name in predicate.columns:
            return None
        if constant_in_groups(predicate, frozenset(self.by), self.input.schema):
            return self.replace(input=Filter(self.input, predicate))
        return self.replace(wanted=predicate if self.wanted is None else conjunction((self.wanted, predicate)))

    def push_limit(self, n: int) -> Plan | None:
        return limited(self, n) if self.wanted is None else None

    def count(self) -> int | None:
        return self.input.count() if self.wanted is None else None

    def estimate(self, *rows: float) -> float:
        return rows[0] if self.wanted is None else Filter(self.input, self.wanted).estimate(*rows)

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
        asked = "" if self.wanted is None else f" where={self.wanted!r}"
        return f"DecodeVideo {self.data} as {self.name}{by}{asked} on_error={self.on_error.mode}"
