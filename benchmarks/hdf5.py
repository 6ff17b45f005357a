"""Reading HDF5 demonstrations beside h5py: opening 10,000 demos, one column of them, a hundredth of the rows."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl

import robodf as rd
from benchmarks.measure import DATA, SHARED, Pair, Report, alternate, arguments, human, version
from robodf.io.counting import read

HEAD = ["file", "query", "ours, s", "h5py, s", "times faster", "least to greatest"]


def demos(count: int, **options: Any) -> Path:
    """A file as Isaac Lab writes it: `count` demos of 50 to 150 steps, eight datasets in five groups each."""
    path = DATA / f"demos_{count}_{options.get('compression', 'plain')}.hdf5"
    if path.exists():
        return path
    DATA.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    part = path.with_suffix(".part")
    with h5py.File(part, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = 0
        for k in range(count):
            steps = int(random.integers(50, 150))
            demo = data.create_group(f"demo_{k}")
            demo.attrs["num_samples"], demo.attrs["success"] = steps, bool(k % 3)
            sizes = {"actions": 7, "obs/joint_pos": 9, "obs/joint_vel": 9, "obs/eef_pos": 3, "obs/eef_quat": 4,
                     "obs/gripper_pos": 2, "states/articulation/robot/root_pose": 7}  # fmt: skip
            for name, width in sizes.items():
                demo.create_dataset(name, data=random.random((steps, width), "f4"), **options)
            demo["initial_state/articulation/robot/root_pose"] = random.random((1, 7), "f4")
    part.rename(path)
    return path


def forgotten(path: Path) -> Path:
    """The same file, of which robodf has kept nothing: what it knows is by the time of change."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000))
    return path


# -- what h5py's users write ----------------------------------------------------------------------------------


