"""A dedup in partitions is taken apart: rows meet by their keys, and what is compared goes only to those that met."""

from __future__ import annotations

import random
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest
from cut_plans import ROOMY, SMALL, run_cut

import robodf as rd
from robodf import col
from robodf.compat import run
from robodf.config import Settings
from robodf.dedup.caps import CappedWarning
from robodf.optimizer import IN_PARTITIONS, optimize
from robodf.physical.cut import Limits, cut
from robodf.physical.exchange import Counted
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.base import lower_all, plans, tree
from robodf.plan.nodes.dedup import Dedup, SimilarPairs
from robodf.plan.nodes.dedup_apart import Candidates, Gone, GoneInOnePlace, RowKeys, Verified

APART = (RowKeys, Candidates, Verified, Gone, GoneInOnePlace)
RECORDINGS = Limits(cpus=2, partition_bytes=3000, small_bytes=0, partitions=3)


def is_apart(frame: rd.PipelineDataFrame, limits: Limits) -> bool:
    nodes = plans(cut(optimize(frame._plan, IN_PARTITIONS), limits).plan)
    apart, whole = any(isinstance(n, APART) for n in nodes), any(isinstance(n, Dedup) for n in nodes)
    assert not (apart and whole)
    return apart


def same(frame: rd.PipelineDataFrame, limits: Limits) -> pl.DataFrame:
    """The rows of a cut plan, which are those in one place, in order."""
    wanted = run(lower_all(frame._plan))
    found = run_cut(optimize(frame._plan, IN_PARTITIONS), limits)
    assert found.schema == wanted.schema
    assert list(map(repr, found.rows())) == list(map(repr, wanted.rows()))
    return found


def test_a_dedup_in_partitions(df, cuts) -> None:
    done = cuts(df.select("k", "s").dedup("s", method="fuzzy", keep=rd.best("k")), """
        Select [k, s]
          Sort col("__robodf_at")
            Shuffle by range of [col("__robodf_at")] to 3 partitions
              Select [k, s, __robodf_at]
                Join anti on col("__robodf_row") == col("__robodf_row")
                  Shuffle by hash of [col("__robodf_row")] to 3 partitions
                    Number the rows
                      WithColumns [__robodf_row=col("__robodf_row").cast(Int64)]
                        RowIndex __robodf_row
                          Count partitions
                            #1 Select [k, s]
                              Pieces 3 of 12 rows
                                InMemory 12 rows, 5 columns
                  Shuffle by hash of [col("__robodf_row")] to 3 partitions
                    Gone, link representative, keep best
                      Gather
                        Concat of 2
                          Select [__robodf_better, __robodf_worse, __robodf_same, __robodf_rank_0_better, __robodf_rank_0_worse, __robodf_similarity]
                            WithColumns [__robodf_similarity=1.0]
                              Filter col("__robodf_same")
                                #2 Unique on __robodf_better, __robodf_worse, keep any
                                  Shuffle by hash of [col("__robodf_better"), col("__robodf_worse")] to 3 partitions
                                    Unique on __robodf_better, __robodf_worse, keep any
                                      Candidates, of a key with more than 64 rows with its best 64
                                        Shuffle by hash of [col("__robodf_key")] to 3 partitions
                                          RowKeys jaccard of chars(5) >= 0.8, 20 bands x 7 rows, recall >= 0.9909
                                            #3 Select [__robodf_value, __robodf_rank_0, __robodf_row=col("__robodf_row").cast(Int64)]
                                              RowIndex __robodf_row
                                                Count partitions
                                                  Select [__robodf_value=col("s"), __robodf_rank_0=col("k")]
                                                    (same as #1: Select [k, s])
                          Verified
                            Join inner on col("__robodf_worse") == col("__robodf_row")
                              Shuffle by hash of [col("__robodf_worse")] to 3 partitions
                                Join inner on col("__robodf_better") == col("__robodf_row")
                                  Shuffle by hash of [col("__robodf_better")] to 3 partitions
                                    Filter ~col("__robodf_same")
                                      (same as #2: Unique on __robodf_better, __robodf_worse, keep any)
                                  Shuffle by hash of [col("__robodf_row")] to 3 partitions
                                    Select [__robodf_row, __robodf_better_value=col("__robodf_value")]
                                      (same as #3: Select [__robodf_value, __robodf_rank_0, __robodf_row=col("__robodf_row").cast(Int64)])
                              Shuffle by hash of [col("__robodf_row")] to 3 partitions
                                Select [__robodf_row, __robodf_worse_value=col("__robodf_value")]
                                  (same as #3: Select [__robodf_value, __robodf_rank_0, __robodf_row=col("__robodf_row").cast(Int64)])""")  # fmt: skip  # noqa: E501
    assert done.place.parts == 3


