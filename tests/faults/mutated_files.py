"""Reads mutated files of all formats, one case a line of output: run by test_mutated_files.py as a process of its own.

    python mutated_files.py FIRST COUNT STEP        cases FIRST, FIRST + STEP, ...
    python mutated_files.py NUMBER                  one case, told in full

A case is a number: it names a format, a data set, a file of it, a mutation, and how it is read.
"""

from __future__ import annotations

import faulthandler
import inspect
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guard import Guard, forget_peak, peak, tree
from hostile_files import HOSTILE, SECRET, surroundings
from mutated_kinds import KINDS, DataSet
from mutating import mutated

import robodf as rd
from robodf.errors import RobodfError

HANG = 30  # seconds, of a machine that is busy
MOST = 400 << 20  # bytes that a case may add to those resident
_ADDRESSES = 4 << 30  # bytes of data at all: what is asked for and never touched is not resident


class Case:
    """What is read, and by which reader."""

    def __init__(self, number: int):
        rng = random.Random(number)
        if number < len(HOSTILE):
            self.name, (kind, files) = list(HOSTILE.items())[number]
            self.files: DataSet = files
            self.about = f"{kind}: {self.name}"
            readers = KINDS[kind].readers
        else:
            kind = list(KINDS)[number % len(KINDS)]
            readers = KINDS[kind].readers
            self.name = rng.choice(list(KINDS[kind].sets))
            sound = KINDS[kind].sets[self.name]
            file = rng.choice([name for name in sound if not name.endswith(KINDS[kind].never or "\0")])
            damaged, how = mutated(sound[file], rng)
            self.files = {**sound, file: damaged}
            self.about = f"{kind}: {how} of {file}" + ("" if len(sound) == 1 else f" in {self.name}")
        self.reader = rng.choice(readers)

    def write(self, folder: Path) -> Path:
        """The path that is read."""
        for name, data in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder / next(iter(self.files)) if len(self.files) == 1 else folder


def taken(make: Callable[[], Any]) -> dict[str, Any]:
    """What comes of a frame: its rows and problems, the error that robodf gives, or what is wrong with it."""
    try:
        frame = make()
        rows = frame.collect()
        found: dict[str, Any] = {"rows": rows.height, "problems": frame.errors.height}
        if dict(rows.schema) != dict(frame.schema):
            found["wrong"] = f"the frame said {dict(frame.schema)}, and gave {dict(rows.schema)}"
        if SECRET in repr(rows.rows()) or SECRET.encode().hex() in repr(rows.rows()):
            found["wrong"] = "gives the bytes of a file outside of it"
        counted = frame.count_rows()
        if counted != rows.height:
            found["wrong"] = f"{counted} rows are counted, {rows.height} read"
        light = [name for name, dtype in rows.schema.items() if dtype.is_numeric() or dtype.is_temporal()]
        if light:  # heavy columns are fetched late, of two rows
            few = frame.sort(light[0]).head(2).collect().height
            if few != min(2, rows.height):
                found["wrong"] = f"{few} of {rows.height} rows are fetched late"
        return found
    except RobodfError as error:
        said = f"{type(error).__name__}: {error}"
        return {"error": said[:400], "wrong": "a long message" if len(said) > 3000 else None}
    except BaseException as error:  # a panic of Rust is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return {"wrong": "".join(traceback.format_exception(error))[-3000:]}


def run(case: Case, folder: Path, guard: Guard) -> dict[str, Any]:
    """The outcome of each way to read a case, and what is wrong: nothing, mostly."""
    target, temporary = folder / "inside" / "target", folder / "temporary"
    path = case.write(target)
    before = tree(folder / "inside")
    ways: dict[str, Callable[[], Any]] = {"read": lambda: rd.read(path), "raise": lambda: case.reader(path)}
    if "on_error" in inspect.signature(case.reader).parameters:
        lenient = "collect" if len(case.about) % 2 else "skip"
        ways["lenient"] = lambda: case.reader(path, on_error=lenient)
    resident = forget_peak()
    with guard.watching(target, temporary):
        outcome: dict[str, Any] = {way: taken(make) for way, make in ways.items()}
    outcome["peak"] = peak() - resident
    wrong = [f"{way}: {found['wrong']}" for way, found in outcome.items() if isinstance(found, dict) and found.get("wrong")]
    wrong += [f"does what it must not: {said}" for said in guard.broken]
    if outcome["peak"] > MOST:
        wrong.append(f"took {outcome['peak'] >> 20} MiB")
    if tree(folder / "inside") != before:
        wrong.append("the tree around the file was changed")
    told = outcome.get("lenient", {})
    if "error" in outcome["raise"] and told.get("problems") == 0:
        wrong.append(f"raises {outcome['raise']['error']}, but gives {told['rows']} rows and tells no problem")
    shutil.rmtree(target)
    return {**outcome, "wrong": wrong}


def main() -> None:
    first, count, step = [*map(int, sys.argv[1:]), 1, 1][:3]
    faulthandler.enable()
    warnings.simplefilter("error")
    sys.dont_write_bytecode = True
    guard = Guard()
    unraisable: list[str] = []
    sys.unraisablehook = lambda found: unraisable.append(f"{found.exc_value!r} in {found.object!r}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(os.path.realpath(place))
        for name in ("inside", "temporary"):
            (folder / name).mkdir()
        surroundings(folder / "inside")
        os.chdir(folder / "inside")
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "temporary")
        for kind in KINDS.values():
            _ = kind.sets  # made before memory is counted
        resource.setrlimit(resource.RLIMIT_DATA, (_ADDRESSES, _ADDRESSES))
        for number in range(first, first + count * step, step):
            case = Case(number)
            print(json.dumps({"case": number, "about": case.about}), flush=True)
            faulthandler.dump_traceback_later(HANG, exit=True)
            outcome = run(case, folder, guard)
            faulthandler.cancel_dump_traceback_later()
            outcome["wrong"] += [f"unraisable: {said}" for said in unraisable]
            unraisable.clear()
            print(json.dumps(outcome, indent=2 if count == 1 else None, default=str), flush=True)
        os.chdir("/")
    print("done", flush=True)


if __name__ == "__main__":
    main()
