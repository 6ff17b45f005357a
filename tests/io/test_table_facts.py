"""Statistics in logs of tables: the same rows with them as without, whatever the data are."""

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

import robodf as rd
from robodf import col
from robodf.errors import FileFormatError
from robodf.io.delta import delta_files
from robodf.io.source import Request
from tests.plan.test_excluding import SCHEMA, frames, predicates

_ONE = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def delta(folder, *frames, **options):
    deltalake = pytest.importorskip("deltalake", reason="deltalake is not installed")
    for frame in frames:
        deltalake.write_deltalake(folder, frame.to_arrow(), mode="append", **options)
    return str(folder)


def found(source, predicate):
    request = Request(tuple(source.schema), (predicate,))
    return source.scan(request).collect(), source.part(tuple(source.splits(request))).scan(request).collect()


@given(frames(), frames(), predicates())
@_ONE
def test_delta_gives_the_same_rows(tmp_path_factory, first, second, predicate):
    times = [name for name, dtype in SCHEMA.items() if dtype.is_temporal()]
    light = [pl.col(times).cast(pl.Datetime("us", "UTC")), pl.col("d").cast(pl.Date)]  # the types that Delta has
    parts = [frame.with_columns(light[0]).with_columns(light[1]) for frame in (first, second)]
    if predicate.columns & {"t", "m"}:
        return
    source = delta_files(delta(tmp_path_factory.mktemp("t"), *parts), None, None)
    everything, _ = found(replace(source, facts=None), rd.lit(True))
    for rows in found(source, predicate):
        assert rows.equals(everything.filter(predicate.polars))


@given(frames(), frames(), predicates())
@_ONE
def test_iceberg_gives_the_same_rows(tmp_path_factory, first, second, predicate):
    pytest.importorskip("pyiceberg", reason="pyiceberg is not installed")
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed")
    from robodf.io.iceberg import iceberg_files
    from tests.io.iceberg_tables import catalog, table_of

    parts = [frame.with_columns(pl.col("m").cast(pl.Datetime("us"))) for frame in (first, second)]
    with catalog(tmp_path_factory.mktemp("t")) as made:
        source = iceberg_files(table_of(made, *parts))
    everything, _ = found(replace(source, facts=None), rd.lit(True))
    assert everything.equals(pl.concat(parts))
    for rows in found(source, predicate):
        assert rows.equals(everything.filter(predicate.polars))


@contextmanager
def closed(table, number):
    """The file of a commit cannot be read, and looks as if it could."""
    log = Path(table, "_delta_log", f"{number:020}.json").read_text()
    path = Path(table, next(json.loads(line)["add"]["path"] for line in log.splitlines() if '"add"' in line))
    whole, stat = path.read_bytes(), path.stat()
    path.write_bytes(b"x" * len(whole))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    yield
    path.write_bytes(whole)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_delta_leaves_out_files_by_any_column(tmp_path):
    at = datetime(2026, 1, 31, tzinfo=timezone.utc)
    parts = [
        pl.DataFrame(
            {"x": [1, 2], "s": ["a" * 80, "b"], "at": [at, None], "n": pl.Series([None, None], dtype=pl.Int64)}
        ),
        pl.DataFrame({"x": [10, None], "s": ["c", "d"], "at": [at + timedelta(1)] * 2, "n": [1, 2]}),
    ]
    table = delta(tmp_path, *parts)
    everything = pl.concat(parts)
    df = rd.read_delta(table)
    for predicate in (
        col("x") > 2, col("x").is_null(), col("s") >= "c", col("at") > at + timedelta(hours=1), col("n") == 2,
        (col("x") == 10) | (col("x") == 11), col("x").is_in([10, 12]), col("n").is_not_null(),
    ):  # fmt: skip
        with closed(table, 0):
            rows = df.filter(predicate).collect()
        assert rows.height
        assert rows.equals(everything.filter(predicate.polars)), predicate
        assert "1 of 2 files by" in df.filter(predicate).explain()
    with closed(table, 0), pytest.raises((FileFormatError, pl.exceptions.PolarsError)):
        df.filter(col("x") > 1).collect()


def test_delta_times_that_the_log_cuts(tmp_path):
    at = datetime(2026, 1, 31, 1, 2, 3, 123_999, tzinfo=timezone.utc)  # in the log: ...3.123
    df = rd.read_delta(delta(tmp_path, pl.DataFrame({"at": [at]}), pl.DataFrame({"at": [at - timedelta(days=40_000)]})))
    assert df.filter(col("at") > at - timedelta(microseconds=500)).count_rows() == 1
    assert df.filter(col("at") == at).count_rows() == 1
    assert df.filter(col("at") <= at - timedelta(days=40_000)).count_rows() == 1


def test_delta_columns_without_statistics(tmp_path):
    """A writer has them of the first 32 columns, unless told otherwise."""
    frame = pl.DataFrame({f"c{k}": [k, k + 1] for k in range(40)})
    df = rd.read_delta(delta(tmp_path, frame))
    for name in ("c0", "c31", "c32", "c39"):
        assert df.filter(col(name) == int(name[1:])).count_rows() == 1
    assert df.filter(col("c39") == 7).collect().height == 0
    log = Path(tmp_path, "_delta_log", "0" * 20 + ".json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            del line["add"]["stats"]
    log.write_text("\n".join(map(json.dumps, lines)))
    assert rd.read_delta(tmp_path).filter(col("c0") == 0).count_rows() == 1


def test_a_part_of_a_file_has_not_all_of_its_nulls(tmp_path):
    """As many rows of a file as it has nulls are not these nulls."""
    frame = pl.DataFrame({"x": [None, None, 1, 2]})
    source = delta_files(delta(tmp_path, frame), None, None)
    some = source._of([(0, (2, 2))])
    assert some.scan(Request(("x",), (col("x") > 0,))).collect()["x"].to_list() == [1, 2]
