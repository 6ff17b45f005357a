"""What rosbags makes of a CDR message, as plain values that compare with robodf's columns."""

from __future__ import annotations

from typing import Any

import polars as pl
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

TIMES = ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration")
FILLER = "structure_needs_at_least_one_member"
# What rosbags was seen to raise for payloads that do not fit.
FAILURES: tuple[type[Exception], ...]


def _failures() -> tuple[type[Exception], ...]:
    from rosbags.serde import SerdeError

    return (SerdeError, IndexError)


FAILURES = _failures()


def store_with(text: str, name: str) -> Any:
    """A type store with the definitions of a .msg text, and the usual ones for what it does not define."""
    found = get_types_from_msg(text, name)
    store = get_typestore(Stores.EMPTY)
    known = get_typestore(Stores.LATEST).fielddefs
    store.register({**{k: v for k, v in known.items() if k not in found}, **found})
    return store


def values(store: Any, name: str, message: Any) -> dict[str, Any]:
    """The fields of a message: times in ns (None where not valid), bytes for uint8[], no fillers."""
    found = {}
    for field, (kind, what) in store.fielddefs[name][1]:
        if field == FILLER:
            continue
        attribute = getattr(message, field, None) if hasattr(message, field) else getattr(message, field + "_")
        if kind in (1, 2):
            value = _single(store, kind, what, attribute)
        else:
            (inner_kind, inner), size = what
            if inner_kind == 1 and inner[0] in ("uint8", "byte", "char") and kind == 4 and size == 0:
                value = attribute.tobytes()
            elif inner_kind == 1 and inner[0] != "string":
                unsigned = inner[0] in ("byte", "char")
                value = (attribute.view("u1") if unsigned else attribute).tolist()
            else:
                value = [_single(store, inner_kind, inner, item) for item in attribute]
        if value != {} and not _only_empty(store, kind, what):
            found[field] = value
    return found


def _only_empty(store: Any, kind: int, what: Any) -> bool:
    name = what[0][1] if kind in (3, 4) and what[0][0] == 2 else what
    return isinstance(name, str) and all(
        field == FILLER or _only_empty(store, *description) for field, description in store.fielddefs[name][1]
    )


def _single(store: Any, kind: int, what: Any, value: Any) -> Any:
    if kind == 1:
        return value & 0xFF if what[0] == "byte" else value
    if what in TIMES:
        return value.sec * 10**9 + value.nanosec if value.nanosec < 10**9 else None
    return values(store, what, value)


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain values, times in ns."""
    return frame.cast({name: _plain(dtype) for name, dtype in frame.schema.items()}).to_dicts()


def _plain(dtype: Any) -> Any:
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: _plain(f.dtype) for f in dtype.fields})
    if isinstance(dtype, pl.List):
        return pl.List(_plain(dtype.inner))
    if isinstance(dtype, pl.Array):
        return pl.List(_plain(dtype.inner))
    return pl.Int64() if isinstance(dtype, pl.Datetime | pl.Duration) else dtype


def same(left: Any, right: Any) -> bool:
    """Equality in which NaN is NaN."""
    return repr(left) == repr(right)
