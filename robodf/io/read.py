"""`rd.read(...)` and the readers of each format: from paths to a lazy frame."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from robodf.errors import FileFormatError, NoFilesError, OptionError, hint, listing
from robodf.io.archives.inflate import compression
from robodf.io.files import is_remote, list_files, open_file, own_path
from robodf.io.formats import HEAD, extensions, folder_format, format_of, formats
from robodf.io.logs.containers import LOG_FILES

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.logs.log import Log
    from robodf.io.source import Source

Paths = str | os.PathLike | Iterable[str | os.PathLike]


def read(
    paths: Paths, format: str | None = None, *, storage_options: dict | None = None, **options: Any
) -> PipelineDataFrame:
    """A lazy frame of files: a path, a glob, a directory, or a list of them.

    The format is found by content and extension, or said by `format`: one of `robodf.io.formats`, such as parquet, csv,
    ndjson, json, ipc, text, log (MCAP, .bag, .db3). Other options go to that format's reader. Only names, footers and
    summaries are read now.

    >>> import robodf as rd, tempfile, os
    >>> folder = tempfile.mkdtemp()
    >>> report = rd.from_dict({"a": [1, 2]}).to_parquet(os.path.join(folder, "x.parquet"))
    >>> rd.read(os.path.join(folder, "*.parquet")).count_rows()
    2
    """
    known = formats()
    if format is not None and format not in known:
        raise OptionError(f"read: format={format!r}{hint(format, known)} Formats: {', '.join(sorted(known))}")
    if format is None and isinstance(paths, (str, os.PathLike)):
        format = folder_format(os.fspath(paths))
    if format is not None and known[format].folder is not None:
        return known[format].read(paths, storage_options=storage_options, **options)
    wanted = tuple(extensions()) if format is None else known[format].extensions
    files = list_files(paths, wanted, storage_options)  # type: ignore[arg-type]
    if format is None:
        found = {path: _format_of(path, storage_options) for path in files}
        if "log" in found.values():  # rosbag2 keeps a metadata.yaml beside the files of a recording
            files = [path for path in files if os.path.basename(path) != "metadata.yaml"]
            found = {path: found[path] for path in files}
        kinds = sorted(set(found.values()))
        if len(kinds) > 1:
            examples = [next(p for p in files if found[p] == kind) for kind in kinds]
            raise FileFormatError(
                f"read: files of several formats ({', '.join(kinds)}), such as {listing(examples)}. "
                "Pass format= to take one, or read each and join or concat them"
            )
        format = kinds[0]
    if format in _TABLES:
        return _tables(format, files, options, storage_options, f"read ({format})")
    return known[format].read(files, storage_options=storage_options, **options)


_TABLES = ("parquet", "csv", "ndjson", "ipc")


def read_parquet(paths: Paths, *, storage_options: dict | None = None, **options: Any) -> PipelineDataFrame:
    """A lazy frame of Parquet files. Columns, predicates (by row group statistics) and limits are pushed into them.

    Options are those of `polars.scan_parquet` (hive_partitioning, missing_columns, ...).
    """
    return _tables("parquet", paths, options, storage_options, "read_parquet")


def read_csv(paths: Paths, *, storage_options: dict | None = None, **options: Any) -> PipelineDataFrame:
    """A lazy frame of CSV files. Options are those of `polars.scan_csv` (separator, schema_overrides, ...).

    Types are guessed from the first 100 lines unless given.
    """
    return _tables("csv", paths, options, storage_options, "read_csv")


def read_ndjson(paths: Paths, *, storage_options: dict | None = None, **options: Any) -> PipelineDataFrame:
    """A lazy frame of files with one JSON object a line. Options are those of `polars.scan_ndjson`."""
    return _tables("ndjson", paths, options, storage_options, "read_ndjson")


def read_ipc(paths: Paths, *, storage_options: dict | None = None, **options: Any) -> PipelineDataFrame:
    """A lazy frame of Arrow IPC (Feather) files. Options are those of `polars.scan_ipc`."""
    return _tables("ipc", paths, options, storage_options, "read_ipc")


def read_json(paths: Paths, *, storage_options: dict | None = None) -> PipelineDataFrame:
    """A lazy frame of files with one JSON array of objects. The first file is read now, for its columns."""
    from robodf.io.json_files import json_files

    return from_source(json_files(list_files(paths, (".json",), storage_options), storage_options))  # type: ignore[arg-type]


def read_text(paths: Paths, *, mode: str = "line", encoding: str = "utf-8", on_error: str = "raise",
              storage_options: dict | None = None) -> PipelineDataFrame:  # fmt: skip
    """A lazy frame of text files: one row a line, a paragraph, or a document.

    mode="line" gives path, line (from 1) and text; "paragraph" gives path, paragraph (from 1), the line where it begins
    and text: lines that lie between blank ones; "document" gives path, size (bytes) and text, the whole file as it is.
    Of documents, filters on path and size are answered before any is read. Text that is not of the encoding is an
    error, or of a document null under on_error="skip" and "collect" (`df.errors` tells).

    >>> import robodf as rd, pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.txt")
    >>> _ = name.write_text("Pick up\\nthe cup.\\n\\nOpen it.")
    >>> rd.read_text(name, mode="paragraph").select("line", "text").collect().rows()
    [(1, 'Pick up\\nthe cup.'), (4, 'Open it.')]
    """
    from robodf.io.text import check_encoding, text_lines
    from robodf.io.text_documents import TextDocuments

    modes = ("line", "paragraph", "document")
    if mode not in modes:
        raise OptionError(f"read_text: mode={mode!r}{hint(str(mode), modes)} Modes: {', '.join(modes)}")
    files = list_files(paths, (".txt", ".log", ".md", ".text"), storage_options)  # type: ignore[arg-type]
    if mode == "document":
        check_encoding(encoding)
        return from_source(TextDocuments.of(files, storage_options, on_error, encoding=encoding))
    if on_error != "raise":
        raise OptionError(f"read_text: on_error={on_error!r} is for mode='document': text of lines is read to the end")
    return from_source(text_lines(files, encoding, storage_options, mode == "paragraph"))


def read_log(paths: Paths, topic: str | None = None, *, start: Any = None, end: Any = None, on_error: str = "raise",
             storage_options: dict | None = None) -> PipelineDataFrame:  # fmt: skip
    """A lazy frame of robot logs, MCAP, ROS 1 .bag or ROS 2 .db3: one topic in typed columns, or all messages as bytes.

    With `topic`: recording, log_time, publish_time, sequence, header_stamp, and the fields of the message. Without:
    recording, topic, type, log_time, publish_time, sequence, size, data, with nothing decoded. Times are
    Datetime("ns"), UTC. Bags and databases have no sequence (0), and bags no publish_time of their own (log_time).

    `paths` is a file, a directory, a glob or a list, of one format or several; `.zst` and `.zstd` files are
    decompressed. Rows are in file order (of a database: by time). The files that a ROS 2 `metadata.yaml` lists are one
    recording, named after their folder; any other file is one of its own.

    `start` (inclusive) and `end` (exclusive) bound log_time; a filter on topic, recording or log_time does the same.
    Only the chunks that can hold wanted messages are read, and of these only the wanted fields are decoded. `on_error`
    says what to do with damage: raise, skip, or collect (skip, and list it in `df.errors`).
    """
    return _log(paths, LOG_FILES, topic, start, end, on_error, storage_options)


def read_mcap(paths: Paths, topic: str | None = None, *, start: Any = None, end: Any = None, on_error: str = "raise",
              storage_options: dict | None = None) -> PipelineDataFrame:  # fmt: skip
    """`read_log` of MCAP files alone: in a directory it looks for no others."""
    return _log(paths, (".mcap", ".mcap.zst", ".mcap.zstd"), topic, start, end, on_error, storage_options)


def read_rosbag(paths: Paths, topic: str | None = None, *, start: Any = None, end: Any = None, on_error: str = "raise",
                storage_options: dict | None = None) -> PipelineDataFrame:  # fmt: skip
    """`read_log` under the name that users of ROS look for: ROS 1 `.bag` files, ROS 2 bags of `.db3` or `.mcap`."""
    return _log(paths, LOG_FILES, topic, start, end, on_error, storage_options)


def open_log(path: Paths, *, on_error: str = "raise", storage_options: dict | None = None) -> Log:
    """A log or several: `.topics` (types, counts, rates, time range, from the summaries alone) and `log["/imu"]`."""
    from robodf.io.logs.log import Log

    files, lost = _log_files(path, LOG_FILES, on_error, storage_options)
    return Log(files, on_error, storage_options, lost)


def _log(paths: Paths, extensions: tuple[str, ...], topic: str | None, start: Any, end: Any, on_error: str,
         storage_options: dict | None) -> PipelineDataFrame:  # fmt: skip
    from robodf.io.logs.source import log_source

    files, lost = _log_files(paths, extensions, on_error, storage_options)
    source = log_source(files, topic, start, end, on_error, storage_options)
    for path in lost:
        source.log.add(path, "metadata.yaml lists this file, but it is not there")
    return from_source(source)


def _log_files(
    paths: Paths, extensions: tuple[str, ...], on_error: str, storage_options: dict | None
) -> tuple[list[str], list[str]]:
    """The files, and those that are missing of a recording whose folder was given."""
    from robodf.io.logs.recordings import missing_splits

    files = list_files(paths, extensions, storage_options)  # type: ignore[arg-type]
    lost: list[str] = []
    for item in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        folder = os.path.expanduser(os.fspath(item))
        if os.path.isdir(folder):
            lost += [os.path.join(folder, name) for name in missing_splits(folder, files)]
    if lost and on_error == "raise":
        raise NoFilesError(
            f"metadata.yaml lists {listing(lost)}, but {'it is' if len(lost) == 1 else 'they are'} not there: "
            "a part of the recording is missing. Pass on_error='collect' to read the rest"
        )
    return files, lost


def _tables(format: str, paths: Paths, options: dict, storage: dict | None, doing: str) -> PipelineDataFrame:
    from robodf.io.tables import table_files

    files = list_files(paths, formats()[format].extensions, storage)  # type: ignore[arg-type]
    if format == "csv" and "separator" not in options and all(own_path(f).endswith(".tsv") for f in files):
        options = {**options, "separator": "\t"}
    if format in ("parquet", "ipc") and "hive_partitioning" not in options and _partitioned(paths, files):
        options = {**options, "hive_partitioning": True}
    return from_source(table_files(format, files, options, storage, doing))


def _partitioned(paths: Paths, files: list[str]) -> bool:
    """True where all files lie in `name=value` folders below the one directory that was given."""
    if not isinstance(paths, (str, os.PathLike)):
        return False
    if is_remote(os.fspath(paths)):
        folder = os.fspath(paths).rstrip("/") + "/"
        return all(f.startswith(folder) and "=" in os.path.dirname(f.removeprefix(folder)) for f in files)
    root = os.path.abspath(os.path.expanduser(os.fspath(paths)))
    if not os.path.isdir(root):
        return False
    return all("=" in os.path.dirname(os.path.relpath(os.path.abspath(f), root)) for f in files)


def from_source(source: Source) -> PipelineDataFrame:
    """A lazy frame of a source, of robodf or your own (see `robodf.io.indexed_files`).

    >>> import robodf as rd
    >>> from robodf.io.text import text_lines
    >>> import pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.txt")
    >>> _ = name.write_text("one\\ntwo")
    >>> rd.from_source(text_lines([str(name)], "utf-8", None)).collect()["text"].to_list()
    ['one', 'two']
    """
    from robodf.frame.frame import PipelineDataFrame
    from robodf.plan.nodes.scan import Scan

    plan = Scan(source)
    _ = plan.schema  # a file that cannot be read is reported now
    return PipelineDataFrame(plan)


def _format_of(path: str, storage: dict | None) -> str:
    with open_file(path, storage) as file:
        head = file.read_at(0, min(HEAD, file.size))
        found = format_of(path, head, file.size)
    if found is None and compression(head) is not None:
        from robodf.io.archives.tar import is_packed_tar

        found = "tar" if is_packed_tar(path, storage) else None
    if found is None:
        known = ", ".join(sorted(formats()))
        raise FileFormatError(f"{path}: not a format that its content or extension tells; pass format=, one of {known}")
    return found
