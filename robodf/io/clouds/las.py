"""LAS and LAZ files of versions 1.0 to 1.4, and COPC, which is a LAZ file of an octree.

laspy reads the header, lazrs the chunks of compressed points, each by itself: of a file of 50 million points no more
than a chunk (50,000 points as a rule) is in memory, and of an octree only the nodes that are wanted are read.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.clouds.header import BLOCK, POLARS, Box, CloudHeader, blocks, distinct, numbers, picked
from robodf.io.clouds.octree import Tree, nodes

if TYPE_CHECKING:
    import numpy as np

    from robodf.io.files import FileReader

_LEAST = 227  # bytes of a header of version 1.0 to 1.2
_MOST_CHUNK = 1 << 28  # bytes of the points of one chunk

_BROKEN = (ValueError, struct.error, KeyError, IndexError, OverflowError, TypeError, AssertionError, AttributeError,
           EOFError, ZeroDivisionError)  # fmt: skip
"""What laspy raises of headers that are damaged."""

_LAYERS = {
    "z": "Z", "intensity": "INTENSITY", "classification": "CLASSIFICATION", "user_data": "USER_DATA",
    "scan_angle": "SCAN_ANGLE", "point_source_id": "POINT_SOURCE_ID", "gps_time": "GPS_TIME",
    "red": "RGB", "green": "RGB", "blue": "RGB", "nir": "NIR",
    "synthetic": "FLAGS", "key_point": "FLAGS", "withheld": "FLAGS", "overlap": "FLAGS",
    "scan_direction_flag": "FLAGS", "edge_of_flight_line": "FLAGS",
    "x": "XY_RETURNS_CHANNEL", "y": "XY_RETURNS_CHANNEL", "return_number": "XY_RETURNS_CHANNEL",
    "number_of_returns": "XY_RETURNS_CHANNEL", "scanner_channel": "XY_RETURNS_CHANNEL",
    "wavepacket_index": "WAVEPACKET", "wavepacket_offset": "WAVEPACKET", "wavepacket_size": "WAVEPACKET",
    "return_point_wave_location": "WAVEPACKET", "x_t": "WAVEPACKET", "y_t": "WAVEPACKET", "z_t": "WAVEPACKET",
}  # fmt: skip
"""What LAZ keeps apart in point formats 6 to 10, so that the other fields need not be decompressed."""


@dataclass(frozen=True)
class Body:
    """`names` are laspy's names of the columns; `tree` says where the octree of a COPC file is."""

    names: tuple[tuple[str, str], ...]
    compressed: bool
    layered: bool
    tree: Tree | None


class Chunk(NamedTuple):
    """Compressed points: from `first` to `last` (exclusive), `size` bytes at `offset`."""

    first: int
    last: int
    offset: int
    size: int


def header(file: FileReader) -> CloudHeader:
    las = _las(file)
    try:
        known = _columns(las)
    except _BROKEN as error:
        raise FileFormatError(f"{file.path}: the fields of its points are damaged: {error}") from error
    _check_count(file, las)
    if las.are_points_compressed:
        _lazrs(file.path)
    tree = next((v for v in las.vlrs if type(v).__name__ == "CopcInfoVlr"), None)
    body = Body(
        tuple((own, name) for own, name, _ in known),
        las.are_points_compressed,
        las.are_points_compressed and las.point_format.id >= 6,
        None if tree is None else _tree(file, las, tree),
    )
    low, high = _bounds(las)
    fields = tuple((own, dtype) for own, _, dtype in known)
    return CloudHeader("las", las.point_count, fields, body, las.point_count, 1, None, low, high)


