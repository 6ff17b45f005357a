"""Finished pieces in a folder: exact, atomic, and never other rows than were written."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import struct
import subprocess
import sys
import textwrap
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from robodf.errors import FileFormatError, NoFilesError, OptionError
from robodf.physical.piece_store import PieceStore, stale

FRAMES = [pl.DataFrame({"x": range(50), "s": [f"row {i}" for i in range(50)]}),
          pl.DataFrame({"x": [], "s": []}, schema={"x": pl.Int64, "s": pl.String}),
          pl.DataFrame({"x": [7], "s": [None]}, schema={"x": pl.Int64, "s": pl.String})]  # fmt: skip


@pytest.fixture
def store(tmp_path) -> PieceStore:
    return PieceStore(tmp_path, "k1")


def _all_types() -> pl.DataFrame:
    moment = datetime(2024, 2, 29, 1, 2, 3, 456789)
    columns = {
        **{f"i{n}": pl.Series([1, None, -n], dtype=getattr(pl, f"Int{n}")) for n in (8, 16, 32, 64, 128)},
        **{f"u{n}": pl.Series([1, None, n], dtype=getattr(pl, f"UInt{n}")) for n in (8, 16, 32, 64, 128)},
        **{f"f{n}": pl.Series([-0.0, None, float("nan")], dtype=getattr(pl, f"Float{n}")) for n in (16, 32, 64)},
        "bool": pl.Series([True, None, False]),
        "text": pl.Series(["", None, "a text that is longer than twelve bytes ü"]),
        "bytes": pl.Series([b"", None, b"\0" * 20]),
        "date": pl.Series([date(2024, 2, 29), None, date(1, 1, 1)]),
        "time": pl.Series([time(1, 2, 3), None, time(23, 59, 59, 999999)]),
        **{f"at_{u}": pl.Series([moment, None, moment], dtype=pl.Datetime(u, "Europe/Berlin")) for u in ("ms", "ns")},  # type: ignore[arg-type]
        "for": pl.Series([timedelta(1), None, timedelta(microseconds=1)], dtype=pl.Duration("ns")),
        "decimal": pl.Series([Decimal("1.20"), None, Decimal("-0.01")], dtype=pl.Decimal(20, 2)),
        "cat": pl.Series(["b", None, "a"], dtype=pl.Categorical),
        "enum": pl.Series(["b", None, "a"], dtype=pl.Enum(["z", "b", "a"])),
        "null": pl.Series([None] * 3),
        "list": pl.Series([[1, None], None, []], dtype=pl.List(pl.Int16)),
        "lists": pl.Series([[["a"], []], None, [None]], dtype=pl.List(pl.List(pl.Categorical))),
        "array": pl.Series([[1, 2], None, [3, None]], dtype=pl.Array(pl.UInt8, 2)),
        "grid": pl.Series([[[1, 2]], None, [[3, 4]]], dtype=pl.Array(pl.Float32, (1, 2))),
        "struct": pl.Series([{"a": 1, "b": {"c": "x"}}, None, {"a": None, "b": None}],
                            dtype=pl.Struct({"a": pl.Int8, "b": pl.Struct({"c": pl.Enum(["x"])})})),
    }  # fmt: skip
    return pl.DataFrame(columns)


def test_every_type_comes_back_exactly(store):
    frame = _all_types()
    pieces = [frame, frame.head(0), frame.tail(2), frame.slice(1, 1)]
    store.write("s", 0, pieces)
    for bucket, expected in enumerate(pieces):
        found = store.read("s", 0, bucket)
        assert found.schema == expected.schema
        assert_frame_equal(found, expected)
    assert str(store.read("s", 0, 0)["f64"][0]) == "-0.0"
    assert_frame_equal(store.read("s", 0), pl.concat(pieces))
    assert store.rows("s", 0) == [3, 0, 2, 1]


def test_frames_without_columns_keep_their_rows(store):
    frames = [pl.DataFrame(), pl.DataFrame(height=5)]
    store.write("s", 0, frames)
    assert [store.read("s", 0, b).shape for b in (0, 1)] == [f.shape for f in frames]


def test_odd_names_and_chunks(store):
    frame = pl.concat([pl.DataFrame({"": [1], "ü\n\0": ["x" * 100]}) for _ in range(5)], rechunk=False)
    store.write("s", 0, [frame])
    assert_frame_equal(store.read("s", 0), frame)


def test_python_objects_are_refused_and_leave_nothing(store):
    frame = pl.DataFrame({"fine": [1], "thing": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(OptionError, match=r"\['thing'\] hold Python objects"):
        store.write("s", 0, [frame])
    assert store.done("s") == set()
    assert os.listdir(os.path.join(store.folder, "s")) == []
    with pytest.raises(OptionError, match="at least one bucket"):
        store.write("s", 0, [])


def test_a_bucket_is_read_without_the_others(store):
    store.write("s", 3, FRAMES)
    path = Path(store.folder, "s", "3.arrow")
    data = bytearray(path.read_bytes())
    data[10] ^= 1  # in bucket 0
    path.write_bytes(data)
    assert_frame_equal(store.read("s", 3, 2), FRAMES[2])
    with pytest.raises(FileFormatError, match="bucket 0.*checksum.*delete the folder"):
        store.read("s", 3, 0)


def test_numbers_and_names_outside(store):
    store.write("s", 0, FRAMES)
    for bucket in (-1, 3):
        with pytest.raises(OptionError, match="no bucket"):
            store.read("s", 0, bucket)
    with pytest.raises(NoFilesError, match="s/1 is not finished"):
        store.read("s", 1)
    for stage in ("../x", "", ".hidden", "a/b", "lock", "marker.json", "x" * 121, "a\n"):
        with pytest.raises(OptionError, match="a stage is a name"):
            store.write(stage, 0, FRAMES)
    for piece in (-1, True, 1.0, "0", 10**18):
        with pytest.raises(OptionError, match="a piece is a number"):
            store.write("s", piece, FRAMES)
    with pytest.raises(OptionError, match="a key is a name"):
        PieceStore(store.path, "..")


def test_done_counts_finished_pieces_alone(store):
    assert store.done("s") == set()
    for piece in (0, 12, 5):
        store.write("s", piece, FRAMES)
    for name in (".7.arrow.0123456789abcdef.tmp", "7.arrow.tmp", "x.arrow", "07.arrow", "-1.arrow", "notes"):
        Path(store.folder, "s", name).write_bytes(b"")
    assert store.done("s") == {0, 5, 12}


# -- damage -------------------------------------------------------------------------------------------------------


def _damaged(data: bytes) -> list[bytes]:
    step = max(len(data) // 50, 1)
    places = [*range(0, len(data), step), *range(len(data) - 40, len(data))]
    cut = [data[:n] for n in places]
    flipped = [data[:n] + bytes([data[n] ^ (1 << n % 8)]) + data[n + 1 :] for n in places]
    return [*cut, *flipped, data + b"\0", b"\0" * len(data), data + data]


def test_damage_is_an_error_and_never_other_rows(store):
    store.write("s", 0, FRAMES)
    path = Path(store.folder, "s", "0.arrow")
    data = path.read_bytes()
    for changed in _damaged(data):
        path.write_bytes(changed)
        with pytest.raises(FileFormatError, match="delete the folder"):
            store.read("s", 0)
        for bucket, expected in enumerate(FRAMES):
            try:
                found = store.read("s", 0, bucket)
            except FileFormatError:
                continue
            assert_frame_equal(found, expected)  # the damage is in another bucket
    path.write_bytes(data)
    assert_frame_equal(store.read("s", 0), pl.concat(FRAMES))


def test_a_piece_under_another_name_is_an_error(store, tmp_path):
    store.write("s", 0, FRAMES)
    other = PieceStore(tmp_path, "k2")
    other.write("s", 1, FRAMES)
    shutil.copy(Path(store.folder, "s", "0.arrow"), Path(other.folder, "s", "1.arrow"))
    with pytest.raises(FileFormatError, match="is the piece k1/s/0, not k2/s/1"):
        other.read("s", 1)


@pytest.mark.parametrize(
    "index",
    [
        b"[]", b"{}", b"1", b"[" * 100_000, b"\xff", b"",
        b'{"piece": "k1/s/0", "rows": [1], "ends": [1000000], "checks": [""], "schema": ""}',
        b'{"piece": "k1/s/0", "rows": [1, 2], "ends": [8], "checks": [""], "schema": ""}',
        b'{"piece": "k1/s/0", "rows": ["a"], "ends": [8], "checks": [""], "schema": ""}',
        b'{"piece": "k1/s/0", "rows": [], "ends": [], "checks": [], "schema": ""}',
        b'{"piece": "k1/s/0", "rows": [1, 1], "ends": [8, 8], "checks": ["", ""], "schema": ""}',
        b'{"piece": "k1/s/0", "rows": [1, 1], "ends": [-8, 8], "checks": ["", ""], "schema": ""}',
        b'{"piece": "k1/s/0", "rows": [1], "ends": [true], "checks": [1], "schema": ""}',
    ],
)  # fmt: skip
def test_an_index_with_a_right_checksum_is_checked_too(store, index):
    store.write("s", 0, FRAMES)
    tail = struct.pack("<Q16s8s", len(index), blake2b(index, digest_size=16).digest(), b"RDFPIEC1")
    Path(store.folder, "s", "0.arrow").write_bytes(b"\0" * 8 + index + tail)
    for ask in (store.read, store.rows):
        with pytest.raises(FileFormatError, match="delete the folder"):
            ask("s", 0)


def test_a_bucket_that_is_no_arrow_is_an_error(store):
    store.write("s", 0, FRAMES[:1])
    path = Path(store.folder, "s", "0.arrow")
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[-32:-24])[0]
    body = whole[: -32 - length]
    bodies = [
        b"x" * 100,
        body[:-50],
        body[:8] + body[200:],
        body[: len(body) // 2] + b"\xff" * 64 + body[len(body) // 2 + 64 :],
    ]
    for changed in bodies:  # an index with right checksums over bytes that Polars did not write
        said = {"piece": "k1/s/0", "rows": [50], "ends": [len(changed)], "schema": "",
                "checks": [blake2b(changed, digest_size=16).hexdigest()]}  # fmt: skip
        index = json.dumps(said).encode()
        tail = struct.pack("<Q16s8s", len(index), blake2b(index, digest_size=16).digest(), b"RDFPIEC1")
        path.write_bytes(changed + index + tail)
        with pytest.raises(FileFormatError, match="delete the folder"):
            store.read("s", 0)


# -- writers ------------------------------------------------------------------------------------------------------

CRASH = """
    import os, sys
    import polars as pl
    from robodf.physical import piece_file, piece_folder
    from robodf.physical.piece_store import PieceStore

    step = sys.argv[2]
    store = PieceStore(sys.argv[1], "k1")
    die = lambda *a, **k: os._exit(9)
    if step == "in the first bucket":
        piece_file._Summed.write = die
    elif step == "before the index":
        piece_file._check = die
    elif step == "before the flush":
        piece_folder.sync = die
    elif step == "before the rename":
        os.replace = die
    elif step == "after the rename":
        replace = os.replace
        os.replace = lambda *a: (replace(*a), os._exit(9))
    store.write("s", 0, [pl.DataFrame({"x": range(1000)}), pl.DataFrame({"x": [1]})])
    if step == "in the manifest":
        os.replace = die
        store.finish()
    os._exit(9)
