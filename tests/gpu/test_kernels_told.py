"""What kernels tell of where they ran: in the profile, of the operator that they ran for; and the engine they go by."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.dedup import asked
from robodf.gpu import kernels
from robodf.gpu.kernels import KernelWarning, fell_back, listening, tell
from robodf.physical import local

pytest.importorskip("numba", reason="numba is not installed")


def clouds() -> rd.PipelineDataFrame:
    points = np.random.default_rng(1).uniform(-1, 1, (50, 3)).tolist()
    return rd.from_dict({"cloud": [[dict(zip("xyz", p)) for p in points]]}).select(rd.voxel_downsample("cloud", 0.5))


def test_each_text_once_and_from_any_thread() -> None:
    with listening() as outer, listening() as told:
        tell("keys: on the GPU")
        tell("keys: on the GPU")
        other = threading.Thread(target=tell, args=("from another thread",))
        other.start()
        other.join()
    tell("nobody hears this")
    assert told == outer == ["keys: on the GPU", "from another thread"]
    assert not kernels._listening


def test_a_warning_is_heard_too() -> None:
    with listening() as told, pytest.warns(KernelWarning, match="no room") as seen:
        fell_back("no room", stacklevel=1)
    assert told == ["no room"]
    assert seen[0].filename == __file__


def test_the_profile_says_what_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "grouped", lambda rows, cubes: fell_back("cubes of points: no room"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernelWarning)
        stages = clouds().profile(engine="local").stages
    assert stages["device"].to_list() == [None, "cubes of points: no room"]


def test_the_profile_says_what_ran_there(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def keys(*given: object) -> None:
        seen.append(asked.engine())
        tell("keys of words, bytes of text: on the GPU")

    monkeypatch.setattr(kernels, "keys_of_texts", keys)
    frame = rd.from_dict({"text": ["a b c d e f", "a b c d e f", "g h i j k l"]}).dedup("text", method="fuzzy")
    stages = frame.profile(engine="auto").stages
    assert stages["device"].to_list()[-1] == "keys of words, bytes of text: on the GPU"
    assert seen == ["auto"]
    assert "device" not in rd.from_dict({"a": [1]}).profile(engine="auto").stages.columns


@pytest.mark.parametrize("how", ["argument", "with", "profile", "gpu setting"])
def test_an_expression_follows_the_engine_of_its_query(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polars calls it in threads of its own, in which only the settings of the process hold."""
    seen = []
    monkeypatch.setattr(kernels, "grouped", lambda rows, cubes: seen.append(asked.engine()))
    monkeypatch.setattr(local, "placed_here", lambda plan, engine: None)
    monkeypatch.setattr("robodf.physical.profile.placed_here", lambda plan, engine: None)
    if how == "argument":
        clouds().collect(engine="gpu")
        clouds().collect(engine="local")
        assert seen == ["gpu", "local"]
    elif how == "with":
        with rd.config(engine="gpu"):
            clouds().collect()
        assert seen == ["gpu"]
    elif how == "gpu setting":
        with rd.config(gpu="always"):
            clouds().collect(engine="auto")
        assert seen == ["gpu"]
    else:
        clouds().profile(engine="gpu")
        assert seen == ["gpu"]


def test_an_index_is_built_by_the_engine_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(kernels, "keys_of_texts", lambda *given: seen.append(asked.engine()))
    index = rd.DedupIndex.build(rd.from_dict({"text": ["a b c d e f"]}), on="text", method="fuzzy")
    index.save(tmp_path / "a.parquet", engine="auto")
    index.save(tmp_path / "b.parquet", engine="local")
    with rd.config(engine="auto"):
        index.save(tmp_path / "c.parquet")
    assert seen == ["auto", "local", "auto"]
    assert pl.read_parquet(tmp_path / "a.parquet").equals(pl.read_parquet(tmp_path / "b.parquet"))
