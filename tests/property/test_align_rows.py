"""`rd.align` against a plain Python loop over all rows, optimized and as written."""

from __future__ import annotations

import math
import os
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from cutting import run_cut
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import robodf as rd
from robodf.optimizer import optimize
from robodf.plan.base import lower_all

SHARDS = 4
CASES = int(os.environ.get("ROBODF_ALIGN_CASES", "600"))
METHODS = ("previous", "next", "nearest", "linear", "slerp", "none")
START = 1_767_225_600  # seconds: 2026-01-01
UNITS = {"ns": 10**9, "us": 10**6, "ms": 10**3}
NAN = float("nan")

TYPES: dict[str, Any] = {
    "v": pl.Int64,
    "f": pl.Float32,
    "s": pl.String,
    "q": pl.Struct(dict.fromkeys("xyzw", pl.Float64)),
    "l": pl.List(pl.Int32),
    "a": pl.Array(pl.Float64, 2),
    "p": pl.Struct({"at": pl.Struct({"x": pl.Float64}), "turn": pl.List(pl.Float64), "n": pl.String}),
}
NUMBER = st.one_of(st.none(), st.integers(-8, 8))
FLOAT = st.one_of(st.none(), st.integers(-8, 8).map(float), st.just(NAN), st.just(math.inf))
PART = st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 1e-200])
LEAVES: dict[str, st.SearchStrategy] = {
    "v": NUMBER,
    "f": FLOAT,
    "s": st.one_of(st.none(), st.sampled_from(["", "a", "é"])),
    "q": st.one_of(
        st.none(), st.fixed_dictionaries({k: st.one_of(PART, st.sampled_from([None, NAN])) for k in "xyzw"}),
        st.fixed_dictionaries(dict.fromkeys("wxyz", PART)),
    ),
    "l": st.one_of(st.none(), st.lists(NUMBER, max_size=2), st.lists(NUMBER, min_size=4, max_size=4)),
    "a": st.one_of(st.none(), st.lists(FLOAT, min_size=2, max_size=2)),
    "p": st.one_of(
        st.none(),
        st.fixed_dictionaries(
            {
                "at": st.one_of(st.none(), st.fixed_dictionaries({"x": FLOAT})),
                "turn": st.one_of(st.none(), st.lists(PART, max_size=4)),
                "n": st.sampled_from([None, "q"]),
            }
        ),
    ),
}  # fmt: skip


# -- the oracle ---------------------------------------------------------------------------------------------------


def before_and_after(rows: list[dict], at: int) -> tuple[dict | None, dict | None]:
    """The last of the latest rows at or before a time, the first of the earliest at or after it."""
    before = after = None
    for row in rows:
        if row["t"] <= at and (before is None or row["t"] >= before["t"]):
            before = row
        if row["t"] >= at and (after is None or row["t"] < after["t"]):
            after = row
    return before, after


def found(rows: list[dict], at: int | None, method: str, tolerance: int | None) -> tuple[dict, dict] | None:
    """The row to take, twice, or the two to blend."""
    if at is None:
        return None
    before, after = before_and_after([r for r in rows if r["t"] is not None], at)
    if before is not None and before["t"] == at and method != "next":
        after = before
    if method == "previous":
        after = before
    elif method == "next":
        before = after
    elif method == "nearest":
        nearer = before if after is None or (before is not None and at - before["t"] <= after["t"] - at) else after
        before = after = nearer
    elif method == "none" and before is not after:
        return None
    if before is None or after is None:
        return None
    if tolerance is not None and max(abs(at - before["t"]), abs(after["t"] - at)) > tolerance:
        return None
    return before, after


def value(a: Any, b: Any, w: Fraction, dtype: Any, turns: bool) -> Any:
    """The value between two, of a column that had this type."""
    numeric = dtype.is_integer() or dtype.is_float()
    if isinstance(dtype, pl.Struct):
        if a is None or b is None:
            return None
        if turns and {f.name for f in dtype.fields} == set("xyzw"):
            turned = turn([a[k] for k in "xyzw"], [b[k] for k in "xyzw"], float(w))
            return None if turned is None else dict(zip("xyzw", turned))
        return {f.name: value(a[f.name], b[f.name], w, f.dtype, turns) for f in dtype.fields}
    if isinstance(dtype, (pl.List, pl.Array)):
        if a is None or b is None or len(a) != len(b):
            return None
        if turns and len(a) == 4:
            return turn(a, b, float(w))
        return [value(x, y, w, dtype.inner, turns) for x, y in zip(a, b)]
    if not numeric:
        return a
    if a is None or b is None:
        return None
    return float(a) if w == 0 else float(a) + (float(b) - float(a)) * float(w)


