"""Ways to damage the bytes of a file, each in place: what disks, networks and enemies make of it."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
_TEXTS = (b"-1", b"0", b"4294967296", b"9223372036854775807", b"1e999", b"nan", b"-inf", b"9" * 40, b"''", b"null")


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random) -> None:
    at, length = _near(data, rng), rng.choice((1, 4, 16, 300))
    data[at : at + length] = rng.randbytes(min(length, len(data) - at))


def number(data: bytearray, rng: random.Random) -> None:
    """A number that lengths, counts and offsets do not have."""
    value, size = rng.choice(_NUMBERS), rng.choice("BHIQ")
    packed = struct.pack(rng.choice("<>") + size, value & (1 << 8 * struct.calcsize(size)) - 1)
    at = _near(data, rng)
    data[at : at + len(packed)] = packed[: len(data) - at]


def written_number(data: bytearray, rng: random.Random) -> None:
    """The same in a text: headers of clouds, JSON, YAML, XML."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?", data))
    if found:
        place = rng.choice(found)
        data[place.start() : place.end()] = rng.choice(_TEXTS)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def remove(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 7, 100, 4096))]


def repeat(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.choice((1, 9, 200, 5000))
    to = rng.randrange(len(data))
    data[to:to] = data[at : at + length]


def splice(data: bytearray, rng: random.Random) -> None:
    """The start of the file with the end of it, from another place."""
    at, back = rng.randrange(len(data)), rng.randrange(len(data))
    data[at:] = data[back:]


def swap(data: bytearray, rng: random.Random) -> None:
    length = rng.choice((1, 4, 8, 64))
    one, other = sorted(rng.randrange(len(data)) for _ in range(2))
    if one + length <= other and other + length <= len(data):
        data[one : one + length], data[other : other + length] = (
            data[other : other + length],
            data[one : one + length],
        )


def extend(data: bytearray, rng: random.Random) -> None:
    data += bytes(rng.choice((1, 3, 512, 10_000)))


def insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 100)))


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip, flip, overwrite, number, number, number, written_number, cut, remove, repeat, splice, swap, extend, insert,
)  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """The damaged bytes, and the names of what was done to them."""
    changed, names = bytearray(data), []
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if changed:
            mutate = rng.choice(MUTATIONS)
            names.append(mutate.__name__)
            mutate(changed, rng)
    return bytes(changed), "+".join(names)


def _near(data: bytearray, rng: random.Random) -> int:
    """A place; as often as not near one of the ends, where headers and footers are."""
    size = len(data)
    end = min(size, 600)
    return rng.choice((rng.randrange(size), rng.randrange(size), rng.randrange(end), size - 1 - rng.randrange(end)))
