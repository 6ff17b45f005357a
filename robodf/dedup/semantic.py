"""Rows whose vectors point the same way: dedup by the cosine of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from robodf.dedup.vectors import Vectors
from robodf.errors import OptionError

EXACT = 2e13
"""Multiplications and additions of all pairs of numbers up to which a search is exact unless told: five minutes of one
core at 70 billion a second, for 280 000 vectors of 256 numbers. Sketches and copies make it several times faster."""


@dataclass(frozen=True)
class Semantic:
    """Similarity is the cosine of two vectors; two rows are alike where it is `threshold` or more.

    `index` is how pairs are found: "exact" (all are looked at), "clusters" (rows meet where they share one of their
    nearest centroids, in as many as `recall` needs), or None: by the number of rows. What is found is always verified.
    """

    threshold: float = 0.9
    recall: float = 0.99
    index: str | None = None

    def __post_init__(self) -> None:
        for name, most in (("threshold", 1.0), ("recall", 0.999)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
                raise OptionError(f"dedup: {name} is a number above 0, at most {most:g}, not {value!r}")
        if self.index not in (None, "exact", "clusters"):
            raise OptionError(f"dedup: index is 'exact', 'clusters' or None, not {self.index!r}")

    def describe(self) -> str:
        """For explain()."""
        how = {
            "exact": "all pairs looked at",
            "clusters": f"overlapping clusters, recall at least {self.recall:g}",
            None: f"all pairs looked at, or overlapping clusters of recall {self.recall:g} where that takes too long",
        }[self.index]
        return f"cosine >= {self.threshold:g}, {how}"


class Decided(NamedTuple):
    """The rows that are dropped, ascending; for each who stands for it, their cosine; and how that was found."""

    row: np.ndarray
    witness: np.ndarray
    similarity: np.ndarray
    report: dict[str, Any]


class Alike(NamedTuple):
    """All pairs of rows that are alike, sorted, `left` < `right`; their cosines; and how they were found."""

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray
    report: dict[str, Any]


def decide(vectors: Vectors, group: np.ndarray | None, rank: np.ndarray | None, fixed: int, spec: Semantic) -> Decided:
    """The keep rule: a row is dropped where a kept row of its group that ranks better is alike.

    `group` (n,) numbers the groups from 0 on (None: one); `rank` (n,) says who is better, the lower, and of equals the
    first (None: by position); rows of a rank below `fixed` are kept always.
    """
    from robodf.dedup.nearest import greedy

    n = len(vectors.unit)
    rank = np.arange(n) if rank is None else rank
    lists, report = _lists(vectors, group, spec)
    order = np.argsort(rank, kind="stable")
    settled = greedy(vectors, order[vectors.there[order]], lists, spec.threshold, rank < fixed)
    (row,) = np.nonzero(settled.witness != np.arange(n))
    return Decided(row, settled.witness[row], settled.similarity[row], report)


def pairs(
    vectors: Vectors,
    group: np.ndarray | None,
    spec: Semantic,
    rank: np.ndarray | None = None,
    fixed: int = 0,
) -> Alike:
    """All pairs of rows of one group that are alike, but those of two rows that are kept always (see `decide`)."""
    from robodf.dedup.nearest import all_pairs

    n = len(vectors.unit)
    lists, report = _lists(vectors, group, spec)
    always = (np.arange(n) if rank is None else rank) < fixed
    return Alike(*all_pairs(vectors, lists, spec.threshold, always), report)


def _lists(vectors: Vectors, group: np.ndarray | None, spec: Semantic) -> tuple[np.ndarray, dict[str, Any]]:
    """The lists in which rows meet, and what is to be said of them."""
    n, d = vectors.unit.shape
    of = np.zeros(n, np.int64) if group is None else group.astype(np.int64)
    exact = of[:, None]
    sizes = np.bincount(of[vectors.there]).astype(np.float64)
    work = float((sizes * (sizes - 1) / 2).sum()) * d * 2
    report: dict[str, Any] = {"rows": n, "vectors": int(vectors.there.sum()), "numbers": d, "index": "exact"}
    if spec.index == "exact" or (spec.index is None and work <= EXACT):
        why = "as asked" if spec.index else f"{work:.2g} multiplications and additions, at most {EXACT:g}"
        return exact, {**report, "why": why}
    from robodf.dedup.centroids import clusters

    made = clusters(vectors, of, spec.threshold, spec.recall)
    if isinstance(made, str):
        return exact, {**report, "why": made}
    found = {"centroids": made.centroids, "nearest": made.lists.shape[1], "recall": made.recall,
             "recall_at_least": made.at_least, "sampled": made.sampled}  # fmt: skip
    why = "as asked" if spec.index else f"{work:.2g} multiplications and additions, more than {EXACT:g}"
    return made.lists, {**report, **found, "index": "clusters", "why": why}
