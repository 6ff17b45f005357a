"""What happens when a user's function raises: it is told where, or what it was given is left out and listed."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from collections.abc import Iterator

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.config import Settings
from robodf.errors import OptionError, QueryError, SchemaError
from robodf.io.mcap.writer import McapWriter
from robodf.optimizer import optimize
from robodf.physical.cut import Limits, cut
from robodf.physical.plan_key import plan_key
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.failures import Calls
from robodf.plan.nodes.map import MapBatches
from robodf.plan.spread import Resources

ROWS = 60


@pytest.fixture
def log() -> rd.PipelineDataFrame:
    """Three recordings of 20 rows; `a` is 0 in rows 7, 20 and 33."""
    return rd.from_polars(
        pl.DataFrame(
            {
                "recording": [f"run_{k // 20}" for k in range(ROWS)],
                "log_time": pl.Series([1_000_000_001 * k for k in range(ROWS)], dtype=pl.Datetime("ns")),
                "k": range(ROWS),
                "a": [0 if k in (7, 20, 33) else k + 1 for k in range(ROWS)],
            }
        )
    )


def inverse(row: dict) -> dict:
    return {"k": row["k"], "b": 1 / row["a"]}


def inverses(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.select("k", b=pl.Series([1 / a for a in batch["a"]]))


OUT = {"k": pl.Int64, "b": pl.Float64}
BAD = (7, 20, 33)


def _notes(error: BaseException) -> list[str]:
    """The notes about rows; from another process there is one about that too."""
    return [note for note in error.__notes__ if note.startswith("in ")]


# -- raised ---------------------------------------------------------------------------------------------------------


def test_the_row_is_told(run, engine, log) -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        run(log.map(inverse, OUT))
    (note,) = _notes(caught.value)
    assert note.startswith("in inverse, given row ")
    assert "of its part of the rows, recording 'run_" in note
    if engine != "ray":
        assert note == (
            "in inverse, given row 7 (the first is 0) of its part of the rows, recording 'run_0', "
            "log_time 1970-01-01 00:00:07.000000007: {'recording': 'run_0', "
            "'log_time': datetime.datetime(1970, 1, 1, 0, 0, 7), 'k': 7, 'a': 0}"
        )
    else:
        assert any("process" in note for note in caught.value.__notes__)
        assert sum("in inverse, given" in note for note in caught.value.__notes__) == 1


def test_the_batch_is_told(run, engine, log) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run(log.filter(col("k") >= 8).map_batches(inverses, 5, schema=OUT))
    (note,) = _notes(caught.value)
    assert note.startswith("in inverses, given 5 rows from row ")
    if engine != "ray":
        assert note == (
            "in inverses, given 5 rows from row 10 (the first is 0) of its part of the rows, "
            "log_time 1970-01-01 00:00:18.000000018 to 1970-01-01 00:00:22.000000022"
        )


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.filter(lambda row: inverse(row)["b"] > 0),
        lambda d: d.flat_map(lambda row: (inverse(row) for _ in range(2)), OUT),
        lambda d: d.map(inverse, OUT).map(lambda row: {"n": int(row["b"])}, {"n": int}),
        lambda d: d.map(inverse, OUT).sort("k").map_batches(lambda b: b, None),
        lambda d: d.map(inverse, OUT).cache().map_batches(lambda b: b, 3),
    ],
)
def test_one_note_wherever_it_is(run, log, frame) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run(frame(log))
    assert len(_notes(caught.value)) == 1
    assert "given row " in _notes(caught.value)[0]
    with pytest.raises(ZeroDivisionError) as caught:
        list(frame(log).iter_batches(10))
    assert len(_notes(caught.value)) == 1


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """It lets nobody set an attribute, and so add_note fails."""

    code: int


def test_exceptions_of_any_kind(run, df) -> None:
    kept = ValueError("one object")

    def same(row: dict) -> dict:
        raise kept

    def ends(row: dict) -> dict:
        raise KeyError(row["a"])

    for function, kind in ((same, ValueError), (same, ValueError), (ends, KeyError)):
        with pytest.raises(kind) as caught:
            run(df.map(function, {"a": int}))
        (note,) = _notes(caught.value)
        assert "given row 0 " in note
    frozen = Frozen(3)
    Calls("f", None).tell(frozen)
    assert len(_notes(frozen)) == 1


def test_a_class_that_cannot_be_made(run, df) -> None:
    class Model:
        def __init__(self) -> None:
            raise FileNotFoundError("weights.bin")

        def __call__(self, batch):
            return batch

    for on_error in ("raise", "skip"):
        frame = df.map_batches(Model, 2, on_error=on_error)
        with pytest.raises(FileNotFoundError, match=r"weights\.bin") as caught:
            run(frame)
        (note,) = _notes(caught.value)
        assert note.endswith("Model(), before it was given any rows")
        assert frame.errors.is_empty()


def test_large_values_are_shortened(df) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    def boom(row: dict) -> dict:
        raise ValueError

    values = {"image": [b"\0" * 1_000_000], "text": ["y" * 100_000], "list": [list(range(10_000))]}
    wide = pl.DataFrame({**values, **{f"c{k}": [k] for k in range(500)}})
    for frame in (wide, pl.DataFrame({"o": pl.Series([Odd()], dtype=pl.Object)})):
        with pytest.raises(ValueError, match="^\nin ") as caught:
            rd.from_polars(frame).map(boom, {"a": int}).collect()
        assert len(caught.value.__notes__[0]) < 320


def test_columns_that_only_look_like_places(df) -> None:
    odd = pl.DataFrame({"recording": [["x"], None], "log_time": ["noon", None], "a": [0, 0]})
    frame = rd.from_polars(odd)
    with pytest.raises(ZeroDivisionError) as caught:
        frame.map_batches(lambda b: 1 / 0).collect()
    assert caught.value.__notes__[0].endswith("part of the rows")
    kept = frame.map_batches(lambda b: 1 / 0, on_error="skip")
    assert kept.collect().is_empty()
    assert kept.errors.select("file", "time").rows() == [(None, None)]


# -- left out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["skip", "collect"])
@pytest.mark.parametrize("kind", ["map", "filter", "flat_map"])
def test_rows_are_left_out_and_listed(run, log, kind: str, mode: str) -> None:
    frame = {
        "map": lambda: log.map(inverse, OUT, on_error=mode),
        "filter": lambda: log.filter(lambda row: inverse(row)["b"] > 0, on_error=mode),
        "flat_map": lambda: log.flat_map(_twice, OUT, on_error=mode),
    }[kind]()
    assert frame.errors.is_empty()
    times = 2 if kind == "flat_map" else 1
    wanted = [k for k in range(ROWS) if k not in BAD for _ in range(times)]
    assert run(frame)["k"].to_list() == wanted
    for _ in range(2):  # the second time the same problems are met
        assert frame.errors.drop("error").rows(named=True) == [
            {"file": f"run_{k // 20}", "topic": None, "offset": k, "time": frame.errors["time"][i]}
            for i, k in enumerate(BAD)
        ]
        assert frame.errors["time"].cast(pl.Int64).to_list() == [1_000_000_001 * k for k in BAD]
        assert all(e.startswith("ZeroDivisionError: division by zero (in ") for e in frame.errors["error"])
        assert run(frame.filter(col("k") < 100)).height == len(wanted)
    assert frame.select("k").errors.height == 3  # frames made from it know
    assert log.errors.is_empty()


def _twice(row: dict) -> Iterator[dict]:
    yield inverse({**row, "a": 1})
    yield inverse(row)


def test_batches_are_left_out_and_listed(run, log) -> None:
    frame = log.map_batches(inverses, 8, schema=OUT, on_error="skip")
    assert run(frame)["k"].to_list() == [*range(8, 16), *range(24, 32), *range(40, 60)]
    # Rows 16 to 23 are of two recordings.
    assert frame.errors.select("file", "offset").rows() == [("run_0", 0), ("run_1", 32), (None, 16)]
    assert frame.errors["error"].to_list() == ["ZeroDivisionError: division by zero (in inverses, 8 rows)"] * 3


def test_without_recordings_each_is_listed(run, log) -> None:
    bare = log.select("k", "a").map(inverse, OUT, on_error="skip")
    assert run(bare)["k"].to_list() == [k for k in range(ROWS) if k not in BAD]
    assert bare.errors.select("file", "offset", "time").rows() == [(None, k, None) for k in BAD]


def test_all_left_out(run, log) -> None:
    frame = log.map_batches(lambda b: 1 / 0, 7, on_error="skip")
    assert run(frame).rows() == []
    assert run(frame).schema == log.schema
    assert frame.errors.height == 9
    assert len(log.map_batches(lambda b: 1 / 0, 7, on_error="skip")) == 0


def test_what_follows_sees_what_is_left(run, log) -> None:
    frame = log.map_batches(inverses, 8, schema=OUT, on_error="skip")
    assert run(frame.head(9))["k"].to_list() == [*range(8, 16), 24]
    assert run(frame.select(rd.len())).item() == 36
    assert frame.count_rows() == 36
    assert run(frame.map_batches(lambda b: b.select(n=pl.lit(b.height)).head(1), 8, schema={"n": int}))[
        "n"
    ].to_list() == [8, 8, 8, 8, 4]


def test_the_place_is_kept_for_a_function_that_does_not_read_it(run, log) -> None:
    frame = log.map_batches(
        lambda b: {"b": [1 / a for a in b["a"]]}, 1, reads="a", schema={"b": float}, on_error="skip"
    )
    assert run(frame).height == ROWS - 3
    assert frame.errors.select("file", "offset").rows() == [(f"run_{k // 20}", k) for k in BAD]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_ends_a_process_is_not_skipped(log, error) -> None:
    def stop(value):
        raise error

    for frame in (log.map(stop, OUT, on_error="skip"), log.map_batches(stop, on_error="collect"),
                  log.filter(stop, on_error="skip")):  # fmt: skip
        with pytest.raises(error):
            frame.collect()
        assert frame.errors.is_empty()


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.map(lambda row: 3, OUT, on_error="skip"),
        lambda d: d.map(lambda row: {"k": 1}, OUT, on_error="skip"),
        lambda d: d.map(lambda row: {"k": "text", "b": 1.0}, OUT, on_error="skip"),
        lambda d: d.map(lambda row: {"k": 1 << 80, "b": 1.0}, OUT, on_error="skip"),
        lambda d: d.flat_map(lambda row: 3, OUT, on_error="skip"),
        lambda d: d.flat_map(lambda row: {"k": 1}, OUT, on_error="skip"),
        lambda d: d.map_batches(lambda b: None, on_error="skip"),
        lambda d: d.map_batches(lambda b: b.select("k"), on_error="skip"),
        lambda d: d.map_batches(lambda b: {"k": [1, 2], "b": [1.0]}, schema=OUT, on_error="skip"),
        lambda d: d.map_batches(lambda b: {"k": ["x"], "b": [1.0]}, schema=OUT, on_error="skip"),
    ],
)
def test_wrong_answers_are_not_skipped(run, log, frame) -> None:
    made = frame(log)
    with pytest.raises(SchemaError) as caught:
        run(made)
    assert "given " in _notes(caught.value)[0]
    assert made.errors.is_empty()


def test_a_lazy_answer_runs_in_the_users_name(run, log) -> None:
    def lazily(batch: pl.DataFrame) -> pl.LazyFrame:
        return batch.lazy().with_columns(k=pl.col("recording").cast(pl.Int64))

    frame = log.map_batches(lazily, 30, on_error="skip")
    assert run(frame).is_empty()
    assert [e.split(":")[0] for e in frame.errors["error"]] == ["InvalidOperationError"] * 2
    with pytest.raises(pl.exceptions.InvalidOperationError) as caught:
        run(log.map_batches(lazily, 30))
    assert len(_notes(caught.value)) == 1


def test_what_is_below_is_not_skipped(run, log) -> None:
    frame = log.map(inverse, OUT).map_batches(lambda b: b, 10, on_error="skip")
    with pytest.raises(ZeroDivisionError):
        run(frame)
    assert frame.errors.is_empty()


def test_odd_exceptions_are_listed(run, df) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def stop(row: dict) -> dict:
        raise StopIteration("enough") if row["a"] == 1 else Mute

    frame = df.map(stop, {"a": int}, on_error="skip")
    assert run(frame).is_empty()
    texts = [e.split(" (in ")[0] for e in frame.errors["error"]]
    assert texts == ["StopIteration: enough", *["Mute: (its text cannot be made)"] * 3]


def test_lambdas_raise_what_python_raises(run, df) -> None:
    """As an expression 1 / 0 is infinite and a comparison with null is null."""
    frame = df.filter(lambda x: 1 / (x["a"] - 2) > 0, on_error="skip")
    assert run(frame)["a"].to_list() == [3]
    assert [e.split(":")[0] for e in frame.errors["error"]] == ["ZeroDivisionError", "TypeError"]
    assert "on_error= was given" in frame.explain()
    with pytest.raises(QueryError, match="on_error= was given"):
        df.map(lambda x: {"b": 1 / x["a"]}, on_error="skip")


def test_every_call_has_its_own_list(df, log) -> None:
    first, second = (log.map(inverse, OUT, on_error="skip") for _ in range(2))
    first.collect()
    assert (first.errors.height, second.errors.height) == (3, 0)
    both = rd.concat([first, second])
    both.collect()
    assert second.errors.height == 3
    assert both.errors.height == 3  # the same rows of the same file
    copied = pickle.loads(pickle.dumps(first))
    assert copied.errors.is_empty()
    copied.collect()
    assert copied.errors.equals(first.errors)


def test_options(df) -> None:
    for wrong in (
        lambda: df.map(inverse, OUT, on_error="ignore"), lambda: df.flat_map(inverse, OUT, on_error=None),
        lambda: df.filter(inverse, on_error=True), lambda: df.map_batches(inverse, on_error="warn"),
        lambda: df.map_batches(inverse, on_error="skip", preserves_rows=True),
        lambda: df.filter(col("a") > 1, on_error="skip"), lambda: df.filter(a=1, on_error="skip"),
    ):  # fmt: skip
        with pytest.raises(OptionError):
            wrong()


# -- on several partitions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("travel", [True, False])
@pytest.mark.parametrize("bytes_a_part", [1, 300, 1 << 20])
@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.map(inverse, OUT, on_error="skip"),
        lambda d: d.select("k", "a").map(inverse, OUT, on_error="skip"),
        lambda d: d.map_batches(inverses, 4, schema=OUT, on_error="skip"),
        lambda d: d.filter(col("k") > 6).select("k", "a").map(inverse, OUT, on_error="skip").sort("b"),
        lambda d: rd.concat([d.map(inverse, OUT, on_error="skip"), d.map(inverse, OUT, on_error="skip")]),
    ],
)
def test_partitions_give_the_same_list(log, frame, bytes_a_part: int, travel: bool) -> None:
    whole, parted = frame(log), frame(log)
    wanted = whole.collect()
    assert _in_parts(parted, bytes_a_part, travel).equals(wanted)
    assert parted.errors.equals(whole.errors)
    assert parted.errors.height == 3


def _in_parts(frame: rd.PipelineDataFrame, bytes_a_part: int, travel: bool) -> pl.DataFrame:
    done = cut(optimize(frame._plan), Limits(cpus=2, partition_bytes=bytes_a_part, small_bytes=0, partitions=3))
    stages = Stages(Here(travel=travel), Job(Settings()))
    return pl.concat(list(stages.frames(stages.parts(done.plan), done.plan.schema)))


def test_files_and_functions_in_one_list(tmp_path) -> None:
    """Each file has a message that cannot be decoded and one that the function cannot take."""
    for name in ("a", "b", "c"):
        with McapWriter(tmp_path / f"{name}.mcap", chunk_size=200) as out:
            topic = out.add_channel("/t", "cdr", out.add_schema("std_msgs/msg/Int32", "ros2msg", b"int32 data\n"))
            for k in range(20):
                out.write(topic, log_time=10**18 + k, data=b"\0" if k == 3 else b"\0\1\0\0" + k.to_bytes(4, "little"))

    def frame() -> rd.PipelineDataFrame:
        log = rd.read_log(tmp_path, "/t", on_error="collect")
        return log.map(lambda row: {"b": row["data"] % 20 / row["data"]}, {"b": float}, on_error="skip")

    whole, parted = frame(), frame()
    rows = whole.collect()
    assert rows.height == 3 * 18
    assert whole.errors.height == 3 * 3  # the row that was not decoded has no number
    assert _in_parts(parted, 200, True).equals(rows)
    assert parted.errors.equals(whole.errors)


def test_a_run_that_fails_tells_what_it_skipped(log) -> None:
    def stop(row: dict) -> dict:
        if row["k"] == 50:
            raise MemoryError
        return inverse(row)

    frame = log.map(stop, OUT, on_error="skip")
    with pytest.raises(MemoryError):
        _in_parts(frame, 300, True)
    assert frame.errors["offset"].to_list() == list(BAD)


def test_the_key_of_a_plan_forgets_what_was_skipped(log) -> None:
    first, second = (log.map(inverse, OUT, on_error="skip") for _ in range(2))
    key = plan_key(first._plan)
    first.collect()
    assert plan_key(first._plan) == key == plan_key(second._plan)
    assert plan_key(log.map(inverse, OUT)._plan) != key


# -- resources ------------------------------------------------------------------------------------------------------


class Scorer:
    def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
        return batch


def test_resources_are_known_and_shown(run, df) -> None:
    plain = df.map_batches(lambda b: b)
    assert plain._plan.resources is None
    assert df._plan.resources is None
    assert df.map_batches(Scorer)._plan.resources == Resources(None, 0.0, None, True)
    frame = df.map_batches(Scorer, num_cpus=2, num_gpus=0.5, concurrency=3)
    assert frame._plan.resources == Resources(2.0, 0.5, 3, True)
    assert "MapBatches of 1024 rows (num_cpus=2, num_gpus=0.5, concurrency=3): Scorer (on polars)" in frame.explain()
    assert "(num_gpus=1): Scorer" in df.map_batches(Scorer, num_gpus=1).explain()
    assert "MapBatches of 1024 rows: " in plain.explain()
    local = df.map_batches(Scorer, num_gpus=4, concurrency=2)
    assert local.collect(engine="local").equals(df.collect(engine="local"))
    assert run(df.map_batches(Scorer, num_cpus=0.5, concurrency=1)).height == 4


def test_resources_are_part_of_the_node(df) -> None:
    made = df.map_batches(Scorer, num_gpus=1)._plan
    assert made is df.map_batches(Scorer, num_gpus=1.0)._plan
    assert made is not df.map_batches(Scorer)._plan
    copied = pickle.loads(pickle.dumps(made))
    assert isinstance(copied, MapBatches)
    assert copied.resources == made.resources


@pytest.mark.parametrize(
    "asked",
    [
        {"num_cpus": -1}, {"num_cpus": "2"}, {"num_cpus": True}, {"num_cpus": float("nan")}, {"num_cpus": float("inf")},
        {"num_gpus": None}, {"num_gpus": -0.5}, {"num_gpus": 1.5}, {"num_gpus": False},
        {"concurrency": 0}, {"concurrency": 1.5}, {"concurrency": True}, {"concurrency": (1, 2)},
    ],
)  # fmt: skip
def test_resources_that_cannot_be(df, asked: dict) -> None:
    with pytest.raises(OptionError, match=next(iter(asked))):
        df.map_batches(Scorer, **asked)


def test_a_function_that_ends_its_process(run, df) -> None:
    with pytest.raises(SystemExit):
        run(df.map(lambda row: sys.exit(3), schema={"a": pl.Int64}))
    assert run(df.select("a")).height == 4  # on a cluster too, where it is not tried again
