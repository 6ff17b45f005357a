"""The ROS 1 bag container (format 2.0): summaries, and chunks of messages as columns."""

from robodf.io.bag.chunks import HEADS, count, heads, read_chunk
from robodf.io.bag.summary import BagSummary, read_summary

__all__ = ["HEADS", "BagSummary", "count", "heads", "read_chunk", "read_summary"]