def turn(a: list, b: list, w: float) -> list | None:
    """a * (a^-1 * b)^w of the quaternions made unit, which is the slerp, by other means than the code under test."""
    unit = []
    for q in (a, b):
        if any(x is None or not math.isfinite(x) for x in q) or not any(q):
            return None
        length = math.hypot(*(x / max(map(abs, q)) for x in q))
        unit.append([x / max(map(abs, q)) / length for x in q])
    p, q = unit
    if sum(x * y for x, y in zip(p, q)) < 0:
        q = [-x for x in q]
    x, y, z, c = product([-p[0], -p[1], -p[2], p[3]], q)
    s = math.hypot(x, y, z)
    angle = math.atan2(s, c)
    k = math.sin(w * angle) / s if s > 1e-12 else w
    return product(p, [x * k, y * k, z * k, math.cos(w * angle)])


def product(p: list[float], q: list[float]) -> list[float]:
    (a, b, c, d), (e, f, g, h) = p, q
    return [d * e + a * h + b * g - c * f, d * f - a * g + b * h + c * e, d * g + a * f - b * e + c * h,
            d * h - a * e - b * f - c * g]  # fmt: skip


def ticks(case: dict, rows: dict[str, list[dict]]) -> list[dict]:
    """The rows of a clock that is a rate: every tick far and wide is tried."""
    made = []
    groups = {r["g"] for stream in rows.values() for r in stream}
    period = case["period"]
    for group in sorted(groups, key=lambda g: (g is not None, g or "")):
        own = {n: [r for r in stream if r["g"] == group] for n, stream in rows.items()}
        times = [r["t"] for stream in own.values() for r in stream if r["t"] is not None]
        if not times:
            continue
        far = max([0] + [t for t in case["tolerances"].values() if t is not None]) + math.ceil(period)
        for k in range(math.floor((min(times) - far) / period), math.ceil((max(times) + far) / period) + 1):
            at = math.floor(k * period + Fraction(1, 2))
            open_ended = any(case["tolerances"][n] is None and case["methods"][n] != "none" for n in own)
            if open_ended and not min(times) <= at <= max(times):
                continue
            if any(found(own[n], at, case["methods"][n], case["tolerances"][n]) for n in own):
                made.append({"g": group, "t": at})
    return made


def oracle(case: dict, rows: dict[str, list[dict]], clock: list[dict] | None, on: str | None) -> list[dict]:
    """The rows of the answer, times as plain numbers."""
    base = ticks(case, rows) if clock is None else clock
    base = [r for r in base if case["first"] is None or (r["t"] is not None and r["t"] >= case["first"])]
    base = [r for r in base if case["end"] is None or (r["t"] is not None and r["t"] < case["end"])]
    answer = []
    for at in base:
        row = {k: v for k, v in at.items() if k in ("g", "t", "c")}
        for name, stream in rows.items():
            if name == on:
                row |= {f"{name}.{c}": at[c] for c in case["columns"]}
                row[f"{name}.age"] = None if at["t"] is None else 0
                continue
            method = case["methods"][name]
            pair = found([r for r in stream if r["g"] == at["g"]], at["t"], method, case["tolerances"][name])
            for column in case["columns"]:
                row[f"{name}.{column}"] = None
                if pair is not None:
                    a, b = pair
                    w = Fraction(at["t"] - a["t"], b["t"] - a["t"] or 1) if a is not b else Fraction(0)
                    blended = method in ("linear", "slerp")
                    row[f"{name}.{column}"] = (
                        value(a[column], b[column], w, pl.Schema({"": TYPES[column]})[""], method == "slerp")
                        if blended
                        else a[column]
                    )
            ages = [] if pair is None else [at["t"] - r["t"] for r in pair]
            row[f"{name}.age"] = min(ages, key=abs) if ages else None
        answer.append(row)
    return answer


# -- cases --------------------------------------------------------------------------------------------------------


