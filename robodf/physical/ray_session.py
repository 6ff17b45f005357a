"""The Ray cluster that queries run on: connected to when first needed, and checked before it gets work."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from robodf.config import settings
from robodf.errors import OptionError, VersionMismatchError, listing

_ANSWER_WITHIN = 10.0  # seconds for a first connection: Ray itself would try for minutes
_REPORT_WITHIN = 120.0  # seconds in which every node must run one small task: it may have to start a worker first
_COMPARED = ("robodf", "polars", "python")
_checked: set[str] = set()


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, as Ray sees it: what it offers in all, not what is free."""

    id: str
    host: str
    cpus: float
    gpus: float
    memory: int  # bytes for tasks
    object_store_memory: int  # bytes of shared memory for blocks


@dataclass(frozen=True)
class Cluster:
    """The nodes that were alive when it was asked for."""

    address: str
    nodes: tuple[Node, ...]

    @property
    def cpus(self) -> float:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    @property
    def memory(self) -> int:
        return sum(node.memory for node in self.nodes)

    @property
    def object_store_memory(self) -> int:
        return sum(node.object_store_memory for node in self.nodes)


def connect() -> Cluster:
    """The cluster that this process is connected to; connects where it is not.

    To the address of the settings or of RAY_ADDRESS; without one it starts an instance on this machine, which stays for
    the next query and ends with the process. Where the process called `ray.init` already, that is used. ImportError
    without Ray; ConnectionError where nothing answers at the address; OptionError for `num_cpus` of a cluster that
    runs already.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ImportError("engine='ray' needs Ray: pip install 'robodf[ray]'") from error

    if not ray.is_initialized():
        wanted = settings()
        address = wanted.address or os.environ.get("RAY_ADDRESS") or "local"
        if address == "local":
            # Named, as Ray without an address would join whatever cluster runs on this machine.
            with _few_threads():
                _start(address="local", num_cpus=wanted.num_cpus, include_dashboard=False)
        elif wanted.num_cpus is not None:
            raise OptionError(
                f"num_cpus={wanted.num_cpus} is for an instance on this machine, but {_origin(address)} names a "
                "cluster that has its own: leave one of the two out"
            )
        else:
            _reach(address)
            _start(address=address)
    return Cluster(ray.get_runtime_context().gcs_address, tuple(_alive()))


def preflight(cluster: Cluster) -> None:
    """Raise VersionMismatchError where a node does not run this robodf, Polars and Python, or hashes differently.

    Plans and blocks travel between nodes, and rows are cut into buckets by hash: another version would give wrong rows
    without an error. Each node is asked once in the life of the connection, by a task that needs no CPU.
    """
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    new = [node for node in cluster.nodes if node.id not in _checked]
    if not new:
        return
    ask = ray.remote(num_cpus=0, max_retries=3)(_reporter())
    asked = {
        node: ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote()
        for node in new
    }
    _, late = ray.wait(list(asked.values()), num_returns=len(asked), timeout=_REPORT_WITHIN)
    late = set(late)
    here, wrong = _reporter()(), []
    for node, answer in asked.items():
        try:
            told: Any = ray.get(answer, timeout=0 if answer in late else _REPORT_WITHIN)
        except (RayError, GetTimeoutError) as error:
            if node.id not in {n.id for n in _alive()}:
                continue  # it left meanwhile, and gets no work
            why = f"no answer within {_REPORT_WITHIN:.0f} s" if answer in late else str(error)
            raise ConnectionError(f"Ray cannot run a task on the node {node.host} ({node.id[:8]}): {why}") from None
        differs = _differences(here, told)
        if differs:
            wrong.append(f"{node.host} ({node.id[:8]}): {differs}")
        else:
            _checked.add(node.id)
    if wrong:
        raise VersionMismatchError(
            "every node must run what the driver runs "
            f"({listing(f'{k} {v}' for k, v in here.items() if k in _COMPARED)}):\n  "
            + "\n  ".join(wrong)
            + "\nInstall the driver's versions in the image of the nodes, or give them with "
            "ray.init(runtime_env={'pip': ['robodf[ray]==…', 'polars==…']})"
        )


def _reporter() -> Callable[[], dict[str, Any]]:
    """What a node says of itself: a function that stands alone, as Ray ships it to where robodf may be absent."""

    def report() -> dict[str, Any]:
        import importlib
        import sys

        told: dict[str, Any] = {"python": "{}.{}".format(*sys.version_info[:2])}
        for name in ("robodf", "polars", "pyarrow", "cloudpickle"):
            try:
                told[name] = importlib.import_module(name).__version__
            except ImportError as error:
                told[name], told[name + " error"] = None, str(error)
        if told["robodf"] is not None:
            blocks = importlib.import_module("robodf.physical.blocks")
            told["hashes"] = blocks.hash_probe()
        return told

    return report


def _differences(here: dict[str, Any], there: dict[str, Any]) -> str:
    """What a node has otherwise than the driver, in words; empty where nothing matters."""
    found = []
    for name in _COMPARED:
        if there[name] is None:
            found.append(f"{name} cannot be imported there ({there[name + ' error']})")
        elif there[name] != here[name]:
            found.append(f"{name} {there[name]} instead of {here[name]}")
    if not found and there["hashes"] != here["hashes"]:
        found.append("its processor makes Polars hash otherwise than here, so equal keys would not meet")
    return ", ".join(found)


def _alive() -> Iterator[Node]:
    import ray

    for told in ray.nodes():
        if told["Alive"]:
            has = told["Resources"]
            yield Node(
                told["NodeID"],
                told["NodeManagerHostname"],
                has.get("CPU", 0.0),
                has.get("GPU", 0.0),
                int(has.get("memory", 0)),
                int(has.get("object_store_memory", 0)),
            )


@contextlib.contextmanager
def _few_threads() -> Iterator[None]:
    """Workers that start in this block have Polars use two threads each: there is one worker for each processor.

    They inherit the environment. Ray's runtime_env would do it too, at the price of seconds for the first task.
    """
    name = "POLARS_MAX_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = "2"
    try:
        yield
    finally:
        del os.environ[name]


def _start(**options: Any) -> None:
    """`ray.init`, quiet, with its failures as ConnectionError. Whatever it has of authentication stays as it is."""
    import ray

    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        what = "an instance on this machine" if options["address"] == "local" else _origin(options["address"])
        raise ConnectionError(f"Ray could not be reached or started ({what}): {error}") from error


def _reach(address: str) -> None:
    """ConnectionError where nothing listens at an address of the form host:port."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # "auto" and names that Ray resolves itself
    host = host.strip("[]")
    hosts = [host]
    if host in ("localhost", "127.0.0.1", "::1"):
        import ray

        hosts.append(ray.util.get_node_ip_address())  # Ray listens there, and takes the loopback for it
    why: OSError | None = None
    for each in hosts:
        try:
            with contextlib.closing(socket.create_connection((each, int(port)), timeout=_ANSWER_WITHIN)):
                return
        except (OSError, OverflowError) as error:
            why = error if isinstance(error, OSError) else OSError(f"no such port: {port}")
    raise ConnectionError(
        f"nothing answers at {_origin(address)} ({why}). Check that the cluster runs (`ray status` on its head node), "
        "that host and port are those that `ray start` printed (6379 unless chosen; 10001 with ray://), and that no "
        "firewall is between. Without an address robodf starts Ray on this machine"
    )


def _origin(address: str) -> str:
    """The address and where it comes from."""
    if settings().address == address:
        return f"address={address!r} (of rd.config or ROBODF_ADDRESS)"
    return f"address {address!r} (of RAY_ADDRESS)"