def test_a_plain_exact_dedup_is_one_row_of_each_kind(df, cuts) -> None:
    """Equal values need no numbers of rows: the cheaper operator does it."""
    cuts(df.select("k", "t").dedup("k", within="t", keep="last"), """
        Select [k, t]
          Sort col("__robodf_at")
            Shuffle by range of [col("__robodf_at")] to 3 partitions
              Unique on t, k, keep last, in order
                Shuffle by hash of [col("t"), col("k")] to 3 partitions
                  Unique on t, k, keep last, in order
                    Number the rows
                      Select [k, t]
                        Pieces 3 of 12 rows
                          InMemory 12 rows, 5 columns""")  # fmt: skip


QUERIES = {
    "expression": lambda d: d.dedup(col("k") % 2),
    "best": lambda d: d.dedup("k", keep=rd.best("x")),
    "best of two": lambda d: d.dedup("s", keep=rd.best("k", "x", descending=[False, True])),
    "clusters": lambda d: d.clusters("k", keep="last"),
    "all columns": lambda d: d.clusters(),
    "nulls": lambda d: d.clusters(["k", "x"], nulls="equal", keep="none"),
    "fuzzy": lambda d: d.dedup("s", method="fuzzy", within="k"),
    "component": lambda d: d.clusters("s", method="fuzzy", link="component", keep=rd.best("x")),
    "against": lambda d: d.clusters("k", against=d.filter(col("t") > 8), within="s"),
    "fuzzy against": lambda d: d.clusters("s", method="fuzzy", against=d.tail(2), keep="none"),
    "after a filter": lambda d: d.filter(col("t") != 5).with_columns(u=col("s") + "!").dedup("u", method="fuzzy"),
    "after a shuffle": lambda d: d.unique("k", maintain_order=True).dedup("s", keep=rd.best("t")),
    "of none": lambda d: d.filter(col("t") > 99).clusters("s", method="fuzzy", keep=rd.best("k"), within="k"),
    "twice": lambda d: d.dedup("k", keep=rd.best("t")).dedup("s", method="fuzzy"),
    "numbered after": lambda d: d.dedup("s", keep=rd.best("x")).with_row_index(),
}


@pytest.mark.parametrize("name", QUERIES)
def test_rows_are_those_of_one_place(df, name: str) -> None:
    frame = QUERIES[name](df)
    limits = Limits(cpus=2, partition_bytes=1, small_bytes=0, partitions=8) if len(name) % 2 else SMALL
    assert is_apart(frame, limits)
    same(frame, limits)


def test_little_stays_as_it_is(df) -> None:
    frame = df.dedup("s", method="fuzzy")
    assert is_apart(frame, SMALL)
    assert not is_apart(frame, ROOMY)
    assert "Dedup on s" in tree(cut(optimize(frame._plan, IN_PARTITIONS), ROOMY).plan)
    same(frame, ROOMY)
    one = Limits(cpus=2, partition_bytes=1 << 20, small_bytes=0, partitions=3)
    assert not is_apart(frame, one)
    same(frame, one)


