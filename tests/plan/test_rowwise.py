# ruff: noqa: E501 - tables of cases
"""Every function of the allow-list against Polars: row by row it gives what it gives at once."""

from __future__ import annotations

import warnings
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from robodf.compat import POLARS
from robodf.plan.expr import Call, Col, Expr, Lit, function
from robodf.plan.node import walk
from robodf.plan.rowwise import ARITHMETIC, FALLIBLE, ROWWISE, ROWWISE_IF, TOTAL_IF, may_raise, reads_one_row

ONLY_IN_2 = {"erf", "erfc", "truncdiv"}

DATA = pl.DataFrame(
    {
        "i": [3, -2, 0, None, 7],
        "n": [1, 2, 0, 3, 1],
        "u": pl.Series([1, 200, 0, None, 255], dtype=pl.UInt8),
        "x": [0.5, -1.25, float("nan"), None, float("inf")],
        "y": [0.25, 0.75, -0.5, None, 0.0],
        "p": [True, False, None, True, False],
        "q": [True, True, False, None, False],
        "s": ["pick up", "", None, "Ärm (1)", "a,b,,c"],
        "z": ["p", "", "x", None, "a"],
        "w": ["12", "-7", "0", None, "99"],
        "b": [b"abcd", b"", None, b"\x00\xff\x01\x02", b"abab"],
        "t": [datetime(2024, 2, 29, 23, 59, 59, 1), datetime(1969, 12, 31), None, datetime(2000, 1, 1), datetime(2024, 7, 1)],
        "d": [date(2024, 2, 29), date(1969, 12, 31), None, date(2000, 1, 3), date(2024, 7, 1)],
        "e": [date(2024, 3, 9), date(1970, 1, 2), date(2000, 1, 1), None, date(2024, 7, 1)],
        "h": [time(1, 2, 3), time(0), None, time(23, 59, 59), time(12)],
        "k": [timedelta(days=1, seconds=1), timedelta(0), None, timedelta(microseconds=-1), timedelta(hours=5)],
        "l": [[3, 1, 1], [], None, [None, 2], [5]],
        "m": [[1, 9], [2], [], None, [5, 5]],
        "bl": [[True, False], [], None, [None, True], [True]],
        "sl": [["a", "b"], [], None, ["c", None], ["d"]],
        "v": pl.Series([[1, 2], [4, 3], None, [None, 1], [2, 2]], dtype=pl.Array(pl.Int64, 2)),
        "bv": pl.Series([[True, False], [True, True], None, [None, True], [False, False]], dtype=pl.Array(pl.Boolean, 2)),
        "sv": pl.Series([["a", "b"], ["", "c"], None, [None, "d"], ["e", "e"]], dtype=pl.Array(pl.String, 2)),
        "r": [{"f": 1, "g": "a"}, {"f": None, "g": ""}, None, {"f": 3, "g": None}, {"f": 4, "g": "d"}],
        "c": pl.Series(["red", "green", None, "red", "blue"], dtype=pl.Enum(["red", "green", "blue"])),
        "ts": ["2024-02-29 01:02", "1999-12-31 23:59", None, "2000-01-01 00:00", "2024-07-01 12:00"],
        "ds": ["2024-02-29", "1999-12-31", None, "2000-01-01", "2024-07-01"],
        "hs": ["01:02", "23:59", None, "00:00", "12:00"],
        "js": ['{"a": 1}', '{"a": null}', None, '{"a": 3}', '{"a": 4}'],
        "xs": ["6162", "", None, "ff", "00"],
    }
)  # fmt: skip

