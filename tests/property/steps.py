"""The operators of random plans: each written once for robodf and once, by hand, for Polars."""

from __future__ import annotations

from typing import Any

import polars as pl
from plans import Draw, NotHere, State, looking_around, number, of, predicate
from time_steps import TIME_ONE, TIME_TWO

import robodf as rd
from robodf.compat import POLARS, explode_options
from robodf.errors import QueryError

NAMES = ["n", "m", "x", "k", "s", "z", "x_right"]


def filter_(d: Draw, s: State) -> State:
    how = d.integer(0, 9)
    if how == 0:
        name = of(d, s.named("int"))
        return s.then(
            f"filter({name} > mean({name}))",
            s.frame.filter(rd.col(name) > rd.col(name).mean()),
            s.lazy.filter(pl.col(name) > pl.col(name).mean()),
        )
    if how == 1:
        name = of(d, s.named("str", "bool", "int"))
        value = {pl.String: "a", pl.Boolean: True}.get(s.schema[name].base_type(), 2)
        if d.chance(20):
            return s.then(f"filter({name}=None)", s.frame.filter(**{name: None}), s.lazy.filter(pl.col(name).is_null()))
        return s.then(
            f"filter({name}={value!r})", s.frame.filter(**{name: value}), s.lazy.filter(pl.col(name) == value)
        )
    text, make = predicate(d, s)
    if how == 2:  # several conditions
        text2, make2 = predicate(d, s)
        both = s.frame.filter(make(rd), make2(rd))
        return s.then(f"filter({text}, {text2})", both, s.lazy.filter(make(pl) & make2(pl)))
    given = pl if how == 3 else rd  # expressions of Polars are taken too
    return s.then(f"filter({text})", s.frame.filter(make(given)), s.lazy.filter(make(pl)))


def filter_function(d: Draw, s: State) -> State:
    name = of(d, s.named("int"))
    if d.chance(50):
        return s.then(
            f"filter(lambda x: x[{name!r}] > 1)", s.frame.filter(lambda x: x[name] > 1), s.lazy.filter(pl.col(name) > 1)
        )

    def even(row: dict) -> bool:
        return len(str(row[name])) % 2 == 1 and row[name] is not None

    texts = pl.col(name).cast(pl.String).str.len_chars()
    return s.then(f"filter(even {name})", s.frame.filter(even), s.lazy.filter((texts % 2 == 1).fill_null(False)))


def select(d: Draw, s: State) -> State:
    how = d.integer(0, 5)
    if how == 0:
        kept = d.some(s.schema, 1, 5)
        return s.then(f"select({kept})", s.frame.select(*kept), s.lazy.select(kept))
    if how == 1:
        name = of(d, s.named("int"))
        ours, theirs = s.frame.select(y=rd.col(name).sum(), n=rd.len()), s.lazy.select(y=pl.col(name).sum(), n=pl.len())
        return s.then(f"select(y=sum({name}), n=len())", ours, theirs)
    return _projected(d, s, "select")


def with_columns(d: Draw, s: State) -> State:
    return _projected(d, s, "with_columns")


def _projected(d: Draw, s: State, method: str) -> State:
    names = d.some(NAMES, 1, 3)
    ours, theirs, texts = {}, {}, []
    for name in names:
        how = d.integer(0, 9)
        if how <= 1:
            ref = of(d, s.named("any"))
            text, make = ref, lambda m, ref=ref: m.col(ref)
        elif how == 2:
            value = d.pick([1, 2.5, "a", True])
            text, make = repr(value), lambda m, value=value: m.lit(value)
        elif how == 3:
            text, make = looking_around(d, s)
        elif how == 4:
            text, make = predicate(d, s)
        elif how == 5:
            a, b = of(d, s.named("flat")), of(d, s.named("flat"))
            text = f"struct(a={a}, b={b})"
            make = lambda m, a=a, b=b: m.struct(m.col(a).alias("a"), m.col(b).alias("b"))  # noqa: E731
        elif how == 6:
            a = of(d, s.named("flat"))
            text, make = f"struct({a})", lambda m, a=a: m.struct(m.col(a))
        else:
            text, make = number(d, s)
        ours[name], theirs[name] = make(rd), make(pl)
        texts.append(f"{name}={text}")
    ordered = s.ordered
    return s.then(
        f"{method}({', '.join(texts)})",
        getattr(s.frame, method)(**ours),
        getattr(s.lazy, method)(**theirs),
        ordered,
    )


