"""Iceberg metadata that is damaged or made to harm: a clear error, or the rows that are there; never less rows."""

import gzip
import json
import random
import zlib
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError, RobodfError
from robodf.io.iceberg.avro import records

pytest.importorskip("pyiceberg", reason="pyiceberg is not installed")
pytest.importorskip("sqlalchemy", reason="sqlalchemy, of pyiceberg's catalog, is not installed")

from tests.io.iceberg_deletes import avro, number, record, text
from tests.io.iceberg_tables import catalog, folder, table_of


@pytest.fixture
def table(tmp_path):
    with catalog(tmp_path) as found:
        yield table_of(found, *(pl.DataFrame({"x": [k], "s": ["a" * 40]}) for k in range(4)))


@pytest.fixture
def told(table):
    """The metadata of a table, and what writes it anew."""
    path = Path(table.metadata_location.removeprefix("file://"))
    return json.loads(path.read_text()), lambda new: path.write_text(json.dumps(new)) and str(path)


def manifests(table):
    return sorted(Path(folder(table), "metadata").glob("*.avro"))


def test_a_manifest_that_was_cut(table):
    for path in manifests(table):
        whole = path.read_bytes()
        for size in {0, 1, 4, len(whole) // 2, len(whole) - 17, len(whole) - 16, len(whole) - 1}:
            path.write_bytes(whole[:size])
            if path.name in {Path(s.manifest_list).name for s in table.snapshots()[:-1]}:
                assert rd.read_iceberg(table).count_rows() == 4  # of an older snapshot
                continue
            with pytest.raises(FileFormatError, match="damaged|not whole"):
                rd.read_iceberg(table)
        path.write_bytes(whole)
    assert rd.read_iceberg(table).count_rows() == 4


def test_a_manifest_with_an_entry_less(table):
    listed = Path(table.current_snapshot().manifest_list.removeprefix("file://"))
    first = next(records(str(listed), None))
    assert first[504] + first[505] == 1
    path = Path(first[500].removeprefix("file://"))
    data = path.read_bytes()
    sync = data[-16:]
    empty = data[: data.index(sync) + 16]  # its beginning, which is a file without a block
    path.write_bytes(empty)
    with pytest.raises(FileFormatError, match="is not whole"):
        rd.read_iceberg(table)


def test_mutated_files(table):
    """Whatever is changed in a file: rows that are right, or an error of ours; no other, and no hang."""
    seeded = random.Random(7)
    paths = [*manifests(table), Path(table.metadata_location.removeprefix("file://"))]
    refused = 0
    for _ in range(400):
        path = seeded.choice(paths)
        whole = path.read_bytes()
        data = bytearray(whole)
        for _ in range(seeded.randint(1, 4)):
            data[seeded.randrange(len(data))] = seeded.randrange(256)
        path.write_bytes(data)
        try:
            rd.read_iceberg(table.metadata_location).count_rows()
        except (RobodfError, NoFilesError):
            refused += 1
        finally:
            path.write_bytes(whole)
    assert refused > 100


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format-version": 4}, FileFormatError, "format version 4"),
        ({"format-version": "2"}, FileFormatError, "format version '2'"),
        ({"schemas": []}, FileFormatError, "damaged"),
        ({"schemas": [{"schema-id": 0, "fields": 5}]}, FileFormatError, "damaged"),
        ({"current-snapshot-id": 5}, FileFormatError, "no snapshot 5"),
        ({"snapshots": 7}, FileFormatError, "damaged"),
        ({"partition-specs": [{"fields": []}]}, FileFormatError, "damaged"),
        ({"location": None}, FileFormatError, "damaged"),
        ({"encryption-keys": [{"key-id": "a"}]}, FileFormatError, "encrypted"),
    ],
)
def test_damaged_metadata(told, change, error, message):
    metadata, write = told
    with pytest.raises(error, match=message):
        rd.read_iceberg(write({**metadata, **change}))


