"""How one stream is brought to the clock."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("previous", "next", "nearest", "linear", "slerp", "none")

_BLENDS = ("linear", "slerp")


@dataclass(frozen=True)
class Way:
    """A stream's name, its method, the farthest that a sample may lie (in units of the time column), and its prefix."""

    name: str
    method: str
    tolerance: int | None
    prefix: str

    @property
    def blends(self) -> bool:
        """True where values are computed from two samples."""
        return self.method in _BLENDS

    @property
    def age(self) -> str:
        """The column that says how old the sample is."""
        return f"{self.name}.age"

    @property
    def local(self) -> bool:
        """True where only samples near a time can matter to it."""
        return self.tolerance is not None or self.method == "none"

    def reach(self, low: int | None, high: int | None) -> tuple[int | None, int | None]:
        """The times between which samples can matter to clock times from `low` to `high`; None: without bound."""
        if self.method == "none":
            return low, high
        before = 0 if self.method == "next" else self.tolerance
        after = 0 if self.method == "previous" else self.tolerance
        if self.blends or self.method == "nearest":
            before = after = self.tolerance
        first = None if low is None or before is None else low - before
        last = None if high is None or after is None else high + after
        return first, last
