"""Rows of Iceberg tables that are deleted: by positions, by vectors; by values they are refused."""

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import FileFormatError, NoFilesError
from robodf.io.iceberg.bitmaps import positions_of
from tests.io.splitting import check

pytest.importorskip("pyiceberg", reason="pyiceberg is not installed")
pytest.importorskip("sqlalchemy", reason="sqlalchemy, of pyiceberg's catalog, is not installed")

from tests.io.iceberg_deletes import EQUALITY, bitmap, commit, positions, vector
from tests.io.iceberg_tables import catalog, files, table_of


@pytest.fixture
def table(tmp_path):
    """Two files, of x from 0 to 4 and from 5 to 9."""
    with catalog(tmp_path) as found:
        yield table_of(found, pl.DataFrame({"x": range(5)}), pl.DataFrame({"x": range(5, 10)}))


@pytest.fixture
def paths(table):
    return [str(path) for path in files(table)]


def left(path):
    return rd.read_iceberg(path).collect()["x"].to_list()


def test_positions(table, paths):
    path = commit(table, positions(table, [(paths[0], 1), (paths[0], 4), (paths[1], 0)]))
    assert left(path) == [0, 2, 3, 6, 7, 8, 9]
    df = rd.read_iceberg(path)
    assert df.count_rows() == 7
    assert df.filter(col("x") < 3).collect()["x"].to_list() == [0, 2]
    assert df.filter(col("x") > 5).count_rows() == 4
    assert df.head(3).collect()["x"].to_list() == [0, 2, 3]
    assert df.tail(1).select(k=col("x") * 2).collect()["k"].to_list() == [18]
    assert df.with_row_index().collect()["index"].to_list() == list(range(7))
    check(df, 2)


def test_several_files_of_positions_and_one_twice(table, paths):
    path = commit(table, positions(table, [(paths[0], 1), (paths[0], 1)]))
    path = commit(table, positions(table, [(paths[0], 1), (paths[0], 2)]))
    assert left(path) == [0, 3, 4, 5, 6, 7, 8, 9]


def test_deletes_are_not_about_files_that_came_later(table, paths):
    path = commit(table, positions(table, [(paths[0], 0), (paths[1], 0)]), sequence=1)
    assert left(path) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    path = commit(table, positions(table, [(paths[1], 1)]), spec=0)
    assert left(path) == [1, 2, 3, 4, 5, 7, 8, 9]


def test_all_rows_of_a_file(table, paths):
    path = commit(table, positions(table, [(paths[0], k) for k in range(5)]))
    assert left(path) == [5, 6, 7, 8, 9]
    assert rd.read_iceberg(path).filter(col("x") < 3).collect().height == 0


@pytest.mark.parametrize("named", [False, True])
def test_a_vector(table, paths, named):
    older = positions(table, [(paths[0], 0), (paths[1], 4)], {143: paths[0]} if named else {})
    commit(table, older)
    path = commit(table, vector(table, paths[0], bitmap([0, 2]), 2), version=3)
    # A vector holds what older files had of its own; these stay for the others.
    assert left(path) == [1, 3, 4, 5, 6, 7, 8] + ([9] if named else [])


def test_vectors_of_all_kinds():
    random = np.random.default_rng(0)
    sets = [
        [],
        [0],
        [1 << 40, (1 << 40) + 5, (1 << 33)],
        range(100_000),
        random.choice(1 << 20, 200_000, replace=False),
        [*range(10), *range(70_000, 70_100), 1 << 18, *range(3 << 16, (3 << 16) + 5000, 2)],
        np.arange(0, 1 << 19, 3),
        *(np.flatnonzero(random.random(1 << 18) < share) for share in (0.001, 0.1, 0.5, 0.99)),
    ]
    for numbers in sets:
        wanted = np.unique(np.array(list(numbers), np.int64))
        data = bitmap(wanted)
        assert np.array_equal(positions_of(data, len(wanted)), wanted)
        for cut in random.integers(0, len(data), 20):
            with pytest.raises(ValueError, match="cut|not|other|more"):
                positions_of(data[:cut], len(wanted))
        if len(wanted):
            with pytest.raises(ValueError, match="more numbers"):
                positions_of(data, len(wanted) - 1)


def test_damaged_vectors():
    random = np.random.default_rng(1)
    good = bitmap([*range(100), 5 << 16, *range(6 << 16, (6 << 16) + 9000, 2)])
    for _ in range(2000):
        data = bytearray(good)
        for at in random.integers(0, min(len(data), 200), 3):
            data[at] = random.integers(256)
        try:
            found = positions_of(bytes(data), 10_000)
        except ValueError:
            continue
        assert len(found) <= 10_000
        assert (np.diff(found) > 0).all()


def test_values_are_refused_where_they_are_about_a_file(table, paths):
    told = positions(table, [(paths[0], 1)], content=EQUALITY)
    with pytest.raises(FileFormatError, match="equality deletes.*rewrite_data_files"):
        rd.read_iceberg(commit(table, told))


def test_values_that_are_older_than_all_files_are_not_about_them(table, paths):
    told = positions(table, [(paths[0], 1)], content=EQUALITY)
    assert left(commit(table, told, sequence=1)) == list(range(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({101: "AVRO"}, "deletes as avro"),
        ({103: 7}, "has 1 rows, where the table says 7"),
        ({103: -1}, "where a count stands"),
        ({134: 9}, "the content 9"),
        ({101: "PUFFIN"}, "does not say where a deletion vector lies"),
    ],
)
def test_damaged_files_of_deletes(table, paths, change, message):
    told = positions(table, [(paths[0], 1)], change)
    with pytest.raises(FileFormatError, match=message):
        left(commit(table, told))


def test_positions_that_a_file_does_not_have(table, paths):
    for place in (5, -1, 1 << 62):
        with pytest.raises(FileFormatError, match="deletes row"):
            left(commit(table, positions(table, [(paths[0], place)]), sequence=3))


@pytest.mark.parametrize(
    ("change", "message"),
    [({103: 3}, "deletes 2 rows, where the table says 3"), ({145: 1 << 40}, "bytes"), ({144: 0}, "its checksum"),
     ({144: 1 << 40}, "truncated"), ({145: 3}, "has 3 bytes")],
)  # fmt: skip
def test_damaged_places_of_vectors(table, paths, change, message):
    path = commit(table, vector(table, paths[0], bitmap([0, 2]), 2, change), version=3)
    with pytest.raises(FileFormatError, match=message):
        left(path)


def test_a_file_of_deletes_that_is_gone(table, paths):
    from pathlib import Path

    told = positions(table, [(paths[0], 1)])
    path = commit(table, told)
    Path(told[100]).unlink()
    with pytest.raises(NoFilesError, match="are not there any more"):
        rd.read_iceberg(path)
