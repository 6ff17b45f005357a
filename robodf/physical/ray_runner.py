"""Tasks as Ray Core tasks: where they run, how often they are tried again and what is spilled is Ray's to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from robodf.config import settings
from robodf.errors import WorkerError
from robodf.gpu.facts import Facts, here
from robodf.gpu.translation import available
from robodf.physical.ray_pools import Pool, needs_pool, resources_of
from robodf.physical.ray_session import Cluster, connect, preflight
from robodf.physical.ray_spilled import spilled_bytes
from robodf.physical.ray_stopping import Stopped, run_while_needed
from robodf.physical.runner import Handle, Runner
from robodf.physical.task import Job, Meta, Output
from robodf.plan.base import Plan
from robodf.plan.flat import FlatPlan
from robodf.plan.spread import Resources

_PATIENCE = 60  # seconds until a GPU of the cluster is free to be asked for what it is
_FACTS: dict[tuple[str, float], Facts] = {}  # by the address of the cluster and the share of a GPU


class OnRay(Runner):
    """The workers of a Ray cluster.

    Blocks stay in Ray's object store, on the node that made them: it spills them to disk where memory ends, and makes
    them again by running their task again where a node is lost, which is why tasks are pure.
    """

    name = "ray"

    def __init__(self) -> None:
        self.cluster: Cluster = connect()  # without Ray it says what to install
        preflight(self.cluster)
        import ray

        self.slots = max(1, int(self.cluster.cpus))
        # The driver lends no CPU: what runs at once is bounded by what Ray has, and what waits by `slots`.
        self._task = ray.remote(num_cpus=1, max_retries=settings().retries, retry_exceptions=False)(run_while_needed)
        self._stopped = Stopped()
        self._pools: dict[Resources, Pool] = {}

    def put(self, block: Any) -> Handle:
        import ray

        return ray.put(block)

    def get(self, handle: Handle) -> Any:
        import ray

        with _ray_errors():
            return ray.get(handle)

    def submit(self, job: Job, plan: Plan, output: Output, blocks: Mapping[int, Handle]) -> tuple[Any, list[Handle]]:
        self._stopped.forget_ended()
        needed = resources_of(plan)
        if needed is not None and needs_pool(needed):
            return self._pool(needed).submit(job, plan, output, blocks)
        options = {} if needed is None or needed.num_cpus is None else {"num_cpus": needed.num_cpus}
        task: Any = self._task.options(num_returns=1 + output.blocks, **options)
        refs = task.remote(job, FlatPlan(plan), output, tuple(blocks), *blocks.values())
        return (refs[0], refs[1:]) if output.blocks else (refs, [])

    def done(self, waiting: Sequence[Any]) -> list[Any]:
        import ray

        refs = list(waiting)
        ray.wait(refs, num_returns=1, fetch_local=False)
        found, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        return found

    def _pool(self, needed: Resources) -> Pool:
        if needed not in self._pools:
            self._pools[needed] = Pool(needed, self.cluster, settings().retries)
        return self._pools[needed]

    def gpu(self) -> Facts | None:
        return gpu_of(self.cluster, _PATIENCE)

    def spilled_bytes(self) -> int:
        return spilled_bytes(self.cluster)

    def end_stage(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def meta(self, done: Any) -> Meta:
        for pool in self._pools.values():
            pool.finished(done)
        said = self.get(done)
        return said[0] if isinstance(said, tuple) else said  # of a task without blocks it is all that there is

    def cancel(self, waiting: Sequence[Any]) -> None:
        self._stopped.add(waiting)


def gpu_of(cluster: Cluster, patience: float) -> Facts | None:
    """What a task may have of the GPUs of a cluster, or why nothing; None where the settings want none.

    A worker is asked once which GPU it has, which waits until one is free, but no more than `patience` seconds.
    """
    share = float(settings().num_gpus)
    if not share or settings().gpu == "never":
        return None
    why = available() if cluster.gpus else "no node of the cluster has a GPU"
    if why is not None:
        return Facts(None, None, 1, why, share=share)
    key = cluster.address, share
    found = _FACTS.get(key) or _ask_a_worker(share, patience)
    if found is None:  # it may be free the next time
        return Facts(None, None, 1, f"no GPU of the cluster was free within {patience:g} s", share=share)
    _FACTS[key] = found
    # Each share of a GPU stands beside as many processors as there are for it.
    return replace(found, cpus=max(1, int(cluster.cpus * share / cluster.gpus)))


def _ask_a_worker(share: float, patience: float) -> Facts | None:
    import ray
    from ray import exceptions as of_ray

    asking: Any = ray.remote(num_cpus=0, num_gpus=share)(here)
    asked = asking.remote(share)
    try:
        with _ray_errors():
            return ray.get(asked, timeout=patience)
    except of_ray.GetTimeoutError:
        ray.cancel(asked, force=True)
        return None


class _ray_errors:
    """What Ray raises about a task, as an error that says what happened and what to do."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from ray import exceptions as of_ray

        if isinstance(error, of_ray.OutOfMemoryError):
            raise WorkerError(
                "a task was stopped because its node had no memory left: lower rd.config(partition_bytes=...), or "
                "raise partitions= so that each holds less"
            ) from error
        if isinstance(error, (of_ray.WorkerCrashedError, of_ray.NodeDiedError, of_ray.RayActorError)):
            raise WorkerError(
                f"a worker process died, and again each time that its task was tried again ({settings().retries} "
                "times): see the logs of Ray for why (memory, a crash in native code)"
            ) from error
        if isinstance(error, of_ray.ObjectLostError):
            raise WorkerError(
                f"rows between two steps were lost with their node, and could not be made again: {error}"
            ) from error
        if isinstance(error, of_ray.RayTaskError) and error.cause is not None:
            raise error.cause from error
