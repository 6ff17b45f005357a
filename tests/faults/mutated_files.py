"""Reads mutated files of all formats, one case a line of output: run by test_mutated_files.py as a process of its own.

    python mutated_files.py FIRST COUNT STEP        cases FIRST, FIRST + STEP, ...
    python mutated_files.py NUMBER                  one case, told in full
    python mutated_files.py hostile                 all files of hostile_files.py: the cases from -1 down

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
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "io"))  # where the samples are made

import polars as pl
from guard import Guard, data_size, forget_peak, peak, tree
from hostile_files import HOSTILE, SECRET, surroundings
from mutated_kinds import KINDS, DataSet
from mutating import mutated

import robodf as rd
from robodf.errors import RobodfError
from robodf.io.source import LOCATOR, Request
from robodf.plan.nodes.scan import Scan

BY_POLARS = frozenset(["parquet", "parquet_pages", "csv", "ndjson", "ipc", "archives", "delta"])
"""Kinds whose rows Polars reads, with errors of its own."""

HANG = 60  # seconds, of a machine that is busy
MOST = 400 << 20  # bytes that a case may add to those resident
_ADDRESSES = 4 << 30


class Case:
    """What is read, and by which reader."""

    def __init__(self, number: int):
        rng = random.Random(number)
        if number < 0:
            self.name = list(HOSTILE)[-1 - number]
            kind, make = HOSTILE[self.name]
            self.files: DataSet = make()
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
        self.by_polars = kind in BY_POLARS or self.name.endswith((".csv", ".tsv"))
        self.reader = rng.choice(readers)

    def write(self, folder: Path) -> Path:
        """The path that is read."""
        for name, data in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder / next(iter(self.files)) if len(self.files) == 1 else folder


def taken(make: Callable[[], Any], by_polars: bool, strict: bool) -> dict[str, Any]:
    """What comes of a frame: its rows and problems, the error that robodf gives, or what is wrong with it.

    Where damage is passed over, a query may lose rows by the columns that it reads, so that counts differ.
    """
    try:
        frame = make()
        rows = frame.collect()
        found: dict[str, Any] = {"rows": rows.height, "problems": frame.errors.height}
        if dict(rows.schema) != dict(frame.schema):
            found["wrong"] = f"the frame said {dict(frame.schema)}, and gave {dict(rows.schema)}"
        if SECRET.encode() in rows.write_ipc(None).getbuffer().tobytes():
            found["wrong"] = "gives the bytes of a file outside of it"
        counted = frame.count_rows()
        if strict and counted != rows.height:
            found["wrong"] = f"{counted} rows are counted, {rows.height} read"
        late = fetched(frame, rows) if strict else None
        if late is not None:
            found["wrong"] = late
        light = [name for name, dtype in rows.schema.items() if dtype.is_numeric() or dtype.is_temporal()]
        if light:  # heavy columns are fetched late, of two rows
            few = frame.sort(light[0]).head(2).collect().height
            if strict and few != min(2, rows.height):
                found["wrong"] = f"{few} of {rows.height} rows are fetched late"
        return found
    except RobodfError as error:
        said = f"{type(error).__name__}: {error}"
        return {"error": said[:400], "wrong": "a long message" if len(said) > 3000 else None}
    except (pl.exceptions.PolarsError, OSError) as error:  # OSError: what LZ4 and Zstandard say in IPC files
        if by_polars:
            return {"error": f"{type(error).__name__}: {error}"[:400]}
        return {"wrong": "".join(traceback.format_exception(error))[-3000:]}
    except BaseException as error:  # a panic of Rust is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return {"wrong": "".join(traceback.format_exception(error))[-3000:]}


def fetched(frame: Any, rows: pl.DataFrame) -> str | None:
    """What is wrong with heavy columns of some rows, fetched late: they must be those that were read of all rows."""
    source = frame._plan.source if isinstance(frame._plan, Scan) else None
    if source is None or not rows.height:
        return None
    heavy = tuple(sorted(source.heavy))
    if source.name == "parquet":  # these values are too small to be heavy, but they can be fetched
        heavy = tuple(n for n, t in rows.schema.items() if t in (pl.Binary, pl.String) or isinstance(t, pl.Struct))
    light = next((name for name in rows.columns if name not in heavy), None)
    if not heavy or light is None or source.fetching(heavy, 0.1) is None:
        return None
    locators = source.scan(Request((light,), locator=True)).collect()[LOCATOR].to_numpy()
    found = pl.concat(source.fetch(locators[::3], heavy))
    # Decoders of video hide damage behind what they decoded before, which is not the same late.
    if source.name not in ("video", "lerobot", "cosmos") and not found.equals(rows.select(heavy)[::3]):
        return f"{heavy} of {rows.height} rows differ where they are fetched late"
    return None


def run(case: Case, folder: Path, guard: Guard) -> dict[str, Any]:
    """The outcome of each way to read a case, and what is wrong: nothing, mostly."""
    target, temporary = folder / "inside" / "target", folder / "temporary"
    path = case.write(target)
    unnamed = target / "unnamed" if len(case.files) == 1 and len(case.about) % 3 == 0 else None
    if unnamed is not None:
        unnamed.write_bytes(path.read_bytes())
    before = tree(folder / "inside")
    ways: dict[str, Callable[[], Any]] = {"read": lambda: rd.read(path), "raise": lambda: case.reader(path)}
    if (
        "on_error" not in getattr(case.reader, "keywords", {})
        and "on_error" in inspect.signature(case.reader).parameters
    ):
        lenient = "collect" if len(case.about) % 2 else "skip"
        ways["lenient"] = lambda: case.reader(path, on_error=lenient)
    if unnamed is not None:
        ways["content"] = lambda: rd.read(unnamed)
    resident = forget_peak()
    with guard.watching(target, temporary):
        outcome: dict[str, Any] = {way: taken(make, case.by_polars, way != "lenient") for way, make in ways.items()}
    outcome["peak"] = peak() - resident
    wrong = [
        f"{way}: {found['wrong']}" for way, found in outcome.items() if isinstance(found, dict) and found.get("wrong")
    ]
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
    asked = (-1, len(HOSTILE), -1) if sys.argv[1:] == ["hostile"] else (*map(int, sys.argv[1:]), 1, 1)
    first, count, step = asked[:3]
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
        for kind in list(KINDS.values()) if first >= 0 else ():
            _ = kind.sets  # made before memory is counted
        most = data_size() + _ADDRESSES
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        for number in range(first, first + count * step, step):
            case = Case(number)
            print(json.dumps({"case": number, "about": case.about}), flush=True)
            faulthandler.dump_traceback_later(HANG, exit=True)
            began = time.perf_counter()
            outcome = run(case, folder, guard)
            outcome["seconds"] = round(time.perf_counter() - began, 2)
            faulthandler.cancel_dump_traceback_later()
            outcome["wrong"] += [f"unraisable: {said}" for said in unraisable]
            unraisable.clear()
            print(json.dumps(outcome, indent=2 if count == 1 else None, default=str), flush=True)
        os.chdir("/")
    print("done", flush=True)


if __name__ == "__main__":
    main()