def draw_case(data: st.DataObject) -> dict:
    draw = data.draw
    unit = draw(st.sampled_from(["int", "ns", "us", "ms"]))
    step = draw(st.sampled_from([1, 500, 10**6] if unit == "ns" else [1, 1000]))
    zero = draw(st.sampled_from([0, -7])) if unit == "int" else START * UNITS[unit]
    names = draw(st.sampled_from([["a"], ["a", "b"], ["b", "a", "c"]]))
    columns = draw(st.lists(st.sampled_from(list(TYPES)), max_size=3, unique=True))
    grouped = draw(st.booleans())
    times = st.one_of(st.integers(0, 20), st.integers(0, 6), st.none())
    groups = st.sampled_from(["x", "y", None]) if grouped else st.none()
    row = {"t": times, "g": groups}
    streams = {
        n: draw(st.lists(st.fixed_dictionaries({**row, **{c: LEAVES[c] for c in columns}}), max_size=9)) for n in names
    }
    tolerance = st.one_of(st.none(), st.integers(0, 8))
    kind = draw(st.sampled_from(["stream", "frame", "rate"]))
    case: dict[str, Any] = {
        "unit": unit, "step": step, "zero": zero, "columns": columns, "grouped": grouped, "kind": kind,
        "methods": {n: draw(st.sampled_from(METHODS)) for n in names},
        "tolerances": {n: None if (t := draw(tolerance)) is None else t * step for n in names},
        "sorted": draw(st.booleans()),
        "streams": streams,
        "clock": draw(st.lists(st.fixed_dictionaries({**row, "c": NUMBER}), max_size=9)) if kind == "frame" else None,
        "on": draw(st.sampled_from(names)) if kind == "stream" else None,
        "first": draw(st.one_of(st.none(), st.integers(-2, 12))),
        "end": draw(st.one_of(st.none(), st.integers(5, 30))),
        "then": [draw_step(data, unit, kind) for _ in range(draw(st.integers(0, 3)))],
    }  # fmt: skip
    at = lambda n: None if n is None else zero + n * step  # noqa: E731
    for rows in [*streams.values(), case["clock"] or []]:
        for r in rows:
            r["t"] = at(r["t"])
        if case["sorted"]:
            rows.sort(key=lambda r: (r["t"] is None, r["t"]))
    case["first"], case["end"] = at(case["first"]), at(case["end"])
    if kind == "rate":
        if unit == "int":
            case["every"] = draw(st.integers(1, 5)) * step
            case["period"] = Fraction(case["every"])
        else:
            fits = {1: ["300hz", "400hz", "0.3khz"], 1000: [], 500: [], 10**6: ["300hz", "29.97hz"]}
            rates = {"ms": fits[1] if step == 1 else ["0.4hz"], "us": ["300hz"] if step == 1000 else []}.get(
                unit, fits[step]
            )
            plain = st.integers(1, 5).map(lambda n: f"{n * step}{unit}")
            case["every"] = every = draw(st.one_of(plain, st.sampled_from(rates)) if rates else plain)
            if every.endswith("hz"):
                hz = Fraction(every.removesuffix("hz").removesuffix("k")) * (1000 if "k" in every else 1)
                case["period"] = UNITS[unit] / hz
            else:
                case["period"] = Fraction(int(every.removesuffix(unit)))
    return case


def draw_step(data: st.DataObject, unit: str, kind: str) -> tuple:
    """Something that the optimizer carries into the align, or prunes from it."""
    how = data.draw(st.sampled_from(["time", "time", "coarse", "group", "clock", "value", "limit", "columns"]))
    return (
        how,
        data.draw(st.sampled_from(["__ge__", "__gt__", "__le__", "__lt__", "__eq__"])),
        data.draw(st.integers(0, 20)),
    )


def dtype_of(case: dict) -> Any:
    return pl.Int64 if case["unit"] == "int" else pl.Datetime(case["unit"])


def frame(rows: list[dict], case: dict, columns: list[str]) -> pl.DataFrame:
    types = {"t": pl.Int64, "g": pl.String, "c": pl.Int64, **TYPES}
    made = pl.DataFrame(rows, schema={n: types[n] for n in columns}, orient="row")
    return made.with_columns(pl.col("t").cast(dtype_of(case)))


