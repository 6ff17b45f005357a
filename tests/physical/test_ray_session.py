"""Connecting to Ray, and what is checked before nodes get work."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest

import robodf as rd
from robodf.config import Settings, settings
from robodf.errors import OptionError, VersionMismatchError
from robodf.physical import ray_session
from robodf.physical.ray_session import connect, preflight


def test_settings_are_checked() -> None:
    for wrong in (
        {"address": ""},
        {"address": 6379},
        {"num_cpus": 0},
        {"num_cpus": 1.5},
        {"partition_bytes": 0},
        {"partition_bytes": None},
        {"small_bytes": -1},
        {"partitions": 0},
        {"partitions": True},
        {"retries": 0},
        {"threads": "2"},
        {"progress": None},
        {"engine": "rai"},
    ):
        before = settings()
        with pytest.raises(OptionError, match=next(iter(wrong))):
            rd.config(**wrong)
        assert settings() is before
    with rd.config(address="auto", partitions=3, small_bytes=0, num_cpus=None) as made:
        assert (made.address, made.partitions, made.small_bytes, made.retries) == ("auto", 3, 0, 4)
    assert Settings().partition_bytes == 256 << 20


def test_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from robodf.config import settings; print(settings().engine, settings().address)"

    def said(**environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        return run.stdout.strip() or run.stderr.strip().splitlines()[-1]

    assert said(ROBODF_ENGINE="ray", ROBODF_ADDRESS="10.0.0.1:6379") == "ray 10.0.0.1:6379"
    assert "the environment variable ROBODF_ENGINE: engine='rai'; did you mean 'ray'?" in said(ROBODF_ENGINE="rai")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'robodf\[ray\]'"):
        connect()


def test_an_address_where_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    ray.shutdown()
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with rd.config(address=address), pytest.raises(ConnectionError, match=rf"{address}.*rd.config.*ray status"):
            connect()
        monkeypatch.setenv("RAY_ADDRESS", f"ray://{address}")
        with pytest.raises(ConnectionError, match=rf"ray://{address}.*RAY_ADDRESS.*10001"):
            connect()
        with rd.config(num_cpus=1), pytest.raises(OptionError, match=r"num_cpus=1 .*RAY_ADDRESS.*leave one"):
            connect()
    assert not ray.is_initialized()


@pytest.mark.ray
def test_a_local_instance_is_started_once_and_quietly() -> None:
    code = (
        "import robodf as rd\n"
        "from robodf.physical.ray_session import connect, preflight\n"
        "with rd.config(num_cpus=1):\n"
        "    first = connect()\n"
        "    preflight(first)\n"
        "assert connect() == first\n"
        "print(first.cpus, len(first.nodes), first.memory > 0, first.object_store_memory > 0)\n"
        "import ray; print(ray.get(ray.remote(lambda: 1).remote()))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "1.0 1 True True\n1\n"
    assert said.stderr == ""


@pytest.mark.ray
def test_the_cluster_of_the_process_is_used_and_checked_once(ray_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with rd.config(address="203.0.113.1:1"):  # the process is connected already
        cluster = connect()
    assert cluster.address == ray_cluster.address
    assert (cluster.cpus, cluster.gpus, len(cluster.nodes)) == (3.0, 0, 3)
    assert cluster.object_store_memory == 3 * (150 << 20)

    monkeypatch.setattr(ray_session, "_checked", set())
    preflight(cluster)
    assert ray_session._checked == {node.id for node in cluster.nodes}
    monkeypatch.setattr(ray_session, "_reporter", None)  # a second time nothing is asked
    preflight(cluster)


@pytest.mark.ray
@pytest.mark.parametrize("name", ["polars", "robodf", "python", "hashes"])
def test_another_version_is_refused(ray_cluster: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(ray_session, "_checked", set())
    real = ray_session._reporter()
    # The first is shipped to the nodes, the second says what the driver is.
    asked = iter([real, lambda: {**real(), name: "0.0"}])
    monkeypatch.setattr(ray_session, "_reporter", lambda: next(asked))
    cluster = connect()
    with pytest.raises(VersionMismatchError) as caught:
        preflight(cluster)
    for node in cluster.nodes:
        assert f"{node.host} ({node.id[:8]})" in str(caught.value)
    assert ("hash otherwise" if name == "hashes" else "instead of 0.0") in str(caught.value)
    assert not ray_session._checked


@pytest.mark.ray
def test_nodes_without_robodf_and_nodes_that_join_later() -> None:
    from ray_cluster import new_cluster

    def without_robodf() -> None:
        import sys

        sys.modules["robodf"] = None  # type: ignore[assignment]

    refused = pytest.raises(VersionMismatchError, match=r"robodf cannot be imported there(.|\n)*runtime_env")
    with new_cluster(nodes=1, worker_setup=without_robodf), refused:
        preflight(connect())

    with new_cluster(nodes=1) as cluster:
        preflight(connect())
        before = set(ray_session._checked)
        cluster.add_node(num_cpus=1)
        preflight(connect())
        assert len(ray_session._checked - before) == 1
