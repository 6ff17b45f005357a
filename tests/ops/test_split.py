"""Splits by key: a pure function of the key, the same everywhere and for ever."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import ColumnNotFoundError, OptionError, SchemaError
from robodf.optimizer import optimize
from robodf.plan.base import lower_all, tree
from robodf.plan.stable_hash import stable_hash

NAMES = [f"run_{i:03}" for i in range(300)]


@pytest.fixture
def df() -> rd.PipelineDataFrame:
    return rd.from_dict({"recording": [name for name in NAMES for _ in range(3)], "i": list(range(900))})


def test_the_numbers_are_these_for_ever() -> None:
    """Changed numbers would move recordings from training to test in every project."""
    assert stable_hash(pl.Series(["run_7", "", "é", None]), seed=0).to_list() == PINNED["texts"]
    assert stable_hash(pl.Series([7, -1, None]), seed=0).to_list() == PINNED["integers"]
    assert stable_hash(pl.Series(["run_7"]), pl.Series([7]), seed=-3).to_list() == PINNED["both"]
    assert stable_hash(pl.Series([date(2026, 1, 1)]), seed=0).to_list() == PINNED["dates"]
    assert stable_hash(pl.Series([datetime(2026, 1, 1)]), seed=0).to_list() == PINNED["times"]
    assert stable_hash(pl.Series([True, False]), seed=0).to_list() == PINNED["truth"]
    assert stable_hash(pl.Series([b"\x00\xff"]), seed=0).to_list() == PINNED["bytes"]


def test_types_that_hold_the_same_values_hash_alike() -> None:
    for dtype in (pl.Int8, pl.UInt64, pl.Int32):
        assert stable_hash(pl.Series([7], dtype=dtype), seed=0)[0] == PINNED["integers"][0]
    for dtype in (pl.Categorical, pl.Enum(["run_7"])):
        assert stable_hash(pl.Series(["run_7"], dtype=dtype), seed=0)[0] == PINNED["texts"][0]
    for unit in ("ns", "us", "ms"):
        series = pl.Series([datetime(2026, 1, 1)]).dt.cast_time_unit(unit)  # type: ignore[arg-type]
        assert stable_hash(series, seed=0)[0] == PINNED["times"][0]


def test_keys_do_not_run_together() -> None:
    a = stable_hash(pl.Series(["ab", "a", "", None]), pl.Series(["c", "bc", "abc", "abc"]), seed=0)
    assert a.n_unique() == 4
    assert stable_hash(pl.Series(["7"]), seed=0)[0] != stable_hash(pl.Series([7]), seed=0)[0]
    assert stable_hash(pl.Series(["7"]), seed=0)[0] != stable_hash(pl.Series(["7"]), seed=1)[0]
    assert stable_hash(pl.Series([], dtype=pl.String), seed=0).dtype == pl.UInt64


def test_every_row_is_in_one_part_and_every_key_whole(df, run) -> None:
    parts = df.split({"train": 0.7, "val": 0.1, "test": 0.2}, seed=4)
    assert list(parts) == ["train", "val", "test"]
    found = {name: run(part) for name, part in parts.items()}
    assert sorted(i for part in found.values() for i in part["i"]) == list(range(900))
    keys = {name: set(part["recording"]) for name, part in found.items()}
    assert sum(map(len, keys.values())) == 300
    assert len(set.union(*keys.values())) == 300
    assert [len(keys[n]) for n in keys] == pytest.approx([210, 30, 60], abs=25)
    for name, part in parts.items():
        assert found[name]["i"].is_sorted()
        assert lower_all(part._plan).collect().equals(found[name])


def test_a_list_gives_a_tuple(df, run) -> None:
    a, b = df.split([0.25, 0.75])
    named = df.split({"x": 0.25, "y": 0.75})
    assert run(a).equals(run(named["x"]))
    assert run(b).equals(run(named["y"]))
    (whole,) = df.split((1,))
    assert run(whole).equals(df.collect())
    third = df.split([1 / 3, 1 / 3, 1 / 3])
    assert sum(map(len, third)) == 900


def test_other_data_and_seeds(df, run) -> None:
    train, _ = df.split([0.5, 0.5])
    some = df.filter(col("i") >= 450).sort("i", descending=True)
    part, _ = some.split([0.5, 0.5])
    assert set(run(part)["i"]) == {i for i in run(train)["i"] if i >= 450}
    other, _ = df.split([0.5, 0.5], seed=1)
    assert set(run(other)["i"]) != set(run(train)["i"])
    more, _ = df.split([0.6, 0.4])  # a greater part keeps what the smaller had
    assert set(run(train)["i"]) < set(run(more)["i"])


def test_odd_keys(run) -> None:
    df = rd.from_polars(pl.DataFrame({
        "k": [1, 2, None, 1], "c": pl.Series(["a", None, "b", "a"], dtype=pl.Categorical),
        "b": [True, None, False, True],
        "d": [date(2026, 1, 1), None, date(2026, 1, 2), date(2026, 1, 1)], "y": [b"\xff", b"", None, b"\xff"],
        "n": [None] * 4,
    }))  # fmt: skip
    for by in ("k", "c", "b", "d", "y", "n", ["k", "c", "b", "d", "y", "n"]):
        a, b = df.split([0.5, 0.5], by=by)
        assert len(a) + len(b) == 4
        assert len(a.filter(k=1)) in (0, 2)
    assert [len(part) for part in df.head(0).split([0.5, 0.5], by="k")] == [0, 0]


def test_filters_pass_it(df) -> None:
    train = df.split({"train": 0.5, "test": 0.5})["train"].sort("i").filter(recording="run_001")
    plan = tree(optimize(train._plan))
    assert plan.startswith("Sort")
    assert "stable_hash" in plan
    assert optimize(train._plan).schema == train._plan.schema


def test_another_process_gives_the_same() -> None:
    code = (
        "import robodf as rd; df = rd.from_dict({'recording': [f'run_{i}' for i in range(50)]});"
        "print(df.split([0.3, 0.7], seed=9)[0].collect()['recording'].to_list())"
    )
    df = rd.from_dict({"recording": [f"run_{i}" for i in range(50)]})
    mine = df.split([0.3, 0.7], seed=9)[0].collect()["recording"].to_list()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(mine)


def test_errors(df) -> None:
    for wrong in (
        [0.5, 0.4], [0.5, 0.6], [], {}, [1.0, 0.0], [1.5, -0.5], [0.5, "0.5"], "train", 0.5, [True], [float("nan"), 1],
    ):  # fmt: skip
        with pytest.raises(OptionError):
            df.split(wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"0\.9, not to 1"):
        df.split([0.5, 0.4])
    for seed in (1.5, "a", True, 1 << 64):
        with pytest.raises(OptionError, match="seed"):
            df.split([0.5, 0.5], seed=seed)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="by="):
        df.split([0.5, 0.5], by=None)
    with pytest.raises(ColumnNotFoundError, match="recording"):
        df.drop("recording").split([0.5, 0.5])
    with pytest.raises(SchemaError, match="Float64"):
        df.with_columns(f=0.5).split([0.5, 0.5], by="f")


PINNED = {
    "texts": [18399418198315316313, 321721348440763918, 1207969672130541322, 3997118075155526356],
    "integers": [13009069828258513150, 12605172391014532617, 3997118075155526356],
    "both": [11743666319116966574],
    "dates": [13231350172608176814],
    "times": [7923436675370780844],
    "truth": [7913312796295003052, 9476171038221724579],
    "bytes": [18263431515641369241],
}
