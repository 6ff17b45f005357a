"""The MCAP container: summaries, chunks of messages as columns, and a writer."""

from robodf.io.logs.model import Channel, ChunkIndex, Messages, Schema, select_chunks
from robodf.io.mcap.chunks import HEADS, Index, count, heads, index_only, read_chunk
from robodf.io.mcap.records import Statistics
from robodf.io.mcap.summary import McapSummary, read_summary
from robodf.io.mcap.writer import McapWriter

__all__ = [
    "HEADS",
    "Channel",
    "ChunkIndex",
    "Index",
    "McapSummary",
    "McapWriter",
    "Messages",
    "Schema",
    "Statistics",
    "count",
    "heads",
    "index_only",
    "read_chunk",
    "read_summary",
    "select_chunks",
]