"""


@pytest.mark.parametrize("before", [False, True], ids=["new", "written before"])
@pytest.mark.parametrize(
    "step",
    ["in the first bucket", "before the index", "before the flush", "before the rename", "after the rename",
     "in the manifest"],
)  # fmt: skip
def test_a_crash_leaves_a_whole_piece_or_none(tmp_path, step, before):
    store = PieceStore(tmp_path, "k1")
    frames = [pl.DataFrame({"x": range(1000)}), pl.DataFrame({"x": [1]})]
    if before:
        store.write("s", 0, frames)
    code = subprocess.run([sys.executable, "-c", textwrap.dedent(CRASH), str(tmp_path), step], cwd=_root()).returncode
    assert code == 9
    there = before or step in ("after the rename", "in the manifest")
    assert store.done("s") == ({0} if there else set())
    assert store.complete() is None
    if there:
        assert_frame_equal(store.read("s", 0, 0), frames[0])
    store.write("s", 0, frames)
    store.finish()
    assert sorted(os.listdir(Path(store.folder, "s"))) == ["0.arrow"]  # what the dead writer left is gone
    assert store.complete() is not None


def _root() -> Path:
    return Path(__file__).resolve().parents[2]


def _write_many(store: PieceStore) -> None:
    for _ in range(20):
        store.write("s", 0, FRAMES)


def test_writers_of_one_piece_at_the_same_time(store):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(store,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if 0 in store.done("s"):
            assert_frame_equal(store.read("s", 0), pl.concat(FRAMES))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert os.listdir(Path(store.folder, "s")) == ["0.arrow"]


def test_a_late_writer_whose_file_was_cleaned_away_is_no_error(store, monkeypatch):
    store.write("s", 0, FRAMES)
    replace = os.replace

    def cleaned(staged, target):
        os.unlink(staged)
        replace(staged, target)

    monkeypatch.setattr(os, "replace", cleaned)
    store.write("s", 0, FRAMES)
    with pytest.raises(FileNotFoundError):
        store.write("s", 1, FRAMES)


def test_a_full_disk_leaves_the_piece_as_it_was(store, monkeypatch):
    from robodf.physical import piece_file

    store.write("s", 0, FRAMES)

    def full(self, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(piece_file._Summed, "write", full)
        with pytest.raises((OSError, pl.exceptions.PolarsError), match="No space"):
            store.write("s", 0, FRAMES[:1])
    assert_frame_equal(store.read("s", 0), pl.concat(FRAMES))
    assert os.listdir(Path(store.folder, "s")) == ["0.arrow"]


# -- the whole ----------------------------------------------------------------------------------------------------


def test_the_manifest_says_what_is_there(store):
    for piece in range(3):
        store.write("scan", piece, FRAMES)
    store.write("final", 0, [pl.DataFrame({"n": [1]})])
    assert store.complete() is None
    made = store.finish()
    assert store.complete() == made
    assert {n: (s.pieces, s.rows, s.schema) for n, s in made.stages.items()} == {
        "scan": (3, 153, "x: Int64, s: String"),
        "final": (1, 1, "n: Int64"),
    }
    assert made.versions["polars"] == pl.__version__
    os.unlink(Path(store.folder, "scan", "1.arrow"))
    with pytest.raises(FileFormatError, match="has 2 pieces, its manifest says 3.*delete the folder"):
        store.complete()


def test_a_damaged_piece_is_found_when_the_store_is_finished(store):
    store.write("s", 0, FRAMES)
    path = Path(store.folder, "s", "0.arrow")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match="delete the folder"):
        store.finish()
    assert store.complete() is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"stages": 1}'])
def test_a_damaged_manifest_or_marker_is_an_error(store, text):
    store.write("s", 0, FRAMES)
    store.finish()
    Path(store.folder, "manifest.json").write_bytes(text)
    with pytest.raises(FileFormatError, match="delete the folder"):
        store.complete()
    Path(store.folder, "marker.json").write_bytes(text)
    with pytest.raises(FileFormatError, match="delete the folder"):
        PieceStore(store.path, "k1")


def test_a_second_store_on_the_folder_goes_on(store):
    store.write("s", 0, FRAMES)
    again = PieceStore(store.path, "k1")
    assert again.done("s") == {0}
    again.write("s", 1, FRAMES)
    assert store.done("s") == {0, 1}
    assert again.token == store.token


def _ask(data: bytes, answers) -> None:
    try:
        answers.put(pickle.loads(data).done("s"))
    except OptionError as error:
        answers.put(str(error))


def _in_another_process(store: PieceStore):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    worker = context.Process(target=_ask, args=(pickle.dumps(store), answers))
    worker.start()
    answer = answers.get(timeout=120)
    worker.join()
    return answer


def test_a_worker_sees_the_pieces(store):
    store.write("s", 4, FRAMES)
    assert len(pickle.dumps(store)) < 2000
    assert _in_another_process(store) == {4}


@pytest.mark.parametrize("how", ["absent", "of another run"])
def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path, how):
    store = PieceStore(tmp_path / "here", "k1")
    shutil.move(tmp_path / "here", tmp_path / "there")
    if how == "of another run":
        PieceStore(tmp_path / "here", "k1")
    assert "must be on storage that all nodes share" in str(_in_another_process(store))


def test_a_store_that_was_removed_is_not_made_again_by_a_late_writer(store):
    store.write("s", 0, FRAMES)
    late = pickle.loads(pickle.dumps(store))
    store.remove()
    for writer in (store, late):
        with pytest.raises(OptionError, match="storage that all nodes share"):
            writer.write("s", 1, FRAMES)
    assert not os.path.exists(store.folder)
    assert os.listdir(store.path) == []
    assert PieceStore(store.path, "k1").done("s") == set()


HOLD = """
    import sys
    from robodf.physical.piece_store import PieceStore

    with PieceStore(sys.argv[1], "k1").locked():
        print("in", flush=True)
        sys.stdin.read()
