"""The local engine: the whole plan as one Polars query, run by the streaming engine so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from robodf.compat import original_failure
from robodf.config import check_engine, settings
from robodf.optimizer import optimize
from robodf.physical.progress import progress
from robodf.plan.base import Plan, lower_all


def prepare(plan: Plan, engine: str | None = None) -> pl.LazyFrame:
    """The optimized plan as a Polars query."""
    check_engine(engine or settings().engine)
    return lower_all(optimize(plan))


@contextmanager
def user_errors() -> Iterator[None]:
    """Raise what a user's function or a source raised, not what Polars made of it."""
    try:
        yield
    except (pl.exceptions.PolarsError, RuntimeError) as error:
        original = original_failure(error)
        if original is error:
            raise
        raise original from None


def collect(plan: Plan, engine: str | None = None) -> pl.DataFrame:
    """All rows of the plan."""
    query = prepare(plan, engine)
    with user_errors(), progress("collect"):
        return query.collect(engine="streaming")


def stream(plan: Plan, batch_size: int, engine: str | None = None) -> Iterator[pl.DataFrame]:
    """The rows in order, in frames of `batch_size` rows and a rest."""
    query = prepare(plan, engine)
    with user_errors():
        for batch in query.collect_batches(chunk_size=batch_size, maintain_order=True, engine="streaming"):
            if batch.height:
                yield batch
