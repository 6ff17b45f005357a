"""Files of Protobuf messages, each after its length, with the schema beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError, OptionError, SchemaError, hint
from robodf.io.counting import read
from robodf.io.file_object import FAR, NEAR
from robodf.io.files import FileReader, list_files, open_file
from robodf.io.indexed_files import PATH, IndexedFiles
from robodf.io.messages.decoder import Decoder

if TYPE_CHECKING:
    import numpy as np

    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.read import Paths

FRAMINGS = ("varint", "uint32", "single")
_LIGHT: dict[str, pl.DataType] = {"message": pl.UInt32(), "offset": pl.UInt64(), "size": pl.UInt32()}
_LARGEST = 256 << 20  # bytes of a message
_AT_ONCE = 8 << 20  # bytes of messages that are decoded at once
_GAP = 64 << 10  # bytes between two messages that are read along rather than left out
_GUESSED = 100  # messages by which a framing is found


def read_protobuf(
    paths: Paths,
    message: str,
    schema: Any,
    *,
    framing: str | None = None,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of Protobuf files, one row a message: path, message (from 0), offset, size, and its fields.

    `message` is its type ("package.Name"); `schema` a FileDescriptorSet (bytes, or the path of what
    `protoc --include_imports --descriptor_set_out` wrote) or the path of a .proto file, which is compiled now (its
    imports are looked for beside it). Fields become columns as they do in logs (see `robodf.io.messages.protobuf`); one
    that is called as the columns above gets `msg.` before it.

    `framing` says how messages follow each other: "varint" (the length as a varint before each: writeDelimitedTo),
    "uint32" (four bytes, little-endian: Open Simulation Interface), "single" (the file is one message). None finds it:
    by the lengths, which must lead through the file, and the first 100 messages.

    Lengths are read first; filters on message, offset and size choose what is decoded. A message that is none is an
    error, or a row of nulls, and the file ends at a length that leads out of it (`on_error`; `df.errors` tells).

    Needs `pip install 'robodf[protobuf]'`, and for .proto files grpcio-tools.

    >>> import robodf as rd, pathlib, tempfile
    >>> from google.protobuf import descriptor_pb2, timestamp_pb2
    >>> from google.protobuf.internal.encoder import _VarintBytes
    >>> files = descriptor_pb2.FileDescriptorSet()
    >>> _ = timestamp_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    >>> made = [timestamp_pb2.Timestamp(seconds=k).SerializeToString() for k in (5, 6)]
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.pb")
    >>> _ = name.write_bytes(b"".join(_VarintBytes(len(m)) + m for m in made))
    >>> df = rd.read_protobuf(name, "google.protobuf.Timestamp", files.SerializeToString())
    >>> df.select("message", "seconds").collect().rows()
    [(0, 5), (1, 6)]
    """
    from robodf.io.read import from_source

    if framing is not None and framing not in FRAMINGS:
        raise OptionError(
            f"read_protobuf: framing={framing!r}{hint(str(framing), FRAMINGS)} It is {', '.join(FRAMINGS)}"
        )
    try:
        from robodf.io.messages.protobuf import ProtobufDecoder, SchemaDataError
    except ImportError as error:
        raise ImportError("read_protobuf needs protobuf: pip install 'robodf[protobuf]'") from error
    files = list_files(paths, (".pb", ".pbstream", ".osi", ".binpb"), storage_options)  # type: ignore[arg-type]
    decoder = ProtobufDecoder(message, _descriptors(schema))
    try:
        _ = decoder.schema
    except SchemaDataError as error:
        raise SchemaError(f"read_protobuf: {error}{_types(decoder.schema_data, message)}") from error
    source = ProtobufFiles.of(files, storage_options, on_error, decoder=decoder, framing=framing)
    return from_source(source)


def _descriptors(schema: Any) -> bytes:
    if isinstance(schema, bytes):
        return schema
    path = Path(schema)
    if path.suffix == ".proto":
        return _compiled(path)
    with open_file(str(path)) as file:
        return file.read_at(0, file.size)


def _compiled(path: Path) -> bytes:
    """The FileDescriptorSet of a .proto file and all that it imports."""
    try:
        import grpc_tools
        from grpc_tools import protoc
    except ImportError as error:
        raise ImportError(
            "read_protobuf: a .proto file is compiled by grpcio-tools: pip install grpcio-tools, or give what "
            "protoc --include_imports --descriptor_set_out=FILE wrote"
        ) from error
    if not path.is_file():
        raise OptionError(f"read_protobuf: there is no file {path}")
    known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory(prefix="robodf-") as folder:
        out = Path(folder, "set.pb")
        arguments = [f"-I{path.parent}", f"-I{known}", "--include_imports", f"--descriptor_set_out={out}", path.name]
        if protoc.main(["protoc", *arguments]) != 0:
            raise SchemaError(f"read_protobuf: {path} cannot be compiled: protoc says above why")
        return out.read_bytes()


def _types(schema_data: bytes, wanted: str) -> str:
    """The message types of a set, for an error: close ones first."""
    from google.protobuf import descriptor_pb2
    from google.protobuf.message import DecodeError

    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(schema_data).file
    except DecodeError:
        return ""
    names = [f"{file.package}.{m.name}".lstrip(".") for file in files for m in file.message_type]
    return f"{hint(wanted, names)} It defines {', '.join(names[:20])}" if names else ""


