"""Tables and texts cut into parts: together they give the rows of the whole, wherever they are read."""

from __future__ import annotations

import multiprocessing
import random
from datetime import date, datetime, timedelta
from pathlib import Path

import cloudpickle
import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, QueryError, RobodfError, SchemaError
from robodf.io import tables
from robodf.io.counting import read
from robodf.io.logs import runs
from robodf.io.parquet_footer import row_groups
from robodf.io.source import Request, Source, Split
from robodf.plan.nodes.scan import Scan
from tests.io.splitting import check, in_parts, rows_of, scan_of, table, travelled, write_log, write_tables

AT = datetime(2023, 11, 14, 22, 13, 20)


# -- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["parquet", "ipc", "csv", "ndjson", "json"])
def test_parts_of_tables(format: str, tmp_path: Path) -> None:
    frame = rd.read(write_tables(tmp_path / "t", format), format=format)
    source = check(frame, 5).source
    assert [s.path[-len(format) - 2] for s in source.splits(Request(("x",)))] == list("01234")
    sizes = [p.stat().st_size for p in sorted((tmp_path / "t").iterdir())]
    assert [s.bytes for s in source.splits(Request(("x",)))] == sizes
    check(frame.select("name"), 5)
    if format != "json":
        check(frame.filter(rd.col("x") > 120, rd.col("name").str.contains("5")).select("y"), 5)


def test_parts_of_text(tmp_path: Path) -> None:
    frame = rd.read_text(write_tables(tmp_path / "t", "txt"))
    source = check(frame, 5).source
    assert source.partition_column == "path"
    assert len({s.key for s in source.splits(Request(("text",)))}) == 5
    check(frame.select("line"), 5)


def test_types_of_a_part_are_those_of_the_whole(tmp_path: Path) -> None:
    """Each file alone would have other types than all of them together."""
    (tmp_path / "a.csv").write_text("x,y,d\n1,1,2024-01-01\n2,2,\n")
    (tmp_path / "b.csv").write_text("x,y,d\n1.5,a,2024-01-02\n")
    (tmp_path / "c.csv").write_text("x,y,d\n")
    for options in ({}, {"try_parse_dates": True}, {"infer_schema": False}, {"ignore_errors": True}):
        frame = rd.read_csv(tmp_path, **options)
        check(frame, 3)
        check(frame.filter(rd.col("y") == "2"), 3)
    check(rd.read_csv(tmp_path, schema_overrides={"x": pl.Float32}), 3)
    check(rd.read_csv(tmp_path, schema={"x": pl.Float64, "y": pl.String, "d": pl.String}), 3)
    check(rd.read_csv(tmp_path, has_header=False, include_file_paths="file"), 3)
    (tmp_path / "a.ndjson").write_text('{"x": 1.5, "y": {"a": 1}}\n')
    (tmp_path / "b.ndjson").write_text('{"y": {"a": 2, "b": 3}, "x": 2, "z": 1}\n{"x": null}\n')
    (tmp_path / "c.ndjson").write_text("")
    for options in ({}, {"include_file_paths": "file"}, {"schema_overrides": {"x": pl.Float32}}):
        check(rd.read_ndjson(tmp_path, **options), 2)
    (tmp_path / "a.json").write_text('[{"x": 1.5, "y": "a"}]')
    (tmp_path / "b.json").write_text('[{"y": "b", "x": 2, "z": 1}]')
    check(rd.read_json(tmp_path), 2)


