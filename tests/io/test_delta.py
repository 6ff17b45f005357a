"""Delta tables: what was read of them, and what is refused."""

import json
import os
import pickle
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import FileFormatError, NoFilesError, OptionError
from robodf.io.delta import delta_files
from tests.io.splitting import check

deltalake = pytest.importorskip("deltalake", reason="deltalake is not installed")


def written(folder, *frames, **options):
    for frame in frames:
        deltalake.write_deltalake(folder, frame.to_arrow(), mode="append", **options)
    return str(folder)


def commit(folder, *actions):
    """One more commit, made by hand."""
    log = Path(folder, "_delta_log")
    number = len(list(log.glob("*.json")))
    (log / f"{number:020}.json").write_text("\n".join(map(json.dumps, actions)))
    return number


def added(path, **more):
    fixed = {"partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": True}
    return {"add": {"path": path, **fixed, **more}}


def protocol(*features, reader=3):
    return {"protocol": {"minReaderVersion": reader, "minWriterVersion": 7, "readerFeatures": list(features),
                         "writerFeatures": list(features)}}  # fmt: skip


def test_rows_are_in_the_order_in_which_they_were_added(tmp_path):
    table = written(tmp_path, pl.DataFrame({"x": [3, 1]}), pl.DataFrame({"x": [2]}))
    df = rd.read_delta(table)
    assert df.collect()["x"].to_list() == [3, 1, 2]
    assert df.count_rows() == 3
    assert f"delta {table} version 1" in df.explain()


@pytest.mark.parametrize("text", ["a/b c", "é%", "x=y", "50%25", "#?&", None])
def test_values_of_partitions_are_those_of_the_log(tmp_path, text):
    keys = pl.DataFrame({"p": ["plain", text], "d": [1, None], "x": [1.5, 2.5]})
    table = written(tmp_path, keys, partition_by=["p", "d"])
    df = rd.read_delta(table)
    assert df.schema == {"p": pl.String, "d": pl.Int64, "x": pl.Float64}
    assert sorted(df.collect().rows(), key=str) == sorted(keys.rows(), key=str)
    assert df.filter(col("d").is_null()).collect().rows() == [(text, None, 2.5)]
    assert df.filter(col("p") == "plain").select("x").collect()["x"].to_list() == [1.5]


def test_types_of_partitions(tmp_path):
    frame = pl.DataFrame({
        "day": [datetime(2026, 1, k).date() for k in (1, 2)],
        "at": pl.Series([datetime(2026, 1, 1, 5), None], dtype=pl.Datetime("us", "UTC")),
        "ok": [True, None],
        "x": [1, 2],
    })  # fmt: skip
    table = written(tmp_path, frame, partition_by=["day", "at", "ok"])
    df = rd.read_delta(table)
    assert df.schema == dict(frame.schema)
    assert df.sort("x").collect().equals(frame)
    assert df.filter(col("ok")).collect()["x"].to_list() == [1]


def test_a_filter_on_a_partition_opens_no_other_file(tmp_path):
    table = written(tmp_path, pl.DataFrame({"d": [0, 0, 1, 2], "x": [0, 1, 2, 3]}), partition_by=["d"])
    df = rd.read_delta(table)
    for path in Path(table).glob("d=[02]/*.parquet"):
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)  # reading it would fail
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    query = df.filter((col("d") == 1) & (col("x") > 0))
    assert query.collect().rows() == [(1, 2)]
    assert df.filter(col("d") == 1).count_rows() == 1
    assert "1 of 3 files by d" in query.explain()
    assert df.filter(col("d") > 5).collect().shape == (0, 2)
    assert df.filter((col("d") > 0) & (col("d") < 2)).head(1).collect().rows() == [(1, 2)]
    with pytest.raises((FileFormatError, pl.exceptions.PolarsError)):
        df.collect()


def test_a_filter_on_both(tmp_path):
    table = written(tmp_path, pl.DataFrame({"d": [0, 0, 1, 2], "x": [0, 1, 2, 1]}), partition_by=["d"])
    query = rd.read_delta(table).filter(col("d") < col("x"))
    assert query.collect().rows() == [(0, 1), (1, 2)]
    assert query.head(1).select("x").collect()["x"].to_list() == [1]


