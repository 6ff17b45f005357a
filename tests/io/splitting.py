"""Whether the parts of a source give what the whole gives, and files to try it on."""

from __future__ import annotations

import json
from pathlib import Path

import cloudpickle
import polars as pl

import robodf as rd
from robodf import compat
from robodf.io.mcap.writer import McapWriter
from robodf.io.source import Request, Source
from robodf.optimizer import optimize
from robodf.plan.base import plans
from robodf.plan.nodes.scan import Scan

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
POSE = {
    "type": "object",
    "properties": {
        "x": {"type": "number"},
        "pose": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "string"}}},
    },
}


def scan_of(frame: rd.PipelineDataFrame) -> Scan:
    """The one scan of a query of which all went into the source."""
    (found,) = [p for p in plans(optimize(frame._plan)) if isinstance(p, Scan)]
    return found


def rows_of(source: Source, request: Request) -> pl.DataFrame:
    try:
        return compat.run(source.scan(request))
    except pl.exceptions.PolarsError as error:
        raise compat.original_failure(error) from error


def travelled(source: Source) -> Source:
    return cloudpickle.loads(cloudpickle.dumps(source))


def in_parts(source: Source, request: Request, together: int = 1) -> list[pl.DataFrame]:
    """What each part gives after a journey; `together` splits are one part."""
    splits = list(source.splits(request))
    parts = [travelled(source.part(tuple(splits[i : i + together]))) for i in range(0, len(splits), together)]
    for part in parts:
        assert list(part.schema.items()) == list(source.schema.items())
    return [rows_of(part, request) for part in parts]


def check(frame: rd.PipelineDataFrame, least: int = 2) -> Scan:
    """All parts, one by one, by twos and in one, give the rows of the whole."""
    scan = scan_of(frame)
    source, request = scan.source, scan.request
    whole = rows_of(source, request)
    splits = list(source.splits(request))
    assert len(splits) >= least
    assert all(len(cloudpickle.dumps(split)) < 2000 and hash(split) is not None for split in splits)
    for together in (1, 2, len(splits)):
        found = in_parts(source, request, together) if splits else []
        both = pl.concat([whole.clear(), *found])
        assert both.equals(whole, null_equal=True)
        assert both.schema == whole.schema
    for split, rows in zip(splits, in_parts(source, request)):
        if split.key is not None and source.partition_column in rows.columns:
            assert rows[source.partition_column].unique().to_list() in ([split.key], [])
    backwards = source.part(tuple(reversed(splits)))
    expected = [whole.clear(), *reversed(in_parts(source, request))]
    assert rows_of(backwards, request).equals(pl.concat(expected))
    again = travelled(backwards)  # a part has parts
    assert pl.concat([whole.clear(), *in_parts(again, request)]).equals(pl.concat(expected))
    assert source.part(tuple(splits)) == travelled(source.part(tuple(splits)))
    assert hash(source.part(tuple(splits))) == hash(travelled(source.part(tuple(splits))))
    return scan


def table(k: int, rows: int = 40) -> pl.DataFrame:
    at = range(k * 100, k * 100 + rows)
    return pl.DataFrame(
        {"x": at, "y": [i / 4 for i in at], "name": [f"n{i:05}" for i in at], "s": [{"a": i, "b": str(i)} for i in at]}
    )


def write_tables(folder: Path, format: str, count: int = 5) -> Path:
    folder.mkdir()
    for k in range(count):
        frame, path = table(k), folder / f"part_{k}.{format}"
        if format == "parquet":
            frame.write_parquet(path)
        elif format == "ipc":
            frame.write_ipc(path)
        elif format == "csv":
            frame.drop("s").write_csv(path)
        elif format == "ndjson":
            frame.write_ndjson(path)
        elif format == "json":
            path.write_text(json.dumps(frame.to_dicts()))
        else:
            path.write_text("".join(f"{k} {i}\n" for i in range(50)))
    return folder


def write_log(path: Path, seconds: int = 20, fields: dict | None = None, start: int = START) -> Path:
    """Ten messages a second on /pose and /imu, in small chunks."""
    schema = {"type": "object", "properties": {**POSE["properties"], **(fields or {})}}
    with McapWriter(path, chunk_size=2000) as out:
        kind = out.add_schema("Pose", "jsonschema", json.dumps(schema).encode())
        pose, imu = out.add_channel("/pose", "json", kind), out.add_channel("/imu", "json", kind)
        for i in range(seconds * 10):
            data = json.dumps({"x": i, "pose": {"a": i * 2.0, "b": f"p{i}"}, **dict.fromkeys(fields or {}, i)}).encode()
            for channel in (pose, imu):
                out.write(channel, log_time=start + i * SECOND // 10, data=data, sequence=i)
    return path