@pytest.mark.parametrize("format", ["parquet", "ipc", "ndjson", "json"])
@pytest.mark.parametrize("second", [{"x": [1.5], "y": ["a"]}, {"x": ["q"], "y": ["a"]}, {"x": [4]}], ids=str)
def test_a_file_of_other_types_is_an_error_in_its_part_too(format: str, second: dict, tmp_path: Path) -> None:
    for name, data in (("a", {"x": [1, 2], "y": ["a", "b"]}), ("b", second)):
        frame, path = pl.DataFrame(data), tmp_path / f"{name}.{format}"
        (frame.write_json if format == "json" else getattr(frame, f"write_{format}"))(path)
    frame = rd.read(tmp_path, format=format)
    request = Request(("x", "y"))
    source = scan_of(frame).source
    try:
        expected = rows_of(source, request)
    except (pl.exceptions.PolarsError, RobodfError):
        expected = None
    first, other = list(source.splits(request))
    found = rows_of(travelled(source.part((first,))), request)
    assert found.rows() == [(1, "a"), (2, "b")]
    if expected is None:
        with pytest.raises((pl.exceptions.PolarsError, RobodfError)):
            rows_of(travelled(source.part((other,))), request)
    else:
        assert pl.concat([found, rows_of(travelled(source.part((other,))), request)]).equals(expected)


def test_columns_of_folders(tmp_path: Path) -> None:
    for kind, day in (("1", "2024-01-02"), ("x", "2024-01-03")):
        folder = tmp_path / "t" / f"kind={kind}" / f"day={day}"
        folder.mkdir(parents=True)
        for k in range(2):
            table(k).with_columns(kind=pl.lit("hidden")).write_parquet(folder / f"{k}.parquet")
    frame = rd.read_parquet(tmp_path / "t")
    assert frame.schema["kind"] == pl.String
    assert frame.schema["day"] == pl.Date
    check(frame, 4)
    check(frame.filter(rd.col("kind") == "1", rd.col("x") > 20), 4)
    check(frame.filter(rd.col("day") == date(2024, 1, 3)).select("x", "kind"), 4)


def test_columns_of_folders_are_not_excluded_by_what_files_hold(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tables, "LARGE", 0)
    monkeypatch.setattr(tables, "RUN", 1)
    for kind in ("a", "b"):
        (tmp_path / "t" / f"kind={kind}").mkdir(parents=True)
        table(0).with_columns(kind=pl.lit("q")).write_parquet(tmp_path / "t" / f"kind={kind}" / "0.parquet")
    frame = rd.read_parquet(tmp_path / "t").filter(rd.col("kind") == "b")
    check(frame, 1)
    assert frame.collect().height == 40


def test_folders_above_the_data_set(tmp_path: Path) -> None:
    """A folder whose name looks like a column, above the directory that is read, is taken as the whole takes it."""
    for kind in ("1", "2"):
        folder = tmp_path / "x=7" / "t" / f"kind={kind}"
        folder.mkdir(parents=True)
        table(0).write_parquet(folder / "0.parquet")
    check(rd.read_parquet(tmp_path / "x=7" / "t"), 2)
    check(rd.read_parquet(tmp_path / "x=7" / "t").filter(rd.col("x") == 7), 2)


@pytest.mark.parametrize("options", [{"n_rows": 90}, {"row_index_name": "i"}, {"row_index_name": "i", "n_rows": 3}])
@pytest.mark.parametrize("format", ["parquet", "csv", "ndjson", "ipc"])
def test_options_that_count_over_all_files_make_one_split(format: str, options: dict, tmp_path: Path) -> None:
    source = scan_of(rd.read(write_tables(tmp_path / "t", format), format=format, **options)).source
    request = Request(tuple(source.schema))
    (split,) = source.splits(request)
    assert source.part((split,)) is source
    assert split.bytes
    with pytest.raises(QueryError, match="read as a whole"):
        source.part((split, split))


def test_csv_options_of_the_head_make_one_split(tmp_path: Path) -> None:
    source = scan_of(rd.read_csv(write_tables(tmp_path / "t", "csv"), skip_rows=2, has_header=False)).source
    assert len(list(source.splits(Request(tuple(source.schema))))) == 1


