"""A function over cuDF frames on top of a fragment: its rows stay on the GPU. Tables and cuDF are stood in for."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import polars as pl
import pytest
from gpu_engine import PRETENDED
from placing import all_of_polars

import robodf as rd
from robodf import col
from robodf.compat import run
from robodf.gpu.device_rows import DeviceRows, stays_the_same
from robodf.gpu.running import CPU, GPU, Ways, ways_of
from robodf.optimizer import optimize
from robodf.physical.local import user_errors
from robodf.physical.on_device import OnDevice
from robodf.physical.place import Placed, place
from robodf.physical.ray_pools import resources_of
from robodf.plan.base import lower_all, plans
from robodf.plan.flat import FlatPlan
from robodf.plan.spread import Resources


class Table:
    """What is asked of a table of cudf-polars, by Polars; it notes what comes to the host."""

    def __init__(self, frame: pl.DataFrame, moved: list[str]):
        self.frame, self.moved = frame, moved
        self.num_rows, self.column_names = frame.height, frame.columns
        self.columns = [
            SimpleNamespace(name=n, dtype=SimpleNamespace(polars_type=t)) for n, t in frame.schema.items()
        ]  # fmt: skip
        sizes = [SimpleNamespace(device_buffer_size=s.estimated_size) for s in frame.iter_columns()]
        self.table = SimpleNamespace(columns=lambda: sizes, of=frame)

    def slice(self, part: tuple[int, int]) -> Table:
        return Table(self.frame.slice(*part), self.moved)

    def select(self, names: Sequence[str]) -> Table:
        return Table(self.frame.select(names), self.moved)

    def to_polars(self) -> pl.DataFrame:
        self.moved.append(f"{','.join(self.frame.columns)} to the host")
        return self.frame


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with a GPU and cuDF; what was moved which way."""
    seen: list[str] = []

    def stays(table: Any, metadata: dict[str, list[str]]) -> pl.DataFrame:
        assert metadata == {"columns": table.of.columns}
        seen.append(f"{table.of.height} rows stay")
        return table.of

    def goes(table: Any) -> pl.DataFrame:
        seen.append(f"{table.num_rows} rows to the device")
        return pl.DataFrame(table)

    frames = SimpleNamespace(from_pylibcudf=stays, from_arrow=goes)
    monkeypatch.setitem(sys.modules, "cudf", SimpleNamespace(DataFrame=frames))
    monkeypatch.setitem(sys.modules, "rmm", ModuleType("rmm"))
    monkeypatch.setattr("robodf.gpu.exchange.absent", lambda: None)
    monkeypatch.setattr("robodf.gpu.exchange.ensure_pool", lambda share: None)
    return seen


@pytest.fixture
def sorted_rows(tmp_path: Path) -> rd.PipelineDataFrame:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"k": [3, 1, 2], "x": [0.5, None, 2.5], "s": ["a", "b", "c"]}).write_parquet(path)
    return rd.read_parquet(str(path)).sort("k")


def on_device(moved: list[str]) -> Ways:
    return ((GPU, lambda query: DeviceRows(Table(run(query), moved))),)


def rows_of(done: Placed) -> pl.DataFrame:
    with user_errors():
        return run(lower_all(done.plan))


def placed(frame: rd.PipelineDataFrame, ways: Ways) -> Placed:
    return place(optimize(frame._plan), PRETENDED, forced=True, ask=all_of_polars, ways=ways)


def double(batch: pl.DataFrame) -> dict[str, pl.Series]:
    return {"y": batch["x"] * 2}


