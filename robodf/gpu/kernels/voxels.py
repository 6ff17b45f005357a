"""The points of a cloud by cube, on the device: the sorts that take most of the time of `voxel_downsample`."""

from __future__ import annotations

from typing import Any

import numpy as np

from robodf.gpu.kernels.products import on_host


def grouped(xp: Any, rows: np.ndarray, cubes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `robodf.clouds.voxels.groups`, by its code; `xp` is the module of arrays (CuPy)."""
    from robodf.clouds.voxels import groups

    order, starts = groups(xp.asarray(rows), xp.asarray(cubes), xp)
    return on_host(xp, order), on_host(xp, starts)
