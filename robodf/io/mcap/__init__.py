"""The MCAP container: summaries, chunks of messages as columns, and a writer."""

from robodf.io.mcap.chunks import Index, Messages, count, index_only, read_chunk, select_chunks
from robodf.io.mcap.records import Channel, ChunkIndex, Schema, Statistics
from robodf.io.mcap.summary import Summary, read_summary
from robodf.io.mcap.writer import McapWriter

__all__ = [
    "Channel",
    "ChunkIndex",
    "Index",
    "McapWriter",
    "Messages",
    "Schema",
    "Statistics",
    "Summary",
    "count",
    "index_only",
    "read_chunk",
    "read_summary",
    "select_chunks",
]