def shout(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.with_columns(pl.col("s").str.to_uppercase())


def test_rows_stay_for_a_function_on_top(sorted_rows: rd.PipelineDataFrame, moved: list[str]) -> None:
    done = placed(sorted_rows.map_batches(shout, 2, batch_format="cudf"), on_device(moved))
    assert rows_of(done).rows() == [(1, None, "B"), (2, 2.5, "C"), (3, 0.5, "A")]
    assert moved == ["2 rows stay", "1 rows stay"]
    assert (
        done.plan.label()
        == "OnDevice, 2 operators, then there MapBatches of 2 rows (num_gpus=1): shout (on cudf, device=gpu)"
    )
    assert done.stay == ()


def test_columns_that_pass_by_come_back_alone(sorted_rows: rd.PipelineDataFrame, moved: list[str]) -> None:
    made = sorted_rows.map_batches(
        double, None, batch_format="cudf", reads=["x"], schema={"y": pl.Float64}, preserves_rows=True
    )
    found = rows_of(placed(made, on_device(moved)))
    assert found.rows() == [(1, None, "b", None), (2, 2.5, "c", 5.0), (3, 0.5, "a", 1.0)]
    assert moved == ["3 rows stay", "k,x,s to the host"]
    moved.clear()
    alone = made.map_batches(shout, None, batch_format="cudf")  # gets what the first one left, on the host
    assert rows_of(placed(alone, on_device(moved)))["y"].to_list() == [None, 5.0, 1.0]
    assert moved[-1] == "3 rows to the device"


def test_no_rows(sorted_rows: rd.PipelineDataFrame, moved: list[str]) -> None:
    none = sorted_rows.filter(col("k") > 9).sort("s").map_batches(shout, 2, batch_format="cudf")
    found = rows_of(placed(none, on_device(moved)))
    assert (found.height, found.schema) == (0, pl.Schema({"k": pl.Int64, "x": pl.Float64, "s": pl.String}))


def test_a_fragment_that_came_back_hands_over_its_rows(sorted_rows: rd.PipelineDataFrame, moved: list[str]) -> None:
    def full(query: pl.LazyFrame) -> pl.DataFrame:
        raise MemoryError("out_of_memory")

    done = placed(sorted_rows.map_batches(shout, 2, batch_format="cudf"), ((GPU, full), (CPU, run)))
    assert rows_of(done)["s"].to_list() == ["B", "C", "A"]
    assert moved == ["2 rows to the device", "1 rows to the device"]
    (node,) = [n for n in plans(done.plan) if isinstance(n, OnDevice)]
    assert node.fragment.ran[-1].where == CPU


def test_an_error_of_the_function_says_which_rows(sorted_rows: rd.PipelineDataFrame, moved: list[str]) -> None:
    def wrong(batch: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("not these")

    done = placed(sorted_rows.map_batches(wrong, 2, batch_format="cudf"), on_device(moved))
    with pytest.raises(ValueError, match="not these") as caught:
        rows_of(done)
    assert "given 2 rows from row 0" in caught.value.__notes__[0]


@pytest.mark.parametrize("why", ["two users", "on_error", "types", "another format"])
def test_what_is_handed_over_as_before(why: str, sorted_rows: rd.PipelineDataFrame, moved: list[str]) -> None:
    frame, options = sorted_rows, {"batch_format": "cudf"}
    if why == "types":
        frame = frame.with_columns(t=rd.lit(datetime(2026, 1, 1)).dt.replace_time_zone("Europe/Paris")).sort("k", "s")
    if why == "on_error":
        options["on_error"] = "skip"
    if why == "another format":
        options = {"batch_format": "numpy", "device": "gpu"}
    made = frame.map_batches(lambda batch: batch, 2, **options)  # type: ignore[arg-type]
    if why == "two users":
        made = rd.concat([made, frame.map_batches(shout, 2, batch_format="cudf")])
    done = placed(made, ((GPU, run),))
    assert done.on_gpu
    assert all(n.fragment.call is None for n in plans(done.plan) if isinstance(n, OnDevice))
    assert rows_of(done).height == made.collect(engine="local").height


def test_it_travels_and_asks_for_what_both_need(sorted_rows: rd.PipelineDataFrame, moved: list[str]) -> None:
    frame = sorted_rows.map_batches(shout, 2, batch_format="cudf", num_gpus=0.5, num_cpus=2)
    done = placed(frame, ((GPU, run),))
    assert resources_of(done.plan) == Resources(2.0, 1.0, None, False)
    again = pickle.loads(pickle.dumps(FlatPlan(done.plan))).plan()
    assert run(lower_all(again))["s"].to_list() == ["B", "C", "A"]


def test_types_that_look_the_same() -> None:
    assert stays_the_same({"a": pl.Int8(), "b": pl.String(), "c": pl.Datetime("ns"), "d": pl.Duration("us")})
    for other in (
        pl.Date(),
        pl.List(pl.Int64()),
        pl.Datetime("us", "UTC"),
        pl.Array(pl.Float32(), 2),
        pl.Categorical(),
    ):
        assert not stays_the_same({"a": other})


def test_the_way_is_the_one_that_leaves_rows_there() -> None:
    assert [name for name, _ in ways_of(0.5, stays=True)] == ["GPU", "GPU in pieces", "CPU"]
    assert ways_of(stays=True)[0][1].func is not ways_of()[0][1].func  # type: ignore[attr-defined]
    assert ways_of(fits=False, stays=True)[0][0] == "GPU in pieces"


@pytest.mark.gpu_plan
def test_what_is_asked_of_cudf_polars_is_there() -> None:
    """By name: its tables are private, and none can be made without a GPU."""
    import pylibcudf
    from cudf_polars.containers import DataFrame
    from cudf_polars.dsl.ir import IR, IRExecutionContext

    assert set(inspect.signature(IR.evaluate).parameters) == {"self", "cache", "timer", "context"}
    assert all(p.default is not p.empty for p in inspect.signature(IRExecutionContext).parameters.values())
    assert all(hasattr(DataFrame, name) for name in ("num_rows", "column_names", "slice", "select", "to_polars"))
    assert {"columns", "table", "stream"} <= inspect.get_annotations(DataFrame).keys()
    assert hasattr(pylibcudf.Column, "device_buffer_size")
