"""A name for what a plan computes: the same in every process and on every machine that would compute the same.

Finished pieces of a query are kept under this name, so it errs on one side only: two plans that may compute different
rows never share it, while a change that happens to change no row (a docstring of a user's function, another order of a
dict) may give another name, and the pieces are computed again.
"""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import functools
import pickle
import re
import sys
import types
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from inspect import CO_NESTED, getattr_static
from typing import Any

import numpy as np
import polars as pl

import robodf
from robodf.errors import OptionError
from robodf.io.source import Source
from robodf.physical.key_code import own_module, own_name, read_globals, read_imports, version
from robodf.physical.key_rows import hash_series
from robodf.plan.base import Plan
from robodf.plan.node import Node

_FORMAT = "robodf plan 1"  # raise the number when the way to the key changes: old pieces are then not found
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{4,}")
_PYTHON_INSIDE = b"PLPYFN"  # what Polars writes before a pickled function
_READS = re.compile(r"^\s*(?:[\w-]+ )?(?:SCAN|DATASET|PYTHON|OPAQUE_PYTHON)\b", re.MULTILINE)
# A token of an hour must not be part of a name that lasts. What the files hold is told by their size and etag.
_CREDENTIAL = re.compile(r"key|secret|token|passw|credential|sas|auth|bearer", re.IGNORECASE)
# Of a class: what says nothing about its methods, or is made anew, in another order, by each process.
_NOT_METHODS = frozenset(
    """__dict__ __weakref__ __module__ __doc__ __qualname__ __firstlineno__ __static_attributes__ __annotations__
    __annotate__ __annotate_func__ __annotations_cache__ __abstractmethods__ _abc_impl __dataclass_fields__
    __dataclass_params__ __match_args__ __orig_bases__ __parameters__ robodf_key""".split()
)
_CANNOT_REDUCE = (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError, pickle.PicklingError)


def plan_key(plan: Plan) -> str:
    """40 hex digits that name what `plan` computes.

    It differs when an operator, an expression, an option, a source file (path, size, time of change or etag), a frame's
    rows, or a user's function differs: its code, constants, defaults, closed-over values, and, of the user's own
    modules, the functions, classes and constants that it refers to, and so on. It differs too between versions of
    robodf and Polars and minor versions of Python. Names and lines of functions do not matter; credentials do not.

    Raises OptionError for a value that no other process could tell to be the same: a lock, an object that cannot be
    pickled, a LazyFrame that reads files. An attribute `robodf_key = "text"` of a function, class or object names it,
    and so does a method `__robodf_key__() -> str` of a class for its objects.

    What it cannot see: a user's compiled modules, and what a function looks up by name (`getattr`, `eval`) or reads
    from files. Put a `robodf_key` there that changes with it.

    >>> import robodf as rd
    >>> df = rd.from_dict({"speed": [0.5, 1.5]})
    >>> fast, again, slow = (df.filter(rd.col("speed") > s)._plan for s in (1, 1, 2))
    >>> plan_key(fast) == plan_key(again), plan_key(fast) == plan_key(slow), len(plan_key(fast))
    (True, False, 40)
    """
    versions = (_FORMAT, robodf.__version__, pl.__version__, f"{sys.version_info.major}.{sys.version_info.minor}")
    whole = blake2b("\0".join(versions).encode(), digest_size=20)
    whole.update(_Digests().node(plan))
    return whole.hexdigest()


class _Digests:
    """The digests of the nodes and frames met so far. What is met is kept alive, or its id could be another's."""

    def __init__(self) -> None:
        self.nodes: dict[int, tuple[Node, bytes]] = {}
        self.frames: dict[int, tuple[Any, bytes]] = {}

    def node(self, root: Node) -> bytes:
        """Without recursion: a plan may be thousands of nodes deep."""
        stack = [root]
        while stack:
            top = stack[-1]
            if id(top) in self.nodes:
                stack.pop()
                continue
            missing = [child for child in top.children() if id(child) not in self.nodes]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            self.nodes[id(top)] = (top, self._of_fields(top))
        return self.nodes[id(root)][1]

    def _of_fields(self, node: Node) -> bytes:
        walk = _Walk(self)
        try:
            walk.type(type(node))
            for name, value in zip(node._fields, node.field_values()):
                walk.part(f"{type(node).__name__}.{name}", value)
            return walk.digest()
        except RecursionError:
            where = (*walk.where, type(node).__name__)[0]
            raise OptionError(f"{where}: its values are nested too deep to be named for a checkpoint") from None


