"""What a run on a cluster says of its fragments."""

from __future__ import annotations

import polars as pl
import pytest

import robodf as rd
from robodf import col

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:`use_[a-z0-9_]+` is deprecated:DeprecationWarning"),  # Ray Data's own defaults
]


def test_fragments_are_measured(ray_cluster, tmp_path) -> None:
    for k in range(4):
        pl.DataFrame({"k": [k, k + 1] * 50, "x": list(range(100))}).write_parquet(tmp_path / f"{k}.parquet")
    frame = rd.read_parquet(str(tmp_path)).group_by("k").agg(col("x").sum()).sort("k")
    with rd.config(engine="ray", partition_bytes=64, small_bytes=0, partitions=3):
        found = frame.profile()
    assert found.rows.equals(frame.collect(engine="local"))
    stages = found.stages.rows(named=True)
    assert stages[0]["tasks"] == 4
    assert stages[0]["rows"] == 8  # two groups of each file: half done before they travel
    assert all(s["seconds"] > 0 and s["retries"] == 0 and s["spilled_bytes"] == 0 for s in stages)
    assert "Shuffle by hash" in repr(found)


def test_names_relative_to_the_driver(ray_cluster, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"x": [1, 2]}).write_parquet("a.parquet")
    assert rd.read_parquet("a.parquet").collect(engine="ray")["x"].to_list() == [1, 2]
    assert rd.read_parquet("a.parquet").to_parquet("out", engine="ray").rows == 2
    assert rd.read_parquet("out").collect(engine="ray")["x"].to_list() == [1, 2]


def test_batches_come_as_they_are_done(ray_cluster) -> None:
    frame = rd.from_polars(pl.DataFrame({"x": list(range(1000))}))
    with rd.config(engine="ray", partition_bytes=800, small_bytes=0):
        heights = [batch.height for batch in frame.filter(col("x") >= 50).iter_batches(300)]
        assert heights == [300, 300, 300, 50]
        first = next(iter(frame.iter_batches(10)))
        assert first["x"].to_list() == list(range(10))
        assert frame.to_ray().count() == 1000
        assert rd.from_ray(frame.to_ray()).filter(col("x") > 995).collect()["x"].to_list() == [996, 997, 998, 999]
