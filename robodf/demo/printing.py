"""How the demo speaks: numbered steps, aligned figures, lines of at most 100 columns."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from robodf.io.counting import read

WIDTH = 100


class Steps:
    """Numbers the headings."""

    def __init__(self) -> None:
        self._n = 0

    def begin(self, title: str) -> None:
        self._n += 1
        print(f"\n{self._n}. {title}\n")


def say(text: str) -> None:
    """A sentence, folded and indented."""
    print(textwrap.fill(text, WIDTH, initial_indent="   ", subsequent_indent="   ", break_on_hyphens=False))


def block(text: str) -> None:
    """Code or a plan, line by line; a long line goes on below itself."""
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        # At spaces only: a path or a number must stay in one piece to be copied.
        print(textwrap.fill(line.strip(), WIDTH, initial_indent="     " + indent, subsequent_indent="       " + indent,
                            break_long_words=False, break_on_hyphens=False))  # fmt: skip


def columns(rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> None:
    """Rows side by side; numbers stand to the right."""
    table = [list(head), *map(list, rows)] if head else list(map(list, rows))
    right = [all(isinstance(row[i], int) for row in table[bool(head) :]) for i in range(len(table[0]))]
    text = [[f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in table]
    widths = [max(len(row[i]) for row in text) for i in range(len(text[0]))]
    for row in text:
        cells = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(row, widths, right))
        print(("     " + "  ".join(cells)).rstrip())


def table(frame: pl.DataFrame, rows: int = 5) -> None:
    """The first rows of a frame, in the width of the demo."""
    with pl.Config(tbl_rows=rows, tbl_cols=8, tbl_width_chars=WIDTH - 5, fmt_str_lengths=40, tbl_hide_dataframe_shape=True,
                   tbl_hide_column_data_types=True):  # fmt: skip
        print(textwrap.indent(str(frame.head(rows)), "     "))


def share(part: int, whole: int) -> str:
    """`1,234 of 5,678 bytes (21.7%)`."""
    return f"{part:,} of {whole:,} bytes ({part / whole:.1%})" if whole else f"{part:,} bytes"


def plural(n: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def shown(path: str | os.PathLike[str]) -> str:
    """The path as one would type it here: relative where it is below the working directory."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith("..") else relative


class BytesRead:
    """What robodf's readers read from logs inside of the `with` block."""

    def __enter__(self) -> BytesRead:
        self._before = read.bytes
        self.bytes = 0
        return self

    def __exit__(self, *exc: object) -> None:
        self.bytes = read.bytes - self._before


def topics_table(topics: pl.DataFrame, most: int = 20) -> None:
    """The topics of a log: those with most messages where there are many."""
    ordered = topics.sort("count", descending=True, nulls_last=True, maintain_order=True) if topics.height > most else topics
    rows = [
        (r["topic"], r["type"] or "-", r["encoding"] or "-", "?" if r["count"] is None else r["count"], r["files"])
        for r in ordered.head(most).iter_rows(named=True)
    ]
    columns(rows, ("topic", "type", "encoding", "messages", "files"))
    if topics.height > most:
        print(f"     ... and {plural(topics.height - most, 'more topic')}")


def same_rows(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    """Whether two frames have the same rows as often, in any order."""
    if a.columns != b.columns or a.height != b.height:
        return False
    counted = [f.group_by(pl.all()).agg(pl.len().alias("_times")) if f.width else f for f in (a, b)]
    return pl.concat(counted).unique().height == counted[0].height == counted[1].height
