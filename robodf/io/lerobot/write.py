"""Writing a query as a LeRobot data set of version 3.0: episode by episode, all or nothing."""

from __future__ import annotations

import json
import os
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from robodf.compat import KEEP_ORDER
from robodf.errors import OptionError, SchemaError, column_not_found
from robodf.images.layout import IMAGE
from robodf.io import publish
from robodf.io.lerobot.features import OWN, check_column
from robodf.io.lerobot.source import LeRobotFrames
from robodf.io.lerobot.untouched import lerobot_sources, with_references
from robodf.io.sink import WriteReport
from robodf.plan.base import Plan

VIDEO = (True, False, "copy", "encode")
CHUNK = 1000  # files in a folder
_KNOWN = {"meta", "data", "videos", "images", "README.md", ".gitattributes", ".cache"}


@dataclass(frozen=True)
class LeRobotSink:
    """One write, checked as far as the schema of the frame tells."""

    name: str
    path: Path
    plan: Plan  # of `columns`
    columns: tuple[str, ...]
    by: str
    task: str
    cameras: tuple[str, ...]  # columns of images
    referred: tuple[str, ...]  # those of them that are references to frames
    fps: float
    robot_type: str | None
    video: bool | str
    codec: str
    mode: str
    statistics: bool
    data_bytes: int
    video_bytes: int
    sources: tuple[LeRobotFrames, ...] = field(repr=False)

    def write(self, query: pl.LazyFrame) -> WriteReport:
        """Run the query of `plan` and write its rows, in their order."""
        from robodf.io.lerobot.writing import Writing

        started = clock.monotonic()
        with publish.staging(self.path) as area:
            if self.mode == "overwrite" and self.path.is_dir():
                publish.check_swap(area, self.path)
            new = area / "new"
            new.mkdir()
            writing = Writing(self, new, area)
            try:
                for batch in _batches(query):
                    with self._disk():
                        writing.add(batch)
                with self._disk():
                    writing.finish()
            finally:
                writing.close()
            with self._disk():
                files = sorted(p for p in new.rglob("*") if p.is_file())
                size = sum(p.stat().st_size for p in files)
                found = tuple(str(self.path / p.relative_to(new)) for p in files)
                publish.sync_tree(new)
                with publish.publishing(self.path):
                    _check_target(self.path, self.mode)
                    publish.publish_directory(new, self.path, replace=self.mode == "overwrite", files=False)
        return WriteReport(self.name, writing.rows, found, size, clock.monotonic() - started)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Name the target in the errors of writing it."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno is None or error.filename == str(self.path):
                raise
            raise publish.naming(error, self.path) from error


