"""The ROS 2 .db3 container (SQLite): summaries, and pieces of its messages as columns."""

from robodf.io.db3.chunks import count, read_chunk
from robodf.io.db3.summary import Db3Summary, read_summary

__all__ = ["Db3Summary", "count", "read_chunk", "read_summary"]
