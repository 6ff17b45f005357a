"""Settings that hold for a process or for a `with` block."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any

from robodf.errors import OptionError, hint

ENGINES = ("auto", "local")


@dataclass(frozen=True)
class Settings:
    """What `rd.config(...)` sets.

    engine: where queries run; `auto` is `local` in this version. progress: a bar on work of more than two seconds.
    threads: workers that read the chunks of logs; None for one a core.
    """

    engine: str = "auto"
    progress: bool = True
    threads: int | None = None


def _from_environment() -> Settings:
    return Settings(
        engine=os.environ.get("ROBODF_ENGINE", "auto"),
        progress=os.environ.get("ROBODF_PROGRESS", "1") != "0",
    )


_settings: ContextVar[Settings | None] = ContextVar("robodf_settings", default=None)
_process = _from_environment()


def settings() -> Settings:
    """The settings in force."""
    return _settings.get() or _process


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
        if "engine" in options:
            check_engine(options["engine"])
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


def check_engine(engine: str) -> str:
    """`engine`, or OptionError where it is none that this version has."""
    if engine not in ENGINES:
        raise OptionError(f"engine={engine!r}{hint(engine, ENGINES)} This version has: {', '.join(ENGINES)}")
    return engine