def drop(d: Draw, s: State) -> State:
    if len(s.schema) < 2:
        raise NotHere
    gone = d.some(s.schema, 1, min(3, len(s.schema) - 1))
    return s.then(f"drop({gone})", s.frame.drop(*gone), s.lazy.drop(gone))


def rename(d: Draw, s: State) -> State:
    old = d.some(s.schema, 1, 2)
    free = dict.fromkeys(n for n in [*NAMES, *old] if n not in s.schema or n in old)
    new = d.some(free, len(old), len(old))
    if len(new) < len(old):
        raise NotHere
    table = dict(zip(old, new))
    return s.then(f"rename({table})", s.frame.rename(table), s.lazy.rename(table))


def cast(d: Draw, s: State) -> State:
    name = of(d, s.named("int", "bool"))
    dtype = d.pick([pl.Int64, pl.Float64, pl.String, pl.Int32])
    return s.then(
        f"cast({name}: {dtype}, strict=False)",
        s.frame.cast({name: dtype}, strict=False),
        s.lazy.cast({name: dtype}, strict=False),
    )


def sort(d: Draw, s: State) -> State:
    flat = s.named("int", "str", "bool", "time", "float")
    names = d.some(flat, 1, 3)
    if not names:
        raise NotHere
    descending = [d.chance(40) for _ in names]
    nulls_last = [d.chance(40) for _ in names]
    if d.chance(15) and s.named("int"):
        ref = of(d, s.named("int"))
        ours, theirs = [rd.col(ref) - rd.col(ref).max(), *names], [pl.col(ref) - pl.col(ref).max(), *names]
        descending, nulls_last = [True, *descending], [False, *nulls_last]
        text = f"sort({ref} - max({ref}), {names}, {descending}, {nulls_last})"
    else:
        ours, theirs, text = names, names, f"sort({names}, {descending}, {nulls_last})"
    return s.then(
        text,
        s.frame.sort(*ours, descending=descending, nulls_last=nulls_last),
        s.lazy.sort(theirs, descending=descending, nulls_last=nulls_last, maintain_order=True),
    )


def cut(d: Draw, s: State) -> State:
    if not s.ordered:
        raise NotHere
    how, n, offset = d.integer(0, 3), d.pick([0, 1, 2, 3, 5, 100]), d.pick([0, 1, 3, -1, -3, -20])
    if how == 0:
        return s.then(f"head({n})", s.frame.head(n), s.lazy.head(n))
    if how == 1:
        return s.then(f"tail({n})", s.frame.tail(n), s.lazy.tail(n))
    if how == 2:
        return s.then(f"slice({offset})", s.frame.slice(offset), s.lazy.slice(offset))
    return s.then(f"slice({offset}, {n})", s.frame.slice(offset, n), s.lazy.slice(offset, n))


def unique(d: Draw, s: State) -> State:
    if not s.ordered or d.chance(25):
        return s.then("unique()", s.frame.unique(), s.lazy.unique(), False)
    keep = d.pick(["first", "last", "none"])
    on = d.some(s.named("flat"), 1, 2) or None
    if d.chance(20):
        on = None
    if d.chance(30):
        return s.then(f"unique({on}, {keep})", s.frame.unique(on, keep=keep), s.lazy.unique(on, keep=keep), False)
    if on is None or keep == "last":
        frame = s.frame.drop_duplicates(on, keep=keep)
        return s.then(f"drop_duplicates({on}, {keep})", frame, s.lazy.unique(on, keep=keep, maintain_order=True))
    # Rows that have nothing there all stay.
    nothing = pl.all_horizontal(_has_nothing(n, s.schema[n]) for n in on)
    rows = s.lazy.with_row_index("__n").with_columns(__n=pl.when(nothing).then("__n"))
    theirs = rows.unique([*on, "__n"], keep=keep, maintain_order=True).drop("__n")
    return s.then(f"dedup({on}, {keep})", s.frame.dedup(on, keep=keep), theirs)


