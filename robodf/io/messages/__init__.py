"""Message payloads into columns: one decoder per channel, chosen by its encodings."""

from __future__ import annotations

from robodf.io.messages.decoder import Decoder, header_stamp
from robodf.io.messages.payloads import Payloads
from robodf.io.messages.raw import RawDecoder

__all__ = ["Decoder", "Payloads", "decoder_for", "header_stamp"]


def decoder_for(message_encoding: str, schema_encoding: str, schema_name: str, schema_data: bytes) -> Decoder:
    """The decoder of a channel with these encodings and this schema, as an MCAP file states them.

    Never fails: where there is no decoder, or the schema cannot be read, the messages stay raw and the
    decoder's `reason` says why.

    >>> decoder_for("cdr", "ros2msg", "std_msgs/msg/Float64", b"float64 data").schema
    {'data': Float64}
    """
    if message_encoding == "cdr":
        from robodf.io.messages import ros2

        if schema_encoding not in ros2.ENCODINGS:
            return RawDecoder(f"CDR needs a schema in {' or '.join(ros2.ENCODINGS)}, not {schema_encoding!r}")
        try:
            ros2.compiled(schema_encoding, schema_name, bytes(schema_data))
        except ros2.SchemaTextError as error:
            return RawDecoder(f"{schema_name}: {error}")
        return ros2.Ros2Decoder(schema_encoding, schema_name, bytes(schema_data))
    if message_encoding == "json":
        from robodf.io.messages.json import JsonDecoder, declared_schema

        return JsonDecoder(declared_schema(schema_encoding, bytes(schema_data)))
    return RawDecoder(f"no decoder for the message encoding {message_encoding!r}")
