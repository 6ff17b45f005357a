"""What a LeRobot data set says of itself, of version 2.0, 2.1 and 3.0, and how much of it is believed.

Files are believed before the folder `meta`: what episodes there are, how long they are and where they lie comes from
the names and footers of files. Of the metadata come the texts of tasks, the frame rate, and where in a video of several
episodes each of them begins.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from robodf.errors import FileFormatError, RobodfError
from robodf.io.error_log import ErrorLog
from robodf.io.files import StorageOptions, fingerprint, open_file
from robodf.io.lerobot.tables import open_parquet
from robodf.io.lerobot.tree import Place, Tree

_LARGEST = 256 << 20  # a JSON file of metadata of more bytes is none
_DEEPEST = 8  # of a feature's own description, which is written again as it is

TASKS = {"task_index": pl.Int64(), "task": pl.String()}
VIDEOS = {
    "camera": pl.String(), "episode_index": pl.Int64(), "path": pl.String(), "from_timestamp": pl.Float64(),
    "to_timestamp": pl.Float64(),
}  # fmt: skip
EPISODES = {"episode_index": pl.Int64(), "length": pl.Int64(), "tasks": pl.List(pl.String())}


class DataFile(NamedTuple):
    """A Parquet file of frames, its state when it was listed, and its episode where it has one (version 2)."""

    path: str
    size: int
    changed: int | str
    episode: int | None


@dataclass(frozen=True)
class Layout:
    """A data set without its rows. `videos` has a row for each camera and episode (version 2: the whole file)."""

    root: str
    version: str
    fps: float | None
    robot_type: str | None
    features: dict[str, dict] = field(repr=False)
    columns: dict[str, pl.DataType] = field(repr=False)
    tasks: pl.DataFrame = field(repr=False)
    episodes: pl.DataFrame = field(repr=False)
    cameras: tuple[str, ...] = ()
    videos: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=VIDEOS), repr=False)


class Notes:
    """Where problems of the metadata go: raised, or kept in the log; what can be inferred is only told."""

    def __init__(self, on_error: str, log: ErrorLog):
        self._raises = on_error == "raise"
        self._log = log

    def tell(self, path: str, what: str) -> None:
        self._log.add(path, what)

    def problem(self, path: str, what: str, error: type[RobodfError] = FileFormatError) -> None:
        if self._raises:
            raise error(f"{path}: {what}. Pass on_error='collect' to read the rest")
        self._log.add(path, what)


def data_files(found: Tree, storage: StorageOptions) -> tuple[DataFile, ...]:
    """The files of frames, in the order of their rows."""
    return tuple(
        DataFile(path, *fingerprint(path, storage), place[1] if found.version == 2 else None)
        for place, path in found.data.items()
    )


def mark(found: Tree, storage: StorageOptions) -> Iterator[tuple]:
    """The metadata that a data set is read by, with its state: another mark is another data set."""
    yield found.root, found.version, len(found.data), sum(map(len, found.videos.values()))
    for name, path in sorted(found.meta.items()):
        yield name, *fingerprint(path, storage)


def layout(found: Tree, files: tuple[DataFile, ...], storage: StorageOptions, notes: Notes) -> Layout:
    """What the metadata and the footers tell."""
    for path in found.twice:
        notes.problem(path, "there is another file with the number of this one; it is left out")
    info = _info(found, storage, notes)
    features = _features(found, info, notes)
    with open_parquet(files[0].path, storage) as first:
        columns = first.schema
    tasks = _tasks(found, storage, notes)
    cameras = tuple(found.videos)
    for name, feature in features.items():
        if feature.get("dtype") == "video" and name not in cameras:
            notes.tell(found.root, f"there is no folder of videos for the feature {name!r}; it is no column")
    if found.version == 2:
        episodes = _of_lines(found, storage, notes)
        lost = sorted(set(episodes["episode_index"]) - {file.episode for file in files})
        for episode in lost:
            notes.problem(found.root, f"episodes.jsonl lists episode {episode}, but its file of frames is not there")
        rows = [
            (camera, place[1], path, 0.0, None) for camera, of in found.videos.items() for place, path in of.items()
        ]
        videos = pl.DataFrame(rows, schema=VIDEOS, orient="row")
    else:
        episodes, videos, cameras = _of_parquet(found, files, storage, notes)
    fps = _positive(info.get("fps"))
    if fps is None and cameras and videos.height:
        fps = _rate(videos["path"][0], storage)
        if fps is not None:
            notes.tell(found.root, f"meta/info.json tells no frame rate; that of the first video is taken: {fps:g}")
    version = info.get("codebase_version")
    if not isinstance(version, str) or not version.removeprefix("v").startswith(str(found.version)):
        version = f"v{found.version}.0"
    robot = info.get("robot_type")
    return Layout(found.root, version, fps, robot if isinstance(robot, str) else None, features, columns, tasks,
                  episodes, cameras, videos)  # fmt: skip


# -- meta/info.json ---------------------------------------------------------------------------------------------------


def _info(found: Tree, storage: StorageOptions, notes: Notes) -> dict[str, Any]:
    path = found.meta.get("info.json")
    if path is None:
        notes.tell(found.root, "there is no meta/info.json: what it should say is inferred from the files")
        return {}
    try:
        info = read_json(path, storage)
    except FileFormatError as error:
        notes.tell(path, f"{_without(error, path)}: what it should say is inferred from the files")
        return {}
    if not isinstance(info, dict):
        notes.tell(path, "it is no JSON object: what it should say is inferred from the files")
        return {}
    return info


def _features(found: Tree, info: dict[str, Any], notes: Notes) -> dict[str, dict]:
    features = info.get("features", {})
    if not isinstance(features, dict):
        notes.tell(found.meta["info.json"], "its features are no JSON object; they are left out")
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict) and _shallow(feature)}


def _shallow(value: Any, depth: int = 0) -> bool:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth < _DEEPEST and all(_shallow(v, depth + 1) for v in below)


def _positive(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < 1e6 else None


def _rate(path: str, storage: StorageOptions) -> float | None:
    from robodf.io.video.beside import header

    try:
        return header(path, storage).rate
    except (ImportError, RobodfError):  # without PyAV, or a broken video, no rate is known
        return None


# -- tasks ------------------------------------------------------------------------------------------------------------


def _tasks(found: Tree, storage: StorageOptions, notes: Notes) -> pl.DataFrame:
    name = "tasks.jsonl" if found.version == 2 else "tasks.parquet"
    path = found.meta.get(name)
    if path is None:
        notes.tell(found.root, f"there is no meta/{name}: rows have no task")
        return pl.DataFrame(schema=TASKS)
    rows: dict[int, str] = {}
    read: Callable = json_lines if found.version == 2 else _records
    try:
        for row in read(path, storage):
            number = row.get("task_index")
            # pandas keeps the text as the index of its frame, under a name of its own or none.
            text = row.get("task", row.get("__index_level_0__", row.get("index")))
            if not _is_count(number) or not isinstance(text, str):
                raise FileFormatError(f"{path}: a task is a number and a text, not {str(row)[:80]}")
            rows.setdefault(number, text)  # type: ignore[arg-type]
        return pl.DataFrame({"task_index": list(rows), "task": list(rows.values())}, schema=TASKS)
    except FileFormatError as error:
        notes.problem(path, f"{_without(error, path)}; rows have no task")
    return pl.DataFrame(schema=TASKS)


# -- episodes ---------------------------------------------------------------------------------------------------------


def _of_lines(found: Tree, storage: StorageOptions, notes: Notes) -> pl.DataFrame:
    """meta/episodes.jsonl of version 2: without it the files tell which episodes there are."""
    path = found.meta.get("episodes.jsonl")
    if path is None:
        notes.tell(found.root, "there is no meta/episodes.jsonl: the files tell which episodes there are")
        return pl.DataFrame(schema=EPISODES)
    try:
        rows = [_episode(row, path) for row in json_lines(path, storage)]
        return pl.DataFrame(rows, schema=EPISODES, orient="row").unique("episode_index", maintain_order=True)
    except FileFormatError as error:
        notes.tell(path, f"{_without(error, path)}: the files tell which episodes there are")
        return pl.DataFrame(schema=EPISODES)


def _episode(row: dict, path: str) -> tuple[int, int | None, list[str]]:
    number, length, tasks = row.get("episode_index"), row.get("length"), row.get("tasks")
    if not _is_count(number):
        raise FileFormatError(f"{path}: an episode has the number {str(number)[:40]!r}")
    texts = [text for text in tasks if isinstance(text, str)] if isinstance(tasks, list) else []
    return number, length if _is_count(length) else None, texts  # type: ignore[return-value]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _of_parquet(
    found: Tree, files: tuple[DataFile, ...], storage: StorageOptions, notes: Notes
) -> tuple[pl.DataFrame, pl.DataFrame, tuple[str, ...]]:
    """meta/episodes of version 3: the episodes, where their frames are in the videos, and the cameras left."""
    paths = [path for name, path in sorted(found.meta.items()) if name.startswith("episodes/")]
    if not paths:
        notes.tell(found.root, "there is no meta/episodes: where the frames of an episode are in a video is not known")
        return pl.DataFrame(schema=EPISODES), pl.DataFrame(schema=VIDEOS), ()
    rows: list[dict] = []
    for path in paths:
        try:
            rows += _records(path, storage)
        except FileFormatError as error:
            notes.problem(path, f"{_without(error, path)}; its episodes are left out")
    known = [_episode(row, found.root) for row in rows]
    episodes = pl.DataFrame(known, schema=EPISODES, orient="row")
    if episodes["episode_index"].is_duplicated().any():
        notes.problem(found.root, "meta/episodes has an episode twice; the first is taken")
        episodes = episodes.unique("episode_index", keep="first", maintain_order=True)
    _check_present(found, files, episodes, storage, notes)
    videos: list[tuple] = []
    cameras = []
    for camera, of in found.videos.items():
        placed = [_video(camera, of, row) for row in rows]
        if not any(placed):
            notes.tell(found.root, f"meta/episodes does not place the videos of {camera!r}; it is no column")
            continue
        cameras.append(camera)
        videos += [place for place in placed if place]
    table = pl.DataFrame(videos, schema=VIDEOS, orient="row")
    return episodes, table.unique(["camera", "episode_index"], keep="first", maintain_order=True), tuple(cameras)


def _video(camera: str, of: dict[Place, str], row: dict) -> tuple | None:
    """Where the frames of an episode are, by the camera's own numbers; None where that is not said or not there."""
    chunk, number, start, stop = (
        row.get(f"videos/{camera}/{name}") for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    )
    if not _is_count(chunk) or not _is_count(number) or not _is_time(start):
        return None
    path = of.get((chunk, number))  # type: ignore[arg-type]
    if path is None:
        return None
    return camera, row["episode_index"], path, float(start), float(stop) if _is_time(stop) else None  # type: ignore[arg-type]


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value < 1e9


