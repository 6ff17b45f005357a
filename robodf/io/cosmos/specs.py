"""JSON files that say which video Cosmos is to make of which prompt and controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from robodf.errors import FileFormatError
from robodf.io.files import StorageOptions
from robodf.io.lerobot.metadata import json_lines, read_json

_VIDEO = ("input_video_path", "video_path", "visual_input", "input_video", "input_path")
_PATH = ("input_control", "control_path", "control_input")
_MOST = 1_000_000  # of one file


class Control(NamedTuple):
    """A control: its video, and how much it counts, as a number or as the file of a tensor."""

    name: str
    path: str | None
    weight: float | None
    weight_path: str | None


@dataclass
class Spec:
    """One clip that a file names: paths are those of files that are there; what is written is in the texts."""

    prompt: str | None
    prompt_file: str | None
    video: str | None
    video_text: str | None
    controls: tuple[Control, ...]
    missing: list[str]


def specs(path: str, root: str, there: Mapping[str, str], storage: StorageOptions) -> list[Spec]:
    """The clips that a JSON file names; none of a file of anything else."""
    lines = path.partition("::")[0].lower().endswith(".jsonl")
    found: Any = list(json_lines(path, storage)) if lines else read_json(path, storage)
    rows = found if isinstance(found, list) else [found]
    rows = [row for row in rows if isinstance(row, dict) and _is_spec(row)]
    if len(rows) > _MOST:
        raise FileFormatError(f"{path}: {len(rows)} clips are too many for one file")
    return [_spec(row, _Paths(path, root, there)) for row in rows]


def _is_spec(row: dict) -> bool:
    return isinstance(_first(row, _VIDEO), str) or (
        any(isinstance(row.get(name), str) for name in ("prompt", "prompt_path")) and bool(list(_controls(row)))
    )


def _first(row: dict, names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name)), None)


class _Paths:
    """Paths of a file: below the root, beside the file, or by their last name beside it."""

    def __init__(self, path: str, root: str, there: Mapping[str, str]):
        self._there = there
        plain = path.partition("::")[0].replace("\\", "/")
        self._folders = (root.partition("::")[0].replace("\\", "/").rstrip("/"), plain.rpartition("/")[0])
        self.missing: list[str] = []

    def find(self, text: Any) -> tuple[str | None, str | None]:
        """The file that a text names, and the text."""
        if not isinstance(text, str) or not text:
            return None, None
        name = text.replace("\\", "/").removeprefix("./")
        tried = [f"{folder}/{name}" for folder in self._folders]
        for candidate in [*tried, f"{self._folders[1]}/{name.rpartition('/')[2]}"]:
            if candidate in self._there:
                return self._there[candidate], text
        self.missing.append(text)
        return None, text


def _spec(row: dict, paths: _Paths) -> Spec:
    video, text = paths.find(_first(row, _VIDEO))
    prompt = row["prompt"] if isinstance(row.get("prompt"), str) else None
    file = paths.find(row.get("prompt_path"))[0] if prompt is None else None
    return Spec(prompt, file, video, text, tuple(_control(*c, paths) for c in _controls(row)), paths.missing)


def _controls(row: dict) -> Iterator[tuple[str, dict]]:
    """The controls by their names: objects with a weight or a path, in the spec itself or in its overrides."""
    overrides = row.get("control_overrides")
    for name, value in {**row, **(overrides if isinstance(overrides, dict) else {})}.items():
        if isinstance(value, dict) and ("control_weight" in value or any(key in value for key in _PATH)):
            yield name, value


def _control(name: str, value: dict, paths: _Paths) -> Control:
    found, text = paths.find(_first(value, _PATH))
    weight = value.get("control_weight")
    number = float(weight) if isinstance(weight, (int, float)) and not isinstance(weight, bool) else None
    return Control(name, found or text, number, weight if isinstance(weight, str) else None)