def test_time_travel(tmp_path):
    table = written(tmp_path, pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [2]}))
    history = deltalake.DeltaTable(table).history()
    log = Path(table, "_delta_log")
    for version, second in ((0, 1_700_000_000), (1, 1_700_000_100)):
        path = log / f"{version:020}.json"
        path.write_text(path.read_text().replace(str(history[1 - version]["timestamp"]), str(second * 1000)))
        os.utime(path, (second, second))
    middle = datetime.fromtimestamp(1_700_000_050, timezone.utc)
    assert rd.read_delta(table, version=0).collect()["x"].to_list() == [1]
    assert rd.read_delta(table, version=1).count_rows() == 2
    assert rd.read_delta(table, version=middle).count_rows() == 1
    assert rd.read_delta(table, version=middle.replace(tzinfo=None)).count_rows() == 1
    assert rd.read_delta(table, version=middle.isoformat()).count_rows() == 1
    with pytest.raises(OptionError, match="no version 7 to read"):
        rd.read_delta(table, version=7)
    with pytest.raises(OptionError, match="no version as of 2001"):
        rd.read_delta(table, version="2001-01-01T00:00:00Z")
    for wrong in (True, -1, 1.5, "nonsense"):
        with pytest.raises(OptionError, match="version"):
            rd.read_delta(table, version=wrong)


def test_a_column_that_a_file_lacks_is_null(tmp_path):
    table = written(tmp_path, pl.DataFrame({"x": [1]}))
    later = pl.DataFrame({"x": [2], "y": ["b"], "s": [{"a": 1}]})
    written(tmp_path, later, schema_mode="merge")
    df = rd.read_delta(table)
    assert df.collect().rows() == [(1, None, None), (2, "b", {"a": 1})]
    assert df.filter(col("y").is_null()).collect()["x"].to_list() == [1]
    assert rd.read_delta(table, version=0).schema == {"x": pl.Int64}


def heavy_table(folder):
    random = np.random.default_rng(0)
    plain = deltalake.ColumnProperties(dictionary_enabled=False)
    for part in range(2):
        data = [random.bytes(50_000) for _ in range(400)]
        frame = pl.DataFrame({"part": [part] * 400, "n": range(part * 400, part * 400 + 400), "image": data})
        properties = deltalake.WriterProperties(data_page_size_limit=64 << 10, default_column_properties=plain)
        written(folder, frame, partition_by=["part"], writer_properties=properties)
    return str(folder)


def test_a_heavy_column_is_fetched_late(tmp_path):
    table = heavy_table(tmp_path)
    df = rd.read_delta(table)
    expected = {row[1]: row[2] for row in df.collect().iter_rows()}
    query = df.sort("n", descending=True).head(3).select("part", "n", "image")
    assert "fetched late" in query.explain("physical")
    from robodf.io.counting import read

    before = read.bytes
    rows = query.collect().rows()
    assert rows == [(1, n, expected[n]) for n in (799, 798, 797)]
    assert 100_000 < read.bytes - before < 4 << 20  # of 40 MB
    few = df.filter(col("n").is_in([5, 601])).select("image", "part")
    before = read.bytes
    assert few.collect().rows() == [(expected[5], 0), (expected[601], 1)]
    assert 0 < read.bytes - before < 4 << 20


def test_parts_are_of_the_files_that_are_left(tmp_path):
    table = written(tmp_path, pl.DataFrame({"d": [0, 1, 2], "x": [0, 1, 2]}), partition_by=["d"])
    source = pickle.loads(pickle.dumps(delta_files(table, None, None)))
    assert source == delta_files(table, None, None)
    check(rd.read_delta(table), 3)
    check(rd.read_delta(table).filter(col("d") > 0), 2)


def test_read_and_sql_know_it(tmp_path):
    table = written(tmp_path / "t", pl.DataFrame({"d": [0, 1], "x": [0, 1]}), pl.DataFrame({"d": [2], "x": [2]}),
                    partition_by=["d"])  # fmt: skip
    assert rd.read(table).count_rows() == 3
    assert rd.read(tmp_path / "t", version=0).count_rows() == 2
    found = rd.sql(f"SELECT x FROM read_delta('{table}', version => 0) WHERE d = 1").collect()
    assert found["x"].to_list() == [1]


