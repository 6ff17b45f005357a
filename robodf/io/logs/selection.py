"""From predicates on columns to what the index of a log can select: topics, recordings, a time range."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from robodf.plan.comparison import as_comparison, nanoseconds
from robodf.plan.expr import Expr

END_OF_TIME = 1 << 63  # a later log_time does not fit Datetime("ns"): it is null, and null satisfies no predicate


@dataclass(frozen=True)
class Selection:
    """Messages with `start <= log_time < end` (ns) of these topics and recordings; None: of all."""

    topics: frozenset[str] | None = None
    recordings: frozenset[str] | None = None
    start: int | None = None
    end: int | None = None

    def narrowed(self, predicate: Expr) -> Selection | None:
        """What is left with `predicate` too, exactly; None where an index cannot express it."""
        found = as_comparison(predicate)
        if found is None:
            return None
        column, op, value = found
        if column in ("topic", "recording"):
            return self._by_name(column, op, value)
        return self._by_time(op, value) if column == "log_time" else None

    def _by_name(self, column: str, op: str, value: Any) -> Selection | None:
        values = value if op == "in" else (value,)
        if op not in ("==", "in") or not all(isinstance(v, str) for v in values):
            return None
        field = f"{column}s"
        old = getattr(self, field)
        return replace(self, **{field: frozenset(values) if old is None else old & frozenset(values)})

    def _by_time(self, op: str, value: Any) -> Selection | None:
        at = nanoseconds(value)
        if at is None or op not in ("<", "<=", ">", ">=", "=="):
            return None
        start = {">=": at, ">": at + 1, "==": at}.get(op)
        end = {"<": at, "<=": at + 1, "==": at + 1}.get(op, END_OF_TIME)
        return self.within(start, end)

    def within(self, start: int | None, end: int | None) -> Selection:
        """Only the part of it in a time range."""
        starts = [t for t in (self.start, start) if t is not None]
        ends = [t for t in (self.end, end) if t is not None]
        return replace(self, start=max(starts, default=None), end=min(ends, default=None))

    @property
    def empty(self) -> bool:
        """True where nothing can match."""
        if self.end is not None and self.end <= max(self.start or 0, 0):
            return True
        return self.topics == frozenset() or self.recordings == frozenset()

    @property
    def bounds(self) -> tuple[int | None, int | None]:
        """The time range as the container takes it: times there are not negative."""
        start = None if self.start is None or self.start <= 0 else self.start
        return start, None if self.end is None else max(self.end, 0)