def steps(case: dict, answer: Any, schema: dict, module: Any) -> Any:
    """The steps after the align, on a robodf frame or on the oracle's rows."""
    for how, op, n in case["then"]:
        at = case["zero"] + n * case["step"]
        if how == "time":
            exact = module.lit(at) if case["unit"] == "int" else module.lit(at, dtype_of(case))
            answer = answer.filter(getattr(module.col("t"), op)(exact))
        elif how == "coarse" and case["unit"] != "int":  # in microseconds, whatever the column has
            micros = at * 10**6 // UNITS[case["unit"]]
            when = datetime(1970, 1, 1) + timedelta(microseconds=micros)
            if module is pl:  # in ns, exactly: Polars compares in the coarser of two units
                ns = pl.col("t").to_physical() * (10**9 // UNITS[case["unit"]])
                answer = answer.filter(getattr(ns, op)(micros * 1000))
            else:
                answer = answer.filter(getattr(rd.col("t"), op)(when))
        elif how == "group":
            answer = answer.filter(module.col("g") == "x" if n % 2 else module.col("g").is_null())
        elif how == "clock" and case["kind"] == "frame":
            answer = answer.filter(module.col("c") > 0)
        elif how == "value":
            name = list(schema)[n % len(schema)]
            answer = answer.filter(module.col(name).is_not_null())
        elif how == "limit":
            answer = answer.slice(n % 3, n)
    for how, _, n in case["then"]:
        if how == "columns":
            kept = [c for i, c in enumerate(schema) if (i + n) % 3] or list(schema)
            return answer.select(kept)
    return answer


def plain(v: Any) -> Any:
    if isinstance(v, float):
        return "nan" if math.isnan(v) else v if math.isinf(v) else round(v, 5) + 0.0
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, list):
        return [plain(x) for x in v]
    return v


def plain_rows(answer: pl.DataFrame) -> list[dict]:
    times = [n for n, d in answer.schema.items() if isinstance(d, (pl.Datetime, pl.Duration))]
    return [{k: plain(v) for k, v in r.items()} for r in answer.with_columns(pl.col(times).to_physical()).to_dicts()]


def check(case: dict) -> None:
    columns = ["t", "g", *case["columns"]]
    frames = {n: rd.from_polars(frame(rows, case, columns)) for n, rows in case["streams"].items()}
    clock: Any = {"stream": case["on"], "rate": case.get("every")}.get(case["kind"])
    if case["kind"] == "frame":
        clock = frame(case["clock"], case, ["c", "t", "g"])
    scale = 1 if case["unit"] == "int" else 10**9 // UNITS[case["unit"]]
    aligned = rd.align(
        frames,
        clock,
        on="t",
        by="g",
        method=case["methods"],
        tolerance=case["tolerances"],
        start=None if case["first"] is None else case["first"] * scale,
        end=None if case["end"] is None else case["end"] * scale,
    )
    rows = case["clock"] if case["kind"] == "frame" else case["streams"][case["on"]] if case["on"] else None
    schema = dict(aligned.schema)
    numbers = {n: pl.Int64 if isinstance(d, (pl.Datetime, pl.Duration)) else d for n, d in schema.items()}
    made = oracle(case, case["streams"], rows, case["on"])
    wanted = pl.DataFrame([{n: r[n] for n in schema} for r in made], schema=numbers, orient="row")
    wanted = wanted.with_columns(pl.col(n).cast(d) for n, d in schema.items() if numbers[n] != d)
    wanted = steps(case, wanted, schema, pl)
    query = steps(case, aligned, schema, rd)
    written = lower_all(query._plan).collect(engine="streaming")
    assert list(written.schema.items()) == list(wanted.schema.items())
    assert plain_rows(written) == plain_rows(wanted), f"as written\n{query.explain('logical')}\n{case}"
    optimized = lower_all(optimize(query._plan)).collect(engine="streaming")
    assert plain_rows(optimized) == plain_rows(wanted), f"optimized\n{query.explain('optimized')}\n{case}"
    in_parts = run_cut(query._plan)
    assert plain_rows(in_parts) == plain_rows(wanted), f"in partitions\n{query.explain('optimized')}\n{case}"
    assert query.count_rows() == wanted.height


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_align(shard: int) -> None:
    @seed(shard)
    @settings(max_examples=max(1, CASES // SHARDS), database=None, deadline=None,
              phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
              print_blob=False)  # fmt: skip
    @given(st.data())
    def run(data: st.DataObject) -> None:
        check(draw_case(data))

    run()
