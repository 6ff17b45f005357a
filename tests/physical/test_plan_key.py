"""A key names what a plan computes: in every process the same, and another one for whatever computes other rows."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import linecache
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import types
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import OptionError
from robodf.physical import plan_key as module
from robodf.physical.plan_key import plan_key
from robodf.plan.expr import Lit, Native
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.map import MapBatches
from robodf.plan.nodes.project import WithColumns
from robodf.plan.nodes.rows import RowIndex
from robodf.plan.nodes.scan import InMemory
from robodf.plan.nodes.shared import Cached, Kept
from robodf.plan.udf import Step

ROOT = Path(__file__).resolve().parents[2]
ROWS = pl.DataFrame({"a": [1, 2], "s": ["x", None]})


def _key_of(value) -> str:
    """The key of a plan that holds the value where a user's function stands."""
    step = Step(value, "polars", (("a", pl.Int64()),), None, False)
    return plan_key(MapBatches(InMemory(ROWS), (step,), 10))


def _literal(value, dtype=None) -> str:
    return plan_key(WithColumns(InMemory(ROWS), (("b", Lit(value, dtype)),)))


def _made(source: str, name: str = "f", file: str = "<a file>", **around):
    """A function of the user's own: as if its module were this text."""
    space = {"__name__": "a_users_module", **around}
    exec(compile(textwrap.dedent(source), file, "exec"), space)
    return space[name]


# -- what must change the key ---------------------------------------------------------------------------------------

