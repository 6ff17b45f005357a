"""What a text is whose name does not say: only what could hardly be anything else."""

from __future__ import annotations

import codecs
import re

_PROLOGUE = rb"(?:\s|<\?xml[^>]*\?>|<!--.*?-->)*"
_URDF = re.compile(_PROLOGUE + rb"<robot[\s>]", re.DOTALL)
_SDF = re.compile(_PROLOGUE + rb"<sdf[\s>]", re.DOTALL)
_ARRAY = re.compile(rb'\s*\[\s*\{\s*["}]')
_OBJECT = re.compile(rb'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:', re.DOTALL)


def is_json(head: bytes, size: int) -> bool:
    """An array of objects, or one object over several lines.

    >>> is_json(b'[{"a": 1},', 100), is_json(b'{"a": 1}', 8), is_json(b'{\\n  "a": 1\\n}', 12)
    (True, False, True)
    """
    text = _plain(head)
    return bool(_ARRAY.match(text)) or (bool(_OBJECT.match(text)) and not is_ndjson(head, size))


def is_ndjson(head: bytes, size: int) -> bool:
    """Objects of which each has a line. The first may be longer than what is looked at.

    >>> is_ndjson(b'{"a": 1}\\n{"a": 2}\\n', 18), is_ndjson(b'{"a": [\\n1]}', 11)
    (True, False)
    """
    text = _plain(head).lstrip()
    first, newline, _ = text.partition(b"\n")
    whole = bool(newline) or len(head) == size
    return bool(_OBJECT.match(text)) and (first.rstrip().endswith(b"}") or not whole)


def is_yaml(head: bytes, size: int) -> bool:
    """Text with the directive of YAML, or the one that OpenCV writes."""
    return _plain(head).startswith((b"%YAML ", b"%YAML:"))


def is_urdf(head: bytes, size: int) -> bool:
    """XML of which the root is a robot."""
    return bool(_URDF.match(_plain(head)))


def is_sdf(head: bytes, size: int) -> bool:
    """XML of which the root is SDFormat's."""
    return bool(_SDF.match(_plain(head)))


def _plain(head: bytes) -> bytes:
    return head.removeprefix(codecs.BOM_UTF8)
