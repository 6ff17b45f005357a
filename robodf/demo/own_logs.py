"""The main job over the user's own logs, whatever is in them."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

import robodf as rd
from robodf.demo.printing import (
    IMPORTS,
    BytesRead,
    Steps,
    block,
    columns,
    compared,
    in_sql,
    next_lines,
    plans,
    plural,
    preview,
    say,
    share,
    shown,
    topics_table,
    wrote,
)
from robodf.errors import RobodfError
from robodf.io.logs.log import Log
from robodf.io.logs.topic import META
from robodf.io.messages.raw import COLUMN as RAW
from robodf.optimizer import optimize
from robodf.plan.node import walk
from robodf.plan.nodes.scan import Scan

MOST_BYTES = 1 << 30  # of logs that a demo reads: on more, it takes a shorter time around the middle

MOST_FILES = 8  # whose own middle is tried
MOST_TOPICS = 20  # that are looked at, beginning with the one of most messages


@dataclass(frozen=True)
class Choice:
    """The messages that the job is about. `code` makes `messages` from `log`."""

    topic: str | None
    messages: rd.PipelineDataFrame
    code: str
    keys: list[str]  # what makes two messages the same
    count: int | None
    left_out: list[str]


def run(path: str, out: str | os.PathLike[str]) -> int:
    """Run the job over the logs at `path` and print each step. 0, or 1 where SQL gave other rows than the frame."""
    with BytesRead() as opened:
        log = rd.open_log(path, on_error="collect")
    steps = Steps()
    steps.begin("What is in the logs")
    say(f"{plural(len(log.paths), 'file')}, {log.size:,} bytes. This list took reading {opened.bytes:,} of them.")
    if len(log):
        print()
        topics_table(log.topics)
    _tell_damage(log.problems)
    if not log.topics["count"].fill_null(1).sum():
        print()
        say("There are no messages in these logs, so there is nothing to filter. Try: robodf demo")
        return 0

    choice = choose(log)
    window, bounds = _window(choice, log)
    unique = window.drop_duplicates(choice.keys)

    steps.begin("The job, as you would type it")
    block(IMPORTS)
    block("\n".join(_code(path, choice, bounds)))
    print()
    say(_reason(choice, bounds))

    steps.begin("The plan, as written and as it will run")
    plans(unique)

    steps.begin("Run it: rows in and out")
    target = Path(out) / f"{_file_name(choice.topic)}.parquet"
    with BytesRead() as used:
        report = unique.to_parquet(target, mode="overwrite")
    rows = window.count_rows()
    total = log.message_count
    named = f"topic {choice.topic}" if choice.topic else "all topics"
    chosen = rows if choice.count is None or not bounds else choice.count
    stages = [(named, chosen if total is None else total, chosen), ("dedup", rows, report.rows)]
    if bounds:
        stages.insert(1, ("log_time", chosen, rows))
    columns(stages, ("step", "rows in", "rows out"))
    print()
    say(f"Read from the logs: {share(used.bytes, log.size)}.")
    wrote(report)
    met = [_problem(**row) for row in unique.errors.select("file", "error").iter_rows(named=True)]
    _tell_damage([problem for problem in met if problem not in log.problems])

    steps.begin("A preview of it")
    preview(rd.read_parquet(target).select("log_time", *choice.keys).head(5).collect())

    steps.begin("The same in SQL, by the same planner")
    query = _sql(choice.keys, bounds)
    block(query)
    print()
    by_sql = rd.sql(query, messages=choice.messages).collect()
    same = compared(by_sql, rd.read_parquet(target).select(choice.keys).collect())
    next_lines(f"sql \"SELECT * FROM '{in_sql(target)}' LIMIT 5\"", f"info {shlex.quote(shown(path))}")
    return 0 if same else 1


def choose(log: Log) -> Choice:
    """The topic with the most values (messages times columns) that can be decoded; else all messages, undecoded."""
    best: tuple[int, Choice] | None = None
    decoded = 0
    topics = log.topics.sort("count", descending=True, nulls_last=True, maintain_order=True)
    for row in topics.iter_rows(named=True):
        if row["count"] == 0 or decoded == MOST_TOPICS:
            break
        topic = row["topic"]
        try:
            frame = log[topic]
        except RobodfError:
            continue  # its files disagree on the types: another topic shows more
        fields = {n: t for n, t in frame.schema.items() if n not in META}
        if fields.keys() == {RAW}:
            continue
        decoded += 1
        light = [n for n, t in fields.items() if not _has(t, pl.Binary)]
        values = (row["count"] or 1) * len(light)
        if light and (best is None or values > best[0]):
            heavy = [n for n in fields if n not in light]
            messages = frame.drop(heavy) if heavy else frame
            code = f"messages = log[{_text(topic)}]" + (f".drop({', '.join(map(_text, heavy))})" if heavy else "")
            best = values, Choice(topic, messages, code, _keys({n: fields[n] for n in light}), row["count"], heavy)
    if best is not None:
        return best[1]
    return Choice(None, log.messages(), "messages = log.messages()", ["topic", "data"], log.message_count, [])


def _keys(fields: dict[str, pl.DataType]) -> list[str]:
    """The columns that make two messages the same: all but the times, unless there is nothing else."""
    content = [n for n, t in fields.items() if n != "header" and not (_has(t, pl.Datetime) or _has(t, pl.Duration))]
    return content or list(fields)


def _has(dtype: pl.DataType, kind: type[pl.DataType]) -> bool:
    """Whether values of this kind are in it, at any depth."""
    if isinstance(dtype, pl.Struct):
        return any(_has(f.dtype, kind) for f in dtype.fields)  # type: ignore[arg-type]
    if isinstance(dtype, pl.List | pl.Array):
        return _has(dtype.inner, kind)  # type: ignore[arg-type]
    return isinstance(dtype, kind)


def _window(choice: Choice, log: Log) -> tuple[rd.PipelineDataFrame, tuple[datetime, datetime] | None]:
    """The messages of the middle half of the time, and its bounds.

    Between recordings nothing may have been said: then it is the middle of one of them. All messages, and no bounds,
    where no times are known or no middle has messages.
    """
    logs = [log, *(rd.open_log(p, on_error="collect") for p in log.paths[:MOST_FILES])]
    for part in logs if len(log.paths) > 1 else [log]:
        topics = part.topics
        if choice.topic is not None:
            topics = topics.filter(pl.col("topic") == choice.topic)
        start, end = topics["start"].min(), topics["end"].max()
        if not isinstance(start, datetime) or not isinstance(end, datetime):
            continue
        half = (end - start) / 4
        while half >= timedelta(milliseconds=1):
            middle = start + (end - start) / 2
            bounds = _rounded(middle - half, half), _rounded(middle + half, half)
            window = choice.messages.filter(rd.col("log_time") >= bounds[0], rd.col("log_time") < bounds[1])
            if _bytes_to_read(window) <= MOST_BYTES:
                if window.count_rows():
                    return window, bounds
                break
            half /= 2
    return choice.messages, None


def _rounded(time: datetime, half: timedelta) -> datetime:
    """The whole second before, or the millisecond before in a short log: easier to read, and to type."""
    step = 1_000_000 if half > timedelta(seconds=10) else 1000
    return time - timedelta(microseconds=time.microsecond % step)


def _bytes_to_read(df: rd.PipelineDataFrame) -> int:
    scans = [n for n in walk(optimize(df._plan)) if isinstance(n, Scan)]
    return sum(n.source.report(n.request).bytes or 0 for n in scans)


def _code(path: str, choice: Choice, bounds: tuple[datetime, datetime] | None) -> list[str]:
    lines = [f'log = rd.open_log({_text(path)}, on_error="collect")', choice.code]
    name = "messages"
    if bounds:
        start, end = (repr(t).replace("datetime.datetime", "datetime") for t in bounds)
        lines += [f"start, end = {start}, {end}",
                  'window = messages.filter(rd.col("log_time") >= start, rd.col("log_time") < end)']  # fmt: skip
        name = "window"
    return [*lines, f"unique = {name}.drop_duplicates([{', '.join(map(_text, choice.keys))}])"]


def _text(text: str) -> str:
    """A Python literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _reason(choice: Choice, bounds: tuple[datetime, datetime] | None) -> str:
    parts = [
        f"{choice.topic} is the topic with the most values." if choice.topic
        else "No topic has messages that robodf decodes, so they stay as bytes.",
        "The time is the middle of a recording." if bounds else "",
        "Two messages are the same if these columns are." if choice.topic else "",
        f"Bytes are left out: {', '.join(choice.left_out)}." if choice.left_out else "",
        "Nothing has run yet.",
    ]  # fmt: skip
    return " ".join(filter(None, parts))


def _sql(keys: list[str], bounds: tuple[datetime, datetime] | None) -> str:
    query = f"SELECT DISTINCT {', '.join(map(_quoted, keys))}\nFROM messages"
    if bounds:
        query += f"\nWHERE log_time >= TIMESTAMP '{bounds[0]}'\n  AND log_time < TIMESTAMP '{bounds[1]}'"
    return query


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _file_name(topic: str | None) -> str:
    return re.sub(r"\W+", "_", topic or "messages").strip("_") or "messages"


def _problem(file: str, error: str) -> str:
    return error if error.startswith(file) else f"{shown(file)}: {error}"


def _tell_damage(problems: list[str], most: int = 5) -> None:
    if problems:
        print()
        say(f"Skipped, with the reason ({plural(len(problems), 'problem')}):")
        said = Counter(problems)
        for problem, times in list(said.items())[:most]:
            say(f"- {problem}" + (f" ({times:,} times)" if times > 1 else ""))
        if len(said) > most:
            say(f"- and {len(said) - most} more")
