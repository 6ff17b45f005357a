"""The errors that robodf raises, each with what to do instead.

An error about a query names the user's own line, what was asked for, the close matches and what exists.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Not the user's: cached properties of ours are computed by a function of functools.
_NOT_THE_USERS = (_PACKAGE, functools.__file__, "<frozen", "<string")


class RobodfError(Exception):
    """Base of every error that robodf raises itself."""


class QueryError(RobodfError):
    """A query that cannot be planned: the message names the user's line."""

    def __init__(self, message: str, where: str | None = None):
        where = where or user_line()
        super().__init__(f"{message}\n  at {where}" if where else message)


class ColumnNotFoundError(QueryError, KeyError):
    """A column that the frame does not have."""

    __str__ = Exception.__str__  # KeyError would print the message quoted


class SchemaError(QueryError, TypeError):
    """Types or columns that do not fit together."""


class OptionError(QueryError, ValueError):
    """An argument outside of what the function takes."""


class SQLError(RobodfError, ValueError):
    """A SQL text that cannot be planned; the message underlines the place."""


class FileFormatError(RobodfError, ValueError):
    """A file that is not what its reader expects: the message names file and offset."""


class NoFilesError(RobodfError, FileNotFoundError):
    """A path, directory or pattern that names no file."""

    __str__ = Exception.__str__


class WorkerError(QueryError):
    """A worker of the cluster died, and so did those that tried its task again."""


class DeviceError(QueryError, RuntimeError):
    """A GPU is asked for where there is none, or none that can do it: the message says why, and what to do."""


class DeviceWarning(UserWarning):
    """A GPU is asked for, and nothing of the query can run there: the message says why."""


class VersionMismatchError(RobodfError, RuntimeError):
    """Nodes of a cluster that do not run what the driver runs: the message names each and its versions."""


class RuleError(RobodfError):
    """An optimizer rule broke its contract (a bug in robodf, never in the query)."""


def close_matches(wanted: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The names in `known` that look like `wanted`, best first; case does not count."""
    by_lower = {}
    for name in known:
        by_lower.setdefault(name.lower(), name)
    return [by_lower[m] for m in get_close_matches(wanted.lower(), list(by_lower), n, 0.6)]


def hint(wanted: str, known: Iterable[str]) -> str:
    """`; did you mean 'a'?`, or a full stop where nothing is close: the end of a sentence."""
    found = close_matches(wanted, known)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else "."


def listing(names: Iterable[str], most: int = 20) -> str:
    """`a, b, c` for a message, cut after `most` names."""
    names = list(names)
    text = ", ".join(names[:most])
    return f"{text}, … ({len(names)} in all)" if len(names) > most else text


def column_not_found(wanted: str, schema: Iterable[str], doing: str) -> ColumnNotFoundError:
    """The error for a column that is not there, as every operator words it."""
    names = list(schema)
    if any(sign in wanted for sign in "<>=") and not close_matches(wanted, names):
        doing += " (a text names a column; a condition is an expression, such as rd.col(...) > 1, or see rd.sql)"
    return ColumnNotFoundError(f"no column {wanted!r} in {doing}{hint(wanted, names)} Columns: {listing(names)}.")


def user_line() -> str | None:
    """`file.py:12: source` of the innermost caller outside of robodf and its libraries, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        inside = path.startswith(_NOT_THE_USERS)
        if not inside:
            source = linecache.getline(path, frame.f_lineno).strip()
            name = os.path.basename(path)
            source = source if len(source) <= 120 else source[:119] + "…"
            return f"{name}:{frame.f_lineno}: {source}" if source else f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return None