"""


def test_one_run_at_a_time_fills_a_store(tmp_path):
    store = PieceStore(tmp_path, "k1")
    code = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)]
    holder = subprocess.Popen(code, cwd=_root(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        with pytest.raises(OptionError, match=f"is being filled by process {holder.pid} of"), store.locked():
            pass
        with pytest.raises(OptionError, match="is being filled"):
            store.remove()
        holder.kill()
    with store.locked():  # a dead process holds nothing
        store.write("s", 0, FRAMES)
        with pytest.raises(OptionError, match="is being filled"), PieceStore(tmp_path, "k1").locked():
            pass
        store.remove()
    assert not os.path.exists(store.folder)


def test_stale_lists_stores_the_oldest_first(tmp_path):
    for key, age in (("new", 10), ("old", 1000)):
        store = PieceStore(tmp_path, key)
        store.write("s", 0, FRAMES)
        for root, _, names in os.walk(store.folder):
            for name in names:
                path = Path(root, name)
                changed = path.stat().st_mtime - age
                os.utime(path, (changed, changed))
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    found = stale(tmp_path)
    assert [key for key, _, _ in found] == ["old", "new"]
    sizes = {key: sum(f.stat().st_size for f in (tmp_path / key).rglob("*") if f.is_file()) for key in ("old", "new")}
    assert {key: size for key, size, _ in found} == sizes
    assert [round(age, -1) for _, _, age in found] == [1000, 10]
    assert [key for key, _, _ in stale(f"file://{tmp_path}")] == ["old", "new"]
    assert stale(tmp_path / "nothing") == []


def test_behind_a_url(tmp_path):
    url = f"memory://{tmp_path.name}/pieces"
    store = PieceStore(url, "k1")
    assert store.complete() is None
    for piece in range(2):
        store.write("s", piece, FRAMES)
        store.write("s", piece, FRAMES)
    again = pickle.loads(pickle.dumps(store))
    assert again.done("s") == {0, 1}
    assert_frame_equal(again.read("s", 1, 0), FRAMES[0])
    assert again.rows("s", 1) == [50, 0, 1]
    with store.locked():
        made = store.finish()
    assert again.complete() == made
    assert [(key, size > 1000, 0 <= age < 600) for key, size, age in stale(url)] == [("k1", True, True)]
    store.remove()
    with pytest.raises(OptionError, match="storage that all nodes share"):
        store.read("s", 0)
    assert stale(url) == []
    with pytest.raises(OptionError, match="not a chain"):
        PieceStore("zip://a::memory://b.zip", "k1")
