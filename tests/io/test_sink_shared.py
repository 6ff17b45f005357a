"""Writing one data set from many processes: exactly what one process writes, whatever is retried or dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import robodf as rd
from robodf.errors import ColumnNotFoundError, FileFormatError, NoFilesError, OptionError, SchemaError
from robodf.io import publish
from robodf.io.manifest import MANIFEST, Manifest, ManifestFile, decode
from robodf.io.sink import FORMATS, write
from robodf.io.sink_shared import shared_write, write_part

ROWS = pl.DataFrame({"i": range(40)}).with_columns(
    k=pl.Series(["a", "b", None, "é/*"] * 10),
    x=pl.col("i") % 3 - 1.0,
    text=pl.Series(["07", 'quote " comma ,', "line\nbreak", "]\n", None] * 8),
)
READ = {
    "parquet": lambda p: pl.read_parquet(p, hive_partitioning=False),
    "csv": lambda p: pl.read_csv(p, infer_schema=False),
    "ndjson": pl.read_ndjson,
    "json": pl.read_json,
    "ipc": pl.read_ipc,
}


def cut(frame: pl.DataFrame, parts: int) -> list[pl.DataFrame]:
    """The frame in partitions of nearly equal height; the last of many are empty."""
    size = -(-frame.height // max(1, parts - 1 if parts > 3 else parts))
    return [frame.slice(n * size, size) for n in range(parts)]


def shared(frames: list[pl.DataFrame], target, format: str = "parquet", **options):
    with shared_write(frames[0].schema, target, format, **options) as job:
        part = pickle.loads(pickle.dumps(job.part))
        written = [pickle.loads(pickle.dumps(write_part(part, f, n))) for n, f in enumerate(frames)]
        return job.commit(written)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def folders(folder: Path, format: str) -> dict[str, pl.DataFrame]:
    """The rows of each folder, in the order of its names."""
    found: dict[str, list[pl.DataFrame]] = {}
    for name in names(folder):
        if (folder / name).stat().st_size:
            found.setdefault(os.path.dirname(name), []).append(READ[format](folder / name))
    return {k: pl.concat(v, how="vertical_relaxed") for k, v in found.items()}


@pytest.mark.parametrize("keys", [(), ("k",), ("k", "x")], ids=["plain", "key", "keys"])
@pytest.mark.parametrize("mode", ["error", "overwrite", "append"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_directory_is_that_of_one_process(tmp_path, format, mode, keys):
    for parts in (1, 3, 8):
        one, many = tmp_path / f"one{parts}", tmp_path / f"many{parts}"
        if mode != "error":
            for target in (one, many):
                write(ROWS.head(9).lazy(), target, format, partition_by=keys)
        expected = write(ROWS.lazy(), one, format, mode=mode, partition_by=keys)
        report = shared(cut(ROWS, parts), many, format, mode=mode, partition_by=keys)
        assert report.rows == expected.rows == ROWS.height
        assert report.bytes == sum(Path(f).stat().st_size for f in report.files)
        assert report.files == tuple(sorted(report.files))
        new = {str(many / n) for n in names(many)}
        assert set(report.files) <= new
        assert mode == "append" or set(report.files) == new
        theirs, ours = folders(one, format), folders(many, format)
        assert list(ours) == list(theirs)
        for folder, rows in ours.items():
            assert_frame_equal(rows, theirs[folder])
        if parts == 1:
            assert names(many) == names(one)
            assert [(many / n).read_bytes() for n in names(many)] == [(one / n).read_bytes() for n in names(one)]
        for folder in ours:
            inside = [Path(n).name for n in names(many / folder) if "/" not in n]
            assert inside == [f"part-{n:05d}{FORMATS[format].extensions[0]}" for n in range(len(inside))]
    assert sorted(os.listdir(tmp_path)) == ["many1", "many3", "many8", "one1", "one3", "one8"]


@pytest.mark.parametrize("format", FORMATS)
def test_one_file_is_that_of_one_process(tmp_path, format):
    extension = FORMATS[format].extensions[0]
    write(ROWS.lazy(), tmp_path / f"one{extension}", format)
    for parts in (1, 3, 8):
        target = tmp_path / f"many{extension}"
        report = shared(cut(ROWS, parts), target, format, mode="overwrite")
        assert (report.rows, report.files, report.bytes) == (40, (str(target),), target.stat().st_size)
        assert_frame_equal(READ[format](target), READ[format](tmp_path / f"one{extension}"))
        if format in ("csv", "ndjson", "json"):
            assert target.read_bytes() == (tmp_path / f"one{extension}").read_bytes()
    assert len(os.listdir(tmp_path)) == 2


def test_every_type_comes_through_the_staging_of_one_file(tmp_path):
    import datetime as dt

    frame = pl.DataFrame(
        {
            "b": [b"\0\xff", None],
            "l": [[1, 2], []],
            "s": [{"a": 1, "b": [None]}, None],
            "c": pl.Series(["x", "y"], dtype=pl.Categorical),
            "e": pl.Series(["x", None], dtype=pl.Enum(["y", "x"])),
            "d": pl.Series([1, 2], dtype=pl.Decimal(10, 2)),
            "t": [dt.timedelta(1), None],
            "z": pl.Series([dt.datetime(2024, 1, 1), None], dtype=pl.Datetime("ns", "UTC")),
            "h": [dt.time(1, 2), None],
            "a": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
            "n": [None, None],
        }
    )
    shared([frame, frame.head(0), frame], tmp_path / "x.parquet")
    back = pl.read_parquet(tmp_path / "x.parquet")
    assert_frame_equal(back, pl.concat([frame, frame]))


@pytest.mark.parametrize("keys", [(), ("k",)], ids=["plain", "key"])
def test_files_are_cut_inside_a_partition(tmp_path, keys):
    out = tmp_path / "out"
    frames = cut(ROWS, 3)  # 14, 14, 12 rows
    with shared_write(ROWS.schema, out, "parquet", rows_per_file=3, partition_by=keys) as job:
        written = [write_part(job.part, f, n) for n, f in enumerate(frames)]
        assert [w.rows for w in written] == [14, 14, 12]
        area = Path(job.part.area)
        for each in written:
            for file in each.files:
                staged = area / "parts" / f"{each.number:05d}-{each.attempt}" / file.folder / file.name
                assert READ["parquet"](staged).height == file.rows <= 3
                assert staged.stat().st_size == file.bytes
        job.commit(written)
    heights = [READ["parquet"](out / n).height for n in names(out)]
    assert sum(heights) == 40
    if not keys:
        assert heights == [3, 3, 3, 3, 2, 3, 3, 3, 3, 2, 3, 3, 3, 3]


def test_zeros_of_both_signs_are_one_folder_whose_rows_are_counted(tmp_path):
    frame = pl.DataFrame({"z": [0.0, -0.0, 1.5, float("nan"), None, -0.0], "i": range(6)})
    report = shared([frame, frame.reverse()], tmp_path / "out", partition_by="z")
    assert report.rows == 12
    back = folders(tmp_path / "out", "parquet")
    assert sum(f.height for f in back.values()) == 12


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["one", "out", "keys"])
def test_no_rows_leave_what_one_process_leaves(tmp_path, format, name):
    extension = FORMATS[format].extensions[0] if name == "one" else ""
    keys = ("k",) if name == "keys" else ()
    empty = ROWS.clear()
    for target, way in ((tmp_path / "a", write), (tmp_path / "b", None)):
        target = target.with_name(target.name + extension)
        if way:
            expected = write(empty.lazy(), target, format, partition_by=keys)
        else:
            report = shared([empty, empty], target, format, partition_by=keys)
    assert (report.rows, len(report.files)) == (expected.rows, len(expected.files)) == (0, 1)
    assert [os.path.relpath(f, tmp_path)[1:] for f in report.files] == [
        os.path.relpath(f, tmp_path)[1:] for f in expected.files
    ]
    assert Path(report.files[0]).read_bytes() == Path(expected.files[0]).read_bytes()
    if name == "out":
        more = shared([empty], tmp_path / "b", format, mode="append")
        assert (more.rows, more.files) == (0, ())
    none = tmp_path / ("c" + extension)
    with shared_write(empty.schema, none, format, partition_by=keys) as job:
        assert job.commit([]).rows == 0
    assert len(names(none) if none.is_dir() else [none]) == 1


def test_attempts_that_are_not_committed_are_gone(tmp_path):
    out = tmp_path / "out"
    with shared_write(ROWS.schema, out, "parquet") as job:
        frames = cut(ROWS, 3)
        first = write_part(job.part, frames[2], 2)
        again = write_part(job.part, frames[2], 2)
        assert {f.name for f in first.files} == {f.name for f in again.files}
        assert first.attempt != again.attempt
        rest = [write_part(job.part, frames[n], n) for n in (1, 0)]
        write_part(job.part, frames[0], 7)
        with pytest.raises(RuntimeError, match="user's own"):
            write_part(job.part, frames[0].lazy().map_batches(fail), 3)
        assert len(os.listdir(Path(job.part.area, "parts"))) == 5
        job.commit([again, *rest])
    assert pl.concat([pl.read_parquet(out / n) for n in names(out)])["i"].to_list() == list(range(40))
    assert os.listdir(tmp_path) == ["out"]


def fail(frame: pl.DataFrame) -> pl.DataFrame:
    raise RuntimeError("the user's own")


def test_what_a_commit_refuses(tmp_path):
    out = tmp_path / "out"
    with shared_write(ROWS.schema, out, "parquet") as job:
        one, two = (write_part(job.part, ROWS, 0) for _ in range(2))
        with pytest.raises(OptionError, match="partition 0 twice"):
            job.commit([one, two])
        (Path(job.part.area) / "parts" / f"00000-{one.attempt}" / "part-00000.parquet").write_bytes(b"short")
        with pytest.raises(OSError, match="no longer as partition 0 was written"):
            job.commit([one])
        with pytest.raises(OptionError, match="ended"):
            job.commit([two])
    assert os.listdir(tmp_path) == []


def test_abort_leaves_nothing(tmp_path):
    for key in (None, "key"):
        job = shared_write(ROWS.schema, tmp_path / "out", "parquet", resume_key=key)
        write_part(job.part, ROWS, 0)
        job.abort()
        job.abort()
        assert os.listdir(tmp_path) == []


def test_a_worker_that_does_not_see_the_staging_area_makes_none(tmp_path):
    job = shared_write(ROWS.schema, tmp_path / "disk" / "out", "parquet")
    os.rename(tmp_path / "disk", tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"does not see .*storage that all nodes share"):
        write_part(job.part, ROWS, 0)
    assert os.listdir(tmp_path) == ["elsewhere"]
    (tmp_path / "disk").mkdir()
    with pytest.raises(OSError, match="storage that all nodes share"):
        write_part(job.part, ROWS, 0)
    assert os.listdir(tmp_path / "disk") == []
    (tmp_path / "disk").rmdir()
    os.rename(tmp_path / "elsewhere", tmp_path / "disk")
    job.abort()


def test_a_task_that_outlives_its_job_leaves_nothing(tmp_path):
    job = shared_write(ROWS.schema, tmp_path / "out", "parquet", partition_by="k")

    def ends(frame: pl.DataFrame) -> pl.DataFrame:
        job.abort()
        return frame

    with pytest.raises(OSError, match=r"storage that all nodes share|No such file"):
        write_part(job.part, ROWS.lazy().map_batches(ends), 0)
    assert os.listdir(tmp_path) == []


def test_what_is_checked_before_anything_runs(tmp_path):
    out, schema = str(tmp_path / "out"), pl.Schema({"i": pl.Int64, "tags": pl.List(pl.String), "k": pl.String})
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").write_text("x")
    for error, match, target, format, kwargs in [
        (OptionError, "did you mean 'parquet'", out, "parket", {}),
        (OptionError, "did you mean 'overwrite'", out, "parquet", {"mode": "overwite"}),
        (OptionError, "did you mean 'compression'", out, "parquet", {"options": {"compresion": "zstd"}}),
        (OptionError, "partition_by makes a directory", out + ".parquet", "parquet", {"partition_by": ["k"]}),
        (OptionError, "positive", out, "parquet", {"rows_per_file": 0}),
        (OptionError, "extension of csv", out + ".csv", "parquet", {}),
        (OptionError, "cannot be appended", out + ".parquet", "parquet", {"mode": "append"}),
        (OptionError, "resume_key", out, "parquet", {"resume_key": ""}),
        (OptionError, "one object", "memory://x/y.parquet", "parquet", {}),
        (ColumnNotFoundError, "did you mean 'tags'", out, "parquet", {"partition_by": ["tag"]}),
        (SchemaError, "CSV cannot hold column 'tags'", out, "csv", {}),
        (FileExistsError, "overwrite", str(tmp_path / "taken"), "parquet", {}),
        (OptionError, "not a data file", str(tmp_path / "taken"), "parquet", {"mode": "overwrite", "resume_key": "r"}),
    ]:
        with pytest.raises(error, match=match):
            shared_write(schema, target, format, **kwargs)
    assert os.listdir(tmp_path) == ["taken"]
    with shared_write(ROWS.schema, out, "parquet", partition_by="k") as job:
        with pytest.raises(SchemaError, match="other columns"):
            write_part(job.part, ROWS.drop("x"), 0)
        with pytest.raises(OptionError, match="mean null"):
            write_part(job.part, ROWS.with_columns(k=pl.lit("")), 0)
        for number in (-1, True, "0"):
            with pytest.raises(OptionError, match="number of a partition"):
                write_part(job.part, ROWS, number)
        assert os.listdir(Path(job.part.area, "parts")) == []


def test_what_has_changed_meanwhile_is_seen_at_commit(tmp_path):
    for target in (tmp_path / "out", tmp_path / "x.parquet"):
        with shared_write(ROWS.schema, target, "parquet") as job:
            written = write_part(job.part, ROWS, 0)
            write(ROWS.head(1).lazy(), target, "parquet")
            with pytest.raises(FileExistsError):
                job.commit([written])
        assert rd.read_parquet(target).count_rows() == 1
    with shared_write(ROWS.schema, tmp_path / "out", "parquet", mode="append") as job:
        written = write_part(job.part, ROWS, 0)
        write(pl.LazyFrame({"other": [1]}), tmp_path / "out", "parquet", mode="overwrite")
        with pytest.raises(SchemaError, match="cannot append"):
            job.commit([written])
    assert sorted(os.listdir(tmp_path)) == ["out", "x.parquet"]


def test_appends_at_once_all_arrive(tmp_path):
    out, errors = tmp_path / "out", []
    barrier = threading.Barrier(6)

    def append(n: int) -> None:
        frame = pl.DataFrame({"i": [n] * 10})
        with shared_write(frame.schema, out, "parquet", mode="append") as job:
            written = [write_part(job.part, frame.head(5), k) for k in range(2)]
            barrier.wait()
            errors.append(job.commit(written).rows)

    threads = [threading.Thread(target=append, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [10] * 6
    found = [pl.read_parquet(out / n)["i"].unique().item() for n in names(out)]
    assert sorted(found) == sorted([*range(6)] * 2)
    assert names(out) == [f"part-{n:05d}.parquet" for n in range(12)]
    assert os.listdir(tmp_path) == ["out"]


def _work(part, frame: pl.DataFrame, queue) -> None:
    queue.put(pickle.dumps([write_part(part, frame, 0) for _ in range(5)]))


def test_two_processes_write_one_partition_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    with shared_write(ROWS.schema, tmp_path / "out", "parquet", partition_by="k", resume_key="r") as job:
        queue = context.SimpleQueue()
        workers = [context.Process(target=_work, args=(job.part, ROWS, queue)) for _ in range(2)]
        for worker in workers:
            worker.start()
        attempts = [w for _ in workers for w in pickle.loads(queue.get())]
        for worker in workers:
            worker.join()
        assert len({a.attempt for a in attempts}) == 10
        assert job.done()[0] in attempts
        job.commit([attempts[3]])
    assert sum(f.height for f in folders(tmp_path / "out", "parquet").values()) == 40
    assert os.listdir(tmp_path) == ["out"]


# ---- resuming


def test_done_gives_what_a_dead_driver_had(tmp_path):
    out, frames = tmp_path / "out", cut(ROWS, 3)
    first = shared_write(ROWS.schema, out, "parquet", resume_key="job")
    with pytest.raises(OptionError, match="same resume_key"):
        shared_write(ROWS.schema, out, "parquet", resume_key="job")
    written = {n: write_part(first.part, frames[n], n) for n in (0, 2)}
    write_part(first.part, frames[1], 1)
    assert list(first.done()) == [0, 1, 2]
    lost = Path(first.part.area, "parts")
    for name in os.listdir(lost):
        if name.startswith("00001-"):
            (lost / name / "part-00000.parquet").unlink()
    first.close()  # what the death of a driver does too: the lock is let go
    write(ROWS.head(1).lazy(), out, "parquet")  # a write without a key leaves it
    with shared_write(ROWS.schema, out, "parquet", mode="append", resume_key="job") as second:
        assert second.done() == written
        with pytest.raises(OSError, match="has ended"):
            write_part(first.part, frames[1], 1)  # a task of the dead driver's run
    with shared_write(ROWS.schema, out, "parquet", mode="append", resume_key="job") as last:
        done = last.done()
        done[1] = write_part(last.part, frames[1], 1)
        report = last.commit([*done.values()])
    assert report.rows == 40
    assert pl.concat([pl.read_parquet(out / n) for n in names(out)])["i"].to_list() == [0, *range(40)]
    assert os.listdir(tmp_path) == ["out"]


def test_areas_of_other_keys_and_old_ones_are_removed(tmp_path):
    out = tmp_path / "out"

    def leave(key: str, **options) -> Path:
        job = shared_write(ROWS.schema, out, "parquet", resume_key=key, mode="overwrite", **options)
        write_part(job.part, ROWS, 0)
        job.close()
        return Path(job.part.area)

    area = leave("a")
    assert area.is_dir()
    write(ROWS.lazy(), out, "parquet")
    assert area.is_dir()
    for path in (area, *area.iterdir()):
        os.utime(path, (0, 0))
    write(ROWS.lazy(), out, "parquet", mode="overwrite")
    assert not area.exists()
    area, other = leave("a"), leave("a", rows_per_file=7)
    assert not area.exists(), "other settings are another job"
    shared_write(ROWS.schema, out, "parquet", resume_key="c", mode="overwrite").close()
    assert not other.exists()
    assert os.listdir(tmp_path) == ["out"], "nothing was written under the key c"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"files": 1}', '{"number": 0, "attempt": "../x", "files": []}',
             '{"number": 0, "attempt": "ab", "files": [{"folder": "", "name": "../x", "rows": 1, "bytes": 1}]}',
             '{"number": -1, "attempt": "ab", "files": []}'])  # fmt: skip
def test_a_record_that_is_none(tmp_path, text):
    with shared_write(ROWS.schema, tmp_path / "out", "parquet", resume_key="a") as job:
        Path(job.part.area, "done", "0.json").write_text(text)
        with pytest.raises(FileFormatError, match=r"0\.json"):
            job.done()
        job.abort()


# ---- crashes

DYING = """
import os, shutil, sys, pickle
import polars as pl
from robodf.io import publish, sink, sink_part, sink_shared
target, mode, key, step = sys.argv[1], sys.argv[2], sys.argv[3] or None, int(sys.argv[4])
steps = 0
def dying(call):
    def run(*args, **kwargs):
        global steps
        result = None
        if steps == step:
            os._exit(9)
        steps += 1
        return call(*args, **kwargs)
    return run