@dataclass(frozen=True)
class ProtobufFiles(IndexedFiles):
    """Messages of files; the lengths are the index, the fields are decoded of those that are wanted."""

    decoder: Decoder = field(default=None)  # type: ignore[assignment]
    framing: str | None = None

    @property
    def name(self) -> str:
        return "protobuf"

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:  # type: ignore[override]
        return {PATH: pl.String(), **_LIGHT, **{_column(n): t for n, t in (self.decoder.schema or {}).items()}}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(map(_column, self.decoder.schema or {}))

    @property
    def index_is_cheap(self) -> bool:
        return False  # lengths lie between the messages: of small ones the whole file is read

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        with open_file(path, dict(self.storage)) as file:
            file.counter = read
            framing = self.framing or self._found(file)
            offsets: list[int] = []
            sizes: list[int] = []
            try:
                for offset, size in _frames(file, framing):
                    offsets.append(offset)
                    sizes.append(size)
            except FileFormatError as error:
                if self.on_error == "raise":
                    raise
                self.log.add(path, str(error), offset=(offsets[-1] + sizes[-1]) if offsets else 0)
        return pl.DataFrame({"message": range(len(sizes)), "offset": offsets, "size": sizes}, schema=_LIGHT)

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        from robodf.io.messages.payloads import Payloads

        index = self.index_of(path, tuple(_LIGHT))
        chosen = index[rows].select("offset", "size").rows()
        fields: Any = {own: None for own in (self.decoder.schema or {}) if _column(own) in columns}
        with open_file(path, dict(self.storage)) as file:
            file.counter = read
            done = 0
            for messages in _read(file, chosen):
                problems: list[tuple[int, str]] = []
                frame = self.decoder.decode(Payloads.of(messages), fields, self.decoder.schema or {}, problems)
                for row, why in problems:
                    number = int(rows[done + row])
                    if self.on_error == "raise":
                        raise FileFormatError(f"{path}: message {number} at byte {chosen[done + row][0]}: {why}")
                    self.log.add(path, f"message {number}: {why}", offset=chosen[done + row][0])
                done += len(messages)
                yield frame.rename({own: _column(own) for own in fields}).select(columns)

    def _found(self, file: FileReader) -> str:
        """The framing whose lengths lead through the file, or its first messages, and whose messages can be decoded."""
        if not file.size:
            return FRAMINGS[0]
        fitting = [framing for framing in FRAMINGS[:2] if self._fits(file, framing)]
        if len(fitting) == 1:
            return fitting[0]
        why = "both" if fitting else "neither"
        raise FileFormatError(
            f"{file.path}: {why} of the framings varint and uint32 can be that of its messages. Pass framing=: "
            "'single' where the file is one message"
        )

    def _fits(self, file: FileReader, framing: str) -> bool:
        from robodf.io.messages.payloads import Payloads

        chosen: list[tuple[int, int]] = []
        try:
            chosen.extend(islice(_frames(file, framing), _GUESSED))
        except FileFormatError:
            return False
        problems: list[tuple[int, str]] = []
        for messages in _read(file, chosen):
            self.decoder.decode(Payloads.of(messages), None, self.decoder.schema or {}, problems)
        return not problems


def _column(field: str) -> str:
    return f"msg.{field}" if field in (PATH, *_LIGHT) else field


def _frames(file: FileReader, framing: str) -> Iterator[tuple[int, int]]:
    """(offset, size) of each message; FileFormatError at a length that leads out of the file."""
    if framing == "single":
        yield 0, file.size
        return
    at = start = 0
    block = b""
    step = NEAR if file.local is not None else FAR
    while at < file.size:
        if at - start + 10 > len(block) and start + len(block) < file.size:
            start, block = at, file.read_at(at, min(step, file.size - at))
        head = block[at - start : at - start + 10]
        found = _varint(head) if framing == "varint" else _uint32(head)
        if found is None:
            raise FileFormatError(f"{file.path}: no length of a message at byte {at}")
        length, bytes_of_length = found
        if length > min(_LARGEST, file.size - at - bytes_of_length):
            raise FileFormatError(f"{file.path}: the message at byte {at} has {length} bytes, which are not there")
        yield at + bytes_of_length, length
        at += bytes_of_length + length
        if not start <= at <= start + len(block):
            start, block = at, b""


def _varint(head: bytes) -> tuple[int, int] | None:
    value = 0
    for k, byte in enumerate(head[:5]):  # a message has less than 2 GiB
        value |= (byte & 0x7F) << 7 * k
        if byte < 0x80:
            return value, k + 1
    return None


def _uint32(head: bytes) -> tuple[int, int] | None:
    return (int.from_bytes(head[:4], "little"), 4) if len(head) >= 4 else None


def _read(file: FileReader, chosen: list[tuple[int, int]]) -> Iterator[list[bytes]]:
    """The messages at some places, in batches of a bounded size; what lies close together is read at once."""
    first = 0
    while first < len(chosen):
        start, end = chosen[first][0], sum(chosen[first])
        last = first + 1
        while last < len(chosen) and chosen[last][0] - end <= _GAP and sum(chosen[last]) - start <= _AT_ONCE:
            end = sum(chosen[last])
            last += 1
        data = file.read_at(start, end - start)
        yield [data[offset - start : offset - start + size] for offset, size in chosen[first:last]]
        first = last
