"""Commits of deletes to Iceberg tables, which pyiceberg does not write: manifests by hand."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import polars as pl

from robodf.io.iceberg.avro import records
from tests.io.iceberg_tables import folder

POSITIONS, EQUALITY = 1, 2


def number(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def text(value) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return number(len(data)) + data


def encoded(value, of) -> bytes:
    """A value by its type: a list is an optional one, of None and something."""
    if isinstance(of, list):
        return number(0) if value is None else number(1) + encoded(value, of[1])
    if isinstance(of, dict) and of["type"] == "record":
        return b"".join(encoded(value.get(f["field-id"]), f["type"]) for f in of["fields"])
    if isinstance(of, dict):  # a map of numbers, as an array of pairs
        pair = [f["type"] for f in of["items"]["fields"]]
        items = b"".join(encoded(k, pair[0]) + encoded(v, pair[1]) for k, v in value.items())
        return (number(len(value)) + items if value else b"") + number(0)
    return number(value) if of in ("int", "long") else text(value)


def avro(schema, values) -> bytes:
    sync = bytes(range(16))
    meta = {"avro.schema": json.dumps(schema), "avro.codec": "null"}
    head = b"Obj\x01" + number(len(meta)) + b"".join(text(k) + text(v) for k, v in meta.items()) + number(0) + sync
    block = b"".join(encoded(value, schema) for value in values)
    return head + number(len(values)) + number(len(block)) + block + sync


def record(name, **fields):
    told = [{"name": key, "type": of, "field-id": id} for key, (id, of) in fields.items()]
    return {"type": "record", "name": name, "fields": told}


def bounds(name, key, value):
    pair = record(name, key=(key, "int"), value=(value, "bytes"))
    return ["null", {"type": "array", "logicalType": "map", "items": pair}]


_FILE = record(
    "data_file", content=(134, "int"), file_path=(100, "string"), file_format=(101, "string"),
    partition=(102, record("partition")), record_count=(103, "long"), file_size_in_bytes=(104, "long"),
    lower_bounds=(125, bounds("lower", 126, 127)), upper_bounds=(128, bounds("upper", 129, 130)),
    referenced_data_file=(143, ["null", "string"]), content_offset=(144, ["null", "long"]),
    content_size_in_bytes=(145, ["null", "long"]),
)  # fmt: skip
ENTRY = record(
    "manifest_entry", status=(0, "int"), snapshot_id=(1, ["null", "long"]), sequence_number=(3, ["null", "long"]),
    data_file=(2, _FILE),
)  # fmt: skip
LIST = record(
    "manifest_file", manifest_path=(500, "string"), manifest_length=(501, "long"), partition_spec_id=(502, "int"),
    content=(517, "int"), sequence_number=(515, "long"), min_sequence_number=(516, "long"),
    added_snapshot_id=(503, "long"), added_files_count=(504, "int"), existing_files_count=(505, "int"),
    deleted_files_count=(506, "int"),
)  # fmt: skip


def commit(table, *files, sequence=None, spec=0, version=2) -> str:
    """The metadata of a snapshot with files of deletes beside those that it has; `files` are by field id."""
    where = Path(folder(table), "metadata")
    newest = max(where.glob("*.metadata.json"), key=lambda path: int(path.name.split("-")[0]))
    told = json.loads(newest.read_text())
    told["last-sequence-number"] = sequence = told["last-sequence-number"] + 1 if sequence is None else sequence
    told["format-version"] = version
    current = next(s for s in told["snapshots"] if s["snapshot-id"] == told["current-snapshot-id"])
    count = len(list(where.iterdir()))
    manifest, listed = where / f"deletes-{count}.avro", where / f"list-{count}.avro"
    manifest.write_bytes(avro(ENTRY, [{0: 1, 1: 1, 2: file} for file in files]))
    own = {500: str(manifest), 501: manifest.stat().st_size, 502: spec, 517: 1, 515: sequence, 516: sequence, 503: 1,
           504: len(files), 505: 0, 506: 0}  # fmt: skip
    before = records(current["manifest-list"].removeprefix("file://"), None)
    listed.write_bytes(avro(LIST, [*before, own]))
    new = {**current, "snapshot-id": count, "sequence-number": sequence, "manifest-list": str(listed)}
    told["snapshots"].append(new)
    told["current-snapshot-id"] = count
    path = where / f"{int(newest.name.split('-')[0]) + 1:05}-by-hand.metadata.json"
    path.write_text(json.dumps(told))
    return str(path)


def positions(table, pairs, more=(), content=POSITIONS) -> dict:
    """A file of deletes of some rows: (path, position)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder(table), "data", f"deletes-{len(list(Path(folder(table), 'data').iterdir()))}.parquet")
    ids = {"file_path": b"2147483546", "pos": b"2147483545"}
    types = {"file_path": pa.string(), "pos": pa.int64()}
    schema = pa.schema([pa.field(n, of, False, {b"PARQUET:field_id": ids[n]}) for n, of in types.items()])
    pq.write_table(pl.DataFrame(pairs, schema=["file_path", "pos"], orient="row").to_arrow().cast(schema), path)
    told = sorted(str(path) for path, _ in pairs)
    ends = {125: {2147483546: told[0].encode()}, 128: {2147483546: told[-1].encode()}}
    return {134: content, 100: str(path), 101: "PARQUET", 102: {}, 103: len(pairs), 104: path.stat().st_size, **ends,
            **dict(more)}  # fmt: skip


def vector(table, of, data: bytes, rows: int, more=()) -> dict:
    """A deletion vector, in a file as Puffin has it, but for the footer, which readers of vectors do not need."""
    path = Path(folder(table), "data", f"vector-{len(list(Path(folder(table), 'data').iterdir()))}.puffin")
    inside = b"\xd1\xd3\x39\x64" + data
    blob = len(inside).to_bytes(4, "big") + inside + zlib.crc32(inside).to_bytes(4, "big")
    path.write_bytes(b"PFA1" + blob)
    return {134: POSITIONS, 100: str(path), 101: "PUFFIN", 102: {}, 103: rows, 104: path.stat().st_size, 143: str(of),
            144: 4, 145: len(blob), **dict(more)}  # fmt: skip


def bitmap(values) -> bytes:
    """Numbers as 64-bit Roaring bitmaps, by pyroaring."""
    from pyroaring import BitMap

    values = np.array(sorted(values), np.int64)
    found = np.unique(values >> 32).tolist()
    parts = b""
    for high in found:
        low = BitMap((values[values >> 32 == high] & 0xFFFFFFFF).astype(np.uint32))
        low.run_optimize()
        parts += high.to_bytes(4, "little") + low.serialize()
    return len(found).to_bytes(8, "little") + parts
