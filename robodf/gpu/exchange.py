"""Batches for a user's function as tensors of PyTorch, arrays of CuPy or a cuDF frame, and its answer back.

A column goes to the device in one copy, from where Polars keeps it, and comes back in one. On the device nothing is
copied: what a function returns is read there by DLPack, the CUDA array interface or Arrow.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from robodf.compat import explode_options
from robodf.errors import DeviceError, SchemaError
from robodf.gpu.device_rows import DeviceRows, stays_the_same
from robodf.gpu.devices import absent
from robodf.gpu.library import library
from robodf.gpu.memory import ensure_pool
from robodf.plan.udf import from_format, to_format

ON_GPU = ("cudf", "cupy")
"""Formats that are of a GPU alone; PyTorch's tensors are of either."""

_NUMBERS = (pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float16,
            pl.Float32, pl.Float64)  # fmt: skip
_NOT_OF_CUDF = (pl.Binary, pl.Time, pl.Null, pl.Int128, pl.UInt128, pl.Float16, pl.Object)


@dataclass(frozen=True)
class Exchange:
    """One way of handing batches to a function: a format, and "gpu", "cpu" or None where it does not matter.

    `share` is the part of a GPU that the function may take. `where` is the user's line, for errors that are met when
    the query runs.
    """

    batch_format: str
    device: str | None
    share: float = 1.0
    where: str | None = field(default=None, compare=False)

    def check(self, schema: Mapping[str, Any]) -> None:
        """SchemaError for the first column of a type that the format does not have."""
        for name, dtype in schema.items():
            if self.batch_format in ("torch", "cupy") and _inner(dtype) not in _NUMBERS:
                self._refuse(name, f"is {dtype}", "cast it to a number, leave it out by reads=, or take "
                             "batch_format='cudf', which has texts, times and lists")  # fmt: skip
            wrong = [t for t in _types(dtype) if t.base_type() in _NOT_OF_CUDF] if self.batch_format == "cudf" else []
            if wrong:
                self._refuse(name, f"is {dtype}", f"cuDF has no {wrong[0]}: cast it, or leave it out by reads=")

    def takes_from_device(self, schema: Mapping[str, Any]) -> bool:
        """Whether batches that lie on the GPU are handed over there, and look as they would by way of the host."""
        return self.batch_format == "cudf" and stays_the_same(schema)

    def ready(self) -> None:
        """DeviceError where this process has no GPU and the function wants one, or a library is missing."""
        if self.device == "gpu":
            why = absent()
            if why is not None:
                raise DeviceError(f"device='gpu', and there is no GPU: {why}", self.where)
        if self.batch_format in ON_GPU:
            library("rmm", self.where)
            ensure_pool(self.share)
        if self.batch_format == "cupy":
            self._cupy()
        elif self.batch_format in ("torch", "cudf"):
            torch_or_cudf = library(self.batch_format, self.where)
            if self.batch_format == "torch" and self.device == "gpu" and not torch_or_cudf.cuda.is_available():
                raise DeviceError(
                    "device='gpu', and this PyTorch was built without CUDA or for another driver: install another, "
                    "by https://pytorch.org/get-started/locally", self.where,
                )  # fmt: skip

    def give(self, batch: pl.DataFrame | DeviceRows) -> Any:
        """The batch as the function gets it."""
        if isinstance(batch, DeviceRows):
            return batch.to_cudf(self.where)
        if self.batch_format == "cudf":
            return library("cudf", self.where).DataFrame.from_arrow(_for_cudf(batch).to_arrow())
        if self.batch_format not in ("torch", "cupy"):
            return to_format(batch, self.batch_format)
        for column in batch.iter_columns():
            nulls = _nulls(column)
            if nulls:
                self._refuse(column.name, f"has {nulls:,} nulls", "fill or drop them, or take batch_format='cudf', "
                             "which has nulls")  # fmt: skip
        if self.batch_format == "cupy":
            cupy = self._cupy()
            return {column.name: cupy.asarray(column.to_numpy()) for column in batch.iter_columns()}
        return {column.name: self._tensor(column) for column in batch.iter_columns()}

    def take(self, answer: Any, name: str) -> pl.DataFrame:
        """What the function called `name` returned, as a frame. SchemaError where it is no table."""
        try:
            if isinstance(answer, Mapping):
                return from_format({key: self._on_host(value) for key, value in answer.items()}, name)
            if _library_of(answer) == "cudf":
                frame = answer.to_frame() if not hasattr(answer, "columns") else answer
                return from_format(frame.to_arrow(preserve_index=False), name)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            if isinstance(error, (SchemaError, DeviceError)):
                raise
            raise SchemaError(f"{name} returned what is no table: {error}") from error
        return from_format(answer, name)

    def _tensor(self, column: pl.Series) -> Any:
        torch = library("torch", self.where)
        if self.device != "gpu":
            # A tensor of memory that Polars shares with other frames would change them where a function writes to it.
            return torch.from_numpy(column.to_numpy(writable=True))
        return torch.from_numpy(_unlocked(column.to_numpy())).to("cuda")

    def _on_host(self, value: Any) -> Any:
        """A column of an answer as what Polars takes: by one copy from the device, none from memory of the host."""
        kind = _library_of(value)
        if kind == "torch" and hasattr(value, "detach"):
            value = value.detach()
            if str(value.dtype) == "torch.bfloat16":  # NumPy and Polars have none; Float32 has all of its values
                value = value.float()
            return value.cpu().numpy()
        if kind == "cudf" and hasattr(value, "to_arrow"):
            return pl.Series(value.to_arrow())
        if isinstance(value, (np.ndarray, np.generic, pl.Series)):
            return value
        if hasattr(value, "__dlpack_device__"):
            on_host = int(value.__dlpack_device__()[0]) in _OF_HOST
            return np.from_dlpack(value) if on_host else _host_copy(self._cupy(), value)
        if hasattr(value, "__cuda_array_interface__"):
            return _host_copy(self._cupy(), value)
        return value

    def _cupy(self) -> Any:
        """CuPy, on the memory of this process' pool."""
        cupy = library("cupy", self.where)
        allocator = library("rmm.allocators.cupy", self.where).rmm_cupy_allocator
        if cupy.cuda.get_allocator() is not allocator:
            ensure_pool(self.share)
            cupy.cuda.set_allocator(allocator)
        return cupy

    def _refuse(self, column: str, what: str, instead: str) -> None:
        raise SchemaError(f"batch_format={self.batch_format!r}: column {column!r} {what}; {instead}", self.where)


