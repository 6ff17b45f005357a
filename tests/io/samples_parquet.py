"""Parquet files of many writers, encodings and codecs with the rows that are in them, for tests of pages."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 230


def table(rows: int = ROWS, seed: int = 3) -> pl.DataFrame:
    """Bytes, texts and structs of them, with and without nulls, small and large, some of them twice."""
    draw = random.Random(seed)
    image = pl.Struct({"height": pl.UInt32, "encoding": pl.String, "score": pl.Float32, "ok": pl.Boolean,
                       "step": pl.Int8, "data": pl.Binary})  # fmt: skip
    values: dict[str, list] = {"id": list(range(rows)), "bytes": [], "some": [], "text": [], "twice": [], "image": []}
    for row in range(rows):
        values["bytes"].append(draw.randbytes(draw.randrange(900)))
        values["some"].append(None if draw.random() < 0.3 else draw.randbytes(draw.randrange(5)))
        values["text"].append(draw.choice(["", "ä" * draw.randrange(40), None, f"row {row}"]))
        values["twice"].append(draw.choice([b"one", b"two" * 50, b""]))
        values["image"].append(
            None if draw.random() < 0.1 else
            {"height": draw.choice([None, 2**32 - 1, row]), "encoding": draw.choice(["rgb8", "mono8", None]),
             "score": draw.choice([None, 0.5, float(row)]), "ok": draw.choice([True, False, None]),
             "step": draw.choice([-128, 127, None]), "data": draw.choice([None, draw.randbytes(300)])}
        )  # fmt: skip
    schema = {"bytes": pl.Binary, "some": pl.Binary, "text": pl.String, "twice": pl.Binary, "image": image}
    return pl.DataFrame(values, schema_overrides=schema)


ARROW: dict[str, dict[str, Any]] = {
    "plain, page index": {"use_dictionary": False, "write_page_index": True, "write_batch_size": 4},
    "plain, no index": {"use_dictionary": False, "write_batch_size": 4},
    "pages of version 2": {"use_dictionary": False, "data_page_version": "2.0", "write_page_index": True,
                           "write_batch_size": 8, "compression": "zstd"},
    "version 2, not compressed": {"use_dictionary": False, "data_page_version": "2.0", "compression": "none"},
    "dictionary": {"write_page_index": True, "write_batch_size": 16},
    "dictionary that falls back": {"dictionary_pagesize_limit": 2000, "write_page_index": True, "write_batch_size": 8},
    "dictionary, version 2": {"data_page_version": "2.0", "compression": "gzip"},
    "delta lengths": {"use_dictionary": False, "write_page_index": True, "write_batch_size": 16,
                      "column_encoding": {"bytes": "DELTA_LENGTH_BYTE_ARRAY", "some": "DELTA_LENGTH_BYTE_ARRAY",
                                          "text": "DELTA_LENGTH_BYTE_ARRAY", "twice": "PLAIN",
                                          "image.height": "DELTA_BINARY_PACKED",
                                          "image.score": "BYTE_STREAM_SPLIT", "image.ok": "RLE"}},
    "an encoding that is not read": {"use_dictionary": False, "column_encoding": {"bytes": "DELTA_BYTE_ARRAY"}},
    "checksums": {"write_page_checksum": True, "write_page_index": True, "write_batch_size": 8},
    **{codec: {"use_dictionary": False, "compression": codec, "write_page_index": True, "write_batch_size": 8}
       for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli")},
}  # fmt: skip


def files(frame: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    """The frame as files, by what is special of each."""
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    for name, options in ARROW.items():
        for rows in (7, 100, 1000):
            if rows != 100 and "dictionary" not in name and "plain" not in name:
                continue
            out = io.BytesIO()
            pq.write_table(arrow, out, row_group_size=rows, data_page_size=1500, **options)
            yield f"{name}, groups of {rows}", out.getvalue()
    required = pa.schema([f.with_nullable(f.name in ("id", "some", "text", "image")) for f in arrow.schema])
    out = io.BytesIO()
    pq.write_table(arrow.cast(required), out, use_dictionary=False, data_page_size=1500, write_batch_size=4)
    yield "columns without levels", out.getvalue()
    for rows, page in ((1000, 3000), (100, None), (150, 1)):
        out = io.BytesIO()
        frame.write_parquet(out, row_group_size=rows, data_page_size=page)
        yield f"Polars, groups of {rows}, pages of {page}", out.getvalue()


def samples() -> dict[str, bytes]:
    """Small valid files, to be damaged."""
    made = dict(files(table(40)))
    names = ("plain, page index, groups of 100", "plain, no index, groups of 100", "pages of version 2, groups of 100",
             "dictionary, groups of 7", "delta lengths, groups of 100", "checksums, groups of 100",
             "Polars, groups of 1000, pages of 3000")  # fmt: skip
    return {name: made[name] for name in names}
