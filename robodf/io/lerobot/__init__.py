"""LeRobot data sets, of version 2.0, 2.1 and 3.0, read without LeRobot's own package; written as 3.0."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from robodf.errors import OptionError, hint, listing

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.lerobot.source import LeRobotFrames

_WHAT = ("frames", "episodes", "tasks", "stats")


def read_lerobot(
    root: str | os.PathLike,
    *,
    table: str = "frames",
    episodes: Iterable[int] | int | None = None,
    cameras: bool | Iterable[str] = True,
    tolerance: float | None = None,
    frames_by: str = "timestamp",
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of a LeRobot data set, one row a frame of the recording, in the order of its files.

    The columns are those of its Parquet files, under their own names, dots and all (`rd.col("observation.state")`, in
    SQL `"observation.state"`), then `task` (String, the text of task_index) and one column of images for each camera,
    such as `observation.images.top`: a struct of height, width, encoding, step and data (`rgb8`). Where the files of
    version 2 have no episode_index or frame_index, they come from the names of the files and the rows in them.

    Images are read for rows that are wanted only, and each group of pictures of a video is decoded at most once for a
    file of rows. The image of a row is the frame of its episode that is nearest to `timestamp`, as LeRobot itself looks
    it up, in the video that the camera's own chunk and file numbers name; at equal distance the earlier one. What can
    be told by names of files and by statistics of row groups is skipped before it is read: filter on episode_index,
    task, task_index, frame_index or index.

    Files are believed before metadata: episodes are the files (version 2) or what these hold, cameras are folders of
    videos, `videos` or `video`. What meta/info.json does not tell, or tells wrongly, is inferred and noted in
    `df.errors`: a feature without videos (it is no column), a broken info.json, rows that are more than half a frame
    from their image. Nothing is unpickled or run.

    Parameters
    ----------
    root
        The folder of one data set, with `meta` and `data` in it: local, or the URL of an object store.
    table
        "frames"; or what the metadata lists, read now: "episodes" (episode_index, length, tasks, fps, and for each
        camera a struct of path, from_timestamp and to_timestamp in seconds), "tasks" (task_index, task) or "stats"
        (episode_index, null for the whole set; feature, statistic, values).
    episodes
        Numbers of the episodes to read; the same as a filter, but an episode that is not there is an error.
    cameras
        True: all that there are; False: none, and PyAV is not needed; or names.
    tolerance
        Seconds that a frame may be from its row's time; by default one and a half frames, as the clock of many sets
        starts one frame late.
    frames_by
        "timestamp", or "frame_index": row i of an episode has the frame at i / fps, whatever its timestamp.
    on_error
        "raise"; "skip" and "collect" note in `df.errors` what is broken: a file of rows that cannot be read gives no
        rows, an image that cannot be read or is not there is null.

    Raises
    ------
    NoFilesError, FileFormatError
        There is no data set, or several; a file of it is broken or missing.
    OptionError
        An option that is none, an episode or a camera that is not there.
    ImportError
        There are cameras, and PyAV is not installed (images in Parquet files: Pillow).

    Examples
    --------
    >>> import robodf as rd, tempfile, os
    >>> root = os.path.join(tempfile.mkdtemp(), "pick")
    >>> rows = {"episode_index": [4, 4, 7], "action": [[0.1], [0.2], [0.3]], "task": ["pick", "pick", "place"]}
    >>> _ = rd.from_dict(rows).to_lerobot(root, fps=10)
    >>> df = rd.read_lerobot(root)
    >>> df.filter(rd.col("task") == "pick").select("episode_index", "frame_index", "timestamp").collect().rows()
    [(0, 0, 0.0), (0, 1, 0.10000000149011612)]
    >>> rd.read_lerobot(root, table="episodes").select("episode_index", "length", "fps").collect().rows()
    [(0, 2, 10.0), (1, 1, 10.0)]
    """
    from robodf.io.error_log import ErrorLog
    from robodf.io.lerobot import metadata
    from robodf.io.lerobot.episode_list import episodes_table
    from robodf.io.lerobot.listed import Listed
    from robodf.io.lerobot.source import LeRobotFrames
    from robodf.io.lerobot.tree import tree
    from robodf.io.logs.model import check_on_error
    from robodf.io.read import from_source

    check_on_error(on_error)
    if table not in _WHAT:
        raise OptionError(f"read_lerobot: no table {table!r}{hint(table, _WHAT)} There are {listing(_WHAT)}.")
    if frames_by not in ("timestamp", "frame_index"):
        raise OptionError(f"read_lerobot: frames_by is 'timestamp' or 'frame_index', not {frames_by!r}")
    if tolerance is not None and not (isinstance(tolerance, (int, float)) and 0 <= tolerance < 1e9):
        raise OptionError(f"read_lerobot: tolerance is a number of seconds, not {tolerance!r}")
    log = ErrorLog()
    notes = metadata.Notes(on_error, log)
    found = tree(os.fspath(root), storage_options)
    mark = tuple(metadata.mark(found, storage_options))
    if table == "stats":
        return from_source(Listed(table, mark, on_error, metadata.stats(found, storage_options, notes), log))
    files = metadata.data_files(found, storage_options)
    about = metadata.layout(found, files, storage_options, notes)
    if table == "tasks":
        return from_source(Listed(table, (mark, files), on_error, about.tasks, log))
    if table == "episodes":
        listed = episodes_table(about, files, storage_options)
        return from_source(Listed(table, (mark, files), on_error, listed, log))
    chosen = _cameras(about.cameras, cameras)
    wanted = _episodes(episodes, about, files)
    if wanted is not None and about.version.startswith("v2"):
        files = tuple(file for file in files if file.episode in wanted)
    storage = tuple(sorted((storage_options or {}).items()))
    source = LeRobotFrames(files, mark, about, chosen, tolerance, frames_by, storage, on_error, log=log)
    _need_packages(source)
    df = from_source(source)
    if wanted is not None and not about.version.startswith("v2"):
        from robodf.plan.expr import Col

        df = df.filter(Col("episode_index").is_in(sorted(wanted)))
    return df


def _cameras(known: tuple[str, ...], wanted: bool | Iterable[str]) -> tuple[str, ...]:
    if isinstance(wanted, bool):
        return known if wanted else ()
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in known:
            raise OptionError(
                f"read_lerobot: no camera {name!r}{hint(str(name), known)} There is {listing(known) or 'none'}."
            )
    return tuple(name for name in known if name in names)


def _episodes(wanted: Iterable[int] | int | None, about, files) -> set[int] | None:  # type: ignore[no-untyped-def]
    if wanted is None:
        return None
    numbers = {wanted} if isinstance(wanted, int) else set(wanted)
    if not numbers or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise OptionError("read_lerobot: episodes are numbers of episodes, at least one")
    known = {f.episode for f in files} if about.version.startswith("v2") else set(about.episodes["episode_index"])
    lost = sorted(numbers - known)
    if lost and known:
        raise OptionError(f"read_lerobot: no episode {lost[0]}; there are {len(known)}, {min(known)} to {max(known)}")
    return numbers


def _need_packages(source: LeRobotFrames) -> None:
    if source.cameras:
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "read_lerobot needs PyAV for the frames of videos: pip install 'robodf[video]'; or pass cameras=False"
            ) from error
    if source.heavy - set(source.cameras):
        try:
            import PIL  # noqa: F401
        except ImportError as error:
            raise ImportError("read_lerobot needs Pillow for these images: pip install 'robodf[images]'") from error
