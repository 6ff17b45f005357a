"""Interned, immutable nodes: two equal nodes are one object.

Equality is `is`, so a common sub-plan is found for free, rewriting works by identity, and a node that travels
to another process is interned again there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform
from weakref import WeakValueDictionary

import polars as pl

if TYPE_CHECKING:
    from functools import cached_property as lazy
else:

    class lazy:
        """`functools.cached_property` without its lock (3.11 has one): two threads may compute the same value twice."""

        def __init__(self, function):
            self.function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner, name):
            self.name = name

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            value = vars(instance)[self.name] = self.function(instance)
            return value


_live: WeakValueDictionary[tuple, Any] = WeakValueDictionary()
_lock = threading.RLock()  # plans are built in threads too (notebooks, servers)

N = TypeVar("N", bound="Node")


class Pairs(tuple):
    """A dict as a node holds it: a tuple of (key, value) pairs."""

    __slots__ = ()


class _ById:
    """The key of a value that has no hash: the object itself, kept alive by the node that holds it."""

    __slots__ = ("value",)

    def __init__(self, value: object):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.value is self.value


def intern_key(value: Any) -> Any:
    """What makes two field values the same: 1, True and 1.0 stay apart, and so do 0.0 and -0.0."""
    if type(value) is str:  # most values are texts and nodes
        return value
    if isinstance(value, Node):
        return id(value)  # by identity: an expression's == builds an expression
    if isinstance(value, tuple):
        return (type(value), *map(intern_key, value))
    if value is None or type(value) in _PLAIN:
        return (type(value), value)
    if isinstance(value, float):
        return (type(value), value.hex())  # NumPy's is a float too, but a literal of another type in Polars
    if isinstance(value, (datetime, time)):
        return (type(value), value.isoformat(), value.fold, str(value.tzinfo))  # == ignores the zone
    if isinstance(value, Decimal):
        return (Decimal, str(value))  # == ignores the scale
    if isinstance(value, pl.Enum):
        return (pl.Enum, tuple(value.categories))
    if isinstance(value, (pl.DataType, type(pl.Int64))):
        return (pl.DataType, repr(value))  # == also accepts a class for its instance
    if isinstance(value, pl.Expr):
        return _ById(value)
    try:
        hash(value)
    except TypeError:
        return _ById(value)
    return (type(value), value)


_PLAIN = (int, bool)


class _Interning(type):
    _fields: tuple[str, ...]

    def __call__(cls, *args, **kwargs):
        names = cls._fields
        if kwargs or len(args) != len(names):  # the generated __init__ knows names and defaults
            args = super().__call__(*args, **kwargs).field_values()
        key = (cls, *map(intern_key, args))
        with _lock:
            found = _live.get(key)
            if found is None:
                found = object.__new__(cls)  # not __init__: setting the fields of a frozen class is slow
                state: Any = vars(found)
                state.update(zip(names, args))
                _live[key] = found
            return found


@dataclass_transform(frozen_default=True, eq_default=False)
def node(cls: type[N]) -> type[N]:
    """The class decorator of every node: a frozen dataclass, compared by identity."""
    made = dataclass(frozen=True, eq=False, repr=False)(cls)
    made._fields = tuple(f.name for f in fields(made))  # type: ignore[arg-type,attr-defined]
    return made


class Node(metaclass=_Interning):
    """A value made of fields; subclasses are declared with `@node`."""

    _fields: tuple[str, ...] = ()

    def field_values(self) -> tuple:
        values = vars(self)
        return tuple([values[name] for name in self._fields])

    def __reduce__(self):
        return type(self), self.field_values()

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def children(self) -> tuple[Node, ...]:
        """The nodes in its fields, in order, one entry per place (a self-join has the same child twice)."""
        return self._children

    @lazy
    def _children(self) -> tuple[Node, ...]:
        return tuple(_nodes_in(self.field_values()))

    def map(self: N, fn: Callable[[Any], Any]) -> N:
        """The node with `fn` applied to each child by position; itself where nothing changed."""
        old = self.field_values()
        new = tuple(_map_value(v, fn) for v in old)
        return self if all(a is b for a, b in zip(old, new)) else type(self)(*new)

    def replace(self: N, **changes: Any) -> N:
        """The node with some fields changed."""
        return type(self)(*(changes.get(name, getattr(self, name)) for name in self._fields))


def _map_value(value: Any, fn: Callable[[Any], Any]) -> Any:
    if isinstance(value, Node):
        return fn(value)
    if isinstance(value, tuple):
        new = [_map_value(v, fn) for v in value]
        return value if all(a is b for a, b in zip(value, new)) else type(value)(new)
    return value


def _nodes_in(value: Any) -> Iterator[Node]:
    for item in value:
        if isinstance(item, Node):
            yield item
        elif isinstance(item, tuple):
            yield from _nodes_in(item)


def walk(root: Node) -> Iterator[Node]:
    """Every node below and including `root`, each once, parents before children."""
    seen = {id(root)}
    stack = [root]
    while stack:
        top = stack.pop()
        yield top
        for child in reversed(top.children()):
            if id(child) not in seen:
                seen.add(id(child))
                stack.append(child)