def _has_nothing(name: str, dtype: pl.DataType) -> pl.Expr:
    null = pl.col(name).is_null()
    return null | (pl.col(name) == "") if dtype == pl.String else null


def _aggregates(d: Draw, s: State, taken: list[str]) -> tuple[dict, dict, str]:
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    texts = []
    numbers = [n for n in s.named("int") if n not in taken]
    for out in d.some(["a1", "a2", "k_sum", "x"], 1, 3):
        if out in taken:
            continue
        options = [("len", lambda m: m.len())]
        if numbers:
            name = d.pick(numbers)
            options += [
                (f"sum({name})", lambda m, name=name: m.col(name).sum()),
                (f"max({name})", lambda m, name=name: m.col(name).max()),
                (f"n_unique({name})", lambda m, name=name: m.col(name).n_unique()),
                (f"sum({name} where {name} > 1)", lambda m, name=name: m.col(name).filter(m.col(name) > 1).sum()),
                (f"mean({name})", lambda m, name=name: m.col(name).mean()),
            ]
        others = [n for n in s.named("flat") if n not in taken]
        if s.ordered and others:
            other = d.pick(others)
            options += [
                (f"first({other})", lambda m, other=other: m.col(other).first()),
                (f"last({other})", lambda m, other=other: m.col(other).last()),
                (f"implode({other})", lambda m, other=other: m.col(other).implode()),
            ]
        text, make = d.pick(options)
        ours[out], theirs[out] = make(rd), make(pl)
        texts.append(f"{out}={text}")
    return ours, theirs, ", ".join(texts)


