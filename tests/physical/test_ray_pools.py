"""Workers that stay: models are made once a worker, GPUs are shared in fractions, no more run at once than allowed."""

from __future__ import annotations

import sys

import polars as pl
import pytest
from ray_cluster import new_cluster

import robodf as rd

pytestmark = pytest.mark.ray


def _told(path):
    return [line.split() for line in path.read_text().splitlines()]


@pytest.mark.timeout(180)
def test_models_stay_with_their_workers_and_share_a_gpu(tmp_path) -> None:
    path = tmp_path / "told"

    class Model:
        def __init__(self) -> None:
            import os

            import ray

            self.gpus = ",".join(map(str, ray.get_gpu_ids()))
            with open(path, "a") as file:
                file.write(f"made {os.getpid()} {self.gpus}\n")

        def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
            import os

            with open(path, "a") as file:
                file.write(f"called {os.getpid()} {self.gpus}\n")
            return batch.with_columns(y=pl.col("a") * 2)

    with new_cluster(nodes=1, cpus=2) as cluster:
        cluster.add_node(num_cpus=1, num_gpus=1, include_log_monitor=False, object_store_memory=100 << 20)
        import ray

        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        frame = rd.from_polars(pl.DataFrame({"a": list(range(400))}))
        schema = {"a": pl.Int64, "y": pl.Int64}
        with rd.config(engine="ray", partition_bytes=200, small_bytes=0, progress=False):
            half = frame.map_batches(Model, 25, schema=schema, preserves_rows=True, num_gpus=0.5, num_cpus=0.5)
            assert half.collect()["y"].to_list() == [2 * n for n in range(400)]
            made = [line for line in _told(path) if line[0] == "made"]
            assert 1 <= len(made) <= 2  # two workers of half a GPU, for 16 partitions
            assert {line[2] for line in made} == {"0"}
            assert len(_told(path)) - len(made) == 16
            path.write_text("")
            one = frame.map_batches(Model, 25, schema=schema, preserves_rows=True, concurrency=1)
            assert one.collect().height == 400
            assert len({line[1] for line in _told(path)}) == 1
            # The workers are gone: nothing keeps the processors from the next query.
            assert frame.group_by("a").len().collect().height == 400


@pytest.mark.timeout(180)
def test_a_worker_that_dies_makes_its_model_again(tmp_path) -> None:
    mark = tmp_path / "died"

    class Fragile:
        def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
            import os

            if batch["a"][0] == 200 and not mark.exists():
                mark.write_text("")
                os._exit(1)
            return batch

    with new_cluster(nodes=1, cpus=2):
        import ray

        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        frame = rd.from_polars(pl.DataFrame({"a": list(range(400))}))
        with rd.config(engine="ray", partition_bytes=200, small_bytes=0, progress=False):
            found = frame.map_batches(Fragile, 25, preserves_rows=True).collect()
    assert mark.exists()
    assert found["a"].to_list() == list(range(400))
