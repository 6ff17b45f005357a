"""Messages that stay as they are: an encoding without a decoder, or a schema that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from robodf.io.messages.decoder import Decoder, Fields, Problem, Schema, project
from robodf.io.messages.payloads import Payloads

COLUMN = "_raw"


@dataclass(frozen=True)
class RawDecoder(Decoder):
    """One Binary column `_raw`; `reason` says why the messages are not decoded."""

    reason: str = ""

    @property
    def name(self) -> str:
        return "raw"

    @property
    def schema(self) -> Schema:
        return {COLUMN: pl.Binary()}

    def decode(
        self, payloads: Payloads, fields: Fields | None, schema: Schema, problems: list[Problem]
    ) -> pl.DataFrame:
        if not project(self.schema, fields):
            return pl.DataFrame(height=len(payloads))
        return payloads.to_series(COLUMN).to_frame()
