"""What tasks hand to each other: every type arrives as it was, and equal keys meet."""

from __future__ import annotations

import datetime as dt
import pickle
import subprocess
import sys
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from robodf.errors import SchemaError
from robodf.physical.blocks import block_bytes, hash_buckets, hash_probe, hashable, pack, unpack

BIG = 2**100


def _plain() -> dict[str, pl.Series]:
    """A series of each type with a null in it."""
    integers = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    made = {str(t): pl.Series("a", [1, None, 3], t) for t in integers}
    made |= {str(t): pl.Series("a", [BIG, None, 3], t) for t in (pl.Int128, pl.UInt128)}
    made |= {str(t): pl.Series("a", [1.5, None, -0.0], t) for t in (pl.Float16, pl.Float32, pl.Float64)}
    stamps = pl.Series("a", [1, None, -3], pl.Int64)
    for unit in ("ms", "us", "ns"):
        for t in (pl.Datetime(unit), pl.Datetime(unit, "Europe/Berlin"), pl.Duration(unit)):
            made[str(t)] = stamps.cast(t)
    for t in (pl.Decimal(38, 0), pl.Decimal(10, 2), pl.Decimal(38, 37)):
        made[str(t)] = pl.Series("a", [Decimal(1), None, Decimal(0)], t)
    named = pl.Categorical(pl.Categories("parts", "robodf-tests", pl.UInt8))
    made |= {
        "bool": pl.Series("a", [True, None, False]),
        "string": pl.Series("a", ["a", None, "long " * 10]),
        "binary": pl.Series("a", [b"a", None, b"long " * 10]),
        "null": pl.Series("a", [None] * 3, pl.Null),
        "date": pl.Series("a", [dt.date(2020, 1, 1), None, dt.date(1960, 1, 1)]),
        "time": pl.Series("a", [dt.time(1, 2, 3, 4), None, dt.time(0)]),
        "categorical": pl.Series("a", ["x", None, "y"], pl.Categorical),
        "named categorical": pl.Series("a", ["x", None, "y"], named),
        "enum": pl.Series("a", ["x", None, "y"], pl.Enum(["y", "x", "z"])),
        "enum of none": pl.Series("a", [None] * 3, pl.Enum([])),
        "enum of odd texts": pl.Series("a", ["", None, "a,b;ü"], pl.Enum(["a,b;ü", ""])),
    }
    return made


def _every() -> dict[str, pl.Series]:
    """And of each type within lists, arrays, structs, and lists of structs."""
    made = _plain()
    for name, s in _plain().items():
        values = s.to_list()
        within = {
            "list": pl.List(s.dtype),
            "array": pl.Array(s.dtype, 3),
            "struct": pl.Struct({"f": s.dtype, "g": s.dtype}),
        }
        made[f"list of {name}"] = pl.Series("a", [values, None, []], within["list"])
        made[f"array of {name}"] = pl.Series("a", [values, None, values], within["array"])
        made[f"struct of {name}"] = pl.Series("a", [{"f": v, "g": None} for v in values], within["struct"])
        made[f"list of struct of {name}"] = made[f"struct of {name}"].implode().alias("a")
    empty = pl.Array(pl.Int64, 0)
    made |= {
        "struct of nothing": pl.Series("a", [{}, None, {}], pl.Struct({})),
        "null struct": pl.Series("a", [{"x": 1}, None, {"x": None}]),
        "array of nothing": pl.Series("a", [[], None, []], empty),
        "array of array of nothing": pl.Series("a", [[[], []], None, [[], None]], pl.Array(empty, 2)),
        "struct of array of nothing": pl.Series("a", [{"x": []}, None, {"x": None}], pl.Struct({"x": empty})),
        "array of arrays": pl.Series("a", [[[1, 2], [3, 4]], None, [[1, None], None]], pl.Array(pl.Int32, (2, 2))),
        "list of lists": pl.Series("a", [[[1, 2], None], None, []], pl.List(pl.List(pl.UInt8))),
    }
    return made


EVERY = _every()


def _shapes(s: pl.Series) -> list[pl.DataFrame]:
    frame = s.to_frame()
    return [frame, frame.clear(), frame[1:], frame[:0], pl.concat([frame, frame[1:]], rechunk=False)]


def _check(sent: pl.DataFrame, got: pl.DataFrame) -> None:
    assert got.schema == sent.schema
    assert got.height == sent.height
    assert [s.to_list() for s in got] == [s.to_list() for s in sent]


