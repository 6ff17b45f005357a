"""Videos that lie beside a table, as those of LeRobot and Cosmos: one stream, whose frames are found by number."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.files import StorageOptions, fingerprint
from robodf.io.video.decode import frames
from robodf.io.video.index import Track, chosen, tracks
from robodf.io.video.opening import Told, opened, prepare


class Header(NamedTuple):
    """What the header of a file says; None where it does not."""

    frames: int | None
    rate: float | None  # frames a second
    duration: Fraction | None  # seconds
    width: int
    height: int
    codec: str
    pixels: str


def header(path: str, storage: StorageOptions) -> Header:
    """What is known of a video without its packets; FileFormatError where there is none."""
    with opened(path, storage) as container:
        (stream,) = chosen(container, None, path)
        prepare(stream, path)
        context = stream.codec_context
        rate, base = stream.average_rate, stream.time_base
        long = stream.duration * Fraction(base) if stream.duration and base else None
        return Header(stream.frames or None, float(rate) if rate else None, long, context.width, context.height,
                      context.codec.canonical_name, str(context.pix_fmt or ""))  # fmt: skip


def timed_track(path: str, storage: StorageOptions, damage: Told) -> Track:
    """The stream of a file; FileFormatError where its packets do not say when each frame is shown."""
    (track,) = tracks(path, fingerprint(path, storage), storage, None, damage)
    if track.counted:
        raise FileFormatError(f"{path}: its packets do not say when their frames are shown")
    return track


def images(
    path: str,
    storage: StorageOptions,
    track: Track,
    numbers: np.ndarray,
    damage: Told,
    size: tuple[int, int] | None = None,
) -> Iterator[np.ndarray | None]:
    """The frames of some numbers, ascending and none twice, as arrays (height, width, 3) of RGB.

    None for one that cannot be decoded, where `damage` bears that. `size` is a width and a height to which they are
    scaled.
    """
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    width, height = size or (None, None)
    left = iter(numbers.tolist())
    for number, frame in frames(path, storage, track, numbers, damage):
        yield from _lost(path, left, number, damage)
        yield reformatter.reformat(frame, width, height, "rgb24", threads=1).to_ndarray()
    yield from _lost(path, left, None, damage)


def _lost(path: str, left: Iterator[int], until: int | None, damage: Told) -> Iterator[None]:
    """None for each frame before the next one that came out of the decoder."""
    for number in left:
        if number == until:
            return
        damage(f"{path}: frame {number} cannot be decoded")
        yield None
