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
    make = _MAKERS.get(message_encoding)
    if make is None:
        return RawDecoder(f"no decoder for the message encoding {message_encoding!r}")
    return make(schema_encoding, schema_name, bytes(schema_data))


def _cdr(schema_encoding: str, name: str, data: bytes) -> Decoder:
    from robodf.io.messages import ros2

    if not schema_encoding and not data:
        # Recordings of old distributions have no definitions: the types that ROS 2 itself brings are known by name.
        if not ros2.is_standard(name):
            return RawDecoder(f"the file has no definition of {name or 'its messages'}, and it is no standard type")
        schema_encoding = "ros2msg"
    if schema_encoding not in ros2.ENCODINGS:
        return RawDecoder(f"CDR needs a schema in {' or '.join(ros2.ENCODINGS)}, not {schema_encoding!r}")
    try:
        ros2.compiled(schema_encoding, name, data)
    except ros2.SchemaTextError as error:
        return RawDecoder(f"{name}: {error}")
    return ros2.Ros2Decoder(schema_encoding, name, data)


def _ros1(schema_encoding: str, name: str, data: bytes) -> Decoder:
    from robodf.io.messages import ros1

    if schema_encoding != ros1.ENCODING:
        return RawDecoder(f"ROS 1 messages need a schema in {ros1.ENCODING}, not {schema_encoding!r}")
    try:
        ros1.compiled(name, data)
    except ros1.SchemaTextError as error:
        return RawDecoder(f"{name}: {error}")
    return ros1.Ros1Decoder(name, data)


def _json(schema_encoding: str, name: str, data: bytes) -> Decoder:
    from robodf.io.messages.json import JsonDecoder, declared_schema

    return JsonDecoder(declared_schema(schema_encoding, data))


def _protobuf(schema_encoding: str, name: str, data: bytes) -> Decoder:
    from robodf.io.messages import protobuf

    if schema_encoding != "protobuf":
        return RawDecoder(f"Protobuf needs a schema in protobuf, not {schema_encoding!r}")
    try:
        protobuf.compiled(name, data)
    except ImportError:
        return RawDecoder("Protobuf messages need the protobuf package: pip install robodf[protobuf]")
    except protobuf.SchemaDataError as error:
        return RawDecoder(f"{name}: {error}")
    return protobuf.ProtobufDecoder(name, data)


def _flatbuffer(schema_encoding: str, name: str, data: bytes) -> Decoder:
    from robodf.io.messages import flatbuffers

    if schema_encoding != "flatbuffer":
        return RawDecoder(f"FlatBuffers need a schema in flatbuffer, not {schema_encoding!r}")
    try:
        flatbuffers.compiled(name, data)
    except flatbuffers.SchemaDataError as error:
        return RawDecoder(f"{name}: {error}")
    return flatbuffers.FlatbuffersDecoder(name, data)


_MAKERS = {"cdr": _cdr, "ros1": _ros1, "json": _json, "protobuf": _protobuf, "flatbuffer": _flatbuffer}
