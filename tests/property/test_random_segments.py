"""Episodes and intervals against loops in plain Python: ties, nulls, no order, several recordings, every boundary."""

from __future__ import annotations

from itertools import groupby

import polars as pl
from cutting import run_cut
from hypothesis import given, settings
from hypothesis import strategies as st

import robodf as rd
from robodf.plan.base import lower_all

TIMES = {
    "Int64": pl.Int64(), "UInt8": pl.UInt8(), "ns": pl.Datetime("ns"), "ms": pl.Datetime("ms", "Europe/Berlin"),
    "duration": pl.Duration("us"),
}  # fmt: skip
SOME = settings(max_examples=120, deadline=None)

times = st.one_of(st.none(), st.integers(0, 40))
recordings = st.sampled_from(["a", "b", "é", None])
truth = st.sampled_from([True, True, False, None])
rows_of = st.lists(st.tuples(recordings, times, truth), max_size=25)
cuts_of = st.one_of(st.none(), st.lists(st.sampled_from([True, False, False, None]), min_size=25, max_size=25))
intervals_of = st.lists(st.tuples(recordings, times, times), max_size=10)
types = st.sampled_from(sorted(TIMES))


def frame_of(columns: dict[str, list], **dtypes: pl.DataType) -> rd.PipelineDataFrame:
    made = [pl.Series(name, values, dtypes.get(name, pl.String())) for name, values in columns.items()
            if not isinstance(dtypes.get(name), (pl.Datetime, pl.Duration))]  # fmt: skip
    made += [pl.Series(name, columns[name], pl.Int64).cast(dtype) for name, dtype in dtypes.items()
             if isinstance(dtype, (pl.Datetime, pl.Duration))]  # fmt: skip
    return rd.from_polars(pl.DataFrame(made).select(list(columns)))


def both(frame: rd.PipelineDataFrame, *numbers: str) -> list[tuple]:
    """The rows, times as integers; the plan as it was written gives the same."""
    found = frame.collect()
    assert found.equals(lower_all(frame._plan).collect(engine="streaming"))
    assert found.equals(run_cut(frame._plan))
    assert list(found.schema.items()) == list(frame.schema.items())
    assert len(frame) == found.height
    return found.with_columns(pl.col(list(numbers)).to_physical().cast(pl.Int64)).rows()


def first_null(key):
    return tuple((value is not None, value or "") for value in key)


def naive_segments(rows, gap, least, conditional, keyed, cuts):
    """[(recording, index, [positions in time order])], and the times by position."""
    placed = [(r if keyed else None, t, ok, i) for i, (r, t, ok) in enumerate(rows) if t is not None]
    placed.sort(key=lambda row: (first_null((row[0],)), row[1], row[3]))
    answer = []
    for recording, group in groupby(placed, key=lambda row: row[0]):
        runs, current = [], []
        for row in group:
            if conditional and not row[2]:
                runs, current = [*runs, current], []
            elif current and ((gap is not None and row[1] - current[-1][1] > gap) or (cuts and cuts[row[3]])):
                runs, current = [*runs, current], [row]
            else:
                current.append(row)
        runs = [run for run in [*runs, current] if run and (least is None or run[-1][1] - run[0][1] >= least)]
        answer += [(recording, k, run) for k, run in enumerate(runs)]
    return answer


@SOME
@given(rows_of, types, st.one_of(st.none(), st.integers(0, 12)), st.one_of(st.none(), st.integers(0, 10)),
       st.booleans(), st.booleans(), cuts_of)  # fmt: skip
def test_segments(rows, kind, gap, least, conditional, keyed, cuts):
    conditional = conditional or (gap is None and cuts is None)
    dtype = TIMES[kind]
    scale = {"ns": "ns", "us": "us", "ms": "ms"}.get(getattr(dtype, "time_unit", ""))
    length = lambda n: n if n is None or scale is None else f"{n}{scale}"  # noqa: E731
    df = frame_of(
        {"recording": [r for r, _, _ in rows], "t": [t for _, t, _ in rows], "ok": [ok for _, _, ok in rows],
         "new": (cuts or [None] * 25)[: len(rows)], "id": [str(i) for i in range(len(rows))]},
        t=dtype, ok=pl.Boolean(), new=pl.Boolean(),
    )  # fmt: skip
    wanted = naive_segments(rows, gap, least, conditional, keyed, cuts)
    arguments = {"when": "ok" if conditional else None, "gap": length(gap), "min_duration": length(least), "on": "t",
                 "by": "recording" if keyed else None, "at": "new" if cuts else None}  # fmt: skip
    table = both(df.segment(**arguments), "start", "end", "duration", "segment", "rows")
    front = (lambda r: (r,)) if keyed else (lambda r: ())
    assert table == [
        (*front(r), k, run[0][1], run[-1][1], run[-1][1] - run[0][1], len(run)) for r, k, run in wanted
    ]  # fmt: skip

    numbers = {row[3]: k for _, k, run in wanted for row in run}
    marked = df.with_segment(**arguments)
    assert both(marked.select("id", "segment"), "segment") == [(str(i), numbers.get(i)) for i in range(len(rows))]
    assert marked.drop("segment").collect().equals(df.collect())

    only = df.segment(**arguments).filter(recording="a") if keyed else None
    if only is not None:
        assert both(only, "start", "end", "duration", "segment", "rows") == [row for row in table if row[0] == "a"]

    if not conditional and least is None:  # the rows of an episode lie in it
        inside = df.within(df.segment(**arguments), on="t", by=arguments["by"])
        assert both(inside.select("id")) == [(str(i),) for i, row in enumerate(rows) if row[1] is not None]


