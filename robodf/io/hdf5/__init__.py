"""HDF5: the steps of episodes, or any dataset, as rows. Read by robodf itself, without libhdf5.

libhdf5 opens one object after the other, under one lock: of 10,000 demos that takes seconds, and damaged files made it
crash and hang. What is read here is what robot data has: both generations of headers and groups, contiguous, compact
and chunked data, gzip, shuffle, checksums, LZF, Zstandard, LZ4 and Blosc.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.source import Source

EXTENSIONS = (".hdf5", ".h5", ".hdf", ".he5")

Paths = str | os.PathLike | Iterable[str | os.PathLike]


def read_hdf5(
    paths: Paths,
    layout: Literal["episodes", "datasets"] | None = None,
    *,
    dataset: str | None = None,
    mask: str | None = None,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of HDF5 files: the steps of their episodes, or the rows of one dataset.

    *Episodes* are found by groups and datasets, never by attributes: `data/demo_0`, ... of Isaac Lab and robomimic, the
    same names at the root, or a file with a dataset `action`, which is one episode (ACT, ALOHA, mobile ALOHA). A row is
    a step, episodes are in natural order (demo_10 after demo_9):

    - `path`, `episode` (demo_3, or the name of the file), `episode_index` (the number at its end), `step` from 0
    - `episode_success`, ...: the attributes of an episode, for all of its steps; those of more than a kilobyte are left
      out. `mask_train`, ...: whether robomimic's list `mask/train` has the episode
    - datasets of one row or value (initial states), for all steps of the episode
    - datasets of a row for each step, called by their path with `_`: obs/eef_pos is obs_eef_pos (or `/obs/eef_pos`
      where two would have one name). Rows are Array; images are `height, width, encoding, step, data` as of any reader;
      padded JPEG (mobile ALOHA) is Binary without the padding

    How long an episode is says `actions` (or `action`, else the length that most datasets have). Columns are found from
    up to 16 episodes, spread over all files; an episode that lacks one has nulls. Another length in a dataset of steps
    is an error where that column is read.

    *One dataset*: `dataset="a/b"` gives `path`, `row`, and `b`, or the fields of a record as columns. A file with a
    single dataset needs no `dataset`. `layout="datasets"` lists datasets: shape, type, chunk, filters, bytes.

    Filters on `episode`, `step`, attributes and masks choose rows before anything else is read; of the columns wanted
    only the chunks that hold these rows are, each once. `mask="train"` is the same as filtering by `mask_train`.

    Links to other files and external data are never followed. FileFormatError for files that are damaged or none;
    with `on_error="skip"` or `"collect"` (the latter tells in `df.errors`) what cannot be read is null or left out.

    >>> import h5py, numpy as np, robodf as rd
    >>> with h5py.File("demos.hdf5", "w") as file:
    ...     for k in range(2):
    ...         file[f"data/demo_{k}/actions"] = np.full((3, 2), k, "f4")
    ...         file[f"data/demo_{k}"].attrs["success"] = k == 1
    >>> df = rd.read_hdf5("demos.hdf5")
    >>> df.filter(rd.col("episode_success") & (rd.col("step") < 2)).collect().select("step", "actions").rows()
    [(0, [1.0, 1.0]), (1, [1.0, 1.0])]
    """
    from robodf.io.files import list_files
    from robodf.io.read import from_source

    files = list_files(paths, EXTENSIONS, storage_options)
    return from_source(_source(files, layout, dataset, mask, on_error, storage_options))


