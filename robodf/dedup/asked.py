"""The engine that a query was asked to run on, in whatever thread computes it: Polars calls sources in threads of its
own, in which the settings of a `with rd.config(...)` block do not hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from robodf.config import settings

_asked: ContextVar[str | None] = ContextVar("robodf_engine_asked", default=None)


def engine() -> str:
    """The engine that was asked for: by `asked`, or else by the settings."""
    return _asked.get() or settings().engine


@contextmanager
def asked(name: str) -> Iterator[None]:
    """What is computed in this block is for a query that was made while this engine was set."""
    token = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(token)