def group_by(d: Draw, s: State) -> State:
    keys = d.some(s.named("flat"), 1, 2)
    if not keys:
        raise NotHere
    ordered = d.chance(50)
    ours, theirs, text = _aggregates(d, s, keys)
    if d.chance(20) and s.named("int"):
        ref = of(d, s.named("int"))
        if "half" not in keys:
            return s.then(
                f"group_by({keys}, half={ref} // 2).agg({text})",
                s.frame.group_by(*keys, half=rd.col(ref) // 2, maintain_order=ordered).agg(**ours),
                s.lazy.group_by(*keys, half=pl.col(ref) // 2, maintain_order=ordered).agg(**theirs),
                s.ordered and ordered,
            )
    return s.then(
        f"group_by({keys}, ordered={ordered}).agg({text})",
        s.frame.group_by(*keys, maintain_order=ordered).agg(**ours),
        s.lazy.group_by(keys, maintain_order=ordered).agg(**theirs),
        s.ordered and ordered,
    )


def _sorted_by(d: Draw, s: State) -> tuple[State, str]:
    """The state sorted by a column without nulls that can be an index."""
    if not s.ordered:
        raise NotHere
    name = of(d, s.named("int", "time"))
    return s.then(
        f"drop_nulls({name}).sort({name})",
        s.frame.drop_nulls(name).sort(name),
        s.lazy.drop_nulls(name).sort(name, maintain_order=True),
    ), name


def group_by_dynamic(d: Draw, s: State) -> State:
    s, index = _sorted_by(d, s)
    every = d.pick(["2s", "5s"]) if s.schema[index].is_temporal() else d.pick(["2i", "3i"])
    by = d.some([n for n in s.named("int", "str", "bool") if n != index], 0, 1)
    ours, theirs, text = _aggregates(d, s, [index, *by])
    options = {"closed": d.pick(["left", "right", "both"]), "start_by": d.pick(["window", "datapoint"])}
    if d.chance(20):
        options["include_boundaries"] = True
    return s.then(
        f"group_by_dynamic({index}, {every}, by={by}, {options}).agg({text})",
        s.frame.group_by_dynamic(index, every=every, group_by=by or None, **options).agg(**ours),
        s.lazy.group_by_dynamic(index, every=every, group_by=by or None, **options).agg(**theirs),
        not by,
    )


def rolling(d: Draw, s: State) -> State:
    s, index = _sorted_by(d, s)
    period = "3s" if s.schema[index].is_temporal() else "2i"
    by = d.some([n for n in s.named("int", "str", "bool") if n != index], 0, 1)
    ours, theirs, text = _aggregates(d, s, [index, *by])
    closed = d.pick(["right", "left", "both"])
    return s.then(
        f"rolling({index}, {period}, by={by}, {closed}).agg({text})",
        s.frame.rolling(index, period=period, group_by=by or None, closed=closed).agg(**ours),
        s.lazy.rolling(index, period=period, group_by=by or None, closed=closed).agg(**theirs),
        not by,
    )


def with_row_index(d: Draw, s: State) -> State:
    name = d.pick(["index", "n"])
    if not s.ordered or name in s.schema:
        raise NotHere
    apart = s.lazy.select(pl.all())  # Polars 1.44 and 2.1 fail where a file is read with and without an index
    return s.then(f"with_row_index({name}, 3)", s.frame.with_row_index(name, 3), apart.with_row_index(name, 3))


def explode(d: Draw, s: State) -> State:
    name = of(d, s.named("list"))
    return s.then(f"explode({name})", s.frame.explode(name), s.lazy.explode(name, **explode_options()))


def unnest(d: Draw, s: State) -> State:
    name = of(d, s.named("struct"))
    fields = [f.name for f in s.schema[name].fields]  # type: ignore[attr-defined]
    if set(fields) & (s.schema.keys() - {name}):
        raise NotHere
    return s.then(f"unnest({name})", s.frame.unnest(name), s.lazy.unnest(name))


def pivot(d: Draw, s: State) -> State:
    on, value = of(d, s.named("str")), of(d, s.named("int"))
    index = d.some([n for n in s.named("int", "str", "bool") if n not in (on, value)], 1, 2)
    columns = d.pick([["a", "b"], ["a", "zz"]])
    if not index or set(columns) & set(index) or on == value:
        raise NotHere
    return s.then(
        f"pivot({on}, {columns}, index={index}, values={value})",
        s.frame.pivot(on, columns, index=index, values=value, aggregate_function="sum"),
        s.lazy.pivot(on, on_columns=columns, index=index, values=value, aggregate_function="sum", maintain_order=True),
    )


def unpivot(d: Draw, s: State) -> State:
    on = d.some(s.named("int"), 1, 2)
    index = d.some([n for n in s.schema if n not in on], 0, 2)
    if not on or {"variable", "value"} & s.schema.keys():
        raise NotHere
    return s.then(
        f"unpivot({on}, index={index})",
        s.frame.unpivot(on, index=index or None),
        s.lazy.unpivot(on, index=index or None),
        False,
    )


def fill_null(d: Draw, s: State) -> State:
    how = d.integer(0, 2)
    if how == 0:
        name = of(d, s.named("str"))
        ours, theirs = s.frame.fill_null({name: "?"}), s.lazy.with_columns(pl.col(name).fill_null("?"))
        return s.then(f"fill_null({name}: '?')", ours, theirs)
    if how == 1:
        names = [n for n, dtype in s.schema.items() if dtype.is_numeric()]
        if not names:
            raise NotHere
        return s.then("fill_null(0)", s.frame.fill_null(0), s.lazy.with_columns(pl.col(names).fill_null(0)))
    if not s.ordered:
        raise NotHere
    return s.then(
        "fill_null(forward)",
        s.frame.fill_null(strategy="forward"),
        s.lazy.with_columns(pl.all().fill_null(strategy="forward")),
    )


def drop_nulls(d: Draw, s: State) -> State:
    subset = d.some(s.schema, 1, 2) if d.chance(70) else None
    return s.then(f"drop_nulls({subset})", s.frame.drop_nulls(subset), s.lazy.drop_nulls(subset))


def map_batches(d: Draw, s: State) -> State:
    if not s.ordered:
        raise NotHere
    size, how = d.pick([1, 2, 3, 1024, None]), d.integer(0, 3)
    name = of(d, s.named("int"))
    if how == 0:  # the whole frame in, the whole frame out, fewer rows
        return s.then(
            f"map_batches(drop_nulls {name}, {size})",
            s.frame.map_batches(lambda batch: batch.drop_nulls(name), size),
            s.lazy.drop_nulls(name),
        )
    made = d.pick(["z", name])

    def double(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.select(pl.col(name).cast(pl.Int64).alias(made) * 2)

    expression = (pl.col(name).cast(pl.Int64) * 2).alias(made)
    options: dict[str, Any] = {"schema": {made: pl.Int64}, "preserves_rows": how != 3}
    if how != 1:
        options["reads"] = [name]
    passes_by = how == 2
    return s.then(
        f"map_batches({made} = 2 {name}, {size}, {sorted(options)}, passes_by={passes_by})",
        s.frame.map_batches(double, size, **options),
        s.lazy.with_columns(expression) if passes_by else s.lazy.select(expression),
    )


def map_rows(d: Draw, s: State) -> State:
    if not s.ordered:
        raise NotHere
    name = of(d, s.named("int"))
    how = d.integer(0, 2)
    if how == 0:
        return s.then(
            f"map(lambda x: {{**x, 'z': x[{name!r}] + 1}})",
            s.frame.map(lambda x: {**x, "z": x[name] + 1}),
            s.lazy.with_columns(z=pl.col(name).cast(pl.Int64) + 1),  # integers of Python are wide
        )
    if how == 1:
        return s.then(
            "map(lambda x: {'z': 1})",
            s.frame.map(lambda x: {"z": 1}),
            s.lazy.with_columns(z=pl.lit(1, pl.Int64)).select("z"),
        )
    return s.then(
        f"map({{'z': str({name})}})",
        s.frame.map(lambda x: {"z": str(x[name]), "w": x[name]}, schema={"z": pl.String, "w": pl.Int64}),
        s.lazy.select(
            pl.col(name).cast(pl.Int64).cast(pl.String).fill_null("None").alias("z"),
            pl.col(name).cast(pl.Int64).alias("w"),
        ),
    )


def cache(d: Draw, s: State) -> State:
    return s.then("cache()", s.frame.cache(), s.lazy)


def sample(d: Draw, s: State) -> State:
    """No oracle in Polars has the same draw: what is known is how many rows stay, and that all do at fraction=1."""
    if not s.ordered:
        raise NotHere
    how = d.integer(0, 2)
    if how == 0:
        return s.then("sample(fraction=1)", s.frame.sample(fraction=1), s.lazy)
    if how == 1:
        return s.then("sample(100)", s.frame.sample(100, seed=3), s.lazy)
    return s.then("sample(0)", s.frame.sample(0), s.lazy.head(0))


ONE_INPUT = [
    filter_, filter_, filter_, filter_function, select, select, with_columns, with_columns, drop, rename, cast, sort,
    sort, cut, cut, unique, group_by, group_by_dynamic, rolling, with_row_index, explode, unnest, pivot, unpivot,
    fill_null, drop_nulls, map_batches, map_batches, map_rows, cache, sample, *TIME_ONE,
]  # fmt: skip


# -- two inputs ------------------------------------------------------------------------------------------------


def join(d: Draw, a: State, b: State) -> State:
    how = d.pick(["inner", "left", "right", "full", "semi", "anti", "cross"])
    suffix = d.pick(["_right", "_right", "_b"])
    kinds = [kind for kind in ("int", "str", "bool", "float", "time") if a.named(kind) and b.named(kind)]
    order = d.pick([None, None, "left_right", "right_left"]) if a.ordered and b.ordered else None
    options: dict[str, Any] = {"how": how, "suffix": suffix}
    if how == "cross":
        if POLARS < (2, 0) and (a.named("struct") or b.named("struct")):
            raise NotHere  # the streaming engine of Polars 1.44 panics on null structs there
        return _joined(a, b, options, {}, {}, "", None)
    # The places of rows without a partner are defined on their own side alone.
    if how in ("semi", "anti", "full") or (how, order) in (("left", "right_left"), ("right", "left_right")):
        order = None
    if how not in ("semi", "anti"):
        options["maintain_order"] = order
        if d.chance(40):
            options["coalesce"] = d.chance(50)
    if d.chance(30):
        options["nulls_equal"] = True
    if not kinds:
        raise NotHere
    kind = d.pick(kinds)
    left, right = of(d, a.named(kind)), of(d, b.named(kind))
    same = [n for n in a.named("int", "str", "float") if b.schema.get(n) == a.schema[n]]
    style = d.integer(0, 5)
    if style <= 2 and same:
        keys = d.some(same, 1, 2)
        return _joined(a, b, options, {"on": keys}, {"on": keys}, f"on={keys}", order)
    if style == 3 and kind == "int":
        ours = {"left_on": rd.col(left) + 1, "right_on": rd.col(right)}
        theirs = {"left_on": pl.col(left) + 1, "right_on": pl.col(right)}
        options.pop("coalesce", None)
        return _joined(a, b, options, ours, theirs, f"{left} + 1 == {right}", order)
    keys = {"left_on": left, "right_on": right}
    return _joined(a, b, options, keys, keys, f"{left} == {right}", order)


def _joined(a: State, b: State, options: dict, ours: dict, theirs: dict, text: str, order: str | None) -> State:
    theirs = {**options, **theirs}
    try:
        lazy = a.lazy.join(b.lazy, **theirs)
        lazy.collect_schema()
    except pl.exceptions.PolarsError as error:  # a suffix that is taken, types that cannot be compared
        raise NotHere from error
    try:
        frame = a.frame.join(b.frame, **ours, **options)
    except QueryError as error:
        if "give suffix=" not in str(error):
            raise
        raise NotHere from error  # Polars loses a column there: robodf refuses it
    return a.then(f"join([{'; '.join(b.steps)}], {text}, {options})", frame, lazy, order is not None)


def join_asof(d: Draw, a: State, b: State) -> State:
    a, left = _sorted_by(d, a)
    kind = "time" if a.schema[left].is_temporal() else "int"
    names = [n for n in b.named(kind) if b.schema[n] == a.schema[left]]
    if not names or not b.ordered:
        raise NotHere
    right = d.pick(names)
    b = b.then(
        f"drop_nulls({right}).sort({right})",
        b.frame.drop_nulls(right).sort(right),
        b.lazy.drop_nulls(right).sort(right, maintain_order=True),
    )
    by = d.some([n for n in a.named("int", "str") if b.schema.get(n) == a.schema[n] and n not in (left, right)], 0, 1)
    options: dict[str, Any] = {
        "strategy": d.pick(["backward", "forward", "nearest"]),
        "allow_exact_matches": d.chance(70),
        "coalesce": d.chance(70),
    }
    if d.chance(40):
        options["tolerance"] = "2s" if kind == "time" else 2
    keys = {"left_on": left, "right_on": right}
    more = {"by": by, "check_sortedness": False} if by else {}
    try:
        lazy = a.lazy.join_asof(b.lazy, **keys, **options, **more)
        lazy.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise NotHere from error
    frame = a.frame.join_asof(b.frame, **keys, **options, by=by or None)
    return a.then(f"join_asof([{'; '.join(b.steps)}], {left} ~ {right}, by={by}, {options})", frame, lazy)


def concat(d: Draw, a: State, b: State) -> State:
    ordered = a.ordered and b.ordered
    how = d.integer(0, 3)
    if how == 0:
        frame, lazy = rd.concat([a.frame, a.frame]), pl.concat([a.lazy, a.lazy])
        return a.then("concat with itself", frame, lazy, a.ordered)
    same = [n for n in a.schema if b.schema.get(n) == a.schema[n]]
    if how == 1:
        if not same:
            raise NotHere
        frame = rd.concat([a.frame.select(*same), b.frame.select(*same)])
        lazy = pl.concat([a.lazy.select(same), b.lazy.select(same)])
        return a.then(f"concat([{'; '.join(b.steps)}], of {same})", frame, lazy, ordered)
    kind = d.pick(["diagonal", "diagonal_relaxed"])
    try:
        lazy = pl.concat([a.lazy, b.lazy], how=kind)
        lazy.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise NotHere from error
    return a.then(f"concat([{'; '.join(b.steps)}], {kind})", rd.concat([a.frame, b.frame], how=kind), lazy, ordered)


TWO_INPUTS = [join, join, join, join_asof, concat, *TIME_TWO]