class _Walk:
    """One value and all that it holds as a stream of tagged tokens with lengths, hashed.

    Functions, classes, containers and objects are numbered when first met: what is met again, in a cycle or because it
    is shared, is that number. Tuples, texts and numbers are not, since Python is free to share them or not.
    """

    def __init__(self, digests: _Digests, where: tuple[str, ...] = (), seen: dict | None = None):
        self.digests = digests
        self.hash = blake2b(digest_size=32)
        self.where = list(where)
        self.seen: dict[int, tuple[int, Any]] = dict(seen or {})
        self.objects = 0  # how many objects of unknown classes it is inside of
        self.later: deque[tuple[list[str], Callable[[Any], None], Any]] = deque()

    def digest(self) -> bytes:
        """After the functions and classes that were met, in the order of meeting: not inside of each other, since the
        ways through a user's modules are longer than Python's stack."""
        while self.later:
            self.where, walk, value = self.later.popleft()
            self.objects = 0
            walk(value)
        return self.hash.digest()

    # -- tokens -----------------------------------------------------------------------------------------------

    def token(self, kind: str, data: bytes | str = b"") -> None:
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        self.hash.update(f"{kind} {len(data)} ".encode())
        self.hash.update(data)

    def part(self, name: str, value: Any) -> None:
        """A value with its place, which errors name."""
        self.where.append(name)
        self.value(value)
        self.where.pop()

    def met(self, value: Any) -> bool:
        """True where the value was met before; its number is then the token."""
        if id(value) in self.seen:
            self.token("again", str(self.seen[id(value)][0]))
            return True
        self.seen[id(value)] = (len(self.seen), value)
        return False

    def nameless(self, value: Any, why: str) -> OptionError:
        what = (
            getattr(value, "__qualname__", None) or f"an object of {type(value).__module__}.{type(value).__qualname__}"
        )
        return OptionError(
            f"{' > '.join(self.where)}: {what} cannot be told to be the same in another process ({why}). A checkpoint "
            "needs a name for it: set its attribute robodf_key to a text that changes whenever its results do, or give "
            "its class a method __robodf_key__() that returns one."
        )

    def named(self, value: Any, key: Any) -> bool:
        """True where the user gave the value a name."""
        if key is None:
            return False
        if not isinstance(key, str):
            raise OptionError(f"{' > '.join(self.where)}: robodf_key is a text, not {type(key).__name__}")
        self.token("named", key)
        return True

    # -- values -----------------------------------------------------------------------------------------------

    def value(self, value: Any) -> None:
        handle = _BY_TYPE.get(type(value))
        if handle is None:
            handle = next((method for kinds, method in _BY_KIND if isinstance(value, kinds)), _Walk.object)
        handle(self, value)

    def constant(self, value: Any) -> None:
        self.token(type(value).__name__, repr(value))  # bool, None, Ellipsis, NotImplemented

    def integer(self, value: int) -> None:
        self.token("int", hex(value))

    def text(self, value: str) -> None:
        if self.objects and _ADDRESS.search(value):
            raise self.nameless(value, f"it holds {value[:80]!r}, a place in memory")
        self.token("str", value)

    def real(self, value: float) -> None:
        self.token("float", value.hex())  # -0.0 is not 0.0, and nan is itself

    def complex(self, value: complex) -> None:
        self.token("complex", f"{value.real.hex()} {value.imag.hex()}")

    def binary(self, value: bytes | bytearray | memoryview) -> None:
        self.token(type(value).__name__, bytes(value))

    def node(self, value: Node) -> None:
        self.token("node", self.digests.node(value))

    def tuple(self, value: tuple) -> None:
        if type(value) is not tuple:
            self.type(type(value))
        self.token("tuple", str(len(value)))
        for item in value:
            self.value(item)

    def list(self, value: list) -> None:
        if not self.met(value):
            self.token("list", str(len(value)))
            for item in value:
                self.value(item)

    def dict(self, value: Any) -> None:
        """In its own order: it is part of what a function can see."""
        if not self.met(value):
            self.token("dict", str(len(value)))
            for key, item in value.items():
                self.value(key)
                self.value(item)

    def set(self, value: Any) -> None:
        if type(value) is set and self.met(value):
            return
        self.token(type(value).__name__, str(len(value)))
        for digest in sorted(self._alone(item) for item in value):
            self.token("item", digest)

    def _alone(self, item: Any) -> bytes:
        """Its digest, whatever its neighbours are: the order of a set is another one in each process."""
        walk = _Walk(self.digests, tuple(self.where), self.seen)
        walk.objects = self.objects
        walk.value(item)
        return walk.digest()

    # -- functions --------------------------------------------------------------------------------------------

    def function(self, f: types.FunctionType) -> None:
        if self.named(f, vars(f).get("robodf_key")) or self._of_library(f) or self.met(f):
            return
        self.token("function")
        self.later.append(([*self.where, f"function {f.__name__}"], self.function_body, f))

    def function_body(self, f: types.FunctionType) -> None:
        self.code(f.__code__)
        self.part("defaults", f.__defaults__)
        self.part("defaults", f.__kwdefaults__)
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or ()):
            try:
                inside = cell.cell_contents
            except ValueError:  # a function that refers to one defined after it
                self.token("empty")
            else:
                self.part(f"variable {name}", inside)
        if own_module(f.__globals__.get("__name__")):
            for path, found, value in read_globals(f):
                self.token("global" if found else "builtin", path)
                if found:
                    self.part(f"global {path}", value)
            for name, source in read_imports(f):
                self.token("import", name)
                self.token("source", source)
        for name in sorted(vars(f).keys() - {"__wrapped__"}):  # what it wraps is in a variable
            self.token("attribute", name)
            self.part(f"attribute {name}", vars(f)[name])

    def code(self, code: types.CodeType) -> None:
        """All but the places in files: names of the function, file and lines."""
        self.token("code", code.co_code)
        self.token("except", code.co_exceptiontable)
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~CO_NESTED)
        for value in (counts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            self.value(value)
        self.token("constants", str(len(code.co_consts)))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.code(constant)
            else:
                self.value(constant)

    def _of_library(self, thing: Any) -> bool:
        """True for what an installed library or Python itself has under a name: the name and version say all."""
        name = own_name(thing)
        if name is None or own_module(thing.__module__):
            return False
        self.token("library", f"{name} {version(thing.__module__)}")
        return True

    def method(self, method: types.MethodType) -> None:
        self.token("method")
        self.value(method.__self__)
        self.value(method.__func__)

    def builtin(self, f: Any) -> None:
        owner = getattr(f, "__self__", None)
        if owner is None or isinstance(owner, types.ModuleType):
            self.token("builtin", f"{f.__module__}.{f.__qualname__} {version(f.__module__)}")
        else:
            self.token("builtin method", f.__name__)
            self.value(owner)

    def slot(self, descriptor: Any) -> None:
        owner = descriptor.__objclass__
        if not own_module(owner.__module__):
            self.token("class", f"{owner.__module__}.{owner.__qualname__} {version(owner.__module__)}")
        self.token("slot", descriptor.__name__)

    def partial(self, f: functools.partial) -> None:
        self.token("partial")
        self.value(f.func)
        self.value(f.args)
        self.sorted(f.keywords)

    def wrapper(self, f: Any) -> None:
        """Descriptors and caches: the functions that they hold."""
        self.token(type(f).__name__)
        held = ("fget", "fset", "fdel") if isinstance(f, property) else ("__func__", "func", "__wrapped__")
        for name in held:
            self.value(getattr(f, name, None))

    # -- classes and objects ----------------------------------------------------------------------------------

    def type(self, cls: type) -> None:
        if issubclass(cls, pl.DataType):
            return self.token("dtype", repr(cls))
        if self.named(cls, vars(cls).get("robodf_key")) or self._of_library(cls) or self.met(cls):
            return None
        self.token("class")
        self.later.append(([*self.where, f"class {cls.__name__}"], self.class_body, cls))
        return None

    def class_body(self, cls: type) -> None:
        if type(cls) is not type:
            self.value(type(cls))
        self.value(cls.__bases__)
        if issubclass(cls, enum.Enum):
            self._members(cls)
        else:
            for name in sorted(vars(cls).keys() - _NOT_METHODS):
                self.token("member", name)
                self.part(name, vars(cls)[name])

    def _members(self, cls: type[enum.Enum]) -> None:
        for name, member in cls.__members__.items():
            self.token("member", name)
            self.part(name, member._value_)
        for name, value in sorted(vars(cls).items()):
            if isinstance(value, (types.FunctionType, property, staticmethod, classmethod)) and name[:2] != "__":
                self.token("method", name)
                self.part(name, value)

    def member(self, value: enum.Enum) -> None:
        self.type(type(value))
        self.token("member", str(value.name))
        self.value(value._value_)

    def module(self, value: types.ModuleType) -> None:
        """A library's; a user's own is followed to what is read of it (`read_globals`)."""
        self.token("module", f"{value.__name__} {version(value.__name__)}")

    def known_dataclass(self, value: Any) -> None:
        """A source, or another record of robodf: the fields that it is compared by, and so never its logs."""
        self.type(type(value))
        for field in dataclasses.fields(value):
            if field.compare:
                found = getattr(value, field.name)
                self.token("field", field.name)
                if field.name == "storage":
                    found = _public(found)
                self.part(f"{type(value).__name__}.{field.name}", found)

    def object(self, value: Any) -> None:
        """Anything else: what pickle would keep of it, walked in a fixed order."""
        kind: Any = type(value)
        ours = isinstance(value, Source) or kind.__module__.startswith("robodf.")
        if ours and hasattr(kind, "__dataclass_fields__"):
            return self.known_dataclass(value)
        ask = getattr_static(kind, "__robodf_key__", None)
        key = kind.__robodf_key__(value) if ask is not None else getattr(value, "__dict__", {}).get("robodf_key")
        if self.named(value, key) or self.met(value):
            return None
        reducer: Any = copyreg.dispatch_table.get(kind)
        try:
            reduced: Any = reducer(value) if reducer else value.__reduce_ex__(4)
        except _CANNOT_REDUCE as error:
            raise self.nameless(value, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
        if isinstance(reduced, str):
            module = getattr(value, "__module__", None) or type(value).__module__
            return self.token("library", f"{module}.{reduced} {version(module)}")
        self.objects += 1
        self.seen[id(reduced)] = (-1, reduced)  # kept alive: the ids of its parts must not be given out again
        make, args, state, items, pairs = (*reduced, None, None, None)[:5]
        self.token("object")
        self.value(make)
        self.value(args)
        self.state(value, state)
        for kind, iterator in (("items", items), ("pairs", pairs)):
            held = [] if iterator is None else list(iterator)
            self.seen[id(held)] = (-1, held)
            self.token(kind, str(len(held)))
            for item in held:
                self.value(item)
        self.objects -= 1
        return None

    def state(self, value: Any, state: Any) -> None:
        state = {} if state is None else state  # an object that has no attributes yet
        if isinstance(state, tuple) and len(state) == 2 and all(s is None or isinstance(s, dict) for s in state):
            self.state(value, state[0])  # of a class with __slots__
            self.state(value, state[1])
        elif isinstance(state, dict) and all(isinstance(name, str) for name in state):
            derived = functools.cached_property
            kept = {n: v for n, v in state.items() if not isinstance(getattr_static(type(value), n, None), derived)}
            self.sorted(kept)
        else:
            self.value(state)

    def sorted(self, names: dict[str, Any]) -> None:
        """Attributes or named arguments, whose order says nothing."""
        self.token("names", str(len(names)))
        for name in sorted(names):
            self.token("name", name)
            self.part(name, names[name])

    # -- rows -------------------------------------------------------------------------------------------------

    def dtype(self, value: Any) -> None:
        self.token("dtype", repr(value))

    def frame(self, value: pl.DataFrame) -> None:
        if id(value) not in self.digests.frames:
            walk = _Walk(self.digests, tuple(self.where))
            walk.token("frame", f"{value.height} {value.width}")
            for column in value.get_columns():
                walk.series(column)
            self.digests.frames[id(value)] = (value, walk.digest())
        self.token("frame", self.digests.frames[id(value)][1])

    def series(self, value: pl.Series) -> None:
        self.token("series", value.name)
        self.dtype(value.dtype)
        hash_series(value, self.token, self.value)

    def lazy_frame(self, value: pl.LazyFrame) -> None:
        data = self._serialized(value, value.serialize)
        if _READS.search(value.explain(optimized=False)):
            raise OptionError(
                f"{' > '.join(self.where)}: a LazyFrame of Polars that reads files or calls Python does not say "
                "whether they changed, so a checkpoint cannot name it: read the files with rd.read_parquet and the "
                "like, or collect() it first"
            )
        self.token("lazy", data)

    def expr(self, value: pl.Expr) -> None:
        self.token("expr", self._serialized(value, value.meta.serialize))

    def _serialized(self, value: Any, serialize: Callable[[], Any]) -> bytes:
        try:
            data = bytes(serialize())
        except (pl.exceptions.PolarsError, *_CANNOT_REDUCE) as error:
            raise self.nameless(value, str(error).splitlines()[0]) from error
        if _PYTHON_INSIDE in data:
            raise OptionError(
                f"{' > '.join(self.where)}: an expression of Polars that calls a Python function cannot be named for a "
                'checkpoint: write rd.col("x").map_elements(...) instead of pl.col, or use df.map_batches'
            )
        return data

    # -- NumPy ------------------------------------------------------------------------------------------------

    def array(self, value: np.ndarray) -> None:
        if type(value) is not np.ndarray:
            return self.object(value)
        self.token("array", f"{value.dtype.descr!r} {value.shape}")
        if value.dtype.hasobject or value.dtype.kind == "T":  # NumPy's texts are places in memory too
            if not self.met(value):
                for item in value.ravel().tolist():
                    self.value(item)
        elif value.size and value.dtype.itemsize:
            self.hash.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return None

    def scalar(self, value: np.generic) -> None:
        self.token("scalar", f"{value.dtype.descr!r}")
        self.token("bytes", value.tobytes())


def _public(options: Any) -> tuple:
    """Storage options, as pairs or a dict, without what proves who asks."""
    pairs = options.items() if isinstance(options, dict) else options
    kept = [(name, value) for name, value in pairs if not _CREDENTIAL.search(str(name))]
    return tuple((name, _public(value) if isinstance(value, dict) else value) for name, value in kept)


_CACHED = type(functools.lru_cache(len))
_SLOTS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType,
          types.GetSetDescriptorType, types.MemberDescriptorType)  # fmt: skip
_BY_TYPE: dict[type, Callable[[_Walk, Any], None]] = {
    type(None): _Walk.constant, bool: _Walk.constant, type(...): _Walk.constant, type(NotImplemented): _Walk.constant,
    int: _Walk.integer, str: _Walk.text, float: _Walk.real, complex: _Walk.complex, bytes: _Walk.binary,
    bytearray: _Walk.binary, memoryview: _Walk.binary, list: _Walk.list, dict: _Walk.dict,
    types.MappingProxyType: _Walk.dict, set: _Walk.set, frozenset: _Walk.set, functools.partial: _Walk.partial,
}  # fmt: skip
_BY_KIND: tuple[tuple[Any, Callable[[_Walk, Any], None]], ...] = (
    (Node, _Walk.node),
    (enum.Enum, _Walk.member),
    (np.generic, _Walk.scalar),
    (tuple, _Walk.tuple),
    (pl.DataType, _Walk.dtype),
    (type, _Walk.type),
    (types.FunctionType, _Walk.function),
    (types.MethodType, _Walk.method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), _Walk.builtin),
    (_SLOTS, _Walk.slot),
    ((staticmethod, classmethod, property, functools.cached_property, _CACHED), _Walk.wrapper),
    (types.ModuleType, _Walk.module),
    (pl.DataFrame, _Walk.frame),
    (pl.LazyFrame, _Walk.lazy_frame),
    (pl.Series, _Walk.series),
    (pl.Expr, _Walk.expr),
    (np.ndarray, _Walk.array),
)
