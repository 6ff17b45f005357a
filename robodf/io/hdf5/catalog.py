"""The episodes of one file and how long they are, kept for the queries that follow."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.hdf5.alike import Alike, datasets, find
from robodf.io.hdf5.file import Hdf5File
from robodf.io.hdf5.layout import Example, example, listed


@dataclass
class Catalog:
    """`names` of episodes in natural order, and the addresses of their `groups`."""

    names: list[str]
    groups: np.ndarray
    prefix: str
    found: dict[str, Alike] = field(default_factory=dict)
    below: dict[str, np.ndarray] = field(default_factory=dict)
    examples: dict[int, Example] = field(default_factory=dict)

    def address(self, file: Hdf5File, path: str) -> np.ndarray:
        """Where the header of an object of each episode is."""
        if not path:
            return self.groups
        known = self.below.get(path)
        if known is None:
            above, _, name = path.rpartition("/")
            known = self.below[path] = find(file, self.address(file, above), name)
        return known

    def datasets(self, file: Hdf5File, path: str) -> Alike:
        """A dataset of each episode. One value, without dimensions, counts as one row."""
        known = self.found.get(path)
        if known is None:
            known = datasets(file, self.address(file, path))
            for k, d in known.others.items():
                if d is not None and d.shape == ():
                    known.others[k] = replace(d, shape=(1,))
            self.found[path] = known
        return known

    def example(self, file: Hdf5File, k: int) -> Example:
        """An episode with all that is in it."""
        known = self.examples.get(k)
        if known is None:
            where = f"{file.path}, {self.prefix}{self.names[k]}".removesuffix(", ")
            known = self.examples[k] = example(file, int(self.groups[k]), where)
        return known

    @property
    def nbytes(self) -> int:
        # Another query may fill them at the same time.
        kept = sum(a.nbytes for a in list(self.found.values())) + sum(a.nbytes for a in list(self.below.values()))
        objects = sum(len(e.tree.datasets) for e in list(self.examples.values()))
        return kept + 100 * len(self.names) + 1000 * objects


class NoEpisodes(FileFormatError):
    """A sound file that holds something else."""


def read_catalog(file: Hdf5File) -> Catalog:
    """The episodes of a file; FileFormatError where it holds none."""
    found = listed(file)
    if found is None:
        raise NoEpisodes(
            f"{file.path}: no episodes: neither data/demo_0 nor demo_0 (or episode_0, traj_0), nor a dataset `action` "
            "of a file that is one episode. rd.open_hdf5(path) lists what it holds, rd.read_hdf5(path, dataset=...) "
            "reads one dataset"
        )
    names, groups, prefix = found
    return Catalog(names, np.array(groups, np.uint64), prefix)


class _Catalogs:
    def __init__(self, most: int):
        self._most = most
        self._found: OrderedDict[tuple, Catalog] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple, make: Callable[[], Catalog]) -> Catalog:
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
                return found
        found = make()
        with self._lock:
            self._found[key] = found
            size = sum(c.nbytes for c in self._found.values()) if len(self._found) % 64 == 1 else 0
            while size > self._most and len(self._found) > 1:
                size -= self._found.popitem(last=False)[1].nbytes
        return found


catalogs = _Catalogs(128 << 20)
"""By path, size and time of change of a file, and what it was opened with."""