def lengths(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return np.array([len(file[f"data/demo_{k}/actions"]) for k in range(len(file["data"]))])


def whole(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return np.concatenate([file[f"data/demo_{k}/actions"][:] for k in range(len(file["data"]))])


def first_steps(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return np.concatenate([file[f"data/demo_{k}/actions"][:1] for k in range(len(file["data"]))])


def some_demos(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return np.concatenate([file[f"data/demo_{k}/actions"][:] for k in range(0, len(file["data"]), 100)])


def successes(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        groups = (file[f"data/demo_{k}"] for k in range(len(file["data"])))
        return np.concatenate([g["obs/eef_pos"][:] for g in groups if g.attrs["success"]])


# -- the same through robodf ----------------------------------------------------------------------------------


def ours_lengths(path: Path) -> np.ndarray:
    steps = rd.read_hdf5(path).select("episode_index").collect()
    return steps.group_by("episode_index", maintain_order=True).len()["len"].to_numpy()


def ours_whole(path: Path) -> np.ndarray:
    return rd.read_hdf5(path).select("actions").collect()["actions"].to_numpy()


def ours_first_steps(path: Path) -> np.ndarray:
    return rd.read_hdf5(path).filter(rd.col("step") < 1).select("actions").collect()["actions"].to_numpy()


def ours_some_demos(path: Path) -> np.ndarray:
    df = rd.read_hdf5(path).filter(rd.col("episode_index") % 100 == 0)
    return df.select("actions").collect()["actions"].to_numpy()


def ours_successes(path: Path) -> np.ndarray:
    return rd.read_hdf5(path).filter(rd.col("episode_success")).select("obs_eef_pos").collect().to_series().to_numpy()


Way = Callable[[Path], np.ndarray]
QUERIES: dict[str, tuple[Way, Way]] = {
    "lengths of all demos": (ours_lengths, lengths),
    "one column": (ours_whole, whole),
    "1%: the first step of each demo": (ours_first_steps, first_steps),
    "1%: each hundredth demo": (ours_some_demos, some_demos),
    "a column of demos with success": (ours_successes, successes),
}


def _figures(pair: Pair) -> list[str]:
    inverse = [1 / r for r in pair.ratios]
    return [
        f"{statistics.median(pair.ours):.3f}",
        f"{statistics.median(pair.theirs):.3f}",
        f"{pair.times_faster:.1f}",
        f"{min(inverse):.1f} to {max(inverse):.1f}",
    ]


def compare(report: Report, files: dict[str, Path], rounds: int) -> None:
    table, goals = [], []
    for name, path in files.items():
        for query, (ours, theirs) in QUERIES.items():
            assert np.array_equal(ours(path), theirs(path)), (name, query)
            cold = alternate(lambda: ours(forgotten(path)), lambda: theirs(path), rounds, warm_up=0)  # noqa: B023
            table.append([name, query, *_figures(cold)])
            again = alternate(lambda: ours(path), lambda: theirs(path), rounds)  # noqa: B023 - runs at once
            table.append([name, f"{query}, again", *_figures(again)])
            if query in ("one column", "1%: the first step of each demo"):
                goals.append(cold.times_faster)
    report.table(HEAD, table)
    report.say(f"Least figure of one column and of the first steps, opened anew: **{min(goals):.1f}** (the goal: 5).\n")


def bytes_read(report: Report, files: dict[str, Path]) -> None:
    report.say("## Bytes read\n")
    table = []
    for name, path in files.items():
        for query, (ours, _) in QUERIES.items():
            forgotten(path)
            first, chunks = read.bytes, read.chunks
            ours(path)
            cold, decoded = read.bytes - first, read.chunks - chunks
            ours(path)
            again = read.bytes - first - cold
            size = path.stat().st_size
            table.append([name, query, human(size), human(cold), human(again), decoded])
    report.table(["file", "query", "size", "read, opened anew", "read again", "chunks decompressed"], table)


def real(report: Report, rounds: int) -> None:
    path = SHARED / "hdf5" / "isaaclab_snake_dataset.hdf5"
    report.say("## A real recording of Isaac Lab\n")
    if not path.exists():
        report.say(f"{path.name} is left out: there is no {SHARED}.\n")
        return
    with h5py.File(path) as file:
        names = sorted(file["data"], key=lambda name: int(name.split("_")[1]))

    def theirs() -> np.ndarray:
        with h5py.File(path) as file:
            return np.concatenate([file[f"data/{name}/actions"][:] for name in names])

    def ours() -> pl.DataFrame:
        return rd.read_hdf5(path).select("actions").collect()

    assert np.array_equal(ours()["actions"].to_numpy(), theirs())
    pair = alternate(ours, theirs, rounds)
    report.say(f"{len(names)} demos, {len(theirs())} steps: so few objects that h5py's cost of each does not show.\n")
    report.table(HEAD, [[path.name, "one column, again", *_figures(pair)]])


def main() -> None:
    options = arguments(__doc__, demos=0, rounds=0)
    count = options.demos or (10_000 if options.full else 1_000)
    rounds = options.rounds or (5 if options.full else 3)
    report = Report("hdf5", "Reading HDF5 demonstrations", options)
    plain, gzip = demos(count), demos(count, compression="gzip")
    files = {f"{count:,} demos, contiguous": plain, f"{count:,} demos, gzip": gzip}
    report.say(
        f"`robodf.read_hdf5(path)...collect()`, from the path to the values, against loops over h5py {version('h5py')} "
        "as its users write them (`[file[f'data/demo_{k}/actions'][:] for k in ...]`, concatenated). The values are "
        "compared. The first line of each query opens the file anew: robodf has kept nothing of it. `again` is a later "
        "query of the same process, which knows where the demos are. Daft is no peer: 0.7.26 reads the keys, "
        "attributes and metadata of HDF5 files, and values only in a user's function over h5py.\n"
    )
    with rd.config(progress=False):
        compare(report, files, rounds)
        bytes_read(report, files)
        real(report, rounds)
    report.end()


if __name__ == "__main__":
    main()
