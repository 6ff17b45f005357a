"""Random access to files, and what users name by paths, globs, directories and lists."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import fsspec
import pytest

from robodf.errors import FileFormatError, NoFilesError, OptionError
from robodf.io.files import fingerprint, list_files, open_file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = ["run_10.mcap", "run_9.mcap", "run_2.MCAP", "notes.txt", "sub/a.mcap", "sub/deep/b.mcap"]
    names += [".hidden.mcap", "_tmp.mcap", ".git/c.mcap", "_delta/d.mcap", "odd[1].mcap"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def relative(found: list[str], root: Path) -> list[str]:
    return [os.path.relpath(p, root) for p in found]


def test_a_directory_is_searched_in_natural_order(tree: Path):
    want = ["odd[1].mcap", "run_2.MCAP", "run_9.mcap", "run_10.mcap", "sub/a.mcap", "sub/deep/b.mcap"]
    assert relative(list_files(tree, (".mcap",)), tree) == want


def test_globs(tree: Path):
    assert relative(list_files(f"{tree}/run_*.mcap", (".mcap",)), tree) == ["run_9.mcap", "run_10.mcap"]
    assert relative(list_files(f"{tree}/**/*.mcap", (".mcap",)), tree)[-2:] == [
        "sub/a.mcap",
        "sub/deep/b.mcap",
    ]
    assert relative(list_files(f"{tree}/*.txt", (".mcap",)), tree) == ["notes.txt"]
    assert "notes.txt" not in relative(list_files(f"{tree}/*", (".mcap",)), tree)
    assert relative(list_files(f"{tree}/**", (".mcap",)), tree)[-1] == "sub/deep/b.mcap"
    assert relative(list_files(f"{tree}/su?", (".mcap",)), tree) == ["sub/a.mcap", "sub/deep/b.mcap"]


def test_a_name_with_brackets_is_first_a_name(tree: Path):
    assert relative(list_files(tree / "odd[1].mcap", (".mcap",)), tree) == ["odd[1].mcap"]


def test_a_list_keeps_its_order_and_each_file_once(tree: Path):
    found = list_files([tree / "sub", f"{tree}/run_10.mcap", str(tree / "sub" / "a.mcap")], (".mcap",))
    assert relative(found, tree) == ["sub/a.mcap", "sub/deep/b.mcap", "run_10.mcap"]


def test_home_and_file_urls(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tree))
    assert list_files("~/run_9.mcap", (".mcap",)) == [str(tree / "run_9.mcap")]
    assert list_files(f"file://{tree}/run_9.mcap", (".mcap",)) == [str(tree / "run_9.mcap")]
    with open_file(f"file://{tree}/run_9.mcap") as file:
        assert file.read_at(0, 1) == b"x"


def test_a_link_to_a_folder_above_ends(tree: Path):
    (tree / "sub" / "loop").symlink_to(tree)
    assert len(list_files(tree, (".mcap",))) == 6


def test_errors_say_what_is_there(tree: Path):
    with pytest.raises(NoFilesError, match=r"did you mean 'run_9.mcap'"):
        list_files(tree / "run_9.mcp", (".mcap",))
    with pytest.raises(NoFilesError, match="there is no folder"):
        list_files(tree / "no" / "where" / "a.mcap", (".mcap",))
    with pytest.raises(NoFilesError, match=r"no \.bag, \.db3 file in .*it holds notes.txt, .*run_9.mcap"):
        list_files(tree, (".bag", ".db3"))
    with pytest.raises(NoFilesError, match="matches"):
        list_files(f"{tree}/*.bag", (".bag",))
    (tree / "empty").mkdir()
    with pytest.raises(NoFilesError, match="it is empty"):
        list_files(tree / "empty", (".bag",))
    for nothing in ([], ""):
        with pytest.raises(NoFilesError):
            list_files(nothing, (".bag",))
    for wrong in ([b"a.bag"], [3], "a\0b"):
        with pytest.raises(OptionError):
            list_files(wrong, (".bag",))
    with pytest.raises(NoFilesError, match="is a directory"):
        open_file(tree)
    with pytest.raises(NoFilesError, match="no file"):
        open_file(tree / "gone")
    with pytest.raises(NoFilesError, match="no file"):
        fingerprint(tree / "gone")


@pytest.mark.parametrize("remote", [False, True])
def test_many_pieces_are_read_one_after_the_other(tmp_path: Path, remote: bool):
    name = tmp_path / "a.bin"
    name.write_bytes(bytes(range(100)))
    where = str(name)
    if remote:
        fsspec.filesystem("memory").pipe("/robodf-pieces.bin", name.read_bytes())
        where = "memory://robodf-pieces.bin"
    with open_file(where) as file:
        out = bytearray(7)
        file.read_into([90, 3, 50], [2, 0, 5], memoryview(out))
        assert bytes(out) == bytes([90, 91, 50, 51, 52, 53, 54])
        assert file.bytes_read == 7
        with pytest.raises(FileFormatError, match="needs 5 bytes at offset 97"):
            file.read_into([0, 97], [2, 5], memoryview(out))
        if not remote:
            os.truncate(name, 51)
            with pytest.raises(FileFormatError, match="got 3 of 7 bytes"):
                file.read_into([0, 50], [2, 5], memoryview(out))


def test_reads_are_exact_and_counted(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(100)))
    with open_file(path) as file:
        assert (file.path, file.size) == (str(path), 100)
        assert file.read_at(10, 5) == bytes(range(10, 15))
        assert file.read_at(100, 0) == b""
        for offset, length in [(96, 5), (101, 0), (-1, 2), (0, -1), (1 << 70, 1), (0, 1 << 70)]:
            with pytest.raises(FileFormatError, match=r"a\.bin"):
                file.read_at(offset, length)
        assert (file.reads, file.bytes_read) == (1, 5)
        path.write_bytes(b"short")
        with pytest.raises(FileFormatError, match="shrank"):
            file.read_at(50, 10)
    with pytest.raises(ValueError, match="closed"):
        file.read_at(0, 1)


def test_threads_share_a_reader(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(100_000))
    whole = path.read_bytes()
    wrong = []
    with open_file(path) as file:

        def work(seed: int) -> None:
            for i in range(500):
                at = (seed * 7919 + i * 104729) % 99_000
                if file.read_at(at, 1000) != whole[at : at + 1000]:
                    wrong.append(at)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (wrong, file.reads, file.bytes_read) == ([], 2000, 2_000_000)


def test_fingerprint_changes_with_the_file(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    os.utime(path, ns=(1, 1))
    before = fingerprint(path)
    path.write_bytes(b"xyz")
    assert before == (3, 1)
    assert fingerprint(path) != before


def test_remote_files(tmp_path: Path):
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    for name in ("logs/run_10.mcap", "logs/run_9.mcap", "logs/_tmp/x.mcap", "logs/a.txt", "logs/sub/z.mcap"):
        fs.pipe_file(f"/{name}", b"0123456789")
    root = "memory://logs"
    want = [f"memory:///logs/{n}" for n in ("run_9.mcap", "run_10.mcap", "sub/z.mcap")]
    assert [p.replace("memory://logs", "memory:///logs") for p in list_files(root, (".mcap",))] == want
    assert len(list_files(f"{root}/run_*.mcap", (".mcap",))) == 2
    assert len(list_files(f"{root}/**/*.mcap", (".mcap",))) >= 3
    assert list_files(f"{root}/a.txt", (".mcap",)) == [f"{root}/a.txt"]
    with open_file(want[0]) as file:
        assert (file.size, file.read_at(3, 4), file.bytes_read) == (10, b"3456", 4)
        with pytest.raises(FileFormatError):
            file.read_at(5, 6)
    assert fingerprint(want[0]) == fingerprint(want[0])
    assert fingerprint(want[0])[0] == 10
    for missing in (f"{root}/gone.mcap", f"{root}/*.bag"):
        with pytest.raises(NoFilesError):
            list_files(missing, (".bag",))
    with pytest.raises(NoFilesError, match="it holds"):
        list_files(root, (".bag",))
    with pytest.raises(NoFilesError):
        open_file(f"{root}/gone.mcap")
    with pytest.raises(OptionError, match="nosuch"):
        open_file("nosuch://a/b")
    fs.store.clear()


def test_a_file_in_a_zip(tmp_path: Path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/run_9.mcap", b"nine")
        archive.writestr("in/run_10.mcap", b"ten")
    found = list_files(f"zip://in/*.mcap::{tmp_path}/a.zip", (".mcap",))
    contents = []
    for path in found:
        with open_file(path) as file:
            contents.append(file.read_at(0, file.size))
    assert contents == [b"nine", b"ten"]
    with pytest.raises(NoFilesError):
        open_file(f"zip://in/gone.mcap::{tmp_path}/a.zip")


def test_a_file_is_closed_when_the_last_read_has_ended(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    file = open_file(path)
    real, closed = os.pread, []

    def slow(fd: int, length: int, offset: int) -> bytes:
        file.close()  # by another thread, while this one reads
        assert closed == []
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", slow)
    monkeypatch.setattr(os, "close", lambda fd, close=os.close: closed.append(fd) or close(fd))
    assert file.read_at(2, 3) == b"234"
    assert len(closed) == 1
    with pytest.raises(ValueError, match="closed file"):
        file.read_at(2, 3)
