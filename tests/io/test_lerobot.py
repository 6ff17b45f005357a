"""LeRobot data sets of version 2 and 3: which rows, which frames, what is read for them, and what is believed."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
from samples_lerobot import CAMERA, LENGTHS, TASKS, WRIST, info, level, rows, version_2, version_3, write_video

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError
from robodf.images.layout import IMAGE, to_arrays
from robodf.io.lerobot.tables import Parquet
from robodf.io.source import LOCATOR, Request
from robodf.io.video import beside

INDEX = [(k, i) for k, n in enumerate(LENGTHS) for i in range(n)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("lerobot")
    return version_2(folder / "v2"), version_3(folder / "v3")


@pytest.fixture
def v2(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "v2"))


@pytest.fixture
def v3(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[1], tmp_path / "v3"))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """Frames that are decoded, and row groups of columns that are read."""
    found: dict[str, list] = {"frames": [], "groups": []}
    images, batches = beside.images, Parquet.batches

    def decoding(path: str, storage, video, numbers: np.ndarray, *more) -> Iterator[np.ndarray | None]:
        found["frames"].append((Path(path).name, numbers.tolist()))
        return images(path, storage, video, numbers, *more)

    def reading(self: Parquet, group: int, names) -> Iterator[pl.DataFrame]:
        found["groups"].append((Path(self.path).name, group, tuple(names)))
        return batches(self, group, names)

    monkeypatch.setattr(beside, "images", decoding)
    monkeypatch.setattr(Parquet, "batches", reading)
    return found


def levels(column: pl.Series) -> list[int | None]:
    """The gray of each image."""
    return [None if a is None else round(float(a.mean())) for a in to_arrays(column)]


def near(found: list[int | None], wanted: list[int]) -> bool:
    return len(found) == len(wanted) and all(a is not None and abs(a - b) <= 2 for a, b in zip(found, wanted))


# -- rows and frames ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1])
def test_rows_are_those_of_the_files_with_task_and_frames(made: tuple[Path, Path], version: int) -> None:
    df = rd.read_lerobot(made[version])
    found = df.collect()
    firsts = np.cumsum([0, *LENGTHS]).tolist()
    expected = pl.concat(rows(k, firsts[k], n) for k, n in enumerate(LENGTHS))
    assert found.select(expected.columns).equals(expected)
    assert dict(df.schema) == dict(found.schema)
    assert found["task"].to_list() == [TASKS[k % 2] for k, _ in INDEX]
    cameras = (CAMERA,) if version == 0 else (CAMERA, WRIST)
    for camera in cameras:
        assert found.schema[camera] == IMAGE
        assert near(levels(found[camera]), [level(k, i, camera) for k, i in INDEX])
    assert df.errors.is_empty()
    assert df.count_rows() == sum(LENGTHS)
    assert rd.read(made[version]).count_rows() == sum(LENGTHS)


def test_sql_reads_dotted_names(made: tuple[Path, Path]) -> None:
    query = f"""select "observation.state" from read_lerobot('{made[0]}') where episode_index = 1 and frame_index = 2"""
    assert rd.sql(query).collect().rows() == [([1.5, 1.625],)]


def test_tables_list_what_the_metadata_knows(made: tuple[Path, Path]) -> None:
    for root in made:
        listed = rd.read_lerobot(root, table="episodes").collect()
        assert listed.select("episode_index", "length", "fps").rows() == [(k, n, 10.0) for k, n in enumerate(LENGTHS)]
        assert listed["tasks"].to_list() == [[TASKS[k % 2]] for k in range(3)]
        assert rd.read_lerobot(root, table="tasks").collect().rows() == list(enumerate(TASKS))
    third = rd.read_lerobot(made[1], table="episodes").collect()[WRIST].struct.unnest()
    assert third["from_timestamp"].to_list() == [0.0, 0.5, 0.8]
    stats = rd.read_lerobot(made[0], table="stats").collect()
    assert stats.filter(pl.col("episode_index") == 2).select("statistic", "values").rows() == [
        ("mean", [0.5, 1.0]),
        ("count", [4.0]),
    ]
    assert rd.read_lerobot(made[1], table="stats").collect()["values"].to_list() == [[0.5, 1.0], [12.0]]


# -- what is read ---------------------------------------------------------------------------------------------


def test_a_filter_on_episodes_opens_no_other_file(v2: Path) -> None:
    (v2 / "data/chunk-000/episode_000002.parquet").write_bytes(b"no Parquet")
    (v2 / f"videos/chunk-000/{CAMERA}/episode_000002.mp4").write_bytes(b"no video")
    df = rd.read_lerobot(v2)
    for wanted in (rd.col("episode_index") < 2, rd.col("episode_index").is_in([1, 0])):
        assert near(levels(df.filter(wanted).collect()[CAMERA]), [level(k, i) for k, i in INDEX if k < 2])
    assert "reads 2 of 3 files" in str(df.filter(rd.col("episode_index") < 2).explain("physical"))
    assert df.filter(rd.col("episode_index") == 1).count_rows() == 3
    assert rd.read_lerobot(v2, episodes=[0, 1]).select("index").collect().height == 8
    with pytest.raises(FileFormatError, match="episode_000002"):
        df.collect()


def test_frames_are_decoded_for_the_rows_that_are_wanted(v2: Path, seen: dict[str, list]) -> None:
    df = rd.read_lerobot(v2).filter((rd.col("task") == TASKS[0]) & (rd.col("frame_index") >= 3))
    found = df.select("episode_index", CAMERA).collect()
    assert near(levels(found[CAMERA]), [level(0, 3), level(0, 4), level(2, 3)])
    assert seen["frames"] == [("episode_000000.mp4", [3, 4]), ("episode_000002.mp4", [3])]
    seen["frames"].clear()
    assert rd.read_lerobot(v2).drop(CAMERA).collect().height == 12
    assert rd.read_lerobot(v2).head(2).select(CAMERA).collect().height == 2
    assert seen["frames"] == [("episode_000000.mp4", [0, 1])]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (rd.col("episode_index") == 1, [("file-000.parquet", 1)]),
        (rd.col("episode_index").is_in([0, 2]), [("file-000.parquet", 0), ("file-001.parquet", 0)]),
        (rd.col("task") == TASKS[1], [("file-000.parquet", 1)]),
        (rd.col("task").str.contains("nothing"), []),
        (rd.col("index") >= 8, [("file-001.parquet", 0)]),
        (rd.col("frame_index") == 4, [("file-000.parquet", 0)]),
    ],
)
def test_row_groups_are_skipped_by_their_statistics(v3: Path, seen: dict[str, list], wanted, kept: list) -> None:
    seen["groups"].clear()
    df = rd.read_lerobot(v3)
    seen["groups"].clear()
    found = df.filter(wanted).select("index", CAMERA, WRIST).collect()
    assert sorted({(name, group) for name, group, _ in seen["groups"]}) == kept
    everything = rd.read_lerobot(v3).collect()
    assert found.equals(everything.filter(wanted.polars).select("index", CAMERA, WRIST))


def test_a_group_of_pictures_is_decoded_once_for_a_file_of_rows(v3: Path, seen: dict[str, list]) -> None:
    rd.read_lerobot(v3).filter(rd.col("episode_index") < 2).select(WRIST).collect()
    assert seen["frames"] == [("file-000.mp4", list(range(8)))]


def test_rows_are_found_again_by_their_locators(v3: Path) -> None:
    source = rd.read_lerobot(v3)._plan.source  # type: ignore[attr-defined]
    found = source.scan(Request(("index",), locator=True)).collect()
    locators = found[LOCATOR].to_numpy()
    assert np.all(np.diff(locators.astype(np.int64)) > 0)
    some = [1, 6, 7, 11]
    fetched = pl.concat(source.fetch(locators[some], (WRIST, CAMERA)))
    assert fetched.columns == [WRIST, CAMERA]
    assert near(levels(fetched[WRIST]), [level(*INDEX[k], WRIST) for k in some])
    assert near(levels(fetched[CAMERA]), [level(*INDEX[k]) for k in some])


@pytest.mark.parametrize("version", [0, 1])
def test_parts_give_the_rows_of_their_files(made: tuple[Path, Path], version: int) -> None:
    source = rd.read_lerobot(made[version])._plan.source  # type: ignore[attr-defined]
    request = Request(("index", CAMERA))
    whole = source.scan(request).collect()
    parts = [pickle.loads(pickle.dumps(source.part((split,)))) for split in source.splits(request)]
    assert pl.concat(part.scan(request).collect() for part in parts).equals(whole)
    one = parts[-1].scan(Request(("index",), locator=True)).collect()
    again = pl.concat(source.fetch(one[LOCATOR].to_numpy(), (CAMERA,)))
    assert again[CAMERA].equals(whole[CAMERA].tail(one.height))


# -- what is believed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"features": 3, "fps": "fast"}', '{"fps": NaN}', "[" * 100_000])
def test_a_broken_info_is_inferred_and_told(v2: Path, text: str) -> None:
    whole = rd.read_lerobot(v2).collect()
    (v2 / "meta/info.json").write_text(text)
    df = rd.read_lerobot(v2)
    assert df.collect().equals(whole)
    assert "that of the first video is taken: 10" in str(df.errors["error"].to_list())


def test_without_any_metadata_rows_and_frames_are_there(v2: Path) -> None:
    shutil.rmtree(v2 / "meta")
    df = rd.read_lerobot(v2)
    found = df.collect()
    assert near(levels(found[CAMERA]), [level(k, i) for k, i in INDEX])
    assert found["task"].null_count() == 12
    assert any("no meta/info.json" in e for e in df.errors["error"])


def test_videos_are_found_where_they_are(tmp_path: Path) -> None:
    root = version_2(tmp_path / "set", videos="video")
    assert near(levels(rd.read_lerobot(root).collect()[CAMERA]), [level(k, i) for k, i in INDEX])


def test_a_feature_without_videos_is_no_column(v2: Path) -> None:
    (v2 / "meta/info.json").write_text(json.dumps(info("v2.1", (CAMERA, "observation.images.gone"))))
    df = rd.read_lerobot(v2)
    assert "observation.images.gone" not in df.columns
    assert "no folder of videos for the feature 'observation.images.gone'" in df.errors["error"][0]


def test_files_without_their_own_indexes_get_them_from_their_names(v2: Path) -> None:
    for file in (v2 / "data/chunk-000").iterdir():
        pl.read_parquet(file).drop("episode_index", "frame_index", "timestamp").write_parquet(file)
    found = rd.read_lerobot(v2).filter(rd.col("frame_index") > 1).collect()
    assert found.select("episode_index", "frame_index").rows() == [(k, i) for k, i in INDEX if i > 1]
    assert near(levels(found[CAMERA]), [level(k, i) for k, i in INDEX if i > 1])


def test_an_episode_that_says_it_is_another_is_an_error(v2: Path) -> None:
    file = v2 / "data/chunk-000/episode_000001.parquet"
    pl.read_parquet(file).with_columns(episode_index=pl.lit(0, pl.Int64)).write_parquet(file)
    with pytest.raises(FileFormatError, match="episode_index is 0 in it, where its name says 1"):
        rd.read_lerobot(v2).collect()
    df = rd.read_lerobot(v2, on_error="collect")
    assert df.collect()["episode_index"].to_list() == [k for k, _ in INDEX]
    assert "the name's is taken" in df.errors["error"][0]


def test_what_is_listed_and_missing_is_an_error_or_told(v2: Path, v3: Path) -> None:
    (v2 / "data/chunk-000/episode_000001.parquet").unlink()
    with pytest.raises(FileFormatError, match="lists episode 1"):
        rd.read_lerobot(v2)
    df = rd.read_lerobot(v2, on_error="skip")
    assert df.collect()["episode_index"].unique().to_list() == [0, 2]
    (v3 / "data/chunk-000/file-001.parquet").unlink()
    with pytest.raises(FileFormatError, match="lists episode 2, but no file"):
        rd.read_lerobot(v3)


def test_a_missing_or_broken_video_is_an_error_or_null(v2: Path) -> None:
    (v2 / f"videos/chunk-000/{CAMERA}/episode_000001.mp4").unlink()
    (v2 / f"videos/chunk-000/{CAMERA}/episode_000002.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(FileFormatError, match="has no video of episode 1"):
        rd.read_lerobot(v2).filter(rd.col("episode_index") == 1).collect()
    with pytest.raises(FileFormatError, match="episode_000002.mp4"):
        rd.read_lerobot(v2).filter(rd.col("episode_index") == 2).collect()
    df = rd.read_lerobot(v2, on_error="collect")
    found = df.collect()
    assert found.height == 12
    assert levels(found[CAMERA])[5:] == [None] * 7
    assert df.errors.height == 2
    assert rd.read_lerobot(v2, cameras=False).collect().height == 12


def test_of_a_damaged_video_the_frames_before_are_given_and_the_others_told(v2: Path) -> None:
    import av

    file = v2 / f"videos/chunk-000/{CAMERA}/episode_000000.mp4"
    with av.open(str(file)) as video:
        places = [(p.pos, p.size) for p in video.demux(video=0) if p.size]
    position, size = places[3]
    data = bytearray(file.read_bytes())
    data[position : position + size] = b"\xff" * size
    file.write_bytes(data)
    with pytest.raises(FileFormatError, match="episode_000000.mp4"):
        rd.read_lerobot(v2, episodes=0).collect()
    df = rd.read_lerobot(v2, episodes=0, on_error="collect")
    found = levels(df.collect()[CAMERA])
    assert near(found[:2], [level(0, 0), level(0, 1)])
    assert found[3] is None
    assert len(df.errors)
    assert all("episode_000000.mp4" in e for e in df.errors["error"])


def test_the_nearest_frame_is_taken_and_told_where_it_is_far(v2: Path) -> None:
    for file in (v2 / "data/chunk-000").iterdir():  # a clock that starts one frame late
        pl.read_parquet(file).with_columns(pl.col("timestamp") + 0.1).write_parquet(file)
    df = rd.read_lerobot(v2)
    late = [level(k, min(i + 1, LENGTHS[k] - 1)) for k, i in INDEX]
    assert near(levels(df.collect()[CAMERA]), late)
    assert ["1 rows are more than half a frame" in e for e in df.errors["error"]] == [True] * 3
    by_index = rd.read_lerobot(v2, frames_by="frame_index").collect()
    assert near(levels(by_index[CAMERA]), [level(k, i) for k, i in INDEX])
    with pytest.raises(FileFormatError, match="no frame within 0.01 s of 0.5 s"):
        rd.read_lerobot(v2, tolerance=0.01).collect()
    lost = rd.read_lerobot(v2, tolerance=0.01, on_error="collect").collect()
    assert [x is None for x in levels(lost[CAMERA])] == [i == LENGTHS[k] - 1 for k, i in INDEX]


def test_frames_of_the_next_episode_are_never_taken(v3: Path) -> None:
    for file in (v3 / "data/chunk-000").iterdir():
        pl.read_parquet(file).with_columns(pl.col("timestamp") + 0.1).write_parquet(file)
    found = rd.read_lerobot(v3).collect()
    assert near(levels(found[WRIST]), [level(k, min(i + 1, LENGTHS[k] - 1), WRIST) for k, i in INDEX])


def test_times_in_any_order_get_their_frames(v2: Path) -> None:
    file = v2 / "data/chunk-000/episode_000000.parquet"
    pl.read_parquet(file).reverse().with_columns(frame_index=pl.int_range(5)).write_parquet(file)
    found = rd.read_lerobot(v2, episodes=0).collect()
    assert near(levels(found[CAMERA]), [level(0, i) for i in (4, 3, 2, 1, 0)])


def test_a_file_with_other_columns_is_an_error(v2: Path) -> None:
    file = v2 / "data/chunk-000/episode_000001.parquet"
    pl.read_parquet(file).drop("action").write_parquet(file)
    assert rd.read_lerobot(v2).select("index").collect().height == 12
    with pytest.raises(FileFormatError, match="episode_000001.parquet: has no column 'action'"):
        rd.read_lerobot(v2).collect()
    pl.read_parquet(file).with_columns(action=pl.lit("left")).write_parquet(file)
    with pytest.raises(FileFormatError, match="column 'action' has the type String"):
        rd.read_lerobot(v2).collect()


def test_a_file_that_changes_under_a_query_is_an_error(v2: Path) -> None:
    df = rd.read_lerobot(v2)
    file = v2 / "data/chunk-000/episode_000001.parquet"
    pl.read_parquet(file).head(2).write_parquet(file)
    with pytest.raises(FileFormatError, match="was changed since the query was planned"):
        df.collect()


def test_images_in_parquet_files(v2: Path) -> None:
    from PIL import Image

    shutil.rmtree(v2 / "videos")
    (v2 / "images").mkdir()
    for file in sorted((v2 / "data/chunk-000").iterdir()):
        frame = pl.read_parquet(file)
        pictures = []
        for k, i in frame.select("episode_index", "frame_index").rows():
            path = v2 / f"images/{k}-{i}.png"
            Image.new("RGB", (4, 2), (level(k, i),) * 3).save(path)
            by_name = i == 1
            pictures.append({"bytes": None if by_name else path.read_bytes(), "path": f"images/{k}-{i}.png"})
        frame = frame.with_columns(pl.Series("look", pictures))
        frame.write_parquet(file)
    df = rd.read_lerobot(v2)
    assert df.schema["look"] == IMAGE
    found = df.filter(rd.col("frame_index") < 3).collect()
    assert levels(found["look"]) == [level(k, i) for k, i in INDEX if i < 3]
    source = df._plan.source  # type: ignore[attr-defined]
    locators = source.scan(Request(("index",), locator=True)).collect()[LOCATOR].to_numpy()
    assert levels(pl.concat(source.fetch(locators[[2, 9]], ("look",)))["look"]) == [level(0, 2), level(2, 1)]
    outside = pl.read_parquet(v2 / "data/chunk-000/episode_000000.parquet").with_columns(
        pl.Series("look", [{"bytes": None, "path": "../../secret.png"}] * 5, frame.schema["look"])
    )
    outside.write_parquet(v2 / "data/chunk-000/episode_000000.parquet")
    with pytest.raises(FileFormatError, match="not in the data set"):
        rd.read_lerobot(v2, episodes=0).collect()


def test_arguments_that_do_not_fit(made: tuple[Path, Path], tmp_path: Path) -> None:
    root = made[0]
    with pytest.raises(OptionError, match="no episode 7; there are 3, 0 to 2"):
        rd.read_lerobot(root, episodes=[1, 7])
    with pytest.raises(OptionError, match="no camera 'top'"):
        rd.read_lerobot(root, cameras=["top"])
    with pytest.raises(OptionError, match="no table 'episode'"):
        rd.read_lerobot(root, table="episode")
    with pytest.raises(OptionError, match="frames_by"):
        rd.read_lerobot(root, frames_by="time")
    with pytest.raises(OptionError, match="on_error"):
        rd.read_lerobot(root, on_error="ignore")
    with pytest.raises(FileFormatError, match="several data sets"):
        rd.read_lerobot(root.parent)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(NoFilesError, match="no LeRobot data set"):
        rd.read_lerobot(tmp_path)


def test_a_store_of_objects_is_read(made: tuple[Path, Path]) -> None:
    store = fsspec.filesystem("memory")
    store.put(str(made[1]), "/lerobot-set", recursive=True)
    try:
        root = "memory://lerobot-set"
        found = rd.read_lerobot(root).filter(rd.col("episode_index") == 1).collect()
        assert near(levels(found[WRIST]), [level(1, i, WRIST) for i in range(3)])
        assert found.drop(CAMERA, WRIST).equals(rd.read_lerobot(made[1], episodes=1).drop(CAMERA, WRIST).collect())
    finally:
        store.rm("/lerobot-set", recursive=True)


def test_a_video_that_is_longer_than_its_rows(v2: Path) -> None:
    write_video(v2 / f"videos/chunk-000/{CAMERA}/episode_000001.mp4", [level(1, i) for i in range(6)])
    assert near(levels(rd.read_lerobot(v2, episodes=1).collect()[CAMERA]), [level(1, i) for i in range(3)])