# One or more calls for each function, over the columns of DATA; a name of ROWWISE without one fails the test.
CASES = """
i + n; i + 1; x + y; s + z; t + k; i - n; t - t; i * n; x * 2.0; i / n; x / y; i // n; i // 2; i % n; x % y; i ** n; x ** 2
p & q; p | q; p ^ q; i & n; i == n; i == 1; x == x; s == 'a'; i != n; i < n; x < 1.0; s < 'b'; i <= n; i > n; t > t; i >= n
-i; +i; ~p; abs(i); abs(x)
i.alias('a'); i.cast(pl.Int16); s.cast(pl.Int64, strict=False); i.cast(pl.String)
i.is_null(); l.is_null(); i.is_not_null(); x.is_nan(); x.is_not_nan(); x.is_finite(); x.is_infinite()
i.is_between(0, 5); i.is_between(n, 5, closed='left'); i.is_in([1, 3]); i.is_in([None, 3], nulls_equal=True)
s.is_in(['', 'x']); x.is_close(y, abs_tol=0.5)
i.eq(n); i.ne(n); i.lt(n); i.le(n); i.gt(n); i.ge(n); i.eq_missing(n); i.ne_missing(1)
i.add(n); i.sub(n); i.mul(n); i.truediv(n); i.floordiv(n); i.truncdiv(n); i.mod(n); i.pow(n); i.pow(2); i.neg(); p.not_()
p.and_(q); p.and_(q, q); p.or_(q); p.xor(q); i.abs(); x.sqrt(); x.cbrt(); x.exp(); x.log(); x.log(2); x.log1p(); x.log10()
x.sin(); x.cos(); x.tan(); y.cot(); y.arcsin(); y.arccos(); y.arctan(); y.sinh(); y.cosh(); y.tanh(); y.arcsinh()
y.arccosh(); y.arctanh(); x.degrees(); x.radians(); x.erf(); x.erfc(); x.sign(); x.round(1); x.round_sig_figs(2)
x.floor(); x.ceil(); x.truncate(1); x.clip(-1, 1); i.clip(n, 5); x.fill_nan(0.0); x.fill_nan(y)
i.fill_null(0); i.fill_null(n); i.fill_null(value=n)
i.replace(3, 4); i.replace({3: 4, 0: 1}); i.replace_strict({3: 'a'}, default='b'); i.replace_strict([3], [4], default=n)
i.hash(7); s.hash(); i.reinterpret(signed=False); z.repeat_by(n); z.repeat_by(2)
i.bitwise_count_ones(); i.bitwise_count_zeros(); i.bitwise_leading_ones(); i.bitwise_leading_zeros()
i.bitwise_trailing_ones(); i.bitwise_trailing_zeros()
F('coalesce', 'i', 'n'); F('concat_str', 's', 'z', separator='-', ignore_nulls=True); F('concat_list', 'i', 'n')
F('concat_arr', 'i', 'n'); F('format', '{}:{}', 's', 'i'); F('struct', 'i', 's'); F('struct', a=i); F('sum_horizontal', 'i', 'n')
F('min_horizontal', 'i', 'n'); F('max_horizontal', 'x', 'y'); F('mean_horizontal', 'i', 'n'); F('all_horizontal', 'p', 'q')
F('any_horizontal', 'p', 'q'); F('cum_sum_horizontal', 'i', 'n'); F('arctan2', 'x', 'y'); F('date', 2024, n + 1, 1)
F('datetime', 2024, n + 1, 1, 3); F('time', n, 1); F('duration', hours='n', seconds=i); F('from_epoch', 'i', 'ms')
F('business_day_count', 'd', 'e'); F('int_ranges', 0, 'n'); F('date_ranges', 'd', d.dt.offset_by('2d'))
F('datetime_ranges', 't', t.dt.offset_by('2h'), '1h'); F('time_ranges', F('time', 1), F('time', n + 1))
F('linear_spaces', 'n', 5, 3); when(i > 1, n, x < 0, i, Lit(None)); when(p, s, z)
i.name.prefix('a'); i.name.suffix('a'); i.name.to_lowercase(); i.name.to_uppercase()
s.str.contains('p'); s.str.contains('(', literal=True); s.str.contains(z); s.str.contains_any(['pi', 'b']); s.str.starts_with('p')
s.str.starts_with(z); s.str.ends_with('c'); s.str.to_lowercase(); s.str.to_uppercase(); s.str.len_chars(); s.str.len_bytes()
s.str.strip_chars('pa'); s.str.strip_chars(z); s.str.strip_chars_start('p'); s.str.strip_chars_end('c'); s.str.strip_prefix('pick')
s.str.strip_prefix(z); s.str.strip_suffix('c'); s.str.replace('p', 'q'); s.str.replace('p', z); s.str.replace_all(',', '')
s.str.replace_many({'p': 'b', 'a': 'c'}); s.str.replace_many(['p'], ['x']); s.str.slice(1, 2); s.str.slice(n); s.str.head(2)
s.str.head(n); s.str.tail(-1); s.str.reverse(); s.str.pad_start(8, '.'); s.str.pad_end(8); w.str.zfill(4); w.str.zfill(n)
s.str.find('c'); s.str.find_many(['p', 'c']); s.str.count_matches('[a-c]'); s.str.extract(r'([a-c])', 1); s.str.extract_all('[a-c]')
s.str.extract_groups('(?<one>[a-c])'); s.str.extract_many(['p', 'c']); s.str.split(','); s.str.split(z); s.str.split_exact(',', 1)
s.str.splitn(',', 2); s.str.escape_regex(); s.str.normalize('NFD'); js.str.json_path_match('$.a'); js.str.json_decode(pl.Struct({'a': pl.Int64}))
s.str.encode('hex'); xs.str.decode('hex'); w.str.to_integer(); s.str.to_integer(strict=False); w.str.to_decimal(scale=2)
ds.str.to_date('%Y-%m-%d'); hs.str.to_time('%H:%M'); ts.str.to_datetime('%Y-%m-%d %H:%M'); ts.str.strptime(pl.Datetime, '%Y-%m-%d %H:%M')
s.str.to_date('%Y', strict=False); s.str.to_time('%H', strict=False); s.str.decode('hex', strict=False)
b.bin.contains(b'b'); b.bin.starts_with(b'a'); b.bin.ends_with(b'b'); b.bin.size(); b.bin.size('kb'); b.bin.slice(1, 2); b.bin.head(2)
b.bin.tail(2); b.bin.get(0, null_on_oob=True); b.bin.encode('base64'); s.str.encode('base64').cast(pl.Binary).bin.decode('base64')
b.bin.decode('hex', strict=False); b.bin.reinterpret(dtype=pl.Int32)
c.cat.starts_with('r'); c.cat.ends_with('d'); c.cat.len_bytes(); c.cat.len_chars(); c.cat.slice(0, 2)
r.struct.field('f'); r.struct.json_encode(); r.struct.rename_fields(['a', 'b'])
l.list.len(); l.list.sum(); l.list.mean(); l.list.median(); l.list.std(); l.list.var(); l.list.min(); l.list.max(); l.list.arg_min()
l.list.arg_max(); bl.list.any(); bl.list.all(); l.list.first(); l.list.last(); l.list.get(0, null_on_oob=True)
l.list.get(n, null_on_oob=True); l.list.gather([0, 1], null_on_oob=True); l.list.gather_every(2); l.list.slice(1, 1)
l.list.head(2); l.list.tail(n); l.list.shift(1); l.list.diff(); l.list.sort(descending=True); l.list.reverse()
l.list.unique(maintain_order=True); l.list.n_unique(); l.list.drop_nulls(); l.list.contains(1); l.list.contains(n)
l.list.count_matches(1); l.list.concat(m); sl.list.join('-'); sl.list.join(z); l.list.head(1).list.item(allow_empty=True)
v.arr.to_list().list.to_array(2); l.list.set_union(m); l.list.set_difference(m); l.list.set_intersection(m)
l.list.set_symmetric_difference(m)
v.arr.len(); v.arr.sum(); v.arr.mean(); v.arr.median(); v.arr.std(); v.arr.var(); v.arr.min(); v.arr.max(); v.arr.arg_min()
v.arr.arg_max(); bv.arr.any(); bv.arr.all(); v.arr.first(); v.arr.last(); v.arr.get(1); v.arr.get(n, null_on_oob=True)
v.arr.head(1); v.arr.tail(1); v.arr.slice(0, 1); v.arr.shift(1); v.arr.sort(); v.arr.reverse(); v.arr.n_unique()
v.arr.contains(1); v.arr.contains(n); v.arr.count_matches(2); sv.arr.join('-'); v.arr.to_list()
t.dt.year(); d.dt.year(); t.dt.month(); t.dt.day(); t.dt.hour(); t.dt.minute(); t.dt.second(); t.dt.millisecond(); t.dt.microsecond()
t.dt.nanosecond(); t.dt.weekday(); t.dt.week(); t.dt.iso_year(); t.dt.quarter(); t.dt.ordinal_day(); t.dt.century()
t.dt.millennium(); t.dt.is_leap_year(); t.dt.days_in_month(); d.dt.is_business_day(); t.dt.date(); t.dt.time(); t.dt.epoch('ms')
t.dt.timestamp('ns'); k.dt.total_days(); k.dt.total_hours(); k.dt.total_minutes(); k.dt.total_seconds(); k.dt.total_milliseconds()
k.dt.total_microseconds(); k.dt.total_nanoseconds(); t.dt.replace_time_zone('UTC').dt.convert_time_zone('Europe/Berlin')
t.dt.replace_time_zone('UTC'); t.dt.replace_time_zone('Europe/Berlin').dt.base_utc_offset()
t.dt.replace_time_zone('Europe/Berlin').dt.dst_offset(); t.dt.cast_time_unit('ms'); d.dt.combine(time(3)); t.dt.replace(year=2000)
t.dt.offset_by('1mo'); d.dt.add_business_days(2, roll='forward'); t.dt.truncate('1h'); t.dt.round('1d'); t.dt.month_start()
t.dt.month_end(); t.dt.strftime('%Y-%m'); t.dt.to_string('iso')
"""  # fmt: skip


