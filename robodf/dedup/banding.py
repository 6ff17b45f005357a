"""How many keys a row gets, and of how many minima each: from the recall that is asked for.

Two sets of Jaccard similarity s have the same minimum under a random order of all elements with probability s (Broder,
1997). A key is made of `rows` minima, so a pair agrees on one key with s^rows, and on at least one of `bands` keys with
1 - (1 - s^rows)^bands (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4.2).

Keys of the two ends of one order do not weaken that (`minhash`). Minima could be shared by more keys: of u parts of
rows / 2 minima each two make a key (Andoni, Indyk: Efficient algorithms for substring near neighbor problem, 2006).
That was tried: it takes half as many minima and half as many keys again for the same recall, and as a key costs what
five minima do, no time is gained.
"""

from __future__ import annotations

import math
from functools import cache

from robodf.errors import OptionError


def recall_at(similarity: float, bands: int, rows: int) -> float:
    """The probability with which two rows of this similarity share a key, 0 to 1.

    Examples:
        >>> round(recall_at(0.8, 16, 6), 4)
        0.9923
    """
    agrees = similarity**rows
    return 1.0 if agrees >= 1 else -math.expm1(bands * math.log1p(-agrees))


@cache
def choose(threshold: float, recall: float, longest: int, most: int = 256) -> tuple[int, int]:
    """(bands, rows): the longest keys with which pairs at `threshold` are found with at least probability `recall`.

    Longer keys bring fewer pairs together that are not alike. As every pair is compared, that saves time only; and
    longer keys take more time to make, as more of them are needed. So there is a length beyond which nothing is gained:
    it depends on how much those have in common that are not alike.

    Args:
        threshold: the similarity from which on two rows are alike, in (0, 1].
        recall: the share of the pairs exactly there that is to be found, in (0, 1); above the threshold it is more.
        longest: minima a key at most.
        most: minima a row at most, `bands * rows`.

    Raises:
        OptionError: out of range, or a recall that `most` minima do not reach.

    Examples:
        >>> choose(0.8, 0.99, longest=6)
        (16, 6)
    """
    if isinstance(threshold, bool) or not 0 < threshold <= 1:
        raise OptionError(f"threshold={threshold!r}: a similarity above 0 and up to 1")
    if isinstance(recall, bool) or not 0 < recall < 1:
        raise OptionError(f"recall={recall!r}: a share above 0 and below 1, such as 0.99 (finding all is not promised)")
    for rows in range(min(longest, most), 0, -1):
        bands = _fewest(threshold, recall, rows, most // rows)
        if bands is not None:
            return bands, rows
    possible = recall_at(threshold, most, 1)
    raise OptionError(
        f"threshold={threshold:g} with recall={recall:g}: {most} minima a row find at most {possible:.4g} of the pairs "
        "at that similarity; give a higher threshold or less recall"
    )


def _fewest(threshold: float, recall: float, rows: int, most: int) -> int | None:
    """The smallest number of bands up to `most` that reaches `recall`."""
    if recall_at(threshold, most, rows) < recall:
        return None
    low, high = 1, most
    while low < high:  # more bands find more
        middle = (low + high) // 2
        if recall_at(threshold, middle, rows) >= recall:
            high = middle
        else:
            low = middle + 1
    return low
