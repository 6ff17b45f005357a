"""How the demo speaks: numbered steps, aligned figures, lines of at most 100 columns."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.io.counting import read

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.sink import WriteReport

WIDTH = 100

IMPORTS = "import robodf as rd\nfrom datetime import datetime"
"""What the shown code needs."""


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


def plans(df: PipelineDataFrame) -> None:
    """The plan before and after the optimizer."""
    say("As written, rows flow from the bottom to the top:")
    print()
    block(str(df.explain("logical")))
    print()
    say("As it will run:")
    print()
    block(str(df.explain("physical")))


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
    with pl.Config(tbl_rows=rows, tbl_cols=8, tbl_width_chars=WIDTH - 5, fmt_str_lengths=40,
                   tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):  # fmt: skip
        print(textwrap.indent(str(frame.head(rows)), "     "))


def preview(frame: pl.DataFrame) -> None:
    """A few rows of any columns: long values are cut, and so are the columns that do not fit, constant ones first."""
    cells = {name: [name, *map(_cell, frame.get_column(name))] for name in frame.columns}
    ordered = sorted(cells, key=lambda name: len(set(cells[name][1:])) < 2)
    left, kept = WIDTH - 5, []
    for name in ordered:
        left -= max(map(len, cells[name])) + 2
        if left >= 0 or not kept:
            kept.append(name)
    shown_columns = [cells[name] for name in cells if name in kept]
    rows = list(zip(*shown_columns))
    columns(rows[1:], rows[0])
    if len(kept) < len(cells):
        print()
        say(f"Not shown: {', '.join(name for name in cells if name not in kept)}.")


def _cell(value: Any, widest: int = 32) -> str:
    if value is None:
        return "null"
    if isinstance(value, pl.Series):
        value = value.to_list()
    if isinstance(value, bytes):
        return plural(len(value), "byte")
    if isinstance(value, datetime):
        return value.isoformat(" ", "milliseconds")
    text = " ".join(_short(value)[: 4 * widest].split())
    return text if len(text) <= widest else text[: widest - 1] + "…"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value[:20])) + ("" if len(value) <= 20 else ", …") + "]"
    return str(value)


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


def in_sql(path: str | os.PathLike[str]) -> str:
    """The path as it stands between single quotes in SQL."""
    return shown(path).replace("'", "''")


class BytesRead:
    """What robodf's readers read from logs inside of the `with` block."""

    def __enter__(self) -> BytesRead:
        self._before = read.bytes
        self.bytes = 0
        return self

    def __exit__(self, *exc: object) -> None:
        self.bytes = read.bytes - self._before


def topics_table(topics: pl.DataFrame, most: int = 12) -> None:
    """The topics of a log: those with most messages where there are many."""
    ordered = topics
    if topics.height > most:
        ordered = topics.sort("count", descending=True, nulls_last=True, maintain_order=True)
    columns(topic_rows(ordered.head(most), 40), TOPIC_COLUMNS)
    if topics.height > most:
        print(f"     ... and {plural(topics.height - most, 'more topic')}")


TOPIC_COLUMNS = ("topic", "type", "encoding", "messages", "files")


def topic_rows(topics: pl.DataFrame, widest: int) -> list[tuple[Any, ...]]:
    """A row for each topic, for `columns`; names are cut to `widest` characters."""
    return [
        (
            _cut(r["topic"], widest),
            _cut(r["type"] or "-", widest - 5),
            _cut(r["encoding"] or "-", 10),
            "?" if r["count"] is None else r["count"],
            r["files"],
        )
        for r in topics.iter_rows(named=True)
    ]


def _cut(text: str, width: int) -> str:
    """The text, or its end, which tells more of topics and types than its start."""
    return text if len(text) <= width else "…" + text[1 - width :]


def wrote(report: WriteReport) -> None:
    """Where the output is."""
    say(f"Written: {shown(report.path)}, {plural(report.rows, 'row')}, {report.bytes:,} bytes. "
        "It appears whole or not at all.")  # fmt: skip


def compared(by_sql: pl.DataFrame, by_frame: pl.DataFrame) -> bool:
    """Say whether both have the same rows, as often, in any order."""
    same = same_rows(by_sql, by_frame)
    what = "the same rows as in the file above." if same else f"NOT the {by_frame.height:,} rows of the file above."
    say(f"{plural(by_sql.height, 'row')}: {what}")
    return same


def next_lines(*lines: str) -> None:
    """The last words: what to type now, after the name of the command."""
    print("\nNext, type\n")
    for line in lines:
        print(f"     {_command()} {line}")


def _command() -> str:
    """How this command is typed here: an environment's `robodf` may not be on the PATH."""
    typed = sys.argv[0]
    if typed.endswith(os.path.join("robodf", "__main__.py")):
        return f"{shown(sys.executable)} -m robodf"
    found = shutil.which("robodf")
    if os.path.basename(typed) != "robodf" or not os.path.exists(typed) or (found and os.path.samefile(found, typed)):
        return "robodf"
    return shown(typed)


def same_rows(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    """Whether two frames have the same rows as often, in any order."""
    if a.columns != b.columns or a.height != b.height:
        return False
    counted = [f.group_by(pl.all()).agg(pl.len().alias("_times")) if f.width else f for f in (a, b)]
    return pl.concat(counted).unique().height == counted[0].height == counted[1].height
