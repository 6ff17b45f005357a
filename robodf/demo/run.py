"""The main job, step by step, over recordings that the demo writes itself."""

from __future__ import annotations

import inspect
import json
import os
import textwrap
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

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
    say,
    share,
    shown,
    table,
    topics_table,
    wrote,
)
from robodf.demo.recordings import write_recordings

OUT = "robodf-demo"

SQL = """\
SELECT recording, log_time, task, quality, text
FROM (
  SELECT * FROM captions
  WHERE log_time >= TIMESTAMP '2026-03-02 09:10:00' AND quality > 0.7
  QUALIFY row_number() OVER (PARTITION BY text ORDER BY log_time) = 1
) AS good
JOIN episodes USING (recording, episode)
WHERE success
ORDER BY log_time"""


def job(folder: str) -> tuple[rd.PipelineDataFrame, ...]:
    captions = rd.read_mcap(folder, topic="/caption")
    recent = captions.filter(rd.col("log_time") >= datetime(2026, 3, 2, 9, 10))
    good = recent.filter(rd.col("quality") > 0.7)
    unique = good.dedup(on="text")
    episodes = rd.read_parquet(folder)
    joined = unique.join(episodes, on=["recording", "episode"], maintain_order="left")
    successful = joined.filter(rd.col("success"))
    result = successful.select("recording", "log_time", "task", "quality", "text")
    return captions, recent, good, unique, episodes, joined, result


def one_second(folder: str) -> rd.PipelineDataFrame:
    imu = rd.read_mcap(folder, topic="/imu", start="2026-03-02T09:10:20", end="2026-03-02T09:10:21")
    second = imu.select("log_time", "angular_velocity", "linear_acceleration")
    return second  # noqa: RET504 - the name is shown


def source(function: Callable) -> str:
    """The lines of a function without its head and its return: what is shown is what runs."""
    lines = textwrap.dedent("".join(inspect.getsourcelines(function)[0][1:])).splitlines()
    return "\n".join(line for line in lines if not line.startswith("return "))


def run(out: str | os.PathLike[str] = OUT, keep: bool = False) -> int:
    """Write the recordings below `out` (with `keep`: use those that are there), run the job, and print each step.

    Gives 0, or 1 where SQL gave other rows than the frame.
    """
    out = Path(out)
    folder = shown(out / "recordings")
    steps = Steps()

    steps.begin("Three short recordings of a robot arm, and a table of its episodes")
    if not (keep and list(Path(folder).glob("*.mcap")) and list(Path(folder).glob("*.parquet"))):
        write_recordings(folder)
    with BytesRead() as opened:
        log = rd.open_log(folder)
        topics = log.topics
    topics_table(topics)
    print()
    say(f"{plural(len(log.paths), 'MCAP file')} in {folder}. The list is from their indexes alone: "
        f"{share(opened.bytes, log.size)} were read.")  # fmt: skip

    steps.begin("The job, as you would type it")
    block(IMPORTS)
    block(f"folder = {json.dumps(folder, ensure_ascii=False)}\n" + source(job))
    captions, recent, good, unique, episodes, joined, result = job(folder)
    print()
    say("Nothing has run yet: each name is a plan.")

    steps.begin("The plan, as written and as it will run")
    plans(result)
    print()
    say("The topic and the time are answered by the index inside of each file: chunks that cannot hold such messages "
        "are not read. Success is answered inside of the Parquet file. The quality is known once a message is decoded, "
        "so that filter stays.")  # fmt: skip

    steps.begin("Run it: rows in and out")
    target = out / "captions.parquet"
    with BytesRead() as used:
        report = result.to_parquet(target, mode="overwrite")
    frames = captions, recent, good, unique, joined
    counts = [log.message_count or 0, *(df.count_rows() for df in frames), report.rows]
    names = "topic /caption", "log_time >= 09:10", "quality > 0.7", "dedup on text", "join with episodes", "success"
    columns([(n, counts[i], counts[i + 1]) for i, n in enumerate(names)], ("step", "rows in", "rows out"))
    print()
    say(f"Read from the logs: {share(used.bytes, log.size)}.")
    wrote(report)

    steps.begin("A preview of it")
    table(rd.read_parquet(target).head(5).collect())

    steps.begin("The same in SQL, by the same planner")
    block(SQL)
    print()
    by_sql = rd.sql(SQL, captions=captions, episodes=episodes).collect()
    by_frame = rd.read_parquet(target).collect()
    same = compared(by_sql, by_frame)

    steps.begin("One second of the IMU out of all recordings")
    block(source(one_second))
    print()
    with BytesRead() as used:
        imu = one_second(folder).collect()
    table(imu, 3)
    print()
    say(f"{plural(imu.height, 'row')} for {share(used.bytes, log.size)}.")

    next_lines(f"sql \"SELECT task, count(*) AS n FROM '{in_sql(target)}' GROUP BY task ORDER BY n DESC\"",
               "demo PATH/TO/YOUR/LOGS")  # fmt: skip
    return 0 if same else 1
