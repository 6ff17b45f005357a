"""The ROS 2 .db3 container (SQLite): summaries, and pieces of its messages as columns."""

from robodf.io.db3.chunks import HEADS, count, heads, read_chunk
from robodf.io.db3.summary import Db3Summary, read_summary

__all__ = ["HEADS", "Db3Summary", "count", "heads", "read_chunk", "read_summary"]
