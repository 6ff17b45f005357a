"""Vectors by a model, of any kind."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import ColumnNotFoundError, OptionError, SchemaError
from robodf.frame.embedding import Embedding, embed
from robodf.plan.embedding import Embed

TEXTS = ["pick", None, "", "a b", "öö", None, "zzzzz"]
LENGTHS = [None if t is None else [float(len(t)), float(t.count("b"))] for t in TEXTS]


def lengths(texts: list[str]) -> np.ndarray:
    assert all(isinstance(text, str) for text in texts)
    return np.array([[len(t), t.count("b")] for t in texts])


def texts() -> rd.PipelineDataFrame:
    return rd.from_dict({"t": TEXTS, "n": list(range(7))})


def add(frame: rd.PipelineDataFrame, *args, **options) -> rd.PipelineDataFrame:
    return Embedding.embed(frame, *args, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 64])
def test_a_function(run, size: int) -> None:
    got = run(add(texts(), "t", lengths, batch_size=size, dim=2))
    assert got.schema == {"t": pl.String, "n": pl.Int64, "embedding": pl.Array(pl.Float32, 2)}
    assert got["embedding"].to_list() == LENGTHS
    assert got["n"].to_list() == list(range(7))
    unknown = run(add(texts(), "t", lengths, batch_size=size, into="v"))
    assert unknown.schema["v"] == pl.List(pl.Float32)
    assert unknown["v"].to_list() == LENGTHS


def test_batches_have_at_most_the_size_and_no_nulls(run, told) -> None:
    def model(values: list[str]) -> np.ndarray:
        told(values)
        return lengths(values)

    run(add(texts(), "t", model, batch_size=3, dim=2))
    assert sorted(t for batch in told.values for t in batch) == sorted(t for t in TEXTS if t is not None)
    assert max(map(len, told.values)) <= 3


def test_a_class_is_made_where_it_runs(run, told) -> None:
    class Model:
        def __init__(self) -> None:
            told("made")

        def __call__(self, values: list[str]) -> list[list[float]]:
            return lengths(values).tolist()

    frame = add(texts(), "t", Model, batch_size=1, dim=2)
    assert told.values == []
    assert run(frame)["embedding"].to_list() == LENGTHS
    assert 1 <= len(told.values) <= 3


class Encoder:
    """What sentence-transformers has."""

    def get_sentence_embedding_dimension(self) -> int:
        return 2

    def encode(self, sentences: list[str], batch_size: int = 32, show_progress_bar: bool | None = None) -> np.ndarray:
        assert (batch_size, show_progress_bar) == (5, False)
        return lengths(sentences).astype(np.float16)


def test_an_object_with_encode(run) -> None:
    got = run(add(texts(), "t", Encoder(), batch_size=5))
    assert got.schema["embedding"] == pl.Array(pl.Float32, 2)
    assert got["embedding"].to_list() == LENGTHS


def test_for_pipe_and_normalized() -> None:
    frame = texts().with_columns(both=rd.col("n") + 1)
    made = embed("both", lambda n: np.stack([3.0 * n, 4.0 * n], 1), dim=2, normalize=True, into="unit")
    frame = made(add(texts().with_columns(both=rd.col("n") + 1), "t", lengths, dim=2))
    assert frame.columns == ["t", "n", "both", "embedding", "unit"]
    assert frame.collect()["unit"].to_numpy() == pytest.approx(np.array([[0.6, 0.8]] * 7), abs=1e-7)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [(pl.Array(pl.Float32, 2), np.ndarray), (pl.List(pl.Int16), list), (pl.Int32, np.ndarray), (pl.Binary, list)],
)
def test_what_a_model_is_given(dtype, kind) -> None:
    values: list = [[1, 2], None, [3, 4]] if dtype.is_nested() else [1, None, 2]
    values = [b"\xff", None, b""] if dtype == pl.Binary else values

    def model(given):
        assert isinstance(given, kind)
        assert len(given) == 2
        if dtype.is_nested():
            assert np.asarray(given).tolist() == [[1, 2], [3, 4]]
        return np.ones((2, 1))

    frame = rd.from_polars(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}))
    assert add(frame, "x", model, dim=1).collect()["embedding"].to_list() == [[1.0], None, [1.0]]


def test_no_values_no_model() -> None:
    def model(_):
        raise AssertionError("called")

    nulls = rd.from_polars(pl.DataFrame({"t": [None, None]}, schema={"t": pl.String}))
    assert add(nulls, "t", model, dim=3).collect()["embedding"].to_list() == [None, None]
    assert add(nulls, "t", model).collect().schema["embedding"] == pl.List(pl.Float32)
    assert add(nulls.head(0), "t", model, dim=3).collect().schema["embedding"] == pl.Array(pl.Float32, 3)


def test_filters_run_before_the_model(run, told) -> None:
    def model(values: list[str]) -> np.ndarray:
        told(values)
        return lengths(values)

    assert run(add(texts(), "t", model, dim=2).filter(rd.col("n") == 3))["embedding"].to_list() == [[3.0, 1.0]]
    assert told.values == [["a b"]]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.ones((4, 2)), r"shape \(4, 2\), not \(5, d\)"),
        (np.ones(5), r"shape \(5,\)"),
        (np.ones((5, 0)), r"shape \(5, 0\)"),
        (np.ones((5, 3)), "3 numbers, not of dim=2"),
        (np.full((5, 2), np.nan), "NaN or infinity for 5 of 5"),
        (np.full((5, 2), 1e300), "NaN or infinity"),
        ([[1, 2], [1], [1, 2], [1, 2], [1, 2]], "of one length"),
        (None, "array of numbers"),
        (["a"] * 5, "array of numbers"),
        (np.ones((5, 2), complex), "array of numbers"),
    ],
)
def test_wrong_answers(answer, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        add(texts(), "t", lambda _: answer, dim=2).collect()


def test_wrong_arguments() -> None:
    frame = texts()
    for options in ({"batch_size": 0}, {"dim": 0}, {"dim": True}, {"into": "n"}, {"num_gpus": -1}, {"concurrency": 0}):
        with pytest.raises(OptionError, match=next(iter(options))):
            add(frame, "t", lengths, **options)
    with pytest.raises(ColumnNotFoundError):
        add(frame, "x", lengths)
    with pytest.raises(OptionError, match="not int"):
        add(frame, "t", 7)
    with pytest.raises(OptionError, match="tokenizer"):
        add(frame, "t", "model.onnx")
    with pytest.raises(OptionError, match="ONNX models"):
        add(frame, "t", lengths, tokenizer="tokenizer.json")
    with pytest.raises(SchemaError, match="is Int64"):
        add(frame, "n", "model.onnx", tokenizer="tokenizer.json")


def test_missing_packages_say_what_to_install(monkeypatch) -> None:
    import sys

    for module, frame in (
        ("sentence_transformers", add(texts(), "t", "some/model-1", dim=2)),
        ("onnxruntime", add(texts(), "n", "model-1.onnx", dim=2)),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match="pip install " + module.replace("_", "-")):
            frame.collect()


def test_a_name_travels_as_a_name_and_equal_ones_are_one_node() -> None:
    frames = [add(texts(), "t", "some/model-2", dim=2) for _ in range(2)]
    assert "some/model-2" in frames[0].explain()
    function = Embed("t", "e", "some/model-2", None, 2, False, 64, 0)
    again = pickle.loads(pickle.dumps(function))
    assert again == function
    assert again.__qualname__ == "embed of 't' by some/model-2"
    assert frames[0]._plan.steps is not None
    assert frames[0]._plan.steps[0] is frames[1]._plan.steps[0]


@pytest.fixture
def onnx_model(tmp_path):
    """A path of a model: twice its input, or for tokens the embedding (id, 1) of each."""
    onnx = pytest.importorskip("onnx", reason="onnx, which makes the model of this test, is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    h, kind = onnx.helper, onnx.TensorProto

    def make(text: bool) -> str:
        value = partial(h.make_tensor_value_info)
        if text:
            table = onnx.numpy_helper.from_array(np.array([[k, 1] for k in range(10)], np.float32), "table")
            nodes = [h.make_node("Gather", ["table", "input_ids"], ["tokens"])]
            inputs = [value("input_ids", kind.INT64, ["n", "s"])]
            graph = h.make_graph(nodes, "g", inputs, [value("tokens", kind.FLOAT, ["n", "s", 2])], [table])
        else:
            nodes = [h.make_node("Add", ["x", "x"], ["y"])]
            graph = h.make_graph(nodes, "g", [value("x", kind.FLOAT, ["n", 2])], [value("y", kind.FLOAT, ["n", 2])])
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
        path = tmp_path / f"{text}.onnx"
        path.write_bytes(model.SerializeToString())
        return str(path)

    return make


def test_onnx_of_arrays(onnx_model) -> None:
    import onnxruntime

    path = onnx_model(False)
    values = [[1.0, 2.0], None, [3.0, 0.5]]
    for dtype in (pl.List(pl.Float64), pl.Array(pl.Int32, 2)):
        column = pl.Series("x", values, dtype=pl.List(pl.Float64)).cast(dtype, strict=False)
        expected = [None if v is None else [2 * x for x in v] for v in column.to_list()]
        frame = rd.from_polars(column.to_frame())
        assert add(frame, "x", path, dim=2).collect()["embedding"].to_list() == expected
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        made = add(frame, "x", session)
        assert made.schema["embedding"] == pl.Array(pl.Float32, 2)  # as the session says
        assert made.collect()["embedding"].to_list() == expected
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(OptionError, match="onnxruntime-gpu"):
            add(frame, "x", path, dim=2, num_gpus=1).collect()
    with pytest.raises(FileNotFoundError, match="nowhere.onnx"):
        add(frame, "x", "nowhere.onnx", dim=2).collect()


def test_onnx_of_texts_is_the_mean_of_its_tokens(onnx_model, tmp_path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    vocabulary = {"[UNK]": 0, "a": 1, "b": 2, "c": 3}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    frame = rd.from_dict({"t": ["a b c c", None, "b", "", "?"]})
    got = add(frame, "t", onnx_model(True), tokenizer=tmp_path / "tokenizer.json", dim=2).collect()
    assert got["embedding"].to_list() == [[2.25, 1.0], None, [2.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