BASE = """
    import math
    LIMIT = 3
    def helper(x): return x + LIMIT
    class Scale:
        factor = 2
        def __init__(self, by=1): self.by = by
        def __call__(self, b): return b * self.by
        @property
        def twice(self): return 2 * self.by
    def deep(x): return helper(x) if x else deep(x - 1)
    def make(k):
        def inner(b, *, n=1): return b + k
        return inner
    g = make(1)
    def h(b, n=1.0): return [deep(x) for x in b]
    def f(b): return h(b), Scale, math.pi, (lambda y: y - 1)(b), {"a", "b"}
"""
EDITS = {
    "a constant in it": ('{"a", "b"}', '{"a", "c"}'),
    "a lambda in it": ("y - 1", "y - 2"),
    "what it reads of a library": ("math.pi", "math.e"),
    "a default of a function that it calls": ("n=1.0", "n=1"),
    "the code of a function two calls away": ("return x + LIMIT", "return x - LIMIT"),
    "a global of a function three calls away": ("LIMIT = 3", "LIMIT = 4"),
    "a global of another type": ("LIMIT = 3", "LIMIT = 3.0"),
    "a method of a class": ("return b * self.by", "return b / self.by"),
    "a constant of a class": ("factor = 2", "factor = 3"),
    "a default of a method": ("by=1", "by=2"),
    "a property of a class": ("2 * self.by", "3 * self.by"),
    "a base of a class": ("class Scale:", "class Scale(list):"),
    "a function that calls itself": ("else deep(x - 1)", "else deep(x - 2)"),
    "a decorator": ("    def h(b", "    @__import__('functools').lru_cache\n    def h(b"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_what_a_function_uses_changes_the_key(edit):
    old, new = EDITS[edit]
    assert BASE.count(old) == 1
    assert _key_of(_made(BASE)) != _key_of(_made(BASE.replace(old, new)))


def test_closures_and_keyword_defaults_change_the_key():
    keys = [
        _key_of(_made(BASE.replace("make(1)", f"make({k})"), "g")) for k in ("1", "2", "1.0", "True", "[1]", "-0.0")
    ]
    keys.append(_key_of(_made(BASE.replace("n=1):", "n=2):"), "g")))
    assert len(set(keys)) == 7


class Colour(enum.Enum):
    RED = 1
    BLUE = "x"


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, batch):
        return batch * self.by


class Slots:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


@dataclasses.dataclass
class Options:
    width: int
    seen: int = dataclasses.field(default=0, compare=False)


VALUES = [
    None, True, 1, 1.0, 0.0, -0.0, float("nan"), float("inf"), "1", b"1", 1j, ..., (), (1,), ((1,),), [1], {1},
    frozenset({1}), {1: 2}, {2: 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, bytearray(b"1"), range(3), range(4),
    slice(1), 10**5000,
    date(2024, 1, 1), datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=timezone.utc), timedelta(1), timedelta(2),
    datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")), datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 10, 27, 2, 30, fold=0), datetime(2024, 10, 27, 2, 30, fold=1), Decimal("1"), Decimal("1.0"),
    Colour.RED, Colour.BLUE, Colour, Path("a"), Path("b"), re.compile("a"), re.compile("a", re.IGNORECASE),
    np.float32(1), np.float64(1), np.int64(1), np.arange(3), np.arange(3.0), np.arange(4)[:3].reshape(1, 3),
    np.array([1, None]), np.array([2, None]), np.array(["a"], dtype=np.dtypes.StringDType()), np.dtype("f4"), np.add,
    np.array([], dtype="f4"), np.datetime64("2024-01-01", "ns"), np.datetime64("2024-01-01", "D"), len, abs, str.lower,
    "a".upper, "b".upper, int, list, Scale, Slots, Scale(1), Scale(2), Slots(1), Slots(2), Scale(1).__call__,
    Scale(2).__call__, Options(1), Options(2), Options(1, 1), functools.partial(max, 1), functools.partial(max, 2),
    functools.partial(max, key=1), functools.partial(min, 1), collections.Counter("a"), collections.Counter("aa"),
    collections.deque([1]), collections.OrderedDict(a=1), collections.namedtuple("P", "x")(1), logging.getLogger("a"),
    logging.getLogger("b"), types.SimpleNamespace(a=1), types.SimpleNamespace(a=2), types.MappingProxyType({1: 3}),
    pl.Int64, pl.Int32, pl.Datetime, pl.Datetime("us"), pl.Datetime("ns"), pl.Enum(["a"]), pl.Enum(["b"]),
    pl.List(pl.Int8), pl.Struct({"a": pl.Int8}), pl.Struct({"b": pl.Int8}), pl.col("a"), pl.col("a") + 1, pl.lit(1),
    pl.Series([1]), pl.Series("n", [1]), pl.Series([1.0]), pl.Series([None, 1]), ROWS, ROWS.head(1), ROWS.select("a"),
    ROWS.lazy(), ROWS.lazy().head(1), rd.col("a"), rd.col("b"), list[int], list[str], os.path, textwrap,
]  # fmt: skip


def test_values_that_differ_have_keys_that_differ():
    seen: dict[str, object] = {}
    for value in VALUES:
        key = _key_of(value)
        assert key not in seen, f"{value!r} is {seen[key]!r}"
        assert _key_of(value) == key
        seen[key] = value
    assert len(seen) > 100


def _source(folder: Path, **changes) -> str:
    path = folder / "a.parquet"
    if not path.exists():
        pl.DataFrame({"a": [1, 2], "b": [3, 4]}).write_parquet(path)
    os.utime(path, ns=(1, changes.get("changed", 10**18)))
    return plan_key(rd.read_parquet(str(path), **changes.get("options", {}))._plan)


def test_a_source_file_that_changes_changes_the_key(tmp_path):
    keys = [_source(tmp_path), _source(tmp_path, changed=10**18 + 1), _source(tmp_path, options={"n_rows": 1})]
    (tmp_path / "a.parquet").rename(tmp_path / "b.parquet")
    pl.DataFrame({"a": [1, 2, 3], "b": [3, 4, 5]}).write_parquet(tmp_path / "a.parquet")
    keys.append(_source(tmp_path))  # another size at the same time
    os.utime(tmp_path / "b.parquet", ns=(1, 10**18))
    keys.append(plan_key(rd.read_parquet(str(tmp_path / "b.parquet"))._plan))
    assert len(set(keys)) == 5
    assert _source(tmp_path) == keys[3]


def test_operators_expressions_and_options_change_the_key():
    df = rd.from_polars(pl.DataFrame({"a": [1, 2], "b": [1.0, 2.0], "t": [datetime(2024, 1, 1)] * 2}))
    other = rd.from_polars(pl.DataFrame({"a": [1, 3], "b": [1.0, 2.0], "t": [datetime(2024, 1, 1)] * 2}))
    frames = [
        df, other, df.filter(rd.col("a") > 1), df.filter(rd.col("a") >= 1), df.filter(rd.col("b") > 1),
        df.filter(rd.col("a") > 1.0), df.filter(rd.col("a") > 2), df.filter(rd.col("a") > True),
        df.with_columns(c=rd.col("a")), df.with_columns(d=rd.col("a")), df.select("a"), df.select("b"),
        df.select("b", "a"), df.select("a", "b"), df.head(1), df.head(2), df.sort("a"),
        df.sort("a", descending=True), df.sort("a", "b"),
        df.join(other, on="a"), other.join(df, on="a"), df.join(other, on="a", how="left"), df.join(df, on="a"),
        df.with_row_index(), df.with_row_index(offset=1), df.unique(), df.unique(maintain_order=True),
        rd.concat([df, other]), rd.concat([df, df]), df.group_by("a").agg(rd.col("b").sum()),
        df.group_by("a").agg(rd.col("b").mean()),
        df.sample(1, seed=1), df.sample(1, seed=2), df.with_columns(c=rd.col("t").dt.offset_by("1h")),
        df.with_columns(c=rd.col("t").dt.offset_by("2h")), df.with_columns(pl.col("a").rolling_sum(2)),
        df.with_columns(pl.col("a").rolling_sum(3)), df.with_columns(c=rd.col("a").cast(pl.Int8)),
        df.with_columns(c=rd.col("a").cast(pl.Int16)),
    ]  # fmt: skip
    keys = [plan_key(frame._plan) for frame in frames]
    assert len(set(keys)) == len(keys)


def test_literals_that_are_equal_but_differ_have_keys_that_differ():
    keys = [_literal(v) for v in (1, True, 1.0, 0.0, -0.0, "1", b"1", None, (1,), (True,), (1.0,))]
    keys += [
        _literal(1, pl.Int8()),
        _literal(1, pl.Int16()),
        _literal("a", pl.Enum(["a"])),
        _literal("a", pl.Enum(["a", "b"])),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("what", ["robodf", "polars", "python"])
def test_versions_change_the_key(monkeypatch, what):
    before = _key_of(len)
    if what == "python":
        version = types.SimpleNamespace(major=3, minor=99)
        monkeypatch.setattr(module, "sys", types.SimpleNamespace(version_info=version))
    else:
        monkeypatch.setattr(rd if what == "robodf" else pl, "__version__", "99.0")
    assert _key_of(len) != before


def test_a_users_module_is_followed_to_what_is_read_of_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "a_users_package"
    package.mkdir()
    (package / "__init__.py").write_text("")

    def key(text: str, code: str) -> str:
        (package / "parts.py").write_text(text)
        for name in [n for n in sys.modules if n.startswith("a_users_package")]:
            del sys.modules[name]
        linecache.clearcache()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return _key_of(_made(code))
        finally:
            sys.dont_write_bytecode = before

    def changes(code: str) -> list[bool]:
        first = "def scale(x): return x * K\nK = 2\nunused = 1\n"
        texts = [first, first.replace("K = 2", "K = 3"), first.replace("unused = 1", "unused = 2"), first]
        keys = [key(text, code) for text in texts]
        return [k != keys[0] for k in keys]

    by_name = "import a_users_package.parts\ndef f(b): return a_users_package.parts.scale(b)"
    assert changes(by_name) == [False, True, False, False]
    assert changes("from a_users_package import parts as p\ndef f(b): return p.scale(b)") == [False, True, False, False]
    assert changes("from a_users_package.parts import scale\ndef f(b): return scale(b)") == [False, True, False, False]
    # Where it cannot be told what is read of it, all of the module counts.
    assert changes("import a_users_package.parts as p\ndef f(b): return vars(p)['scale'](b)") == [
        False,
        True,
        True,
        False,
    ]
    assert changes("def f(b):\n    from a_users_package.parts import scale\n    return scale(b)") == [
        False,
        True,
        True,
        False,
    ]
    assert changes("def f(b):\n    import a_users_package.parts as p\n    return p.scale(b)") == [
        False,
        True,
        True,
        False,
    ]
    assert "a_users_package.parts" not in sys.modules  # the last of them imports when it runs, not for its key


# -- what must not ---------------------------------------------------------------------------------------------------


def test_names_files_and_lines_of_functions_do_not_matter():
    moved = "\n\n# a comment\n" + textwrap.dedent(BASE).replace("deep(", "deeper(").replace(
        "    return b + k", "    return b + k  # why"
    )
    one, two = _made(BASE), _made(moved.replace("deeper(", "deep("), file="<another>")
    assert _key_of(one) == _key_of(two)
    two.__name__ = two.__qualname__ = "another"
    two.__module__ = "another"
    assert _key_of(one) == _key_of(two)

    def here():
        return lambda b: b + 1

    def there():
        def named(b):
            return b + 1

        return named

    assert _key_of(here()) == _key_of(there()) == _key_of(lambda b: b + 1)


def test_a_plan_that_travelled_has_its_key():
    import cloudpickle

    plan = rd.from_polars(ROWS).filter(rd.col("a") > 1).map_batches(_made(BASE), schema={"a": pl.Int64})._plan
    assert plan_key(cloudpickle.loads(cloudpickle.dumps(plan))) == plan_key(plan)


def test_how_polars_holds_equal_rows_does_not_matter():
    texts = ["a text that is longer than twelve bytes", None, "", "short"] * 50
    columns = {
        "i": [1, None, 3, 4] * 50,
        "f": [0.5, None, float("nan"), -0.0] * 50,
        "s": texts,
        "b": [None if t is None else t.encode() for t in texts],
        "l": [["long enough to be in a buffer", None], None, [], ["x"]] * 50,
        "st": [{"p": 1, "q": [1.5]}, None, {"p": None, "q": []}, {"p": 2, "q": None}] * 50,
        "c": ["b", None, "a", "b"] * 50,
        "e": ["b", None, "a", "b"] * 50,
        "d": [Decimal("1.5"), None, Decimal("2.5"), Decimal("0")] * 50,
        "t": [datetime(2024, 1, 1), None, datetime(1, 1, 1), datetime(9999, 1, 1)] * 50,
        "big": [2**100, None, -1, 0] * 50,
        "ar": [[1, 2], None, [None, 3], [4, 5]] * 50,
        "yes": [True, None, False, True] * 50,
        "n": [None] * 200,
    }
    types_ = {
        "c": pl.Categorical,
        "e": pl.Enum(["b", "a"]),
        "big": pl.Int128,
        "ar": pl.Array(pl.Int16, 2),
        "d": pl.Decimal(9, 1),
    }
    whole = pl.DataFrame(columns, schema_overrides=types_)
    pl.Series(["z", "a", "y", "b"], dtype=pl.Categorical)  # other codes for the same categories
    chunks = pl.concat([whole.slice(i, 20) for i in range(0, 200, 20)], rechunk=False)
    sliced = pl.concat([whole.tail(3), whole, whole.head(3)]).slice(3, 200)
    picked = pl.concat([whole, whole])[list(range(200, 400))]
    # Values of their own under the nulls.
    under = whole.with_columns(
        pl.when(pl.col(name).is_not_null()).then(pl.col(name).fill_null(strategy="forward")).alias(name)
        for name in "ist"
    )
    key = plan_key(InMemory(whole))
    for name, other in {"chunks": chunks, "sliced": sliced, "picked": picked, "under": under}.items():
        assert other.equals(whole), name
        assert plan_key(InMemory(other)) == key, name
    for name in columns:
        changed = whole.with_columns(whole[name].shift(1) if name != "n" else pl.lit(1, pl.Int8).alias("n"))
        assert plan_key(InMemory(changed)) != key, name
        assert plan_key(InMemory(whole.rename({name: "other"}))) != key


def test_rows_of_several_parts(monkeypatch):
    from robodf.physical import key_rows

    monkeypatch.setattr(key_rows, "_ROWS", 7)
    frame = pl.DataFrame({"a": range(30), "l": [[i] * (i % 3) for i in range(30)]})
    keys = {plan_key(InMemory(f)) for f in (frame, pl.concat([frame.head(9), frame.tail(21)], rechunk=False))}
    assert len(keys) == 1
    assert plan_key(InMemory(frame.with_columns(a=pl.col("a").replace(29, 30)))) not in keys
    moved = pl.DataFrame({"l": [[1], [2, 3]]}), pl.DataFrame({"l": [[1, 2], [3]]})
    assert len({plan_key(InMemory(f)) for f in moved}) == 2


def test_orders_that_python_chooses_do_not_matter():
    one, two = {f"name {i}" for i in range(50)}, {f"name {i}" for i in reversed(range(50))}
    assert _key_of(one) == _key_of(two)
    first, second = Scale(1), Scale(1)
    first.x, first.y = 1, 2
    second.y, second.x = 2, 1
    assert _key_of(first) == _key_of(second)
    assert _key_of(functools.partial(max, a=1, b=2)) == _key_of(functools.partial(max, b=2, a=1))
    fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert _key_of(fortran) == _key_of(np.arange(6).reshape(2, 3))


def test_what_is_derived_or_logged_does_not_matter(real_data, tmp_path):
    class Lazy:
        @functools.cached_property
        def table(self):
            return {1: 2}

    fresh, used = Lazy(), Lazy()
    assert used.table
    assert _key_of(fresh) == _key_of(used)
    assert plan_key(Cached(InMemory(ROWS), Kept())) == plan_key(Cached(InMemory(ROWS), Kept()))


def test_credentials_do_not_matter_but_other_options_of_storage_do(tmp_path):
    from robodf.io.tables import TableFiles
    from robodf.plan.nodes.scan import Scan

    def key(**options) -> str:
        return plan_key(
            Scan(TableFiles("parquet", ("s3://b/a",), storage=tuple(options.items()), state=((1, "etag"),)))
        )

    assert key(aws_session_token="a", endpoint_url="u") == key(aws_session_token="b", endpoint_url="u")
    assert key(client_kwargs={"secret": "a"}) == key(client_kwargs={"secret": "b"})
    assert key(endpoint_url="u") != key(endpoint_url="v")


# -- names that users give --------------------------------------------------------------------------------------------


class Named:
    def __init__(self, version):
        self.version, self.lock = version, threading.Lock()

    def __call__(self, batch):
        return batch

    def __robodf_key__(self):
        return self.version


def test_names_that_users_give():
    lock = threading.Lock()

    def f(batch):
        return lock

    with pytest.raises(OptionError, match=r"^Step\.function > function f > variable lock: .*lock.*robodf_key"):
        _key_of(f)
    f.robodf_key = "v1"
    first = _key_of(f)
    f.robodf_key = "v2"
    assert _key_of(f) != first
    f.robodf_key = 3
    with pytest.raises(OptionError, match="robodf_key is a text, not int"):
        _key_of(f)
    assert _key_of(Named("1")) == _key_of(Named("1")) != _key_of(Named("2"))
    held = Scale(lock)
    held.robodf_key = "x"
    assert _key_of(held) != first


def test_the_name_of_a_class_is_not_that_of_its_objects_or_subclasses():
    class Model:
        robodf_key = "1"

        def __init__(self, by):
            self.by = by

    class Other(Model):
        def __call__(self, batch):
            return batch

    class Another(Model):
        def __call__(self, batch):
            return batch + 1

    assert len({_key_of(v) for v in (Model, Model(1), Model(2), Other, Another, Other(1))}) == 6


def test_what_has_no_name_is_an_error_that_names_it(tmp_path):
    class Printed:
        def __init__(self):
            self.text = repr(object())

    with open(os.devnull) as file:
        nameless = [threading.Lock(), (i for i in ()), file, Printed(), [threading.Lock()], {1: {2: threading.Lock()}}]
        for value in nameless:
            with pytest.raises(OptionError, match=r"^Step\.function.*robodf_key"):
                _key_of(value)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(OptionError, match=r"Step\.function: its values are nested too deep"):
        _key_of(deep)


def test_polars_queries_that_read_or_call_cannot_be_named(tmp_path):
    ROWS.write_parquet(tmp_path / "a.parquet")
    for lazy in (
        pl.scan_parquet(tmp_path / "a.parquet").filter(pl.col("a") > 1),
        pl.concat([ROWS.lazy(), pl.scan_parquet(tmp_path / "a.parquet")]),
    ):
        with pytest.raises(OptionError, match="read the files with rd.read_parquet"):
            plan_key(InMemory(lazy))
    called = pl.col("a").map_elements(_plus_one, return_dtype=pl.Int64)
    with pytest.raises(OptionError, match=r'rd\.col\("x"\)\.map_elements'):
        plan_key(WithColumns(InMemory(ROWS), (("b", Native(called)),)))
    with pytest.raises(OptionError, match="calls a Python function|calls Python"):
        plan_key(InMemory(ROWS.lazy().with_columns(called)))
    keys = {plan_key(rd.from_polars(ROWS).with_columns(b=rd.col("a").map_elements(f, return_dtype=pl.Int64))._plan)
            for f in (_plus_one, _plus_two)}  # fmt: skip
    assert len(keys) == 2


def _plus_one(x):
    return int(f"{x}") + 1


def _plus_two(x):
    return int(f"{x}") + 2


# -- size --------------------------------------------------------------------------------------------------------------


def test_deep_plans_and_diamonds():
    plan = InMemory(ROWS)
    for i in range(5000):
        plan = RowIndex(plan, f"i{i}", i)
    assert len(plan_key(plan)) == 40
    shared = rd.from_polars(ROWS)._plan
    for _ in range(200):  # 2**200 paths
        shared = rd.concat([rd.PipelineDataFrame(shared), rd.PipelineDataFrame(shared)])._plan
    assert len(plan_key(shared)) == 40


def test_functions_that_call_each_other_are_walked_once():
    names = [f"f{i}" for i in range(60)]
    text = "\n".join(f"def {n}(x): return [{', '.join(names)}]" for n in names)
    assert _key_of(_made(text, "f0")) == _key_of(_made(text, "f0"))
    assert _key_of(_made(text, "f0")) != _key_of(_made(text.replace("def f59(x)", "def f59(y)"), "f0"))


def test_long_ways_through_a_users_module():
    text = "\n".join(
        f"def f{i}(x): return f{i + 1}(x)\nclass C{i}:\n  def m(self): return f{i}, C{i + 1}" for i in range(2000)
    )
    one, two = text, text.replace("def f1999(x)", "def f1999(y)")
    assert len({_key_of(_made(t, name)) for t in (one, two) for name in ("f0", "C0")}) == 4


def test_cycles_of_values():
    one: list = [1]
    one.append(one)
    two: list = [1]
    two.append([1, two])
    assert len({_key_of(one), _key_of(two)}) == 2
    node = types.SimpleNamespace()
    node.parent, node.names = node, {"a": node}
    assert len(_key_of(node)) == 40


# -- other processes ---------------------------------------------------------------------------------------------------

SCRIPT = """
    import sys
    import numpy as np, polars as pl, robodf as rd
    from robodf.physical.plan_key import plan_key

    NAMES = {f"name {i}" for i in range(40)}
    OPTIONS = {"limit": 3, "names": NAMES}

    class Model:
        weights = np.arange(10.0)
        def __init__(self, by=2): self.by, self.seen = by, {"x", "y", "z"}
        def __call__(self, batch): return batch.with_columns(a=pl.col("a") * self.by)

    def helper(x):
        def inner(y): return y in NAMES or {"p", "q", "r"}
        return inner(x) or OPTIONS

    def rows(r): return {"a": helper(r["a"]) and 1, "s": "t"}

    def main():
        frame = pl.DataFrame({"a": range(100), "s": [f"text number {i}" for i in range(100)]})
        frame = frame.with_columns(pl.col("s").cast(pl.Categorical).alias("c"))
        df = rd.from_polars(frame).filter(rd.col("a").is_in([1, 2, 3]) & (rd.col("s") != "b"))
        df = df.map_batches(Model, schema=dict(df.schema)).select("a", "s")
        df = df.map(rows, schema={"a": pl.Int64, "s": pl.String})
        df = df.with_columns(pl.col("a").rolling_sum(2).alias("r"))
        df = df.with_columns(n=rd.col("a").map_elements(helper, return_dtype=pl.Object))
        df = df.join(rd.read_parquet(sys.argv[1]), on="a")
        df = df.join(rd.from_polars(frame.lazy().head(2).select("a")), on="a")
        return plan_key(df._plan)

    if __name__ == "__main__":
        from multiprocessing import get_context
        print(main())
        if len(sys.argv) > 2:
            with get_context("spawn").Pool(1) as pool:
                print(pool.apply(main))
"""


def test_other_processes_give_the_same_key(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    keys = []
    for i, seed in enumerate(("0", "1", "12345")):
        script = tmp_path / f"folder {i}" / f"script_{i}.py"
        script.parent.mkdir()
        script.write_text("#\n" * i + textwrap.dedent(SCRIPT))
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": str(i + 1)}
        more = ["spawn"] if i == 0 else []
        command = [sys.executable, str(script), str(tmp_path / "a.parquet"), *more]
        keys += subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert len(keys) == 4
    assert len(set(keys)) == 1


def test_a_log_read_in_part(real_data):
    files = sorted(real_data.rglob("*.mcap"))
    if not files:
        pytest.skip("no MCAP file among the real recordings")
    before = rd.read_log(str(files[0]))
    key = plan_key(before._plan)
    before.head(1).collect()  # reads summaries, logs problems
    assert plan_key(rd.read_log(str(files[0]))._plan) == key == plan_key(before._plan)
    assert plan_key(rd.read_log(str(files[0]), on_error="skip")._plan) != key
    assert isinstance(before.filter(rd.col("size") > 1)._plan, Filter)
