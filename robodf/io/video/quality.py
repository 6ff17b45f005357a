"""Numbers about frames, from a small picture of their luma: no colours are computed for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from av import VideoFrame

COLUMNS: dict[str, pl.DataType] = {
    "sharpness": pl.Float64(),
    "exposure": pl.Float64(),
    "change": pl.Float64(),
    "luma_hash": pl.UInt64(),
}

WIDTH, HEIGHT = 320, 180
"""The small picture fits into this; a frame that is smaller stays as it is."""


class Luma:
    """Makes the small pictures of a stream."""

    def __init__(self) -> None:
        from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

        self._reformatter = VideoReformatter()
        self._how: dict[str, Any] = {
            "format": "gray", "interpolation": Interpolation.AREA, "dst_color_range": ColorRange.JPEG, "threads": 1,
        }  # fmt: skip

    def of(self, frame: VideoFrame) -> np.ndarray:
        """(height, width) uint8."""
        scale = min(1.0, WIDTH / frame.width, HEIGHT / frame.height)
        width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        return plane(self._reformatter.reformat(frame, width, height, **self._how), 1)


def plane(frame: VideoFrame, channels: int) -> np.ndarray:
    """The only plane of a frame, (height, bytes of a row), without a copy."""
    lines = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(-1, frame.planes[0].line_size)
    return lines[: frame.height, : frame.width * channels]


def measured(luma: np.ndarray, before: np.ndarray | None, columns: tuple[str, ...]) -> dict[str, Any]:
    """The numbers asked for; `before` is the luma of the frame shown before it."""
    found: dict[str, Any] = {}
    if "sharpness" in columns:
        found["sharpness"] = _laplacian_variance(luma)
    if "exposure" in columns:
        found["exposure"] = float(luma.mean()) / 255
    if "change" in columns:
        there = before is not None and before.shape == luma.shape
        found["change"] = float(np.abs(luma.astype(np.int16) - before).mean()) / 255 if there else None  # type: ignore[operator]
    if "luma_hash" in columns:
        from robodf.dedup.luma import area_means, hash_of

        found["luma_hash"] = int(hash_of(area_means(luma)[None])[0])
    return found


def _laplacian_variance(luma: np.ndarray) -> float:
    """J. L. Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, 2000: of the inner pixels."""
    p = luma.astype(np.int32)
    if min(p.shape) < 3:
        return 0.0
    inner = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1]
    return float(inner.var())
