"""Stopping tasks on Ray that nobody needs any more: a task asks, before it begins and each second, whether it is one.

`ray.cancel` is not used: of a task that ends, or whose blocks arrive, at that moment it ends the driver, with force or
without ("Tried to complete task that was not pending", "submitted_task_ref_count > 0"; measured on Ray 2.60).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any

from robodf.physical.task import Job, Meta, Output, run_task
from robodf.plan.flat import FlatPlan

_ASKS_EVERY = 1.0  # seconds; a task that ends sooner is not worth the start of another process
_NAMESPACE = b"robodf-stopped"  # in the key-value store of the cluster: the ids of tasks


class Stopped:
    """The tasks that the driver stopped and that have not ended yet."""

    def __init__(self) -> None:
        self._refs: list[Any] = []

    def add(self, refs: Iterable[Any]) -> None:
        """Stop the tasks that give these objects: those that wait do not begin, others end with their process."""
        from ray.experimental.internal_kv import _internal_kv_put

        for ref in _not_done(list(refs)):
            _internal_kv_put(ref.task_id().binary(), b"1", namespace=_NAMESPACE)
            self._refs.append(ref)

    def forget_ended(self) -> None:
        """Take those that have ended from the store of the cluster."""
        from ray.experimental.internal_kv import _internal_kv_del

        waiting = _not_done(self._refs)
        for ref in set(self._refs) - set(waiting):
            _internal_kv_del(ref.task_id().binary(), namespace=_NAMESPACE)
        self._refs = waiting


def _not_done(refs: list[Any]) -> list[Any]:
    import ray

    return ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)[1] if refs else []


def run_while_needed(
    job: Job, plan: FlatPlan, output: Output, numbers: tuple[int, ...], *blocks: Any
) -> tuple[Any, ...]:
    """`run_task` on a worker of Ray, as long as the task is not stopped."""
    import ray

    task = bytes.fromhex(ray.get_runtime_context().get_task_id() or "")
    if _is_stopped(task):  # also the second attempt of one that ended with its process
        return (Meta(), *([None] * output.blocks))
    ended, lock = threading.Event(), threading.Lock()
    threading.Thread(target=_watch, args=(task, ended, lock), daemon=True).start()
    try:
        return run_task(job, plan, output, numbers, *blocks)
    finally:
        with lock:
            ended.set()


def _watch(task: bytes, ended: threading.Event, lock: threading.Lock) -> None:
    """End the process of a task that is stopped: native code and the user's cannot be interrupted otherwise."""
    while not ended.wait(_ASKS_EVERY):
        if _is_stopped(task):
            with lock:
                if not ended.is_set():  # else the process may have another task by now
                    os._exit(0)


def _is_stopped(task: bytes) -> bool:
    from ray.exceptions import RayError
    from ray.experimental.internal_kv import _internal_kv_exists

    try:
        return _internal_kv_exists(task, namespace=_NAMESPACE)
    except RayError:  # the head does not answer: whoever has to know will learn it from the task
        return False
