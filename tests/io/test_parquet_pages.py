"""Rows of Parquet files by the pages that hold them: the right rows, by few bytes, of files of any writer."""

from __future__ import annotations

import io
import pickle
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import robodf as rd
from robodf.errors import FileFormatError, RobodfError
from robodf.io import tables
from robodf.io.counting import read
from robodf.io.indexed_files import ROWS
from robodf.io.parquet_pages import costs, layout, reading
from robodf.io.parquet_pages.decompress import decompressed
from robodf.io.parquet_pages.leaves import leaves_of
from robodf.io.parquet_pages.runs import deltas, hybrid
from robodf.io.parquet_pages.thrift import Compact, Cut
from robodf.io.source import LOCATOR, Request, Source
from robodf.io.tables import TableFiles
from tests.io import samples_parquet
from tests.io.splitting import rows_of, scan_of

COLUMNS = ("bytes", "some", "text", "twice", "image")
FILES = [name for name, _ in samples_parquet.files(samples_parquet.table(10))]


def varint(value: int) -> bytes:
    left = value << 1 if value >= 0 else (-value << 1) - 1
    found = []
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    return bytes([*found, left])


@cache
def _table() -> pl.DataFrame:
    return samples_parquet.table()


@cache
def _files() -> dict[str, bytes]:
    return dict(samples_parquet.files(_table()))


def source_of(paths: list[Path] | Path, **options: Any) -> TableFiles:
    source = scan_of(rd.read_parquet(paths, **options)).source
    assert isinstance(source, TableFiles)
    return source


def fetched(source: TableFiles, rows: np.ndarray | list[int], columns: tuple[str, ...] = COLUMNS) -> pl.DataFrame:
    frames = list(source.fetch(np.asarray(rows, np.uint64), columns))
    empty = pl.DataFrame(schema={name: source.schema[name] for name in columns})
    return pl.concat([empty, *frames])


def only_pages(*_: object) -> pl.Series:
    raise AssertionError("read by row group")


# -- the rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_rows_are_those_of_the_file(name: str, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(_files()[name])
    source = source_of(path)
    if "not read" not in name:
        monkeypatch.setattr(TableFiles, "_column_of_rows", only_pages)
    whole = pl.read_parquet(path).select(COLUMNS)
    assert whole.equals(_table().select(COLUMNS))
    draw = random.Random(name)
    chosen = [list(range(len(whole))), [], [0], [229], [6, 7], [99, 100, 101]]
    chosen += [sorted(draw.sample(range(len(whole)), count)) for count in (1, 2, 3, 10, 60, 229)]
    for rows in chosen:
        assert fetched(source, rows).equals(whole[rows]), rows
    for column in COLUMNS:
        assert fetched(source, chosen[-1], (column,)).equals(whole[chosen[-1]].select(column))


@given(st.sets(st.integers(0, samples_parquet.ROWS - 1)), st.sampled_from(FILES), st.integers(1, 3000))
@settings(max_examples=60, deadline=None)
def test_any_rows_in_jobs_of_any_size(rows: set[int], name: str, size: int) -> None:
    if "not read" in name:
        return
    file = _open(_files()[name])
    columns = tuple(reading.Column.of(file.layout, column, _table().schema[column]) for column in COLUMNS)
    chosen = np.array(sorted(rows), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "SMALLEST_LOCAL", 1)
        patch.setattr(reading, "LARGEST", size)
        frames = [frame for job in reading.jobs(file, chosen, columns, 2) for frame in job()]
    found = pl.concat(frames) if frames else _table().select(COLUMNS).clear()
    assert found.equals(_table().select(COLUMNS)[chosen.tolist()])


def _open(data: bytes) -> reading.File:
    class InMemory:
        def read(self, offset: int, length: int) -> bytes:
            return data[offset : offset + length]

        def close(self) -> None:
            pass

    from robodf.io.files import FileReader
    from robodf.io.parquet_footer import read_footer

    file = FileReader("memory", len(data), InMemory(), local="memory")
    known = layout.Layout("memory", ("memory", hash(data)), read_footer(file))
    return reading.File(known, file, only_pages)


