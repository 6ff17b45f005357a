"""YAML texts as dicts, lists and scalars, within bounds.

Built from the parser's events, since constructors resolve tags and merge keys, by which a small hostile file becomes a
large one, or an object of any class. A value behind an alias counts each time that it occurs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from robodf.errors import FileFormatError

MOST_BYTES = 16 << 20
_MOST_NODES = 100_000  # the metadata of a recording of 1,000 topics with their QoS has a third of it
_MOST_DEPTH = 64

# YAML 1.2, core schema (10.3.2). What OpenCV and YAML 1.1 write besides: 1., .5
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,250}")  # none beyond what a float can be
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,5})?")
_NAMED: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_OPENCV = re.compile(r"\A\ufeff?%YAML:[^\n]*\n(---[^\n]*\n)?")


def typed(text: str) -> Any:
    """The value of a plain scalar: null, a boolean, a number, or the text.

    >>> [typed(t) for t in ("3", "0x10", "1e-3", "yes", "~")]
    [3, 16, 0.001, 'yes', None]
    """
    if text in _NAMED:
        return _NAMED[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def untyped(text: str) -> Any:
    """A plain scalar as text, but for null."""
    return None if text in ("~", "null", "Null", "NULL") else text


def documents(data: bytes | str, name: str, scalar: Callable[[str], Any] = typed) -> Iterator[Any]:
    """The documents of a YAML text, those of OpenCV's FileStorage (`%YAML:1.0`) too.

    Plain scalars are what `scalar` makes of them, quoted ones texts; tags are ignored. The names behind anchors are
    kept: yaml-cpp writes them for values that occur twice.

    Raises:
        FileFormatError: no YAML, not UTF-8, more than 16 MiB, 100,000 values or 64 levels.

    >>> list(documents("a: 1\\n---\\nb: [x, ~]", "x.yaml"))
    [{'a': 1}, {'b': ['x', None]}]
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(data) > MOST_BYTES:
        raise FileFormatError(f"{name}: has more than {MOST_BYTES} bytes, which is no YAML that a person or tool keeps")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{name}: is not UTF-8 text: {error}") from None
    if _OPENCV.match(text):  # OpenCV writes no space after the colon there, and reads `data:[`
        text = _OPENCV.sub("", text).replace("data:[", "data: [")
    try:
        yield from _built(YAML(typ="safe", pure=True).parse(text), name, scalar)
    except (YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{name}: is not valid YAML: {str(error)[:500]}") from None


def _built(events: Any, name: str, scalar: Callable[[str], Any]) -> Iterator[Any]:
    from ruamel.yaml.events import (
        AliasEvent,
        DocumentEndEvent,
        DocumentStartEvent,
        MappingEndEvent,
        MappingStartEvent,
        ScalarEvent,
        SequenceEndEvent,
        SequenceStartEvent,
    )

    anchors: dict[str, tuple[Any, int]] = {}  # what is behind them, and how many values that is
    stack: list[tuple[Any, list, int, Any]] = []  # what is being built, its items so far, where it began, its anchor
    root: Any = None
    nodes = 0
    for event in events:
        size = 1
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            made: Any = {} if isinstance(event, MappingStartEvent) else []
            if len(stack) >= _MOST_DEPTH:
                raise FileFormatError(f"{name}: is nested more than {_MOST_DEPTH} deep")
            stack.append((made, [], nodes, event.anchor))
            if event.anchor:
                anchors[event.anchor] = (made, 0)
            continue
        if isinstance(event, ScalarEvent):
            value: Any = scalar(event.value) if event.style is None else event.value
            if event.anchor:
                anchors[event.anchor] = (value, 1)
        elif isinstance(event, AliasEvent):
            if event.anchor not in anchors:
                raise FileFormatError(f"{name}: refers to an anchor that it does not define")
            value, size = anchors[event.anchor]
            if not size:
                raise FileFormatError(f"{name}: a value holds itself")
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            value, items, start, anchor = stack.pop()
            if isinstance(value, list):
                value.extend(items)
            else:
                value.update(zip(map(_key, items[::2]), items[1::2]))
            if anchor and anchors[anchor][0] is value:  # and not another that took its name meanwhile
                anchors[anchor] = (value, nodes - start + 1)
        elif isinstance(event, DocumentStartEvent):
            anchors, root, nodes = {}, None, 0
            continue
        elif isinstance(event, DocumentEndEvent):
            yield root
            continue
        else:
            continue
        nodes += size
        if nodes > _MOST_NODES:
            raise FileFormatError(f"{name}: has more than {_MOST_NODES} values")
        if stack:
            stack[-1][1].append(value)
        else:
            root = value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else "" if key is None or isinstance(key, (dict, list)) else str(key)
