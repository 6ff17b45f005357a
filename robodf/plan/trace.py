"""Interim: replaced by the tracing of lambdas."""
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Traced:
    result: Any


@dataclass(frozen=True)
class Untraced:
    reason: str


def trace(function, schema):
    return Untraced("tracing is being written")
