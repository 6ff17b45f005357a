"""Which functions read one row at a time, and which of those can raise.

`ROWWISE` is an allow-list, by the name that a `Call` records: a missing name costs speed, never a wrong answer.
Some names read one row only with certain arguments (`fill_null(0)`, not `fill_null(strategy="forward")`), and some
raise only with certain arguments (`cast(strict=False)` does not): ask `reads_one_row` and `may_raise`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from robodf.plan.node import Node

_OPERATORS = """__add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ __pow__ __and__ __or__ __xor__
    __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __neg__ __pos__ __invert__ __abs__"""

# Not here: bitwise_and, bitwise_or and bitwise_xor, which are aggregations; to_physical and cat.physical, whose
# codes depend on which values the process saw before; set_sorted, which states something of all rows.
_METHODS = """alias cast is_null is_not_null is_nan is_not_nan is_finite is_infinite is_between is_in is_close
    eq ne lt le gt ge eq_missing ne_missing add sub mul truediv floordiv truncdiv mod pow neg not_ and_ or_ xor abs
    sqrt cbrt exp log log1p log10 sin cos tan cot arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh
    degrees radians erf erfc sign round round_sig_figs floor ceil truncate clip fill_nan fill_null replace
    replace_strict hash reinterpret repeat_by bitwise_count_ones bitwise_count_zeros bitwise_leading_ones
    bitwise_leading_zeros bitwise_trailing_ones bitwise_trailing_zeros"""

_FUNCTIONS = """pl.when pl.coalesce pl.concat_str pl.concat_list pl.concat_arr pl.format pl.struct pl.sum_horizontal
    pl.min_horizontal pl.max_horizontal pl.mean_horizontal pl.all_horizontal pl.any_horizontal
    pl.cum_sum_horizontal pl.arctan2 pl.date pl.datetime pl.time pl.duration pl.from_epoch pl.business_day_count
    pl.int_ranges pl.date_ranges pl.datetime_ranges pl.time_ranges pl.linear_spaces"""

_NAMES = "name.prefix name.suffix name.to_lowercase name.to_uppercase"

_STRINGS = """str.contains str.contains_any str.starts_with str.ends_with str.to_lowercase str.to_uppercase
    str.len_chars str.len_bytes str.strip_chars str.strip_chars_start str.strip_chars_end str.strip_prefix
    str.strip_suffix str.replace str.replace_all str.replace_many str.slice str.head str.tail str.reverse
    str.pad_start str.pad_end str.zfill str.find str.find_many str.count_matches str.extract str.extract_all
    str.extract_groups str.extract_many str.split str.split_exact str.splitn str.escape_regex str.normalize
    str.json_path_match str.json_decode str.encode str.decode str.to_integer str.to_decimal str.to_date str.to_time
    str.to_datetime str.strptime"""

_BYTES = """bin.contains bin.starts_with bin.ends_with bin.size bin.slice bin.head bin.tail bin.get bin.encode
    bin.decode bin.reinterpret"""

_CATEGORIES = "cat.starts_with cat.ends_with cat.len_bytes cat.len_chars cat.slice"

# Not here: list.eval, list.agg and list.filter, whose argument is an expression over elements and not over rows;
# list.to_struct, which finds its fields in all rows; list.sample, which is random.
_NESTED = """struct.field struct.json_encode struct.rename_fields
    list.len list.sum list.mean list.median list.std list.var list.min list.max list.arg_min list.arg_max list.any
    list.all list.first list.last list.get list.gather list.gather_every list.slice list.head list.tail list.shift
    list.diff list.sort list.reverse list.unique list.n_unique list.drop_nulls list.contains list.count_matches
    list.concat list.join list.item list.to_array list.set_union list.set_difference list.set_intersection
    list.set_symmetric_difference
    arr.len arr.sum arr.mean arr.median arr.std arr.var arr.min arr.max arr.arg_min arr.arg_max arr.any arr.all
    arr.first arr.last arr.get arr.head arr.tail arr.slice arr.shift arr.sort arr.reverse arr.n_unique arr.contains
    arr.count_matches arr.join arr.to_list"""

_TIMES = """dt.year dt.month dt.day dt.hour dt.minute dt.second dt.millisecond dt.microsecond dt.nanosecond
    dt.weekday dt.week dt.iso_year dt.quarter dt.ordinal_day dt.century dt.millennium dt.is_leap_year
    dt.days_in_month dt.is_business_day dt.date dt.time dt.epoch dt.timestamp dt.total_days dt.total_hours
    dt.total_minutes dt.total_seconds dt.total_milliseconds dt.total_microseconds dt.total_nanoseconds
    dt.convert_time_zone dt.replace_time_zone dt.base_utc_offset dt.dst_offset dt.cast_time_unit dt.combine
    dt.replace dt.offset_by dt.add_business_days dt.truncate dt.round dt.month_start dt.month_end dt.strftime
    dt.to_string"""

_ALL = (_OPERATORS, _METHODS, _FUNCTIONS, _NAMES, _STRINGS, _BYTES, _CATEGORIES, _NESTED, _TIMES)

ROWWISE = frozenset(" ".join(_ALL).split())
"""Functions whose result in a row depends on that row alone (see `ROWWISE_IF` for those with conditions)."""

# Row-wise, but evaluating them on rows that another predicate would have dropped may raise. Dates far outside of
# what a calendar holds make the functions on them panic, and integers to a negative power are refused.
FALLIBLE = frozenset(
    """cast pow __pow__ replace_strict repeat_by pl.date pl.datetime pl.time pl.int_ranges pl.date_ranges
    pl.datetime_ranges pl.time_ranges pl.linear_spaces pl.concat_arr pl.business_day_count
    str.json_decode str.decode str.to_integer str.to_date str.to_time str.to_datetime str.strptime str.to_decimal
    bin.get bin.decode list.get list.gather list.item list.to_array arr.get
    dt.replace_time_zone dt.base_utc_offset dt.dst_offset dt.cast_time_unit dt.combine dt.replace dt.offset_by
    dt.add_business_days dt.truncate dt.round dt.month_start dt.month_end dt.strftime dt.to_string""".split()
)
"""Functions of `ROWWISE` that raise on some values (see `TOTAL_IF` for arguments with which they do not)."""

ARITHMETIC = frozenset(
    """__add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ add sub mul truediv floordiv truncdiv mod""".split()
)
"""Never raise on numbers, texts and times, but do on decimals (overflow, zero) and lists (of different lengths)."""

Arguments = tuple[tuple, dict[str, Any]]


def _argument(given: Arguments, position: int, name: str) -> Any:
    args, options = given
    return args[position] if len(args) > position else options.get(name)


def _values(value: Any) -> Iterable[Any]:
    if isinstance(value, tuple):
        for v in value:
            yield from _values(v)
    else:
        yield value


def _only_constants(given: Arguments) -> bool:
    args, options = given
    return not any(isinstance(v, Node) for v in _values((args[1:], tuple(options.values()))))


def _reads_columns(given: Arguments) -> bool:
    """True where an argument besides the first is an expression over columns."""
    args, options = given
    nodes = [v for v in _values((args[1:], tuple(options.values()))) if isinstance(v, Node)]
    return any("value" not in n._fields for n in nodes)  # anything but a literal


def _mapping_is_constant(given: Arguments) -> bool:
    """replace(old, new): columns there are mappings made of all rows; `default` may be a column."""
    args, options = given
    used = (args[1:3], options.get("old"), options.get("new"))
    return not any(isinstance(v, Node) for v in _values(used))


def _fills_with_value(given: Arguments) -> bool:
    return _argument(given, 2, "strategy") is None


def _has_format(position: int) -> Callable[[Arguments], bool]:
    return lambda given: isinstance(_argument(given, position, "format"), str)  # else guessed from the first value


ROWWISE_IF: dict[str, Callable[[Arguments], bool]] = {
    "is_in": _only_constants,  # membership in a column reads all of its rows
    "fill_null": _fills_with_value,
    "replace": _mapping_is_constant,
    "replace_strict": _mapping_is_constant,
    "str.contains_any": _only_constants,
    "str.replace_many": _only_constants,
    "str.find_many": _only_constants,
    "str.extract_many": _only_constants,
    "str.to_datetime": _has_format(1),
    "str.to_date": _has_format(1),
    "str.to_time": _has_format(1),
    "str.strptime": _has_format(2),
    "str.json_decode": lambda given: _argument(given, 1, "dtype") is not None,
    "str.to_decimal": lambda given: given[1].get("scale") is not None,
    "list.unique": lambda given: given[1].get("maintain_order") is True,
    "struct.field": lambda given: _one_field(given),
}


def _one_field(given: Arguments) -> bool:
    args, _ = given
    return len(args) == 2 and isinstance(args[1], str)


def _lossy_cast(given: Arguments) -> bool:
    """strict=False makes nulls of what does not fit, but bytes that are no text raise even so."""
    dtype = _argument(given, 1, "dtype")
    simple = isinstance(dtype, (pl.DataType, type(pl.Int64))) and (
        dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean
    )
    return simple and given[1].get("strict") is False


def _not_strict(given: Arguments) -> bool:
    return given[1].get("strict") is False


def _null_if_outside(given: Arguments) -> bool:
    return given[1].get("null_on_oob") is True


def _natural_exponent(given: Arguments) -> bool:
    exponent = _argument(given, 1, "exponent")
    value = exponent.field_values()[0] if isinstance(exponent, Node) else exponent  # of a literal, its value
    return isinstance(value, float) or (isinstance(value, int) and value >= 0)


TOTAL_IF: dict[str, Callable[[Arguments], bool]] = {
    "cast": _lossy_cast,
    "pow": _natural_exponent,
    "__pow__": _natural_exponent,
    "replace_strict": lambda given: "default" in given[1],
    "str.to_integer": _not_strict,
    "str.to_date": _not_strict,
    "str.to_time": _not_strict,
    "str.decode": _not_strict,
    "bin.decode": _not_strict,
    "bin.get": _null_if_outside,
    "list.get": _null_if_outside,
    "list.gather": _null_if_outside,
    "arr.get": _null_if_outside,
}

# A pattern or a count that comes from a column may be wrong in a row, except in these.
_ANY_COLUMN = frozenset(
    """str.starts_with str.ends_with str.strip_chars str.strip_chars_start str.strip_chars_end str.strip_prefix
    str.strip_suffix bin.contains bin.starts_with bin.ends_with list.contains list.concat list.set_union
    list.set_difference list.set_intersection list.set_symmetric_difference arr.contains""".split()
)


def reads_one_row(fn: str, args: tuple, options: dict[str, Any]) -> bool:
    """True where the function, called like this, gives each row from the same row of its arguments."""
    return fn in ROWWISE and (fn not in ROWWISE_IF or ROWWISE_IF[fn]((args, options)))


def may_raise(fn: str, args: tuple, options: dict[str, Any]) -> bool:
    """True where the function, called like this, may raise on some values. For `ARITHMETIC` it depends on types."""
    given = (args, options)
    if fn.startswith(("str.", "bin.", "list.", "arr.")) and fn not in _ANY_COLUMN and _reads_columns(given):
        return True
    return fn in FALLIBLE and not (fn in TOTAL_IF and TOTAL_IF[fn](given))
