"""Which files of a folder are clips of Cosmos or DreamGen, and the source of their rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.images.layout import IMAGE, to_column
from robodf.io.cosmos.specs import Control, Spec, specs
from robodf.io.error_log import ErrorLog
from robodf.io.files import StorageOptions, fingerprint, open_file
from robodf.io.indexed_files import IndexedFiles
from robodf.io.source import Fetching, Source, Split
from robodf.io.video import beside
from robodf.io.video.opening import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = re.compile(r"\d{1,9}_(.+)")
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_LONGEST = 1 << 20  # bytes of a prompt
_LARGEST_CSV = 256 << 20
_FILE = ("file_name", "video", "video_path", "path", "filename")
_TEXT = ("prompt", "caption", "text")
_HEADER = ("fps", "frame_count", "width", "height", "duration")

CONTROLS = pl.List(
    pl.Struct({"name": pl.String(), "path": pl.String(), "weight": pl.Float64(), "weight_path": pl.String()})
)
SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(), "layout": pl.String(), "video": pl.String(), "prompt": pl.String(), "split": pl.String(),
    "view": pl.String(), "controls": CONTROLS, "embedding": pl.String(), "fps": pl.Float64(),
    "frame_count": pl.UInt32(), "width": pl.UInt32(), "height": pl.UInt32(), "duration": pl.Duration("ns"),
    "frames": pl.List(IMAGE),
}  # fmt: skip


class Clip(NamedTuple):
    """A row, but for what its video says. The prompt is known, or in a file."""

    layout: str
    video: str | None
    there: bool  # the video
    prompt: str | None = None
    prompt_file: str | None = None
    split: str | None = None
    view: str | None = None
    controls: tuple[Control, ...] = ()
    embedding: str | None = None


Known = dict[str, tuple[Clip, ...]]
"""The clips of each file that has some, in the order of the files."""


def clips(root: str, files: list[str], storage: StorageOptions, raises: bool, log: ErrorLog) -> Known:
    """The clips among some files."""
    there = {_plain(path): path for path in files}
    named: dict[str, list[Spec]] = {}
    used: set[str] = set()
    captions: dict[str, dict[str, str]] = {}
    for plain, path in there.items():
        try:
            if plain.lower().endswith((".json", ".jsonl")) and (found := specs(path, root, there, storage)):
                named[path] = found
            elif plain.endswith("/metadata.csv"):
                captions[plain.rpartition("/")[0]] = _captions(path, storage)
        except FileFormatError as error:
            if raises:
                raise
            log.add(path, str(error))
    for path, found in named.items():
        used |= {p for spec in found for p in (spec.video, *(c.path for c in spec.controls)) if p}
        for missing in sorted({m for spec in found for m in spec.missing}):
            log.add(path, f"names {missing!r}, which is not there")
    finder = _Finder(there, captions)
    result: Known = {}
    for plain, path in there.items():
        if path in named:
            result[path] = tuple(
                Clip("transfer", s.video or s.video_text, s.video is not None, s.prompt, s.prompt_file, _split(plain),
                     controls=s.controls)
                for s in named[path]
            )  # fmt: skip
        elif plain.lower().endswith(".mp4") and path not in used:
            clip = finder.clip(plain)
            if clip is not None:
                result[path] = (clip,)
    return result


def _plain(path: str) -> str:
    """The path inside the innermost container."""
    return path.partition("::")[0].replace("\\", "/")


def _split(plain: str) -> str | None:
    return next((_SPLITS[part] for part in reversed(plain.lower().split("/")[:-1]) if part in _SPLITS), None)


class _Finder:
    """What lies beside a video, by names."""

    def __init__(self, there: Mapping[str, str], captions: Mapping[str, Mapping[str, str]]):
        self._there, self._captions = there, captions
        self._folders: dict[str, dict[str, None]] = {}  # those with videos, below each folder
        for plain in there:
            parts = plain.split("/")[:-1]
            for at in range(1, len(parts)):
                self._folders.setdefault("/".join(parts[:at]), {})[parts[at]] = None

    def clip(self, plain: str) -> Clip | None:
        """The clip of a video; None of one that is a control of another."""
        folder, _, name = plain.rpartition("/")
        stem = name[: -len(".mp4")]
        parts = folder.split("/")
        path = self._there[plain]
        if "videos" not in parts:
            if self._is_control(parts, name):
                return None
            text = _NAMED.fullmatch(stem)
            if text:
                return Clip("dreamgen", path, True, text[1].replace("_", " "), None, _split(plain))
            return Clip("video", path, True, None, self._there.get(f"{folder}/{stem}.txt"), _split(plain))
        at = len(parts) - 1 - parts[::-1].index("videos")
        base, view = "/".join(parts[:at]), "/".join(parts[at + 1 :])
        names = [f"{view}/{stem}", stem] if view else [stem]
        meta, label = self._beside(base, "metas", names, ".txt"), self._beside(base, "labels", names, ".txt")
        prompt = None
        if meta is None and label is None:
            table = self._captions.get(base, {})
            prompt = next((table[n] for n in (plain.removeprefix(base + "/"), name, stem) if n in table), None)
        layout = "dreamgen" if label is not None and meta is None else "predict"
        return Clip(layout, path, True, prompt, meta or label, _split(plain), view or None,
                    self._controls(base, names), self._beside(base, "t5_xxl", names, ".pickle"))  # fmt: skip

    def _beside(self, base: str, folder: str, names: list[str], end: str) -> str | None:
        return next((self._there[p] for n in names if (p := f"{base}/{folder}/{n}{end}") in self._there), None)

    def _controls(self, base: str, names: list[str]) -> tuple[Control, ...]:
        """Videos of the same name in folders beside `videos`."""
        found = []
        for folder in self._folders.get(base, ()):
            path = self._beside(base, folder, names, ".mp4") if folder != "videos" else None
            if path is not None:
                found.append(Control(folder.removeprefix("control_input_"), path, None, None))
        return tuple(found)

    def _is_control(self, parts: list[str], name: str) -> bool:
        """Whether a video of the same name is in `videos` in place of one of the folders."""
        return any("/".join([*parts[:at], "videos", *parts[at + 1 :], name]) in self._there for at in range(len(parts)))


def _captions(path: str, storage: StorageOptions) -> dict[str, str]:
    """The prompt of each video in a table of them."""
    text = _text(path, storage, _LARGEST_CSV)
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise FileFormatError(f"{path}: no CSV: {error}") from error
    columns = set(rows[0]) if rows else set()
    file = next((n for n in _FILE if n in columns), None)
    prompt = next((n for n in _TEXT if n in columns), None)
    if file is None or prompt is None:
        return {}
    return {row[file]: row[prompt] for row in rows if row[file] and row[prompt] is not None}


def _text(path: str, storage: StorageOptions, most: int) -> str:
    with open_file(path, storage) as file:
        if file.size > most:
            raise FileFormatError(f"{path}: {file.size} bytes are too many for a text of this kind")
        data = file.read_at(0, file.size)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: no text at byte {error.start}") from error


@dataclass(frozen=True)
class Clips(IndexedFiles):
    """Files that are clips, or that name some."""

    known: Known = field(compare=False, repr=False, default_factory=dict)
    max_frames: int = 8
    frame_rate: float | None = None
    resolution: tuple[int, int] | None = None
    name = "cosmos"  # type: ignore[assignment]
    schema = SCHEMA  # type: ignore[assignment]
    heavy = frozenset(["frames"])  # type: ignore[assignment]

    __hash__ = Source.hash_once

    @cached_property
    def _options(self) -> tuple:
        """Prompts are in files of their own: their state is part of what an index depends on."""
        files = [clip.prompt_file for of in self.known.values() for clip in of if clip.prompt_file]
        states = tuple(fingerprint(file, dict(self.storage)) for file in files)
        return hash(states), hash(tuple(self.known.values()))

    def part(self, splits: tuple[Split, ...]) -> Self:
        part = super().part(splits)
        return replace(part, known={path: self.known[path] for path in part.paths})

    def fetching(self, columns: tuple[str, ...], share: float) -> Fetching | None:
        return None

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        rows = [self._row(path, clip, columns) for clip in self.known[path]]
        wanted = [n for n in SCHEMA if n in columns] or ["layout"]
        return pl.DataFrame([{n: row[n] for n in wanted} for row in rows], schema={n: SCHEMA[n] for n in wanted})

    def _row(self, path: str, clip: Clip, columns: tuple[str, ...]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "layout": clip.layout, "video": clip.video, "split": clip.split, "view": clip.view,
            "embedding": clip.embedding, "controls": [c._asdict() for c in clip.controls], "prompt": clip.prompt,
        }  # fmt: skip
        if "prompt" in columns and clip.prompt_file is not None:
            row["prompt"] = self._safely(clip.prompt_file, self._prompt)
        header = set(columns) & set(_HEADER)
        facts = self._safely(clip.video, self._facts) if header and clip.there and clip.video else None
        return row | (facts or dict.fromkeys(_HEADER))

    def _safely(self, path: str, read: Any) -> Any:
        """What is read of a file beside; None where that fails and is no error."""
        try:
            return read(path)
        except FileFormatError as error:
            if self.on_error == "raise":
                raise
            self.log.add(path, str(error))
            return None

    def _prompt(self, path: str) -> str:
        return _text(path, dict(self.storage), _LONGEST).strip()

    def _facts(self, path: str) -> dict[str, Any]:
        """What the header of a video tells, or its packets where that does not."""
        storage = dict(self.storage)
        told = beside.header(path, storage)
        count, long = told.frames, told.duration
        if count is None or long is None:
            count = len(beside.timed_track(path, storage, refuse).pts)
            long = count / told.rate if told.rate else None
        if not 0 <= count < 1 << 32 or (long is not None and not 0 <= long < 1 << 32):
            raise FileFormatError(f"{path}: a broken video: {count} frames in {long} s")
        nanoseconds = None if long is None else round(long * 1_000_000_000)
        return {
            "fps": told.rate,
            "frame_count": count,
            "width": told.width,
            "height": told.height,
            "duration": nanoseconds,
        }

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        for row in rows.tolist():
            clip = self.known[path][row]
            images = self._safely(clip.video, self._frames) if clip.there and clip.video else None
            yield pl.DataFrame({"frames": pl.Series([images], dtype=pl.List(IMAGE))})

    def _frames(self, path: str) -> pl.Series:
        storage = dict(self.storage)
        track = beside.timed_track(path, storage, refuse)
        if self.frame_rate is None:
            count = min(self.max_frames, len(track.pts))
            numbers = np.unique(np.round(np.linspace(0, len(track.pts) - 1, count)).astype(np.int64)) if count else []
        else:
            times = track.seconds - track.seconds[:1]
            last = float(times[-1]) if len(times) else -1.0
            wanted = np.arange(min(self.max_frames, int(last * self.frame_rate + 1e-6) + 1)) / self.frame_rate
            numbers = np.unique(np.searchsorted(times, wanted - 1e-6).clip(0, len(times) - 1)) if last >= 0 else []
        return to_column(beside.images(path, storage, track, np.asarray(numbers, np.int64), refuse, self.resolution))