def _source(files: list[str], layout: str | None, dataset: str | None, mask: str | None, on_error: str,
            storage: dict | None) -> Source:  # fmt: skip
    from robodf.errors import FileFormatError, OptionError, listing
    from robodf.io.hdf5.episodes import episodes
    from robodf.io.hdf5.file import Hdf5File
    from robodf.io.hdf5.layout import walk
    from robodf.io.hdf5.tables import Listing, dataset_rows

    if layout not in (None, "episodes", "datasets"):
        raise OptionError(f"read_hdf5: layout={layout!r}; it is 'episodes', 'datasets' or None")
    if dataset is not None:
        if layout is not None or mask is not None:
            raise OptionError("read_hdf5: dataset= reads one dataset, without layout= and mask=")
        return dataset_rows(files, dataset, on_error, storage)
    if layout == "datasets":
        if mask is not None:
            raise OptionError("read_hdf5: mask= chooses episodes, which layout='datasets' does not read")
        return Listing.of(files, storage, on_error)
    found = episodes(files, mask, on_error, storage)
    if found is not None:
        return found
    with Hdf5File(files[0], storage) as file:
        names = list(walk(file, file.root).datasets)
    if len(names) == 1 and layout is None and mask is None:
        return dataset_rows(files, names[0], on_error, storage)
    raise FileFormatError(
        f"{files[0]}: no episodes: neither data/demo_0 nor demo_0 (or episode_0, traj_0), nor a dataset `action` or "
        f"`actions`. Pass dataset=, one of: {listing(names) or 'none, as the file holds no dataset'}"
    )


def open_hdf5(path: str | os.PathLike, *, storage_options: dict | None = None) -> Hdf5:
    """What an HDF5 file holds, without its data: `.datasets()`, `.attributes(path)`, `.episodes`, `file["a/b"]`.

    >>> import h5py, robodf as rd
    >>> with h5py.File("a.h5", "w") as file:
    ...     file["a/b"] = [1, 2, 3]
    ...     file["a"].attrs["rate"] = 50
    >>> file = rd.open_hdf5("a.h5")
    >>> file.datasets().select("dataset", "shape", "type").rows()
    [('a/b', [3], 'int64')]
    >>> file.attributes("a")
    {'rate': 50}
    >>> file["a/b"].collect()["b"].to_list()
    [1, 2, 3]
    """
    from robodf.io.files import list_files

    return Hdf5(list_files(os.fspath(path), EXTENSIONS, storage_options)[0], storage_options)


class Hdf5:
    """One file. It is opened for each question and kept open for none."""

    def __init__(self, path: str, storage_options: dict | None = None):
        from robodf.io.hdf5.file import Hdf5File

        self.path = path
        self._storage = storage_options
        with Hdf5File(path, storage_options):  # one that is none is told now
            pass

    def datasets(self, group: str = "") -> pl.DataFrame:
        """dataset, shape, type, chunk, filters, bytes, problem: all datasets below a group, and links elsewhere."""
        from robodf.errors import FileFormatError
        from robodf.io.hdf5.file import Hdf5File
        from robodf.io.hdf5.layout import walk
        from robodf.io.hdf5.tables import at_path, table

        with Hdf5File(self.path, self._storage) as file:
            address = at_path(file, group)
            if address is None:
                raise FileFormatError(f"{self.path}: there is no group {group!r}")
            return table(walk(file, address))

    @property
    def episodes(self) -> pl.DataFrame | None:
        """The episodes and their steps, or None where the file holds none."""
        from robodf.io.hdf5.episodes import episodes

        source = episodes([self.path], None, "raise", self._storage)
        if source is None:
            return None
        steps = source.index(self.path, ("episode",))
        return steps.group_by("episode", maintain_order=True).len("steps")

    def attributes(self, path: str = "") -> dict[str, Any]:
        """The attributes of a group or dataset; None of a value that robodf does not read."""
        from robodf.errors import FileFormatError
        from robodf.io.hdf5.file import Hdf5File
        from robodf.io.hdf5.heaps import attributes, values
        from robodf.io.hdf5.tables import at_path

        with Hdf5File(self.path, self._storage) as file:
            address = at_path(file, path)
            if address is None:
                raise FileFormatError(f"{self.path}: there is no object {path!r}")
            return {name: values(file, found) for name, found in attributes(file, address).items()}

    def __getitem__(self, dataset: str) -> PipelineDataFrame:
        return read_hdf5(self.path, dataset=dataset, storage_options=self._storage)

    def __repr__(self) -> str:
        return f"Hdf5({self.path!r})"
