"""Which frames are shown at given times: chosen by time, never by a number multiplied by a rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Any

import numpy as np

from robodf.errors import OptionError
from robodf.io.video.index import Track, nanoseconds
from robodf.io.video.opening import Told

Times = tuple[tuple[str | None, tuple[int, ...]], ...]
"""Nanoseconds since the first frame, by file; of all files under None."""

# Files round times to a millisecond (Matroska, FLV) or to less: a frame is shown from that much before its time on.
_ROUNDED = Fraction(1, 2000)
# LeRobot and others keep timestamps as 32-bit floats of seconds.
_CLOSE = 100_000
_MOST = 100_000_000


def rate_of(given: Any) -> Fraction | None:
    """Frames per second, exactly; OptionError for what is none."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float, Fraction)) or not 0 < given < math.inf:
        raise OptionError(f"read_video: frame_rate is a positive number of frames per second, not {given!r}")
    return Fraction(given).limit_denominator(1_000_000)


def times_of(given: Any) -> Times | None:
    """Times in the order of time; OptionError for what is none."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        return tuple(sorted((str(path), _times(some)) for path, some in given.items()))
    return ((None, _times(given)),)


def _times(given: Any) -> tuple[int, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise OptionError(f"read_video: timestamps is a list of seconds, or a dict of such by path, not {given!r}")
    return tuple(sorted(_nanoseconds(t) for t in given))


def _nanoseconds(t: Any) -> int:
    if isinstance(t, timedelta):
        found = (t.days * 86_400 + t.seconds) * 1_000_000_000 + t.microseconds * 1000
    elif isinstance(t, bool) or not isinstance(t, (int, float, Fraction, np.integer, np.floating)):
        raise OptionError(f"read_video: timestamps are seconds since the first frame, not {t!r}")
    else:
        exact = t if isinstance(t, Fraction) else t.item() if isinstance(t, np.generic) else t
        found = round(Fraction(exact) * 1_000_000_000) if math.isfinite(exact) else -1  # pyright: ignore[reportCallIssue, reportArgumentType]
    if not 0 <= found < 1 << 63:
        raise OptionError(f"read_video: timestamps are seconds since the first frame, 0 or more, not {t!r}")
    return found


def at_rate(track: Track, rate: Fraction) -> tuple[np.ndarray, np.ndarray]:
    """Of each tick at which something is shown, from 0 on, the number of the frame and the time (ns, rounded down)."""
    if not len(track.pts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    since = track.pts - track.pts[0]
    early = min(track.base / 2, _ROUNDED)
    first = _first_ticks(since, track.base * rate, early * rate)
    end = (track.end - int(track.pts[0])) * track.base - (0 if track.counted else min(track.base, 2 * _ROUNDED))
    ticks = max(math.floor((int(since[-1]) * track.base + early) * rate), math.ceil(end * rate) - 1) + 1
    if ticks > _MOST:
        raise OptionError(f"read_video: frame_rate={float(rate)} makes {ticks:,} rows of one file")
    number = np.arange(ticks, dtype=np.int64)
    return np.searchsorted(first, number, side="right") - 1, nanoseconds(number, 1 / rate)


def _first_ticks(units: np.ndarray, scale: Fraction, early: Fraction) -> np.ndarray:
    """ceil(units * scale - early), exactly."""
    a, b = scale.numerator * early.denominator, early.numerator * scale.denominator
    c = scale.denominator * early.denominator
    if (int(units[-1]) + 1) * a + b < 1 << 62 and c < 1 << 62:
        return -((b - units * a) // c)
    return np.array([min(-((b - u * a) // c), 1 << 62) for u in units.tolist()], np.int64)


def at_times(track: Track, times: tuple[int, ...], path: str, damage: Told) -> tuple[np.ndarray, np.ndarray]:
    """Of each time the number of the frame that is shown then; times at which none is are told, and left out."""
    asked = np.array(times, np.int64)
    length = nanoseconds(np.array([track.end]) - track.pts[:1], track.base) if len(track.pts) else np.zeros(1, np.int64)
    last = int(length[0])
    close = max(_CLOSE, int(min(track.base / 2, _ROUNDED) * 1_000_000_000))
    beyond = asked >= last + close if len(track.pts) else np.ones(len(asked), bool)
    if beyond.any():
        damage(
            f"{path}: stream {track.stream} shows nothing at {asked[beyond][0] / 1e9:g} s: "
            f"it ends after {last / 1e9:g} s"
        )
    asked = asked[~beyond]
    return np.searchsorted(track.times - close, asked, side="right") - 1, asked
