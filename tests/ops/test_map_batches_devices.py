"""User functions over tensors and arrays, on the CPU and, where there is one, on a GPU.

Without a GPU CuPy and cuDF are stood in for: what is tested is what they are handed and how their answers come back.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import DeviceError, OptionError, SchemaError
from robodf.gpu.exchange import Exchange
from robodf.optimizer import optimize
from robodf.physical.plan_key import plan_key
from robodf.plan.spread import Resources


@pytest.fixture
def numbers() -> rd.PipelineDataFrame:
    frame = pl.DataFrame(
        {"i": [1, 2, 3], "f": [0.5, 1.5, -2.0], "b": [True, False, True], "v": [[1, 2], [3, 4], [5, 6]],
         "t": ["x", "y", "z"]},
        schema_overrides={"f": pl.Float32, "v": pl.Array(pl.Float32, 2)},
    )  # fmt: skip
    return rd.from_polars(frame)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def no_gpu(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that says it is a GPU's: only what stands in for CuPy reads it."""

    def __init__(self, array: Any):
        self._array = np.array(array)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Array:
        return Array(getattr(ufunc, method)(*(getattr(i, "_array", i) for i in inputs), **options))

    def __len__(self) -> int:
        return len(self._array)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **options: Any) -> Any:
        raise AssertionError("memory of a GPU was read as if it were the host's")


