"""Reads mutated copies of logs, one case a line of output: run by test_mutated_logs.py as a process of its own.

    python mutated_logs.py FOLDER FIRST COUNT STEP

A case is a number: it names a file of the folder, a mutation, and how it is read.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import robodf as rd
from robodf.errors import RobodfError

ENDINGS = (".mcap", ".bag", ".db3")
_LARGEST = 400_000  # bytes: a larger file is only slower
_RARELY = 60_000  # of the files above this size one in eight is taken
_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 8, b"\1" + b"\0" * 7)


def files_of(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.name.endswith(ENDINGS) and 0 < p.stat().st_size <= _LARGEST)
    many = [p for p in found if "conformance" in p.parts]
    return [p for p in found if p not in many] + many[::25]


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.choice((1, 4, 16, 300))
    data[at : at + length] = rng.randbytes(min(length, len(data) - at))


def extreme(data: bytearray, rng: random.Random) -> None:
    """A number that lengths, counts and offsets do not have."""
    value = rng.choice(_NUMBERS)
    at = rng.randrange(len(data))
    data[at : at + len(value)] = value[: len(data) - at]


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def remove(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 7, 100, 4096))]


def repeat(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.choice((1, 9, 200, 5000))
    to = rng.randrange(len(data))
    data[to:to] = data[at : at + length]


def splice(data: bytearray, rng: random.Random) -> None:
    """The start of the file with the end of it, from another place."""
    at, back = rng.randrange(len(data)), rng.randrange(len(data))
    data[at:] = data[back:]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip, flip, overwrite, extreme, extreme, cut, remove, repeat, splice,
)  # fmt: skip


def case(files: list[Path], number: int) -> tuple[Path, bytes, str, str]:
    """(file, mutated bytes, name of the mutation, what is read) of a case."""
    rng = random.Random(number)
    path = rng.choice(files)
    while path.stat().st_size > _RARELY and rng.randrange(8):
        path = rng.choice(files)
    data = bytearray(path.read_bytes())
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if data:
            mutate = rng.choice(MUTATIONS)
            names.append(mutate.__name__)
            mutate(data, rng)
    return path, bytes(data), "+".join(names), rng.choice(("rows", "rows", "topics", "typed", "health"))


def read(path: Path, what: str, on_error: str) -> tuple[int, int]:
    """(rows, problems told) of one way to read a log."""
    if what == "rows":
        frame = rd.read_log(path, on_error=on_error)
        return frame.collect().height, frame.errors.height
    log = rd.open_log(path, on_error=on_error)
    if what == "topics":
        return log.topics.height, len(log.problems)
    if what == "health":
        found = log.health()
        return found.topics["count"].sum(), len(found.problems)
    rows = problems = 0
    for topic in list(log)[:5]:
        frame = log[topic]
        rows += frame.collect().height
        problems += frame.errors.height
    return rows, problems


def main() -> None:
    folder, first, count, step = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    files = files_of(folder)
    whole: dict[Path, int] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(first, first + count * step, step):
            path, data, mutation, what = case(files, number)
            bare = "conformance" in path.parts and "-st" not in path.stem
            about = {"case": number, "file": path.name, "mutation": mutation, "what": what, "bare": bare}
            print(json.dumps(about), flush=True)
            if path not in whole:
                whole[path] = rd.read_log(path, on_error="skip").count_rows()
            copy = Path(temporary, f"{number}{path.suffix}")
            copy.write_bytes(data)
            outcome: dict[str, object] = {"whole": whole[path]}
            for on_error in ("raise", "collect"):
                try:
                    rows, problems = read(copy, what, on_error)
                    outcome[on_error] = [rows, problems]
                except RobodfError as error:
                    outcome[on_error] = f"{type(error).__name__}: {error}"
            copy.unlink()
            print(json.dumps(outcome), flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