@pytest.fixture
def large(tmp_path: Path, monkeypatch) -> Path:
    """Two files of 10 row groups of 100 rows that count as large, with two groups in a split of all columns."""
    monkeypatch.setattr(tables, "LARGE", 0)
    folder = tmp_path / "large"
    folder.mkdir()
    for k in range(2):
        frame = pl.DataFrame({"x": range(1000)}).with_columns(
            y=pl.when(pl.col("x") % 100 == 99).then(float("nan")).otherwise(pl.col("x") / 2),
            name=pl.format("n{}", pl.col("x") * (k + 1)),
            kind=pl.when(pl.col("x") < 500).then(pl.lit("zeta")).otherwise(pl.lit("alpha")).cast(pl.Enum(KINDS)),
            at=pl.lit(AT) + pl.duration(seconds=pl.col("x")),
            fine=(pl.lit(AT) + pl.duration(seconds=pl.col("x"))).cast(pl.Datetime("ns")),
            **{"s.x": pl.col("x") + 5000},
            s=pl.struct("x"),
        )
        frame.write_parquet(folder / f"{k}.parquet", row_group_size=100)
    monkeypatch.setattr(tables, "RUN", frame[:200].estimated_size() // 8)
    return folder


KINDS = ["zeta", "middle", "alpha"]


def test_row_groups_of_large_files(large: Path) -> None:
    frame = rd.read_parquet(large)
    source = check(frame, 6).source
    splits = list(source.splits(Request(tuple(source.schema))))
    assert sum(s.rows or 0 for s in splits) == 2000
    assert all((s.rows or 0) % 100 == 0 for s in splits)
    assert sum(s.bytes or 0 for s in splits) < sum(p.stat().st_size for p in large.iterdir())
    narrow = list(source.splits(Request(("x",))))
    assert sum(s.bytes or 0 for s in narrow) < sum(s.bytes or 0 for s in splits) / 4
    assert len(narrow) < len(splits)
    whole = source.part(tuple(splits))
    assert whole.rows == ((0, 1000), (0, 1000))  # runs that go on are one range
    assert whole.count(()) == 2000
    assert source.part(splits[:1]).count(()) == splits[0].rows
    assert source.part(splits[:1]).report(Request(("x",))).total_rows == splits[0].rows


@pytest.mark.parametrize(
    ("predicate", "kept"),
    [
        (rd.col("x") < 150, 400),
        (rd.col("x") >= 900, 200),
        ((rd.col("x") > 250) & (rd.col("x") < 720), 1200),
        (rd.col("x") == 555, 200),
        (rd.col("x") > 5000, 0),
        (rd.col("y") > 10_000.0, 2000),  # NaN is more, and in no statistics
        (rd.col("y") < 20.0, 200),
        (rd.col("kind") < "middle", 2000),  # an Enum is in the order of its categories
        (rd.col("at") < AT + timedelta(seconds=100), 200),
        (rd.col("fine") < AT + timedelta(seconds=100), 2000),
        (rd.col("s.x") < 5100, 2000),
        (rd.col("name") == "n10", 200),
    ],
    ids=str,
)
def test_row_groups_that_predicates_exclude(large: Path, predicate, kept: int) -> None:
    frame = rd.read_parquet(large).filter(predicate)
    scan = check(frame, 0)
    rows = sum(s.rows or 0 for s in scan.source.splits(scan.request))
    assert rows == kept or (predicate.columns == {"y"} and rows == 2000)  # Polars 1.44 writes none where there is NaN
    report = scan.source.report(scan.request)
    assert report.rows == rows
    expected = pl.read_parquet(sorted(large.iterdir())).filter(predicate.polars)
    assert pl.concat(
        [expected.clear(), *in_parts(scan.source, Request(tuple(expected.columns), scan.predicates))]
    ).equals(expected)


def test_a_limit_is_that_of_each_part(large: Path) -> None:
    scan = scan_of(rd.read_parquet(large).filter(rd.col("x") > 150).head(7))
    assert scan.limit == 7
    found = in_parts(scan.source, scan.request)
    assert max(f.height for f in found) == 7
    assert pl.concat(found).head(7).equals(rows_of(scan.source, scan.request))


def test_a_large_file_that_changed_is_an_error(large: Path) -> None:
    source = scan_of(rd.read_parquet(large)).source
    request = Request(("x",))
    part = travelled(source.part((next(iter(source.splits(request))),)))
    pl.DataFrame({"x": range(5)}).write_parquet(large / "0.parquet")
    with pytest.raises(FileFormatError, match="changed since the query was planned"):
        part.scan(request)


def test_footers_of_small_files_are_not_read(tmp_path: Path, monkeypatch) -> None:
    folder = write_tables(tmp_path / "t", "parquet")
    source = scan_of(rd.read_parquet(folder)).source
    request = Request(tuple(source.schema))
    for k in (1, 2, 3):
        (folder / f"part_{k}.parquet").write_bytes(b"no table")
    splits = list(source.splits(request))
    assert len(splits) == 5
    part = travelled(source.part((splits[0], splits[4])))
    for name in ("1", "2", "3"):
        assert f"part_{name}".encode() not in cloudpickle.dumps(part)
    assert rows_of(part, request).equals(pl.concat([table(0), table(4)]))
    monkeypatch.setattr(tables, "LARGE", 0)
    with pytest.raises(FileFormatError, match=r"part_1\.parquet: is no Parquet file"):
        list(source.splits(request))


def test_row_groups_of_a_remote_file(large: Path) -> None:
    import fsspec

    path = large / "0.parquet"
    with fsspec.open("memory://splits/0.parquet", "wb") as file:
        file.write(path.read_bytes())
    request = Request(("x",), ((rd.col("x") < 250),))
    schema = dict(pl.read_parquet_schema(path))
    here = list(row_groups(str(path), None, request, schema))
    assert list(row_groups("memory://splits/0.parquet", None, request, schema)) == here
    assert [g.excluded for g in here] == [False] * 3 + [True] * 7


def test_damaged_footers(large: Path) -> None:
    """Bytes changed and cut off at random: row groups, or an error that names the file."""
    path = large / "0.parquet"
    data = path.read_bytes()
    schema = dict(pl.read_parquet_schema(path))
    request = Request(("x",), (rd.col("x") < 250, rd.col("name") == "n1", rd.col("at") < AT, rd.col("y") == 1.0))
    footer = int.from_bytes(data[-8:-4], "little") + 8
    chance = random.Random(7)
    said: list[str] = []
    for _ in range(1500):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            broken[len(broken) - 1 - chance.randrange(footer)] = chance.randrange(256)
        path.write_bytes(broken if chance.random() < 0.8 else broken[: chance.randrange(len(broken))])
        try:
            groups = list(row_groups(str(path), None, request, schema))
            assert all(g.rows >= 0 and g.bytes >= 0 for g in groups)
        except FileFormatError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all("0.parquet: " in text for text in said)


def test_types_of_parquet_that_parts_carry(tmp_path: Path) -> None:
    frame = pl.DataFrame({
        "c": pl.Series(["a", "b"], dtype=pl.Categorical), "e": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
        "d": pl.Series(["1.25", "2"]).cast(pl.Decimal(10, 2)), "n": [None, None],
        "t": pl.Series([AT, AT]).dt.replace_time_zone("Asia/Tokyo"), "b": [b"", b"\0"],
        "l": [[1], []], "a": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
        "du": [timedelta(1), None],
    })  # fmt: skip
    for k in range(3):
        frame.write_parquet(tmp_path / f"{k}.parquet")
    check(rd.read_parquet(tmp_path), 3)
    for path in tmp_path.iterdir():
        path.unlink()
    for k in range(3):
        frame.write_ipc(tmp_path / f"{k}.ipc")
    check(rd.read_ipc(tmp_path), 3)


def test_missing_and_further_columns(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1], "y": ["a"]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"z": [1], "x": [2]}).write_parquet(tmp_path / "b.parquet")
    options = {"missing_columns": "insert", "extra_columns": "ignore", "include_file_paths": "file"}
    check(rd.read_parquet(tmp_path, **options), 2)


