"""Writers that are killed, stopped, out of disk or two at once: the target is one data set, whole."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from robodf.io import publish
from robodf.io.sink import write

OLD, NEW = 500, 40_000  # rows: which of the two is there tells whose data it is

# Writes NEW rows, slowly, in 40 batches, so that a kill falls anywhere between the start and the clean-up.
WRITER = """
import sys, time
import polars as pl
from polars.io.plugins import register_io_source
from robodf.io.sink import write

def source(with_columns, predicate, n_rows, batch_size):
    for start in range(0, 40_000, 1000):
        time.sleep(0.005)
        i = pl.int_range(start, start + 1000, eager=True)
        yield pl.DataFrame({"i": i, "k": i % 4, "s": ["new"] * 1000})

schema = {"i": pl.Int64, "k": pl.Int64, "s": pl.String}
frame = register_io_source(source, schema=schema)
print("ready", flush=True)
target, mode, key = sys.argv[1:4]
write(frame, target, "parquet", mode=mode, partition_by=[key] if key else (),
      rows_per_file=None if target.endswith(".parquet") else 3000)
print("done", flush=True)
"""


def old() -> pl.LazyFrame:
    i = pl.int_range(OLD, eager=True)
    return pl.LazyFrame({"i": i, "k": i % 4, "s": ["old"] * OLD})


def rows(target: Path) -> tuple[int, int]:
    """How many old and new rows are at the target; all of them are read."""
    files = [target] if target.is_file() else sorted(target.rglob("*.parquet"))
    each = [pl.read_parquet(f, hive_partitioning=False).select("i", "s") for f in files]
    found = pl.concat(each)
    for text, count in (("old", OLD), ("new", NEW)):
        ids = found.filter(pl.col("s") == text)["i"]
        assert ids.len() in (0, count)
        assert ids.n_unique() == ids.len()
    return found.filter(pl.col("s") == "old").height, found.filter(pl.col("s") == "new").height


def left(folder: Path) -> list[str]:
    return [n for n in os.listdir(folder) if ".robodf-" in n]


def start(target: Path, mode: str, key: str = "", **kwargs) -> subprocess.Popen:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(publish.__file__).parents[2]),
        "POLARS_MAX_THREADS": "2",
    }
    args = [sys.executable, "-c", WRITER, str(target), mode, key]
    return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **kwargs)


@pytest.mark.parametrize(
    ("name", "mode", "key"),
    [
        ("x.parquet", "overwrite", ""),
        ("out", "overwrite", ""),
        ("out", "append", ""),
        ("out", "overwrite", "k"),
    ],
    ids=["file", "directory", "append", "partitions"],
)
def test_a_killed_writer_leaves_the_old_or_the_new(tmp_path, name, mode, key):
    target = tmp_path / name
    keys = [key] if key else ()
    write(old(), target, "parquet", partition_by=keys)
    after = (OLD, NEW) if mode == "append" else (0, NEW)
    stale = 0
    moments = random.Random(name + mode + key)
    for _ in range(10):
        process = start(target, mode, key)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0, 0.45))
        process.kill()
        process.communicate()
        stale += len(left(tmp_path))
        assert rows(target) in ((OLD, 0), after)
        write(old(), target, "parquet", mode="overwrite", partition_by=keys)
        assert rows(target) == (OLD, 0)
        assert os.listdir(tmp_path) == [name]
    assert stale, "no kill fell into a write: the test has lost its aim"


@pytest.mark.parametrize("step", range(12))
@pytest.mark.parametrize(("mode", "key"), [("overwrite", ""), ("append", ""), ("append", "k")])
def test_a_kill_at_each_step_of_publishing(tmp_path, mode, key, step):
    """The random kills above seldom fall into the last milliseconds: here each call that changes a name."""
    target = tmp_path / "out"
    keys = [key] if key else ()
    write(old(), target, "parquet", partition_by=keys)
    code = f"""
import os, shutil
from robodf.io import publish
left = {step}
def dying(call):
    def run(*args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        return call(*args, **kwargs)
    return run
os.rename, os.link, os.fsync = dying(os.rename), dying(os.link), dying(os.fsync)
publish.swap, shutil.rmtree = dying(publish.swap), dying(shutil.rmtree)
import polars as pl
from robodf.io.sink import write
i = pl.int_range({NEW}, eager=True)
write(pl.LazyFrame({{"i": i, "k": i % 4, "s": ["new"] * {NEW}}}), {str(target)!r}, "parquet", mode={mode!r},
      partition_by={keys!r}, rows_per_file=20_000)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=Path(publish.__file__).parents[2])
    assert process.returncode in (0, -9), process.stderr.decode()
    assert rows(target) in ((OLD, 0), (OLD, NEW) if mode == "append" else (0, NEW))
    write(old(), target, "parquet", mode="overwrite", partition_by=keys)
    assert rows(target) == (OLD, 0)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["x.parquet", "out"])
def test_an_interrupt_leaves_the_old_and_no_staging(tmp_path, name):
    target = tmp_path / name
    write(old(), target, "parquet")
    process = start(target, "overwrite")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert "done" not in out
    assert "KeyboardInterrupt" in error
    assert rows(target) == (OLD, 0)
    assert os.listdir(tmp_path) == [name]


