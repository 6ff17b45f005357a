"""Clips of Cosmos and DreamGen: rows, prompts and controls by layout, and a few frames of chosen clips."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from samples_lerobot import write_video
from test_lerobot import levels, near
from test_lerobot_damaged import mutated

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError, RobodfError
from robodf.io.video import beside

GRAYS = [20, 50, 80, 110, 140, 170, 200]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path, GRAYS)
    return path.read_bytes()


def write(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return root


@pytest.fixture
def predict(tmp_path: Path, video: bytes) -> Path:
    return write(
        tmp_path / "train",
        {
            "videos/a.mp4": video, "videos/b.mp4": video, "metas/a.txt": " a robot \n", "metas/b.txt": "zwölf",
            "t5_xxl/a.pickle": pickle.dumps({"never": "opened"}), "control_input_edge/a.mp4": video,
        },
    )  # fmt: skip


def test_training_sets_of_predict(predict: Path) -> None:
    df = rd.read(predict)
    found = df.collect()
    assert found.select("layout", "prompt", "split", "fps", "frame_count", "width", "height").rows() == [
        ("predict", "a robot", "train", 10.0, 7, 32, 16),
        ("predict", "zwölf", "train", 10.0, 7, 32, 16),
    ]
    assert found["embedding"].to_list() == [str(predict / "t5_xxl/a.pickle"), None]
    assert found["controls"].to_list() == [
        [{"name": "edge", "path": str(predict / "control_input_edge/a.mp4"), "weight": None, "weight_path": None}],
        [],
    ]
    assert [d.total_seconds() for d in found["duration"]] == [0.7, 0.7]
    for images in found["frames"]:
        assert near(levels(images), GRAYS)
    assert df.errors.is_empty()
    assert dict(df.schema) == dict(found.schema)


def test_views_and_tables_of_captions(tmp_path: Path, video: bytes) -> None:
    root = write(
        tmp_path / "set",
        {
            "videos/front/1.mp4": video, "videos/left/1.mp4": video, "metas/1.txt": "both",
            "val/videos/x.mp4": video, "val/metadata.csv": 'file_name,prompt\nvideos/x.mp4,"one, two"\nnone.mp4,z\n',
        },
    )  # fmt: skip
    found = rd.read_cosmos(root).select("view", "prompt", "split").collect()
    assert sorted(found.rows(), key=str) == [("front", "both", None), ("left", "both", None), (None, "one, two", "val")]


def test_dreams(tmp_path: Path, video: bytes) -> None:
    root = write(
        tmp_path / "d",
        {
            "10_Pick_up_the_cup.mp4": video, "9_Open.mp4": video, "other.mp4": video, "other.txt": "beside",
            "split/videos/0.mp4": video, "split/labels/0.txt": "close it",
        },
    )  # fmt: skip
    found = rd.read_cosmos(root).select("layout", "prompt").collect().rows()
    assert found == [
        ("dreamgen", "Open"), ("dreamgen", "Pick up the cup"), ("video", "beside"), ("dreamgen", "close it"),
    ]  # fmt: skip
    assert rd.read(root / "split").select("prompt").collect().rows() == [("close it",)]


def test_specs_of_transfer(tmp_path: Path, video: bytes) -> None:
    one = {
        "prompt": "one", "input_video_path": "assets/in.mp4", "edge": {"control_weight": 0.25}, "sigma": {"x": 1},
        "seg": {"input_control": "elsewhere/seg.mp4", "control_weight": "w/seg.pt"}, "negative_prompt": "none",
    }  # fmt: skip
    two = {"visual_input": "in.mp4", "prompt": "two", "control_overrides": {"depth": {"control_weight": 1}}}
    lost = {"prompt_path": "p.txt", "video_path": "gone.mp4", "vis": {"control_path": "gone too.mp4"}}
    root = write(
        tmp_path,
        {
            "assets/in.mp4": video, "specs/seg.mp4": video, "specs/one.json": json.dumps(one),
            "assets/batch.jsonl": json.dumps(two) + "\n" + json.dumps({"name": "no spec"}),
            "specs/lost.json": json.dumps(lost), "specs/p.txt": "of a file", "prompts.json": '{"prompt1": "a"}',
        },
    )  # fmt: skip
    df = rd.read_cosmos(root)
    found = df.drop("frames").collect()
    assert found.select("prompt", "fps").sort("prompt").rows() == [("of a file", None), ("one", 10.0), ("two", 10.0)]
    by_prompt = {row["prompt"]: row for row in found.iter_rows(named=True)}
    assert by_prompt["one"]["video"] == by_prompt["two"]["video"] == str(root / "assets/in.mp4")
    assert by_prompt["one"]["controls"] == [
        {"name": "edge", "path": None, "weight": 0.25, "weight_path": None},
        {"name": "seg", "path": str(root / "specs/seg.mp4"), "weight": None, "weight_path": "w/seg.pt"},
    ]
    assert by_prompt["two"]["controls"] == [{"name": "depth", "path": None, "weight": 1.0, "weight_path": None}]
    assert by_prompt["of a file"]["video"] == "gone.mp4"
    assert sorted(df.errors["error"]) == [
        "names 'gone too.mp4', which is not there", "names 'gone.mp4', which is not there",
    ]  # fmt: skip
    assert df.filter(rd.col("prompt") == "of a file").collect()["frames"].to_list() == [None]


def test_frames_are_read_for_chosen_clips_and_evenly(predict: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, list[int]]] = []
    images = beside.images

    def reading(path: str, storage, video, numbers: np.ndarray, *more) -> Iterator[np.ndarray | None]:
        read.append((Path(path).name, numbers.tolist()))
        return images(path, storage, video, numbers, *more)

    monkeypatch.setattr(beside, "images", reading)
    df = rd.read_cosmos(predict, max_frames=3, resolution=(8, 4)).filter(rd.col("prompt") == "zwölf")
    found = df.select("frames").collect()["frames"][0]
    assert near(levels(found), [20, 110, 200])
    assert found.struct.unnest().select("width", "height").unique().rows() == [(8, 4)]
    rd.read_cosmos(predict, frame_rate=5).head(1).collect()
    assert read == [("b.mp4", [0, 3, 6]), ("a.mp4", [0, 2, 4, 6])]
    assert rd.read_cosmos(predict).count_rows() == 2
    assert len(read) == 2


def test_a_broken_clip_is_an_error_or_null(predict: Path) -> None:
    (predict / "videos/b.mp4").write_bytes(b"no video")
    (predict / "metas/a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(FileFormatError, match=r"a\.txt: no text at byte 0"):
        rd.read_cosmos(predict).select("prompt").collect()
    with pytest.raises(FileFormatError, match=r"b\.mp4"):
        rd.read_cosmos(predict).select("fps").collect()
    df = rd.read_cosmos(predict, on_error="collect")
    found = df.collect()
    assert found["prompt"].to_list() == [None, "zwölf"]
    assert found["fps"].to_list() == [10.0, None]
    assert found["frames"].is_null().to_list() == [False, True]
    assert df.errors.height >= 2


def test_arguments_that_do_not_fit(predict: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"max_frames": 0}, "max_frames"), ({"frame_rate": -1}, "frame_rate"), ({"resolution": (3,)}, "resolution"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=message):
            rd.read_cosmos(predict, **options)
    with pytest.raises(NoFilesError, match="no clip of Cosmos"):
        rd.read_cosmos(write(tmp_path / "none", {"a.json": "{}"}))


def test_mutated_files_read_or_say_what_is_wrong(predict: Path) -> None:
    spec = {"prompt": "p", "input_video_path": "videos/a.mp4", "edge": {"control_weight": 0.5, "input_control": "b"}}
    write(predict, {"s.json": json.dumps(spec), "metadata.csv": "file_name,prompt\nvideos/b.mp4,x\n"})
    files = {p: p.read_bytes() for p in sorted(predict.rglob("*")) if p.is_file() and p.suffix != ".pickle"}
    chance = random.Random(5)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(80):
        path = chance.choice(list(files))
        path.write_bytes(mutated(files[path], chance))
        try:
            rd.read_cosmos(predict, on_error=chance.choice(["raise", "collect"])).collect()
            outcomes["read"] += 1
        except RobodfError as error:
            outcomes["refused"] += bool(str(error))
        path.write_bytes(files[path])
    assert min(outcomes.values()) > 0, outcomes


def test_real_clips(real_data: Path) -> None:
    df = rd.read_cosmos(real_data / "cosmos")
    found = df.select(pl.exclude("frames")).collect()
    assert found.height == 7
    dream = found.filter(pl.col("layout") == "dreamgen")
    assert dream.select("prompt", "fps", "frame_count", "width", "height").rows() == [
        ("sim microwave", 8.0, 81, 832, 480)
    ]
    apple = found.filter(pl.col("prompt").str.starts_with("a robotic grasp"))
    assert Path(apple["video"][0]).name == "input_video.mp4"
    assert apple.select("fps", "frame_count").rows() == [(20.0, 100)]
    seg = apple["controls"][0].struct.unnest().filter(pl.col("name") == "seg")
    assert Path(seg["path"][0]).name == "segmentation.mp4"
    assert seg["weight_path"].to_list() == ["outputs/robot_augmentation_example/example1/seg_weights.pt"]
    assert any("assets/example1_depth.mp4" in e for e in df.errors["error"])
