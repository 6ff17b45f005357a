"""Sources of rows that an index lists: what is read, and what follows for every such format."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, OptionError
from robodf.io.ahead import in_order
from robodf.io.file_object import open_object
from robodf.io.indexed_files import ROWS, IndexedFiles
from robodf.io.source import LOCATOR, Request

READ: list[tuple[str, int]] = []
"""Which rows' heavy columns were read."""


@dataclass(frozen=True)
class Records(IndexedFiles):
    """Records of four bytes."""

    size: int = 4
    name = "records"
    schema = {"path": pl.String(), "record": pl.UInt32(), "even": pl.Boolean(), "data": pl.Binary()}
    heavy = frozenset(["data"])

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        with open_object(path) as file:
            size = file.seek(0, 2)
        if size % self.size:
            raise FileFormatError(f"{path}: {size} bytes are no whole records of {self.size}")
        return pl.DataFrame({"record": range(size // self.size)}, schema={"record": pl.UInt32()}).with_columns(
            even=pl.col("record") % 2 == 0
        )

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        with open_object(path) as file:
            for row in rows.tolist():
                READ.append((Path(path).name, row))
                file.seek(row * self.size)
                yield pl.DataFrame({"data": [file.read(self.size)]})


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    READ.clear()
    names = []
    for k in range(3):
        name = tmp_path / f"{k}.bin"
        name.write_bytes(b"".join(f"{k}{n:03d}".encode() for n in range(10 * (k + 1))))
        names.append(str(name))
    return names


def test_rows_are_those_of_the_files_in_order(files: list[str]) -> None:
    found = rd.from_source(Records.of(files)).collect()
    assert found["data"].to_list() == [f"{k}{n:03d}".encode() for k in range(3) for n in range(10 * (k + 1))]
    assert found["path"].to_list() == [files[k] for k in range(3) for _ in range(10 * (k + 1))]


def test_hundreds_of_small_files_are_in_order_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{k}.bin") for k in range(300)]
    for k, name in enumerate(names):
        Path(name).write_bytes(f"{k:04d}".encode() * (k % 3))
    df = rd.from_source(Records.of(names))
    expected = [f"{k:04d}".encode() for k in range(300) for _ in range(k % 3)]
    assert df.collect()["data"].to_list() == expected
    assert df.head(5).collect()["data"].to_list() == expected[:5]
    Path(names[200]).write_bytes(b"x")
    df = rd.from_source(Records.of(names, on_error="collect"))
    assert df.collect()["data"].to_list() == [e for e in expected if e != b"0200"]
    assert df.errors["file"].to_list() == [names[200]]


def test_a_filter_on_the_index_reads_heavy_columns_of_its_rows_only(files: list[str]) -> None:
    df = rd.from_source(Records.of(files)).filter((rd.col("record") > 17) & rd.col("even"))
    assert df.collect()["data"].to_list() == [b"1018", b"2018", b"2020", b"2022", b"2024", b"2026", b"2028"]
    assert [row for _, row in sorted(READ)] == [18, 18, 20, 22, 24, 26, 28]
    assert "7 of 60 rows" in str(df.explain("physical"))


def test_light_columns_and_counts_read_nothing_heavy(files: list[str]) -> None:
    df = rd.from_source(Records.of(files))
    assert df.select("record").collect().height == 60
    assert df.filter(rd.col("even")).count_rows() == 30
    assert df.filter(rd.col("path") == files[1]).count_rows() == 20
    assert not READ


def test_a_limit_stops_early(files: list[str]) -> None:
    assert rd.from_source(Records.of(files)).head(3).collect()["data"].to_list() == [b"0000", b"0001", b"0002"]
    assert READ == [("0.bin", 0), ("0.bin", 1), ("0.bin", 2)]


def test_rows_are_found_again_by_their_locators(files: list[str]) -> None:
    source = Records.of(files)
    found = source.scan(Request(("record",), locator=True)).collect()
    locators = found[LOCATOR].to_numpy()
    assert np.all(np.diff(locators.astype(np.int64)) > 0)
    some = locators[[1, 12, 35, 59]]
    assert pl.concat(source.fetch(some, ("data",)))["data"].to_list() == [b"0001", b"1002", b"2005", b"2029"]
    assert sorted(READ) == [("0.bin", 1), ("1.bin", 2), ("2.bin", 5), ("2.bin", 29)]


def test_parts_keep_the_numbers_of_their_files(files: list[str]) -> None:
    source = Records.of(files)
    splits = list(source.splits(Request(("data",))))
    part = pickle.loads(pickle.dumps(source.part((splits[2], splits[1]))))
    found = part.scan(Request(("data",), locator=True)).collect()
    assert found["data"].to_list()[:1] == [b"2000"]
    assert found["data"].to_list()[-1] == b"1019"
    assert found[LOCATOR][0] == 2 << ROWS
    assert pl.concat(source.fetch(np.sort(found[LOCATOR].to_numpy())[:1], ("data",)))["data"].to_list() == [b"1000"]


def test_a_broken_file_is_told_or_skipped(files: list[str]) -> None:
    Path(files[1]).write_bytes(b"12345")
    with pytest.raises(FileFormatError, match="no whole records"):
        rd.from_source(Records.of(files)).collect()
    df = rd.from_source(Records.of(files, on_error="collect"))
    assert df.collect().height == 40
    assert df.errors["file"].to_list() == [files[1]]
    with pytest.raises(OptionError, match="on_error"):
        Records.of(files, on_error="ignore")


def test_what_an_index_left_out_is_told_to_each_frame(files: list[str]) -> None:
    made: list[str] = []

    @dataclass(frozen=True)
    class Partial(Records):
        def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
            made.append(path)
            if self.on_error == "raise":
                raise FileFormatError(f"{path}: its end is missing")
            self.log.add(path, "its end is missing")
            return super().index(path, columns)[:5]

    for _ in range(2):
        source = Partial.of(files[:1], on_error="skip")
        for column in ("record", "even"):
            assert source.scan(Request((column,))).collect().height == 5
        assert [problem["error"] for problem in source.problems] == ["its end is missing"]
    assert made == [files[0]] * 2
    with pytest.raises(FileFormatError, match="end is missing"):
        rd.from_source(Partial.of(files[:1])).collect()


def test_what_is_left_out_is_told_each_time_and_kept_from_strict_readers(files: list[str]) -> None:
    @dataclass(frozen=True)
    class Partly(Records):
        """Its index leaves out what is damaged, and says so."""

        def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
            if path == files[1]:
                if self.on_error == "raise":
                    raise FileFormatError(f"{path}: half of it is damaged")
                self.log.add(path, "half of it is damaged")
                return super().index(path, columns).head(10)
            return super().index(path, columns)

    for _ in range(2):
        df = rd.from_source(Partly.of(files, on_error="collect"))
        assert df.select("record").collect().height == 50
        assert df.errors["file"].to_list() == [files[1]]
    with pytest.raises(FileFormatError, match="half of it is damaged"):
        rd.from_source(Partly.of(files)).select("record").collect()


def test_a_source_that_gives_too_few_rows_is_an_error(files: list[str]) -> None:
    @dataclass(frozen=True)
    class Short(Records):
        def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
            yield from super().read_rows(path, rows[1:], columns)

    with pytest.raises(FileFormatError, match="gave 9 of 10 rows"):
        rd.from_source(Short.of(files)).collect()


def test_jobs_run_ahead_and_give_their_items_in_order() -> None:
    started = [threading.Event() for _ in range(3)]

    def job(k: int) -> Iterator[int]:
        started[k].set()
        started[1].wait(30)  # the first one goes on only when the second runs
        yield from range(10 * k, 10 * k + 10)

    assert list(in_order((lambda k=k: job(k) for k in range(3)), 2)) == list(range(30))


def test_a_job_that_fails_raises_where_its_items_are_taken_and_the_others_stop() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    def failing() -> Iterator[int]:
        yield 0
        raise OSError("no more")

    found = in_order([failing, endless], 2)
    assert next(found) == 0
    with pytest.raises(OSError, match="no more"):
        next(found)
    assert closed.wait(30)


def test_a_file_object_reads_seeks_and_ends(tmp_path: Path) -> None:
    name = tmp_path / "a"
    name.write_bytes(bytes(range(200)))
    with open_object(str(name), block=16) as file:
        assert file.seek(-5, 2) == 195
        assert file.read() == bytes(range(195, 200))
        assert file.read() == b""
        file.seek(500)
        assert file.read(1) == b""
        file.seek(3)
        assert file.read(2) == b"\3\4"
        with pytest.raises(ValueError, match="before the file begins"):
            file.raw.seek(-1)


def test_where_no_file_is_left_there_are_no_rows(files: list[str]) -> None:
    for name in files:
        Path(name).write_bytes(b"12345")
    assert rd.from_source(Records.of([], on_error="skip")).collect().height == 0
    assert rd.from_source(Records.of(files, on_error="skip")).collect().height == 0
