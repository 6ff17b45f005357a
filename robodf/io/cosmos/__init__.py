"""Clips of Cosmos and DreamGen: generated and conditioning videos with their prompts and controls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from robodf.errors import NoFilesError, OptionError
from robodf.io.video.opening import need_av

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

EXTENSIONS = (".mp4", ".json", ".jsonl", ".txt", ".csv", ".pickle")


def read_cosmos(
    root: str | os.PathLike,
    *,
    max_frames: int = 8,
    frame_rate: float | None = None,
    resolution: tuple[int, int] | None = None,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of the clips in a folder of Cosmos or DreamGen, one row a clip.

    What belongs to a clip is found by names, so layouts may be mixed below one folder (`layout` tells):

    - "predict" (training of Cosmos-Predict2): `videos/*.mp4` or `videos/<view>/*.mp4`, with the prompt in
      `metas/<name>.txt` or in a `metadata.csv` beside `videos`, controls of the same name in folders beside it
      (`control_input_edge/<name>.mp4`), and the embedding `t5_xxl/<name>.pickle`, whose path is given and which is
      never opened.
    - "dreamgen": `videos/<n>.mp4` with `labels/<n>.txt`, or files named `<n>_<Prompt_with_underscores>.mp4`.
    - "transfer": JSON files, or lines of a .jsonl file, that name a video, a prompt and controls with their weights
      (controlnet specs of Cosmos-Transfer). A path in them is looked up below `root`, beside the JSON file, and by its
      last name beside it; one that is not there stays as it is written, and is noted in `df.errors`.
    - "video": any other MP4 file, with the prompt in a text file of its name, where there is one.

    Columns: path (of the video, or the JSON file), layout, video, prompt, split (a folder train, val or test above it),
    view, controls (a list of name, path, weight, weight_path: weights that are tensors are never opened), embedding,
    fps, frame_count, width, height, duration, and `frames`: a list of images (`rgb8`), read for wanted rows only. For
    all frames of chosen clips, one row each, read their paths as videos.

    Parameters
    ----------
    root
        A folder, local or the URL of an object store, or one file.
    max_frames, frame_rate
        How many frames the list has at most: evenly spaced over the clip, with its first and its last one; or so many
        a second from the first on.
    resolution
        (width, height) to which frames are resized.
    on_error
        "raise"; "skip" and "collect" note broken files in `df.errors`: a clip without a readable video has null in the
        columns that come from it.

    Raises
    ------
    NoFilesError
        There is no clip.
    FileFormatError
        A video is broken, or a text is no text.
    ImportError
        PyAV is not installed.

    Examples
    --------
    >>> import robodf as rd, pathlib, tempfile, av, numpy as np
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> with av.open(str(root / "3_Open_the_drawer.mp4"), "w") as file:
    ...     stream = file.add_stream("mpeg4", rate=8)
    ...     stream.width = stream.height = 32
    ...     for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)]:
    ...         file.mux(packet)
    >>> rd.read_cosmos(root).select("layout", "prompt", "fps", "width").collect().rows()
    [('dreamgen', 'Open the drawer', 8.0, 32)]
    """
    from robodf.io.cosmos.clips import Clips, clips
    from robodf.io.error_log import ErrorLog
    from robodf.io.files import list_files
    from robodf.io.logs.model import check_on_error
    from robodf.io.read import from_source

    check_on_error(on_error)
    if isinstance(max_frames, bool) or not isinstance(max_frames, int) or not 0 < max_frames <= 100_000:
        raise OptionError(f"read_cosmos: max_frames is a positive number of frames, not {max_frames!r}")
    if frame_rate is not None and not (isinstance(frame_rate, (int, float)) and 0 < frame_rate < 1e6):
        raise OptionError(f"read_cosmos: frame_rate is a positive number a second, not {frame_rate!r}")
    if resolution is not None:
        size = tuple(resolution)
        if len(size) != 2 or not all(isinstance(n, int) and 0 < n <= 1 << 14 for n in size):
            raise OptionError(f"read_cosmos: resolution is (width, height), not {resolution!r}")
        resolution = size
    need_av("read_cosmos")
    log = ErrorLog()
    files = list_files(root, EXTENSIONS, storage_options)
    found = clips(os.fspath(root), files, storage_options, on_error == "raise", log)
    if not found:
        raise NoFilesError(f"{os.fspath(root)}: no clip of Cosmos: no MP4 file, and no JSON file that names one")
    source = Clips.of(list(found), storage_options, on_error, known=found, max_frames=max_frames,
                      frame_rate=frame_rate, resolution=resolution, log=log)  # fmt: skip
    return from_source(source)


def is_cosmos(path: str) -> bool:
    """Whether a local folder is of Cosmos or DreamGen: videos with prompts beside them."""
    folder = os.path.expanduser(path)
    if not os.path.isdir(os.path.join(folder, "videos")):
        return False
    return any(os.path.isdir(os.path.join(folder, name)) for name in ("metas", "labels", "t5_xxl"))
