"""Vectors of a column by a model."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from robodf.errors import OptionError, SchemaError
from robodf.frame.base import FrameBase
from robodf.plan.embedding import Embed, known_dim, name_of
from robodf.plan.resolve import column_names

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


class Embedding(FrameBase):
    """The method that makes vectors."""

    def embed(self, column: str, model: Any, *, batch_size: int = 64, into: str = "embedding",
              dim: int | None = None, tokenizer: str | os.PathLike | None = None, normalize: bool = False,
              num_gpus: float = 0, concurrency: int | None = None) -> PipelineDataFrame:  # fmt: skip
        """The frame with a column `into` of vectors that `model` makes of `column`, in batches of `batch_size`.

        `model` is one of

        - a function, or a class that is made once in each process, which gets a batch and returns numbers of shape
          (rows of the batch, d): a NumPy array, a tensor or a list of rows;
        - an object with a method `encode`, such as a SentenceTransformer, called in the same way;
        - the name or folder of a sentence-transformers model, as a text;
        - the path of an `.onnx` file, or an onnxruntime.InferenceSession. Its first output is taken. With `tokenizer`,
          the path of a tokenizer.json, it embeds texts: where the output has a vector for each token, their mean.
          Texts are cut where the tokenizer says so.

        A batch of texts (or of anything that is not numbers) is a list, a column of numbers or of type Array one NumPy
        array, a column of type List a list of arrays. Nulls are not given to the model, and their vectors are null.

        The new column is Array(Float32, dim); List(Float32) where `dim` is not given and the model does not say it.
        `normalize=True` makes all vectors 1 long. NaN, infinity and other shapes are a SchemaError.

        A model given by name is loaded on the worker that runs it, once in a process (which keeps four models at
        most), so `num_gpus` and `concurrency` place it as in `map_batches`. An ONNX model runs on a GPU if `num_gpus`
        is given. That row i of the answer depends on value i alone is taken for granted: filters on other columns run
        before the model.

        >>> import robodf as rd
        >>> df = rd.from_dict({"caption": ["pick", None, "open it"]})
        >>> df.embed("caption", lambda texts: [[len(t), t.count(" ")] for t in texts], dim=2).collect().rows()
        [('pick', [4.0, 0.0]), (None, None), ('open it', [7.0, 1.0])]
        """
        schema = self._plan.schema
        names = column_names([column], schema, "embed")
        if len(names) != 1:
            raise OptionError(f"embed takes one column, {column!r} gives {len(names)}")
        name = names[0]
        if into in schema:
            raise OptionError(f"embed: there is a column {into!r} already; give into=")
        for option, value in (("batch_size", batch_size), ("dim", dim)):
            if value is None and option == "dim":
                continue
            if type(value) is not int or value < 1:
                raise OptionError(f"embed: {option} is a whole number, 1 or more, not {value!r}")
        if isinstance(model, os.PathLike):
            model = os.fspath(model)
        _check(model, tokenizer, schema[name], name)
        dim = known_dim(model) if dim is None and not isinstance(model, (str, type)) else dim
        path = None if tokenizer is None else os.fspath(tokenizer)
        function = Embed(name, into, model, path, dim, bool(normalize), batch_size, num_gpus)
        made = pl.List(pl.Float32) if dim is None else pl.Array(pl.Float32, dim)
        frame = cast("PipelineDataFrame", self)
        return frame.map_batches(
            function, batch_size, schema={into: made}, reads=name, preserves_rows=True, num_gpus=num_gpus,
            concurrency=concurrency,
        )  # fmt: skip


def _check(model: Any, tokenizer: Any, dtype: Any, column: str) -> None:
    onnx = (isinstance(model, str) and model.endswith(".onnx")) or hasattr(model, "get_inputs")
    if not onnx and not (isinstance(model, str) or callable(model) or hasattr(model, "encode")):
        raise OptionError(
            "embed: model is a function, an object with .encode, the name of a sentence-transformers model, or an "
            f".onnx file, not {type(model).__name__}"
        )
    if model == "":
        raise OptionError("embed: model is an empty text")
    if tokenizer is not None and not onnx:
        raise OptionError(f"embed: tokenizer= is for ONNX models; {name_of(model)} makes tokens itself")
    if onnx and dtype == pl.String and tokenizer is None:
        raise OptionError(
            f"embed: {column!r} is of texts, and an ONNX model takes numbers: give tokenizer='tokenizer.json'"
        )
    if onnx and tokenizer is not None and dtype != pl.String:
        raise SchemaError(f"embed: tokenizer= is for texts; {column!r} is {dtype}")


def embed(column: str, model: Any, **options: Any) -> Callable[[PipelineDataFrame], PipelineDataFrame]:
    """What adds vectors of `column` to a frame, for `df.pipe`; the options are those of `df.embed`.

    >>> import robodf as rd
    >>> from robodf.frame.embedding import embed
    >>> df = rd.from_dict({"caption": ["pick", "open it"]})
    >>> df.pipe(embed("caption", lambda texts: [[len(t)] for t in texts], dim=1, into="length")).columns
    ['caption', 'length']
    """
    return lambda frame: Embedding.embed(cast(Any, frame), column, model, **options)
