"""The rows on their way into the files of a LeRobot data set."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from robodf.errors import QueryError
from robodf.images.layout import to_arrays
from robodf.io.lerobot import statistics
from robodf.io.lerobot.episodes import Copy, Footage, Shot, Tasks, checked_references, copy_of, of_columns
from robodf.io.lerobot.features import DEFAULTS, OWN, Vector, image_feature, video_feature
from robodf.io.lerobot.tables_out import DATA_PATH, EpisodeFiles, Files, arrow_type, write_tasks
from robodf.io.lerobot.video_files import VIDEO_PATH, CameraFiles, Encoder
from robodf.io.lerobot.write import CHUNK, LeRobotSink, write_json
from robodf.io.messages.encoder import first_true
from robodf.io.video.beside import header

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class Writing:
    """A data set that is being written into an empty folder, `scratch` being another one."""

    def __init__(self, sink: LeRobotSink, folder: Path, scratch: Path):
        self.rows = 0
        self._sink, self._folder = sink, folder
        schema = sink.plan.schema
        self._pictures = tuple(c for c in sink.cameras if sink.video is False)
        self._filmed = tuple(c for c in sink.cameras if sink.video is not False)
        self._vectors = {c: Vector(c, schema[c]) for c in sink.columns if c not in (sink.by, sink.task, *sink.cameras)}
        self._tasks = Tasks(sink.sources, tuple(self._vectors))
        self._data = Files(folder, DATA_PATH, CHUNK, sink.data_bytes)
        self._listed = EpisodeFiles(folder, CHUNK, sink.data_bytes)
        storage = {path: dict(s.storage) for s in sink.sources for path in s.about.videos["path"]}
        self._storage = storage
        self._spans = {
            (path, episode): (start, stop)
            for s in sink.sources
            for _, episode, path, start, stop in s.about.videos.iter_rows()
        }
        self._footage = {
            c: Footage(CameraFiles(folder, c, CHUNK, sink.video_bytes), scratch / f"camera-{k}.mp4", sink.codec,
                       sink.fps, sink.statistics, storage)
            for k, c in enumerate(self._filmed)
        }  # fmt: skip
        self._sizes: dict[str, tuple[int, ...]] = {}
        self._merged: dict[str, statistics.Merged] = {}
        self._pixels = {c: statistics.Pixels() for c in sink.cameras}
        self._episodes = 0
        self._seen: set[Any] = set()
        self._key: Any = None
        self._begin()

    def _begin(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._encoders: dict[str, Encoder] = {}
        self._own_pixels = {c: statistics.Pixels() for c in self._sink.cameras}

    # -- rows -------------------------------------------------------------------------------------------------

    def add(self, batch: pl.DataFrame) -> None:
        """Rows that come next."""
        sink = self._sink
        first = self.rows
        for name in (sink.by, sink.task):
            column = batch.get_column(name)
            if column.null_count():
                row = first + first_true(column.is_null())
                raise QueryError(f"to_lerobot: row {row} has null in column {name!r}; fill it, or drop such rows")
        runs = batch.get_column(sink.by).rle_id()
        for part in batch.with_columns(runs.alias("\0run")).partition_by("\0run", maintain_order=True):
            key = part.get_column(sink.by)[0]
            if key != self._key or not self._parts:
                self._finish()
                if key in self._seen:
                    raise QueryError(
                        f"to_lerobot: the rows of episode {key!r} of column {sink.by!r} are not together (row "
                        f"{self.rows} comes after others); sort by {sink.by!r} and time first"
                    )
                self._seen.add(key)
                self._key = key
            self._add(part.drop("\0run"))

    def _add(self, part: pl.DataFrame) -> None:
        """Rows of the episode that is open."""
        made = []
        for name in self._sink.cameras:
            if name in self._sink.referred:
                continue
            pictures: list[dict[str, Any]] = []
            for k, image in enumerate(to_arrays(part.get_column(name))):
                if image is None:
                    raise QueryError(f"to_lerobot: row {self.rows + k} has no image in column {name!r}; drop such rows")
                self._film(name, image, pictures)
            if pictures:
                made.append(pl.Series(name, pictures, pl.Struct({"bytes": pl.Binary, "path": pl.String})))
        gone = [c for c in self._filmed if c not in self._sink.referred]
        self._parts.append(part.with_columns(made).drop(gone))
        self.rows += part.height

    def _film(self, name: str, image: np.ndarray, pictures: list[dict[str, Any]]) -> None:
        if name in self._pictures:
            self._check_size(name, image.shape if image.ndim == 3 else (*image.shape, 1))
            pictures.append({"bytes": _png(image), "path": None})
        else:
            if name not in self._encoders:
                self._encoders[name] = self._footage[name].encoder()
            self._encoders[name].add(image, name)
        if self._sink.statistics and image.dtype == np.uint8:
            self._own_pixels[name].add(image)

    def _check_size(self, name: str, size: tuple[int, ...]) -> None:
        known = self._sizes.setdefault(name, size)
        if known != size:
            raise QueryError(
                f"to_lerobot: images of {name!r} are {' x '.join(map(str, size))} from episode {self._key!r} on, where "
                f"{' x '.join(map(str, known))} came before; resize them"
            )

    # -- an episode -------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Write the episode that is open."""
        if not self._parts:
            return
        frame = pl.concat(self._parts)
        count, first = frame.height, self.rows - frame.height
        columns = {n: v.checked(frame.get_column(n), first) for n, v in self._vectors.items()}
        for name in self._tasks.annotations:
            columns[name] = self._tasks.renumbered(columns[name])
        texts = frame.get_column(self._sink.task).cast(pl.String)
        tasks = {text: self._tasks.number(text) for text in texts.unique(maintain_order=True)}
        shots = self._shots(frame, first)
        times = next((s.times for s in shots.values() if s.times is not None), np.arange(count) / self._sink.fps)
        columns |= {
            "timestamp": pl.Series(times, dtype=pl.Float32),
            "frame_index": pl.int_range(count, dtype=pl.Int64, eager=True),
            "episode_index": pl.Series([self._episodes], dtype=pl.Int64).new_from_index(0, count),
            "index": pl.int_range(first, first + count, dtype=pl.Int64, eager=True),
            "task_index": texts.replace_strict(list(tasks), list(tasks.values()), return_dtype=pl.Int64),
        }
        place = self._data.write(self._table(columns, frame))
        row: dict[str, Any] = {
            "episode_index": self._episodes, "tasks": list(tasks), "length": count,
            "data/chunk_index": place[0], "data/file_index": place[1],
            "dataset_from_index": first, "dataset_to_index": first + count,
        }  # fmt: skip
        for name, shot in shots.items():
            row |= {
                f"videos/{name}/chunk_index": shot.placed.chunk, f"videos/{name}/file_index": shot.placed.file,
                f"videos/{name}/from_timestamp": shot.placed.start, f"videos/{name}/to_timestamp": shot.placed.stop,
            }  # fmt: skip
            self._own_pixels[name].merge(shot.pixels)
        if self._sink.by != "episode_index":
            row[self._sink.by] = str(self._key)
        self._listed.add(row | self._statistics(columns))
        self._episodes += 1
        self._begin()

    def _shots(self, frame: pl.DataFrame, first: int) -> dict[str, Shot]:
        """Put the frames of all cameras into their files."""
        found: dict[str, Shot] = {}
        for name, encoder in self._encoders.items():
            found[name] = self._footage[name].encoded(encoder, statistics.Pixels())
        self._encoders = {}
        references = {c: checked_references(c, frame.get_column(c), first) for c in self._sink.referred}
        plans = {c: copy_of(r, self._spans, self._storage, self._sink.fps) for c, r in references.items()}
        plans = _agreed(plans, alone=not found)
        for name, plan in plans.items():
            if isinstance(plan, Copy):
                found[name] = self._footage[name].copied(plan)
                continue
            if self._sink.video == "copy":
                raise QueryError(
                    f"to_lerobot: video='copy', but the frames of {name!r} in episode {self._key!r} cannot be copied: "
                    f"{plan}. Pass video=True to encode such episodes"
                )
            found[name] = self._footage[name].encoded_again(references[name])
        for name in found:
            width, height = self._footage[name].files.size
            self._check_size(name, (height, width, 3))
        return {name: found[name] for name in self._filmed}

    def _table(self, columns: dict[str, pl.Series], frame: pl.DataFrame) -> pa.Table:
        arrays: dict[str, pa.Array] = {}
        for name in self._sink.columns:
            if name in self._vectors:
                vector = self._vectors[name]
                made = columns[name].to_arrow().cast(arrow_type(vector.dtype, vector.shape or (1,)))
            elif name in self._pictures:
                made = frame.get_column(name).to_arrow().cast(_IMAGE)
            else:
                continue
            arrays[name] = made
        for name in OWN:
            arrays[name] = columns[name].to_arrow()
        return pa.table(arrays)

    def _statistics(self, columns: dict[str, pl.Series]) -> dict[str, Any]:
        """Those of the episode; they are added to those of the whole set."""
        found = of_columns(columns)
        for name, some in found.items():
            self._merged.setdefault(name, statistics.Merged()).add(some)
        for name, pixels in self._own_pixels.items():
            if pixels.images:
                found[name] = pixels.all()
                self._pixels[name].merge(pixels)
        return {f"stats/{name}/{key}": value for name, some in found.items()
                for key, value in statistics.as_lists(some).items()}  # fmt: skip

    # -- the whole --------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Write what belongs to the whole set."""
        self._finish()
        if not self._episodes:
            raise QueryError("to_lerobot: there are no rows, and LeRobot has no data set without an episode")
        self.close()
        write_tasks(self._folder, self._tasks.texts)
        write_json(self._folder / "meta" / "info.json", self._info())
        write_json(self._folder / "meta" / "stats.json", self._stats())

    def close(self) -> None:
        """Close all files, whatever has happened."""
        for encoder in self._encoders.values():
            encoder.close()
        self._encoders = {}
        for footage in self._footage.values():
            footage.files.close()
        self._data.close()
        self._listed.close()

    def _info(self) -> dict[str, Any]:
        sink = self._sink
        fps = int(sink.fps) if sink.fps == int(sink.fps) else sink.fps
        return {
            "codebase_version": "v3.0",
            "robot_type": sink.robot_type,
            "total_episodes": self._episodes,
            "total_frames": self.rows,
            "total_tasks": len(self._tasks.texts),
            "chunks_size": CHUNK,
            "data_files_size_in_mb": max(1, sink.data_bytes >> 20),
            "video_files_size_in_mb": max(1, sink.video_bytes >> 20),
            "fps": fps,
            "splits": {"train": f"0:{self._episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._filmed else None,
            "features": self._features(),
        }

    def _features(self) -> dict[str, Any]:
        known = {name: feature for s in reversed(self._sink.sources) for name, feature in s.about.features.items()}
        found: dict[str, Any] = {}
        for name in self._sink.columns:
            if name in self._vectors:
                feature = self._vectors[name].feature
                before = known.get(name, {})
                if before.get("shape") == feature["shape"] and isinstance(before.get("names"), (list, dict)):
                    feature["names"] = before["names"]
                found[name] = feature
            elif name in self._filmed:
                told = header(str(self._footage[name].files.paths[0]), None)
                found[name] = video_feature(told.width, told.height, told.codec, told.pixels, self._sink.fps)
            elif name in self._pictures:
                height, width, channels = self._sizes[name]
                found[name] = image_feature(height, width, channels)
        return {**found, **DEFAULTS}

    def _stats(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, merged in self._merged.items():
            whole = merged.all()
            of = statistics.quantiles(self.rows, len(whole["mean"]), lambda name=name: self._data.column(name))
            found[name] = statistics.as_lists(whole | of)
        for name, pixels in self._pixels.items():
            if pixels.images:
                found[name] = statistics.as_lists(pixels.all())
        return found


def _agreed(plans: dict[str, Copy | str], alone: bool) -> dict[str, Copy | str]:
    """Times that are not those of the rate can be kept only where all cameras of the episode have the same ones."""
    off = [p for p in plans.values() if isinstance(p, Copy) and not p.on_time]
    if not off:
        return plans
    same = all(isinstance(p, Copy) and np.abs(p.times - off[0].times).max() < 1e-6 for p in plans.values())
    if alone and same:
        return plans
    why = "its rows have other times than its frames, and other cameras do not agree with them"
    return {name: p if isinstance(p, Copy) and p.on_time else why if isinstance(p, Copy) else p
            for name, p in plans.items()}  # fmt: skip


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=1)
    return out.getvalue()
