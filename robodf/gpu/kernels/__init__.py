"""robodf's own operators on a GPU: where they run is chosen here, and nowhere else.

Each operator asks one function of this file, which answers None where the processor does the work. The results are the
same, bit for bit, so the choice is about time alone. Nothing of CUDA is imported before a GPU was found.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from robodf.dedup.asked import engine

if TYPE_CHECKING:
    import numpy as np

    from robodf.dedup.method import Keys
    from robodf.dedup.reading import Readable
    from robodf.dedup.shingles import Tables
    from robodf.gpu.kernels.products import Products


class KernelWarning(RuntimeWarning):
    """There is a GPU, and the processor did some of its work: slower, with the same result."""


_listening: dict[int, list[str]] = {}


@contextmanager
def listening() -> Iterator[list[str]]:
    """What kernels tell in this block of where they ran, and why not on the GPU, each once.

    In any thread, as Polars calls them in its own: of other queries that run meanwhile too.
    """
    told: list[str] = []
    _listening[id(told)] = told
    try:
        yield told
    finally:
        del _listening[id(told)]


def tell(text: str) -> None:
    """What `listening` hears."""
    for told in list(_listening.values()):
        if text not in told:
            told.append(text)


def fell_back(text: str, stacklevel: int = 2) -> None:
    """A KernelWarning, which `listening` hears too."""
    tell(text)
    warnings.warn(text, KernelWarning, stacklevel=stacklevel + 1)


@dataclass(frozen=True)
class Work:
    """A kind of work and what is done of it in a second: by one core of a processor, and by a device."""

    name: str
    cpu: float
    device: float
    needs: tuple[str, ...] = ()
    """Packages beside numba-cuda and RMM."""


# By a core: keys and cubes were measured on a Xeon, products are the figure of `robodf.dedup.semantic`, sets are
# assumed. By a device: nothing was measured; the figures are assumed, below the bound that is named beside each.
WORDS = Work("keys of words, bytes of text", 3.5e8, 5e10)  # reading: one byte a cycle of each of 132 multiprocessors
CHARACTERS = Work("keys of characters, bytes of text", 8e7, 3e10)  # 17e12 products a second, 70 a n-gram: 240e9
SETS = Work("comparison of sets, bytes of hashes", 1e9, 2e11)  # a random access to memory for each 8 bytes
PRODUCTS = Work(
    "products of vectors, multiplications and additions", 7e10, 1.5e13, ("cupy",)
)  # float32 without tensor cores
VOXELS = Work("cubes of points, bytes of coordinates", 3e7, 1e10, ("cupy",))  # four sorts of 8-byte keys

MARGIN = 0.3
"""By how much of its time a device must be faster to be chosen: what is assumed of it may be wrong by that."""

_COMPILE = 5.0  # seconds until numba has compiled the kernels, beside what starts the device. Assumed.
_CALL = 1e-3  # seconds: launches and small copies. Assumed.


class _Seen:
    """What this process lost by not having started a device yet; whether it has, and why it cannot."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.started = False
        self.lost = 0.0
        self.broken: str | None = None


_seen = _Seen()


