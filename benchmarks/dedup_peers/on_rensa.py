"""rensa, as its README uses it: tokens made in Python, and the first row of its like is kept."""

from __future__ import annotations

from typing import Any

import polars as pl
from rensa import RMinHash, RMinHashDeduplicator, RMinHashLSH  # pyright: ignore[reportMissingImports]

PACKAGES = ("rensa", "polars")


def fuzzy(
    frame: pl.DataFrame, threshold: float, words: int, perms: int, rho: bool = False, **options: Any
) -> pl.DataFrame:
    if rho:
        return _rho(frame, threshold, words, perms)
    dedup = RMinHashDeduplicator(threshold=threshold, num_perm=perms, use_lsh=True)
    kept = dedup.add_pairs((str(row), tokens(text, words)) for row, text in enumerate(frame["text"]))
    return frame.filter(pl.Series(kept))


def _rho(frame: pl.DataFrame, threshold: float, words: int, perms: int) -> pl.DataFrame:
    """The pipeline of its benchmark: a sketch of sampled tokens, and flags. Flagged are all rows of a group, so none of
    them stays."""
    made = [tokens(text, words) for text in frame["text"]]
    sketches = RMinHash.digest_matrix_from_token_sets_rho(made, perms, 42)
    flags = RMinHashLSH(threshold, perms, 8).query_duplicate_flags_matrix_one_shot(sketches)
    return frame.filter(~pl.Series(flags))


def tokens(text: str, words: int) -> list[str]:
    split = text.split()
    return [" ".join(split[at : at + words]) for at in range(max(1, len(split) - words + 1))]
