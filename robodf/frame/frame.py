"""The frame that users work with."""

from __future__ import annotations

from robodf.frame.calling import Calling
from robodf.frame.deduping import Deduping
from robodf.frame.embedding import Embedding
from robodf.frame.ending import Ending
from robodf.frame.grouping import Grouping
from robodf.frame.habits import Habits
from robodf.frame.joining import Joining
from robodf.frame.looking import Looking
from robodf.frame.reshaping import Reshaping
from robodf.frame.robots import Robots
from robodf.frame.shaping import Shaping
from robodf.frame.summing import Summing
from robodf.frame.timing import Timing
from robodf.frame.videos import Videos


class PipelineDataFrame(
    Shaping,
    Reshaping,
    Grouping,
    Summing,
    Joining,
    Deduping,
    Embedding,
    Calling,
    Ending,
    Looking,
    Habits,
    Robots,
    Timing,
    Videos,
):
    """A lazy, immutable frame: every method gives a new frame, and nothing is read until the rows are asked for.

    Make one with `rd.read(...)`, `rd.read_mcap(...)`, `rd.from_polars(...)`, `rd.sql(...)`.

    >>> import robodf as rd
    >>> df = rd.from_dict({"robot": ["a", "a", "b"], "speed": [0.1, 0.9, 0.5]})
    >>> df.filter(lambda x: x["speed"] > 0.3).select("robot").collect()["robot"].to_list()
    ['a', 'b']
    """

    @classmethod
    def from_paths(cls, paths: object, **options: object) -> PipelineDataFrame:
        """`rd.read(paths, **options)`: files, globs, directories or a list of them, by extension and content."""
        from robodf.io.read import read

        return read(paths, **options)  # type: ignore[arg-type]