@pytest.mark.parametrize("name", EVERY)
def test_every_type_survives_pickling(name: str) -> None:
    for frame in _shapes(EVERY[name]):
        _check(frame, unpack(pickle.loads(pickle.dumps(pack(frame), protocol=5)), frame.schema))


@pytest.mark.ray
def test_every_type_survives_the_object_store_and_a_process(ray_cluster: Any, capfd: pytest.CaptureFixture) -> None:
    import ray

    @ray.remote
    def there_and_back(blocks: list, schemas: list) -> tuple[list, list]:
        # Categories of this process have other codes than those of the test.
        other = pl.Series(["z", "q", "y", "x"], dtype=pl.Categorical)
        frames = [unpack(b, s) for b, s in zip(blocks, schemas)]
        del other
        return [pack(f) for f in frames], [[s.to_list() for s in f] for f in frames]

    frames = [frame for s in EVERY.values() for frame in _shapes(s)]
    wide = {str(i): s for i, s in enumerate(EVERY.values()) if len(s) == 3}
    frames += [pl.DataFrame(), pl.DataFrame(height=5), pl.DataFrame(wide)]
    blocks = ray.get([ray.put(pack(f)) for f in frames])
    back, seen = ray.get(there_and_back.remote(blocks, [f.schema for f in frames]))
    for frame, block, values in zip(frames, back, seen):
        assert values == [s.to_list() for s in frame]
        _check(frame, unpack(block, frame.schema))
    assert "falling back to Arrow IPC" not in capfd.readouterr().err  # Ray ships each type by its fast way


@pytest.mark.ray
@pytest.mark.parametrize("name", EVERY)
def test_a_slice_ships_its_own_rows(ray_cluster: Any, name: str) -> None:
    from ray import cloudpickle
    from ray._private.worker import global_worker

    global_worker.get_serialization_context()  # registers what Ray does with Arrow
    s = EVERY[name]
    whole = pl.concat([s.to_frame()] * 4096, rechunk=True)

    def shipped(frame: pl.DataFrame) -> int:
        outside: list = []
        inside = cloudpickle.dumps(pack(frame), protocol=5, buffer_callback=outside.append)
        return len(inside) + sum(b.raw().nbytes for b in outside)

    parts = [whole[3000:3060], whole.filter(pl.int_range(pl.len()) % 200 == 0)]
    small = shipped(whole[:0]) + shipped(pl.concat([s.to_frame()] * 40))
    for part in parts:
        assert shipped(part) < small * 2 + 2000


def test_numbers_are_read_in_place() -> None:
    frame = pl.DataFrame({"a": range(1000), "b": [0.5] * 1000})
    block = pack(frame)
    got = unpack(block, frame.schema)
    for name in frame.columns:
        at = block.column(name).chunk(0).buffers()[1].address
        assert got[name].to_numpy(allow_copy=False).__array_interface__["data"][0] == at


def test_chunks_stay_chunks() -> None:
    frame = pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})], rechunk=False)
    assert unpack(pack(frame), frame.schema).n_chunks() == 2


def test_python_objects_do_not_travel() -> None:
    for dtype in (pl.Object(), pl.List(pl.Object), pl.Struct({"x": pl.List(pl.Object)})):
        assert not hashable(dtype)
    with pytest.raises(SchemaError, match=r"column 'a' is Object.*engine='local'"):
        pack(pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}))


def test_another_schema_is_an_error() -> None:
    block = pack(pl.DataFrame({"a": [1]}))
    for wrong in ({"a": pl.Int32()}, {"b": pl.Int64()}, {}, {"a": pl.Int64(), "b": pl.Int64()}):
        with pytest.raises(SchemaError, match="was expected"):
            unpack(block, wrong)


def test_the_size_of_a_block() -> None:
    assert block_bytes(pack(pl.DataFrame({"a": range(1000)}))) == 8000
    assert block_bytes(pack(pl.DataFrame({"a": range(1000)})[:10])) == 80
    assert 16_000 <= block_bytes(pack(pl.DataFrame({"a": pl.Series(range(1000), dtype=pl.Int128)}))) < 18_000
    assert block_bytes(pack(pl.DataFrame(height=3))) == 0


# --- buckets ---------------------------------------------------------------------------------------------------------


