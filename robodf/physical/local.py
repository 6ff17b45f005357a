"""The local engine: the whole plan as one Polars query, run by the streaming engine so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from robodf.compat import original_failure, run, run_in_batches
from robodf.config import engine_asked
from robodf.dedup import asked
from robodf.errors import FileFormatError, QueryError, listing
from robodf.io.tables import TableFiles
from robodf.optimizer import optimize
from robodf.physical.on_gpu import placed_here
from robodf.physical.progress import progress
from robodf.plan.base import Plan, lower_all, parents_first, plans
from robodf.plan.expr import Call
from robodf.plan.kernels import runs_on_gpu, with_engine
from robodf.plan.node import walk
from robodf.plan.nodes.scan import Scan


def prepare(plan: Plan, engine: str | None = "local") -> pl.LazyFrame:
    """The optimized plan as a Polars query; with engine "gpu" or "auto" parts of it run on the GPU of this process."""
    optimized = for_engine(optimize(plan), engine)
    placed = placed_here(optimized, engine)
    runs = optimized if placed is None else placed.plan
    _check_nesting(runs)
    with asked.during(engine_asked(engine)):
        return lower_all(runs)


def for_engine(plan: Plan, engine: str | None) -> Plan:
    """The plan with the engine written into the functions that run on a GPU too: Polars calls them in its threads."""
    if not any(isinstance(n, Call) and runs_on_gpu(n.fn) for n in walk(plan)):
        return plan
    wanted = engine_asked(engine)
    done: dict[int, Plan] = {}
    for n in reversed(parents_first(plan)):
        over = n.with_inputs(tuple(done[id(i)] for i in n.inputs())) if n.inputs() else n
        done[id(n)] = over.with_expressions(lambda e, schema: with_engine(e, wanted))
    return done[id(plan)]


_MOST_QUERIES = 128  # nested in each other: each holds a thread, and Polars has 512 that may block


def _check_nesting(plan: Plan) -> None:
    """Refuse a plan whose user functions feed each other so often that Polars would wait for a free thread forever."""
    deep: dict[int, int] = {}
    for n in reversed(parents_first(plan)):
        deep[id(n)] = n.cuts + max((deep[id(i)] for i in n.inputs()), default=0)
    if deep[id(plan)] > _MOST_QUERIES:
        raise QueryError(
            f"{deep[id(plan)]} user functions, caches and shared parts feed one another; at most {_MOST_QUERIES} can. "
            "Join functions into one, give them the same batch_size and preserves_rows=True so that they run together, "
            "or write a part of the result to a file"
        )


@contextmanager
def user_errors(plan: Plan | None = None) -> Iterator[None]:
    """Raise what a user's function or a source raised, not what Polars made of it.

    Polars does not say which table files it was reading, and panics over some that are damaged: where `plan` reads any,
    an error names them.
    """
    try:
        yield
    except pl.exceptions.PanicException as error:
        files = _table_files(plan)
        if not files:
            raise
        raise FileFormatError(
            f"{listing(files, 5)}: a file is damaged, or Polars has an error: it stopped with {str(error)[:500]!r}"
        ) from error
    except (pl.exceptions.PolarsError, RuntimeError) as error:
        original = original_failure(error)
        files = listing(_table_files(plan), 5)
        # Also where one of our sources met it: it may ask Polars for the rows below it.
        if files and isinstance(original, pl.exceptions.PolarsError) and str(original).startswith(_OF_A_FILE):
            raise FileFormatError(f"{files}: a file is damaged: {str(original)[:500]}") from error
        if original is not error:
            raise original from None
        if files:
            error.add_note(f"The query reads {files}.")
        raise


_OF_A_FILE = ("parquet: File out of specification", "out-of-spec")
"""What Polars says of Parquet and IPC files alone. Of other errors nobody can tell whether a file is to blame."""


def _table_files(plan: Plan | None) -> list[str]:
    """What the files are that Polars itself reads for a plan."""
    sources = [n.source for n in plans(plan) if isinstance(n, Scan)] if plan is not None else []
    return list(dict.fromkeys(s.describe() for s in sources if isinstance(s, TableFiles)))


def collect(plan: Plan, engine: str | None = "local") -> pl.DataFrame:
    """All rows of the plan."""
    query = prepare(plan, engine)
    with user_errors(plan), progress("collect"):
        return run(query)


def stream(plan: Plan, batch_size: int, engine: str | None = "local") -> Iterator[pl.DataFrame]:
    """The rows in order, in frames of `batch_size` rows and a rest."""
    query = prepare(plan, engine)
    with user_errors(plan):
        for batch in run_in_batches(query, batch_size):
            if batch.height:
                yield batch
