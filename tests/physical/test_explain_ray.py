"""explain("physical") for a cluster: what it says is what runs. No cluster is needed for it."""

from __future__ import annotations

import html
import sys
from pathlib import Path

import polars as pl
import pytest
from cut_plans import optimized
from test_golden_plans import QUERIES

import robodf as rd
from robodf import col
from robodf.config import Settings
from robodf.errors import OptionError
from robodf.physical import engine
from robodf.physical.cut import Limits, cut
from robodf.physical.exchange import ByRange
from robodf.physical.fragments import describe, fragments
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.base import plans


@pytest.fixture(autouse=True)
def no_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """No address from outside, and none that an earlier test of this process connected."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if request.node.get_closest_marker("ray") is None:
        monkeypatch.setitem(sys.modules, "ray", None)
    with rd.config(engine="auto", address=None, num_cpus=None):
        yield


@pytest.fixture
def small():
    with rd.config(partition_bytes=150, small_bytes=0, partitions=3, num_cpus=2):
        yield


def test_fragments_and_places(df, small) -> None:
    assert str(df.group_by("k").agg(col("t").median()).explain("physical", engine="ray")).startswith(
        "engine ray: engine='ray' was asked for\n"
        "cut for 2 CPUs (num_cpus of rd.config; no cluster is connected): 2 fragments, 1 exchange\n"
        "fragment 2: 3 tasks, 1 CPU each, about 1 row, 19.2 B\n"
        'GroupBy by [k] agg [t=col("t").median()] -- 3 partitions, about 1 row, 19.2 B\n'
        '  Shuffle by hash of [col("k")] to 3 partitions -- 3 partitions, about 12 rows, 192 B\n'
        "    fragment 1: 3 tasks, 1 CPU each, about 12 rows, 192 B\n"
        "    Select [k, t] -- 3 partitions, about 12 rows, 192 B\n"
        "      Pieces 3 of 12 rows -- 3 partitions, about 12 rows, 6.77 kB\n"
        "        InMemory 12 rows, 5 columns\n"
        "held in memory by each task: the rows that it receives and those that it gives\n"
        '  fragment 2: GroupBy by [k] agg [t=col("t").median()]: it holds one row of each group'
    )


def test_a_limit_says_that_not_all_tasks_may_run(df, small) -> None:
    text = str(df.filter(col("t") > 2).head(2).explain("physical", engine="ray"))
    assert "fragment 1: at most 3 tasks, as 2 rows are enough, 1 CPU each" in text
    assert "fragment 2: 1 task, 1 CPU each, about 2 rows" in text


def test_scans_report_what_they_read(logs: Path) -> None:
    imu = rd.read_log(str(logs), topic="/imu").filter(col("recording") == "b")
    text = str(imu.explain("physical", engine="ray"))
    assert "about 120 rows" in text
    assert "  | reads 1 file, " in text


def test_what_workers_are_asked_for(df) -> None:
    def same(batch: pl.DataFrame) -> pl.DataFrame:
        return batch

    text = str(df.map_batches(same, 5, num_gpus=1, concurrency=2).explain("physical", engine="ray"))
    assert "1 task, 1 CPU and 1 GPU each, in workers that stay for all of them, 2 at most" in text
    assert "1 task, 4 CPUs each, about" in str(df.map_batches(same, 5, num_cpus=4).explain("physical", engine="ray"))


@pytest.mark.parametrize("name", QUERIES)
def test_as_many_tasks_run_as_it_says(logs: Path, name: str) -> None:
    imu, cam = (rd.read_log(str(logs), topic=topic) for topic in ("/imu", "/cam"))
    _check(optimized(QUERIES[name](imu, cam)), Limits(cpus=2, partition_bytes=3000, small_bytes=0))


@pytest.mark.parametrize(
    "make",
    [
        lambda d, o: d.sort("x").with_row_index().filter(col("t") > 3),
        lambda d, o: d.join(o, on="k").group_by("s").agg(col("y").sum()),
        lambda d, o: d.dedup("k").head(2),
        lambda d, o: d.map_batches(_same, 5).select(col("t").sum()),
        lambda d, o: rd.concat([d.select("k"), o.select("k")]).unique(),
        lambda d, o: d.select("t").join(o.select("y"), how="cross"),
        lambda d, o: d.cache().filter(col("t") > 3),
        lambda d, o: (lambda m: m.join(m.filter(col("t") > 1), on="k"))(d.group_by("k").agg(col("t").median())),
        lambda d, o: d.sort("t").head(2),
    ],
)
@pytest.mark.parametrize("small_bytes", [0, 200, 1 << 20])
def test_as_many_tasks_run_as_it_says_of_exchanges(df, other, make, small_bytes: int) -> None:
    _check(optimized(make(df, other)), Limits(cpus=2, partition_bytes=150, small_bytes=small_bytes, partitions=3))


def _same(batch: pl.DataFrame) -> pl.DataFrame:
    return batch


def _check(plan, limits: Limits) -> None:
    done = cut(plan, limits)
    said = sum(f.tasks for f in fragments(done).values())
    for n in plans(done.plan):
        if isinstance(n, ByRange):  # the rows are cut once their sample is known
            said += done.items[id(n.input)].place.parts
        assert f"{n.label()} -- " in describe(done, "2 CPUs") or id(n) not in done.items
    stages = Stages(Here(), Job(Settings()))
    list(stages.frames(stages.parts(done.plan), done.plan.schema))
    ran = sum(report.tasks for report in stages.reports)
    assert ran <= said if any(f.limit is not None for f in fragments(done).values()) else ran == said


def test_every_operator_has_a_place(df, small) -> None:
    frame = df.with_columns(m=col("t").sum().over("k")).sort("m").head(8).dedup("s")
    for line in str(frame.explain("physical", engine="ray")).splitlines():
        operator = not line.lstrip().startswith(("engine ", "cut for", "fragment ", "| ", "InMemory", "held in"))
        assert not operator or " partition" in line


# -- which engine, and why ------------------------------------------------------------------------------------------


def test_local_plans_say_nothing_of_engines_where_there_is_no_choice(df) -> None:
    for asked in (None, "auto", "local"):
        text = str(df.explain("physical", engine=asked))
        assert text.startswith("one fragment, engine local: a Polars query on the streaming engine\nInMemory")


def test_where_a_cluster_is_known_the_estimate_is_told(logs: Path, monkeypatch) -> None:
    imu = rd.read_log(str(logs), topic="/imu")
    with rd.config(address="10.0.0.1:6379"):
        size = engine.bytes_read(optimized(imu))
        assert size > 1000
        text = str(imu.explain("physical"))
        assert text.startswith(f"engine local: it reads about {size:,} bytes, less than 8,589,934,592\none fragment")
        assert str(imu.explain("physical", engine="local")).startswith("one fragment")
        monkeypatch.setattr(engine, "WORTH_A_CLUSTER", 1000)
        assert str(imu.explain("physical")).startswith(
            f"engine ray: it reads about {size:,} bytes, 1,000 or more\n"
            "cut for 8 CPUs (no cluster is connected, which may have more or fewer): 1 fragment, 0 exchanges\n"
        )


def test_the_setting_counts_where_nothing_is_asked_for(df) -> None:
    with rd.config(engine="ray", num_cpus=3):
        assert "cut for 3 CPUs (num_cpus of rd.config; no cluster is connected)" in df.explain("physical")
        assert str(df.explain("physical", engine="local")).startswith("one fragment")
        assert "engine ray" not in df.explain("optimized")
        assert "== physical ==\nengine ray: " in df.explain()


def test_without_a_name_it_is_this_machine(df) -> None:
    assert "(of this machine; no cluster is connected)" in df.explain("physical", engine="ray")


def test_engines_that_there_are_not(df) -> None:
    with pytest.raises(OptionError, match="did you mean 'ray'"):
        df.explain(engine="rey")


# -- other forms ----------------------------------------------------------------------------------------------------


def test_mermaid_and_html_show_the_cut_plan(df, small) -> None:
    frame = df.group_by("k").agg(col("t").median())
    text = frame.explain("physical", format="mermaid", engine="ray")
    assert "Shuffle by hash" in text
    assert frame.explain("physical", engine="ray").mermaid() == str(text)
    assert "Shuffle" not in frame.explain("physical", format="mermaid")
    assert "Shuffle" not in frame.explain("optimized", format="mermaid", engine="ray")
    said = frame.explain("physical", engine="ray")
    assert said._repr_html_() == f"<pre>{html.escape(str(said))}</pre>"
    with rd.config(engine="ray"):
        assert "Shuffle by hash" in frame._repr_html_()


def test_nothing_runs_and_nothing_is_started(logs: Path) -> None:
    def fail(batch: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("executed")

    frame = rd.read_log(str(logs), topic="/imu").select("x").map_batches(fail, 10, schema={"x": pl.Float64})
    assert "fragment 1" in frame.explain("physical", engine="ray")  # `import ray` fails in these tests


def test_of_kept_rows_nothing_below_is_shown(df, small) -> None:
    kept = df.sort("x").cache()
    assert "Sort" in kept.explain("physical", engine="ray")
    kept.collect(engine="local")
    assert "Sort" not in kept.explain("physical", engine="ray")


def test_below_a_checkpoint_that_is_there_nothing_is_shown(df, small, tmp_path: Path) -> None:
    kept = df.sort("x").checkpoint(str(tmp_path / "kept"))
    _check(optimized(kept.filter(col("t") > 3)), Limits(cpus=2, partition_bytes=150, small_bytes=0, partitions=3))
    frame = df.sort("x").checkpoint(str(tmp_path / "other")).filter(col("t") > 3)
    text = str(frame.explain("physical", engine="ray"))
    assert "3 fragments, 1 exchange" in text
    assert "Sort" in text
    frame.collect(engine="local")
    text = str(frame.explain("physical", engine="ray"))
    assert "1 fragment, 0 exchanges" in text
    assert "12 rows are there" in text
    assert "Sort" not in text
    _check(optimized(frame), Limits(cpus=2, partition_bytes=150, small_bytes=0, partitions=3))


@pytest.mark.ray
def test_the_connected_cluster_says_its_processors(ray_cluster, df) -> None:
    frame = df.group_by("k").agg(col("t").sum())
    assert "\ncut for 3 CPUs (of the connected cluster): " in frame.explain("physical", engine="ray")
    assert str(frame.explain("physical")).startswith("engine local: it reads about 0 bytes, less than ")
