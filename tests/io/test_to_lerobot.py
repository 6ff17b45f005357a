"""Writing LeRobot data sets: what is copied, what is encoded, what the statistics say, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from samples_lerobot import CAMERA, LENGTHS, TASKS, WRIST, version_2, version_3, write_video
from test_lerobot import INDEX, level, levels, near

import robodf as rd
from robodf.compat import explode_options
from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError
from robodf.images.layout import to_column
from robodf.io.lerobot import statistics
from robodf.io.video import beside

OWN = ["timestamp", "frame_index", "episode_index", "index", "task_index"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("lerobot")
    return version_2(folder / "v2"), version_3(folder / "v3")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames each decoding gave."""
    found: list[int] = []
    images = beside.images

    def counted(path, storage, video, numbers, *more):
        found.append(len(numbers))
        return images(path, storage, video, numbers, *more)

    monkeypatch.setattr(beside, "images", counted)
    return found


def table(count: int = 6, **more) -> pl.DataFrame:
    values = np.arange(count * 3, dtype=np.float64).reshape(count, 3) ** 2
    return pl.DataFrame(
        {"episode_index": [k // 3 for k in range(count)], "action": values, "task": ["reach"] * count, **more}
    )


def images(count: int, size: tuple[int, int] = (32, 16)) -> pl.Series:
    return to_column([np.full((size[1], size[0], 3), 20 + 30 * k, np.uint8) for k in range(count)])


# -- round trips ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1])
def test_whole_episodes_are_copied_and_read_back_equal(
    made: tuple[Path, Path], tmp_path: Path, decoded: list[int], version: int
) -> None:
    df = rd.read_lerobot(made[version]).filter(rd.col("episode_index") != 1)
    report = df.to_lerobot(tmp_path / "out", video="copy", image_stats=False)
    assert (report.rows, decoded) == (9, [])
    back = rd.read_lerobot(tmp_path / "out")
    found, expected = back.collect(), df.collect()
    assert found.drop(OWN).equals(expected.drop(OWN).select(found.drop(OWN).columns))
    assert found["timestamp"].equals(expected["timestamp"])
    assert found.select("episode_index", "frame_index", "index").rows() == [
        (k, i, 5 * k + i) for k, n in enumerate((5, 4)) for i in range(n)
    ]
    assert back.errors.is_empty()


def test_copies_come_from_several_sets_and_are_decoded_for_statistics_only(
    made: tuple[Path, Path], tmp_path: Path, decoded: list[int]
) -> None:
    one, two = (rd.read_lerobot(root).select("episode_index", "action", "task", CAMERA) for root in made)
    both = rd.concat([one.with_columns(run=rd.lit("a")), two.with_columns(run=rd.lit("b"))])
    both = both.with_columns(episode=rd.col("run") + rd.col("episode_index").cast(pl.String)).drop("run")
    both.to_lerobot(tmp_path / "out", by="episode", video="copy")
    assert decoded == [*LENGTHS, *LENGTHS]
    found = rd.read_lerobot(tmp_path / "out").collect()
    assert near(levels(found[CAMERA]), [level(k, i) for k, i in INDEX] * 2)
    assert found["episode_index"].to_list() == [3 * r + k for r in range(2) for k, _ in INDEX]
    listed = pl.read_parquet(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet")
    assert listed["episode"].to_list() == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_filtered_and_deduplicated_rows_are_encoded_where_frames_are_missing(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    df = rd.read_lerobot(made[0])
    some = df.filter((rd.col("episode_index") != 1) | (rd.col("frame_index") != 1)).dedup(on=["observation.state"])
    expected = some.collect()
    some.to_lerobot(tmp_path / "out", codec="h264")
    back = rd.read_lerobot(tmp_path / "out")
    found = back.collect()
    assert found.drop(*OWN, CAMERA).equals(expected.drop(*OWN, CAMERA).select(found.drop(*OWN, CAMERA).columns))
    assert near(levels(found[CAMERA]), [x or 0 for x in levels(expected[CAMERA])])
    assert back.errors.is_empty()
    files = rd.read_lerobot(tmp_path / "out", table="episodes").collect()[CAMERA].struct.field("path")
    assert [Path(f).name for f in files] == ["file-000.mp4", "file-001.mp4", "file-002.mp4"]
    with pytest.raises(QueryError, match="its 1 rows are not the 3 frames of episode 1"):
        some.to_lerobot(tmp_path / "copy", video="copy")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("codec", [None, "h264", "hevc"])
def test_frames_are_encoded(tmp_path: Path, codec: str | None) -> None:
    size = (128, 64)
    df = rd.from_polars(table(**{CAMERA: images(6, size), "mono": to_column([np.full((64, 128), 90, np.uint8)] * 6)}))
    df.to_lerobot(tmp_path / "out", fps=10, robot_type="arm", codec=codec)
    found = rd.read_lerobot(tmp_path / "out").collect()
    wanted = [20 + 30 * k for k in range(6)]
    assert all(a is not None and abs(a - b) <= 6 for a, b in zip(levels(found[CAMERA]), wanted))
    about = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert about["features"][CAMERA]["shape"] == [64, 128, 3]
    assert about["features"][CAMERA]["info"]["video.codec"] == {None: "av1"}.get(codec, codec)
    assert (about["fps"], about["robot_type"], about["splits"]) == (10, "arm", {"train": "0:2"})
    # Each episode begins with a key frame, so that what is written can be copied again.
    rd.read_lerobot(tmp_path / "out").filter(rd.col("episode_index") == 1).to_lerobot(tmp_path / "again", video="copy")
    assert rd.read_lerobot(tmp_path / "again").select(CAMERA).collect().equals(found.select(CAMERA).tail(3))


def test_pictures_are_kept_exactly(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (6, 15, 33, 3), np.uint8)
    depth = np.random.default_rng(2).integers(0, 65536, (6, 4, 4), np.uint16)
    df = rd.from_polars(table(look=to_column(list(noise)), depth=to_column(list(depth))))
    df.to_lerobot(tmp_path / "out", fps=5, video=False)
    found = rd.read_lerobot(tmp_path / "out").select("look", "depth").collect()
    assert found.equals(df.select("look", "depth").collect())
    about = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert about["features"]["look"] == {
        "dtype": "image", "shape": [15, 33, 3], "names": ["height", "width", "channels"]
    }  # fmt: skip
    assert about["video_path"] is None


def test_a_column_that_is_looked_at_is_encoded_not_copied(made: tuple[Path, Path], tmp_path: Path) -> None:
    df = rd.read_lerobot(made[1])
    tall = df.filter(rd.col(CAMERA).struct.field("height") == 16)
    with pytest.raises(SchemaError, match="does not come untouched"):
        tall.to_lerobot(tmp_path / "out", video="copy")
    tall.to_lerobot(tmp_path / "out", codec="h264")
    found = rd.read_lerobot(tmp_path / "out").collect()
    assert near(levels(found[CAMERA]), [level(k, i) for k, i in INDEX])
    assert near(levels(found[WRIST]), [level(k, i, WRIST) for k, i in INDEX])
    same = df.dedup(on=[CAMERA]).select("episode_index", "action", "task", CAMERA)
    with pytest.raises(SchemaError, match="does not come untouched"):
        same.to_lerobot(tmp_path / "copy", video="copy")
    renamed = df.select("episode_index", "action", "task", front=rd.col(CAMERA)).sort("episode_index", "action")
    renamed.to_lerobot(tmp_path / "renamed", video="copy")
    assert near(levels(rd.read_lerobot(tmp_path / "renamed").collect()["front"]), [level(k, i) for k, i in INDEX])


def test_times_that_are_a_frame_off_keep_their_frames(made: tuple[Path, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(made[0], tmp_path / "late"))
    for file in (root / "data/chunk-000").iterdir():
        pl.read_parquet(file).with_columns(pl.col("timestamp") + 0.1).write_parquet(file)
    df = rd.read_lerobot(root)
    df.to_lerobot(tmp_path / "out", video="copy")
    back = rd.read_lerobot(tmp_path / "out")
    found = back.collect()
    assert found.select(CAMERA).equals(df.select(CAMERA).collect())
    assert np.allclose(found["timestamp"], [min(i + 1, LENGTHS[k] - 1) / 10 for k, i in INDEX])
    assert back.errors.is_empty()
    rd.read_lerobot(root, frames_by="frame_index").to_lerobot(tmp_path / "by_index", video="copy")
    assert np.allclose(rd.read_lerobot(tmp_path / "by_index").collect()["timestamp"], [i / 10 for _, i in INDEX])


def test_open_groups_of_pictures_are_not_cut(tmp_path: Path) -> None:
    root = version_3(tmp_path / "v3")
    # Only the first frame of the file is a key frame: the second episode cannot be cut out of it.
    levels_of = [level(k, i, WRIST) for k, i in INDEX]
    write_video(root / f"videos/{WRIST}/chunk-000/file-000.mp4", levels_of, g=100)
    df = rd.read_lerobot(root, cameras=[WRIST])
    df.filter(rd.col("episode_index") == 0).to_lerobot(tmp_path / "first", video="copy")
    later = df.filter(rd.col("episode_index") > 0)
    with pytest.raises(QueryError, match="do not begin with a key frame"):
        later.to_lerobot(tmp_path / "out", video="copy")
    later.to_lerobot(tmp_path / "out", codec="h264")
    assert near(levels(rd.read_lerobot(tmp_path / "out").collect()[WRIST]), levels_of[5:])


def test_numbers_of_tasks_in_annotations_stay_right(made: tuple[Path, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(made[0], tmp_path / "set"))
    for file in (root / "data/chunk-000").iterdir():
        frame = pl.read_parquet(file)
        frame.with_columns(pl.col("task_index").alias("annotation.human.task")).write_parquet(file)
    df = rd.read_lerobot(root, cameras=False)
    df.filter(rd.col("episode_index") == 1).to_lerobot(tmp_path / "out")
    back = rd.read_lerobot(tmp_path / "out")
    assert back.select("annotation.human.task", "task_index", "task").collect().unique().rows() == [(1, 1, TASKS[1])]
    (root / "meta/tasks.jsonl").write_text(
        "".join(json.dumps({"task_index": k, "task": t}) + "\n" for k, t in ((0, "a"), (5, "b"), (1, "c")))
    )
    rd.read_lerobot(root, cameras=False).to_lerobot(tmp_path / "other")
    back = rd.read_lerobot(tmp_path / "other").collect()
    assert back["annotation.human.task"].equals(back["task_index"].alias("annotation.human.task"))
    assert back["task"].unique().sort().to_list() == ["a", "c"]


# -- files ----------------------------------------------------------------------------------------------------


def test_statistics_are_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1e6, 1, (60, 3))
    frame = pl.DataFrame(
        {"episode_index": np.repeat([0, 1, 2], [10, 20, 30]), "action": values, "done": rng.random(60) > 0.5,
         "task": ["reach"] * 60, "note": ["x"] * 60}
    )  # fmt: skip
    rd.from_polars(frame).to_lerobot(tmp_path / "out", fps=30)
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    assert set(stats) == {"action", "done", *OWN}

    def check(found: dict, wanted: np.ndarray) -> None:
        wanted = wanted.reshape(len(wanted), -1).astype(float)
        expected = {"min": wanted.min(0), "max": wanted.max(0), "mean": wanted.mean(0), "std": wanted.std(0)}
        expected |= {name: np.quantile(wanted, q, axis=0) for name, q in statistics.QUANTILES.items()}
        assert found["count"] == [len(wanted)]
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12)

    check(stats["action"], values)
    check(stats["done"], frame["done"].to_numpy())
    check(stats["index"], np.arange(60))
    episodes = pl.read_parquet(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet")
    second = {k.rsplit("/", 1)[1]: episodes[k][1].to_list() for k in episodes.columns if k.startswith("stats/action/")}
    check(second, values[10:30])


def test_quantiles_of_more_rows_than_fit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(500, 5))
    monkeypatch.setattr(statistics, "_BUDGET", 500 * 8 * 2)
    found = statistics.quantiles(500, 5, lambda: iter(np.split(values, 10)))
    for name, q in statistics.QUANTILES.items():
        np.testing.assert_array_equal(found[name], np.quantile(values, q, axis=0))


def test_statistics_of_images_are_those_of_their_pixels(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (6, 16, 24, 3), np.uint8)
    large = np.random.default_rng(2).integers(0, 256, (6, 310, 20, 3), np.uint8)
    df = rd.from_polars(table(look=to_column(list(noise)), far=to_column(list(large))))
    df.to_lerobot(tmp_path / "out", fps=5, video=False)
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    for name, all_pixels in (("look", noise), ("far", large[:, ::2, ::2])):
        pixels = all_pixels.reshape(-1, 3) / 255
        found = {k: np.array(v) for k, v in stats[name].items()}
        assert found["count"].tolist() == [6]
        assert found["mean"].shape == (3, 1, 1)
        np.testing.assert_allclose(found["mean"].ravel(), pixels.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found["std"].ravel(), pixels.std(0), rtol=1e-9)
        for key, q in statistics.QUANTILES.items():
            np.testing.assert_allclose(found[key].ravel(), np.quantile(pixels, q, axis=0), rtol=1e-12)


def test_files_are_cut_by_size_and_named_in_the_episodes(made: tuple[Path, Path], tmp_path: Path) -> None:
    rd.read_lerobot(made[0]).to_lerobot(tmp_path / "out", data_mb=1e-6, video_mb=1e-6)
    listed = pl.read_parquet(tmp_path / "out/meta/episodes/*/*.parquet")
    assert listed["data/file_index"].to_list() == listed[f"videos/{CAMERA}/file_index"].to_list() == [0, 1, 2]
    assert listed["dataset_from_index"].to_list() == [0, 5, 8]
    found = rd.read_lerobot(tmp_path / "out").collect()
    assert near(levels(found[CAMERA]), [level(k, i) for k, i in INDEX])


def test_the_same_rows_make_the_same_bytes(made: tuple[Path, Path], tmp_path: Path) -> None:
    df = rd.read_lerobot(made[1])
    for name in ("a", "b"):
        df.to_lerobot(tmp_path / name, video="encode")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_types_shapes_and_names_of_features(made: tuple[Path, Path], tmp_path: Path) -> None:
    df = rd.read_lerobot(made[0], cameras=False).with_columns(
        one=rd.col("action").list.head(1), grid=rd.lit([[1, 2, 3], [4, 5, 6]]), note=rd.lit("n"), ok=rd.lit(True)
    )
    df.to_lerobot(tmp_path / "out")
    features = json.loads((tmp_path / "out/meta/info.json").read_text())["features"]
    assert features["observation.state"] == {"dtype": "float32", "shape": [2], "names": ["pan", "tilt"]}
    assert features["one"] == {"dtype": "float32", "shape": [1], "names": None}
    assert (features["grid"]["shape"], features["grid"]["dtype"]) == ([2, 3], "int64")
    assert (features["note"]["dtype"], features["ok"]["dtype"]) == ("string", "bool")
    schema = pq.read_schema(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert str(schema.field("observation.state").type).startswith("fixed_size_list<")
    assert str(schema.field("action").type).startswith("list<")
    assert str(schema.field("one").type) == "float"
    back = rd.read_lerobot(tmp_path / "out").collect()
    assert back["grid"].to_list() == [[[1, 2, 3], [4, 5, 6]]] * 12
    assert back["one"].to_list() == df.collect()["one"].explode(**explode_options()).to_list()


def test_what_was_there_stays_until_all_is_written(tmp_path: Path) -> None:
    target = tmp_path / "out"
    df = rd.from_polars(table())
    df.to_lerobot(target, fps=10)
    with pytest.raises(FileExistsError):
        df.to_lerobot(target, fps=10)
    before = (target / "meta/info.json").read_bytes()
    bad = rd.from_polars(table().with_columns(task=pl.Series(["a"] * 5 + [None])))
    with pytest.raises(QueryError, match="row 5 has null in column 'task'"):
        bad.to_lerobot(target, fps=10, mode="overwrite")
    assert (target / "meta/info.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["out"]
    rd.from_polars(table(3)).to_lerobot(target, fps=20, mode="overwrite")
    assert json.loads((target / "meta/info.json").read_text())["total_frames"] == 3
    rd.read_lerobot(target).head(2).to_lerobot(target, mode="overwrite")
    assert rd.read_lerobot(target).count_rows() == 2
    (target / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="no LeRobot data set \\(thesis.txt\\)"):
        df.to_lerobot(target, fps=10, mode="overwrite")


# -- what does not fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({"task": None}, {}, SchemaError, "there is no column 'task'"),
        ({}, {"task": "text"}, ColumnNotFoundError, "text"),
        ({}, {"by": "run"}, ColumnNotFoundError, "run"),
        ({}, {"fps": None}, OptionError, "pass fps="),
        ({}, {"fps": 0}, OptionError, "fps is a positive number"),
        ({}, {"video": "yes"}, OptionError, "video is True"),
        ({}, {"mode": "append"}, OptionError, "mode is"),
        ({}, {"data_mb": 0}, OptionError, "data_mb is a positive number"),
        ({"when": pl.Series([0] * 6, dtype=pl.Datetime)}, {}, SchemaError, "no feature of the type Datetime"),
        ({"a/b": 1}, {}, SchemaError, "'/' in its name"),
        ({"action": None}, {}, SchemaError, "no column with the values"),
        ({"x": pl.Series([1, 2, None, 4, 5, 6])}, {}, QueryError, "row 2 has null in column 'x'"),
        ({"x": pl.Series([[1, 2]] * 4 + [[1], [1, 2]])}, {}, QueryError, "1 to 2 values \\(row 4\\)"),
        ({"x": pl.Series([[1, 2]] * 3 + [[1]] * 3)}, {}, QueryError, "from row 3 on column 'x' has the shape \\[1\\]"),
        ({"x": pl.Series([[1, 2]] * 5 + [[1, None]])}, {}, QueryError, "row 5 has null inside column 'x'"),
        ({"episode_index": pl.Series([0, 0, 1, 1, 0, 0])}, {}, QueryError, "of episode 0 of column .* not together"),
        ({"look": images(6, (31, 16))}, {}, QueryError, "31 x 16: a video has even sizes"),
        ({"look": to_column([np.zeros((4, 4), np.uint16)] * 6)}, {}, QueryError, "have 16 bits"),
        ({"look": to_column([None] * 6)}, {}, QueryError, "row 0 has no image in column 'look'"),
        ({"look": pl.concat([images(3), images(3, (64, 16))])}, {}, QueryError, "64 x 3.*resize them"),
    ],
)  # fmt: skip
def test_rows_and_arguments_that_do_not_fit(
    tmp_path: Path, change: dict, options: dict, error: type[Exception], message: str
) -> None:
    frame = table()
    for name, value in change.items():
        frame = frame.drop(name) if value is None else frame.with_columns(
            value.alias(name) if isinstance(value, pl.Series) else pl.lit(value).alias(name)
        )  # fmt: skip
    with pytest.raises(error, match=message):
        rd.from_polars(frame).to_lerobot(tmp_path / "out", **{"fps": 10, "codec": "h264"} | options)
    assert os.listdir(tmp_path) == []


def test_no_rows_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="there are no rows"):
        rd.from_polars(table().clear()).to_lerobot(tmp_path / "out", fps=10)


# -- LeRobot itself -------------------------------------------------------------------------------------------

_LOAD = """
    import json, sys
    import numpy as np, torch
    if sys.argv[2] == "stub":  # a torchvision that was built for another torch has no operators
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    found = LeRobotDataset("a/b", root=sys.argv[1])
    rows = [found[i] for i in range(len(found))]
    print(json.dumps({
        "state": [r["observation.state"].tolist() for r in rows],
        "task": [r["task"] for r in rows],
        "episode": [int(r["episode_index"]) for r in rows],
        "means": {k: [round(float(r[k].mean()) * 255) for r in rows] for k in found.meta.video_keys},
        "stats": {k: v["mean"].tolist() for k, v in found.meta.stats.items()},
        "one": len(LeRobotDataset("a/b", root=sys.argv[1], episodes=[1])),
    }))
"""


@pytest.mark.parametrize("video", ["copy", "encode"])
def test_lerobot_loads_what_is_written(made: tuple[Path, Path], tmp_path: Path, video: str) -> None:
    python = os.environ.get("ROBODF_LEROBOT_PYTHON")
    if not python:
        pytest.skip("ROBODF_LEROBOT_PYTHON names no Python that has LeRobot 0.4 (and torchcodec or torchvision)")
    df = rd.read_lerobot(made[1])
    df.to_lerobot(tmp_path / "out", video=video, codec="h264")
    here = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = [python, "-c", textwrap.dedent(_LOAD), str(tmp_path / "out"), os.environ.get("ROBODF_LEROBOT_HOW", "")]
    ran = subprocess.run(command, env=os.environ | here, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    expected = df.collect()
    assert found["state"] == expected["observation.state"].to_list()
    assert found["task"] == expected["task"].to_list()
    assert found["episode"] == expected["episode_index"].to_list()
    assert found["one"] == LENGTHS[1]
    for camera in (CAMERA, WRIST):
        assert near(found["means"][camera], [x or 0 for x in levels(expected[camera])])
        assert np.array(found["stats"][camera]).shape == (3, 1, 1)