def read(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any, box: Box | None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    import numpy as np

    las = _las(file)
    parts = _compressed(file, las, header, names, take, box) if header.body.compressed else _plain(file, las, take)
    known = dict(header.body.names)
    for which, records in parts:
        with np.errstate(over="ignore", invalid="ignore"):  # a scale of a damaged header may be any number
            found = {name: _values(las, records, known[name]) for name in names}
        yield which, found


# -- the header -----------------------------------------------------------------------------------------------


def _las(file: FileReader) -> Any:
    """laspy's header, of bytes whose counts and offsets fit the file."""
    try:
        import laspy
    except ImportError as error:
        raise ImportError(f"{file.path} needs laspy and lazrs: pip install 'robodf[clouds]'") from error
    if file.size < _LEAST:
        raise FileFormatError(f"{file.path}: {file.size} bytes are less than the header of a LAS file")
    head = file.read_at(0, _LEAST)
    if head[:4] != b"LASF":
        raise FileFormatError(f"{file.path}: begins with {head[:4]!r}, a LAS file with b'LASF'")
    size, data, records = struct.unpack_from("<HII", head, 94)
    if not _LEAST <= size <= data <= file.size or records * 54 > data - size:
        raise FileFormatError(
            f"{file.path}: a header of {size} bytes with {records} records, and points at offset {data}, do not fit "
            f"the {file.size} bytes of the file"
        )
    try:
        return laspy.LasHeader.read_from(io.BytesIO(file.read_at(0, data)), read_evlrs=False)
    except (laspy.LaspyException, *_BROKEN) as error:
        raise FileFormatError(f"{file.path}: the header of a LAS file is damaged: {error}") from error


def _lazrs(path: str) -> Any:
    try:
        return import_module("lazrs")
    except ImportError as error:
        raise ImportError(f"{path} is compressed, which needs lazrs: pip install 'robodf[clouds]'") from error


def _columns(las: Any) -> list[tuple[str, str, pl.DataType]]:
    """The names of the columns, those of laspy, and the types; each is tried on no points."""
    import numpy as np

    none = np.zeros(0, las.point_format.dtype())
    if none.dtype.itemsize != las.point_format.size or not {"X", "Y", "Z"} <= set(none.dtype.names or ()):
        raise ValueError(f"points of {las.point_format.size} bytes have fields of {none.dtype.itemsize}")
    names = ["x", "y", "z", *(d.name for d in las.point_format.dimensions if d.name not in ("X", "Y", "Z"))]
    found = []
    for own, name in zip(distinct(names), names):
        values = _values(las, none, name)
        kind = POLARS.get(values.dtype.str.lstrip("<>|="))
        if kind is not None:  # bytes without a type are none of ours
            found.append((own, name, kind if values.ndim == 1 else pl.Array(kind, values.shape[1])))
    return found


def _check_count(file: FileReader, las: Any) -> None:
    """A header that says more points than the file can hold is told before memory is taken."""
    left = file.size - las.offset_to_point_data
    if not las.are_points_compressed and las.point_count * las.point_format.size > left:
        raise FileFormatError(
            f"{file.path}: {las.point_count} points need {las.point_count * las.point_format.size} bytes, but the file "
            f"has {left} after its header"
        )


def _bounds(las: Any) -> tuple[Any, Any]:
    """The corners of the header, a step of the scale wider, as they are rounded; None where they are none."""
    import numpy as np

    low, high, step = (np.asarray(v, float) for v in (las.mins, las.maxs, np.abs(las.scales)))
    if not (np.isfinite([low, high, step]).all() and (low <= high).all()) or not (low.any() or high.any()):
        return None, None
    return tuple(map(float, low - step)), tuple(map(float, high + step))


def _tree(file: FileReader, las: Any, record: Any) -> Tree:
    import numpy as np

    x, y, z = map(float, record.center)
    half, slack = float(record.halfsize), float(np.abs(las.scales).max())
    if not np.isfinite([x, y, z, half, slack]).all() or half <= 0:
        raise FileFormatError(f"{file.path}: an octree about {(x, y, z)} of half side {half}: its header is damaged")
    return Tree((x, y, z), half, slack, int(record.hierarchy_root_offset), int(record.hierarchy_root_size))


# -- the points -----------------------------------------------------------------------------------------------


def _plain(file: FileReader, las: Any, take: Any) -> Iterator[tuple[np.ndarray, Any]]:
    import numpy as np

    step, dtype = las.point_format.size, las.point_format.dtype()
    for first, last, which in blocks(take, las.point_count, max(1, BLOCK // step)):
        data = file.read_at(las.offset_to_point_data + first * step, (last - first) * step)
        yield numbers(which, first), np.frombuffer(data, dtype)[which]


def _compressed(
    file: FileReader, las: Any, header: CloudHeader, names: tuple[str, ...], take: Any, box: Box | None
) -> Iterator[tuple[np.ndarray, Any]]:
    import numpy as np

    if not header.points:
        return
    step, dtype = las.point_format.size, las.point_format.dtype()
    found = [v for v in las.vlrs if type(v).__name__ == "LasZipVlr"]
    if not found:
        raise FileFormatError(f"{file.path}: its points are compressed, but no record says how")
    record = bytes(found[0].record_data)
    chunks = _chunks(file, las, record)
    wanted = None if box is None or header.body.tree is None else nodes(file, header.body.tree, box)
    for chunk in chunks:
        which = picked(take, chunk.first, chunk.last)
        if which is None or (wanted is not None and chunk.offset not in wanted):
            continue
        out = np.zeros((chunk.last - chunk.first) * step, np.uint8)
        if names:
            _decompress(file, record, chunk, out, header.body.layered, names)
        records, taken = out.view(dtype)[which], numbers(which, chunk.first)
        for start in range(0, len(records), BLOCK // step):
            yield taken[start : start + BLOCK // step], records[start : start + BLOCK // step]


def _chunks(file: FileReader, las: Any, record: bytes) -> list[Chunk]:
    """The chunks of a file, by the table at its end, checked against its size."""
    lazrs = _lazrs(file.path)
    at = las.offset_to_point_data
    (table,) = struct.unpack("<q", file.read_at(at, 8))
    if table == -1:  # the writer could not seek: the offset is at the end
        (table,) = struct.unpack("<q", file.read_at(file.size - 8, 8))
    if not at + 8 <= table <= file.size - 8:
        raise FileFormatError(f"{file.path}: a table of chunks at offset {table}, which is not in the file")
    (count,) = struct.unpack_from("<I", file.read_at(table, 8), 4)
    if count > table - at or count > las.point_count:
        raise FileFormatError(f"{file.path}: a table of {count} chunks at offset {table}: it is damaged")
    written = io.BytesIO(file.read_at(table, min(file.size - table, 64 + 16 * count)))
    try:
        vlr = lazrs.LazVlr(record)
        if vlr.item_size() != las.point_format.size:
            raise FileFormatError(
                f"{file.path}: compressed points of {vlr.item_size()} bytes, where the header says "
                f"{las.point_format.size}"
            )
        pairs = lazrs.read_chunk_table_only(written, vlr)
        if not vlr.uses_variable_size_chunks():  # the table has their sizes alone
            pairs = [(vlr.chunk_size(), size) for _, size in pairs]
    except (lazrs.LazrsError, ValueError, OverflowError, TypeError, OSError) as error:
        raise FileFormatError(f"{file.path}: the table of chunks at offset {table}: {error}") from error
    found, first, offset = [], 0, at + 8
    for points, size in pairs:
        last = min(first + points, las.point_count)
        if size < 0 or offset + size > table or (last - first) * las.point_format.size > _MOST_CHUNK:
            raise FileFormatError(f"{file.path}: a chunk of {points} points in {size} bytes at offset {offset}")
        found.append(Chunk(first, last, offset, size))
        first, offset = last, offset + size
    if first != las.point_count:
        raise FileFormatError(f"{file.path}: its chunks have {first} points, not the {las.point_count} of its header")
    return found


def _decompress(file: FileReader, record: bytes, chunk: Chunk, out: Any, layered: bool, names: tuple[str, ...]) -> None:
    import numpy as np

    lazrs = _lazrs(file.path)
    layers = lazrs.SELECTIVE_DECOMPRESS_ALL
    if layered:
        layers = lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL
        for name in names:
            layers |= getattr(lazrs, f"SELECTIVE_DECOMPRESS_{_LAYERS.get(name, 'ALL_EXTRA_BYTES')}")
    data = file.read_at(chunk.offset, chunk.size)
    if layered:
        _check_layers(file.path, record, chunk, data)
    table = [(chunk.last - chunk.first, chunk.size)]
    try:
        lazrs.decompress_points_with_chunk_table(
            np.frombuffer(data, np.uint8), record, out, table, lazrs.DecompressionSelection(layers)
        )
    except (lazrs.LazrsError, ValueError, OverflowError, TypeError) as error:
        raise FileFormatError(f"{file.path}: the chunk at offset {chunk.offset}: {error}") from error


_ITEM_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}  # by the type of an item: points, colours; of extra bytes each is a layer


def _check_layers(path: str, record: bytes, chunk: Chunk, data: bytes) -> None:
    """Refuse layers that are larger than their chunk: lazrs takes the memory before it reads them.

    A chunk is a point as it is, the number of points, the sizes of the layers, and the layers.
    """
    try:
        (count,) = struct.unpack_from("<H", record, 32)
        items = [struct.unpack_from("<3H", record, 34 + 6 * k) for k in range(count)]
        layers = sum(_ITEM_LAYERS.get(kind, size) for kind, size, _ in items)
        sizes_at = sum(size for _, size, _ in items) + 4
        sizes = struct.unpack_from(f"<{layers}I", data, sizes_at)
    except struct.error as error:
        raise FileFormatError(f"{path}: the chunk at offset {chunk.offset} ends before its layers") from error
    if sum(sizes) > chunk.size - sizes_at - 4 * layers:
        raise FileFormatError(
            f"{path}: the chunk at offset {chunk.offset} has {chunk.size} bytes, its layers {sum(sizes)}: it is damaged"
        )


def _values(las: Any, records: np.ndarray, name: str) -> np.ndarray:
    """A column: scaled where the file says a scale, bits of bytes as numbers."""
    import numpy as np
    from laspy import PackedPointRecord

    if name in ("x", "y", "z"):
        axis = "xyz".index(name)
        return records[name.upper()] * las.scales[axis] + las.offsets[axis]
    dim = las.point_format.dimension_by_name(name)
    if dim.is_scaled:
        return records[name] * np.asarray(dim.scales) + np.asarray(dim.offsets)
    return np.ascontiguousarray(np.asarray(PackedPointRecord(records, las.point_format)[name]))
