"""rd.config(gpu=...): what of a query goes to GPUs, in this process and in tasks of a cluster; what explain() says."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from gpu_engine import PRETENDED, pretend
from placing import all_of_polars

import robodf as rd
from robodf import col
from robodf.config import engine_asked
from robodf.errors import DeviceError, DeviceWarning, OptionError
from robodf.gpu.cost import Cost
from robodf.gpu.facts import Facts
from robodf.gpu.rates import shipped
from robodf.optimizer import optimize
from robodf.physical import gpu_tasks, on_gpu, place, ray_runner
from robodf.physical.cluster import placing
from robodf.physical.cut import Limits, cut
from robodf.physical.fragments import fragments
from robodf.physical.on_device import OnDevice
from robodf.physical.place import Decision
from robodf.physical.ray_session import Cluster, Node
from robodf.plan.base import plans

NONE = Facts(None, None, 4, "no node of the cluster has a GPU")
RATED = replace(PRETENDED, rates=shipped("NVIDIA H200"), started=True)


@pytest.fixture
def a() -> rd.PipelineDataFrame:
    return rd.from_dict({"k": [2, 1, 2], "x": [0.5, 1.5, 2.5]}).filter(col("x") > 1).group_by("k").agg(col("x").sum())


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "available", lambda: None)
    pretend(monkeypatch, ask=all_of_polars)


def test_it_is_checked() -> None:
    with pytest.raises(OptionError, match=r"gpu='allways'; did you mean 'always'|gpu='allways'.*always"):
        rd.config(gpu="allways")
    with pytest.raises(OptionError, match="num_gpus=0 none"), rd.config(num_gpus=0):
        rd.config(gpu="always")


def test_what_it_makes_of_engines() -> None:
    for gpu, made in (("auto", "auto"), ("always", "gpu"), ("never", "local")):
        with rd.config(gpu=gpu):
            assert engine_asked("auto") == made
            assert [engine_asked(e) for e in ("local", "gpu", "ray")] == ["local", "gpu", "ray"]


@pytest.mark.usefixtures("pretended")
def test_in_this_process(a: rd.PipelineDataFrame) -> None:
    with rd.config(gpu="always"):
        assert a.profile(engine="auto").stages["device"].drop_nulls().len() == 1
        assert 'rd.config(gpu="always") was asked for' in a.explain("physical", engine="auto")
        assert "device" not in a.profile(engine="local").stages.columns
        with pytest.warns(DeviceWarning, match=r'rd.config\(gpu="always"\): nothing of the query can run'):
            rd.from_dict({"k": [1]}).map_batches(lambda batch: batch).collect(engine="auto")
    with rd.config(gpu="never"):
        assert "device" not in a.profile(engine="auto").stages.columns
        assert "device" in a.profile(engine="gpu").stages.columns


def test_always_without_a_gpu_is_an_error(a: rd.PipelineDataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "here", lambda: NONE)
    with rd.config(gpu="always"), pytest.raises(DeviceError, match=r'gpu="always"\), but no node.*engine="local"'):
        a.collect(engine="auto")
    with pytest.raises(DeviceError, match=r'gpu="always"\), but no node of the cluster has a GPU. gpu="auto" runs'):
        placing(NONE, always=True)
    assert placing(NONE) is None
    assert placing(None, always=True) is None  # nothing is asked of this runner


def test_tasks_go_whatever_is_expected(a: rd.PipelineDataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robodf.physical.cluster.place", partial(place.place, ask=all_of_polars))
    plan = optimize(a._plan)
    weighed, all_of_it = placing(RATED), placing(RATED, always=True)
    assert weighed is not None
    assert all_of_it is not None
    assert weighed(plan, {}) is plan
    assert any(isinstance(n, OnDevice) for n in plans(all_of_it(plan, {})))


def test_a_worker_of_the_cluster_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [None, replace(PRETENDED, cpus=64)]  # the first time no GPU was free
    monkeypatch.setattr(ray_runner, "_FACTS", {})
    monkeypatch.setattr(ray_runner, "available", lambda: None)
    monkeypatch.setattr(ray_runner, "_ask_a_worker", lambda share, patience: answers.pop(0))
    none, two = (Cluster("10.0.0.1:6379", (Node("a", "a", 8.0, gpus, 1, 1),)) for gpus in (0.0, 2.0))
    found = ray_runner.gpu_of(none, 5)
    assert found is not None
    assert (found.device, found.why) == (None, "no node of the cluster has a GPU")
    found = ray_runner.gpu_of(two, 5)
    assert found is not None
    assert (found.device, found.why) == (None, "no GPU of the cluster was free within 5 s")
    with rd.config(gpu="never"):
        assert ray_runner.gpu_of(two, 5) is None
    with rd.config(num_gpus=0.5, gpu="always"):
        assert [ray_runner.gpu_of(two, 5) for _ in range(2)] == [replace(PRETENDED, cpus=2)] * 2
    assert answers == []


# -- what explain() says of tasks ----------------------------------------------------------------------------------


def _said(frame: rd.PipelineDataFrame, monkeypatch: pytest.MonkeyPatch, facts: Facts | None) -> str:
    monkeypatch.setattr(gpu_tasks, "_facts", lambda: facts)
    monkeypatch.setattr(gpu_tasks, "place", partial(place.place, ask=all_of_polars))
    return gpu_tasks.on_gpus(
        cut(optimize(frame._plan), Limits(cpus=2, partition_bytes=16, small_bytes=0, partitions=3))
    )


def test_little_work_stays(a: rd.PipelineDataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _said(a, monkeypatch, RATED).splitlines()
    assert said[0].startswith(
        "on GPUs, by estimates (each task is placed when it is submitted, with 1 GPU): pretended,"
    )
    assert set(said[1:]) == {f"  fragment {k}, each task: too little work to be worth a GPU" for k in (1, 2)}


def test_without_a_gpu_nothing_is_said(a: rd.PipelineDataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    with rd.config(gpu="never"):
        assert gpu_tasks._facts() is None
    assert _said(a, monkeypatch, NONE) == _said(a, monkeypatch, None) == ""
    with rd.config(gpu="always"):
        assert "no node of the cluster has a GPU: the query would end with a DeviceError" in _said(a, monkeypatch, NONE)


def test_all_that_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(4):
        pl.DataFrame({"k": [1, 2, 3] * 50, "x": [float(k)] * 150}).write_parquet(tmp_path / f"{k}.parquet")
    rows = rd.read_parquet(str(tmp_path / "*.parquet")).map_batches(lambda batch: batch, preserves_rows=True)
    frame = rows.group_by("k").agg(rd.len())
    with rd.config(gpu="always", num_gpus=0.25):
        said = _said(frame, monkeypatch, replace(RATED, share=0.25))
    assert "with 0.25 GPU each)" in said
    assert "fragment 1, each task: GPU, as all that can was asked for; estimated" in said
    assert "fragment 1, each task: stays on the CPU: MapBatches" in said
    assert "fragment 2, each task: GPU, as all that can was asked for; estimated" in said


def test_it_goes_by_the_rows_of_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame({"k": list(range(900)), "x": [0.5] * 900})
    frame = rd.from_polars(rows).group_by("k").agg(col("x").median())
    done = cut(optimize(frame._plan), Limits(cpus=2, partition_bytes=16, small_bytes=0, partitions=3))
    (*_, last) = fragments(done).values()
    seen = []

    def placed(plan, facts, forced, known):
        seen.append(sum(known.get(id(n), 0.0) for n in plans(plan)))
        return place.Placed(plan, (Decision(plan, True, "yes", Cost(1, 1, 1)),), ())

    monkeypatch.setattr(gpu_tasks, "place", placed)
    list(gpu_tasks._of_fragment(last, RATED, True))
    assert seen == [300.0]


def test_explain_of_ray_has_it(a: rd.PipelineDataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(gpu_tasks, "_facts", lambda: RATED)
    assert "too little work to be worth a GPU" in a.explain("physical", engine="ray")
