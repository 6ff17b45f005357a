"""Workers that stay for a stage: for functions that are costly to make, need a GPU, or are held to a number at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robodf.physical.ray_session import Cluster
from robodf.physical.runner import Handle
from robodf.physical.task import Job, Output, run_task
from robodf.plan.base import Plan
from robodf.plan.flat import FlatPlan
from robodf.plan.node import walk
from robodf.plan.spread import Resources


def resources_of(plan: Plan) -> Resources | None:
    """What the functions in a task need together: they are called in one process, one after the other."""
    found = [n.resources for n in walk(plan) if isinstance(n, Plan) and n.resources is not None]
    if not found:
        return None
    cpus = [r.num_cpus for r in found if r.num_cpus is not None]
    most = [r.concurrency for r in found if r.concurrency is not None]
    return Resources(
        max(cpus, default=None), max(r.num_gpus for r in found), min(most, default=None), any(r.stateful for r in found)
    )


def needs_pool(needed: Resources) -> bool:
    """True where a plain task would make a model anew each time, or could not be held to a number at once."""
    return needed.stateful or needed.num_gpus > 0 or needed.concurrency is not None


class Worker:
    """A process that runs tasks one by one and keeps the users' objects between them."""

    def __init__(self) -> None:
        from robodf.plan.udf import keep_started

        keep_started()

    def run(self, job: Job, plan: FlatPlan, output: Output, numbers: tuple[int, ...], *blocks: Any) -> tuple[Any, ...]:
        return run_task(job, plan, output, numbers, *blocks)


class Pool:
    """The workers for one kind of resources; each gets the next task when it has the fewest waiting."""

    def __init__(self, needed: Resources, cluster: Cluster, retries: int):
        import ray

        cpus = 1.0 if needed.num_cpus is None else needed.num_cpus
        fitting = [cluster.cpus / cpus] if cpus else []
        fitting += [cluster.gpus / needed.num_gpus] if needed.num_gpus else []
        # One at least, even where nothing fits now: Ray then says what it waits for, or adds a node that has it.
        size = max(1, int(min(fitting, default=cluster.cpus)))
        if needed.concurrency is not None:
            size = min(size, needed.concurrency)
        make = ray.remote(Worker).options(
            num_cpus=cpus, num_gpus=needed.num_gpus, max_restarts=retries, max_task_retries=retries
        )
        self.workers: list[Any] = [make.remote() for _ in range(size)]
        self.waiting = [0] * size
        self._worker_of: dict[Any, int] = {}

    def submit(self, job: Job, plan: Plan, output: Output, blocks: Mapping[int, Handle]) -> tuple[Any, list[Handle]]:
        k = self.waiting.index(min(self.waiting))
        task = self.workers[k].run.options(num_returns=1 + output.blocks)
        refs = task.remote(job, FlatPlan(plan), output, tuple(blocks), *blocks.values())
        first, rest = (refs[0], refs[1:]) if output.blocks else (refs, [])
        self.waiting[k] += 1
        self._worker_of[first] = k
        return first, rest

    def finished(self, first: Any) -> None:
        k = self._worker_of.pop(first, None)
        if k is not None:
            self.waiting[k] -= 1

    def close(self) -> None:
        import ray

        for worker in self.workers:
            ray.kill(worker)