_OF_HOST = (1, 3)  # kDLCPU, kDLCUDAHost


def _host_copy(cupy: Any, value: Any) -> np.ndarray:
    if hasattr(value, "__dlpack__"):
        return cupy.asnumpy(cupy.from_dlpack(value))
    return cupy.asnumpy(cupy.asarray(value))


def _library_of(value: Any) -> str | None:
    """The library of a value's class, if that was imported: torch or cudf."""
    for kind in type(value).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in ("torch", "cudf") and name in sys.modules:
            return name
    return None


def _inner(dtype: Any) -> Any:
    while isinstance(dtype, pl.Array):
        dtype = dtype.inner
    return dtype.base_type()


def _types(dtype: Any) -> list[Any]:
    """A type and all that it is made of."""
    if isinstance(dtype, (pl.List, pl.Array)):
        return [dtype, *_types(dtype.inner)]
    if isinstance(dtype, pl.Struct):
        return [dtype, *(t for f in dtype.fields for t in _types(f.dtype))]
    return [dtype]


def _for_cudf(batch: pl.DataFrame) -> pl.DataFrame:
    """With the types that cuDF has instead: lists for arrays, texts for categories."""
    return batch.select(pl.col(name).cast(_of_cudf(dtype)) for name, dtype in batch.schema.items())


def _of_cudf(dtype: Any) -> Any:
    if isinstance(dtype, (pl.List, pl.Array)):
        return pl.List(_of_cudf(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: _of_cudf(f.dtype) for f in dtype.fields})
    return pl.String() if isinstance(dtype, (pl.Categorical, pl.Enum)) else dtype


def _nulls(column: pl.Series) -> int:
    """Of a column and of what its arrays hold."""
    found = column.null_count()
    while not found and isinstance(column.dtype, pl.Array) and column.dtype.size:
        column = column.explode(**explode_options())
        found = column.null_count()
    return found


class _Unlocked:
    """Memory that may not be written, offered as if it might: for a library that only reads it, and would refuse."""

    def __init__(self, array: np.ndarray):
        self.array = array  # kept alive
        interface = dict(array.__array_interface__)
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def _unlocked(array: np.ndarray) -> np.ndarray:
    return array if array.flags.writeable else np.asarray(_Unlocked(np.ascontiguousarray(array)))