def wanted(work: Work, amount: float, there: int, back: int) -> int | None:
    """The bytes of device memory that some work may take; or None: the processor does it.

    `amount` is of the unit of `work`; `there` and `back` are bytes that go to the device and return. With
    `engine="gpu"` it is the device always, and a DeviceError where there is none. With "auto" it is the device where
    that is faster by `MARGIN`. To start one takes seconds, which no single piece of a long run is worth; so it is
    started once the pieces before would have gained as much: a run never takes twice the time of the better choice.

    Warns:
        KernelWarning: with "auto" there is a device, and it cannot be used, for the reason that it names.
    """
    asked = engine()
    if not amount:
        return None
    if asked == "gpu":
        room = _room(work)
        tell(f"{work.name}: on the GPU")
        return room
    if asked != "auto" or _seen.broken:
        return None
    import polars as pl

    on_cpu = amount / (work.cpu * pl.thread_pool_size())
    if on_cpu <= _CALL or not all(map(find_spec, ("numba_cuda", "rmm", *work.needs))):
        return None
    from robodf.gpu.devices import devices

    found = devices()
    if not found:
        return None
    from robodf.errors import DeviceError
    from robodf.gpu.rates import rates

    try:
        known = rates(found[0].name)
    except DeviceError:  # nothing is known of such a GPU, and nothing is guessed: it waits for `robodf calibrate`
        return None
    on_device = _CALL + there / known.to_device + amount / work.device + back / known.from_device
    gain = on_cpu - on_device * (1 + MARGIN)
    if gain <= 0:
        return None
    with _seen.lock:
        _seen.lost += gain
        _seen.started = _seen.started or _seen.lost >= known.start + _COMPILE
    return _room_or_none(work) if _seen.started else None


def _room(work: Work) -> int:
    from robodf.gpu.kernels.device import room

    return room(work.needs)


def _room_or_none(work: Work) -> int | None:
    from robodf.errors import DeviceError

    try:
        room = _room(work)
    except DeviceError as error:
        _seen.broken = str(error)
        fell_back(f"robodf's kernels stay on the processor: {error}")
        return None
    tell(f"{work.name}: on the GPU")
    return room


def keys_of_texts(texts: Readable, tables: Tables, bands: int, rows: int) -> Keys | None:
    """As `robodf.dedup.minhash.keys`."""
    import numpy as np

    size = int(np.maximum(texts.size, 0).sum())
    n = len(texts.size)
    free = wanted(WORDS if tables.words else CHARACTERS, size, size + 33 * n, (8 * bands + 24) * n)
    if free is None:
        return None
    from robodf.gpu.kernels import texts as on_device

    return on_device.keys(texts, tables, bands, rows, free)


def similarities(left: np.ndarray, right: np.ndarray, held: Any, least: float) -> np.ndarray | None:
    """As `robodf.dedup.walk.verify`, of sets of n-grams."""
    from robodf.dedup.jaccard import ShingleSets

    if not isinstance(held, ShingleSets) or not len(left):
        return None
    import numpy as np

    size = np.diff(held.edges)
    amount = 8 * int(size[left].sum() + size[right].sum())
    rows = 8 * int(size[np.unique(np.concatenate([left, right]))].sum())
    free = wanted(SETS, amount, rows + 16 * len(left), 8 * len(left))
    if free is None:
        return None
    from robodf.gpu.kernels import sets

    return sets.similarities(left, right, held, least, free)


def multiplier(unit: np.ndarray, amount: float) -> Products | None:
    """What multiplies blocks of the vectors `unit` (n, d); `amount` is multiplications and additions in all."""
    free = wanted(PRODUCTS, amount, unit.nbytes, unit.nbytes)
    if free is None or unit.nbytes > free // 2:
        return None
    from robodf.gpu.kernels.device import arrays
    from robodf.gpu.kernels.products import Products

    try:
        return Products(arrays(), unit)
    except MemoryError:
        return _no_room("products of vectors")


def grouped(rows: np.ndarray, cubes: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """As `robodf.clouds.voxels.groups`: the points sorted by row and cube, and where each cube starts."""
    free = wanted(VOXELS, cubes.nbytes, cubes.nbytes + rows.nbytes, rows.nbytes)
    if free is None or 4 * (cubes.nbytes + rows.nbytes) > free:
        return None
    from robodf.gpu.kernels import voxels
    from robodf.gpu.kernels.device import arrays

    try:
        return voxels.grouped(arrays(), rows, cubes)
    except MemoryError:  # the points of a cloud are sorted at once
        return _no_room("cubes of points")


def _no_room(what: str) -> None:
    fell_back(f"{what}: the memory of the device ran out, and the processor works", stacklevel=3)
