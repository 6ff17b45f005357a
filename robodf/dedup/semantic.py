"""Rows whose vectors point the same way: dedup by the cosine of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from robodf.dedup.vectors import Vectors
from robodf.errors import OptionError

EXACT = 2e13
"""Multiplications and additions of all pairs of numbers of a group up to which a search is exact unless told: five
minutes of one core at 70 billion a second, for 280 000 vectors of 256 numbers. Sketches and copies make it several
times faster."""


@dataclass(frozen=True)
class Semantic:
    """Similarity is the cosine of two vectors; two rows are alike where it is `threshold` or more.

    `index` is how pairs are found: "exact" (all are looked at), "clusters" (rows meet where they share one of their
    nearest centroids, in as many as `recall` needs), or None: by the number of rows. With a recall of 1 all are looked
    at, however long it takes. What is found is always verified.
    """

    threshold: float = 0.9
    recall: float = 0.99
    index: str | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "recall"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
                raise OptionError(f"dedup: {name} is a number above 0, at most 1, not {value!r}")
        if 0.999 < self.recall < 1:
            raise OptionError(f"dedup: recall={self.recall!r}: of clusters 0.999 at most; 1 compares all pairs")
        if self.index not in (None, "exact", "clusters"):
            raise OptionError(f"dedup: index is 'exact', 'clusters' or None, not {self.index!r}")

    @property
    def exact(self) -> bool:
        """Whether all pairs are looked at, however many."""
        return self.index == "exact" or self.recall == 1

    def describe(self) -> str:
        """For explain()."""
        clusters = f"overlapping clusters, recall at least {self.recall:g}"
        how = (
            "all pairs looked at" if self.exact
            else clusters if self.index
            else f"all pairs looked at, or where that takes too long {clusters}"
        )  # fmt: skip
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
    parts, report = _parts(vectors, group, spec)
    witness, similarity = np.arange(n), np.ones(n)
    for rows, lists in parts:
        some = _taken(vectors, rows)
        order = np.argsort(rank[rows], kind="stable")
        settled = greedy(some, order[some.there[order]], lists, spec.threshold, rank[rows] < fixed)
        witness[rows], similarity[rows] = rows[settled.witness], settled.similarity
    (row,) = np.nonzero(witness != np.arange(n))
    return Decided(row, witness[row], similarity[row], report)


def pairs(
    vectors: Vectors,
    group: np.ndarray | None,
    spec: Semantic,
    rank: np.ndarray | None = None,
    fixed: int = 0,
) -> Alike:
    """All pairs of rows of one group that are alike, but those of two rows that are kept always (see `decide`)."""
    from robodf.dedup.nearest import all_pairs

    parts, report = _parts(vectors, group, spec)
    always = (np.arange(len(vectors.unit)) if rank is None else rank) < fixed
    found = [all_pairs(_taken(vectors, rows), lists, spec.threshold, always[rows]) for rows, lists in parts]
    left, right = (np.concatenate([rows[f[side]] for (rows, _), f in zip(parts, found)]) for side in (0, 1))
    by = np.lexsort((right, left))
    return Alike(left[by], right[by], np.concatenate([f.similarity for f in found])[by], report)


_Part = tuple[np.ndarray, np.ndarray]
"""Rows of which none is compared with one of another part: their numbers, ascending, and the lists they meet in."""


def _taken(vectors: Vectors, rows: np.ndarray) -> Vectors:
    return vectors if len(rows) == len(vectors.unit) else vectors.take(rows)


def _parts(vectors: Vectors, group: np.ndarray | None, spec: Semantic) -> tuple[list[_Part], dict[str, Any]]:
    """The parts, and what is to be said of them.

    How a group is searched depends on its own rows alone: on a cluster groups lie in different places.
    """
    n, d = vectors.unit.shape
    of = np.zeros(n, np.int64) if group is None else group.astype(np.int64)
    sizes = np.bincount(of[vectors.there]).astype(np.float64)
    work = sizes * (sizes - 1) * d
    said = f"{work.max(initial=0.0):.2g} multiplications and additions{'' if group is None else ' in a group'}"
    report: dict[str, Any] = {"rows": n, "vectors": int(vectors.there.sum()), "numbers": d, "index": "exact"}
    large = np.flatnonzero(work > (0 if spec.index else EXACT))
    if spec.exact or not len(large):
        why = "as asked" if spec.exact else f"{said}, at most {EXACT:g}"
        return [(np.arange(n), of[:, None])], {**report, "why": why}
    from robodf.dedup.centroids import Clusters, clusters

    parts: list[_Part] = []
    made: list[Clusters] = []
    failed = ""
    left = np.ones(n, bool)
    for number in large.tolist():
        rows = np.flatnonzero(of == number)
        found = clusters(_taken(vectors, rows), np.zeros(len(rows), np.int64), spec.threshold, spec.recall)
        if isinstance(found, str):
            failed = failed or found
            continue
        parts.append((rows, found.lists))
        made.append(found)
        left[rows] = False
    rest = np.flatnonzero(left)
    if len(rest):
        parts.append((rest, of[rest, None]))
    if not made:
        return parts, {**report, "why": failed}
    of_clusters = {
        "index": "clusters", "centroids": sum(m.centroids for m in made),
        "nearest": max(m.lists.shape[1] for m in made), "recall": min(m.recall for m in made),
        "recall_at_least": min(m.at_least for m in made), "sampled": sum(m.sampled for m in made),
        "why": "as asked" if spec.index else f"{said}, more than {EXACT:g}",
    }  # fmt: skip
    return parts, {**report, **of_clusters}