def _check_present(
    found: Tree, files: tuple[DataFile, ...], episodes: pl.DataFrame, storage: StorageOptions, notes: Notes
) -> None:
    """Tell of episodes that are listed and are in no file, as far as the footers say."""
    spans = []
    for file in files:
        try:
            with open_parquet(file.path, storage) as parquet:
                spans += [parquet.bounds(g, "episode_index") for g in range(parquet.groups) if parquet.rows(g)]
        except FileFormatError:
            return  # reading tells
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return  # not all say what they hold
    numbers = episodes["episode_index"].to_numpy()
    lost = np.ones(len(numbers), bool)
    for low, high in known:
        lost &= (numbers < low) | (numbers > high)
    for episode in numbers[lost].tolist():
        notes.problem(found.root, f"meta/episodes lists episode {episode}, but no file of frames has it")


# -- JSON and Parquet of metadata -------------------------------------------------------------------------------------


def read_json(path: str, storage: StorageOptions) -> Any:
    """A JSON file; FileFormatError for anything else."""
    return _parsed(_text(path, storage), path)


def _text(path: str, storage: StorageOptions) -> str:
    with open_file(path, storage) as file:
        if file.size > _LARGEST:
            raise FileFormatError(f"{path}: {file.size} bytes are too many for metadata")
        data = file.read_at(0, file.size)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: no text at byte {error.start}") from error


