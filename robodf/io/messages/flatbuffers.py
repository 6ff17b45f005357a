"""FlatBuffers messages with their schema as binary schema (.bfbs).

| FlatBuffers | column |
|---|---|
| numbers, bool, string | the same |
| enum | String: the name of the value, the digits of a number without a name (so of several bit flags) |
| table, struct | Struct, null where it is not there; Boolean (true or null) if the table has no fields |
| [T], [ubyte] | List, Binary; null where it is not there |
| [T:N] | Array; List where a null would take more than 32 KiB |
| union | Struct of its members, one of which is not null; which one says `<name>_type` |
| a number that is not there | its default; null if the schema says `= null` |
| foxglove.Time, Duration | Datetime("ns"), Duration("ns"); null where nsec is 1e9 or more |
| deprecated field, vector of unions, a table inside of itself | left out |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from robodf.io.messages.columns import SchemaDataError, spread, table
from robodf.io.messages.decoder import Decoder, Fields, Problem, Schema, project
from robodf.io.messages.flatbuffers_fields import Batch, Table
from robodf.io.messages.flatbuffers_schema import compiled
from robodf.io.messages.payloads import Payloads

__all__ = ["FlatbuffersDecoder", "SchemaDataError", "compiled"]


@dataclass(frozen=True)
class FlatbuffersDecoder(Decoder):
    """Decodes messages whose root is the table `type_name` (`namespace.Name`) of a .bfbs.

    A payload with an offset or a length that leads out of it, or with a text that is not UTF-8, is a problem; so
    is one of which the columns would take more than 256 times its size and 64 KiB.
    """

    type_name: str
    schema_data: bytes

    @property
    def name(self) -> str:
        return "FlatBuffers"

    @property
    def reason(self) -> str:
        return ""

    @property
    def tree(self) -> Table:
        return compiled(self.type_name, self.schema_data)

    @property
    def schema(self) -> Schema:
        return {name: one.node.dtype for name, one in self.tree.members.items()}

    def decode(
        self, payloads: Payloads, fields: Fields | None, schema: Schema, problems: list[Problem]
    ) -> pl.DataFrame:
        wanted = project(self.schema, fields)
        if not len(payloads):
            return pl.DataFrame(schema=wanted)
        batch = Batch(payloads)
        rows = np.arange(len(payloads))
        long = batch.require(rows, payloads.length >= 8, "the payload is too short for a table")
        root = batch.follow(rows, np.where(long, batch.start, batch.zeros), "the root table")
        columns = self.tree.read_columns(batch, rows, root, fields)
        frame = table(columns, len(payloads))
        if not batch.problems:
            return frame
        problems.extend(sorted(batch.problems.items()))
        good = rows[~batch.broken]
        frame = frame.filter(pl.Series(~batch.broken)) if columns else pl.DataFrame(height=len(good))
        return spread([(good, frame)], len(payloads), wanted)
