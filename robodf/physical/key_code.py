"""Of a user's function: whose code it is, and what of other modules it reads."""

from __future__ import annotations

import dis
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

_INSTALLED = {"site-packages", "dist-packages"}
_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: absent where C code declares the class
_ABSENT = object()


def own_module(name: str | None) -> bool:
    """Whether a module is the user's own: its code can change while its name and version stay."""
    if not isinstance(name, str):
        return True
    top = name.partition(".")[0]
    if top in ("__main__", "__mp_main__"):
        return True
    if top == "robodf" or top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return False
    module = sys.modules.get(name) or sys.modules.get(top)
    file = getattr(module, "__file__", None)
    return file is None or not _INSTALLED & set(Path(file).parts)


def own_name(thing: Any) -> str | None:
    """`module.name` of a function or class that is found under it, else None: it was made by another function."""
    if isinstance(thing, type) and not thing.__flags__ & _HEAP_TYPE:
        return f"{thing.__module__}.{thing.__qualname__}"
    found: Any = sys.modules.get(thing.__module__ or "")
    for part in thing.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(part)
        found = getattr(found, "__func__", found)  # of a static or class method
    return f"{thing.__module__}.{thing.__qualname__}" if found is thing else None


@cache
def version(module: str | None) -> str:
    """The version of the library that a module belongs to; empty where it states none."""
    top = (module or "").partition(".")[0]
    if top in sys.stdlib_module_names:
        return ""
    stated = vars(sys.modules[top]).get("__version__") if top in sys.modules else None
    if isinstance(stated, str):
        return stated
    try:
        return importlib.metadata.version(top)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""


def read_globals(f: types.FunctionType) -> Iterator[tuple[str, bool, Any]]:
    """`(name, found, value)` of each global that the function or one defined in it reads, in the order of the code.

    Where it is a module of the user's own, what is read of the module: `helpers.scale` and not `helpers`. The source of
    the whole module where it is not read by attribute. A name that is not found is a builtin, or comes later.
    """
    seen = set()
    for path in _paths(f.__code__):
        if path in seen:
            continue
        seen.add(path)
        value, used = f.__globals__.get(path[0], _ABSENT), 1
        while isinstance(value, types.ModuleType) and own_module(value.__name__) and used < len(path):
            value, used = vars(value).get(path[used], _ABSENT), used + 1
        if isinstance(value, types.ModuleType) and own_module(value.__name__):
            value = _source(value.__name__)
        yield ".".join(path[:used]), value is not _ABSENT, None if value is _ABSENT else value


def _paths(code: types.CodeType) -> Iterator[tuple[str, ...]]:
    path: tuple[str, ...] = ()
    for step in dis.get_instructions(code):
        if step.opname in _ATTRIBUTES and path:
            path += (step.argval,)
        elif step.opname != "EXTENDED_ARG":
            if path:
                yield path
            path = (step.argval,) if step.opname in _LOADS else ()
    if path:
        yield path
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _paths(constant)


def read_imports(f: types.FunctionType) -> Iterator[tuple[str, str]]:
    """`(module, digest of its source)` of the user's own modules that are imported inside the function.

    Nothing is imported for it: the answer must be the same before and after the function ran.
    """
    for level, names, name in _imports(f.__code__):
        package = f.__globals__.get("__package__") or ""
        try:
            module = importlib.util.resolve_name("." * level + name, package)
        except ImportError:  # the function will say so when it runs
            continue
        for wanted in (module, *(f"{module}.{n}" for n in names)):
            source = _source(wanted)
            if source is not None:
                yield wanted, source


def _imports(code: types.CodeType) -> Iterator[tuple[int, tuple[str, ...], str]]:
    steps = list(dis.get_instructions(code))
    for i, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level, names = steps[i - 2].argval, steps[i - 1].argval
            yield (level if isinstance(level, int) else 0), tuple(names or ()), step.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _imports(constant)


def _source(name: str) -> str | None:
    """The digest of a module's file, found without importing it; None where there is none, or it is a library's."""
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names or parts[0] == "robodf":
        return None
    where, origin = None, None
    for i in range(len(parts)):
        full = ".".join(parts[: i + 1])
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
        spec = next((s for finder in finders if (s := finder.find_spec(full, where)) is not None), None)
        if spec is None:
            return None
        where, origin = spec.submodule_search_locations, spec.origin
    if origin is None or _INSTALLED & set(Path(origin).parts) or not Path(origin).is_file():
        return None
    return blake2b(Path(origin).read_bytes()).hexdigest()
