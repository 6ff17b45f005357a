"""Messages that stay as they are: an encoding without a decoder, or a schema that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from robodf.io.messages.decoder import Decoder, Fields, Problem, Schema, project
from robodf.io.messages.payloads import Payloads

COLUMN = "_raw"
ERROR = "_error"


@dataclass(frozen=True)
class RawDecoder(Decoder):
    """The Binary column `_raw`, and `_error`: in each row the `reason` why the messages are not decoded."""

    reason: str = ""

    @property
    def name(self) -> str:
        return "raw"

    @property
    def schema(self) -> Schema:
        return {COLUMN: pl.Binary(), ERROR: pl.String()}

    def decode(
        self, payloads: Payloads, fields: Fields | None, schema: Schema, problems: list[Problem]
    ) -> pl.DataFrame:
        made = []
        for name in project(self.schema, fields):
            reason = pl.Series(name, [self.reason], dtype=pl.String)
            raw = name == COLUMN
            made.append(payloads.to_series(name) if raw else reason.new_from_index(0, len(payloads)))
        return pl.DataFrame(made) if made else pl.DataFrame(height=len(payloads))
