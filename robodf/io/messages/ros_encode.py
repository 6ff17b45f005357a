"""Columns as CDR or ROS 1 messages, all messages of a batch at once: the inverse of `cdr.py`.

The tree of a type is walked once. Each node takes an Arrow array of values, and for each value the message that it
belongs to and the position in it where it may begin. It notes what is to be written where, and gives the positions
behind the values. Then the length of each message is known, one buffer is taken for all, and the notes are carried
out. So no Python object is made per message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from robodf.errors import SchemaError, listing
from robodf.io.messages.cdr import Message, Node, PrimitiveList, Primitives, Repeated, Stamp, Text, WideText
from robodf.io.messages.cdr_batch import CDR, ROS1, Wire, spans
from robodf.io.messages.decoder import Schema
from robodf.io.messages.encoder import Unencodable
from robodf.io.messages.payloads import Payloads, list_offsets

if TYPE_CHECKING:
    import pyarrow as pa

ENCODINGS = ("cdr", "ros1")
# As for reading: above this mean size a memcpy per slice is faster than an indexed copy.
_SLICE_BYTES = 96
# A list of more items than this takes fewer steps where the size of each is found first.
_MANY_STEPS = 16
_MOST_SIZES = 1 << 16  # as Python numbers at once


class RosEncoder:
    """Encodes rows of the columns `schema`, which must be those that the decoder of the type gives.

    `message_encoding` is "cdr" (little-endian) or "ros1". Raises SchemaError where the definition gives no message
    type, or the columns are others.

    >>> encoder = RosEncoder("cdr", "ros2msg", "std_msgs/msg/Int16", b"int16 data", {"data": pl.Int16()})
    >>> encoder.encode(pl.DataFrame({"data": [1, -1]}, schema={"data": pl.Int16})).to_list()
    [b'\\x00\\x01\\x00\\x00\\x01\\x00', b'\\x00\\x01\\x00\\x00\\xff\\xff']
    """

    def __init__(self, message_encoding: str, schema_encoding: str, type_name: str, data: bytes, schema: Schema):
        self._wire = CDR if message_encoding == "cdr" else ROS1
        self._tree = _tree(message_encoding, schema_encoding, type_name, data)
        wanted = {name: node.dtype for name, node in self._tree.nodes.items() if node.dtype is not None}
        _check_columns(schema, wanted, type_name)
        _check_empty(self._tree)
        self._names = list(wanted)

    def encode(self, rows: pl.DataFrame) -> pl.Series:
        """The messages as a Binary series; raises Unencodable for the first row that cannot be one."""
        height = rows.height
        layout = _Layout(self._wire)
        columns = {name: _one(rows.get_column(name).to_arrow()) for name in self._names}
        ends = layout.message(self._tree, columns, np.arange(height), np.zeros(height, np.int64))
        header = self._wire.header
        offsets = list_offsets(ends + header)
        out = np.zeros(int(offsets[-1]), np.uint8)
        if header:
            out[offsets[:-1] + 1] = 1  # plain CDR, little-endian
        layout.write(out, offsets[:-1] + header)
        return Payloads(out.data, offsets[:-1], np.diff(offsets)).to_series("data")


def _tree(message_encoding: str, schema_encoding: str, type_name: str, data: bytes) -> Message:
    from robodf.io.messages import ros1, ros2

    try:
        if message_encoding == "cdr" and schema_encoding in ros2.ENCODINGS:
            return ros2.compiled(schema_encoding, type_name, data)
        if message_encoding == "ros1" and schema_encoding == ros1.ENCODING:
            return ros1.compiled(type_name, data)
    except (ros1.SchemaTextError, ros2.SchemaTextError) as error:
        raise SchemaError(f"to_mcap: {type_name}: {error}") from error
    raise SchemaError(
        f"to_mcap: messages of {type_name} are {message_encoding!r} with a schema in {schema_encoding!r}; they can be "
        "encoded as 'cdr' (schemas in ros2msg or ros2idl) and 'ros1' (ros1msg). Pass encoding='json', or write the "
        "raw messages of the log"
    )


def _check_columns(schema: Schema, wanted: Schema, type_name: str) -> None:
    missing = [name for name in wanted if name not in schema]
    more = [name for name in schema if name not in wanted]
    other = [f"{name} (is {schema[name]}, not {wanted[name]})" for name in wanted
             if name in schema and schema[name] != wanted[name]]  # fmt: skip
    said = [f"{what} {listing(names, 6)}" for what, names in
            (("lacks", missing), ("has as well", more), ("has of another type", other)) if names]  # fmt: skip
    if said:
        raise SchemaError(
            f"to_mcap: the frame is to be written as messages of {type_name}, but {', '.join(said)}. Select the fields "
            "of the message as they were read, or pass encoding='json'"
        )


def _check_empty(node: Node) -> None:
    """Refuse types of which the columns do not hold all: how many empty messages a list has is not read."""
    if isinstance(node, Message):
        for inner in node.nodes.values():
            _check_empty(inner)
    elif isinstance(node, Repeated):
        if node.dtype is None:
            raise SchemaError(f"to_mcap: {node.path} is a list of messages without fields, which no column holds")
        _check_empty(node.item)


class _Layout:
    """What is to be written, and where: positions count from the start of the message, behind its header."""

    def __init__(self, wire: Wire):
        self._wire = wire
        # message, position, then values of a fixed size (uint8, one row a value), or sizes and bytes.
        self._fixed: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._slices: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def write(self, out: np.ndarray, start: np.ndarray) -> None:
        """Carry out all into `out`, where message `i` begins at `start[i]`."""
        for row, pos, values in self._fixed:
            size = values.shape[1]
            if len(row):
                # Any position, aligned or not: one opaque value of the size from each byte on.
                places = np.ndarray((len(out) - size + 1,), f"V{size}", out.data, strides=(1,))
                places[start[row] + pos] = values.view(f"V{size}").ravel()
        for row, pos, sizes, data in self._slices:
            _spread(out, start[row] + pos, sizes, data)

    # -- nodes: each gives the positions behind its values ----------------------------------------------------

    def message(self, node: Message, columns: dict[str, Any], row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        for name, inner in node.nodes.items():
            pos = self._place(inner, columns[name], row, pos) if inner.dtype is not None else self._empty(inner, pos)
        return pos

    def _empty(self, node: Node, pos: np.ndarray) -> np.ndarray:
        """A message without fields: its bytes are zero."""
        if isinstance(node, Message):
            for inner in node.nodes.values():
                pos = self._empty(inner, pos)
            return pos
        assert isinstance(node, Primitives)
        return self._align(pos, node.size) + node.least

    def _place(self, node: Node, values: pa.Array, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        if values.null_count:
            at = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
            raise Unencodable(int(row[at]), f"has null in {node.path}; drop such rows or fill it")
        if isinstance(node, Message):
            fields = {f.name: column for f, column in zip(values.type, values.flatten())}
            return self.message(node, fields, row, pos)
        if isinstance(node, Primitives):
            return self._primitives(node, values, row, pos)
        if isinstance(node, PrimitiveList):
            return self._primitive_list(node, values, row, pos)
        if isinstance(node, Text):
            return self._text(node, values, row, pos)
        if isinstance(node, WideText):
            return self._wide_text(node, values, row, pos)
        if isinstance(node, Stamp):
            return self._stamp(node, values, row, pos)
        assert isinstance(node, Repeated)
        return self._repeated(node, values, row, pos)

    def _primitives(self, node: Primitives, values: pa.Array, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        pos = self._align(pos, node.size)
        if node.many is not None:
            values = self._items(node.path, values, node.many, row)
        raw = self._numbers(node.path, values, node.kind, np.repeat(row, node.many or 1))
        self._fixed.append((row, pos, raw.reshape(len(row), node.least)))
        return pos + node.least

    def _primitive_list(self, node: PrimitiveList, values: pa.Array, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        if node.binary:
            counts, data = _bytes(values)
        else:
            counts = _counts(values)
            data = self._numbers(node.path, values.flatten(), node.kind, np.repeat(row, counts))
        pos = self._count(node.path, counts, row, pos)
        size = node.kind.itemsize
        pos = np.where(counts > 0, self._align(pos, size), pos)  # an empty list has nothing to align
        self._slices.append((row, pos, counts * size, data))
        return pos + counts * size

    def _text(self, node: Text, values: pa.Array, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        sizes, data = _bytes(values)
        end = int(self._wire.terminated)  # the zero byte is there already
        pos = self._count(node.path, sizes + end, row, pos)
        self._slices.append((row, pos, sizes, data))
        return pos + sizes + end

    def _wide_text(self, node: WideText, values: pa.Array, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        units = [np.frombuffer(text.encode("utf-16-le"), "<u2").astype("<u4") for text in values.to_pylist()]
        counts = np.array([len(u) for u in units], np.int64)
        pos = self._count(node.path, counts, row, pos)
        data = np.concatenate([*units, np.empty(0, "<u4")]).view(np.uint8)
        self._slices.append((row, pos, counts * 4, data))
        return pos + counts * 4

    def _stamp(self, node: Stamp, values: pa.Array, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        import pyarrow as pa

        ns = values.cast(pa.int64()).to_numpy()
        whole, rest = np.divmod(ns, 1_000_000_000)
        limits = np.iinfo(node.kinds[0])
        self._refuse((whole < limits.min) | (whole > limits.max), row, lambda i: (
            f"has {ns[i]} ns in {node.path}, which holds {limits.min} to {limits.max} seconds"
        ))  # fmt: skip
        pos = self._align(pos, 4)
        pair = np.empty(len(ns), [("s", "<" + node.kinds[0]), ("n", "<" + node.kinds[1])])
        pair["s"], pair["n"] = whole, rest
        self._fixed.append((row, pos, pair.view(np.uint8).reshape(len(ns), 8)))
        return pos + 8

    def _repeated(self, node: Repeated, values: pa.Array, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        if node.many is None:
            counts = _counts(values)
            items = values.flatten()
            pos = self._count(node.path, counts, row, pos)
        else:
            items = self._items(node.path, values, node.many, row)
            counts = np.full(len(row), node.many)
        item, rows = node.item, np.repeat(row, counts)
        if item.static:
            places, behind = self._evenly(item, counts, pos)
            self._place(item, items, rows, places)
            return behind
        if isinstance(item, Text) and not items.null_count:
            places, behind = self._texts(items, counts, pos)
            self._place(item, items, rows, places)
            return behind
        if len(counts) and int(counts.max()) > _MANY_STEPS:
            places, behind = self._in_turn(item, items, counts, rows, pos)
            self._place(item, items, rows, places)
            return behind
        return self._one_by_one(item, items, counts, row, pos)

    # -- lists of items ---------------------------------------------------------------------------------------

    def _evenly(self, item: Node, counts: np.ndarray, pos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where items of one size begin, and where each list ends: only the first may lie differently."""
        sizes = np.array([item.size_from(phase) for phase in range(8)], np.int64)
        second = pos + sizes[pos & 7]
        stride = sizes[second & 7]
        index = np.arange(int(counts.sum())) - np.repeat(list_offsets(counts)[:-1], counts)
        later = np.repeat(second, counts) + (index - 1) * np.repeat(stride, counts)
        behind = np.where(counts > 0, second + (counts - 1) * stride, pos)
        return np.where(index == 0, np.repeat(pos, counts), later), behind

    def _texts(self, items: pa.Array, counts: np.ndarray, pos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for texts: from the second on, each begins where the one before it ends, aligned."""
        sizes = _bytes(items)[0] + 4 + int(self._wire.terminated)
        ends = list_offsets(self._align(sizes, 4))
        lists = list_offsets(counts)
        first = np.repeat(self._align(pos, 4) - ends[lists[:-1]], counts)
        places = first + ends[:-1]
        behind = pos.copy()
        some = counts > 0
        last = lists[1:][some] - 1
        behind[some] = places[last] + sizes[last]
        return places, behind

    def _in_turn(
        self, item: Node, items: pa.Array, counts: np.ndarray, rows: np.ndarray, pos: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same for items of any kind: first the size of each from every phase of eight, then one after the other.

        A phase is how far behind a multiple of eight a value starts: nothing else changes its size.
        """
        phases = 8 if self._wire.aligned else 1
        sizes = np.empty((len(items), phases), np.int64)
        for phase in range(phases):
            start = np.full(len(items), phase)
            sizes[:, phase] = _Layout(self._wire)._place(item, items, rows, start) - start
        places = np.empty(len(items), np.int64)
        behind = pos.copy()
        for i, (first, last) in enumerate(spans(counts)):
            at = int(pos[i])
            for low in range(first, last, _MOST_SIZES):
                some = sizes[low : min(low + _MOST_SIZES, last)]
                found = []
                for size in some.tolist():
                    found.append(at)
                    at += size[at % phases]
                places[low : low + len(found)] = found
            behind[i] = at
        return places, behind

    def _one_by_one(
        self, item: Node, items: pa.Array, counts: np.ndarray, row: np.ndarray, pos: np.ndarray
    ) -> np.ndarray:
        """All first items of the batch, then all second ones, ...: as many steps as the longest list is long."""
        offsets = list_offsets(counts)[:-1]
        behind = pos.copy()
        active = np.flatnonzero(counts > 0)
        step = 0
        while len(active):
            some = items.take(_indices(offsets[active] + step))
            behind[active] = self._place(item, some, row[active], behind[active])
            step += 1
            active = active[counts[active] > step]
        return behind

    # -- values -----------------------------------------------------------------------------------------------

    def _align(self, pos: np.ndarray, size: int) -> np.ndarray:
        return (pos + (size - 1)) & -size if self._wire.aligned else pos

    def _count(self, path: str, counts: np.ndarray, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        """A count of 32 bits before what is counted."""
        self._refuse(counts >= 1 << 32, row, lambda i: f"has {counts[i]} items in {path}: at most {(1 << 32) - 1} fit")
        pos = self._align(pos, 4)
        self._fixed.append((row, pos, counts.astype("<u4").view(np.uint8).reshape(len(counts), 4)))
        return pos + 4

    def _items(self, path: str, values: pa.Array, count: int, row: np.ndarray) -> pa.Array:
        """The values of arrays of `count`; wide ones are lists in a frame."""
        import pyarrow as pa

        if not pa.types.is_fixed_size_list(values.type):
            counts = _counts(values)
            self._refuse(counts != count, row, lambda i: f"has {counts[i]} items in {path}, which has {count}")
        return values.flatten()

    def _numbers(self, path: str, values: pa.Array, kind: np.dtype, row: np.ndarray) -> np.ndarray:
        """The bytes of numbers, one after the other."""
        if values.null_count:
            missing = values.is_null().to_numpy(zero_copy_only=False)
            self._refuse(missing, row, lambda _: f"has null in {path}; drop such rows or fill it")
        numbers = values.to_numpy(zero_copy_only=False)
        return np.ascontiguousarray(numbers, kind.newbyteorder("<")).view(np.uint8)

    def _refuse(self, bad: np.ndarray, row: np.ndarray, why: Any) -> None:
        if bad.any():
            at = int(np.argmax(bad))
            raise Unencodable(int(row[at]), why(at))


def _one(column: Any) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column


def _counts(lists: pa.Array) -> np.ndarray:
    from pyarrow.compute import call_function

    return call_function("list_value_length", [lists]).to_numpy(zero_copy_only=False).astype(np.int64)


def _bytes(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The sizes of texts or byte strings, and their bytes one after the other."""
    import pyarrow as pa

    values = values.cast(pa.large_binary())
    _, places, data = values.buffers()
    if not len(values):
        return np.empty(0, np.int64), np.empty(0, np.uint8)
    offsets = np.frombuffer(places, np.int64)[values.offset : values.offset + len(values) + 1]
    whole = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return np.diff(offsets), whole[offsets[0] : offsets[-1]]


def _indices(at: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(at)


def _spread(out: np.ndarray, start: np.ndarray, sizes: np.ndarray, data: np.ndarray) -> None:
    """Copy slices of `data`, which follow each other, to where each begins in `out`."""
    if not len(data):
        return
    if len(data) > len(start) * _SLICE_BYTES:
        to, source = out.data, np.ascontiguousarray(data).data
        for at, (first, last) in zip(start.tolist(), spans(sizes)):
            to[at : at + last - first] = source[first:last]
        return
    shift = start - list_offsets(sizes)[:-1]
    out[np.repeat(shift, sizes) + np.arange(len(data))] = data
