"""What rosbags makes of CDR and ROS 1 messages, as plain values that compare with robodf's columns."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
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


def store_with(text: str, name: str, base: Stores = Stores.LATEST) -> Any:
    """A type store with the definitions of a .msg text, and the usual ones for what it does not define."""
    found = get_types_from_msg(text, name)
    store = get_typestore(Stores.EMPTY)
    known = get_typestore(base).fielddefs
    store.register({**{k: v for k, v in known.items() if k not in found}, **found})
    return store


def values(store: Any, name: str, message: Any, ros1: bool = False) -> dict[str, Any]:
    """The fields of a message: times in ns (None where not valid), bytes for uint8[], no fillers."""
    found = {}
    for field, (kind, what) in store.fielddefs[name][1]:
        if field == FILLER:
            continue
        attribute = getattr(message, field, None) if hasattr(message, field) else getattr(message, field + "_")
        if kind in (1, 2):
            value = _single(store, kind, what, attribute, ros1)
        else:
            (inner_kind, inner), size = what
            if inner_kind == 1 and inner[0] in ("uint8", "byte", "char") and kind == 4 and size == 0:
                value = attribute.tobytes()
            elif inner_kind == 1 and inner[0] != "string":
                unsigned = inner[0] in ("byte", "char")
                value = (attribute.view("u1") if unsigned else attribute).tolist()
            else:
                value = [_single(store, inner_kind, inner, item, ros1) for item in attribute]
        if value != {} and not _only_empty(store, kind, what):
            found[field] = value
    return found


def _only_empty(store: Any, kind: int, what: Any) -> bool:
    name = what[0][1] if kind in (3, 4) and what[0][0] == 2 else what
    return isinstance(name, str) and all(
        field == FILLER or _only_empty(store, *description) for field, description in store.fielddefs[name][1]
    )


def _single(store: Any, kind: int, what: Any, value: Any, ros1: bool) -> Any:
    if kind == 1:
        return value & 0xFF if what[0] == "byte" else value
    if what in TIMES:
        return _stamp(what, value.sec, value.nanosec, ros1)
    return values(store, what, value, ros1)


def _stamp(kind: str, sec: int, nanosec: int, ros1: bool) -> int | None:
    # rosbags reads the numbers of ROS 1 as if they were those of ROS 2.
    if ros1 and kind == TIMES[0]:
        sec %= 2**32
    if ros1 and kind == TIMES[1] and nanosec >= 2**31:
        nanosec -= 2**32
    return sec * 10**9 + nanosec if abs(nanosec) < 10**9 else None


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


SCALARS = ["bool", "byte", "char", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
SCALARS += ["float32", "float64", "string", "string"]
STAMPS = ["builtin_interfaces/Time", "builtin_interfaces/Duration"]
BRACKETS = ["", "", "[]", "[3]", "[<=4]"]
RANGES = {"byte": (-128, 127), "char": (0, 255)}


def random_schema(rng: random.Random, ros1: bool = False) -> str:
    """A message x/A over x/B over x/C with every kind of field, in random order, so with every alignment."""
    scalars = SCALARS + (["time", "duration"] if ros1 else STAMPS)
    brackets = BRACKETS[:4] if ros1 else BRACKETS
    parts = []
    below: list[str] = []
    for name in ("C", "B", "A"):
        lines = []
        for k in range(rng.randrange(1, 6)):
            kind = rng.choice(below if below and rng.random() < 0.5 else scalars)
            lines.append(f"{kind}{rng.choice(brackets)} f{k}\n")
        parts.insert(0, f"MSG: x/{name}\n{''.join(lines)}")
        below.append(f"x/{name}")
    return ("=" * 80 + "\n").join(parts).removeprefix("MSG: x/A\n")


def random_message(store: Any, name: str, rng: random.Random) -> Any:
    fields = []
    for _, (kind, what) in store.fielddefs[name][1]:
        if kind in (1, 2):
            fields.append(random_value(store, kind, what, rng))
            continue
        (inner_kind, inner), size = what
        items = [random_value(store, inner_kind, inner, rng) for _ in range(size if kind == 3 else rng.randrange(4))]
        if inner_kind == 1 and inner[0] != "string":
            dtype = {"bool": "?", "byte": "i1", "char": "u1"}.get(inner[0], inner[0])
            items = np.array(items, dtype=dtype)
        fields.append(items)
    return store.types[name](*fields)


def random_value(store: Any, kind: int, what: Any, rng: random.Random) -> Any:
    if kind == 2:
        return random_message(store, what, rng)
    name = what[0]
    if name == "bool":
        return rng.random() < 0.5
    if name == "string":
        return rng.choice(["", "a", "käse", "\0", "日本語" * 3, "x" * rng.randrange(20)])
    if name.startswith("float"):
        return rng.choice([0.0, -1.5, float("inf"), float("nan"), float(rng.randrange(100))])
    bits = int(name.lstrip("uint") or 0) if "int" in name else 0
    signed = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if bits else (0, 0)
    low, high = RANGES.get(name, (0, 2**bits - 1) if name.startswith("u") else signed)
    return rng.choice([low, high, rng.randint(low, high)])
