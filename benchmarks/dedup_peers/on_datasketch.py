"""datasketch: MinHashLSH with the bands that it chooses for the threshold, and the first row of its like is kept.

`script`: as in many a script around Polars. Signatures in bulk, a faster hash, and candidates count only where their
signatures agree by the threshold.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import xxhash  # pyright: ignore[reportMissingImports]
from datasketch import MinHash, MinHashLSH  # pyright: ignore[reportMissingImports]

PACKAGES = ("datasketch", "polars", "xxhash")
_BATCH = 10_000


def fuzzy(frame: pl.DataFrame, threshold: float, words: int, perms: int, script: bool, **options: Any) -> pl.DataFrame:
    index = MinHashLSH(threshold=threshold, num_perm=perms)
    return _script(frame, threshold, words, perms, index) if script else _plain(frame, words, perms, index)


def _plain(frame: pl.DataFrame, words: int, perms: int, index: Any) -> pl.DataFrame:
    kept = []
    for row, text in zip(frame["id"], frame["text"]):
        signature = MinHash(num_perm=perms)
        signature.update_batch(tokens(text, words))
        kept.append(not index.query(signature))
        if kept[-1]:
            index.insert(row, signature)
    return frame.filter(pl.Series(kept))


def _script(frame: pl.DataFrame, threshold: float, words: int, perms: int, index: Any) -> pl.DataFrame:
    kept, signatures = [], {}
    for part in frame.iter_slices(_BATCH):
        made = MinHash.bulk(
            [tokens(text, words) for text in part["text"]], num_perm=perms, hashfunc=xxhash.xxh32_intdigest
        )
        for row, signature in zip(part["id"], made):
            alike = any(signature.jaccard(signatures[other]) >= threshold for other in index.query(signature))
            if not alike:
                index.insert(row, signature)
                signatures[row] = signature
            kept.append(not alike)
    return frame.filter(pl.Series(kept))


def tokens(text: str, words: int) -> list[bytes]:
    split = text.encode().split()
    return [b" ".join(split[at : at + words]) for at in range(max(1, len(split) - words + 1))]
