"""The engine that a query was asked to run on: by an argument, or by settings, which in threads of Polars do not hold.

A node takes it where it is lowered, and says it again where Polars calls it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from robodf.config import engine_asked

_asked: ContextVar[str | None] = ContextVar("robodf_engine_asked", default=None)


def engine() -> str:
    """The engine that was asked for: that of the block, or else of the settings."""
    return _asked.get() or engine_asked()


@contextmanager
def during(name: str) -> Iterator[None]:
    """What is lowered and computed in this block is for this engine."""
    token = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(token)
