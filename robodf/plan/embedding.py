"""Models that make vectors: one batch of a column in, one row of numbers for each value out.

A model that is given by name is loaded where it runs, once in a process, and never travels.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from robodf.compat import supported
from robodf.errors import OptionError, SchemaError

_loading = threading.Lock()


@dataclass(frozen=True)
class Embed:
    """What `map_batches` calls: the column of a batch through the model. `num_gpus` says where a model is loaded."""

    column: str
    into: str
    model: Any
    tokenizer: str | None
    dim: int | None
    normalize: bool
    batch_size: int
    num_gpus: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "__qualname__", f"embed of {self.column!r} by {name_of(self.model)}")

    def __call__(self, batch: pl.DataFrame) -> dict[str, pl.Series]:
        column = batch.get_column(self.column)
        given = column.drop_nulls()
        out = pl.List(pl.Float32) if self.dim is None else pl.Array(pl.Float32, self.dim)
        if not len(given):  # the model is asked nothing
            return {self.into: pl.Series(self.into, [None] * len(column), dtype=out)}
        encode = _called(self.model, self.tokenizer, self.batch_size, self.num_gpus > 0)
        numbers = self._checked(_as_array(encode(_values(given))), len(given))
        made = pl.Series(self.into, numbers, dtype=pl.Array(pl.Float32, numbers.shape[1])).cast(out)
        if len(given) < len(column):
            place = column.is_not_null().cum_sum().cast(pl.Int64) - 1
            made = made.gather(pl.select(pl.when(column.is_not_null()).then(place)).to_series())
        return {self.into: made}

    def _checked(self, numbers: np.ndarray, rows: int) -> np.ndarray:
        who = name_of(self.model)
        if numbers.ndim != 2 or numbers.shape[0] != rows or numbers.shape[1] == 0:
            raise SchemaError(f"{who} got {rows} values and returned shape {numbers.shape}, not ({rows}, d)")
        if self.dim is not None and numbers.shape[1] != self.dim:
            raise SchemaError(f"{who} returned vectors of {numbers.shape[1]} numbers, not of dim={self.dim}")
        if self.normalize:
            length = np.linalg.norm(numbers.astype(np.float64), axis=1, keepdims=True)
            numbers = numbers / np.where(length == 0, 1, length)
        with np.errstate(over="ignore"):  # what float32 cannot hold is told below
            numbers = np.ascontiguousarray(numbers, np.float32)
        wrong = int((~np.isfinite(numbers)).any(axis=1).sum())
        if wrong:
            raise SchemaError(
                f"{who} returned NaN or infinity for {wrong} of {rows} values of {self.column!r}: filter those that it "
                "cannot embed, or make them null"
            )
        return numbers


def name_of(model: Any) -> str:
    """A model as messages and plans name it."""
    return model if isinstance(model, str) else getattr(model, "__qualname__", type(model).__qualname__)


def known_dim(model: Any) -> int | None:
    """How many numbers a loaded model says that its vectors have."""
    for ask in ("get_embedding_dimension", "get_sentence_embedding_dimension"):
        found = getattr(model, ask, None)
        if callable(found):
            dim = found()
            return dim if isinstance(dim, int) and dim > 0 else None
    if _is_session(model):
        shape = model.get_outputs()[0].shape  # of axes that vary, names
        return shape[-1] if len(shape) >= 2 and isinstance(shape[-1], int) else None
    return None


def _called(model: Any, tokenizer: str | None, batch_size: int, gpu: bool) -> Callable[[Any], Any]:
    """What makes vectors of a batch of values."""
    if isinstance(model, (str, type)):
        with _loading:  # two threads would load it twice
            model = _loaded(model, gpu)
    if _is_session(model):
        return _Onnx(model, tokenizer)
    encode = getattr(model, "encode", None)
    if encode is None:
        return model
    options = {"batch_size": batch_size, "show_progress_bar": False, "convert_to_numpy": True}
    known = supported(encode, options)
    return lambda values: encode(values, **known)


@lru_cache(maxsize=4)
def _loaded(model: Any, gpu: bool) -> Any:
    """A model out of its name or class. A process keeps the four used last."""
    if isinstance(model, type):
        return model()
    if model.endswith(".onnx"):
        return _session(model, gpu)
    try:
        from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError(
            f"embed: the model {model!r} needs sentence-transformers: pip install sentence-transformers"
        ) from error
    return SentenceTransformer(model)


def _session(path: str, gpu: bool) -> Any:
    try:
        import onnxruntime  # type: ignore[import-not-found]
    except ImportError as error:
        package = "onnxruntime-gpu" if gpu else "onnxruntime"
        raise ImportError(f"embed: the model {path!r} needs {package}: pip install {package}") from error
    if not os.path.isfile(path):
        raise FileNotFoundError(f"embed: there is no file {path!r}; each worker opens it under this path")
    have = onnxruntime.get_available_providers()
    if gpu and "CUDAExecutionProvider" not in have:
        raise OptionError(
            f"embed: num_gpus is given, but this onnxruntime has {', '.join(have)} only: "
            "pip install onnxruntime-gpu, or leave num_gpus out"
        )
    providers = (["CUDAExecutionProvider"] if gpu else []) + ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(path, providers=providers)


def _is_session(model: Any) -> bool:
    return all(hasattr(model, name) for name in ("run", "get_inputs", "get_outputs"))


class _Onnx:
    """An ONNX model: of texts by a tokenizer, the mean of the vectors of the tokens; or of arrays as they are."""

    def __init__(self, session: Any, tokenizer: str | None):
        self.session = session
        self.inputs = {i.name: _TYPES.get(i.type) for i in session.get_inputs()}
        unknown = [i.type for i in session.get_inputs() if i.type not in _TYPES]
        if unknown:
            raise OptionError(f"embed: an input of the ONNX model is {unknown[0]}; it can be {', '.join(_TYPES)}")
        self.tokenizer = None if tokenizer is None else _tokenizer(tokenizer)
        if self.tokenizer is None and len(self.inputs) != 1:
            raise OptionError(
                f"embed: the ONNX model has the inputs {', '.join(self.inputs)}; without tokenizer= it must have one"
            )

    def __call__(self, values: Any) -> np.ndarray:
        if self.tokenizer is None:
            ((name, dtype),) = self.inputs.items()
            numbers = _as_array(values)
            if numbers.dtype.kind not in "fiub":
                raise SchemaError(
                    "embed: an ONNX model takes columns of numbers or arrays; for texts give tokenizer='tokenizer.json'"
                )
            return self.session.run(None, {name: numbers.astype(dtype)})[0]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise SchemaError("embed: with tokenizer= the column must be of texts")
        tokens = self.tokenizer.encode_batch(values)
        mask = np.array([t.attention_mask for t in tokens])
        have = {
            "input_ids": np.array([t.ids for t in tokens]),
            "attention_mask": mask,
            "token_type_ids": np.array([t.type_ids for t in tokens]),
        }
        missing = self.inputs.keys() - have.keys()
        if missing:
            raise OptionError(f"embed: the ONNX model asks for {', '.join(sorted(missing))}, which no tokenizer gives")
        found = self.session.run(None, {name: have[name].astype(dtype) for name, dtype in self.inputs.items()})[0]
        if found.ndim != 3:
            return found
        weight = mask[:, :, None].astype(np.float64)
        return (found * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)


_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
          "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}  # fmt: skip


@lru_cache(maxsize=4)
def _tokenizer(path: str) -> Any:
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError("embed: tokenizer= needs tokenizers: pip install tokenizers") from error
    if not os.path.isfile(path):
        raise FileNotFoundError(f"embed: there is no file {path!r}; each worker opens it under this path")
    made = Tokenizer.from_file(path)
    if made.padding is None:  # what a text is filled up with is masked
        made.enable_padding()
    return made


def _values(column: pl.Series) -> Any:
    """What a model is given: an array of an Array column or of numbers, a list of all else (of arrays for List)."""
    dtype = column.dtype
    if isinstance(dtype, pl.List) and dtype.inner.is_numeric():  # type: ignore[union-attr]
        return [value.to_numpy() for value in column]
    return column.to_numpy() if isinstance(dtype, pl.Array) or dtype.is_numeric() else column.to_list()


def _as_array(answer: Any) -> np.ndarray:
    """What a model returned as one array of numbers."""
    if isinstance(answer, pl.Series):
        answer = answer.to_numpy()
    for step in ("detach", "cpu"):  # a tensor of torch, maybe on a GPU
        answer = getattr(answer, step)() if callable(getattr(answer, step, None)) else answer
    if isinstance(answer, (list, tuple)):
        shapes = sorted({np.shape(row) for row in answer})
        if len(shapes) > 1:
            raise SchemaError(f"embed: the vectors of one batch must be of one length, not of shapes {shapes[:5]}")
    array = np.asarray(answer)
    if array.dtype.kind not in "fiub":
        raise SchemaError(f"embed: an array of numbers was expected, not {type(answer).__name__} of {array.dtype}")
    return array
