"""`rd.read` and the readers of table files: formats by content, errors that name files, pushdown by row groups."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError, SchemaError

FRAME = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "ü"], "c": [0.5, float("nan"), -0.0]})


def write(frame: pl.DataFrame, path) -> None:
    writers = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".ndjson": frame.write_ndjson,
               ".jsonl": frame.write_ndjson, ".json": frame.write_json, ".arrow": frame.write_ipc}  # fmt: skip
    writers[path.suffix](path)


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.ndjson", "x.jsonl", "x.json", "x.arrow"])
def test_each_format_is_found_and_read(tmp_path, name):
    frame = FRAME.select("a", "b") if name.startswith(("x.nd", "x.js")) else FRAME
    write(frame, tmp_path / name)
    df = rd.read(tmp_path / name)
    assert df.collect().equals(frame)
    assert rd.PipelineDataFrame.from_paths(tmp_path / name).columns == frame.columns
    assert df.count_rows() == 3
    assert df.head(2).collect().equals(frame.head(2))
    assert df.select("b").filter(rd.col("b").is_not_null()).collect()["b"].to_list() == ["x", "ü"]


def test_the_content_counts_more_than_the_name(tmp_path):
    FRAME.write_parquet(tmp_path / "x.csv")
    assert rd.read(tmp_path / "x.csv").collect().equals(FRAME)


def test_globs_lists_and_directories_are_in_natural_order(tmp_path):
    for k in (10, 9, 1):
        pl.DataFrame({"k": [k]}).write_parquet(tmp_path / f"part-{k}.parquet")
    for paths in (tmp_path, str(tmp_path / "*.parquet"), [tmp_path / f"part-{k}.parquet" for k in (1, 9, 10)]):
        assert rd.read(paths).collect()["k"].to_list() == [1, 9, 10]


def test_hidden_staging_folders_are_not_read(tmp_path):
    rd.from_polars(FRAME).to_parquet(tmp_path / "out")
    (tmp_path / ".out.robodf-0123456789abcdef").mkdir()
    FRAME.write_parquet(tmp_path / ".out.robodf-0123456789abcdef" / "part-00000.parquet")
    assert rd.read(tmp_path).count_rows() == 3


def test_several_formats_at_once_are_refused(tmp_path):
    FRAME.write_parquet(tmp_path / "x.parquet")
    FRAME.write_csv(tmp_path / "y.csv")
    with pytest.raises(FileFormatError, match=r"several formats \(csv, parquet\)"):
        rd.read(tmp_path)
    assert rd.read(tmp_path, format="csv").count_rows() == 3


def test_what_is_not_there(tmp_path):
    FRAME.write_parquet(tmp_path / "episodes.parquet")
    with pytest.raises(NoFilesError, match="did you mean 'episodes.parquet'"):
        rd.read(tmp_path / "episode.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoFilesError, match="empty"):
        rd.read(tmp_path / "empty")
    with pytest.raises(NoFilesError):
        rd.read(str(tmp_path / "*.csv"))


def test_wrong_options_and_formats(tmp_path):
    FRAME.write_csv(tmp_path / "x.csv")
    with pytest.raises(OptionError, match="did you mean 'separator'"):
        rd.read_csv(tmp_path / "x.csv", seperator=";")
    with pytest.raises(OptionError, match="did you mean 'parquet'"):
        rd.read(tmp_path / "x.csv", format="parket")
    (tmp_path / "x.bin").write_bytes(b"\x00\x01")
    with pytest.raises(
        FileFormatError, match="not a format that its content or extension tells; pass format=, one of .*csv,"
    ):
        rd.read(tmp_path / "x.bin")


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.json", "x.csv"])
def test_empty_and_truncated_files_are_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises((FileFormatError, SchemaError), match=name.replace(".", r"\.")):
        rd.read(path)
    write(FRAME, path)
    if path.suffix != ".csv":
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(FileFormatError, match=name.replace(".", r"\.")):
            rd.read(path).collect()


def test_an_empty_part_of_ndjson_has_no_rows(tmp_path):
    (tmp_path / "a.ndjson").write_text('{"a": 1}\n')
    (tmp_path / "b.ndjson").write_text("")
    assert rd.read(tmp_path).collect()["a"].to_list() == [1]


def test_files_that_disagree(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"b": [1]}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(pl.exceptions.PolarsError, match="a|b"):
        rd.read(tmp_path).collect()
    (tmp_path / "1.json").write_text(json.dumps([{"a": 1}]))
    (tmp_path / "2.json").write_text(json.dumps([{"b": 1}]))
    with pytest.raises(SchemaError, match=r"2\.json: has no \['a'\]"):
        rd.read(tmp_path, format="json").collect()


def test_row_groups_are_pruned_and_said(tmp_path):
    frame = pl.DataFrame({"t": range(10_000), "v": [1.5] * 10_000})
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=1000)
    df = rd.read(tmp_path / "x.parquet").filter(rd.col("t") >= 8_500).select("v")
    said = str(df.explain("physical"))
    assert "2 of 10 row groups" in said
    assert "2,000 of 10,000 rows" in said
    assert df.count_rows() == 1500


def test_parquet_counts_come_from_the_footer(tmp_path):
    FRAME.write_parquet(tmp_path / "x.parquet")
    df = rd.read(tmp_path / "x.parquet")
    assert "Known count 3" in counted(df)
    assert "Known count" not in counted(df.filter(rd.col("a") > 1))


def counted(df) -> str:
    from robodf.optimizer import optimize
    from robodf.plan.base import tree
    from robodf.plan.nodes.rows import Count

    return tree(optimize(Count(df._plan)))


def test_text_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\r\ntwo\n\nfour ü\rfive".encode())
    df = rd.read(tmp_path / "a.txt")
    rows = df.collect()
    assert rows["text"].to_list() == ["one", "two", "", "four ü", "five"]
    assert rows["line"].to_list() == [1, 2, 3, 4, 5]
    assert df.filter(rd.col("text").str.contains("f")).select("line").collect()["line"].to_list() == [4, 5]
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe broken")
    with pytest.raises(FileFormatError, match=r"b\.txt: not utf-8 text near byte 0, after line 0"):
        rd.read_text(tmp_path / "b.txt").collect()
    assert rd.read_text(tmp_path / "b.txt", encoding="latin-1").count_rows() == 1
    (tmp_path / "c.txt").write_text("")
    assert rd.read_text(tmp_path / "c.txt").collect().height == 0
    with pytest.raises(OptionError, match="no encoding"):
        rd.read_text(tmp_path / "a.txt", encoding="latin-99")


def test_lines_across_blocks(tmp_path, monkeypatch):
    from robodf.io import text

    content = "".join(f"line {i} ü\r\n" for i in range(200))
    (tmp_path / "a.txt").write_bytes(content.encode())
    for block in (1, 2, 3, 7, 64):
        monkeypatch.setattr(text, "_BLOCK", block)
        assert rd.read_text(tmp_path / "a.txt").collect()["text"].to_list() == content.split("\r\n")[:-1]


def test_a_json_file_of_one_bad_text(tmp_path):
    (tmp_path / "x.json").write_text("[{]")
    with pytest.raises(FileFormatError, match=r"x\.json: not a JSON array"):
        rd.read_json(tmp_path / "x.json")


def test_partitions_are_columns_again(tmp_path):
    rd.from_polars(FRAME).to_parquet(tmp_path / "out", partition_by="a")
    df = rd.read_parquet(tmp_path / "out")
    assert sorted(df.collect()["a"].to_list()) == [1, 2, 3]
    assert df.filter(a=2).count_rows() == 1


def test_a_frame_travels_to_another_process(tmp_path):
    import pickle

    FRAME.write_parquet(tmp_path / "x.parquet")
    df = pickle.loads(pickle.dumps(rd.read(tmp_path / "x.parquet").filter(rd.col("a") > 1)))
    assert df.collect()["a"].to_list() == [2, 3]


def test_an_overwritten_input_is_read_anew(tmp_path):
    path = tmp_path / "x.parquet"
    FRAME.write_parquet(path)
    assert rd.read(path).count_rows() == 3
    rd.read(path).filter(rd.col("a") > 1).to_parquet(path, mode="overwrite")
    assert rd.read(path).collect()["a"].to_list() == [2, 3]


def test_compressed_tables_are_read_by_their_extension(tmp_path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x,y\n1,2\n3,4\n"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"x": 1}\n{"x": 3}\n'))
    for name in ("a.csv.gz", "a.jsonl.gz"):
        df = rd.read(tmp_path / name)
        assert df.filter(rd.col("x") > 1).collect()["x"].to_list() == [3]
        assert df.count_rows() == 2


def test_the_metadata_of_a_recording_is_not_read_as_yaml(real_data) -> None:
    folder = real_data / "db3/rosbag2/rosbag2_tests/resources/sqlite3/cdr_test"
    assert (folder / "metadata.yaml").is_file()
    assert rd.read(folder).count_rows() == 7
    assert rd.read(folder / "metadata.yaml").collect().height == 1


def test_a_panic_of_polars_over_a_damaged_file_is_an_error_that_names_it(tmp_path: Path):
    out = io.BytesIO()
    pl.DataFrame({"a": range(1000), "b": ["x" * 20] * 1000}).write_ipc(out, compression="uncompressed")
    data = out.getvalue()
    (tmp_path / "a.arrow").write_bytes(data[:600] + data[1600:])
    df = rd.read_ipc(tmp_path)
    for run in (df.collect, df.profile, lambda: df.to_parquet(tmp_path / "out")):
        with pytest.raises(FileFormatError, match=r"a\.arrow: a file is damaged"):
            run()
    assert not (tmp_path / "out").exists()


def test_errors_of_polars_over_damaged_files_name_them(tmp_path: Path):
    out = io.BytesIO()
    pl.DataFrame({"a": range(1000), "b": ["x" * 20] * 1000}).write_parquet(out, compression="zstd")
    data = bytearray(out.getvalue())
    data[40:80] = bytes(40)
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"a\.parquet: a file is damaged: .*out of specification"):
        rd.read_parquet(tmp_path).collect()
    (tmp_path / "b.csv").write_text("a,b\n" + "1,2\n" * 1000 + "x,2\n")
    with pytest.raises(pl.exceptions.ComputeError, match="could not parse `x`") as told:
        rd.read_csv(tmp_path / "b.csv").collect()
    assert told.value.__notes__ == ["The query reads csv b.csv."]


@pytest.mark.parametrize(("before", "after"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_json_is_refused(tmp_path: Path, before: bytes, after: bytes):
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text": "\\"]}]}", "x":' + before * 50_000 + b"1" + after * 50_000 + b"}]")
    with pytest.raises(FileFormatError, match=r"a\.json: .*(deep|Depth)"):
        rd.read_json(path)
    path.write_bytes(b'[{"text": "\\\\' + b"[" * 600 + b'", "x":' + before * 90 + b"1" + after * 90 + b"}]")
    assert rd.read_json(path).collect().height == 1