def test_a_part_of_nothing(tmp_path: Path) -> None:
    frames = [
        *(rd.read(write_tables(tmp_path / f, f, 2), format=f) for f in ("parquet", "csv", "ndjson", "ipc", "json")),
        rd.read_text(write_tables(tmp_path / "text", "txt", 2)),
        rd.read_log(write_log(tmp_path / "a.mcap"), "/pose"),
    ]
    for frame in frames:
        source = scan_of(frame).source
        nothing = travelled(source.part(()))
        assert dict(rows_of(nothing, Request(tuple(source.schema))).schema) == source.schema
        assert not list(nothing.splits(Request(tuple(source.schema))))
        assert nothing.describe()


def test_a_source_that_says_nothing_of_parts() -> None:
    class Plain(Source):
        name = "plain"  # type: ignore[assignment]
        schema = {"x": pl.Int64()}  # type: ignore[assignment]

        def scan(self, request: Request) -> pl.LazyFrame:
            return pl.LazyFrame({"x": [1]})

    source = Plain()
    (split,) = source.splits(Request(("x",)))
    assert source.part((split,)) is source
    assert source.partition_column is None
    for wrong in ((), (split, split), (Split("plain", 1),)):
        with pytest.raises(QueryError, match="read as a whole"):
            source.part(wrong)


