"""The libraries of the extra `gpu`, imported where they are first needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from robodf.errors import DeviceError

INSTALL = "pip install 'robodf[gpu]' (for a driver of CUDA 13: 'robodf[gpu-cu13]')"


def library(name: str, where: str | None = None) -> ModuleType:
    """A module of the extra, such as "rmm"; DeviceError (at the user's line, or `where`) where it cannot be imported.

    >>> library("a_library_that_nobody_has")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    DeviceError: a_library_that_nobody_has is not installed: pip install 'robodf[gpu]'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise DeviceError(f"{missing} is not installed: {INSTALL}", where) from error
    except (ImportError, OSError) as error:  # one of its own shared libraries is missing, or of another CUDA
        raise DeviceError(f"{name} cannot be loaded ({error}): {INSTALL}", where) from error
