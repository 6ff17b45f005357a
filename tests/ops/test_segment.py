"""Episodes: odd frames, boundaries, what is refused, what is pushed (tests/property has the naive oracle)."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError
from robodf.optimizer import optimize
from robodf.plan.base import lower_all, plans, tree
from robodf.plan.nodes.segment import Segments, WithSegment

T0 = datetime(2026, 1, 1)


@pytest.fixture
def runs() -> rd.PipelineDataFrame:
    """Two recordings at 10 Hz, not in order, with a gap of a second in the first."""
    seconds = [0.0, 0.1, 0.2, 1.2, 1.3, 0.0, 0.1]
    frame = pl.DataFrame({
        "recording": ["a"] * 5 + ["b"] * 2,
        "log_time": [T0 + timedelta(seconds=s) for s in seconds],
        "speed": [0.0, 0.5, 0.6, 0.7, None, 0.9, 0.0],
        "id": list(range(7)),
    })  # fmt: skip
    return rd.from_polars(frame[[3, 6, 0, 2, 5, 1, 4]])


def both(frame: rd.PipelineDataFrame, run) -> pl.DataFrame:
    found = run(frame)
    assert found.equals(lower_all(frame._plan).collect())
    assert list(found.schema.items()) == list(frame.schema.items())
    return found


def test_a_condition_and_a_gap(runs, run) -> None:
    found = both(runs.segment(when=lambda x: x["speed"] > 0.4, gap="0.5s"), run)
    assert found.schema == {
        "recording": pl.String, "segment": pl.UInt32, "start": pl.Datetime("us"), "end": pl.Datetime("us"),
        "duration": pl.Duration("us"), "rows": pl.UInt32,
    }  # fmt: skip
    at = lambda s: T0 + timedelta(seconds=s)  # noqa: E731
    assert found.rows() == [
        ("a", 0, at(0.1), at(0.2), timedelta(seconds=0.1), 2), ("a", 1, at(1.2), at(1.2), timedelta(0), 1),
        ("b", 0, at(0), at(0), timedelta(0), 1),
    ]  # fmt: skip


def test_a_gap_is_strictly_longer(runs, run) -> None:
    count = lambda gap: both(runs.segment(gap=gap), run)["rows"].to_list()  # noqa: E731
    assert count("1s") == [5, 2]
    assert count("999999us") == [3, 2, 2]
    assert count("0ns") == [1] * 7


def test_a_cut_before_rows(runs, run) -> None:
    """What cuts is in the run that it begins; null cuts nothing."""
    count = lambda **given: both(runs.segment(**given), run).select("recording", "rows").rows()  # noqa: E731
    assert count(at=col("speed") > 0.55) == [("a", 2), ("a", 1), ("a", 2), ("b", 2)]
    assert count(at=lambda x: x["speed"] > 0.55, when=col("speed") > 0) == [("a", 1), ("a", 1), ("a", 1), ("b", 1)]
    assert count(at=col("speed") > 9) == [("a", 5), ("b", 2)]
    assert count(at=col("id") == 2, gap="0.5s") == [("a", 2), ("a", 1), ("a", 2), ("b", 2)]
    found = both(runs.with_segment(at=col("id").is_in([2, 6])), run)
    assert dict(found.select("id", "segment").rows()) == {0: 0, 1: 0, 2: 1, 3: 1, 4: 1, 5: 0, 6: 1}
    mean = runs.segment(at=col("speed") > col("speed").mean()).filter(recording="b")
    assert tree(optimize(mean._plan)).startswith("Filter")  # below, the mean would be another
    assert "Filter" not in tree(optimize(runs.segment(at=col("speed") > 9).filter(recording="b")._plan)).split("\n")[0]


def test_with_segment_keeps_the_rows(runs, run) -> None:
    found = both(runs.with_segment(gap="0.5s"), run)
    assert found.drop("segment").equals(runs.collect())
    assert dict(found.select("id", "segment").rows()) == {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 0, 6: 0}
    long = both(runs.with_segment(gap="0.5s", min_duration="150ms", name="episode"), run)
    assert dict(long.select("id", "episode").rows()) == {0: 0, 1: 0, 2: 0, 3: None, 4: None, 5: None, 6: None}


def test_a_condition_that_reads_other_rows(runs, run) -> None:
    found = both(runs.segment(when=col("speed") > col("speed").mean()), run)
    assert found["rows"].to_list() == [3, 1]
    only_b = runs.segment(when=col("speed") > col("speed").mean()).filter(recording="b")
    assert both(only_b, run)["rows"].to_list() == [1]
    assert tree(optimize(only_b._plan)).startswith("Filter")  # below, the mean would be another


def test_several_keys_and_none(runs, run) -> None:
    keyed = runs.with_columns(robot=rd.lit("r"))
    found = both(keyed.segment(gap="9s", by=["robot", "recording"]), run)
    assert found.select("robot", "recording", "rows").rows() == [("r", "a", 5), ("r", "b", 2)]
    assert both(keyed.segment(gap="9s", by=None), run)["rows"].to_list() == [7]
    assert both(keyed.segment(gap="9s", by=[]), run)["rows"].to_list() == [7]


def test_no_rows(runs, run) -> None:
    for frame in (runs.head(0), runs.filter(col("id") < 0)):
        assert both(frame.segment(gap="1s"), run).height == 0
        assert both(frame.with_segment(gap="1s", min_duration="1s"), run).columns[-1] == "segment"
    nothing = runs.with_columns(log_time=rd.lit(None, pl.Datetime("ns")))
    assert both(nothing.segment(gap="1s"), run).height == 0
    assert both(nothing.with_segment(gap="1s"), run)["segment"].null_count() == 7
    assert both(runs.segment(when=rd.lit(False)), run).height == 0


def test_the_ends_of_64_bits(run) -> None:
    far = rd.from_dict({"t": [-(1 << 63), (1 << 63) - 1, 0]})
    assert both(far.segment(gap=10, on="t", by=None), run)["rows"].to_list() == [1, 1, 1]
    small = rd.from_polars(pl.DataFrame({"t": pl.Series([-128, 127], dtype=pl.Int8)}))
    found = both(small.segment(gap=255, on="t", by=None), run)
    assert found.select("start", "end", "duration", "rows").rows() == [(-128, 127, 255, 2)]
    assert both(small.segment(gap=254, on="t", by=None), run)["rows"].to_list() == [1, 1]
    large = rd.from_polars(pl.DataFrame({"t": pl.Series([0, (1 << 64) - 1], dtype=pl.UInt64)}))
    assert both(large.segment(gap=5, on="t", by=None), run)["end"].to_list() == [0, (1 << 64) - 1]


def test_filters_on_groups_and_columns_go_down(runs, run) -> None:
    table = runs.segment(gap="0.5s").filter(recording="a").select("start")
    plan = tree(optimize(table._plan))
    assert plan.index("Segments") < plan.index('Filter col("recording")')
    assert both(table, run).height == 2
    marked = runs.with_segment(when=col("speed") > 0.4).filter(recording="b").select("id", "segment")
    plan = tree(optimize(marked._plan))
    assert plan.index("WithSegment") < plan.index('Filter col("recording")')
    assert sorted(both(marked, run).rows()) == [(5, 0), (6, None)]
    assert "WithSegment" not in tree(optimize(runs.with_segment(gap="1s").select("id")._plan))
    kept = runs.with_segment(gap="1s").filter(col("id") > 3)  # rows of a run may not be dropped below
    assert tree(optimize(kept._plan)).startswith("Filter")
    assert len(runs.with_segment(gap="1s")) == 7


def test_errors(runs) -> None:
    for wrong in (
        lambda: runs.segment(), lambda: runs.segment(gap=5), lambda: runs.segment(gap="-1s"),
        lambda: runs.segment(gap="1s", min_duration="x"), lambda: runs.with_segment(min_duration="1s"),
        lambda: runs.segment(gap="0.5us"),
    ):  # fmt: skip
        with pytest.raises(OptionError):
            wrong()
    with pytest.raises(ColumnNotFoundError, match="by=.*None"):
        runs.drop("recording").segment(gap="1s")
    with pytest.raises(ColumnNotFoundError, match="stamp"):
        runs.segment(gap="1s", on="stamp")
    for wrong in (lambda: runs.segment(when="speed"), lambda: runs.segment(gap="1s", on="speed")):
        with pytest.raises(SchemaError):
            wrong()
    for wrong in (
        lambda: runs.segment(when=True), lambda: runs.segment(at=False), lambda: runs.segment(gap="1s", by="log_time"),
        lambda: runs.rename({"recording": "start"}).segment(gap="1s", by="start"),
        lambda: runs.with_segment(gap="1s", name="id"),
        lambda: runs.segment(when=lambda x: print(x) is None),
    ):  # fmt: skip
        with pytest.raises(QueryError):
            wrong()


def test_pickle(runs) -> None:
    for frame, kind in ((runs.segment(gap="1s"), Segments), (runs.with_segment(when=col("id") > 1), WithSegment)):
        assert any(isinstance(p, kind) for p in plans(pickle.loads(pickle.dumps(frame))._plan))
