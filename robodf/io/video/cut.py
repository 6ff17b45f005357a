"""A part of a video file, without decoding it where the cut allows that."""

from __future__ import annotations

import os
import time as clock
from pathlib import Path
from typing import Any

import numpy as np

from robodf.errors import FileFormatError, OptionError
from robodf.io import publish
from robodf.io.files import fingerprint
from robodf.io.sink import WriteReport
from robodf.io.video.index import Track, tracks
from robodf.io.video.opening import need_av, refuse, told
from robodf.io.video.packets import Packets
from robodf.io.video.sampling import times_of
from robodf.io.video.write import CONTAINERS


def cut(
    path: str | os.PathLike, out: str | os.PathLike, start: Any, end: Any, stream: int | None, mode: str,
    storage_options: dict | None,
) -> WriteReport:  # fmt: skip
    """As `rd.cut_video` says."""
    began = clock.monotonic()
    av = need_av("cut_video")
    source, text = os.fspath(path), os.fspath(out)
    container = CONTAINERS.get(os.path.splitext(text)[1].lower())
    if container is None:
        raise OptionError(f"cut_video: the new name ends in one of {', '.join(CONTAINERS)}: {text!r}")
    if mode not in ("error", "overwrite"):
        raise OptionError(f"cut_video: mode is 'error' or 'overwrite', not {mode!r}")
    target = Path(os.path.realpath(os.path.expanduser(text)))
    if mode == "error" and target.exists():
        raise publish.exists(target)
    (track,) = tracks(source, fingerprint(source, storage_options), storage_options,
                      None if stream is None else (stream,), refuse)  # fmt: skip
    packets = _packets(track, source, start, end)
    with publish.staging(target) as area:
        staged = area / "file"
        try:
            _copy(source, storage_options, track, packets, staged, container)
        except av.FFmpegError as error:
            raise FileFormatError(f"{source}: cannot be copied to {text}: {told(error)}") from error
        size = staged.stat().st_size
        publish.publish_file(staged, target, replace=mode == "overwrite")
    rows = int(((track.packet >= packets[0]) & (track.packet <= packets[1])).sum())
    return WriteReport(text, rows, (str(target),), size, clock.monotonic() - began)


def _packets(track: Track, path: str, start: Any, end: Any) -> tuple[int, int]:
    """The first and the last packet of the cut."""
    if track.counted:
        raise OptionError(f"cut_video: {path} has no times of frames, so it cannot be cut without decoding it")
    asked = times_of([start if start is not None else 0] if end is None else [start or 0, end])
    assert asked is not None
    times = track.times
    first = int(np.searchsorted(times, asked[0][1][0]))
    last = len(times) if end is None else int(np.searchsorted(times, asked[0][1][1]))
    if last <= first:
        raise OptionError(f"cut_video: no frame of {path} begins from {start} to {end} s")
    # A cut before frame k: all that is shown before it is decoded before all that is shown from it on, and what is
    # shown from it on needs nothing before.
    ends = np.maximum.accumulate(track.packet)
    begins = np.minimum.accumulate(track.start[::-1])[::-1]
    clean = np.flatnonzero(begins > np.concatenate(([-1], ends[:-1])))
    whole = np.flatnonzero(np.minimum.accumulate(track.packet[::-1])[::-1] > np.concatenate(([-1], ends[:-1])))
    if first not in clean:
        raise OptionError(_near("start", start, times, clean, first, path))
    if last < len(times) and last not in whole:
        raise OptionError(_near("end", end, times, whole, last, path))
    return int(track.start[first]), int(ends[last - 1])


def _near(what: str, asked: Any, times: np.ndarray, clean: np.ndarray, frame: int, path: str) -> str:
    k = int(np.searchsorted(clean, frame))
    near = " and ".join(f"{times[c] / 1e9:.9g}" for c in clean[max(0, k - 1) : k + 1])
    return (
        f"cut_video: {what}={asked} is not a place where {path} can be cut without decoding it; the nearest are "
        f"{near} s. To cut there, encode anew: rd.read_video(...).filter(...).to_video(..., time='frame_time')"
    )


def _copy(path: str, storage: Any, track: Track, packets: tuple[int, int], staged: Path, container: str) -> None:
    av = need_av("cut_video")
    first, last = packets
    # Times before the first one that is decoded would be refused.
    shift = int(track.packet_pts[first : last + 1].min())
    with Packets(path, storage, track, refuse) as source, av.open(str(staged), "w", format=container) as out:
        copied = out.add_stream_from_template(source.stream, opaque=True)
        for packet in source.some(first, last):
            assert packet.pts is not None
            packet.pts -= shift
            if packet.dts is not None:
                packet.dts -= shift
            packet.stream = copied
            out.mux(packet)