def when(*args) -> Expr:
    return Call("pl.when", args)


NAMES = {
    **{name: Col(name) for name in DATA.columns},
    "F": function,
    "pl": pl,
    "Lit": Lit,
    "time": time,
    "when": when,
}


@cache
def cases() -> dict[str, list[Expr]]:
    """The calls of CASES by the function at their root."""
    found: dict[str, list[Expr]] = {}
    for text in (part.strip() for line in CASES.strip().splitlines() for part in line.split("; ")):
        if POLARS < (2, 0) and any(f".{name}(" in text for name in ONLY_IN_2):
            continue
        e = eval(text, {}, NAMES)
        found.setdefault(e.fn, []).append(e)
    return found


IN_THIS_VERSION = sorted(ROWWISE - (ONLY_IN_2 if POLARS < (2, 0) else set()))


@pytest.mark.parametrize("name", IN_THIS_VERSION)
def test_exists_in_polars(name):
    target = pl if name.startswith("pl.") else pl.col("a")
    for part in name.removeprefix("pl.").split("."):
        target = getattr(target, part)
    assert callable(target)


def test_the_tables_are_about_names_in_the_list():
    assert FALLIBLE | ARITHMETIC | ROWWISE_IF.keys() | TOTAL_IF.keys() <= ROWWISE
    assert TOTAL_IF.keys() <= FALLIBLE


