"""What a dedup did not look at: buckets so large that rows in them were compared with the best members alone."""

from __future__ import annotations

import warnings
from typing import Any

from robodf.io.error_log import ErrorLog


class CappedWarning(UserWarning):
    """Rows that are alike may have been kept, as too many rows share a key."""


class Caps:
    """Tells what was capped: a warning, a row of `df.errors`, and the facts of the last run for `profile()`."""

    def __init__(self) -> None:
        self.log = ErrorLog()
        self.facts: dict[str, Any] = {}

    def tell(self, facts: dict[str, Any]) -> None:
        """Keep what a run says of itself."""
        self.facts = facts
        if facts.get("capped_buckets"):
            text = (
                f"dedup: {facts['capped_buckets']:,} keys are shared by more than {facts['cap']:,} rows "
                f"({facts['capped_rows']:,} in all); each of these was compared with the {facts['cap']:,} best of "
                "them alone, so some that are alike may have stayed"
            )
            self.note({"file": None, "error": text, "topic": None, "offset": None, "time": None})

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def note(self, problem: dict) -> None:
        """Keep a problem, also one that was met in another process, and warn."""
        self.log.add(**problem)
        warnings.warn(problem["error"], CappedWarning, stacklevel=2)

    def __reduce__(self):
        return Caps, ()  # another process has met nothing yet
