"""Where tasks run: the one interface, and the runner that runs them in this process, one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from robodf.config import settings
from robodf.gpu.facts import Facts
from robodf.physical.task import Job, Meta, Output, run_task
from robodf.plan.base import Plan
from robodf.plan.flat import FlatPlan

Handle = Any
"""What a runner knows a block by."""


class Runner(ABC):
    """Takes tasks, keeps their blocks, and tells what they said."""

    name: str
    slots: int  # how many tasks run at once

    @abstractmethod
    def put(self, block: Any) -> Handle:
        """A block of the driver's own."""

    @abstractmethod
    def get(self, handle: Handle) -> Any:
        """A block, brought here."""

    @abstractmethod
    def submit(self, job: Job, plan: Plan, output: Output, blocks: Mapping[int, Handle]) -> tuple[Any, list[Handle]]:
        """Start a task. What to wait for, and the handles that its blocks will have."""

    @abstractmethod
    def done(self, waiting: Sequence[Any]) -> list[Any]:
        """Those that are done, the same objects; waits until there is one."""

    @abstractmethod
    def meta(self, done: Any) -> Meta:
        """What a task that is done said of itself."""

    @abstractmethod
    def cancel(self, waiting: Sequence[Any]) -> None:
        """Stop tasks that nobody needs any more."""

    def gpu(self) -> Facts | None:
        """The GPU that a task may have the share `num_gpus` of, or why there is none; None where none is wanted."""
        return None

    @property
    def gpu_always(self) -> bool:
        """Whether all goes to the GPU that can run there, whatever is expected of it."""
        return settings().gpu == "always"

    def spilled_bytes(self) -> int:
        """Bytes of blocks that lie on disk now because memory ended; it may take a while to ask."""
        return 0

    def end_stage(self) -> None:
        """No more tasks like those before will come: what was kept for them can go."""
        return


class Here(Runner):
    """Tasks in this process. Plans travel through pickle as on a cluster, so nothing can depend on being here.

    `facts` are those of the GPU that tasks may use, which with `forced` do all that can run there.
    """

    name = "local"
    slots = 1

    def __init__(self, travel: bool = False, facts: Facts | None = None, forced: bool = False):
        self.travel, self._facts, self._forced = travel, facts, forced

    def gpu(self) -> Facts | None:
        return self._facts

    @property
    def gpu_always(self) -> bool:
        return self._forced

    def put(self, block: Any) -> Handle:
        return block

    def get(self, handle: Handle) -> Any:
        return handle

    def submit(self, job: Job, plan: Plan, output: Output, blocks: Mapping[int, Handle]) -> tuple[Any, list[Handle]]:
        flat = FlatPlan(plan)
        if self.travel:
            import pickle

            import cloudpickle

            flat, output = pickle.loads(cloudpickle.dumps((flat, output)))  # noqa: S301 - our own bytes
        answer = run_task(job, flat, output, tuple(blocks), *blocks.values())
        return answer[0], list(answer[1:])

    def done(self, waiting: Sequence[Any]) -> list[Any]:
        return list(waiting)

    def meta(self, done: Any) -> Meta:
        return done

    def cancel(self, waiting: Sequence[Any]) -> None:
        return None
