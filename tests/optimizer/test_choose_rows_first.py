"""A dedup of files reads what it compares alone, and the rest for the rows that stay."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import FileFormatError
from robodf.optimizer import IN_PARTITIONS, RULES, optimize
from robodf.optimizer.choose_rows_first import choose_rows_first
from robodf.optimizer.push_filter import push_filter
from robodf.plan.base import plans, tree
from robodf.plan.nodes import dedup as dedup_node
from robodf.plan.nodes.dedup import Dedup

RULE = sys.modules["robodf.optimizer.choose_rows_first"]
EXACT = "exact, each verified by value"
FUZZY = "jaccard of chars(5) >= 0.8, 20 bands x 7 rows, recall >= 0.9909"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    texts = ["pick it up", "Pick it up!", "put it down", None, "pick it up", "open it"]
    rows = {"t": texts, "g": [1, 1, 1, 2, 2, 2], "q": [0.5, 0.9, None, 1.0, 2.0, 3.0],
            "image": [bytes([k]) * 200 for k in range(6)], "other": [f"o{k}" for k in range(6)]}  # fmt: skip
    pl.DataFrame(rows).write_parquet(tmp_path / "x.parquet", row_group_size=2)
    return tmp_path / "x.parquet"


@pytest.fixture
def file(path: Path, monkeypatch: pytest.MonkeyPatch) -> rd.PipelineDataFrame:
    """Six rows in a file, which here is a big one."""
    monkeypatch.setattr(RULE, "FEW", 0)
    return rd.read_parquet(path)


def test_before_and_after(file, fires) -> None:
    fires(file.dedup("t"), choose_rows_first, f"""
        Dedup on t, keep first: {EXACT}
          #1 Scan parquet x.parquet
          Select [__robodf_value=col("t")]
            (same as #1: Scan parquet x.parquet)""")  # fmt: skip
    fires(file.clusters("t", method="fuzzy", within="g", keep=rd.best("q")), choose_rows_first, f"""
        Clusters on t within g, keep best by q: {FUZZY}
          #1 Scan parquet x.parquet
          Select [__robodf_value=col("t"), __robodf_within_0=col("g"), __robodf_rank_0=col("q")]
            (same as #1: Scan parquet x.parquet)""")  # fmt: skip


def test_filters_and_columns_go_below_first(file, fires) -> None:
    fires(file.filter(col("q") > 0.6).dedup("t").filter(col("t") != "x").select("other"), RULES, f"""
        Select [other]
          Dedup on t, keep first: {EXACT}
            #1 Scan parquet x.parquet columns=[t, other] where=col("q") > 0.6 (exact) & col("t") != 'x' (exact)
            Select [__robodf_value=col("t")]
              (same as #1: Scan parquet x.parquet columns=[t, other] where=col("q") > 0.6 (exact) & col("t") != 'x' (exact))""")  # fmt: skip  # noqa: E501
    made = file.with_columns(u=col("t").str.to_uppercase(), v=col("image").bin.size())
    fires(made.dedup("u").select("g"), RULES, f"""
        Select [g]
          Dedup on u, keep first: {EXACT}
            #1 Scan parquet x.parquet columns=[t, g]
            Select [__robodf_value=col("t").str.to_uppercase()]
              (same as #1: Scan parquet x.parquet columns=[t, g])""")  # fmt: skip


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plan of each query that a dedup runs, as Polars has it."""
    seen: list[str] = []
    run = dedup_node.run_in_batches

    def spy(query: pl.LazyFrame, size: int):
        seen.append(query.explain(optimizations=pl.QueryOptFlags(check_order_observe=False)))
        return run(query, size)

    monkeypatch.setattr(dedup_node, "run_in_batches", spy)
    return seen


@pytest.mark.parametrize(("method", "light"), [("exact", 3), ("fuzzy", 3)])
def test_nothing_but_what_is_compared_is_read_first(file, reads, method: str, light: int) -> None:
    rows = file.dedup("t", method=method, within="g", keep=rd.best("q")).collect(engine="local")
    assert (
        rows["other"].to_list()
        == {"exact": ["o0", "o1", "o2", "o3", "o4", "o5"], "fuzzy": ["o1", "o2", "o3", "o4", "o5"]}[method]
    )
    assert len(reads) == (3 if method == "fuzzy" else 2)  # two exact ones did not meet
    assert f"PROJECT {light}/5 COLUMNS" in reads[0]
    if method == "fuzzy":
        assert "PROJECT 1/5 COLUMNS" in reads[1]
    assert "PROJECT */5 COLUMNS" in reads[-1]
    assert "image" not in "".join(reads[:-1])


def test_what_nobody_asks_for_is_never_read(file, reads) -> None:
    assert file.dedup("t", method="fuzzy").select("g").collect(engine="local")["g"].to_list() == [1, 1, 2, 2]
    assert "PROJECT 1/5 COLUMNS" in reads[0]
    assert "PROJECT 2/5 COLUMNS" in reads[-1]


def test_a_broken_image_is_met_only_by_who_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULE, "FEW", 0)
    path = tmp_path / "y.parquet"
    rows = pl.DataFrame({"t": ["a b", "A, b", "c"], "image": [bytes([k + 1]) * 200 for k in range(3)], "i": [0, 1, 2]})
    rows.write_parquet(path, compression="uncompressed", statistics=False)
    spoiled = bytearray(path.read_bytes())
    at = spoiled.find(b"\1" * 200)
    spoiled[at - 40 : at] = b"\xff" * 40
    path.write_bytes(spoiled)
    frame = rd.read_parquet(path)
    found = frame.clusters("t", method="fuzzy", keep=rd.best("i")).drop("image").collect(engine="local")
    assert found["cluster_id"].to_list() == [1, 1, 2]
    assert frame.dedup("t").select("i").collect(engine="local")["i"].to_list() == [0, 1, 2]
    with pytest.raises(FileFormatError, match="y.parquet"):
        frame.dedup("t").collect(engine="local")


def test_the_scan_of_a_log_reads_the_columns_of_the_values_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robodf.io.mcap.writer import McapWriter

    monkeypatch.setattr(RULE, "FEW", 0)
    with McapWriter(tmp_path / "a.mcap", profile="ros2") as out:
        kind = out.add_schema("my_msgs/msg/X", "ros2msg", b"uint32 k\nuint8[] data\n")
        channel = out.add_channel("/x", "cdr", kind)
        for i in range(20):
            body = (i % 4).to_bytes(4, "little") + (3).to_bytes(4, "little") + bytes([i] * 3)
            out.write(channel, 10**18 + i, b"\0\1\0\0" + body, publish_time=10**18 + i, sequence=i)
    frame = rd.read_log(str(tmp_path / "a.mcap"), topic="/x").dedup("k")
    assert [n.apart for n in plans(optimize(frame._plan)) if isinstance(n, Dedup)] != [()]
    rows = frame.collect(engine="local")
    assert rows["k"].to_list() == [0, 1, 2, 3]
    assert rows["data"].to_list() == [bytes([i] * 3) for i in range(4)]


def test_little_is_held(path: Path, keeps) -> None:
    keeps(rd.read_parquet(path).dedup("t"), choose_rows_first)
    size = path.stat().st_size
    assert RULE.FEW > 1 << 20 > size


def test_a_file_of_just_so_many_bytes(path: Path, keeps, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = rd.read_parquet(path).dedup("t")
    scan = next(n for n in plans(frame._plan) if type(n).__name__ == "Scan")
    size = sum(split.bytes for split in scan.source.splits(scan.request))  # type: ignore[attr-defined]
    monkeypatch.setattr(RULE, "FEW", size + 1)
    keeps(frame, choose_rows_first)
    monkeypatch.setattr(RULE, "FEW", size)
    assert optimize(frame._plan, (choose_rows_first,)) is not frame._plan


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f.join(f, on="g"),
        lambda f: f.sort("q"),
        lambda f: f.unique("t"),
        lambda f: f.dedup("g"),
        lambda f: f.map(lambda row: {"t": str(row["t"])}, {"t": pl.String}),
        lambda f: f.map_batches(lambda b: b, None, preserves_rows=True),
        lambda f: f.with_columns(n=col("q").sum()),
        lambda f: f.filter(col("q") > col("q").mean()),
        lambda f: f.with_columns(n=pl.col("q").shuffle()),
        lambda f: f.cache(),
        lambda f: f.group_by("g").agg(t=col("t").first()),
        lambda f: rd.concat([f, f.sort("q")]),
    ],
)
def test_what_may_give_other_rows_or_costs_is_held(file, make) -> None:
    """The outermost dedup; one below it may read its file twice."""
    plan = optimize(make(file).dedup("t")._plan, (choose_rows_first,))
    assert isinstance(plan, Dedup)
    assert plan.apart == ()
    assert any(isinstance(n, Dedup) for n in plans(plan))


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f.filter(col("q") > 0.4),
        lambda f: f.select("t", "image"),
        lambda f: f.head(4),
        lambda f: f.with_columns(n=col("q") + 1),
        lambda f: rd.concat([f, f.filter(col("g") == 1)]),
    ],
)
def test_what_gives_the_same_rows_is_read_again(file, make) -> None:
    frame = make(file).dedup("t", method="fuzzy")
    plan = optimize(frame._plan, (choose_rows_first,))
    assert isinstance(plan, Dedup)
    assert len(plan.apart) == 1
    held = frame._plan
    assert (
        frame.collect(engine="local").rows()
        == rd.from_polars(make(file).collect(engine="local")).dedup("t", method="fuzzy").collect(engine="local").rows()
    )
    assert plan.schema == held.schema


def test_rows_of_this_process_are_held(file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULE, "FEW", 1)
    frame = file.collect(engine="local")
    for rows in (frame, frame.lazy()):
        plan = optimize(rd.from_polars(rows).dedup("t")._plan, (choose_rows_first,))
        assert isinstance(plan, Dedup)
        assert plan.apart == ()


def test_it_fires_once_and_nothing_goes_below_after(file, keeps) -> None:
    once = optimize(file.dedup("t")._plan, (choose_rows_first,))
    assert optimize(once, (choose_rows_first,)) is once
    above = rd.PipelineDataFrame(once).filter(col("t") == "open it")
    keeps(above, push_filter)
    assert above.collect(engine="local").height == 1


def test_not_for_a_plan_in_partitions(file) -> None:
    assert choose_rows_first in RULES
    assert set(RULES) - set(IN_PARTITIONS) == {choose_rows_first}
    assert "Scan parquet x.parquet\n" in tree(optimize(file.dedup("t")._plan, IN_PARTITIONS)) + "\n"
    assert "__robodf_value" not in tree(optimize(file.dedup("t")._plan, IN_PARTITIONS))


def test_much_is_not_held_by_drop_duplicates_either(file, fires, keeps, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = file.select("t", "g")
    keeps(rows.drop_duplicates("t"), choose_rows_first)
    monkeypatch.setattr(RULE, "MUCH", 0)
    fires(rows.dedup(keep="last"), choose_rows_first, f"""
        Dedup on all columns, keep last: {EXACT}, null equals null
          #1 Select [t, g]
            Scan parquet x.parquet
          Select [__robodf_value=struct(col("t"), col("g"))]
            (same as #1: Select [t, g])""")  # fmt: skip
    for keep in ("first", "last", False):
        held = rd.from_polars(rows.collect(engine="local")).drop_duplicates("t", keep=keep)
        assert rows.drop_duplicates("t", keep=keep).collect(engine="local").equals(held.collect(engine="local"))
    keeps(rows.unique("t"), choose_rows_first)  # any of them, in no order
    keeps(file.sort("q").drop_duplicates("t"), choose_rows_first)
