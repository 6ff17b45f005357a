"""A user's function that raised: a note of the exception, or the log of what was skipped, says what it was given."""

from __future__ import annotations

from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any, Protocol

import polars as pl

from robodf.io.error_log import ErrorLog

RECORDING, TIME = "recording", "log_time"
"""The columns that say where in a recording a row is from."""

_LONGEST = 200  # characters of a row's values


class Journal(Protocol):
    """Keeps what an operator skipped: a source, or the `OnError` of a user's function."""

    @property
    def problems(self) -> list[dict]:
        """Dicts with file, topic, offset, time (ns) and error."""
        ...

    def note(self, problem: dict) -> None:
        """Keep a problem that was met elsewhere."""
        ...


@dataclass(eq=False)
class OnError:
    """That rows or batches are left out for which a function raises, and which ones were.

    One for each call of `map` and the like, shared by all frames made from that one: two frames that are made alike
    run alike, but each tells what it skipped itself.
    """

    mode: str  # "skip" or "collect"
    log: ErrorLog = field(default_factory=ErrorLog, compare=False)
    rows: int = field(default=0, compare=False)  # that the function was handed so far

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    def __reduce__(self):
        return OnError, (self.mode,)  # another process has met nothing yet


class Calls:
    """The calls of one function in one run, batch after batch: it knows which rows the function has before it."""

    def __init__(self, name: str, on_error: OnError | None):
        self.name, self.on_error = name, on_error
        self.batch = pl.DataFrame()
        self.first = 0  # the number of the first row of the batch

    def begin(self, batch: pl.DataFrame) -> None:
        """The function is to be called on the next batch."""
        self.first += self.batch.height
        self.batch = batch
        if self.on_error is not None:
            self.on_error.rows += batch.height

    def skips(self, error: Exception, row: int | None = None) -> bool:
        """Whether to go on without the rows: then that is logged; else the exception has a note that names them.

        `row` is the number in the batch of the only row that the function was given; None: it was given them all.
        """
        if self.on_error is None or isinstance(error, MemoryError):
            self.tell(error, row)
            return False
        given = self.batch if row is None else self.batch.slice(row, 1)
        rows = f", {given.height:,} rows" if row is None else ""
        self.on_error.log.add(
            _recording(given),
            f"{type(error).__name__}: {_text(error)} (in {self.name}{rows})",
            None,
            self.first + (row or 0),
            _nanoseconds(given),
        )
        return True

    def tell(self, error: BaseException, row: int | None = None) -> None:
        """Add the note, once."""
        if row is None:
            given = self.batch
            rows = f"{given.height:,} rows from row {self.first:,}"
        else:
            given = self.batch.slice(row, 1)
            rows = f"row {self.first + row:,}"
        # True of one process, which has all rows, and of a task of several.
        note = f"in {self.name}, given {rows} (the first is 0) of its part of the rows{_where(given)}"
        if row is not None:
            note += f": {_shortened(given.row(0, named=True))}"
        _add(error, note)


def tell_start(error: BaseException, name: str) -> None:
    """Add a note to what a user's class raised when it was made."""
    _add(error, f"in {name}(), before it was given any rows")


def _add(error: BaseException, note: str) -> None:
    notes = vars(error).setdefault("__notes__", [])  # not add_note: an exception that is a frozen dataclass refuses it
    if isinstance(notes, list) and note not in notes:  # one that is raised again has it already
        notes.append(note)


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  the class is the user's: its __str__ runs any code
        return "(its text cannot be made)"


def _recording(rows: pl.DataFrame) -> str | None:
    """The one recording that all rows are from."""
    if RECORDING not in rows.columns or not rows.height:
        return None
    column = rows.get_column(RECORDING)
    kind = column.dtype
    if not (isinstance(kind, (pl.String, pl.Categorical, pl.Enum)) or kind.is_integer()):
        return None
    return str(column[0]) if column.null_count() == 0 and column.n_unique() == 1 else None


def _nanoseconds(rows: pl.DataFrame) -> int | None:
    """When the first row was logged."""
    if not rows.height or not isinstance(rows.schema.get(TIME), pl.Datetime):
        return None
    return rows.get_column(TIME).head(1).dt.timestamp("ns").item()


def _where(rows: pl.DataFrame) -> str:
    """Recording and times of rows as words after others."""
    recording = _recording(rows)
    words = "" if recording is None else f", recording {recording!r}"
    kind = rows.schema.get(TIME)
    if kind is not None and (kind.is_temporal() or kind.is_numeric()):
        times = rows.get_column(TIME).drop_nulls()
        if times.len():
            first, last = (_time(times.gather([k])) for k in (0, -1))
            words += f", {TIME} {first}" + (f" to {last}" if last != first else "")
    return words


def _time(one: pl.Series) -> str:
    """In full: Python's times have no nanoseconds."""
    return one.dt.to_string("iso").item() if isinstance(one.dtype, pl.Datetime) else str(one.item())


_short = Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


def _shortened(row: dict[str, Any]) -> str:
    """The values of a row in about 200 characters: a row may hold an image."""
    words = ""
    for name, value in row.items():
        shown = _short.repr(value[:80] if isinstance(value, bytes) else value)
        words += f"{', ' if words else ''}{name!r}: {shown}"
        if len(words) > _LONGEST:
            return f"{{{words[:_LONGEST]}…}}"
    return f"{{{words}}}"