def test_an_ipc_part_names_the_columns_that_differ(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_ipc(tmp_path / "a.ipc")
    pl.DataFrame({"x": [1.5]}).write_ipc(tmp_path / "b.ipc")
    source = scan_of(rd.read_ipc(tmp_path)).source
    _, second = source.splits(Request(("x",)))
    with pytest.raises(SchemaError, match=r"b\.ipc: has the columns .*Float64.* where the first file has .*Int64"):
        source.part((second,)).scan(Request(("x",)))


# -- other processes --------------------------------------------------------------------------------------------------


def _elsewhere(part: bytes, request: bytes) -> tuple[bytes, list[dict], int]:
    source, asked = cloudpickle.loads(part), cloudpickle.loads(request)
    assert source.problems == []
    rows = Scan(source, asked.columns, asked.fields, asked.predicates).lower().collect()
    out = rows.serialize()
    return out, source.problems, read.chunks


def test_parts_in_another_process(large: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "RUN", 5000)
    log = write_log(tmp_path / "run.mcap")
    csv = write_tables(tmp_path / "csv", "csv", 2)
    frames = [
        rd.read_log(log, "/pose").filter(rd.col("log_time") >= AT + timedelta(seconds=4)),
        rd.read_parquet(large).filter(rd.col("x") > 450).select("x", "name"),
        rd.read_csv(csv).filter(rd.col("x") > 5),
    ]
    tasks, expected = [], []
    for frame in frames:
        scan = scan_of(frame)
        splits = tuple(scan.source.splits(scan.request))
        expected.append(rows_of(scan.source, scan.request))
        for half in (splits[: len(splits) // 2], splits[len(splits) // 2 :]):
            tasks.append((cloudpickle.dumps(scan.source.part(half)), cloudpickle.dumps(scan.request)))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        found = pool.starmap(_elsewhere, tasks, chunksize=1)
    for k, whole in enumerate(expected):
        halves = [pl.DataFrame.deserialize(out) for out, _, _ in found[2 * k : 2 * k + 2]]
        assert pl.concat(halves).equals(whole)
        if k == 0:
            scan = scan_of(frames[0])
            chunks = [counters for _, _, counters in found[:2]]
            assert all(chunks)
            assert sum(chunks) == scan.source.report(scan.request).pieces