def limit_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@pytest.mark.parametrize(("name", "mode", "key"), [("x.parquet", "overwrite", ""), ("out", "append", "k")])
def test_a_file_size_limit_leaves_the_old(tmp_path, name, mode, key):
    target = tmp_path / name
    write(old(), target, "parquet", partition_by=[key] if key else ())
    process = start(target, mode, key, preexec_fn=limit_files)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"cannot write {target}, which is left as it was: File too large" in error
    assert rows(target) == (OLD, 0)
    assert os.listdir(tmp_path) == [name]


@pytest.fixture
def small_disk(tmp_path):
    """A real filesystem of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small filesystem needs rights that this user lacks")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("format", ["parquet", "csv", "ndjson", "json", "ipc"])
@pytest.mark.parametrize("single", [True, False], ids=["file", "directory"])
def test_a_full_disk_leaves_the_old(small_disk, format, single):
    target = small_disk / (f"x.{format}" if single else "out")
    write(old(), target, format)
    before = {p: p.read_bytes() for p in small_disk.rglob("*") if p.is_file()}
    big = pl.select(i=pl.int_range(400_000).hash()).lazy()
    with pytest.raises(OSError, match=f"cannot write {target}") as caught:
        write(big, target, format, mode="overwrite", rows_per_file=None if single else 100_000)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(target)
    assert {p: p.read_bytes() for p in small_disk.rglob("*") if p.is_file()} == before
    assert not left(small_disk)


def test_a_folder_without_permission_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    if os.access(closed, os.W_OK):
        target = Path("/proc/robodf/x.parquet")  # root may write everywhere else
        if not target.parents[1].is_dir():
            pytest.skip("this user may write everywhere")
    else:
        target = closed / "x.parquet"
    with pytest.raises(OSError, match=f"cannot write {target}"):
        write(old(), target, "parquet")


def test_a_key_too_long_for_a_folder_names_the_target(tmp_path):
    frame = pl.LazyFrame({"k": ["a" * 300], "i": [1]})
    with pytest.raises(OSError, match=f"cannot write {tmp_path / 'out'}.*name too long"):
        write(frame, tmp_path / "out", "parquet", partition_by="k")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["x.parquet", "out"])
def test_two_processes_at_once_leave_one_whole(tmp_path, name):
    target = tmp_path / name
    write(old(), target, "parquet")
    both = [start(target, "overwrite") for _ in range(2)]
    for process in both:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    assert rows(target) == (0, NEW)
    assert os.listdir(tmp_path) == [name]


def together(count: int, body) -> list[BaseException | None]:
    """Run `body(n)` in threads that pass a barrier together; the errors, by number."""
    barrier, errors = threading.Barrier(count), [None] * count

    def run(n: int) -> None:
        barrier.wait()
        try:
            body(n)
        except FileExistsError as error:
            errors[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_appends_at_once_all_arrive(tmp_path):
    target = tmp_path / "out"
    together(8, lambda n: write(pl.LazyFrame({"i": [n] * 10}), target, "parquet", mode="append"))
    found = [pl.read_parquet(target / name)["i"].unique().item() for name in sorted(os.listdir(target))]
    assert sorted(found) == list(range(8))
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["x.parquet", "out"])
def test_of_writers_that_may_not_replace_one_wins(tmp_path, name):
    target = tmp_path / name
    errors = together(6, lambda n: write(pl.LazyFrame({"i": [n] * 10}), target, "parquet"))
    won = [n for n, error in enumerate(errors) if error is None]
    assert len(won) == 1
    assert pl.read_parquet(target)["i"].to_list() == won * 10
    assert os.listdir(tmp_path) == [name]


def test_readers_always_find_the_target(tmp_path):
    target = tmp_path / "out"
    write(old(), target, "parquet")
    stop, missing = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if not target.is_dir():
                missing.append(time.monotonic())

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(50):
        write(old(), target, "parquet", mode="overwrite")
    stop.set()
    thread.join()
    assert missing == []


def test_the_staging_of_a_living_writer_is_not_removed(tmp_path):
    target = tmp_path / "x.parquet"
    with publish.staging(target) as area:
        (area / "file").write_text("half")
        write(old(), target, "parquet")
        assert (area / "file").read_text() == "half"
    assert os.listdir(tmp_path) == ["x.parquet"]


def test_only_our_own_leftovers_are_removed(tmp_path):
    stale, other = tmp_path / f".x.parquet.robodf-{'0' * 16}", tmp_path / f".y.parquet.robodf-{'0' * 16}"
    user = tmp_path / ".x.parquet.robodf-notes"
    for folder in (stale, other, user):
        folder.mkdir()
        (folder / "file").write_text("x")
    os.symlink(user, tmp_path / f".x.parquet.robodf-{'1' * 16}")
    write(old(), tmp_path / "x.parquet", "parquet")
    assert not stale.exists()
    assert (other / "file").exists()
    assert (user / "file").exists()