@pytest.fixture
def cupy(monkeypatch) -> SimpleNamespace:
    """A machine with a GPU and CuPy, by NumPy; it notes what was moved which way."""
    moved: list[str] = []

    def to_device(array: np.ndarray) -> Array:
        moved.append("to device")
        return Array(array)

    def to_host(array: Array) -> np.ndarray:
        moved.append("to host")
        return array._array

    made = SimpleNamespace(
        moved=moved, asarray=to_device, asnumpy=to_host, from_dlpack=lambda array: array,
        cuda=SimpleNamespace(get_allocator=lambda: None, set_allocator=lambda allocator: moved.append("pool")),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "cupy", made)
    for name in ("rmm", "rmm.allocators", "rmm.allocators.cupy"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["rmm.allocators.cupy"].rmm_cupy_allocator = object()  # type: ignore[attr-defined]
    monkeypatch.setattr("robodf.gpu.exchange.absent", lambda: None)
    monkeypatch.setattr("robodf.gpu.exchange.ensure_pool", lambda share: moved.append(f"ensure {share:g}"))
    return made


def test_tensors_on_the_cpu(torch, run, numbers) -> None:
    def double(batch: dict) -> dict:
        assert {name: (str(t.dtype), tuple(t.shape), t.device.type) for name, t in batch.items()} == {
            "i": ("torch.int64", (len(batch["i"]),), "cpu"),
            "f": ("torch.float32", (len(batch["i"]),), "cpu"),
            "b": ("torch.bool", (len(batch["i"]),), "cpu"),
            "v": ("torch.float32", (len(batch["i"]), 2), "cpu"),
        }
        half = batch["v"].requires_grad_().to(torch.bfloat16)
        return {"n": batch["i"] * 2, "ok": ~batch["b"], "v": half, "f": batch["f"][:, None] + batch["f"][None, :1]}

    made = numbers.map_batches(
        double, 2, batch_format="torch", reads=["i", "f", "b", "v"], preserves_rows=True,
        schema={"n": pl.Int32, "ok": pl.Boolean, "v": pl.Array(pl.Float32, 2), "f": pl.Array(pl.Float64, 1)},
    )  # fmt: skip
    rows = run(made)
    assert rows["n"].to_list() == [2, 4, 6]
    assert rows["ok"].to_list() == [False, True, False]
    assert rows["v"].to_list() == [[1, 2], [3, 4], [5, 6]]
    assert rows["f"].to_list() == [[1.0], [2.0], [-4.0]]
    assert rows["t"].to_list() == ["x", "y", "z"]
    assert "on torch" in str(made.explain())


def test_a_function_that_writes_into_its_tensors_changes_nothing_else(torch, numbers) -> None:
    frame = numbers.select("i", "v").collect()

    def clear(batch: dict) -> dict:
        for tensor in batch.values():
            tensor.zero_()
        return batch

    made = rd.from_polars(frame).map_batches(clear, None, batch_format="torch", device="cpu").collect()
    assert made["i"].to_list() == [0, 0, 0]
    assert frame["i"].to_list() == [1, 2, 3]
    assert frame["v"].to_list() == [[1, 2], [3, 4], [5, 6]]


def test_no_rows_and_one_tensor(torch, run, numbers) -> None:
    none = numbers.filter(col("i") > 9).select("i", "v")
    assert run(none.map_batches(lambda b: b, 2, batch_format="torch")).schema == none.schema
    made = numbers.select("i").map_batches(lambda b: {"x": b["i"].sum()[None]}, None, batch_format="torch",
                                           schema={"x": pl.Int64})  # fmt: skip
    assert run(made).rows() == [(6,)]


@pytest.mark.parametrize("batch_format", ["torch", "cupy"])
@pytest.mark.parametrize("column", ["t", "when", "ragged", "deep", "money"])
def test_types_that_tensors_do_not_have(batch_format: str, column: str) -> None:
    frame = pl.DataFrame(
        {"i": [1], "t": ["x"], "when": [0], "ragged": [[1, 2]], "deep": [[["x"]]], "money": [1]},
        schema_overrides={"when": pl.Datetime("ns"), "deep": pl.Array(pl.Array(pl.String, 1), 1),
                          "money": pl.Decimal(10, 2)},
    )  # fmt: skip
    df = rd.from_polars(frame)
    df.map_batches(lambda b: b, batch_format=batch_format, reads="i")
    with pytest.raises(SchemaError, match=f"column '{column}' is .*batch_format='cudf'") as raised:
        df.map_batches(lambda b: b, batch_format=batch_format, reads=["i", column])
    assert "test_map_batches_devices.py" in str(raised.value)


@pytest.mark.parametrize("column", ["data", "nothing", "within"])
def test_types_that_cudf_does_not_have(column: str) -> None:
    frame = pl.DataFrame(
        {"t": ["x"], "data": [b"x"], "nothing": [None], "within": [{"a": [b"x"]}], "kind": ["a"]},
        schema_overrides={"kind": pl.Enum(["a"])},
    )
    df = rd.from_polars(frame)
    df.map_batches(lambda b: b, batch_format="cudf", reads=["t", "kind"])
    with pytest.raises(SchemaError, match=f"column '{column}' is .*cuDF has no (Binary|Null)"):
        df.map_batches(lambda b: b, batch_format="cudf", reads=[column])


@pytest.mark.parametrize(
    ("dtype", "depth", "level"),
    [
        (pl.Int64, 0, 0), (pl.Float64, 0, 0), (pl.Array(pl.Int64, 1), 1, 0), (pl.Array(pl.Int64, 1), 1, 1),
        (pl.Array(pl.Array(pl.Int64, 1), 1), 2, 0), (pl.Array(pl.Array(pl.Int64, 1), 1), 2, 1),
        (pl.Array(pl.Array(pl.Int64, 1), 1), 2, 2),
    ],
)  # fmt: skip
def test_nulls_are_told(cupy, dtype, depth: int, level: int) -> None:
    whole, hole = 1, None
    for _ in range(depth):
        whole = [whole]
    for _ in range(level):
        hole = [hole]
    frame = rd.from_polars(pl.DataFrame({"n": pl.Series([whole, whole, hole], dtype=dtype)}))
    with pytest.raises(SchemaError, match="column 'n' has 1 nulls.*batch_format='cudf'") as raised:
        frame.map_batches(lambda b: b, 2, batch_format="cupy").collect()
    assert "given 1 rows from row 2" in raised.value.__notes__[0]
    assert "test_map_batches_devices.py" in str(raised.value)


def test_arrays_on_the_gpu(cupy, numbers) -> None:
    def double(batch: dict) -> dict:
        assert all(isinstance(array, Array) for array in batch.values())
        return {"i": batch["i"] * 2, "v": batch["v"] + 1, "host": np.ones(len(batch["i"]))}

    made = numbers.map_batches(double, 2, batch_format="cupy", reads=["i", "v"], num_gpus=0.5,
                               schema={"i": pl.Int64, "v": pl.Array(pl.Float32, 2), "host": pl.Float64})  # fmt: skip
    assert made.collect().rows() == [(2, [2.0, 3.0], 1.0), (4, [4.0, 5.0], 1.0), (6, [6.0, 7.0], 1.0)]
    moved = [way for way in cupy.moved if way.startswith("to")]
    assert moved == ["to device"] * 2 + ["to host"] * 2 + ["to device"] * 2 + ["to host"] * 2  # once a column and batch
    assert cupy.moved[0] == "ensure 0.5"


def test_a_function_of_the_gpu_may_take_and_give_any_format(cupy, numbers) -> None:
    made = numbers.select("i").map_batches(lambda b: {"i": Array(b["i"].to_numpy())}, 2, device="gpu")
    assert made.collect()["i"].to_list() == [1, 2, 3]
    assert cupy.moved.count("to host") == 2


def test_answers_by_the_cuda_array_interface_and_by_dlpack_of_the_host(cupy) -> None:
    class Interface:
        __cuda_array_interface__ = {"shape": (2,)}

    class OfTheHost:
        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

        def __dlpack__(self, **options: Any) -> Any:
            return np.arange(2.0).__dlpack__(**options)

    cupy.asarray = lambda value: Array([7, 8]) if isinstance(value, Interface) else None
    taken = Exchange("cupy", "gpu").take({"a": Interface(), "b": OfTheHost()}, "f")
    assert taken.rows() == [(7, 0.0), (8, 1.0)]
    with pytest.raises(SchemaError, match="f returned"):
        Exchange("cupy", "gpu").take(3, "f")


def test_cudf_frames(cupy, monkeypatch) -> None:
    given: list[Any] = []

    class DataFrame:
        """What is asked of cudf.DataFrame."""

        __module__ = "cudf.core.dataframe"
        columns = ("t",)

        def __init__(self, table: Any):
            self.table = table

        @classmethod
        def from_arrow(cls, table: Any) -> DataFrame:
            given.append(table)
            return cls(table)

        def to_arrow(self, preserve_index: bool) -> Any:
            assert preserve_index is False
            return self.table

    monkeypatch.setitem(sys.modules, "cudf", SimpleNamespace(DataFrame=DataFrame))
    frame = pl.DataFrame(
        {"t": ["x", None], "v": [[1, 2], [3, 4]], "k": ["a", "b"], "s": [{"e": "a"}, None]},
        schema_overrides={"v": pl.Array(pl.Int16, 2), "k": pl.Categorical, "s": pl.Struct({"e": pl.Enum(["a"])})},
    )
    made = rd.from_polars(frame).map_batches(lambda b: b, batch_format="cudf")
    assert made.collect().equals(frame)
    assert made.collect().schema == frame.schema
    assert [str(t) for t in given[0].schema.types] == [
        "large_string", "large_list<item: int16>", "large_string", "struct<e: large_string>"
    ]  # fmt: skip


@pytest.mark.parametrize("options", [
    {"batch_format": "torch", "device": "gpu"}, {"batch_format": "cupy"}, {"batch_format": "cudf"},
    {"batch_format": "numpy", "device": "gpu"},
])  # fmt: skip
def test_without_a_gpu_the_query_stops_before_it_reads(told, numbers, no_gpu, options) -> None:
    frame = numbers.select("i").map_batches(lambda b: told("read") or b, 1).map_batches(lambda b: b, 1, **options)
    assert "device=gpu" in str(frame.explain())  # a plan can be looked at anywhere
    with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES is empty") as raised:
        frame.collect(engine="local")
    assert "test_map_batches_devices.py" in str(raised.value)
    assert "map_batches(lambda b: b, 1, **options)" in str(raised.value)
    assert told.values == []


def test_missing_libraries_are_named(cupy, numbers, monkeypatch) -> None:
    for missing in ("cudf", "torch", "cupy"):
        monkeypatch.setitem(sys.modules, missing, None)
        frame = numbers.select("i").map_batches(lambda b: b, batch_format=missing, device="gpu")
        with pytest.raises(DeviceError, match=f"{missing} is not installed: pip install"):
            frame.collect()


def test_what_a_plan_says_of_devices(numbers) -> None:
    frame = numbers.select("i")

    def node(**options: Any) -> Any:
        return optimize(frame.map_batches(lambda b: b, **options)._plan)

    assert node().device is None
    assert node(batch_format="torch").device is None
    assert node(batch_format="torch", device="cpu").device == "cpu"
    assert node(batch_format="cupy").device == "gpu"
    assert node(device="gpu").device == "gpu"
    assert node(device="gpu").resources == Resources(None, 1.0, None, False)
    assert node(batch_format="cudf", num_gpus=0.25).resources == Resources(None, 0.25, None, False)
    assert node(batch_format="torch", device="cpu").resources is None
    assert frame._plan.device is None
    assert "device=gpu" in node(batch_format="cupy").label()


def test_a_resumed_run_knows_a_function_by_format_and_device_not_by_its_line(numbers) -> None:
    def key(**options: Any) -> str:
        return plan_key(numbers.select("i").map_batches(np.asarray, **options)._plan)

    def elsewhere(**options: Any) -> str:
        return plan_key(numbers.select("i").map_batches(np.asarray, **options)._plan)

    assert key(batch_format="torch") == elsewhere(batch_format="torch")
    assert len({key(), key(batch_format="torch"), key(batch_format="torch", device="gpu")}) == 3


def test_two_functions_of_one_gpu_share_their_batches(cupy, numbers) -> None:
    made = numbers.select("i")
    for _ in range(2):
        made = made.map_batches(lambda b: {"i": b["i"] + 1}, 2, batch_format="cupy", preserves_rows=True)
    plan = optimize(made._plan)
    assert len(plan.steps) == 2  # type: ignore[attr-defined]
    assert plan.device == "gpu"
    assert made.collect()["i"].to_list() == [3, 4, 5]


def test_wrong_devices(numbers) -> None:
    for options in ({"device": "cuda"}, {"device": True}, {"batch_format": "cupy", "device": "cpu"},
                    {"batch_format": "cudf", "device": "cpu"}, {"batch_format": "jax"}):  # fmt: skip
        with pytest.raises(OptionError, match="map_batches"):
            numbers.map_batches(lambda b: b, **options)


@pytest.mark.gpu
@pytest.mark.parametrize("batch_format", ["torch", "cupy", "cudf"])
def test_on_a_gpu(run, numbers, batch_format: str) -> None:
    if not rd.gpu.devices():
        pytest.skip("this machine has no GPU")
    pytest.importorskip(batch_format)
    reads = ["i", "f", "b", "v"] if batch_format != "cudf" else ["i", "f", "b", "v", "t"]

    def same(batch: Any) -> Any:
        if batch_format == "torch":
            assert all(t.is_cuda for t in batch.values())
        return {"i": batch["i"] + 1, **{name: batch[name] for name in reads[1:]}}

    made = numbers.select(reads).map_batches(same, 2, batch_format=batch_format, device="gpu")
    assert run(made).equals(numbers.select(reads).with_columns(col("i") + 1).collect())