def test_inside_of_a_recording_nothing_moves(logs) -> None:
    imu = rd.read_log(str(logs), topic="/imu").select("recording", "log_time", "x")
    for frame in (
        imu.dedup("x", within="recording", keep=rd.best("log_time")),
        imu.dedup("x", within=["recording", "x"], keep="last"),
        imu.with_columns(t=col("x").cast(pl.String)).dedup("t", method="fuzzy", within="recording"),
    ):
        done = cut(optimize(frame._plan, IN_PARTITIONS), RECORDINGS)
        assert done.place.parts == 4
        assert not any(isinstance(n, APART) or "Shuffle" in n.label() for n in plans(done.plan))
        assert same(frame, RECORDINGS).height < imu.collect(engine="local").height
    text = tree(cut(optimize(imu.dedup("x", within="recording")._plan, IN_PARTITIONS), RECORDINGS).plan)
    assert text == dedent("""\
        Dedup on x within recording, keep first: exact, each verified by value
          Select [recording, log_time, x]
            Pieces 4 of 4 recordings
              Scan mcap a.mcap and 3 more topic=/imu columns=[recording, log_time, x]""")


def test_numbers_of_rows_are_of_all_recordings(logs) -> None:
    """Clusters are known by the number of a row in the whole, and rows of an earlier data set lie elsewhere."""
    imu = rd.read_log(str(logs), topic="/imu").select("recording", "x")
    for frame in (imu.clusters("x", within="recording"), imu.dedup("x", within="recording", against=imu.head(30))):
        assert is_apart(frame, RECORDINGS)
        same(frame, RECORDINGS)
    # By another column than the recording rows lie apart.
    assert is_apart(imu.dedup("recording", within="x", keep=rd.best("x")), RECORDINGS)


def test_pairs_are_looked_for_in_one_place(df, cuts) -> None:
    frame = df.similar_pairs("s", threshold=0.5)
    done = cut(optimize(frame._plan, IN_PARTITIONS), SMALL)
    assert isinstance(done.plan, SimilarPairs)
    same(frame, SMALL)


def test_a_method_without_keys_gets_the_values_alone(df) -> None:
    vectors = rd.from_polars(
        pl.DataFrame({"t": range(12), "v": [[float(k % 3), 1.0] for k in range(12)], "s": ["x"] * 12})
    )
    frame = vectors.dedup("v", method="semantic", threshold=0.99)
    done = cut(optimize(frame._plan, IN_PARTITIONS), SMALL)
    (node,) = [n for n in plans(done.plan) if isinstance(n, GoneInOnePlace)]
    assert list(node.input.schema) == ["__robodf_value"]
    assert same(frame, SMALL)["t"].to_list() == [0, 1, 2]


# -- what is told ---------------------------------------------------------------------------------------------------


def test_a_crowd_is_told_of_from_the_tasks() -> None:
    long = " ".join(f"word{k}" for k in range(100))
    frame = rd.from_dict({"t": [f"{long} number{k}" for k in range(90)]}).dedup("t", method="fuzzy")
    with pytest.warns(CappedWarning, match="more than 64 rows"):
        found = run_cut(optimize(frame._plan, IN_PARTITIONS), SMALL)
    assert found.height == 1
    assert frame.errors["error"].str.contains("compared with the 64 best").all()


# -- rows are counted without their wide columns --------------------------------------------------------------------


@pytest.fixture
def wide(tmp_path: Path) -> rd.PipelineDataFrame:
    """Four files of three rows."""
    for k in range(4):
        texts = ["a b", "c d", f"e {k % 2}"]
        image = [bytes([3 * k + j] * 20) for j in range(3)]
        rows = pl.DataFrame({"t": texts, "i": range(3 * k, 3 * k + 3), "image": image})
        rows.write_parquet(tmp_path / f"{k}.parquet")
    return rd.read_parquet(str(tmp_path / "*.parquet"))


def counts(frame: rd.PipelineDataFrame, limits: Limits = SMALL) -> list[bool]:
    """Of each count of partitions, whether these are read again after it."""
    done = cut(optimize(frame._plan, IN_PARTITIONS), limits)
    found = [n for n in plans(done.plan) if isinstance(n, Counted)]
    assert all(n.label() == f"Count partitions{', to be read again' if n.again else ''}" for n in found)
    return [n.again for n in found]