# -- intervals ---------------------------------------------------------------------------------------------------


def table_of(intervals, dtype, name="tag"):
    return frame_of(
        {"recording": [r for r, _, _ in intervals], "start": [s for _, s, _ in intervals],
         "end": [e for _, _, e in intervals], name: [f"{name}{i}" for i in range(len(intervals))]},
        start=dtype, end=dtype,
    )  # fmt: skip


def moments(interval):
    """The moments of a closed interval; of none where a bound is missing."""
    _, start, end = interval
    return range(0) if start is None or end is None else range(start, end + 1)


def alike(a, b, keyed):
    return not keyed or a[0] == b[0]


@SOME
@given(rows_of, intervals_of, types, st.booleans())
def test_rows_within(rows, intervals, kind, keyed):
    dtype = TIMES[kind]
    df = frame_of(
        {"recording": [r for r, _, _ in rows], "t": [t for _, t, _ in rows], "id": [str(i) for i in range(len(rows))]},
        t=dtype,
    )
    by = "recording" if keyed else None
    table = table_of(intervals, dtype)
    pairs = [
        (str(i), f"tag{j}") for i, row in enumerate(rows) for j, interval in enumerate(intervals)
        if row[1] in moments(interval) and alike(row, interval, keyed)
    ]  # fmt: skip
    hit = dict.fromkeys(i for i, _ in pairs)
    assert both(df.within(table, on="t", by=by).select("id")) == [(i,) for i in hit]
    joined = df.join_within(table, on="t", by=by)
    assert both(joined.select("id", "tag")) == pairs
    assert both(joined.filter(tag="tag1").select("id", "tag")) == [p for p in pairs if p[1] == "tag1"]
    assert both(joined.filter(recording="a").select("id")) == [(i,) for i, _ in pairs if rows[int(i)][0] == "a"]
    early = df.within(table, on="t", by=by).filter(rd.col("t").to_physical() < 9, rd.col("recording") == "b")
    assert both(early.select("id")) == [(i,) for i in hit if rows[int(i)][0] == "b" and rows[int(i)][1] < 9]


@SOME
@given(intervals_of, intervals_of, types, st.booleans())
def test_two_tables(a, b, kind, keyed):
    dtype = TIMES[kind]
    by = "recording" if keyed else None
    left, right = table_of(a, dtype), table_of(b, dtype, "other")
    pairs = [
        (i, j) for i, x in enumerate(a) for j, y in enumerate(b)
        if alike(x, y, keyed) and set(moments(x)) & set(moments(y))
    ]  # fmt: skip
    found = left.overlap_intervals(right, by=by)
    assert both(found.select("tag", "other")) == [(f"tag{i}", f"other{j}") for i, j in pairs]
    assert both(found.select("start_right", "end_right"), "start_right", "end_right") == [b[j][1:] for _, j in pairs]
    common = left.intersect_intervals(right, by=by).select("start", "end", "tag", "other")
    assert both(common, "start", "end") == [
        (max(a[i][1], b[j][1]), min(a[i][2], b[j][2]), f"tag{i}", f"other{j}") for i, j in pairs
    ]

    wanted = []
    for i, x in enumerate(a):
        taken = {m for y in b if alike(x, y, keyed) for m in moments(y)}
        left_over = [m for m in moments(x) if m not in taken]
        for _, part in groupby(enumerate(left_over), key=lambda pair: pair[1] - pair[0]):
            together = [m for _, m in part]
            wanted.append((x[0], together[0], together[-1], f"tag{i}"))
    assert both(left.subtract_intervals(right, by=by), "start", "end") == wanted
    assert both(left.subtract_intervals(right, by=by).filter(recording="a"), "start", "end") == [
        row for row in wanted if row[0] == "a"
    ]


@SOME
@given(intervals_of, types, st.one_of(st.none(), st.integers(0, 6)), st.booleans())
def test_merged(intervals, kind, gap, keyed):
    dtype = TIMES[kind]
    unit = getattr(dtype, "time_unit", None)
    wanted = []
    groups = sorted({r for r, _, _ in intervals}, key=lambda r: first_null((r,))) if keyed else [None]
    for recording in groups:
        mine = sorted({i[1:] for i in intervals if moments(i) and (not keyed or i[0] == recording)})
        merged: list[list[int]] = []
        for start, end in mine:
            if merged and start - merged[-1][1] <= max(1, gap or 0):
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        wanted += [((recording,) if keyed else ()) + (s, e, e - s) for s, e in merged]
    length = gap if gap is None or unit is None else f"{gap}{unit}"
    found = table_of(intervals, dtype).merge_intervals(length, by="recording" if keyed else None)
    assert both(found, "start", "end", "duration") == wanted
