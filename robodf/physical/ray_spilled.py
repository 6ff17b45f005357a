"""How much of the object store lies on disk, because memory ended."""

from __future__ import annotations

from typing import Any

from robodf.physical.ray_session import Cluster


def spilled_bytes(cluster: Cluster) -> int:
    """Bytes that the nodes of a cluster have on disk now for blocks that did not fit into memory."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0)(_on_disk)
    asked = []
    for node in cluster.nodes:
        here = NodeAffinitySchedulingStrategy(node.id, soft=True)  # a node that left has nothing on disk
        asked.append(look.options(scheduling_strategy=here).remote(node.id))
    told: list[Any] = ray.get(asked)
    return sum(told)


def _on_disk(node: str) -> int:
    import glob
    import os

    import ray._private.worker as worker

    # Ray has no public figure without its dashboard; the folder has the node in its name.
    session = worker._global_node.get_session_dir_path()  # type: ignore[union-attr]
    sizes = []
    for path in glob.glob(os.path.join(glob.escape(session), f"ray_spilled_objects_{node}", "*")):
        try:
            sizes.append(os.path.getsize(path))
        except FileNotFoundError:  # brought back meanwhile
            continue
    return sum(sizes)
