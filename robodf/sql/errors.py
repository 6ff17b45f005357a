"""SQL errors that underline the place in the query."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from sqlglot import exp

from robodf.errors import SQLError, hint, listing, user_line

Span = tuple[int, int]
"""First character and the one after the last, in the query text."""


def underlined(text: str, span: Span, message: str) -> SQLError:
    """The line of the query that holds `span`, carets beneath it, and the message."""
    start = max(0, min(span[0], len(text)))
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", start)
    line = text[begin:] if stop < 0 else text[begin:stop]
    end = max(start + 1, min(span[1], begin + len(line)))
    before = "".join("\t" if c == "\t" else " " * _width(c) for c in line[: start - begin])
    carets = "^" * max(1, sum(map(_width, line[start - begin : end - begin])))
    number = text.count("\n", 0, start) + 1
    where = user_line()
    at = f"\n  at {where}" if where else ""
    return SQLError(f"line {number} of the query:\n  {line}\n  {before}{carets}\n{message}{at}")


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def span_of(node: exp.Expr) -> Span:
    """Where the node stands in the query; a node without places of its own has that of what it is part of."""
    found: exp.Expr | None = node
    while found is not None:
        starts = [n.meta for n in found.walk() if "start" in n.meta and "end" in n.meta]
        if starts:
            return min(m["start"] for m in starts), max(m["end"] for m in starts) + 1
        found = found.parent
    return 0, 1


def missing(what: str, wanted: str, known: Iterable[str], have: str) -> str:
    """`no column 'speeed'; did you mean 'speed'? Columns: ...`."""
    names = list(dict.fromkeys(known))
    return f"no {what} {wanted!r}{hint(wanted, names)} {have}: {listing(names) or 'none'}."
