"""Python generators of frames as Polars scans: the one adapter between them.

Polars trusts such a source wholly: a projection, a predicate or a row limit that it ignores gives wrong rows without
an error. So what the source did not apply is applied here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl
from polars.io.plugins import register_io_source

from robodf.compat import keep_failure

Batches = Callable[[], Iterator[pl.DataFrame]]


def from_batches(batches: Batches, schema: dict[str, pl.DataType], name: str) -> pl.LazyFrame:
    """A Polars query over the frames that `batches()` yields, in their order, each of exactly `schema`.

    It is called anew each time the query reads it, and closed early where the query has enough rows.
    """

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        source = batches()
        try:
            for batch in source:
                if with_columns is not None:
                    # Where only the number of rows counts, one column stays: a frame of no columns has no rows.
                    batch = batch.select(with_columns or batch.columns[:1])
                if left is not None:  # Polars counts the rows before its predicate
                    batch = batch.head(left)
                    left -= batch.height
                if predicate is not None:
                    batch = batch.filter(predicate)
                yield batch
                if left == 0:
                    return
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # not what closes this generator
            raise keep_failure(error) from error
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    return register_io_source(read, schema=schema, is_pure=True)
