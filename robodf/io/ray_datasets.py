"""Rows from and to Ray Data: a Dataset as a source, and blocks of Arrow tables as a Dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.compat import explode_options
from robodf.errors import OptionError, SchemaError
from robodf.io.source import Request, ScanReport, Source, Split
from robodf.io.stream import from_batches

if TYPE_CHECKING:
    import pyarrow as pa
    from ray import ObjectRef
    from ray.data import Dataset


@dataclass(frozen=True)
class RayDataset(Source):
    """The rows of a Ray Dataset, in the order in which Ray Data gives them.

    A Dataset that is not materialized runs anew each time it is read here in one stream; its order is that of its
    input only where its context says `execution_options.preserve_order`. To be read in parts it is materialized once,
    into the object store. Ray counts the references to blocks where the source is an argument of a task; pickled
    to bytes by hand, it keeps the blocks until the process ends.
    """

    columns: tuple[tuple[str, pl.DataType], ...]
    dataset: Dataset | None = None
    kept: tuple[ObjectRef, ...] | None = None  # the blocks of a part, or of a materialized Dataset
    rows: tuple[int | None, ...] = field(default=(), compare=False)  # of each of those

    @property
    def name(self) -> str:
        return "ray"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return dict(self.columns)

    def scan(self, request: Request) -> pl.LazyFrame:
        query = from_batches(self._batches, self.schema, self.describe())
        query = query.head(request.limit) if request.limit is not None else query
        return query.select(request.columns)

    def splits(self, request: Request) -> Iterator[Split]:
        blocks, rows = self._blocks
        for number in range(len(blocks)):
            yield Split(self.describe(), number, rows[number])

    def part(self, splits: tuple[Split, ...]) -> Source:
        blocks, rows = self._blocks
        chosen = [split.part for split in splits]
        return RayDataset(self.columns, None, tuple(blocks[i] for i in chosen), tuple(rows[i] for i in chosen))

    def count(self, predicates: tuple) -> int | None:
        if predicates or self.kept is None or None in self.rows:
            return None
        return sum(rows for rows in self.rows if rows is not None)

    def report(self, request: Request) -> ScanReport:
        count = None if self.kept is None else len(self.kept)
        rows = self.count(())
        return ScanReport(rows=rows, total_rows=rows, pieces=count, total_pieces=count, piece="block")

    def describe(self) -> str:
        return "ray dataset" if self.kept is None else f"ray dataset of {len(self.kept)} blocks"

    @cached_property
    def _blocks(self) -> tuple[tuple[ObjectRef, ...], tuple[int | None, ...]]:
        """The references to the blocks in order, and their rows; runs the Dataset where it has not run."""
        if self.kept is not None:
            return self.kept, self.rows
        assert self.dataset is not None
        return _materialized(self.dataset.materialize())

    def _batches(self) -> Iterator[pl.DataFrame]:
        for table in self._tables():
            frame = _frame(table)
            if frame.schema != pl.Schema(self.schema):
                frame = _fitted(frame, self.schema)
            yield frame

    def _tables(self) -> Iterator[pa.Table]:
        if self.kept is None:
            assert self.dataset is not None
            yield from self.dataset.iter_batches(batch_size=None, batch_format="pyarrow")
            return
        import ray
        from ray.data.block import BlockAccessor

        for ref in self.kept:
            yield BlockAccessor.for_block(ray.get(ref)).to_arrow()


def from_ray(dataset: Dataset) -> RayDataset:
    """A source over a Ray Dataset. Runs no more of it than Ray needs to know its columns (often nothing).

    Tensor columns of one shape become Array columns. SchemaError for a Dataset without columns, and for columns of
    Python objects or of tensors of several shapes. OptionError for something that is no Dataset.
    """
    try:
        from ray.data import Dataset
        from ray.data.dataset import MaterializedDataset
    except ModuleNotFoundError as error:
        raise ImportError("from_ray needs Ray Data: pip install 'robodf[ray]'") from error

    if not isinstance(dataset, Dataset):
        raise OptionError(f"from_ray takes a ray.data.Dataset, not {type(dataset).__name__}")
    columns = tuple(_frame(_empty(dataset)).schema.items())
    if isinstance(dataset, MaterializedDataset):
        return RayDataset(columns, None, *_materialized(dataset))
    return RayDataset(columns, dataset)


def to_ray(frame: Any, batch_size: int = 65_536) -> Dataset:
    """The rows of a PipelineDataFrame as a materialized Ray Dataset, a block for each batch of rows.

    Executes the query; the rows go through this process batch by batch, into the object store of the Ray cluster that
    it is connected to.
    """
    import ray

    schema = {name: pl.Series(dtype=dtype) for name, dtype in frame.schema.items()}
    refs = [ray.put(table_of(batch)) for batch in frame.iter_batches(batch_size)]
    return dataset_of(refs or [ray.put(table_of(pl.DataFrame(schema)))])


def dataset_of(refs: Sequence[ObjectRef[pa.Table]]) -> Dataset:
    """A Dataset over Arrow tables that are in the object store already, one block each, in order; copies nothing."""
    from ray.data import from_arrow_refs

    return from_arrow_refs(list(refs))  # type: ignore[arg-type]


def table_of(frame: pl.DataFrame) -> pa.Table:
    """A frame as a block that Ray Data takes: plain Arrow types. SchemaError for types that Arrow has not."""
    for name, dtype in frame.schema.items():
        if any(kind in str(dtype) for kind in ("Int128", "Object")):
            raise SchemaError(f"to_ray: column {name!r} is {dtype}, which Arrow does not have: cast it or drop it")
    texts = [name for name, dtype in frame.schema.items() if isinstance(dtype, (pl.Categorical, pl.Enum))]
    # As text: blocks with different dictionaries have different types, which Ray Data does not unite.
    return frame.with_columns(pl.col(texts).cast(pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())


def _materialized(dataset: Any) -> tuple[tuple[ObjectRef, ...], tuple[int | None, ...]]:
    bundles = list(dataset.iter_internal_ref_bundles())
    blocks = tuple(ref for bundle in bundles for ref in bundle.block_refs)
    return blocks, tuple(metadata.num_rows for bundle in bundles for metadata in bundle.metadata)


def _empty(dataset: Dataset) -> pa.Table:
    """A table without rows that has the columns of a Dataset."""
    import pyarrow as pa

    known = dataset.schema()
    if known is None or not known.names:
        raise SchemaError("from_ray: the Dataset has no columns (it is empty and says nothing of its types)")
    types: Any = known.base_schema
    if isinstance(types, pa.Schema):
        return types.empty_table()
    # Blocks of pandas: what they are in Arrow is known from one.
    one: Iterator[Any] = iter(dataset.limit(1).iter_batches(batch_size=None, batch_format="pyarrow"))
    for table in one:
        return table.slice(0, 0)
    raise SchemaError("from_ray: the Dataset is empty, and its blocks of pandas do not say their types")


def _frame(table: pa.Table) -> pl.DataFrame:
    """An Arrow table of Ray Data as a frame."""
    import pyarrow as pa

    plain, tensors = [], {}
    for name, column in zip(table.column_names, table.columns):
        kind = column.type
        if isinstance(kind, pa.BaseExtensionType):
            shape = getattr(kind, "shape", None)
            if shape is None or any(width is None for width in shape) or getattr(kind, "permutation", None):
                raise SchemaError(
                    f"from_ray: column {name!r} is {kind}, which has no type in Polars. In a map_batches before, turn "
                    "tensors of several shapes into lists or into one shape, and Python objects into structs or bytes"
                )
            tensors[name] = tuple(shape)
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], type=kind.storage_type)
        plain.append(column)
    made = pl.from_arrow(pa.table(plain, names=table.column_names), rechunk=False)
    assert isinstance(made, pl.DataFrame)
    return made.with_columns(_tensor(made[name], shape) for name, shape in tensors.items()) if tensors else made


def _tensor(flat: pl.Series, shape: tuple[int, ...]) -> pl.Series:
    """Lists of the elements of tensors, row by row, as an Array column of their shape."""
    element: Any = flat.dtype.inner  # type: ignore[attr-defined]
    dtype = pl.Array(element, shape) if shape else element
    if not flat.len() or flat.null_count() == flat.len():
        return pl.Series(flat.name, [None] * flat.len(), dtype=dtype)
    size = math.prod(shape)
    nulls = flat.is_null()
    lists = flat.cast(pl.List(element))
    whole = lists.filter(~nulls)
    if not size:
        raise SchemaError(f"from_ray: column {flat.name!r} holds tensors of shape {shape}, which have no elements")
    values = whole.explode(**explode_options())
    values = values.reshape((-1, *shape)) if shape else values
    if nulls.any():
        position = (~nulls).cast(pl.UInt32).cum_sum() - 1
        values = values.to_frame().select(pl.all().gather(position.set(nulls, None))).to_series()
    return values.alias(flat.name).cast(dtype)


def _fitted(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """A block whose types are not quite those of the Dataset: one column is all null, or is narrower."""
    if set(frame.columns) != set(schema):
        raise SchemaError(f"from_ray: a block has the columns {frame.columns}, the Dataset {list(schema)}")
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"from_ray: a block of {dict(frame.schema)} does not fit {schema}: {error}") from error
