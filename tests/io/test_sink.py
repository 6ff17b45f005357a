"""Writing frames: what comes back, in which order, under which names, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset
import pyarrow.parquet
import pytest
from polars.testing import assert_frame_equal

from robodf.errors import ColumnNotFoundError, OptionError, SchemaError
from robodf.io.sink import FORMATS, WriteReport, write

ROWS = pl.DataFrame(
    {
        "i": range(7),
        "x": [0.5, None, -1.0, 2.0, 3.0, 4.0, 5.0],
        "text": ["a", 'quote " comma ,', "line\nbreak", None, "é 漢 🤖", "\\", "]\n"],
        "flag": [True, False, None, True, True, False, False],
        "when": [dt.datetime(2024, 1, 1, 0, 0, n) for n in range(7)],
    }
)
READ = {
    "parquet": pl.read_parquet,
    "csv": lambda p: pl.read_csv(p, try_parse_dates=True),
    "ndjson": lambda p: pl.read_ndjson(p).with_columns(pl.col("when").str.to_datetime()),
    "json": lambda p: pl.read_json(p).with_columns(pl.col("when").str.to_datetime()),
    "ipc": pl.read_ipc,
}


def never(schema: dict) -> pl.LazyFrame:
    """A frame whose query fails the test when it runs."""

    def run(frame: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("the query ran")

    return pl.LazyFrame(schema=schema).map_batches(run)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def clean(folder: Path) -> bool:
    return not [n for n in os.listdir(folder) if ".robodf-" in n]


@pytest.mark.parametrize("format", FORMATS)
def test_one_file_comes_back(tmp_path, format):
    path = tmp_path / f"x{FORMATS[format].extensions[0]}"
    report = write(ROWS.lazy(), path, format)
    assert_frame_equal(READ[format](path), ROWS)
    assert (report.rows, report.files, report.bytes) == (7, (str(path),), path.stat().st_size)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("format", FORMATS)
def test_a_directory_comes_back_in_order(tmp_path, format):
    report = write(ROWS.lazy(), tmp_path / "out", format, rows_per_file=3)
    files = names(tmp_path / "out")
    assert files == [f"part-0000{n}{FORMATS[format].extensions[0]}" for n in range(3)]
    assert list(report.files) == [str(tmp_path / "out" / f) for f in files]
    parts = [READ[format](tmp_path / "out" / f) for f in files]
    assert [p.height for p in parts] == [3, 3, 1]
    assert_frame_equal(pl.concat(parts), ROWS)
    assert clean(tmp_path)


@pytest.mark.parametrize("format", FORMATS)
def test_many_rows_keep_their_order_and_are_counted(tmp_path, format):
    frame = pl.select(i=pl.int_range(300_000)).lazy().filter(pl.col("i") % 3 != 0)
    report = write(frame, tmp_path / "out", format, rows_per_file=10_000)
    read = {**READ, "csv": pl.read_csv, "ndjson": pl.read_ndjson, "json": pl.read_json}[format]
    back = pl.concat([read(f) for f in report.files])["i"]
    assert report.rows == back.len() == 200_000
    assert back.is_sorted()
    assert [os.path.basename(f)[:10] for f in report.files] == [f"part-{n:05d}" for n in range(20)]


@pytest.mark.parametrize("format", FORMATS)
def test_no_rows_keep_the_schema(tmp_path, format):
    empty = ROWS.clear().lazy()
    one = write(empty, tmp_path / f"x{FORMATS[format].extensions[0]}", format)
    many = write(empty, tmp_path / "out", format)
    assert one.rows == many.rows == 0
    assert len(many.files) == 1
    for (path,) in (one.files, many.files):
        if format in ("parquet", "ipc"):
            assert READ[format](path).schema == ROWS.schema
        elif format == "csv":
            assert Path(path).read_text() == "i,x,text,flag,when\n"
        else:
            assert Path(path).read_bytes().split() == ([b"[", b"]"] if format == "json" else [])


def test_a_json_array_is_valid_for_any_block_boundary(tmp_path):
    texts = ["x" * n for n in range(1000)] + ["\n" * 70_000, "],[", "y" * (1 << 20), "z" * ((1 << 20) - 13)]
    write(pl.LazyFrame({"t": texts}), tmp_path / "x.json", "json")
    assert json.loads((tmp_path / "x.json").read_text()) == [{"t": t} for t in texts]


def test_the_mode_error_refuses_before_the_query_runs(tmp_path):
    frame = never({"i": pl.Int64})
    (tmp_path / "x.parquet").write_text("old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("old")
    for target in ("x.parquet", "out", "out/"):
        with pytest.raises(FileExistsError, match="overwrite"):
            write(frame, f"{tmp_path}/{target}", "parquet")
    assert (tmp_path / "x.parquet").read_text() == "old"


def test_an_empty_directory_may_be_there(tmp_path):
    (tmp_path / "out").mkdir()
    write(ROWS.lazy(), tmp_path / "out", "parquet")
    assert names(tmp_path / "out") == ["part-00000.parquet"]


def test_overwrite_replaces_a_file_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "x.parquet"
    write(ROWS.lazy(), path, "parquet")
    path.chmod(0o640)
    write(ROWS.head(2).lazy(), path, "parquet", mode="overwrite")
    assert pl.read_parquet(path).height == 2
    assert path.stat().st_mode & 0o777 == 0o640


def test_overwrite_replaces_all_parts(tmp_path):
    write(ROWS.lazy(), tmp_path / "out", "parquet", rows_per_file=1)
    write(ROWS.head(2).lazy(), tmp_path / "out", "csv", mode="overwrite")
    assert names(tmp_path / "out") == ["part-00000.csv"]
    assert clean(tmp_path)


def test_a_frame_overwrites_the_files_it_is_read_from(tmp_path):
    out = tmp_path / "out"
    write(ROWS.lazy(), out, "parquet", rows_per_file=2)
    half = pl.scan_parquet(f"{out}/*.parquet").filter(pl.col("i") % 2 == 0)
    write(half, out, "parquet", mode="overwrite")
    assert pl.read_parquet(f"{out}/*.parquet")["i"].to_list() == [0, 2, 4, 6]
    one = tmp_path / "x.csv"
    write(ROWS.lazy(), one, "csv")
    write(pl.scan_csv(one).head(3), one, "csv", mode="overwrite")
    assert pl.read_csv(one)["i"].to_list() == [0, 1, 2]


def test_a_directory_of_other_files_is_never_replaced(tmp_path):
    home = tmp_path / "home"
    (home / "photos").mkdir(parents=True)
    (home / "photos" / "me.jpg").write_text("x")
    with pytest.raises(OptionError, match=r"photos/me\.jpg"):
        write(never({"i": pl.Int64}), home, "parquet", mode="overwrite")
    assert names(home) == ["photos/me.jpg"]


@pytest.mark.parametrize("format", FORMATS)
def test_append_numbers_after_what_is_there(tmp_path, format):
    out = tmp_path / "out"
    write(ROWS.lazy(), out, format, rows_per_file=4, mode="append")
    kept = (out / names(out)[0]).stat().st_ino
    report = write(ROWS.lazy(), out, format, rows_per_file=4, mode="append")
    extension = FORMATS[format].extensions[0]
    assert names(out) == [f"part-0000{n}{extension}" for n in range(4)]
    assert [os.path.basename(f) for f in report.files] == [f"part-0000{n}{extension}" for n in (2, 3)]
    assert_frame_equal(pl.concat([READ[format](out / n) for n in names(out)]), pl.concat([ROWS, ROWS]))
    assert (out / names(out)[0]).stat().st_ino == kept, "old parts are linked, not written again"
    nothing = write(ROWS.clear().lazy(), out, format, mode="append")
    assert (nothing.rows, nothing.files) == (0, ())
    assert len(names(out)) == 4


def test_append_keeps_the_order_of_names_past_99999(tmp_path):
    out = tmp_path / "out"
    write(ROWS.head(1).lazy(), out, "parquet")
    os.rename(out / "part-00000.parquet", out / "part-99999.parquet")
    write(ROWS.tail(1).lazy(), out, "parquet", mode="append")
    assert names(out) == ["part-099999.parquet", "part-100000.parquet"]
    assert pl.concat([pl.read_parquet(out / n) for n in names(out)])["i"].to_list() == [0, 6]


@pytest.mark.parametrize("format", FORMATS)
def test_append_refuses_other_columns(tmp_path, format):
    out = tmp_path / "out"
    write(ROWS.lazy(), out, format)
    with pytest.raises(SchemaError, match="there: i.*\n.*frame: j"):
        write(never({"j": pl.Int64}), out, format, mode="append")


def test_append_refuses_other_types_formats_and_keys(tmp_path):
    out = tmp_path / "out"
    write(pl.LazyFrame({"i": [1], "k": ["a"]}), out, "parquet", partition_by="k")
    with pytest.raises(SchemaError, match="i: Int8"):
        write(never({"i": pl.Int8, "k": pl.String}), out, "parquet", mode="append", partition_by="k")
    with pytest.raises(SchemaError, match=r"partition_by=\['k'\]"):
        write(never({"i": pl.Int64, "k": pl.String}), out, "parquet", mode="append")
    with pytest.raises(OptionError, match="own format"):
        write(never({"i": pl.Int64, "k": pl.String}), out, "csv", mode="append", partition_by="k")
    with pytest.raises(OptionError, match="append to a directory"):
        write(never({"i": pl.Int64}), tmp_path / "x.parquet", "parquet", mode="append")


HOSTILE = [
    "/",
    "..",
    ".",
    "../../../x",
    "a b",
    "%2F",
    "a=b",
    "é",
    "\n",
    "\\",
    "*",
    "[a]?{b}",
    "a\0b",
    "null",
    "k=v",
    None,
]


def test_hostile_partition_keys_stay_inside_and_come_back(tmp_path):
    frame = pl.DataFrame({"k": HOSTILE, "i": range(len(HOSTILE))})
    out = tmp_path / "base" / "out"
    report = write(pl.concat([frame, frame]).lazy(), out, "parquet", partition_by=["k"])
    assert report.rows == 2 * len(HOSTILE)
    assert os.listdir(tmp_path) == ["base"]
    assert os.listdir(tmp_path / "base") == ["out"]
    assert len(report.files) == len(HOSTILE) == len(names(out))
    expected = sorted([*zip(HOSTILE, range(len(HOSTILE)))] * 2, key=lambda r: r[1])
    scan = pl.scan_parquet(f"{out}/", hive_partitioning=True, hive_schema={"k": pl.String})
    assert scan.select("k", "i").sort("i").collect().rows() == expected
    table = pyarrow.dataset.dataset(out, format="parquet", partitioning="hive").to_table().sort_by("i")
    assert [*zip(table["k"].to_pylist(), table["i"].to_pylist())] == expected
    printable = [r for r in expected if r[0] is None or "\0" not in r[0]]
    sql = f"select k, i from read_parquet('{out}/*/*.parquet', hive_partitioning = true) order by i"
    assert [r for r in duckdb.sql(sql).fetchall() if r[1] != HOSTILE.index("a\0b")] == printable


@pytest.mark.parametrize("key", ["", "__HIVE_DEFAULT_PARTITION__"])
@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_keys_that_readers_take_for_null_are_refused(tmp_path, key, dtype):
    frame = pl.DataFrame({"k": ["a", key, None], "i": [1, 2, 3]}).cast({"k": dtype})
    with pytest.raises(OptionError, match="mean null"):
        write(frame.lazy(), tmp_path / "out", "parquet", partition_by=["k"])
    assert os.listdir(tmp_path) == []


def test_partitions_of_several_keys_keep_order_and_append(tmp_path):
    frame = pl.select(i=pl.int_range(50_000)).with_columns(a=pl.col("i") % 3, b=pl.date(2024, 1, pl.col("i") % 2 + 1))
    out = tmp_path / "out"
    for _ in range(2):
        write(frame.lazy(), out, "parquet", partition_by=["a", "b"], rows_per_file=5000, mode="append")
    assert [n for n in names(out) if n.startswith("a=0/b=2024-01-01/")] == [
        f"a=0/b=2024-01-01/part-0000{n}.parquet" for n in range(4)
    ]
    for folder in out.glob("a=*/b=*"):
        each = pl.concat([pl.read_parquet(folder / n) for n in names(folder)])["i"]
        once = each.head(each.len() // 2)
        assert once.is_sorted()
        assert each.to_list() == once.to_list() * 2
    back = pl.scan_parquet(f"{out}/", hive_partitioning=True).collect()
    assert_frame_equal(back, pl.concat([frame, frame]), check_row_order=False)


@pytest.mark.parametrize("format", ["csv", "ndjson", "json"])
def test_text_formats_keep_the_key_columns(tmp_path, format):
    write(pl.LazyFrame({"k": ["a", "b"], "i": [1, 2]}), tmp_path / "out", format, partition_by=["k"])
    extension = FORMATS[format].extensions[0]
    read = {"csv": pl.read_csv, "ndjson": pl.read_ndjson, "json": pl.read_json}[format]
    assert read(tmp_path / "out" / "k=b" / f"part-00000{extension}").rows() == [("b", 2)]


def test_an_empty_partitioned_frame_keeps_its_columns(tmp_path):
    frame = pl.LazyFrame(schema={"k": pl.String, "i": pl.Int64})
    write(frame, tmp_path / "out", "parquet", partition_by=["k"])
    assert names(tmp_path / "out") == ["k=__HIVE_DEFAULT_PARTITION__/part-00000.parquet"]
    back = pl.scan_parquet(f"{tmp_path}/out/", hive_partitioning=True, hive_schema={"k": pl.String}).collect()
    assert (back.height, sorted(back.columns)) == (0, ["i", "k"])


@pytest.mark.parametrize("name", ["../x", "a/b", "_k", ".k", "", "a=b", "a%b", "a\\b"])
def test_key_columns_that_cannot_name_folders_are_refused(tmp_path, name):
    with pytest.raises(OptionError, match="rename it"):
        write(never({name: pl.String, "i": pl.Int64}), tmp_path / "out", "parquet", partition_by=[name])


def test_arguments_are_checked_before_the_query_runs(tmp_path):
    frame = never({"i": pl.Int64, "tags": pl.List(pl.String), "k": pl.String})
    out = str(tmp_path / "out")
    for error, match, target, format, kwargs in [
        (OptionError, "did you mean 'parquet'", out, "parket", {}),
        (OptionError, "did you mean 'overwrite'", out, "parquet", {"mode": "overwite"}),
        (OptionError, "did you mean 'compression'", out, "parquet", {"options": {"compresion": "zstd"}}),
        (OptionError, "zst", out, "parquet", {"options": {"compression": "zst"}}),
        (OptionError, "no option 'maintain_order'", out, "parquet", {"options": {"maintain_order": False}}),
        (OptionError, "partition_by makes a directory", out + ".parquet", "parquet", {"partition_by": ["k"]}),
        (OptionError, "rows_per_file makes a directory", out + ".parquet", "parquet", {"rows_per_file": 5}),
        (OptionError, "positive", out, "parquet", {"rows_per_file": 0}),
        (OptionError, "extension of csv", out + ".csv", "parquet", {}),
        (OptionError, "twice", out, "parquet", {"partition_by": ["k", "k"]}),
        (OptionError, "object stores", "s3://bucket/out/", "parquet", {}),
        (OptionError, "object stores", "s3://bucket/out.parquet", "parquet", {"partition_by": ["k"]}),
        (OptionError, "path as text", "", "parquet", {}),
        (OptionError, "path as text", "a\0b", "parquet", {}),
        (OptionError, "no name", "/", "parquet", {}),
        (ColumnNotFoundError, "did you mean 'tags'", out, "parquet", {"partition_by": ["tag"]}),
        (SchemaError, "cannot partition", out, "parquet", {"partition_by": ["tags"]}),
        (SchemaError, "CSV cannot hold column 'tags'", out, "csv", {}),
    ]:
        with pytest.raises(error, match=match):
            write(frame, target, format, **kwargs)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("dtype", "format"),
    [
        (pl.Binary, "csv"),
        (pl.Binary, "json"),
        (pl.Struct({"a": pl.List(pl.Binary)}), "ndjson"),
        (pl.Duration, "csv"),
        (pl.Array(pl.Int8, 2), "csv"),
        (pl.Object, "parquet"),
    ],
)
def test_types_that_a_format_cannot_hold_are_refused(tmp_path, dtype, format):
    with pytest.raises(SchemaError, match="'x'"):
        write(pl.LazyFrame(schema={"x": dtype}), tmp_path / "out", format)
    with pytest.raises(SchemaError, match="without columns"):
        write(pl.LazyFrame(), tmp_path / "out", format)
    assert os.listdir(tmp_path) == []


def test_devices_and_files_in_the_way_are_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(OptionError, match="pipe"):
        write(never({"i": pl.Int64}), tmp_path / "pipe.csv", "csv", mode="overwrite")
    with pytest.raises(OptionError, match="device"):
        write(never({"i": pl.Int64}), "/dev/null", "csv", mode="overwrite")
    (tmp_path / "plain").write_text("x")
    with pytest.raises(OptionError, match="is a file"):
        write(never({"i": pl.Int64}), tmp_path / "plain", "csv", mode="overwrite")


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real" / "x.csv", tmp_path / "link.csv")
    write(ROWS.lazy(), tmp_path / "link.csv", "csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert names(tmp_path / "real") == ["x.csv"]


@pytest.mark.parametrize("name", ["a b", "100%25", "[x]*?", "é漢🤖", "x" * 240, "-rf", ".hidden", "a.b"])
def test_odd_names(tmp_path, name):
    frame = pl.LazyFrame({"i": [1], "k": ["a"]})
    write(frame, tmp_path / "deep" / "er" / name, "parquet")
    write(frame, tmp_path / "deep" / "er" / name, "parquet", mode="overwrite", partition_by="k")
    write(frame, tmp_path / f"{name}.parquet", "parquet")
    assert names(tmp_path / "deep" / "er" / name) == ["k=a/part-00000.parquet"]
    assert sorted(os.listdir(tmp_path)) == sorted(["deep", f"{name}.parquet"])


def test_compression_by_extension_and_option(tmp_path):
    write(ROWS.lazy(), tmp_path / "x.csv.gz", "csv")
    assert (tmp_path / "x.csv.gz").read_bytes()[:2] == b"\x1f\x8b"
    write(ROWS.lazy(), tmp_path / "out", "ndjson", options={"compression": "zstd"})
    assert names(tmp_path / "out") == ["part-00000.ndjson.zst"]
    write(ROWS.lazy(), tmp_path / "x.tsv", "csv")
    assert (tmp_path / "x.tsv").read_text().startswith("i\tx\t")
    column = pyarrow.parquet.ParquetFile(write(ROWS.lazy(), tmp_path / "x.parquet", "parquet").files[0])
    assert column.metadata.row_group(0).column(0).compression == "ZSTD"
    assert column.metadata.row_group(0).column(0).statistics.max == 6


def test_heavy_rows_get_small_row_groups(tmp_path):
    frame = pl.LazyFrame({"image": [b"x"] * 1000, "i": range(1000)})
    path = write(frame, tmp_path / "x.parquet", "parquet").files[0]
    assert pyarrow.parquet.ParquetFile(path).num_row_groups == 4
    path = write(frame, tmp_path / "y.parquet", "parquet", options={"row_group_size": 500}).files[0]
    assert pyarrow.parquet.ParquetFile(path).num_row_groups == 2


def test_the_report_reads_as_a_line():
    report = WriteReport("out/", 1234, ("a", "b", "c"), 1_200_000, 0.82)
    assert repr(report) == "1,234 rows, 3 files, 1.2 MB, 0.8 s -> out/"
    assert repr(WriteReport("x", 1, ("a",), 12, 0.0)) == "1 row, 1 file, 12 B, 0.0 s -> x"


def test_a_failing_query_leaves_nothing(tmp_path):
    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        raise RuntimeError("the user's own")

    for target in ("x.parquet", "out"):
        with pytest.raises(RuntimeError, match="the user's own"):
            write(ROWS.lazy().map_batches(fail), tmp_path / target, "parquet")
    with pytest.raises(FileNotFoundError, match=r"missing\.parquet"):
        write(pl.scan_parquet(tmp_path / "missing.parquet", schema={"i": pl.Int64}), tmp_path / "x.csv", "csv")
    assert os.listdir(tmp_path) == []


def test_a_write_imports_no_engine():
    code = "import robodf.io.sink, sys; assert not {'ray', 'cudf', 'fsspec'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