@pytest.mark.parametrize("name", [name for name in FILES if re.search(r"groups of 100\b", name)])
def test_row_groups_of_which_most_is_wanted_are_read_whole(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(reading, "CALL", 0)
    path = tmp_path / "x.parquet"
    path.write_bytes(_files()[name])
    asked: list[int] = []
    original = TableFiles._column_of_rows
    monkeypatch.setattr(
        TableFiles,
        "_column_of_rows",
        lambda self, path, first, *rest: asked.append(first) or original(self, path, first, *rest),
    )
    rows = [3, *range(105, 195), 210]
    assert fetched(source_of(path), rows, ("bytes",)).equals(_table()[rows].select("bytes"))
    assert 100 in asked


def test_columns_of_duckdb(tmp_path: Path, monkeypatch) -> None:
    frame = _table().select("id", "bytes", "some", "text", "twice")
    frame.write_parquet(tmp_path / "in.parquet")
    for version in ("V1", "V2"):
        for codec in ("snappy", "zstd", "uncompressed"):
            path = tmp_path / f"{version}-{codec}.parquet"
            duckdb.sql(
                f"COPY (FROM '{tmp_path / 'in.parquet'}') TO '{path}' "
                f"(FORMAT parquet, PARQUET_VERSION {version}, COMPRESSION {codec}, ROW_GROUP_SIZE 100)"
            )
            rows = [0, 5, 77, 228]
            assert fetched(source_of(path), rows, COLUMNS[:4]).equals(frame.select(COLUMNS[:4])[rows])


def test_numbers_dates_and_lists_are_read_by_row_group(tmp_path: Path) -> None:
    frame = pl.DataFrame({
        "list": [[k] * (k % 50) for k in range(300)],
        "deep": [{"a": {"b": b"x" * k}} for k in range(300)],
        "fixed": pl.Series([[float(k)] * 200 for k in range(300)], dtype=pl.Array(pl.Float32, 200)),
        "of.dot": [b"y" * k for k in range(300)],
        "when": pl.Series([{"at": k, "data": b"z"} for k in range(300)],
                          dtype=pl.Struct({"at": pl.Datetime("us"), "data": pl.Binary})),
    })  # fmt: skip
    path = tmp_path / "x.parquet"
    frame.write_parquet(path, row_group_size=70)
    source = source_of(path)
    assert fetched(source, [3, 69, 70, 299], tuple(frame.columns)).equals(frame[[3, 69, 70, 299]])
    before = read.bytes
    assert fetched(source, [3], ("of.dot",)).equals(frame[[3]].select("of.dot"))
    assert read.bytes == before  # nothing by pages


def test_bytes_of_one_length(tmp_path: Path) -> None:
    values = [random.Random(k).randbytes(16) if k % 3 else None for k in range(200)]
    column = pa.array(values, pa.binary(16))
    every: list[dict[str, Any]] = [
        {},
        {"use_dictionary": False},
        {"use_byte_stream_split": True, "use_dictionary": False},
    ]
    for options in every:
        pq.write_table(pa.table({"key": column}), tmp_path / "x.parquet", **options)
        source = source_of(tmp_path / "x.parquet")
        assert source.schema["key"] == pl.Binary
        assert leaves_of(pq.read_metadata(tmp_path / "x.parquet"), "key", pl.Binary())
        assert fetched(source, [0, 1, 199], ("key",))["key"].to_list() == [values[k] for k in (0, 1, 199)]


# -- locators -----------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three files of 230, 0 and 50 rows."""
    paths = [tmp_path / f"{k}.parquet" for k in range(3)]
    frame = _table()
    frame.write_parquet(paths[0], row_group_size=40)
    frame.clear().write_parquet(paths[1])
    frame.tail(50).write_parquet(paths[2], row_group_size=7)
    return paths


def located(source: Source, *predicates: Any, limit: int | None = None) -> pl.DataFrame:
    asked = scan_of(rd.from_source(source).filter(*predicates)).request if predicates else Request(("id",))
    request = Request(("id",), asked.predicates, limit, locator=True)
    assert len(request.predicates) == len(predicates)
    return rows_of(source, request)


NUMBERS = [(0, row) for row in range(230)] + [(2, row) for row in range(50)]


@pytest.mark.parametrize("low", [0, 1, 100, 185, 228])
def test_locators_number_the_rows_of_each_file(three: list[Path], low: int) -> None:
    """Whatever Polars skips by predicates, by statistics and by a limit."""
    source = source_of(three)
    ids = list(range(230)) + list(range(180, 230))
    right = [(file << ROWS) + row for (file, row), i in zip(NUMBERS, ids) if i >= low and i % 3 == 0]
    found = located(source, rd.col("id") >= low, rd.col("id") % 3 == 0)
    assert found.columns == ["id", LOCATOR]
    assert found[LOCATOR].to_list() == right
    assert (
        located(source, rd.col("id") >= low, limit=7)[LOCATOR].to_list()
        == [(file << ROWS) + row for (file, row), i in zip(NUMBERS, ids) if i >= low][:7]
    )
    expected = [i for i in ids if i >= low and i % 3 == 0]
    assert fetched(source, right, ("bytes", "image")).equals(_table().select("bytes", "image")[expected])


def test_locators_of_one_file_and_of_none(three: list[Path]) -> None:
    assert located(source_of(three[0]), rd.col("id") > 226)[LOCATOR].to_list() == [227, 228, 229]
    assert located(source_of(three[1])).height == 0
    assert fetched(source_of(three[0]), []).equals(_table().select(COLUMNS).clear())


def test_parts_keep_the_numbers(three: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(tables, "LARGE", 0)
    monkeypatch.setattr(tables, "RUN", 1)
    source = source_of(three)
    splits = list(source.splits(Request(("id", "bytes"))))
    assert len(splits) > 10
    whole = located(source)
    pieces = [pickle.loads(pickle.dumps(source.part((split,)))) for split in splits]
    assert pl.concat([located(piece) for piece in pieces]).equals(whole)
    assert located(source.part(tuple(splits[3:9]))).equals(whole[120:230].vstack(whole[230:251]))
    last = pieces[-1]
    assert last.heavy == frozenset() or last.heavy <= set(COLUMNS)
    chosen = located(last)[LOCATOR].to_list()
    assert chosen[0] >> ROWS == 2
    assert fetched(last, chosen).equals(_table().select(COLUMNS).tail(len(chosen)))
    again = last.part(tuple(last.splits(Request(("id",)))))
    assert located(again).equals(located(last))


def test_folders_and_columns_that_a_file_lacks(tmp_path: Path) -> None:
    frame = _table()
    for kind in ("a", "b"):
        (tmp_path / f"kind={kind}").mkdir()
        frame.write_parquet(tmp_path / f"kind={kind}" / "0.parquet", row_group_size=50)
    frame.drop("bytes").write_parquet(tmp_path / "kind=b" / "1.parquet")
    source = source_of(tmp_path, hive_partitioning=True, missing_columns="insert")
    assert "kind" not in source.heavy
    assert fetched(source, [3, (1 << ROWS) + 4, (2 << ROWS) + 5], ("bytes", "text")).equals(
        pl.concat([frame[[3, 4]], frame[[5]].with_columns(bytes=pl.lit(None, pl.Binary))]).select("bytes", "text")
    )
    assert located(source, rd.col("id") == 7)[LOCATOR].to_list() == [(k << ROWS) + 7 for k in range(3)]
    with pytest.raises(RobodfError):
        fetched(source_of(tmp_path), [(2 << ROWS) + 5], ("bytes",))


def test_a_file_of_other_types_is_read_as_polars_reads_it(tmp_path: Path) -> None:
    pl.DataFrame({"x": [b"a" * 2000]}).write_parquet(tmp_path / "0.parquet")
    pl.DataFrame({"x": ["b" * 2000]}).write_parquet(tmp_path / "1.parquet")
    source = source_of(tmp_path)
    assert fetched(source, [0], ("x",))["x"].to_list() == [b"a" * 2000]
    with pytest.raises(RobodfError):
        fetched(source, [1 << ROWS], ("x",))


def test_options_that_count_rows_leave_nothing_heavy(three: list[Path]) -> None:
    assert source_of(three, n_rows=5).heavy == frozenset()
    assert source_of(three, row_index_name="i").heavy == frozenset()


def test_a_changed_file_is_an_error(three: list[Path]) -> None:
    source = source_of(three)
    _table().head(231).reverse().write_parquet(three[0])
    with pytest.raises(FileFormatError, match="changed since"):
        fetched(source, [1])
    with pytest.raises(FileFormatError, match="has no row 999"):
        fetched(source_of(three), [999])


# -- what is read -------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """400 images of 40,000 bytes, as robodf writes them."""
    draw = random.Random(0)
    frame = pl.DataFrame({"id": range(400), "image": [draw.randbytes(40_000) for _ in range(400)]})
    rd.from_polars(frame).to_parquet(tmp_path / "images.parquet")
    return tmp_path / "images.parquet"


def test_what_robodf_writes_is_laid_out_for_single_rows(images: Path) -> None:
    footer = pq.read_metadata(images)
    for group in range(footer.num_row_groups):
        column = footer.row_group(group).column(1)
        assert column.has_offset_index
    assert not footer.row_group(0).column(1).has_dictionary_page
    assert footer.serialized_size < 3000  # no image is in the footer
    file = _open(images.read_bytes())
    found = file.layout.pages(file.reader, 0, ("image",))
    assert found is not None
    assert found.rows.max() <= 3
    assert pq.read_table(images).equals(pl.read_parquet(images).to_arrow(compat_level=pl.CompatLevel.oldest())) or (
        pq.read_table(images)["image"].to_pylist() == pl.read_parquet(images)["image"].to_list()
    )
    assert duckdb.connect().execute(f"SELECT count(DISTINCT image) FROM '{images}'").fetchall() == [(400,)]


def test_several_cameras_get_row_groups_without_dictionaries(tmp_path: Path) -> None:
    draw = random.Random(0)
    frame = pl.DataFrame({c: [draw.randbytes(2000) for _ in range(200)] for c in ("left", "right", "rear")})
    rd.from_polars(frame).to_parquet(tmp_path / "x.parquet")
    footer = pq.read_metadata(tmp_path / "x.parquet")
    assert [footer.row_group(0).column(c).has_dictionary_page for c in range(3)] == [False] * 3
    rd.from_polars(frame).to_parquet(tmp_path / "y.parquet", data_page_size=1 << 20)
    file = _open((tmp_path / "y.parquet").read_bytes())
    found = file.layout.pages(file.reader, 0, ("left",))
    assert found is not None
    assert len(found.offsets) == 1


def test_only_the_pages_of_the_rows_are_read(images: Path) -> None:
    source = source_of(images)
    assert source.heavy == {"image"}
    fetched(source, [0, 399], ("image",))  # footer and indexes are known now
    before = read.bytes
    fetched(source, [17, 290], ("image",))
    assert 2 * 40_000 < read.bytes - before < 2 * 3 * 41_000
    before = read.bytes
    fetched(source, list(range(40, 80)), ("image",))
    assert read.bytes - before < 46 * 41_000


def test_a_filter_on_light_columns_reads_the_pages_of_its_rows(images: Path) -> None:
    """Few rows by their pages, many by Polars: the same rows in their order, whatever else is asked."""
    whole = pl.read_parquet(images)
    frame = rd.read_parquet(images)
    for kept in (lambda c: c == 17, lambda c: c % 200 == 3, lambda c: c > 390, lambda c: c < 300, lambda c: c < 0):
        assert frame.filter(kept(rd.col("id"))).collect().equals(whole.filter(kept(pl.col("id"))))
    found = frame.filter(rd.col("id") > 50).filter(rd.col("id") % 100 == 1).select("image", "id").head(2).collect()
    assert found.equals(whole.filter(pl.col("id").is_in([101, 201])).select("image", "id"))
    assert frame.filter(rd.col("id") == 9).select("image").collect().equals(whole[[9]].select("image"))
    said = str(frame.filter(rd.col("id") == 17).explain("physical"))
    assert "at most: image by the pages of the rows that are left, if these are few" in said
    assert "by the pages" not in str(frame.filter(rd.col("id") == 17).select("id").explain("physical"))
    before = read.bytes
    frame.filter(rd.col("id").is_in([17, 290])).collect()
    assert 2 * 40_000 < read.bytes - before < 2 * 3 * 41_000
    before = read.bytes
    assert frame.filter(rd.col("id") < 300).count_rows() == 300
    assert frame.filter(rd.col("image").bin.size() > 10).collect().equals(whole)
    assert read.bytes - before < 40_000


def test_joins_dedup_and_draws_read_the_pages_of_their_rows(images: Path) -> None:
    whole = pl.read_parquet(images)
    frame = rd.read_parquet(images)
    frame.select("id").collect()
    for made, right in (
        (frame.join(rd.from_dict({"id": [9, 200]}), on="id", how="semi"), whole[[9, 200]]),
        (frame.with_columns(same=rd.col("id") // 200).dedup("same").drop("same"), whole[[0, 200]]),
        (frame.sort("id", descending=True).head(2), whole[[399, 398]]),
    ):
        assert "fetched late" in str(made.explain("physical"))
        before = read.bytes
        assert made.collect().equals(right)
        assert read.bytes - before < 2 * 3 * 41_000 + 30_000
    drawn = frame.sample(n=3, seed=1).collect()
    assert drawn.equals(whole[drawn["id"].to_list()])


def test_what_fetching_costs(images: Path) -> None:
    source = source_of(images)
    size = images.stat().st_size
    costs_of = [source.fetching(("image",), share) for share in (0, 0.01, 0.1, 1, 7)]
    assert all(cost is not None and abs(cost.all - size) < size / 50 for cost in costs_of)
    fetching = [cost.fetched for cost in costs_of if cost is not None]
    assert fetching[0] == 0
    assert size * 0.01 < fetching[1] < size * 0.06
    assert size * 0.1 < fetching[2] < size * 0.4
    assert abs(fetching[3] - size) < size / 50
    assert fetching[3] == fetching[4]
    # One large page, and a dictionary before it: any row costs all.
    pq.write_table(pq.read_table(images), images.with_name("y.parquet"))
    other = source_of(images.with_name("y.parquet")).fetching(("image",), 0.02)
    assert other is not None
    assert other.fetched > other.all * 0.9


def test_a_sample_of_many_files_tells(images: Path, monkeypatch) -> None:
    paths = [images.with_name(f"copy{k}.parquet") for k in range(30)]
    for path in paths:
        path.write_bytes(images.read_bytes())
    opened: list[str] = []
    original = costs.layout_of
    monkeypatch.setattr(costs, "layout_of", lambda path, *rest: opened.append(path) or original(path, *rest))
    source = source_of(paths)
    assert source.heavy == {"image"}
    found = source.fetching(("image",), 1.0)
    assert found is not None
    assert abs(found.all - 30 * images.stat().st_size) < images.stat().st_size
    assert len(opened) == 8


def test_light_tables_ask_no_footer(tmp_path: Path, monkeypatch) -> None:
    pl.DataFrame({"x": range(10)}).write_parquet(tmp_path / "x.parquet")
    monkeypatch.setattr(costs, "layout_of", lambda *_: pytest.fail("a footer was read"))
    assert source_of(tmp_path / "x.parquet").heavy == frozenset()


def test_remote_files_by_few_requests(images: Path) -> None:
    """Pages by the offset index; without one whole row groups, as each page header would be a request."""
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/pages/x.parquet", images.read_bytes())
    whole = pl.read_parquet(images)
    out = io.BytesIO()
    pq.write_table(pq.read_table(images), out, use_dictionary=False, write_batch_size=4, row_group_size=30)
    fs.pipe_file("/pages/y.parquet", out.getvalue())
    read_by: list[tuple] = []

    class ByPolars(TableFiles):
        def _column_of_rows(self, path: str, first: int, rows: int, name: str) -> pl.Series:
            read_by.append((first, rows))
            return whole.slice(first, rows).get_column(name)

    for name in ("x", "y"):
        path = f"memory://pages/{name}.parquet"
        source = ByPolars("parquet", (path,), columns=tuple(whole.schema.items()))
        before = read.bytes
        assert fetched(source, [5, 200], ("image",)).equals(whole[[5, 200]].select("image"))
        assert read.bytes - before < 10 * 41_000
    assert sorted(read_by) == [(0, 30), (180, 30)]


# -- damaged files ------------------------------------------------------------------------------------------------


def test_damaged_files_give_the_right_rows_or_an_error(tmp_path: Path) -> None:
    """What a page holds has no checksum of its own in most files: there only the structure tells."""
    draw = random.Random(11)
    rows = np.arange(0, 40, 3)
    frame = samples_parquet.table(40)
    right = frame.select(COLUMNS)[rows.tolist()]
    told: list[str] = []
    same = 0
    for data in samples_parquet.samples().values():
        footer = int.from_bytes(data[-8:-4], "little")
        for _ in range(45):
            changed = bytearray(data)
            for _ in range(draw.choice([1, 1, 2, 8])):
                changed[draw.randrange(4, len(data) - footer - 8)] = draw.randrange(256)
            try:
                found = _rows(bytes(changed), rows, frame.schema)
            except FileFormatError as error:
                told.append(str(error))
                continue
            assert found.schema == right.schema
            assert found.height == right.height
            same += found.equals(right)
    assert len(told) > 60
    assert all("memory" in message for message in told)
    assert same > 60


def _rows(data: bytes, rows: np.ndarray, schema: pl.Schema) -> pl.DataFrame:
    file = _open(data)
    file.by_group = lambda first, count, name: pl.Series(name, [None] * count, schema[name])
    columns = tuple(reading.Column.of(file.layout, name, schema[name]) for name in COLUMNS)
    return pl.concat([frame for job in reading.jobs(file, rows, columns, 2) for frame in job()])


def test_a_checksum_is_compared(tmp_path: Path) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"x": [b"a" * 100, b"b" * 100]}), out, compression="none", use_dictionary=False,
                   write_page_checksum=True)  # fmt: skip
    data = out.getvalue()
    with pytest.raises(FileFormatError, match="checksum"):
        _bytes_of(data.replace(b"a" * 100, b"a" * 99 + b"c"))
    assert _bytes_of(data) == [b"a" * 100, b"b" * 100]


def _bytes_of(data: bytes) -> list[bytes]:
    file = _open(data)
    column = reading.Column.of(file.layout, "x", pl.Binary())
    rows = np.arange(2)
    return pl.concat([f for job in reading.jobs(file, rows, (column,), 1) for f in job()])["x"].to_list()


@pytest.mark.parametrize("field", [0, 1, 2], ids=["offset", "size", "first row"])
def test_an_index_that_was_changed_is_not_believed(field: int) -> None:
    """One entry of it changed: the page headers are read instead, and the rows are right."""
    data = _files()["plain, page index, groups of 100"]
    file = _open(data)
    column = reading.Column.of(file.layout, "bytes", pl.Binary())
    assert column.leaves is not None
    chunk = file.layout.chunk(0, ("bytes",))
    assert chunk is not None
    assert chunk.index is not None
    at, length = chunk.index
    right = layout.from_index(data[at : at + length], chunk)
    assert right is not None
    assert len(right.offsets) > 10
    for page in (0, 5, len(right.offsets) - 1):
        for by in (-1, 1, 100):
            told = [list(map(int, entry)) for entry in zip(right.offsets, right.sizes, right.firsts)]
            told[page][field] += by
            entries = b"".join(b"\x16%b\x15%b\x16%b\0" % tuple(map(varint, entry)) for entry in told)
            head = bytes([0x19, 0xFC, len(told)]) if len(told) > 14 else bytes([0x19, len(told) << 4 | 12])
            index = head + entries + b"\0"
            found = layout.from_index(index, chunk)
            if found is None:
                continue
            assert field == 2, (page, by)  # first rows may still ascend: then the pages beside it do not fit
            changed = layout.Pages(found.offsets, found.sizes, found.firsts)
            rows = np.array([int(right.firsts[page])])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(layout.Layout, "pages", lambda *_, changed=changed: changed)
                with pytest.raises(FileFormatError, match="rows that should be there"):
                    list(reading._read(file, rows, (column,)))


def test_offset_indexes_in_any_form_are_understood() -> None:
    """The fields of an entry may be written with their numbers in full, as no writer does."""
    chunk = layout.Chunk(4, 4, 34, 9, 100, "ZSTD", None, True)
    plain = layout.from_index(
        b"\x19\x2c"
        + b"".join(b"\x16%b\x15%b\x16%b\0" % tuple(map(varint, e)) for e in ((4, 10, 0), (14, 20, 5)))
        + b"\0",
        chunk,
    )
    long = layout.from_index(
        b"\x19\x2c"
        + b"".join(b"\x06\2%b\x05\4%b\x06\6%b\0" % tuple(map(varint, e)) for e in ((4, 10, 0), (14, 20, 5)))
        + b"\0",
        chunk,
    )
    assert plain is not None
    assert long is not None
    assert [a.tolist() for a in plain] == [a.tolist() for a in long] == [[4, 14], [10, 20], [0, 5, 9]]
    for broken in (
        b"",
        b"\x19",
        b"\x19\xfc",
        b"\x19\xfc\xff\xff\xff\xff\x0f",
        b"\x19\x2c\x16",
        b"\x15\x02\0",
        b"\x19\x25\2\2\0",
    ):
        assert layout.from_index(broken, chunk) is None


def test_claims_of_much_memory_are_refused() -> None:
    for codec in ("SNAPPY", "GZIP", "LZ4", "ZSTD", "BROTLI", "UNCOMPRESSED"):
        with pytest.raises(ValueError, match=r"cannot|where its header"):
            decompressed(memoryview(b"\x80\x80\x80\x80\x04abc"), 1 << 31, codec)
    with pytest.raises(ValueError, match="deltas"):
        deltas(memoryview(b"\x80\x01\x04" + b"\xff" * 5 + b"\x0f\x00"), 100)
    with pytest.raises(ValueError, match="packed numbers"):
        hybrid(memoryview(b"\xff\xff\xff\xff\x0f\x00"), 3, 1000)
    with pytest.raises(Cut):
        Compact(b"\x19\xfc\xff\xff\xff\xff\x0f").struct()
    with pytest.raises(ValueError, match="without end"):
        Compact(b"\x1c" * 100).struct()


@pytest.mark.parametrize("codec", ["snappy", "gzip", "lz4_raw", "zstd", "brotli"])
def test_a_page_of_another_size_than_it_says(codec: str) -> None:
    """pyarrow leaves the rest of the memory as it was."""
    packed = memoryview(pa.Codec(codec).compress(b"x" * 500, asbytes=True))
    name = codec.removesuffix("_raw").upper()
    assert bytes(decompressed(packed, 500, name)) == b"x" * 500
    for size in (499, 501, 900):
        with pytest.raises(ValueError, match=name):
            decompressed(packed, size, name)
