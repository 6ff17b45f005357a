"""robodf's own kernels on a GPU beside all cores of the processor, in one run, with equal results.

    python -m benchmarks.gpu_kernels --full --write

- fuzzy: documents in the memory of the host -> the rows that stay, at a Jaccard similarity of 0.8 of runs of five words
- keys: the MinHash keys of the same documents alone
- cosine: for each of some vectors all others at a cosine of 0.9 or more, of 1M x 256 with --full
- voxels: a cloud of 1e8 points with --full -> one for each cube

The same call runs with engine "local" and "gpu", in turns after one of each that is not counted; times are medians and
include all copies. Where there is no GPU that can be used the reason is printed, and there is no report.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

import robodf as rd
from benchmarks.measure import Report, arguments, human, seconds
from robodf.dedup import asked
from robodf.errors import DeviceError

TURNS = 3
KEYS = "keys of these texts"
GOAL, CORES = 10.0, 16  # times, against so many cores, on the kernel of fuzzy dedup
COSINE, ASKED = 0.9, 100_000


def main() -> int:
    from robodf.gpu.devices import device
    from robodf.gpu.kernels.device import room

    options = arguments(__doc__, documents=200_000, vectors=100_000, points=5_000_000)
    if options.full:
        options.documents, options.vectors, options.points = 2_000_000, 1_000_000, 100_000_000
    try:
        name = device().name
        free = room(("cupy",))
    except DeviceError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 0
    report = Report("gpu_kernels", "robodf's kernels on a GPU", options)
    report.say(f"GPU: {name}, {human(free)} free. {pl.thread_pool_size()} threads of the processor.\n")
    rows, reached = [], ""
    for title, made in (
        ("fuzzy dedup, from host text", fuzzy(options.documents)),
        (KEYS, keys(options.documents)),
        ("cosine search, d = 256", cosine(options.vectors)),
        ("voxel downsample", voxels(options.points)),
    ):
        size, run = made
        cpu, gpu = compared(title, run)
        rows.append([title, size, f"{cpu:.3f} s", f"{gpu:.3f} s", f"{cpu / gpu:.1f}"])
        if title == KEYS:
            reached = goal(cpu / gpu, pl.thread_pool_size())
    report.table(["task", "size", "processor", "GPU", "times as fast"], rows)
    report.say(f"Goal, {GOAL:g} times {CORES} cores on the keys of fuzzy dedup: {reached}.")
    report.end()
    return 0


def goal(times: float, threads: int) -> str:
    """Whether the goal was reached, by the processor that was measured."""
    if threads < CORES:
        return f"not to be said, as the processor had {threads} threads ({times:.1f} times)"
    return f"{'pass' if times >= GOAL else '**missed**'} ({times:.1f} times {threads} threads)"


def compared(title: str, run: Callable[[str], Any]) -> tuple[float, float]:
    """Median seconds of the processor and the GPU. AssertionError where the results differ."""
    first = {engine: run(engine) for engine in ("local", "gpu")}
    same(title, first["local"], first["gpu"])
    times: dict[str, list[float]] = {"local": [], "gpu": []}
    for turn in range(TURNS):
        for engine in ("local", "gpu") if turn % 2 == 0 else ("gpu", "local"):
            times[engine].append(seconds(lambda e=engine: run(e)))
    return statistics.median(times["local"]), statistics.median(times["gpu"])


def same(title: str, one: Any, other: Any) -> None:
    """Raises AssertionError where two results differ in a bit."""
    if isinstance(one, pl.DataFrame):
        equal = one.equals(other)
    else:
        equal = all(np.array_equal(a, b) for a, b in zip(one, other))
    if not equal:
        raise AssertionError(f"{title}: the GPU gives another result than the processor")


Task = tuple[str, Callable[[str], Any]]


def documents(count: int) -> pl.Series:
    """Texts of 20 to 220 words, of which every fifth is an earlier one with a few words changed."""
    rng = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnop"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 11, 20_000)])
    rows: list[str] = []
    for k in range(count):
        if k % 5 == 4:
            text = rows[int(rng.integers(0, len(rows)))].split()
            text[int(rng.integers(0, len(text)))] = "changed"
        else:
            text = words[rng.integers(0, len(words), int(rng.integers(20, 220)))].tolist()
        rows.append(" ".join(text))
    return pl.Series("text", rows)


def fuzzy(count: int) -> Task:
    texts = documents(count)
    frame = rd.from_polars(texts.to_frame().with_row_index("row")).dedup("text", method="fuzzy").select("row")
    return f"{count:,} texts, {human(texts.str.len_bytes().sum())}", lambda engine: frame.collect(engine=engine)


def keys(count: int) -> Task:
    from robodf.dedup.fuzzy import Fuzzy

    texts, method = documents(count), Fuzzy()

    def run(engine: str) -> tuple[np.ndarray, ...]:
        with asked.during(engine):
            found = method.keys(texts)
        assert found.same is not None
        return found.bands, found.there, found.same

    return f"{count:,} texts", run


def cosine(count: int) -> Task:
    from robodf.dedup.nearest import near
    from robodf.dedup.vectors import to_vectors

    rng = np.random.default_rng(2)
    numbers = rng.standard_normal((count, 256), np.float32)
    copies = rng.integers(0, count, count // 10)
    numbers[rng.integers(0, count, len(copies))] = numbers[copies] + 0.1
    vectors = to_vectors([pl.Series("v", numbers, dtype=pl.Array(pl.Float32, 256))], count)
    some = np.sort(rng.choice(count, min(count, ASKED), replace=False))
    lists = np.zeros((count, 1), np.int64)

    def run(engine: str) -> tuple[np.ndarray, ...]:
        with asked.during(engine):
            found = list(near(vectors, some, lists, COSINE))
        left, right, cosines = (np.concatenate(part) for part in zip(*found))
        order = np.lexsort((left, right))
        return left[order], right[order], cosines[order]

    return f"{len(some):,} of {count:,}", run


def voxels(count: int) -> Task:
    rng = np.random.default_rng(3)
    points = pl.DataFrame({
        name: rng.uniform(-side, side, count).astype(np.float32)
        for name, side in (("x", 50), ("y", 50), ("z", 5), ("intensity", 1))
    })  # fmt: skip
    cloud = pl.DataFrame({"cloud": points.to_struct().implode()})
    frame = rd.from_polars(cloud).select(rd.voxel_downsample("cloud", 0.2))

    return f"{count:,} points", lambda engine: frame.collect(engine=engine)


if __name__ == "__main__":
    sys.exit(main())
