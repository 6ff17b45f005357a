"""engine="gpu" and engine="auto": what they choose and say, with and without a GPU. Polars plays the GPU."""

from __future__ import annotations

import functools
from pathlib import Path

import polars as pl
import pytest
from gpu_engine import PRETENDED, pretend
from placing import all_of_polars

import robodf as rd
from robodf import col
from robodf.compat import run
from robodf.errors import DeviceError, DeviceWarning, OptionError
from robodf.gpu.facts import Facts
from robodf.physical import on_gpu, place


@pytest.fixture
def a() -> rd.PipelineDataFrame:
    return rd.from_dict({"k": [2, 1, 2], "x": [0.5, 1.5, 2.5]}).filter(col("x") > 1).sort("k")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "available", lambda: None)
    pretend(monkeypatch, ask=all_of_polars)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "here", lambda: Facts(None, None, 16, "no NVIDIA driver is installed here"))


def same(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


@pytest.mark.usefixtures("without")
def test_without_a_gpu_it_is_an_error_that_says_what_to_do(a: rd.PipelineDataFrame, tmp_path: Path) -> None:
    said = 'engine="gpu", but no NVIDIA driver is installed here. engine="local" runs the same query on the CPU'
    with pytest.raises(DeviceError, match=said):
        a.collect(engine="gpu")
    with pytest.raises(DeviceError), rd.config(engine="gpu"):
        next(iter(a.iter_batches()))
    with pytest.raises(DeviceError):
        a.to_parquet(str(tmp_path / "a.parquet"), engine="gpu")
    with pytest.raises(DeviceError):
        a.to_parquet(str(tmp_path / "a"), engine="gpu", resume=True)
    with pytest.raises(DeviceError):
        a.profile(engine="gpu")
    assert "no GPU: no NVIDIA driver is installed here" in a.explain("physical", engine="gpu")


@pytest.mark.usefixtures("pretended")
def test_each_ending_runs_on_the_gpu(a: rd.PipelineDataFrame, tmp_path: Path) -> None:
    wanted = {"k": [1, 2], "x": [1.5, 2.5]}
    assert a.collect(engine="gpu").to_dict(as_series=False) == wanted
    assert pl.concat(a.iter_batches(1, engine="gpu")).to_dict(as_series=False) == wanted
    a.to_parquet(str(tmp_path / "a.parquet"), engine="gpu")
    assert pl.read_parquet(tmp_path / "a.parquet").to_dict(as_series=False) == wanted
    with rd.config(engine="gpu"):
        assert a.collect().to_dict(as_series=False) == wanted


@pytest.mark.usefixtures("pretended")
def test_a_write_that_can_go_on_runs_its_tasks_there(
    a: rd.PipelineDataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[pl.LazyFrame] = []

    def gpu(query: pl.LazyFrame) -> pl.DataFrame:
        seen.append(query)
        return run(query)

    placed = functools.partial(place.place, ask=all_of_polars, ways=(("GPU", gpu),))
    monkeypatch.setattr("robodf.physical.cluster.place", placed)
    a.to_parquet(str(tmp_path / "a"), engine="gpu", resume=True)
    assert rd.read_parquet(str(tmp_path / "a")).collect()["k"].to_list() == [1, 2]
    assert seen
    seen.clear()
    a.to_parquet(str(tmp_path / "b"), engine="local", resume=True)
    assert not seen


@pytest.mark.usefixtures("pretended")
def test_explain_says_what_goes_and_what_stays(a: rd.PipelineDataFrame) -> None:
    text = str(a.map_batches(same).filter(col("k") > 0).explain("physical", engine="gpu"))
    assert text.splitlines()[0] == 'engine gpu: engine="gpu" was asked for; pretended, 80 GiB, beside 16 cores'
    assert "fragment 1: GPU, as all that can was asked for\n" in text
    assert "MapBatches of 1024 rows: same (on polars): its rows are made by Python on the CPU" in text
    assert "OnDevice, 2 operators\n" in text


@pytest.mark.usefixtures("pretended")
def test_the_profile_says_where_a_fragment_ran(a: rd.PipelineDataFrame) -> None:
    found = a.profile(engine="gpu")
    assert found.rows.to_dict(as_series=False) == {"k": [1, 2], "x": [1.5, 2.5]}
    assert found.stages.get_column("stage").to_list() == ["InMemory 3 rows, 2 columns", "OnDevice, 2 operators"]
    assert found.stages.get_column("device").to_list()[0] is None
    assert found.stages.get_column("device").to_list()[1].startswith("ran on the GPU in ")


def test_the_profile_says_why_a_fragment_did_not_run_there(
    a: rd.PipelineDataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(query: pl.LazyFrame) -> pl.DataFrame:
        raise MemoryError("out_of_memory")

    pretend(monkeypatch, ask=all_of_polars, ways=(("GPU", full), ("CPU", run)))
    (_, said) = a.profile(engine="gpu").stages.get_column("device")
    assert said.startswith("ran on the CPU in ")
    assert said.endswith("; GPU: no memory left (out_of_memory)")


@pytest.mark.usefixtures("pretended")
def test_a_query_of_which_nothing_can_go_runs_with_a_warning() -> None:
    frame = rd.from_dict({"k": [1]}).map_batches(same)
    with pytest.warns(DeviceWarning, match=r"nothing of the query can run on a GPU.*made by Python on the CPU"):
        assert frame.collect(engine="gpu").height == 1


@pytest.mark.usefixtures("pretended")
def test_auto_leaves_small_queries_alone(a: rd.PipelineDataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are over before cudf-polars has answered: it is not even asked."""

    def never(query: pl.LazyFrame) -> list[str]:
        raise AssertionError("cudf-polars was asked")

    pretend(monkeypatch, ask=never)
    assert a.collect(engine="auto").height == 2
    assert "too little work to be worth a GPU" in a.explain("physical", engine="auto")


def test_the_share_of_a_gpu_is_checked() -> None:
    for wrong in (-0.1, 1.5, "half", True):
        with pytest.raises(OptionError, match="num_gpus"):
            rd.config(num_gpus=wrong)
    with rd.config(num_gpus=0.25) as settings:
        assert settings.num_gpus == 0.25


def test_facts_say_what_they_are() -> None:
    assert str(PRETENDED) == "pretended, 80 GiB, beside 16 cores"
    assert str(Facts(None, None, 2, "none")) == "no GPU: none"