def _batches(query: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows in order, in the batches that the sources give: theirs are bounded in bytes."""
    for batch in query.collect_batches(maintain_order=True, engine="streaming", optimizations=KEEP_ORDER):
        if batch.height:
            yield batch


def lerobot_sink(
    plan: Plan,
    target: str | os.PathLike[str],
    *,
    fps: float | None = None,
    robot_type: str | None = None,
    video: bool | str = True,
    by: str = "episode_index",
    task: str = "task",
    codec: str | None = None,
    mode: str = "error",
    image_stats: bool = True,
    data_mb: float = 100,
    video_mb: float = 200,
) -> LeRobotSink:
    """Check a write; the arguments are those of `to_lerobot`, which says what they mean."""
    if video not in VIDEO or (video in (0, 1) and not isinstance(video, bool)):
        raise OptionError(f"to_lerobot: video is True, False, 'copy' or 'encode', not {video!r}")
    if mode not in ("error", "overwrite"):
        raise OptionError(f"to_lerobot: mode is 'error' or 'overwrite', not {mode!r}")
    for name, size in (("data_mb", data_mb), ("video_mb", video_mb)):
        if isinstance(size, bool) or not isinstance(size, (int, float)) or not size > 0:
            raise OptionError(f"to_lerobot: {name} is a positive number of megabytes, not {size!r}")
    sources = tuple(lerobot_sources(plan))
    schema = plan.schema
    for name, what in ((by, "which rows are an episode"), (task, "the text of what is done")):
        if name not in schema:
            if name == "task":
                raise SchemaError("to_lerobot: there is no column 'task', the text of what is done; add it, such as "
                                  ".with_columns(task=rd.lit('pick up the cube')), or name it by task=")  # fmt: skip
            raise column_not_found(name, schema, f"to_lerobot ({what})")
    if not isinstance(schema[task], (pl.String, pl.Categorical, pl.Enum)):
        raise SchemaError(f"to_lerobot: the column of tasks, {task!r}, is text, not {schema[task]}")
    if not (schema[by].is_integer() or isinstance(schema[by], (pl.String, pl.Categorical, pl.Enum))):
        raise SchemaError(f"to_lerobot: the column of episodes, {by!r}, has numbers or texts, not {schema[by]}")
    left_out = {*OWN, by, task, "task"}
    wanted = [name for name in schema if name not in left_out]
    for name in wanted:
        check_column(name, schema[name])
    cameras = tuple(name for name in wanted if schema[name] == IMAGE)
    if not set(wanted) - set(cameras):
        raise SchemaError("to_lerobot: there is no column with the values of a row, such as action")
    columns = tuple(dict.fromkeys([by, task, *wanted]))
    chosen = ""
    if cameras and video is not False:
        from robodf.io.lerobot.video_files import codec_named
        from robodf.io.video.opening import need_av

        need_av("to_lerobot with videos")
        chosen = codec_named(codec)
    if cameras and video is False:
        _need_pillow()
    path, name = _target(target, mode)
    selected = _selected(plan, columns)
    referred: tuple[str, ...] = ()
    if cameras and video in (True, "copy"):
        selected, referred = with_references(selected)
        if video == "copy" and (lost := [c for c in cameras if c not in referred]):
            raise SchemaError(
                f"to_lerobot: video='copy', but column {lost[0]!r} does not come untouched from read_lerobot: "
                "something computes, compares or decodes its frames. Pass video=True to encode what cannot be copied"
            )
    return LeRobotSink(
        name, path, selected, columns, by, task, cameras, referred, _fps(fps, sources),
        robot_type if robot_type is not None else _robot(sources), video, chosen, mode, bool(image_stats),
        int(data_mb * (1 << 20)), int(video_mb * (1 << 20)), sources,
    )  # fmt: skip


def _selected(plan: Plan, columns: tuple[str, ...]) -> Plan:
    from robodf.plan.expr import Col
    from robodf.plan.nodes.project import Select

    return Select(plan, tuple((name, Col(name)) for name in columns))


def _fps(given: float | None, sources: tuple[LeRobotFrames, ...]) -> float:
    if given is None:
        found = {s.about.fps for s in sources}
        if len(found) != 1 or None in found:
            what = "the data sets that are read have different ones" if len(found) > 1 else "no data set tells it"
            raise OptionError(f"to_lerobot: pass fps=, the rows a second: {what}")
        return float(found.pop())  # type: ignore[arg-type]
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < 1e5:
        raise OptionError(f"to_lerobot: fps is a positive number of rows a second, not {given!r}")
    return float(given)


def _robot(sources: tuple[LeRobotFrames, ...]) -> str | None:
    found = {s.about.robot_type for s in sources}
    return found.pop() if len(found) == 1 else None


def _need_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError("to_lerobot needs Pillow for images: pip install 'robodf[images]'") from error


def _target(target: str | os.PathLike[str], mode: str) -> tuple[Path, str]:
    text = os.fspath(target)
    if not isinstance(text, str) or not text or "\0" in text:
        raise OptionError(f"to_lerobot: a target is a path as text, not {target!r}")
    if "://" in text.removeprefix("file://"):
        raise OptionError(
            f"to_lerobot: {text!r}: object stores publish no directory whole; write a local one and upload it"
        )
    path = Path(os.path.realpath(os.path.expanduser(text.removeprefix("file://"))))
    if not path.name:
        raise OptionError(f"to_lerobot: {text!r} is no name for a directory")
    _check_target(path, mode)
    return path, text


def _check_target(path: Path, mode: str) -> None:
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise OptionError(f"to_lerobot: {str(path)!r} is a file, where a directory is to be written")
    there = {p.name for p in path.iterdir()}
    if not there:
        return
    if mode == "error":
        raise publish.exists(path)
    if there - _KNOWN or not (path / "meta").is_dir():
        what = sorted(there - _KNOWN)[:1] or ["no folder meta"]
        raise OptionError(f"to_lerobot: {path} is no LeRobot data set ({what[0]}), so it is not overwritten; write to "
                          "another directory, or remove it first")  # fmt: skip


def write_json(path: Path, value: Any) -> None:
    """As LeRobot writes its metadata."""
    path.write_text(json.dumps(value, indent=4, ensure_ascii=False), encoding="utf-8")