def test_removed_rows_and_files_are_not_read(tmp_path):
    table = written(tmp_path, pl.DataFrame({"x": [1, 2, 3]}))
    deltalake.DeltaTable(table).delete("x = 2")
    assert rd.read_delta(table).collect()["x"].to_list() == [1, 3]
    assert rd.read_delta(table, version=0).collect()["x"].to_list() == [1, 2, 3]
    deltalake.DeltaTable(table).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert rd.read_delta(table).count_rows() == 2
    with pytest.raises(NoFilesError, match="version 0: 1 of its 1 files are not there .*VACUUM"):
        rd.read_delta(table, version=0)


def test_a_table_without_rows(tmp_path):
    schema = deltalake.Schema.from_json(
        json.dumps({"type": "struct", "fields": [
            {"name": "p", "type": "string", "nullable": True, "metadata": {}},
            {"name": "x", "type": "long", "nullable": True, "metadata": {}}]}))  # fmt: skip
    deltalake.DeltaTable.create(tmp_path, schema, partition_by=["p"])
    df = rd.read_delta(tmp_path)
    assert df.collect().schema == {"p": pl.String, "x": pl.Int64}
    assert df.filter(col("p") == "a").count_rows() == 0


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([protocol("typeWidening")], "typeWidening.*DROP FEATURE"),
        ([protocol("variantType")], "variantType"),
        ([protocol("wonder")], "wonder"),
        ([added("../x.parquet")], "leaves the table"),
        ([added("a/%2e%2e/%2E%2E/x.parquet")], "leaves the table"),
        ([added("/etc/x.parquet")], "absolute ones as URLs"),
        ([added("s3://bucket/x.parquet")], "another kind of storage"),
        ([added("file://host/x.parquet")], "another kind of storage"),
        ([protocol("deletionVectors"),
          added("x.parquet", deletionVector={"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^",
                                             "offset": 1, "sizeInBytes": 36, "cardinality": 2})], "PURGE"),
    ],
)  # fmt: skip
def test_what_would_be_read_wrong_is_refused(tmp_path, actions, message):
    table = written(tmp_path, pl.DataFrame({"x": [1]}))
    commit(table, *actions)
    with pytest.raises(FileFormatError, match=message):
        rd.read_delta(table)
    assert rd.read_delta(table, version=0).count_rows() == 1


def test_column_mapping_is_refused(tmp_path):
    table = written(tmp_path, pl.DataFrame({"x": [1]}))
    first = Path(table, "_delta_log", "0" * 20 + ".json").read_text().splitlines()
    about = next(json.loads(line) for line in first if "metaData" in line)
    fields = json.loads(about["metaData"]["schemaString"])
    fields["fields"][0]["metadata"] = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1"}
    about["metaData"]["schemaString"] = json.dumps(fields)
    about["metaData"]["configuration"] = {"delta.columnMapping.mode": "name"}
    commit(table, protocol("columnMapping"), about)
    with pytest.raises(FileFormatError, match="column mapping"):
        rd.read_delta(table)


def test_an_absolute_url_of_the_same_storage_is_read(tmp_path):
    other = tmp_path / "other é.parquet"
    pl.DataFrame({"x": [7]}).write_parquet(other)
    table = written(tmp_path / "t", pl.DataFrame({"x": [1]}))
    commit(table, added(other.as_uri(), modificationTime=1 << 42))
    assert rd.read_delta(table).collect()["x"].to_list() == [1, 7]


def test_no_table(tmp_path):
    with pytest.raises(NoFilesError, match="no Delta table"):
        rd.read_delta(tmp_path / "none")
    with pytest.raises(OptionError, match="one table"):
        rd.read_delta([str(tmp_path)])
    Path(tmp_path, "_delta_log").mkdir()
    with pytest.raises((NoFilesError, FileFormatError), match=str(tmp_path)):
        rd.read_delta(tmp_path)