def _where(frame: pl.DataFrame, n: int = 7, keys: tuple[str, ...] = ("a",)) -> list[int]:
    """The bucket of each row."""
    rows = frame.with_row_index("row")
    found = {}
    for number, part in enumerate(hash_buckets(rows, [pl.col(k) for k in keys], n)):
        assert part.schema == rows.schema
        assert part["row"].is_sorted()
        found |= dict.fromkeys(part["row"], number)
    assert sorted(found) == list(range(frame.height))
    return [found[row] for row in range(frame.height)]


@pytest.mark.parametrize("name", EVERY)
def test_equal_keys_meet_wherever_they_stand(name: str) -> None:
    frame = EVERY[name].to_frame()
    assert hashable(frame.schema["a"])
    alone = [_where(frame[i : i + 1])[0] for i in range(frame.height)]
    assert _where(frame) == alone
    assert _where(frame[list(range(frame.height))[::-1]])[::-1] == alone
    assert _where(pl.concat([frame[1:], frame], rechunk=False)) == alone[1:] + alone


def test_processes_agree() -> None:
    code = (
        "import sys; sys.path[:0] = [{!r}, {!r}]\n"
        "import polars as pl\n"
        "kept = [pl.Series(['z', 'q', 'y', 'x'], dtype=pl.Categorical),"
        " pl.Series(['z', 'q', 'y', 'x'], dtype=pl.Categorical(pl.Categories('parts', 'robodf-tests', pl.UInt8)))]\n"
        "from test_blocks import EVERY, _where, hash_probe\n"
        "print([hash_probe(), [_where(s.to_frame(), 1009) for s in EVERY.values()]])"
    ).format(__file__.rsplit("/", 1)[0], __file__.rsplit("/", 3)[0])
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str([hash_probe(), [_where(s.to_frame(), 1009) for s in EVERY.values()]])
    assert len(set(hash_probe())) > 12


def test_values_that_polars_joins_meet() -> None:
    def where(values: list, dtype: Any) -> list[int]:
        return _where(pl.DataFrame({"a": pl.Series(values, dtype=dtype)}), 1009)

    for t in (pl.Int8, pl.Int16, pl.Int32, pl.Int128):
        assert where([0, 1, -1, None], t) == where([0, 1, -1, None], pl.Int64)
    for t in (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128):
        assert where([0, 1, 200, None], t) == where([0, 1, 200, None], pl.Int64)
    assert where([2**64 - 1, 2**63], pl.UInt64) == where([2**64 - 1, 2**63], pl.Int128)
    floats = [0.0, -0.0, float("nan"), -float("nan"), 1.5, None]
    for t in (pl.Float16, pl.Float32, pl.Float64):
        found = where(floats, t)
        assert found == where(floats, pl.Float64)
        assert found[0] == found[1]
        assert found[2] == found[3]
        lists = where([[x] for x in floats], pl.List(t))
        assert lists[0] == lists[1]
        assert lists[2] == lists[3]


def test_keys_are_spread_and_several_count() -> None:
    frame = pl.DataFrame({"a": [i // 100 for i in range(10_000)], "b": [i % 100 for i in range(10_000)]})
    sizes = [part.height for part in hash_buckets(frame, [pl.col("a"), pl.col("b")], 16)]
    assert sum(sizes) == 10_000
    assert min(sizes) > 400
    assert _where(frame, keys=("a", "b")) != _where(frame, keys=("b", "a"))
    assert _where(frame, keys=("a",)) != _where(frame, keys=("a", "b"))


def test_keys_are_expressions() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3, 4], "b": [4, 3, 2, 1]})
    parts = hash_buckets(frame, [pl.col("a") + pl.col("b")], 5)
    assert sorted(p.height for p in parts) == [0, 0, 0, 0, 4]
    for keys in ([pl.lit(1)], []):
        assert sorted(p.height for p in hash_buckets(frame, keys, 3)) == [0, 0, 4]
    assert [p.height for p in hash_buckets(frame.clear(), [pl.col("a")], 3)] == [0, 0, 0]


def test_keys_that_cannot_be_hashed_are_an_error() -> None:
    frame = pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(TypeError, match="type Object cannot be hashed"):
        hash_buckets(frame, [pl.col("a")], 2)
    with pytest.raises(ValueError, match="n=0"):
        hash_buckets(frame, [pl.col("a")], 0)