@pytest.mark.parametrize("kind", ["variant", "geometry", "decimal(99,2)", "fixed[x]", {"type": "wonder"}, 5])
def test_types_that_are_not_known(told, kind):
    metadata, write = told
    metadata["schemas"][0]["fields"].append({"id": 90, "name": "v", "required": False, "type": kind})
    with pytest.raises(FileFormatError, match="variant|geometry|decimal|fixed|wonder|damaged"):
        rd.read_iceberg(write(metadata))


def test_a_type_without_end(told):
    metadata, write = told
    kind: object = "int"
    for level in range(500):
        kind = {"type": "list", "element-id": 100 + level, "element": kind, "element-required": False}
    metadata["schemas"][0]["fields"].append({"id": 90, "name": "v", "required": False, "type": kind})
    with pytest.raises(FileFormatError, match="damaged"):
        rd.read_iceberg(write(metadata))


@pytest.mark.parametrize(
    ("kind", "default", "wanted"),
    [("int", 7, 7), ("string", "d", "d"), ("double", 0.5, 0.5), ("date", "2026-01-31", date(2026, 1, 31)),
     ("binary", "00ff", b"\0\xff"), ("decimal(9,2)", "1.25", Decimal("1.25")),
     ("timestamp", "2026-01-31T00:00:00.000001", datetime(2026, 1, 31, microsecond=1))],
)  # fmt: skip
def test_defaults_of_columns_that_files_lack(told, kind, default, wanted):
    metadata, write = told
    metadata["format-version"] = 3
    field = {"id": 90, "name": "v", "required": True, "type": kind, "initial-default": default}
    metadata["schemas"][0]["fields"].append(field)
    assert rd.read_iceberg(write(metadata)).collect()["v"].to_list() == [wanted] * 4
    metadata["schemas"][0]["fields"][-1]["initial-default"] = {"a": 1}
    with pytest.raises(FileFormatError, match="default"):
        rd.read_iceberg(write(metadata)).collect()
    del metadata["schemas"][0]["fields"][-1]["initial-default"]
    with pytest.raises(FileFormatError, match="must not be null and has no default"):
        rd.read_iceberg(write(metadata)).collect()


def test_paths_that_may_not_be_opened(told):
    metadata, write = told
    current = metadata["snapshots"][-1]
    for path, message in [("relative/list.avro", "no absolute path"), ("zip://a::b:/c", "no path of a file")]:
        current["manifest-list"] = path
        with pytest.raises(FileFormatError, match=message):
            rd.read_iceberg(write(metadata))
    current["manifest-list"] = metadata["location"] + "/../../etc/list.avro"
    with pytest.raises(FileFormatError, match="leaves the table"):
        rd.read_iceberg(write(metadata), moved=True)
    current["manifest-list"] = "/nowhere/list.avro"
    with pytest.raises(NoFilesError, match="snapshots expire"):
        rd.read_iceberg(write(metadata))
    del current["manifest-list"]
    with pytest.raises(FileFormatError, match="before 2018"):
        rd.read_iceberg(write(metadata))


def test_metadata_that_is_compressed(table, told):
    metadata, write = told
    path = Path(folder(table), "metadata", "00009-x.gz.metadata.json")
    path.write_bytes(gzip.compress(json.dumps(metadata).encode()))
    assert rd.read_iceberg(folder(table)).count_rows() == 4
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError, match="cut"):
        rd.read_iceberg(path)


def test_logs_of_expired_snapshots(told):
    metadata, write = told
    metadata["snapshot-log"] = [{"timestamp-ms": 1, "snapshot-id": 99}]
    with pytest.raises(OptionError, match="expired"):
        rd.read_iceberg(write(metadata), "2020-01-01")


PLAIN = record("r", a=(1, "long"))


def file_of(tmp_path, schema, block: bytes, count=1, codec="null", meta=None):
    meta = meta or {"avro.schema": schema if isinstance(schema, str) else json.dumps(schema), "avro.codec": codec}
    sync = bytes(16)
    head = b"Obj\x01" + number(len(meta)) + b"".join(text(k) + text(v) for k, v in meta.items()) + number(0) + sync
    path = tmp_path / "a.avro"
    path.write_bytes(head + number(count) + number(len(block)) + block + sync)
    return str(path)


