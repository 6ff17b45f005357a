"""What a dedup did not look at: buckets so large that rows in them were compared with the best members alone."""

from __future__ import annotations

import math
import warnings
from typing import Any

from robodf.io.error_log import ErrorLog


class CappedWarning(UserWarning):
    """Rows that are alike may have been kept, as too many rows share a key."""


class Caps:
    """Tells what was capped: a warning, a row of `df.errors`, and the facts of the last run for `explain()`."""

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

    def last_run(self) -> str:
        """What the last run found and verified, for `explain()` and `profile()`; empty before the first."""
        known = ((name, self.facts.get(name)) for name in ("rows", "candidates", "comparisons", "dropped", "index"))
        said = [f"{v:,} {n}" if isinstance(v, int) else f"{n} {v}" for n, v in known if v is not None]
        if "recall_at_least" in self.facts:  # of a search in clusters, as measured
            said.append(f"recall at least {math.floor(self.facts['recall_at_least'] * 1e4) / 1e4:g}")
        return f" (last run: {', '.join(said)})" if said else ""

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def note(self, problem: dict) -> None:
        """Keep a problem, also one that was met in another process, and warn."""
        self.log.add(**problem)
        warnings.warn(problem["error"], CappedWarning, stacklevel=2)

    def __reduce__(self):
        return Caps, ()  # another process has met nothing yet
