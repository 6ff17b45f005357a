"""Ray clusters for tests: several nodes on this machine, each with its own object store.

A conftest imports both fixtures: `from tests.ray_cluster import kept_cluster, ray_cluster`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

STORE = 150 << 20  # bytes of shared memory for each node; Ray takes no less than 75 MiB


@contextlib.contextmanager
def new_cluster(
    *,
    nodes: int = 2,
    cpus: int = 1,
    object_store_memory: int = STORE,
    worker_setup: Callable[[], None] | None = None,
    system_config: dict[str, Any] | None = None,
) -> Iterator[Any]:
    """A cluster of its own that this process is connected to: `ray.cluster_utils.Cluster`, which can add_node and
    remove_node. A connection to another ends.

    `worker_setup` is called in each worker before its first task: there a test patches what is to fail. It stands
    alone: it imports what it uses, and is defined in the test's function.
    """
    import ray

    ray.shutdown()
    cluster = _started(nodes, cpus, object_store_memory, system_config)
    try:
        _connect(cluster, {"worker_process_setup_hook": worker_setup} if worker_setup is not None else None)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="session")
def kept_cluster() -> Iterator[Any]:
    """Three nodes of one CPU each, for the whole session; `ray_cluster` connects to it."""
    import ray

    cluster = _started(3, 1, STORE, None)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def ray_cluster(kept_cluster: Any) -> Any:
    """Three nodes of one CPU each, which this process is connected to."""
    import ray

    if not ray.is_initialized() or ray.get_runtime_context().gcs_address != kept_cluster.address:
        ray.shutdown()
        _connect(kept_cluster, None)
    return kept_cluster


def _started(nodes: int, cpus: int, object_store_memory: int, system_config: dict[str, Any] | None) -> Any:
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for number in range(nodes):
            head = {"include_dashboard": False, "no_monitor": True, "_system_config": system_config or {}}
            cluster.add_node(
                num_cpus=cpus,
                object_store_memory=object_store_memory,
                include_log_monitor=False,
                **(head if number == 0 else {}),
            )
    except BaseException:
        cluster.shutdown()
        raise
    return cluster


def _connect(cluster: Any, runtime_env: dict[str, Any] | None) -> None:
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=runtime_env)