def test_wide_rows_are_read_again(wide) -> None:
    for make, again in (
        (lambda d: d.with_row_index(), [True]),
        (lambda d: d.filter(col("i") % 5 != 1).with_row_index("n", 7), [True]),
        (lambda d: d.select("i", image2="image").sample(fraction=0.5, seed=3), [True]),
        (lambda d: d.slice(5), [True]),
        (lambda d: d.filter(col("image").bin.size() > 9, col("i") > 3).slice(2), [True]),
        (lambda d: d.filter(col("i") > 99).with_row_index(), [True]),
        (lambda d: d.drop("image").with_row_index(), [False]),
        (lambda d: d.map_batches(lambda b: b, None, preserves_rows=True).with_row_index(), [False]),
        (lambda d: d.map_batches(lambda b: b, 1, preserves_rows=True).with_row_index(), [False]),
        (lambda d: d.unique("i", maintain_order=True).with_row_index(), [False]),
        (lambda d: rd.concat([d, d.filter(col("i") > 4)]).with_row_index(), [True]),
    ):
        frame = make(wide)
        assert counts(frame) == again, tree(frame._plan)
        same(frame, SMALL)


def test_a_dedup_of_wide_rows_reads_them_once_it_is_known_which_stay(wide) -> None:
    frame = wide.dedup("t", method="fuzzy", keep=rd.best("i"))
    assert sorted(counts(frame)) == [False, True]
    assert same(frame, SMALL)["i"].to_list() == [8, 9, 10, 11]
    held = wide.map_batches(lambda b: b, None, preserves_rows=True).dedup("t", method="fuzzy", keep=rd.best("i"))
    assert True not in counts(held)
    assert same(held, SMALL)["i"].to_list() == [8, 9, 10, 11]


def test_an_exact_dedup_of_wide_rows_sends_keys(wide) -> None:
    """Narrow rows go to where their equals are; of wide ones the keys do."""
    for keep in ("first", "last", "none"):
        assert is_apart(wide.dedup("t", keep=keep), SMALL)
        assert not is_apart(wide.drop("image").dedup("t", keep=keep), SMALL)
        same(wide.dedup("t", keep=keep), SMALL)
        same(wide.dedup(["t", "image"], keep=keep, within="i"), SMALL)
    held = wide.map_batches(lambda b: b, None, preserves_rows=True)  # not to be read again: then they travel once
    assert not is_apart(held.dedup("t"), SMALL)


def test_only_a_count_is_kept_of_what_is_read_again(wide) -> None:
    done = cut(optimize(wide.with_row_index()._plan, IN_PARTITIONS), SMALL)
    stages = Stages(Here(travel=True), Job(Settings()))
    parts = stages.parts(done.plan)
    (report,) = stages.reports
    assert report.stage == "Count partitions, to be read again"
    assert report.tasks == report.rows == len(parts) == 4  # one row of each task: its count
    assert report.bytes < 4 * 400
    rows = pl.concat(stages.frames(parts, done.plan.schema))
    assert rows["index"].to_list() == rows["i"].to_list() == list(range(12))


def test_a_dedup_of_wide_rows_goes_on_where_it_died(tmp_path, monkeypatch) -> None:
    """Of partitions that are only counted the store has numbers: they are read again, and no row is lost."""
    draw = random.Random(4)
    rows = pl.DataFrame(
        {"i": range(300), "t": [draw.choice("abcdefgh") * 4 for _ in range(300)], "b": [b"x" * 50] * 300}
    )
    for k in range(6):
        rows.slice(50 * k, 50).write_parquet(tmp_path / f"{k}.parquet")
    frame = rd.read_parquet(tmp_path / "*.parquet").dedup("t", method="fuzzy", keep="last")
    expected = frame.collect()
    died = []

    def die(*_: object) -> None:
        died.append(True)
        raise KeyboardInterrupt

    with rd.config(partition_bytes=2000, small_bytes=3000, partitions=3):  # who goes is sent to all partitions
        monkeypatch.setattr(Stages, "said", die)  # all is decided, and nothing is written yet
        with pytest.raises(KeyboardInterrupt):
            frame.to_parquet(tmp_path / "out", resume=True)
        monkeypatch.undo()
        report = frame.to_parquet(tmp_path / "out", resume=True)
    assert died
    assert report.rows == expected.height
    assert rd.read_parquet(tmp_path / "out").collect().sort("i").equals(expected.sort("i"))
