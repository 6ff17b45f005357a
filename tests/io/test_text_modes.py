"""Text files as lines, paragraphs and documents."""

from __future__ import annotations

import pickle
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, OptionError
from robodf.io import text
from robodf.io.counting import read
from robodf.io.source import Request
from robodf.io.text import text_lines


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_paragraphs_are_what_lies_between_blank_lines(tmp_path: Path, monkeypatch, block: int, end: str) -> None:
    monkeypatch.setattr(text, "_BLOCK", block)
    name = tmp_path / "a.txt"
    lines = ["", "one", " two ", "", " \t", "", "drei äöü", "", ""]
    name.write_bytes(end.join(lines).encode())
    found = rd.read_text(name, mode="paragraph").collect()
    assert found.schema == {"path": pl.String(), "paragraph": pl.UInt32(), "line": pl.UInt32(), "text": pl.String()}
    assert found.select("paragraph", "line", "text").rows() == [(1, 2, "one\n two "), (2, 7, "drei äöü")]


def test_paragraphs_of_several_files_do_not_run_together(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"of {name}\nmore")
    (tmp_path / "c.txt").write_text("")
    df = rd.read_text(tmp_path, mode="paragraph")
    assert df.collect()["text"].to_list() == ["of a.txt\nmore", "of b.txt\nmore"]
    source = text_lines([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], "utf-8", None, paragraphs=True)
    _, second = source.splits(Request(("text",)))
    part = pickle.loads(pickle.dumps(source.part((second,))))
    assert part.scan(Request(("text",))).collect()["text"].to_list() == ["of b.txt\nmore"]


def test_a_paragraph_without_end_is_no_text(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(text, "_LONGEST", 1000)
    (tmp_path / "a.txt").write_text("word\n" * 1000)
    with pytest.raises(FileFormatError, match="a paragraph of more than 1000 bytes"):
        rd.read_text(tmp_path / "a.txt", mode="paragraph").collect()


def test_documents_are_read_only_where_they_are_wanted(tmp_path: Path) -> None:
    for k in range(5):
        (tmp_path / f"{k}.txt").write_text(f"document {k}\n" * (k + 1))
    df = rd.read_text(tmp_path, mode="document")
    before = read.bytes
    assert df.select("size").collect()["size"].to_list() == [11 * (k + 1) for k in range(5)]
    assert df.filter(rd.col("size") > 33).count_rows() == 2
    assert read.bytes == before
    chosen = df.filter((rd.col("size") > 33) & rd.col("path").str.ends_with("4.txt")).collect()
    assert chosen["text"].to_list() == ["document 4\n" * 5]
    assert read.bytes - before == 55


def test_documents_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("früh", encoding="latin-1")
    (tmp_path / "b.txt").write_text("spät")
    with pytest.raises(FileFormatError, match=r"a\.txt: not utf-8 text at byte 2"):
        rd.read_text(tmp_path, mode="document").collect()
    df = rd.read_text(tmp_path, mode="document", on_error="collect")
    assert df.collect()["text"].to_list() == [None, "spät"]
    assert "encoding=" in df.errors["error"][0]
    found = rd.read_text(tmp_path / "a.txt", mode="document", encoding="latin-1").collect()
    assert found["text"].to_list() == ["früh"]


def test_modes_and_options_are_checked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(OptionError, match="did you mean 'paragraph'"):
        rd.read_text(tmp_path, mode="paragraphs")
    with pytest.raises(OptionError, match="no encoding 'utf-9'"):
        rd.read_text(tmp_path, mode="document", encoding="utf-9")
    with pytest.raises(OptionError, match="on_error"):
        rd.read_text(tmp_path, on_error="skip")
