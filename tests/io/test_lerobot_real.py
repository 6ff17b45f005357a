"""A real data set of GR00T in LeRobot's version 2: read, filtered, deduplicated, written as version 3, read back."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import polars as pl

import robodf as rd
from robodf.images.layout import to_arrays

CAMERA = "observation.images.ego_view"
OWN = ["timestamp", "frame_index", "episode_index", "index", "task_index"]


def test_frames_are_those_that_pyav_decodes(real_data: Path) -> None:
    root = real_data / "lerobot_v2_gr00t_pick"
    df = rd.read_lerobot(root, frames_by="frame_index").filter(rd.col("episode_index") == 4)
    found = to_arrays(df.filter(rd.col("frame_index") % 50 == 0).select(CAMERA).collect()[CAMERA])
    with av.open(str(root / f"videos/chunk-000/{CAMERA}/episode_000004.mp4")) as file:
        wanted = [f.to_ndarray(format="rgb24") for k, f in enumerate(file.decode(video=0)) if k % 50 == 0]
    pairs = list(zip(found, wanted, strict=True))
    assert len(pairs) == 7
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)
    assert "no folder of videos for the feature 'observation.images.egoview'" in df.errors["error"][0]


def test_a_set_of_version_2_becomes_one_of_version_3(real_data: Path, tmp_path: Path) -> None:
    df = rd.read_lerobot(real_data / "lerobot_v2_gr00t_pick")
    some = df.filter(rd.col("episode_index").is_in([3, 4])).dedup(on=["observation.state", "action"])
    report = some.to_lerobot(tmp_path / "out", video="copy")
    assert report.rows == 412 + 328
    back = rd.read_lerobot(tmp_path / "out")
    names = [n for n in df.columns if n not in (*OWN, CAMERA)]
    expected, found = some.select(names).collect(), back.select(names).collect()
    assert found.equals(expected)
    places = rd.col("frame_index").is_in([0, 1, 200, 250, 251, 327, 411])
    assert back.filter(places).select(CAMERA).collect().equals(df.filter(
        rd.col("episode_index").is_in([3, 4]) & places).select(CAMERA).collect())  # fmt: skip
    assert back.errors.is_empty()
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    states = np.array(expected["observation.state"].to_list())
    np.testing.assert_allclose(stats["observation.state"]["mean"], states.mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats["observation.state"]["q99"], np.quantile(states, 0.99, axis=0), rtol=1e-12)
    assert pl.read_parquet(tmp_path / "out/meta/episodes/*/*.parquet")["length"].to_list() == [412, 328]
