"""The first rows as a table: text, and HTML that has all its pictures inside."""

from __future__ import annotations

import base64
import html
import importlib.util
import math
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import polars as pl

ROWS, MEDIA, BYTES, SIDE = 8, 3, 1_000_000, 128
"""Rows and columns with pictures, bytes of HTML in all, and the longer side of a picture in pixels."""

_QUALITY = 80  # of JPEG
_COLUMNS = 40
_TEXT = 120  # characters of a cell
_LINE = (140, 28)  # pixels of a sparkline
_TURNS = 70  # pairs of points of a sparkline

_STYLE = (
    "border-collapse:collapse;font:12px system-ui,sans-serif",
    "padding:3px 8px;border:1px solid #8884;text-align:left;vertical-align:top",
)


class Preview:
    """The first rows of a query: prints as text, shows as HTML in a notebook. `frame` has the rows."""

    def __init__(self, frame: pl.DataFrame):
        self.frame = frame

    def __repr__(self) -> str:
        with pl.Config(tbl_rows=self.frame.height, tbl_cols=20):
            return str(self.frame)

    def _repr_html_(self) -> str:
        return as_html(self.frame)


def show(preview: Preview) -> None:
    """In a notebook as HTML, elsewhere printed as text."""
    asked = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if asked is not None and hasattr(asked, "kernel"):
        sys.modules["IPython"].display.display(preview)
    else:
        print(preview)


def as_html(frame: pl.DataFrame) -> str:
    """A table of at most `BYTES`. Values are escaped, and nothing is loaded from elsewhere."""
    shown = frame.columns[:_COLUMNS]
    drawn = _drawn(frame, shown)
    head = "".join(
        f'<th style="{_STYLE[1]}">{html.escape(_short(name))}<br>'
        f'<span style="opacity:.6;font-weight:400">{html.escape(_short(str(frame.schema[name]), 60))}</span></th>'
        for name in shown
    )
    notes: list[str] = []
    if len(shown) < frame.width:
        notes.append(f"{frame.width - len(shown)} more columns")
    parts = [f'<table style="{_STYLE[0]}"><thead><tr>{head}</tr></thead><tbody>']
    left = BYTES - len(parts[0].encode()) - 1000
    columns = [frame.get_column(name) for name in shown]
    full = False
    for row in range(frame.height):
        cells = []
        for name, column in zip(shown, columns):
            cell = next(drawn[name], None) if name in drawn else None
            if cell is not None and len(cell) > left:
                cell, full = None, True
            cells.append(cell or html.escape(_said(column, row)))
            left -= len(cells[-1].encode()) + len(_STYLE[1]) + 24
        if left < 0:
            notes.append(f"{frame.height - row} more rows")
            break
        body = "".join(f'<td style="{_STYLE[1]}">{cell}</td>' for cell in cells)
        parts.append(f"<tr>{body}</tr>")
    if full:
        notes.append(f"pictures are left out beyond {BYTES:,} bytes")
    if _lacks_pillow(frame, shown):
        notes.append("pictures need Pillow: pip install 'robodf[images]'")
    tail = "".join(f'<div style="opacity:.6">… {html.escape(note)}</div>' for note in notes)
    return f"{''.join(parts)}</tbody></table>{tail}"


def _drawn(frame: pl.DataFrame, shown: list[str]) -> dict[str, Iterator[str | None]]:
    """What draws the first cells of a column, one by one: pictures of the first columns that have some, and lines."""
    found: dict[str, Iterator[str | None]] = {}
    media = 0
    some = frame.head(ROWS)
    for name in shown:
        dtype = frame.schema[name]
        if isinstance(dtype, (pl.List, pl.Array)) and dtype.inner is not None and dtype.inner.is_numeric():
            found[name] = (None if row is None else sparkline(row) for row in frame.get_column(name))
        elif media < MEDIA and importlib.util.find_spec("PIL") is not None:
            from robodf.preview.pictures import pictures_of

            pictures = pictures_of(some, name)
            if pictures is not None:
                found[name] = map(image_tag, islice(pictures(SIDE), ROWS))
                media += 1
    return found


def _lacks_pillow(frame: pl.DataFrame, shown: list[str]) -> bool:
    def holds_bytes(dtype: pl.DataType) -> bool:
        return dtype == pl.Binary or (isinstance(dtype, pl.Struct) and any(f.dtype == pl.Binary for f in dtype.fields))

    return importlib.util.find_spec("PIL") is None and any(holds_bytes(frame.schema[name]) for name in shown)


def image_tag(image: Any) -> str | None:
    """An <img> with the picture inside, None for None."""
    from robodf.images.encode import encoded

    data = None if image is None else encoded(image, "jpeg", _QUALITY)
    if image is None or data is None:
        return None
    height, width = image.shape[:2]
    text = base64.b64encode(data).decode()
    return f'<img width="{width}" height="{height}" alt="" src="data:image/jpeg;base64,{text}">'


def sparkline(numbers: pl.Series) -> str | None:
    """A line through numbers as SVG: of many, the least and the greatest of each part. None where none is finite."""
    values = numbers.cast(pl.Float64)
    known = values.filter(values.is_finite())
    least, greatest = known.min(), known.max()
    if least is None or greatest is None:
        return None
    width, height = _LINE
    span = (greatest - least) or 1.0  # type: ignore[operator]
    several = max(1, math.ceil(len(values) / _TURNS))
    places: list[str] = []
    for start in range(0, len(values), several):
        part = values[start : start + several]
        part = part.filter(part.is_finite())
        if not len(part):
            continue
        x = 1 + (width - 2) * start / max(1, len(values) - several)
        for value in dict.fromkeys((part.min(), part.max())):
            y = height - 2 - (height - 4) * (value - least) / span  # type: ignore[operator]
            places.append(f"{min(x, width - 1):.1f},{y:.1f}")
    said = f"{len(values)} numbers, {least:.4g} to {greatest:.4g}"
    return (
        f'<svg width="{width}" height="{height}" role="img"><title>{said}</title>'
        f'<polyline points="{" ".join(places)}" fill="none" stroke="#4477aa" stroke-width="1"/></svg>'
        f'<br><span style="opacity:.6">{said}</span>'
    )


def _said(column: pl.Series, row: int) -> str:
    """A value as a short text; of one that is drawn, or too long to say, what it is."""
    dtype = column.dtype
    if column[row : row + 1].is_null().all():
        return "null"
    if dtype == pl.Binary:
        return f"{column[row : row + 1].bin.size()[0]:,} bytes"
    if isinstance(dtype, pl.List):
        return f"{column[row : row + 1].list.len()[0]:,} values"
    if isinstance(dtype, pl.Struct) and any(field.dtype == pl.Binary for field in dtype.fields):
        plain = [field.name for field in dtype.fields if not field.dtype.is_nested() and field.dtype != pl.Binary]
        value = column[row : row + 1].struct.unnest().select(plain).row(0, named=True)
        return _short(", ".join(f"{k}: {v}" for k, v in value.items()))
    return _short(str(column[row]))


def _short(text: str, most: int = _TEXT) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
