"""Protobuf messages with their schema as a serialized FileDescriptorSet.

| Protobuf | column |
|---|---|
| numbers, bool, string | the same |
| bytes | Binary |
| enum | String: the name of the value, the digits of a number without a name |
| message | Struct, null where it is not there; Boolean (true or null) if it has no fields |
| repeated | List |
| map | List of Struct(key, value), in the order of the message |
| `optional`, a member of a oneof, any field of proto2 | null where it is not there |
| other fields of proto3 | the default where they are not there |
| google.protobuf.Timestamp, Duration | Datetime("ns"), Duration("ns"); null where not valid |
| google.protobuf.DoubleValue, ... | the value, null where it is not there |
| google.protobuf.Struct, Value, ListValue | String: JSON text with sorted keys |
| google.protobuf.Any | Struct(type_url, value) |
| a message inside of itself | Binary: the inner message as it lies there |

Plain messages are walked by `protobuf_wire`. A payload that is not plain is parsed and written anew by the
`protobuf` package, which settles all rare cases by the rules, and then walked as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from robodf.io.messages.columns import SchemaDataError, spread, table
from robodf.io.messages.decoder import Decoder, Fields, Problem, Schema, project
from robodf.io.messages.payloads import Payloads
from robodf.io.messages.protobuf_schema import Compiled, compiled
from robodf.io.messages.protobuf_wire import Batch

__all__ = ["ProtobufDecoder", "SchemaDataError", "compiled"]


# What the package lets pass.
_UNREAD = "a text in the message is not UTF-8, or an extension of it is a group"


@dataclass(frozen=True)
class ProtobufDecoder(Decoder):
    """Decodes messages of the type `type_name` (`package.Name`) out of a FileDescriptorSet.

    Needs the `protobuf` package. A payload that Protobuf refuses, or with a text that is not UTF-8, is a
    problem; so is one of which the columns would take more than 256 times its size and 64 KiB.
    """

    type_name: str
    schema_data: bytes

    @property
    def name(self) -> str:
        return "protobuf"

    @property
    def reason(self) -> str:
        return ""

    @property
    def schema(self) -> Schema:
        return {name: field.dtype for name, field in self._compiled.tree.fields.items()}

    @property
    def _compiled(self) -> Compiled:
        return compiled(self.type_name, self.schema_data)

    def decode(
        self, payloads: Payloads, fields: Fields | None, schema: Schema, problems: list[Problem]
    ) -> pl.DataFrame:
        wanted = project(self.schema, fields)
        if not len(payloads):
            return pl.DataFrame(schema=wanted)
        rows, frame, batch = self._read(payloads, np.arange(len(payloads)), fields)
        if len(rows) == len(payloads):
            return frame
        found = list(batch.problems.items())
        odd = [i for i in np.flatnonzero(batch.odd).tolist() if i not in batch.problems]
        parts = [(rows, frame)]
        rewritten, places = self._rewritten(payloads, odd, found)
        if places:
            rows, frame, batch = self._read(Payloads.of(rewritten), np.array(places), fields)
            parts.append((rows, frame))
            found += [(places[i], why) for i, why in batch.problems.items()]
            left = np.flatnonzero(batch.odd).tolist()
            found += [(places[i], _UNREAD) for i in left if i not in batch.problems]
        problems.extend(sorted(found))
        return spread(parts, len(payloads), wanted)

    def _read(
        self, payloads: Payloads, places: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pl.DataFrame, Batch]:
        """The payloads that are plain, by their places, and their columns."""
        batch = Batch(payloads)
        rows = np.arange(len(payloads))
        columns = self._compiled.tree.read_columns(batch, rows, payloads.offset, payloads.length, fields)
        frame = table(columns, len(payloads))
        out = batch.odd.copy()
        out[list(batch.problems)] = True
        if out.any():
            places = places[~out]
            frame = frame.filter(pl.Series(~out)) if columns else pl.DataFrame(height=len(places))
        return places, frame, batch

    def _rewritten(self, payloads: Payloads, rows: list[int], problems: list[Problem]) -> tuple[list[bytes], list[int]]:
        """The messages of these rows in plain form, and which rows they are; the others are problems."""
        from google.protobuf.message import DecodeError

        plain, places = [], []
        for i in rows:
            try:
                message = self._compiled.message_class.FromString(payloads[i])
            except DecodeError as error:
                problems.append((i, f"not a {self.type_name}: {error}"))
                continue
            message.DiscardUnknownFields()
            plain.append(message.SerializePartialToString(deterministic=True))
            places.append(i)
        return plain, places