def test_values_of_avro(tmp_path):
    path = tmp_path / "a.avro"
    path.write_bytes(avro(PLAIN, [{1: k} for k in (0, -1, 63, -64, 64, 2**62, -(2**63), 2**63 - 1)]))
    assert [r[1] for r in records(str(path), None)] == [0, -1, 63, -64, 64, 2**62, -(2**63), 2**63 - 1]


def compressed(data, codec):
    if codec == "deflate":
        packed = zlib.compressobj(wbits=-15)
        return packed.compress(data) + packed.flush()
    if codec == "zstandard":
        import zstandard

        return zstandard.ZstdCompressor().compress(data)
    import pyarrow as pa

    return pa.compress(data, "snappy", asbytes=True) + zlib.crc32(data).to_bytes(4, "big")


@pytest.mark.parametrize("codec", ["deflate", "zstandard", "snappy"])
def test_codecs(tmp_path, codec, monkeypatch):
    data = number(5) * 1000
    packed = compressed(data, codec)
    path = file_of(tmp_path, PLAIN, packed, 1000, codec)
    assert sum(r[1] for r in records(path, None)) == 5000
    for broken in (packed[:-5], packed[: len(packed) // 2]):
        with pytest.raises(FileFormatError, match="damaged"):
            list(records(file_of(tmp_path, PLAIN, broken, 1000, codec), None))
    monkeypatch.setattr("robodf.io.iceberg.avro._LARGEST_BLOCK", 500)
    with pytest.raises(FileFormatError, match="larger than all"):
        list(records(file_of(tmp_path, PLAIN, packed, 1000, codec), None))


_PAIR = {"type": "record", "name": "p", "fields": [{"name": "key", "type": "int"}, {"name": "value", "type": "int"}]}
_NOTHING = {"type": "record", "name": "n", "fields": []}


@pytest.mark.parametrize(
    ("schema", "block", "count"),
    [
        (PLAIN, number(5), 1 << 40),
        (PLAIN, number(5), -1),
        (PLAIN, number(5) + b"x", 1),
        (PLAIN, b"\xff" * 40, 1),
        (record("r", a=(1, "bytes")), number(1 << 40), 1),
        (record("r", a=(1, "bytes")), number(-5), 1),
        (record("r", a=(1, ["null", "long"])), number(7), 1),
        (record("r", a=(1, {"type": "array", "items": "null"})), number(1 << 40) + number(0), 1),
        (record("r", a=(1, {"type": "array", "items": _NOTHING})), number(3) + number(0) * 4, 1),
        (record("r", a=(1, {"type": "array", "items": "long", "logicalType": "x"})), number(-(1 << 62)) + number(0), 1),
        (record("r", a=(1, {"type": "array", "logicalType": "map", "items": _PAIR})), number(9), 1),
        (record("r", a=(1, {"type": "fixed", "name": "f", "size": 1 << 40})), b"x", 1),
        (record("r", a=(1, "r")), number(5), 1),  # a type that holds itself
        (record("r", a=(1, "wonder")), number(5), 1),
        ({"type": "record", "name": "r"}, number(5), 1),
        ("[" * 50_000, number(5), 1),
        ("no json", number(5), 1),
        (json.dumps({"type": "record", "name": "r", "fields": [{"name": "a", "field-id": 1, "type": "long"}] * 2}),
         number(5) * 2, 1),
    ],
)  # fmt: skip
def test_avro_that_is_made_to_harm(tmp_path, schema, block, count):
    with pytest.raises(FileFormatError, match="a.avro: is damaged"):
        list(records(file_of(tmp_path, schema, block, count), None))


def test_a_type_that_nests_without_end(tmp_path):
    kind: object = "long"
    for _ in range(100):
        kind = {"type": "array", "items": kind}
    with pytest.raises(FileFormatError, match="nest too deep"):
        list(records(file_of(tmp_path, record("r", a=(1, kind)), b"\0"), None))
    with pytest.raises(FileFormatError, match="compressed by 'wonder'"):
        list(records(file_of(tmp_path, PLAIN, number(1), codec="wonder"), None))
