"""Settings that hold for a process or for a `with` block."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any

from robodf.errors import OptionError, hint

ENGINES = ("auto", "local", "ray", "gpu")
GPU = ("auto", "always", "never")


def check_engine(engine: str) -> str:
    """`engine`, or OptionError where it is none that this version has."""
    if engine not in ENGINES:
        raise OptionError(f"engine={engine!r}{hint(engine, ENGINES)} This version has: {', '.join(ENGINES)}")
    return engine


@dataclass(frozen=True)
class Settings:
    """What `rd.config(...)` sets.

    engine: where queries run: `local` in this process, `ray` on a Ray cluster, `gpu` in this process with all on its
    GPU that can run there, `auto` chooses. gpu: what of a query goes to GPUs with the engines `auto` and `ray`: `auto`
    what is expected to be faster there, `always` all that can run there (DeviceError where there is no GPU), `never`
    nothing. progress: a bar on work of more than two seconds. threads: workers that read the chunks of logs; None for
    one a core.

    For engine="ray". address: of the cluster, as `ray.init` takes it ("auto" for the one that runs on this machine);
    None for that of RAY_ADDRESS, or without it an instance on this machine, started when it is first needed. num_cpus:
    of that instance; None for all. partition_bytes: what one task should read or hold. small_bytes: inputs of fewer
    bytes are gathered rather than shuffled, and broadcast in joins. partitions: a fixed number of hash partitions; None
    for as many as the size asks for. retries: attempts at reading or writing where a network or a disk fails. num_gpus:
    what of a GPU a task gets whose work goes there, such as 0.25 for four at once; 0 for none, as gpu="never".
    """

    engine: str = "auto"
    progress: bool = True
    threads: int | None = None
    address: str | None = None
    num_cpus: int | None = None
    partition_bytes: int = 256 << 20
    small_bytes: int = 32 << 20
    partitions: int | None = None
    retries: int = 4
    num_gpus: float = 1.0
    gpu: str = "auto"

    def __post_init__(self) -> None:
        check_engine(self.engine)
        if not isinstance(self.progress, bool):
            raise OptionError(f"progress={self.progress!r}: True or False")
        if self.address is not None and (not isinstance(self.address, str) or not self.address.strip()):
            raise OptionError(
                f"address={self.address!r}: the text that ray.init takes, such as '10.0.0.1:6379' or 'auto'"
            )
        if (
            isinstance(self.num_gpus, bool)
            or not isinstance(self.num_gpus, (int, float))
            or not 0 <= self.num_gpus <= 1
        ):
            raise OptionError(f"num_gpus={self.num_gpus!r}: the share of a GPU that a task gets, from 0 to 1")
        if self.gpu not in GPU:
            raise OptionError(f"gpu={self.gpu!r}{hint(str(self.gpu), GPU)} It is one of {', '.join(GPU)}")
        if self.gpu == "always" and not self.num_gpus:
            raise OptionError("gpu='always' gives tasks a share of a GPU, and num_gpus=0 none: change one of the two")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in _MAY_BE_NONE:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                unset = ", or None" if name in _MAY_BE_NONE else ""
                raise OptionError(f"{name}={value!r}: an integer of at least {least}{unset}")


_LEAST = {"threads": 1, "num_cpus": 1, "partition_bytes": 1, "small_bytes": 0, "partitions": 1, "retries": 1}
_MAY_BE_NONE = ("threads", "num_cpus", "partitions")


def _engine_from_environment() -> str:
    engine = os.environ.get("ROBODF_ENGINE", "auto")
    try:
        return check_engine(engine)
    except OptionError as error:
        raise OptionError(f"the environment variable ROBODF_ENGINE: {error}") from None


def _from_environment() -> Settings:
    return Settings(
        engine=_engine_from_environment(),
        progress=os.environ.get("ROBODF_PROGRESS", "1") != "0",
        address=os.environ.get("ROBODF_ADDRESS") or None,
    )


_settings: ContextVar[Settings | None] = ContextVar("robodf_settings", default=None)
_process = _from_environment()


def settings() -> Settings:
    """The settings in force."""
    return _settings.get() or _process


def engine_asked(engine: str | None = None) -> str:
    """The engine that a query is asked to run on, with what the setting `gpu` makes of it.

    "auto" is "gpu" where that is "always", and "local" where it is "never" (or, with a cluster, "ray").
    """
    asked = check_engine(engine or settings().engine)
    return {"always": "gpu", "never": "local"}.get(settings().gpu, asked) if asked == "auto" else asked


class config:
    """Set options for the process, or for a block when used with `with`.

    >>> import robodf as rd
    >>> with rd.config(progress=False):
    ...     rd.from_dict({"a": [1]}).collect().shape
    (1, 1)
    """

    def __init__(self, **options: Any):
        global _process
        known = [f.name for f in fields(Settings)]
        for name in options:
            if name not in known:
                raise OptionError(f"no setting {name!r}{hint(name, known)} Settings: {', '.join(known)}")
        self._before, self._token = _process, None
        self._new = replace(settings(), **options)
        _process = self._new

    def __enter__(self) -> Settings:
        global _process
        _process = self._before
        self._token = _settings.set(self._new)
        return self._new

    def __exit__(self, *exc: object) -> None:
        if self._token is not None:
            _settings.reset(self._token)
