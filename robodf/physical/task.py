"""What a worker does: it lowers a piece of a plan, runs it, and hands on its rows as blocks.

A task is a pure function of its plan and its blocks. It may run twice, on another machine, after the first attempt got
any far: nothing outside of it changes, but for files under names of its own (`io/sink_shared.py`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import polars as pl

from robodf.compat import run
from robodf.config import Settings, config
from robodf.gpu.running import CPU
from robodf.io.counting import read
from robodf.physical.blocks import block_bytes, hash_buckets, pack, unpack
from robodf.physical.exchange import Received
from robodf.physical.local import user_errors
from robodf.physical.noted import noting
from robodf.physical.on_device import Fragment, OnDevice
from robodf.physical.retry import Failure, describe_failure, with_retries
from robodf.plan.base import Plan, lower_all, parents_first
from robodf.plan.expr import Expr
from robodf.plan.flat import FlatPlan
from robodf.plan.nodes.scan import InMemory


@dataclass(frozen=True)
class Meta:
    """What a task says of itself: small, and read by the driver while the blocks stay where they are."""

    rows: tuple[int, ...] = ()  # of each block
    bytes: tuple[int, ...] = ()
    seconds: float = 0.0
    read_rows: int = 0
    read_bytes: int = 0
    read_chunks: int = 0
    retries: int = 0
    problems: tuple[tuple[dict, ...], ...] = ()  # of each of the plan's `noting`
    handed: tuple[int, ...] = ()  # rows, to each of them
    said: Any = None  # what the output has to say: a sample, the files written
    on_gpu: int = 0  # fragments that ran on a GPU
    off_gpu: int = 0  # those that had to run on the CPU in the end
    failure: Failure | None = None
    host: str = ""


class Output:
    """What becomes of the rows of a task."""

    blocks = 1  # how many it gives

    def run(self, query: pl.LazyFrame) -> tuple[list[pl.DataFrame], Any]:
        """The frames that travel, and what there is to say."""
        return [run(query)], None

    def pack(self, frame: pl.DataFrame) -> Any:
        """A frame as what travels."""
        return pack(frame)


@dataclass(frozen=True)
class Whole(Output):
    """The rows as they are."""


@dataclass(frozen=True)
class Buckets(Output):
    """The rows by the hash of their keys."""

    keys: tuple[Expr, ...]
    blocks: int  # type: ignore[misc]

    def run(self, query: pl.LazyFrame) -> tuple[list[pl.DataFrame], Any]:
        return hash_buckets(run(query), [key.polars for key in self.keys], self.blocks), None


@dataclass(frozen=True)
class Order:
    """Sort keys, for ranges of them."""

    by: tuple[Expr, ...]
    descending: tuple[bool, ...]
    nulls_last: tuple[bool, ...]

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(e.polars.alias(f"k{i}") for i, e in enumerate(self.by))

    def sorted(self, keys: pl.DataFrame, last: str) -> pl.DataFrame:
        """Frames of keys in order; ties by the column `last`."""
        names = [f"k{i}" for i in range(len(self.by))]
        return keys.sort([*names, last], descending=[*self.descending, False], nulls_last=[*self.nulls_last, False],
                         maintain_order=True)  # fmt: skip


_SAMPLES = 512  # keys of each partition, for the ranges


@dataclass(frozen=True)
class Sampled(Output):
    """The rows as they are, and some of their sort keys, with how many rows each stands for."""

    order: Order

    blocks = 2

    def run(self, query: pl.LazyFrame) -> tuple[list[pl.DataFrame], Any]:
        frame = run(query)
        step = max(1, frame.height // _SAMPLES)
        keys = self.order.keys(frame.gather_every(step))
        return [frame, keys.with_columns(pl.lit(step, pl.UInt32).alias("rows"))], None


@dataclass(frozen=True)
class InRanges(Output):
    """The rows by the range of the sort keys that they lie in. `bounds` are the least keys of each but the first."""

    order: Order
    bounds: pl.DataFrame
    blocks: int  # type: ignore[misc]

    def run(self, query: pl.LazyFrame) -> tuple[list[pl.DataFrame], Any]:
        frame = run(query)
        keys = self.order.keys(frame).with_columns(pl.lit(1, pl.Int8).alias("is_row")).with_row_index("i")
        bounds = self.bounds.with_columns(pl.lit(0, pl.Int8).alias("is_row")).with_row_index("i")
        # A bound comes before the rows that equal it, so these are all in one range.
        both = self.order.sorted(pl.concat([bounds, keys.select(bounds.columns)]), "is_row")
        which = (pl.col("is_row") == 0).cum_sum().cast(pl.UInt32).alias("bucket")
        found = both.select("i", "is_row", which).filter(pl.col("is_row") == 1).sort("i").get_column("bucket")
        return [frame.filter(found == k) for k in range(self.blocks)], None


def bounds_of(order: Order, samples: list[pl.DataFrame], parts: int) -> pl.DataFrame:
    """The keys that cut what was sampled into `parts` ranges of about as many rows."""
    ordered = order.sorted(pl.concat(samples).with_columns(pl.lit(0, pl.Int8).alias("no")), "no").drop("no")
    before = ordered.get_column("rows").cum_sum() - ordered.get_column("rows")
    total = int(ordered.get_column("rows").sum())
    cuts = [int(before.search_sorted(total * k // parts)) for k in range(1, parts)]
    return ordered.drop("rows")[[c for c in cuts if c < ordered.height]].unique(maintain_order=True)


@dataclass(frozen=True)
class Job:
    """What all tasks of a run share."""

    settings: Settings
    attempts: int = 4
    folder: str | None = None  # where the driver runs: names of files may be relative to it


def run_task(job: Job, plan: FlatPlan, output: Output, numbers: tuple[int, ...], *blocks: Any) -> tuple[Any, ...]:
    """(Meta, block, block, ...). It does not raise: a failure is in Meta, and the blocks are None then."""
    started = time.perf_counter()
    before = read.rows, read.bytes, read.chunks
    retries = []
    told: list[Plan] = []
    placed: list[Fragment] = []

    def work() -> tuple[list[Any], Any]:
        bound = bind(plan.plan(), dict(zip(numbers, blocks)))
        told[:] = noting(bound)
        placed[:] = [n.fragment for n in parents_first(bound) if isinstance(n, OnDevice)]
        with user_errors(bound):
            frames, said = output.run(lower_all(bound))
        return [(output.pack(f), f.height) for f in frames], said

    failing = _Failing()
    made: list[Any] = []
    said = None
    with config(**{**vars(job.settings), "engine": "local", "progress": False}), _in_folder(job.folder), failing:
        made, said = with_retries(work, attempts=job.attempts, on_retry=lambda *_: retries.append(1))
    ran = [fragment.ran[-1].where for fragment in placed if fragment.ran]
    meta = Meta(
        tuple(height for _, height in made),
        tuple(block_bytes(block) for block, _ in made),
        time.perf_counter() - started,
        read.rows - before[0],
        read.bytes - before[1],
        read.chunks - before[2],
        len(retries),
        tuple(tuple(n.journal.problems) for n in told if n.journal is not None),
        tuple(n.handed for n in told),
        said,
        len(ran) - ran.count(CPU),
        ran.count(CPU),
        failing.failure,
        f"{socket.gethostname()}:{os.getpid()}",
    )
    return (meta, *([None] * output.blocks if failing.failure else [block for block, _ in made]))


def _in_folder(folder: str | None) -> AbstractContextManager[None]:
    """Where the driver runs, if this machine has that folder. A worker runs one task at a time."""
    there = folder is not None and folder != os.getcwd() and os.path.isdir(folder)
    return contextlib.chdir(folder) if folder is not None and there else contextlib.nullcontext()


class _Failing:
    """Keeps the error of a block, which a process could not hand to another as it is."""

    failure: Failure | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        # A panic of Polars is no Exception, and says as much of the query as one. A user's sys.exit() must not end the
        # worker: Ray would run the task again, where one process ends at once.
        told = isinstance(error, (Exception, SystemExit)) or type(error).__name__ == "PanicException"
        if error is None or not told:
            return False
        self.failure = describe_failure(error)
        return True


def bind(plan: Plan, blocks: Mapping[int, Any]) -> Plan:
    """The plan with the rows of blocks in place of what stands for them, and with journals of its own."""
    done: dict[int, Plan] = {}
    for n in reversed(parents_first(plan)):
        if isinstance(n, Received):
            frames = [unpack(blocks[k], n.schema) for k in n.blocks]
            whole = pl.concat(frames, rechunk=False) if frames else pl.DataFrame(schema=n.schema)
            done[id(n)] = InMemory(whole)
        else:
            inputs = tuple(done[id(i)] for i in n.inputs())
            same = all(a is b for a, b in zip(n.inputs(), inputs))
            done[id(n)] = (n if same else n.with_inputs(inputs)).afresh()
    return done[id(plan)]
