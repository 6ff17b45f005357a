"""The file of measured rates: one of the user's, for the processors and GPUs that were calibrated.

It is checked when it is read: a number that is none would make the planner choose wrongly without a sign.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from robodf.errors import FileFormatError

PATH = "ROBODF_RATES"
"""The environment variable that names another file."""

_VERSION = 1
_MOST = 1e18  # bytes per second, more than anything has

KINDS = ("decode", "row", "text", "group", "group_many", "sort", "join")
"""Kinds of work: decoding Parquet; filters and arithmetic; regular expressions; a group-by of few groups, and of about
as many as a tenth of the rows; a sort by one number; an equi-join of a large table with one of a tenth of its rows.

Rates are of bytes that go in: of `decode` bytes of the decoded columns, of `join` those of both sides.
"""

TIMES = ("start", "plan", "step")
TRANSFERS = ("to_device", "to_device_pinned", "from_device")
"""The other numbers of a GPU: see `gpu/rates.py`."""


@dataclass(frozen=True)
class Measured:
    """What one calibration found: bytes per second by kind of `work`, of a GPU the other `numbers` of its Rates."""

    date: str
    versions: Mapping[str, str]
    work: Mapping[str, float]
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """What is measured, by the names of processors and GPUs."""

    cpus: Mapping[str, Measured] = field(default_factory=dict)
    devices: Mapping[str, Measured] = field(default_factory=dict)

    def with_cpu(self, name: str, measured: Measured) -> Stored:
        return replace(self, cpus={**self.cpus, name: measured})

    def with_device(self, name: str, measured: Measured) -> Stored:
        return replace(self, devices={**self.devices, name: measured})


def path() -> Path:
    """Where the file is: as ROBODF_RATES says, else in the user's folder of caches."""
    named = os.environ.get(PATH)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        folder = "~/Library/Caches"
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(folder).expanduser() / "robodf" / "rates.json"


_read: dict[tuple[str, int, int], Stored] = {}


def stored() -> Stored:
    """What the file holds; nothing where there is none. FileFormatError where it is damaged."""
    file = path()
    try:
        facts = file.stat()
        key = str(file), facts.st_mtime_ns, facts.st_size
        if key not in _read:  # each query asks
            text = file.read_bytes()
            _read.clear()
            _read[key] = _parsed(text, file)
    except FileNotFoundError:
        return Stored()
    return _read[key]


def store(found: Stored) -> Path:
    """Write the file, whole or not at all, and give its path."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"version": _VERSION, **asdict(found)}, indent=2, sort_keys=True) + "\n"
    _parsed(text.encode(), file)  # what cannot be read again is not written
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as temporary:
            temporary.write(text)
            temporary.flush()
            os.fsync(temporary.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
    return file


def _parsed(text: bytes, file: Path) -> Stored:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"it is no JSON: {error}") from error
    if not isinstance(read, dict) or read.get("version") != _VERSION:
        raise _damaged(file, f"it is not of version {_VERSION}")
    if read.keys() != {"version", "cpus", "devices"}:
        raise _damaged(file, f"it has the entries {sorted(read)}")
    return Stored(
        **{
            half: _half(read[half], half, {*TIMES, *TRANSFERS} if half == "devices" else set(), file)
            for half in ("cpus", "devices")
        }
    )


def _half(read: Any, half: str, numbers: set[str], file: Path) -> dict[str, Measured]:
    if not isinstance(read, dict):
        raise _damaged(file, f"{half} is no table")
    made = {}
    for name, entry in read.items():
        where = f"{half}[{name!r}]"
        if not isinstance(entry, dict) or entry.keys() != {"date", "versions", "work", "numbers"}:
            raise _damaged(file, f"{where} must have date, versions, work and numbers")
        versions = entry["versions"]
        if not isinstance(entry["date"], str) or not isinstance(versions, dict):
            raise _damaged(file, f"{where}: date is a text, versions a table")
        _check(entry["work"], set(KINDS), f"{where}.work", file)
        _check(entry["numbers"], numbers, f"{where}.numbers", file)
        made[name] = Measured(entry["date"], versions, entry["work"], entry["numbers"])
    return made


def _check(read: Any, names: set[str], where: str, file: Path) -> None:
    if not isinstance(read, dict) or read.keys() != names:
        raise _damaged(file, f"{where} must have exactly {', '.join(sorted(names)) or 'nothing'}")
    for name, value in read.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 < value < _MOST:
            raise _damaged(file, f"{where}.{name} is {value!r}, not a positive number")


def _damaged(file: Path, why: str) -> FileFormatError:
    return FileFormatError(f"{file}: {why}. Measure again with `robodf calibrate --reset`, or delete the file")