@pytest.mark.parametrize("name", IN_THIS_VERSION)
def test_row_by_row_is_the_same_as_at_once(name):
    assert name in cases(), f"add a call of {name} to CASES"
    for e in cases()[name]:
        assert e.rowwise, e
        out = e.polars.alias("out")
        whole = DATA.select(out)
        rows = pl.concat([DATA.slice(i, 1).select(out) for i in range(DATA.height)])
        assert_frame_equal(whole, rows, check_exact=True)


@pytest.mark.skipif(POLARS < (2, 0), reason="meta.is_row_separable is new in Polars 2")
def test_agrees_with_what_polars_says():
    told = 0
    for e in (e for group in cases().values() for e in group):
        try:
            separable = e.polars.meta.is_row_separable()
        except pl.exceptions.ColumnNotFoundError:
            continue  # it wants to know the type of the column, and has no way to be told
        assert separable, e
        told += 1
    assert told > 0.9 * len(ROWWISE)


M = 2**63 - 1
HARD = pl.DataFrame(
    {
        "i": [M, -M - 1, 0, -1, None, 1],
        "n": [M, -M - 1, 0, -1, None, 1],
        "u": pl.Series([255, 0, None, 1, 2, 3], dtype=pl.UInt8),
        "x": [float("nan"), float("inf"), -float("inf"), -0.0, 1e308, None],
        "y": [0.0, float("nan"), 1e-320, -1e308, None, float("inf")],
        "p": [True, False, None, True, False, None],
        "q": [None, True, False, None, True, False],
        "s": ["", "(", "\x00", "\U0001f916" * 3, None, "a" * 1000],
        "z": ["(", "", "é", "[", None, "a"],
        "w": ["", "(", "\x00", "99999999999999999999999", None, "1.5"],
        "b": [b"", b"\xff", b"\x00" * 100, b"(", None, b"a"],
        "t": pl.Series([M, -M - 1, 0, -1, None, 1]).cast(pl.Datetime("us")),
        "d": pl.Series([2**31 - 1, -(2**31), 0, -1, None, 1], dtype=pl.Int32).cast(pl.Date),
        "e": pl.Series([2**31 - 1, -(2**31), 0, -1, None, 1], dtype=pl.Int32).cast(pl.Date),
        "h": [time(0), time(23, 59, 59, 999999), None, time(1), time(2), time(3)],
        "k": pl.Series([M, -M - 1, 0, -1, None, 1]).cast(pl.Duration("us")),
        "l": [[], None, [None], [M, M], [-M - 1], [0, 0, None]],
        "m": [None, [], [1], [None], [M, 1], [0]],
        "bl": [[], None, [None], [True], [False, None], [True, False]],
        "sl": [[], None, [None], ["", None], ["("], ["a", "b"]],
        "v": pl.Series([[M, M], None, [None, None], [-M - 1, -1], [0, 0], [1, None]], dtype=pl.Array(pl.Int64, 2)),
        "bv": pl.Series([[None, None], None, [True, None], [True, True], [False, False], [False, None]], dtype=pl.Array(pl.Boolean, 2)),
        "sv": pl.Series([["", ""], None, [None, None], ["(", ""], ["a", None], ["b", "c"]], dtype=pl.Array(pl.String, 2)),
        "r": [None, {"f": None, "g": None}, {"f": M, "g": "("}, {"f": 0, "g": ""}, {"f": -1, "g": "a"}, None],
        "c": pl.Series([None, "red", None, "green", "blue", None], dtype=pl.Enum(["red", "green", "blue"])),
        **{name: ["", "(", "\x00", "9999-99-99 99:99", None, "{"] for name in ("ts", "ds", "hs", "js", "xs")},
    }
)  # fmt: skip


