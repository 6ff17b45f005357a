"""Numbers on a line, of which two are as similar as they are near: the smallest thing that can be held."""

from typing import NamedTuple

import numpy as np
from numba.extending import overload

from robodf.dedup import compare


class Points(NamedTuple):
    at: np.ndarray
    loaded: np.ndarray

    @classmethod
    def of(cls, at) -> "Points":
        return cls(np.asarray(at, np.float64), np.full(2, np.nan))


def _is_points(held) -> bool:
    return getattr(held, "instance_class", None) is Points


@overload(compare.load)
def _load(held, a):
    if _is_points(held):

        def load(held, a):
            held.loaded[0] = held.at[a]
            held.loaded[1] = a

        return load
    return None


@overload(compare.probe)
def _probe(held, a, b, least):
    if _is_points(held):

        def probe(held, a, b, least):
            if held.loaded[1] != a:  # a probe without its load
                return 2.0
            similar = 1.0 - abs(held.loaded[0] - held.at[b])
            return similar if similar >= least else -1.0

        return probe
    return None
