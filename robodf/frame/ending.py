"""Where a query runs: rows in memory, rows one by one, files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError
from robodf.frame.base import FrameBase
from robodf.plan.nodes.rows import Count

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from robodf.io.sink import WriteReport


class Ending(FrameBase):
    """Methods that execute the query."""

    def collect(self, engine: str | None = None) -> pl.DataFrame:
        """All rows as a polars.DataFrame. Executes the query.

        `engine` is that of rd.config unless it is given: "local", "ray", "gpu", or "auto", which chooses. With "gpu"
        all that a GPU can run goes to the NVIDIA GPU of this process: DeviceError where there is none, a DeviceWarning
        where nothing of the query can go.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1]}).collect()["a"].to_list()
        [1]
        """
        from robodf.physical.engine import collect

        return collect(self._plan, engine)

    def to_polars(self) -> pl.DataFrame:
        """All rows as a polars.DataFrame: `collect` under another name. Executes the query."""
        return self.collect()

    def to_arrow(self) -> pa.Table:
        """All rows as a pyarrow.Table. Executes the query."""
        return self.collect().to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a pandas.DataFrame (pandas must be installed). Executes the query."""
        try:
            import pandas  # noqa: F401
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        return self.collect().to_pandas()

    def to_dicts(self) -> list[dict[str, Any]]:
        """All rows as dicts. Executes the query."""
        return self.collect().to_dicts()

    def to_dict(self) -> dict[str, list]:
        """All columns as lists. Executes the query."""
        return self.collect().to_dict(as_series=False)

    def iter_batches(self, batch_size: int = 65_536, engine: str | None = None) -> Iterator[pl.DataFrame]:
        """The rows in order, in frames of `batch_size` rows and a rest. Executes as far as it is iterated."""
        from robodf.physical.engine import stream

        if batch_size < 1:
            raise OptionError(f"iter_batches: batch_size is at least 1, not {batch_size}")
        return stream(self._plan, batch_size, engine)

    def to_ray(self) -> Any:
        """The rows as a ray.data.Dataset, computed on the Ray cluster and left there, a block for each partition.

        Categories and enums become texts. Executes the query. ImportError without Ray (`pip install 'robodf[ray]'`).
        """
        from robodf.physical.cluster import to_ray

        return to_ray(self._plan)

    def iter_rows(self, named: bool = True) -> Iterator[Any]:
        """The rows as dicts (named=False: as tuples). Executes as far as it is iterated."""
        for batch in self.iter_batches(8_192):
            yield from batch.iter_rows(named=named)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows as an Arrow stream, for pyarrow, pandas, DuckDB and others. Executes the query."""
        import pyarrow as pa

        schema = pl.DataFrame(schema=self.schema).to_arrow().schema
        batches = (b.cast(schema) for frame in self.iter_batches() for b in frame.to_arrow().to_batches())
        return pa.RecordBatchReader.from_batches(schema, batches).__arrow_c_stream__(requested_schema)

    def count_rows(self) -> int:
        """The number of rows. Executes a count; from metadata alone where the plan allows it (`explain()` shows it).

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, 2]}).count_rows()
        2
        """
        from robodf.physical.engine import collect

        return int(collect(Count(self._plan)).item())

    def show(self, n: int = 8) -> None:
        """Print the first `n` rows; in a notebook, show them with pictures, as `preview` does.

        Executes the query until they are there.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1]}).show()
        shape: (1, 1)
        ┌─────┐
        │ a   │
        │ --- │
        │ i64 │
        ╞═════╡
        │ 1   │
        └─────┘
        """
        from robodf.preview.table import show

        show(self.preview(n))  # type: ignore[attr-defined]

    def describe(self) -> pl.DataFrame:
        """Count, nulls, mean, standard deviation, minimum, median and maximum of each column. Executes one pass."""
        from robodf.frame.describe import describe

        return describe(self)  # type: ignore[arg-type]

    # -- files ------------------------------------------------------------------------------------------------

    def to_parquet(
        self,
        path: str | os.PathLike,
        *,
        partition_by: str | Sequence[str] = (),
        mode: str = "error",
        rows_per_file: int | None = None,
        storage_options: dict | None = None,
        engine: str | None = None,
        resume: bool = False,
        **options: Any,
    ) -> WriteReport:
        """Write Parquet: to one file where `path` ends in .parquet, else to a directory of parts. Executes the query.

        The rows keep their order and are streamed. What was at `path` stays whole until all is written: `mode` is
        error (the default: the path must be free), overwrite, or append (directories). `partition_by` names columns
        whose values become `name=value` folders. Other options go to Polars' writer (compression, row_group_size, ...).
        The report has rows, files, bytes and seconds.

        With engine="ray" each task writes its own partition, to storage that all nodes see under the same path; a file
        holds rows of one partition. resume=True lets a later run of the same query on the same inputs (files are
        known by size and time of change) continue after this process died: what is between the steps of the query is
        then kept on disk beside the target until the write is done.
        """
        return self._write(path, "parquet", partition_by, mode, rows_per_file, storage_options, engine, resume, options)

    def to_csv(
        self,
        path: str | os.PathLike,
        *,
        partition_by: str | Sequence[str] = (),
        mode: str = "error",
        rows_per_file: int | None = None,
        storage_options: dict | None = None,
        engine: str | None = None,
        resume: bool = False,
        **options: Any,
    ) -> WriteReport:
        """Write CSV with a header; otherwise as `to_parquet`."""
        return self._write(path, "csv", partition_by, mode, rows_per_file, storage_options, engine, resume, options)

    def to_ndjson(
        self,
        path: str | os.PathLike,
        *,
        partition_by: str | Sequence[str] = (),
        mode: str = "error",
        rows_per_file: int | None = None,
        storage_options: dict | None = None,
        engine: str | None = None,
        resume: bool = False,
        **options: Any,
    ) -> WriteReport:
        """Write one JSON object a line; otherwise as `to_parquet`."""
        return self._write(path, "ndjson", partition_by, mode, rows_per_file, storage_options, engine, resume, options)

    def to_json(self, path: str | os.PathLike, *, mode: str = "error", rows_per_file: int | None = None,
                storage_options: dict | None = None, engine: str | None = None, resume: bool = False,
                **options: Any) -> WriteReport:  # fmt: skip
        """Write one JSON array of objects; otherwise as `to_parquet`."""
        return self._write(path, "json", (), mode, rows_per_file, storage_options, engine, resume, options)

    def to_ipc(
        self,
        path: str | os.PathLike,
        *,
        partition_by: str | Sequence[str] = (),
        mode: str = "error",
        rows_per_file: int | None = None,
        storage_options: dict | None = None,
        engine: str | None = None,
        resume: bool = False,
        **options: Any,
    ) -> WriteReport:
        """Write Arrow IPC (Feather); otherwise as `to_parquet`."""
        return self._write(path, "ipc", partition_by, mode, rows_per_file, storage_options, engine, resume, options)

    def to_mcap(
        self,
        path: str | os.PathLike,
        *,
        topic: str | None = None,
        encoding: str | None = None,
        time: str = "log_time",
        mode: str = "error",
        compression: str = "zstd",
        chunk_size: int = 1 << 20,
        schemas: Mapping[str, tuple[str, str | bytes, str]] | None = None,
        attachments: bool = True,
        engine: str | None = None,
    ) -> WriteReport:
        """Write one MCAP file: a cut, a filtered or a merged log, or a table as messages. Executes the query.

        Rows keep their order and are streamed; sort by log_time for a file that is to be played back. What was at
        `path` stays whole until all is written.

        Parameters
        ----------
        path
            A local name that ends in .mcap. `mode` says what happens where it exists: error or overwrite.
        topic
            The topic of the messages; by default the column topic, or the topic that the frame was read of.
        encoding
            - "raw": the column data (Binary) has the messages, and they pass as they are, with the definitions and the
              channel metadata of the logs that the frame reads, found by recording, topic and type. This is how a
              frame of `rd.read_log(path)` without a topic is written, whatever was filtered, sorted or concatenated.
            - "cdr", "ros1": the columns are the fields of a ROS 2 or ROS 1 message and are encoded by the definition
              of the topic that the frame was read of, or the one in `schemas`. All fields must be there, of their
              types, and not null.
            - "json": each row becomes a JSON object, described by a JSON Schema. Datetimes are RFC 3339 texts,
              durations integers of ns, bytes base64; null, NaN and infinities are null (JSON has no others).

            By default what the frame calls for: raw messages pass, a topic of CDR, ROS 1 or JSON messages is
            encoded again.
            The columns recording, publish_time, sequence and header_stamp are no fields of a message.
        time
            The column of the log times: Datetime, or integers of ns. `publish_time` is the log time and `sequence` 0
            where there are no such columns.
        compression, chunk_size
            "zstd", "lz4" or "none"; a chunk is closed when it has this many bytes before compression.
        schemas
            `{"topic or type": (schema encoding, text, message encoding)}`, for rows that come from no log, such as
            `{"sensor_msgs/msg/Imu": ("ros2msg", text, "cdr")}`. Where the frame has no column type, the key is it.
        attachments
            Copy the attachments and metadata records of the MCAP files whose recordings are among the rows, all of
            them, whatever their time. Only raw messages bring them along.

        Raises
        ------
        OptionError, ColumnNotFoundError, SchemaError
            Before anything runs, for arguments and columns that do not fit; SchemaError also where rows could be of
            two channels that differ in their definition.
        QueryError
            For a null or a number that MCAP does not take, with its row, and for a row whose definition is not known.

        Examples
        --------
        >>> import robodf as rd, tempfile, os
        >>> folder = tempfile.mkdtemp()
        >>> table = rd.from_dict({"log_time": [10, 20], "v": [1.5, 2.5]})
        >>> table.to_mcap(os.path.join(folder, "a.mcap"), topic="/v", encoding="json").rows
        2
        >>> log = rd.read_mcap(os.path.join(folder, "a.mcap"))
        >>> cut = log.filter(rd.col("topic") == "/v").head(1)
        >>> cut.to_mcap(os.path.join(folder, "b.mcap")).rows
        1
        >>> rd.read_mcap(os.path.join(folder, "b.mcap"), "/v").select("v").to_dicts()
        [{'v': 1.5}]
        """
        from robodf.io.sink_mcap import mcap_sink
        from robodf.physical.engine import prepared
        from robodf.physical.local import user_errors
        from robodf.physical.progress import progress
        from robodf.plan.expr import Col
        from robodf.plan.nodes.project import Select

        sink = mcap_sink(self._plan, path, topic=topic, encoding=encoding, time=time, mode=mode,
                         compression=compression, chunk_size=chunk_size, schemas=schemas,
                         attachments=attachments)  # fmt: skip
        query = prepared(Select(self._plan, tuple((name, Col(name)) for name in sink.columns)), engine)
        with user_errors(self._plan), progress("write mcap"):
            return sink.write(query)

    def to_lerobot(
        self,
        path: str | os.PathLike,
        *,
        fps: float | None = None,
        robot_type: str | None = None,
        video: bool | str = True,
        by: str = "episode_index",
        task: str = "task",
        codec: str | None = None,
        mode: str = "error",
        image_stats: bool = True,
        data_mb: float = 100,
        video_mb: float = 200,
        engine: str | None = None,
    ) -> WriteReport:
        """Write a LeRobot data set of version 3.0, which LeRobot's own package loads. Executes the query.

        The rows are those of a fixed rate, `fps`, in order: align them first (`rd.align`). Rows of one episode are
        together; episodes are numbered anew from 0 in the order in which they come. So are index, frame_index,
        task_index and timestamp (frame_index / fps), whatever the frame had in these columns. Equal texts are one task.
        All other columns are features: numbers, booleans, texts, lists and arrays of numbers of one length (a vector of
        one value is a number there), and images. What was at `path` stays whole until all is written. One episode is
        held in memory at a time, but for its images.

        Statistics are exact, of each episode and of the whole set: min, max, mean, std, count and the quantiles q01,
        q10, q50, q90, q99. Those of images are of all frames that are encoded, and of LeRobot's own sample of those
        copied.

        Parameters
        ----------
        path
            A directory. `mode` says what happens where it exists: error, or overwrite (of a LeRobot data set only).
        fps, robot_type
            By default those of the data sets that the frame reads.
        video
            - True: images become videos, MP4, one for many episodes. The packets of a video are copied, not decoded,
              where a column comes untouched from `read_lerobot` and all frames of an episode are kept in order; other
              episodes are encoded.
            - "copy": as True, but an episode that cannot be copied is an error that says why.
            - "encode": all are encoded.
            - False: images are kept in the Parquet files, as PNG.

            Copied frames stay those of their rows: where `read_lerobot` had found them by timestamps that are a frame
            off, as in demo data of GR00T, timestamp is that of the frame.
        by
            The column that tells episodes apart, numbers or texts. It is left out; another name than episode_index is
            kept in meta/episodes.
        task
            The column of the texts of tasks. Columns `annotation.*` of a data set that is read have numbers of its
            tasks: these keep them, or are numbered anew together.
        codec
            "libsvtav1" (AV1, LeRobot's own; the default), "h264" (the default where PyAV cannot encode AV1) or "hevc";
            crf 30, every second frame a key frame, as LeRobot has it.
        image_stats
            False: no statistics of images, for which copied videos are decoded in part.
        data_mb, video_mb
            About how many MiB a file has before the next begins.

        Raises
        ------
        OptionError, ColumnNotFoundError, SchemaError
            Before anything runs, for arguments and columns that do not fit.
        QueryError
            For rows that do not fit, with their number: null, a vector or an image of another size, an episode that
            comes in several pieces.

        Examples
        --------
        >>> import robodf as rd, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "reach")
        >>> rows = {"run": ["a", "a", "b"], "action": [[0.0, 1.0], [0.5, 1.5], [2.0, 2.0]], "task": ["reach"] * 3}
        >>> rd.from_dict(rows).to_lerobot(path, fps=10, by="run").rows
        3
        >>> rd.read_lerobot(path).select("episode_index", "frame_index", "action").collect().rows()
        [(0, 0, [0.0, 1.0]), (0, 1, [0.5, 1.5]), (1, 0, [2.0, 2.0])]
        """
        from robodf.io.lerobot.write import lerobot_sink
        from robodf.physical.engine import prepared
        from robodf.physical.local import user_errors
        from robodf.physical.progress import progress

        sink = lerobot_sink(self._plan, path, fps=fps, robot_type=robot_type, video=video, by=by, task=task,
                            codec=codec, mode=mode, image_stats=image_stats, data_mb=data_mb,
                            video_mb=video_mb)  # fmt: skip
        query = prepared(sink.plan, engine)
        with user_errors(self._plan), progress("write lerobot"):
            return sink.write(query)

    def to_webdataset(
        self,
        path: str | os.PathLike,
        *,
        key: str,
        name: str = "shard",
        rows_per_shard: int = 10_000,
        shard_mb: float = 1024,
        quality: int = 90,
        mode: str = "error",
        engine: str | None = None,
    ) -> WriteReport:
        """Write shards of WebDataset, `shard-000000.tar` and so on, a sample for each row. Executes the query.

        Each column but the key is named with its extension and becomes a member `key.extension`; null is no member.
        Bytes and texts are written as they are, under any extension; images (as `rd.decode` and the readers give them)
        as jpg, jpeg or png; integers as cls; numbers, booleans and nested values of these and of texts as json; lists
        and arrays of numbers as npy. Rows keep their order and are streamed through this process, whichever engine
        computes them. Equal rows give equal bytes: members have no times, and those of a sample are sorted. What was at
        `path` stays whole until all is written. `rd.read_webdataset` reads it back.

        Parameters
        ----------
        path
            A local directory. `mode` says what happens where it exists: error, or overwrite (of shards only).
        key
            The column of the keys: texts or integers, such as "0001" or "run_1/0001". Its last part has no dot, and no
            two rows of a shard have the same.
        name
            What the names of the shards begin with.
        rows_per_shard, shard_mb
            A shard ends at so many rows, or before the row with which it would have more than so many MiB.
        quality
            Of JPEG, 1 to 100.

        Raises
        ------
        OptionError, ColumnNotFoundError, SchemaError
            Before anything runs, for arguments, and for columns whose extension does not fit their type.
        QueryError
            For a row that makes no sample, with its number: its key, NaN in json, null in npy, null everywhere.

        Examples
        --------
        >>> import robodf as rd, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "train")
        >>> rd.from_dict({"id": ["a", "b"], "txt": ["cup", "box"], "cls": [3, 7]}).to_webdataset(path, key="id").rows
        2
        >>> rd.read_webdataset(path).select("key", "cls", "txt").collect().rows()
        [('a', '3', 'cup'), ('b', '7', 'box')]
        """
        from robodf.io.archives.webdataset_write import webdataset_sink
        from robodf.physical.engine import prepared
        from robodf.physical.local import user_errors
        from robodf.physical.progress import progress
        from robodf.plan.expr import Col
        from robodf.plan.nodes.project import Select

        sink = webdataset_sink(self._plan, path, key=key, name=name, rows_per_shard=rows_per_shard,
                               shard_mb=shard_mb, quality=quality, mode=mode)  # fmt: skip
        columns = (sink.key, *sink.columns)
        query = prepared(Select(self._plan, tuple((name, Col(name)) for name in columns)), engine)
        with user_errors(self._plan), progress("write webdataset"):
            return sink.write(query)

    def _write(self, path: Any, format: str, partition_by: Any, mode: str, rows: int | None, storage: dict | None,
               engine: str | None, resume: bool, options: dict) -> WriteReport:  # fmt: skip
        from robodf.physical.engine import write
        from robodf.plan.resolve import column_names

        keys = column_names([partition_by], self._plan.schema, "partition_by") if partition_by else ()
        return write(self._plan, path, format, engine=engine, resume=resume, mode=mode, partition_by=keys,
                     rows_per_file=rows, options=options, storage_options=storage)  # fmt: skip