def test_those_that_cannot_raise_do_not_on_the_worst_values():
    for e in (e for group in cases().values() for e in group if e.movable):
        for i in (None, *range(HARD.height)):
            HARD.select(e.polars) if i is None else HARD.slice(i, 1).select(e.polars)


@pytest.mark.parametrize(
    "text",
    """i.cast(pl.Int16); i.pow(n); i ** -1; i.replace_strict({3: 1}); z.repeat_by(n); F('date', 2024, 'n', 1); F('time', 'n')
    s.str.to_integer(); s.str.to_date('%Y'); s.str.json_decode(pl.Int64); s.str.contains(z); s.str.slice(0, n); s.str.pad_start(n)
    s.str.extract(z); b.bin.get(1); l.list.get(0); l.list.item(); l.list.gather([3]); l.list.to_array(2); b.cast(pl.String, strict=False)
    t.dt.month_end(); t.dt.replace(day=30, month=2); t.dt.strftime('%Y'); s.str.decode('hex')""".replace("\n", "; ").split("; "),
)  # fmt: skip
def test_those_that_raise_are_not_movable(text):
    e = eval(text.strip(), {}, NAMES)
    assert e.rowwise
    assert not e.movable
    with pytest.raises((pl.exceptions.PolarsError, pl.exceptions.PanicException)):
        HARD.select(e.polars)