for where, name in [(os, "rename"), (os, "replace"), (os, "link"), (os, "mkdir"), (publish, "swap"), (publish, "sync"),
                    (shutil, "rmtree"), (sink_part, "write_files"), (sink_shared, "publish_parts")]:
    setattr(where, name, dying(getattr(where, name)))
frames = [pl.DataFrame({"i": range(n * 10, n * 10 + 10), "s": ["new"] * 10}) for n in range(3)]
keys = () if target.endswith(".parquet") else ("s",)
with sink_shared.shared_write(frames[0].schema, target, "parquet", mode=mode, resume_key=key,
                              partition_by=keys if mode != "overwrite" else ()) as job:
    done = job.done() if key else {}
    written = [done.get(n) or sink_part.write_part(job.part, f, n) for n, f in enumerate(frames)]
    job.commit(written)
print("steps", steps)
"""


def dies(target: Path, mode: str, key: str, step: int) -> subprocess.CompletedProcess:
    args = [sys.executable, "-c", DYING, str(target), mode, key, str(step)]
    return subprocess.run(args, capture_output=True, text=True, cwd=Path(publish.__file__).parents[2])


CASES = [("out", "overwrite"), ("out", "append"), ("out", "error"), ("x.parquet", "overwrite"), ("x.parquet", "error")]


@pytest.mark.parametrize("steps", [3, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize("key", ["", "resume"])
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_driver_that_dies_at_any_step(tmp_path, name, mode, key, steps):
    """A few of the steps, more of the last ones; each one in the slow run."""
    target = tmp_path / name
    old = pl.LazyFrame({"i": range(5), "s": ["old"] * 5})
    keys = ("s",) if name == "out" and mode != "overwrite" else ()

    def before() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.unlink(missing_ok=True)
        if mode != "error":
            write(old, target, "parquet", partition_by=keys)

    def found() -> tuple[int, int]:
        if not target.exists():
            return 0, 0
        files = [target] if target.is_file() else sorted(target.rglob("*.parquet"))
        rows = pl.concat([pl.read_parquet(f, hive_partitioning=bool(keys)).select("i", "s") for f in files])
        new = rows.filter(pl.col("s") == "new")["i"]
        assert new.to_list() in ([], list(range(30)))
        return rows.height - new.len(), new.len()

    was = (0, 0) if mode == "error" else (5, 0)
    after = {"error": (0, 30), "overwrite": (0, 30), "append": (5, 30)}[mode]
    before()
    said = dies(target, mode, key, 10**9)
    assert said.returncode == 0, said.stderr
    assert found() == after
    assert os.listdir(tmp_path) == [name]
    count = int(said.stdout.split()[1])
    moments = random.Random(name + mode + key)
    last = range(count - 12, count)  # where the target changes
    some = range(count) if steps > count else [moments.randrange(count - 12), *moments.sample(last, steps)]
    for step in some:
        before()
        process = dies(target, mode, key, step)
        assert process.returncode == 9, process.stderr
        assert found() in (was, after)
        if key:
            committed = found() == after
            open_job = any("-resume-" in n for n in os.listdir(tmp_path))
            again = dies(target, mode, key, 10**9)
            if committed and not open_job:  # the job had ended: the same key is that of a new one
                assert again.returncode == 0 or "FileExistsError" in again.stderr, again.stderr
            else:
                assert again.returncode == 0, again.stderr
                assert found() == after
        before()
        write(old, target, "parquet", mode="overwrite", partition_by=keys)
        assert os.listdir(tmp_path) == [name]


# ---- manifests

GOOD = {"version": 1, "format": "parquet", "partition_by": [], "columns": [["i", "Int64"]], "files": []}


@pytest.fixture
def listed(tmp_path) -> Path:
    write(pl.LazyFrame({"i": range(6)}), tmp_path / "set", "parquet", rows_per_file=2)
    return tmp_path / "set"


def put(folder: Path, *paths: object, **more: object) -> None:
    files = [p if isinstance(p, dict) else {"path": p, "rows": 2, "bytes": 1} for p in paths]
    (folder / MANIFEST).write_text(json.dumps({**GOOD, "files": files, **more}))


def test_a_manifest_says_which_files_and_in_which_order(listed):
    put(listed, "part-00002.parquet", "part-00000.parquet")
    assert rd.read_parquet(listed).collect()["i"].to_list() == [4, 5, 0, 1]
    assert rd.read(listed).collect()["i"].to_list() == [4, 5, 0, 1]
    with pytest.raises(NoFilesError, match=r"\.csv"):
        rd.read_csv(listed)
    put(listed, "part-00007.parquet")
    with pytest.raises(NoFilesError, match=r"part-00007\.parquet.*not complete"):
        rd.read_parquet(listed)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../set/part-00000.parquet", "a/../../x.parquet", "", ".", "a//b.parquet", "s3://b/x.parquet", 7,
     "*.parquet", "part-0000[01].parquet", "a\\b.parquet", "a\0.parquet", "zip://x::y.parquet", None, MANIFEST,
     "%2e%2e/x.parquet", {"path": "x.parquet", "rows": -1, "bytes": 1}, {"path": "x.parquet", "rows": True, "bytes": 1},
     {"path": "x.parquet", "rows": 1.5, "bytes": 1}, {"path": "x.parquet"}],
)  # fmt: skip
def test_a_manifest_leads_nowhere_else(listed, path):
    put(listed, path)
    with pytest.raises(FileFormatError, match=MANIFEST):
        rd.read_parquet(listed)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not a manifest"),
        ("[" * 100_000, "not a manifest"),
        ("[]", "no object"),
        ("{}", "version is None"),
        (json.dumps({**GOOD, "version": True}), "version is True"),
        (json.dumps({**GOOD, "version": 2}), "newer robodf"),
        (json.dumps({**GOOD, "files": {}}), "'files'"),
        (json.dumps({**GOOD, "files": [1]}), "'files'"),
        (json.dumps({**GOOD, "columns": [["a"]]}), "'columns'"),
        (json.dumps({**GOOD, "partition_by": "k"}), "'partition_by'"),
        (json.dumps({**GOOD, "files": [{"path": "a.parquet", "rows": 1, "bytes": 1}] * 2}), "twice"),
    ],
)
def test_a_manifest_that_is_none(listed, text, match):
    (listed / MANIFEST).write_text(text)
    with pytest.raises(FileFormatError, match=match):
        rd.read_parquet(listed)
    (listed / MANIFEST).write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match=MANIFEST):
        rd.read_parquet(listed)


def test_a_manifest_comes_back():
    one = Manifest("csv", ("k",), (("k", "String"), ("é", "Int64")), (ManifestFile("k=a%20b/é.csv", 3, 10),))
    assert decode(one.encode(), "x") == one


def test_a_local_copy_with_a_manifest_is_not_appended_to(listed):
    put(listed, "part-00000.parquet")
    with pytest.raises(OptionError, match="manifest"):
        write(pl.LazyFrame({"i": [1]}), listed, "parquet", mode="append")