def _parsed(text: str, path: str, line: int | None = None) -> Any:
    where = f"line {line}" if line else "it"
    try:
        return json.loads(text)
    except RecursionError as error:
        raise FileFormatError(f"{path}: {where} is nested too deeply for JSON") from error
    except ValueError as error:
        raise FileFormatError(f"{path}: {where} is no JSON: {error if text.strip() else 'it is empty'}") from error


def json_lines(path: str, storage: StorageOptions) -> Iterator[dict]:
    """The objects of a file with one on each line."""
    for number, line in enumerate(_text(path, storage).split("\n"), 1):
        if line.strip():
            row = _parsed(line, path, number)
            if not isinstance(row, dict):
                raise FileFormatError(f"{path}: line {number} is no JSON object")
            yield row


def _records(path: str, storage: StorageOptions) -> list[dict]:
    """The rows of a Parquet file of metadata, without the statistics of episodes."""
    with open_parquet(path, storage) as parquet:
        names = [name for name in parquet.schema if not name.startswith("stats/")]
        return [row for g in range(parquet.groups) for frame in parquet.batches(g, names) for row in frame.to_dicts()]


def _without(error: Exception, path: str) -> str:
    return str(error).removeprefix(f"{path}: ")


# -- meta/stats.json --------------------------------------------------------------------------------------------------

STATS = {"episode_index": pl.Int64(), "feature": pl.String(), "statistic": pl.String(), "values": pl.List(pl.Float64())}


def stats(found: Tree, storage: StorageOptions, notes: Notes) -> pl.DataFrame:
    """The statistics that are kept with the data: of the whole set (episode_index null), or of each episode (v2.1)."""
    rows: list[tuple] = []
    for name in ("stats.json", "episodes_stats.jsonl"):
        path = found.meta.get(name)
        if path is None:
            continue
        try:
            if name == "stats.json":
                rows += _of_features(None, read_json(path, storage))
            else:
                for row in json_lines(path, storage):
                    rows += _of_features(row.get("episode_index"), row.get("stats"))
        except FileFormatError as error:
            notes.problem(path, _without(error, path))
    return pl.DataFrame(rows, schema=STATS, orient="row")


def _of_features(episode: Any, features: Any) -> Iterator[tuple]:
    if not isinstance(features, dict) or not (episode is None or _is_count(episode)):
        return
    for feature, statistics in features.items():
        for name, values in statistics.items() if isinstance(statistics, dict) else ():
            yield episode, feature, name, list(_flat(values))


def _flat(values: Any, depth: int = 0) -> Iterator[float]:
    if isinstance(values, list) and depth < _DEEPEST:
        for value in values:
            yield from _flat(value, depth + 1)
    elif isinstance(values, (int, float)):
        yield float(values) if abs(values) < 1e308 or isinstance(values, float) else math.inf