@pytest.mark.parametrize(
    "text",
    """i.sum(); i.shift(1); i.rank(); i.cum_sum(); i.fill_null(strategy='forward'); i.fill_null(None, 'max'); i.is_in(n)
    i.replace(n, i); i.over('s'); i.reverse(); i.sort(); i.unique(); i.is_unique(); i.is_first_distinct(); i.mode(); i.gather_every(2)
    i.interpolate(); i.rolling_mean(2); i.sample(1); i.head(1); i.len(); i.map_elements(abs, return_dtype=pl.Int64); i.diff()
    i.bitwise_and(); i.bitwise_or(); i.bitwise_xor(); s.str.to_datetime(); s.str.to_date(); s.str.strptime(pl.Date); s.str.join()
    s.str.contains_any(z); l.list.sample(1); l.list.unique(); F('len'); F('sum', 'i'); F('int_range', 5)
    i.arg_sort(); i.value_counts(); i.first(); F('element'); i.gather(0); i.filter(p); i.drop_nulls(); i.forward_fill()
    i.backward_fill(); i.ewm_mean(com=1); i.search_sorted(1); i.upper_bound(); i.is_duplicated(); i.rle_id(); i.shuffle()
    i.has_nulls(); i.index_of(1); i.peak_max(); i.to_physical(); i.implode(); (i + n.max()) > 1; i.clip(n.min(), 5)
    i.fill_null(i.mean()); F('coalesce', 'i', n.first()); i.sum().over('s')""".replace("\n", "; ").split("; "),
)  # fmt: skip
def test_those_that_read_other_rows_are_not_in_the_list(text):
    e = eval(text.strip(), {}, NAMES)
    assert not e.rowwise
    assert not e.movable


def test_conditions_look_at_positions_and_names():
    i, n = Col("i"), Col("n")
    assert reads_one_row("fill_null", (i, 0), {})
    assert not reads_one_row("fill_null", (i, None, "forward"), {})
    assert not reads_one_row("fill_null", (i,), {"strategy": "forward"})
    assert may_raise("list.get", (i, 0), {})
    assert not may_raise("list.get", (i, 0), {"null_on_oob": True})
    assert may_raise("list.get", (i, n), {})
    assert not may_raise("str.head", (i, Lit(1)), {})
    assert not may_raise("__pow__", (i, Lit(2)), {})
    assert may_raise("__pow__", (i, Lit(-2)), {})
    assert may_raise("__pow__", (i, n), {})


def test_arithmetic_raises_on_the_types_that_the_list_says():
    decimals = pl.DataFrame({"a": [Decimal(10) ** 37]}, schema={"a": pl.Decimal(38, 0)})
    with warnings.catch_warnings(), pytest.raises(pl.exceptions.PolarsError):
        decimals.select(pl.col("a") * pl.col("a"))
    lists = pl.DataFrame({"a": [[1, 2]], "b": [[1]]})
    with pytest.raises(pl.exceptions.PolarsError):
        lists.select(pl.col("a") + pl.col("b"))


def test_walk_sees_arguments_in_options():
    e = Call("clip", (Col("i"),), (("lower_bound", Call("min", (Col("n"),))),))
    assert any(n is Col("n") for n in walk(e))
    assert not e.rowwise
