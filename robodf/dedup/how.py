"""What a dedup was asked: the method, which row of those that are alike stays, and how likeness links rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from robodf.dedup.columns import rank_column, within_column

KEEPS = ("first", "last", "none")
LINKS = ("representative", "component")


@dataclass(frozen=True)
class Best:
    """Keep the row with the greatest value of an expression, or with several: see `best`."""

    exprs: tuple[Any, ...]
    descending: tuple[bool, ...]


@dataclass(frozen=True)
class How:
    """The rows of a frame in their order of worth are those by `keep`; ties go to the earlier row.

    `descending` says of each rank column whether the greatest value is best; without rank columns the position is what
    counts. `within` is the number of keys of the groups.
    """

    method: Any  # a Method, Exact or Semantic: frozen, picklable
    keep: str  # "first", "last", "best" or "none"
    link: Literal["representative", "component"]
    within: int = 0
    descending: tuple[bool, ...] = ()
    whole: bool = False  # the method has no keys: it decides by all values at once

    @property
    def ranks(self) -> list[str]:
        return [rank_column(k) for k in range(len(self.descending))]

    @property
    def groups(self) -> list[str]:
        return [within_column(k) for k in range(self.within)]

    @property
    def lazy(self) -> bool:
        """True where a row need not be compared further once a kept row like it was found."""
        return self.link == "representative" and self.keep != "none"
