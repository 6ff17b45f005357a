"""The data of the dedup benchmarks: seeded, made once, kept in benchmarks/data/ as Parquet with an id (the position).

All texts are lower-case ASCII words with single blanks between them, so that whatever a tool does about case,
punctuation and white space, it compares the same words and characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.measure import DATA, SHARED

WORDS = 20_000  # of the vocabulary
_CHUNK = 100_000  # documents that are made at a time
_COPIES = ("exact", "edit", "move", "cut", "boilerplate")
_EDITS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.045, 0.08)  # the share of words that an edited copy changes


def documents(rows: int) -> Path:
    """Documents of 50 to 300 words that follow Zipf's law: 60% originals and 40% copies.

    A copy is exact, edited at one of seven rates (substitutions, insertions, deletions), has a block of words moved,
    is cut at the end, or has a paragraph of boilerplate added.
    """
    return _kept(f"dedup-documents-{rows}", lambda: _documents(rows))


def _documents(rows: int) -> pl.DataFrame:
    parts = [
        _written(_chunk(np.random.default_rng((7, part)), min(_CHUNK, rows - start)))
        for part, start in enumerate(range(0, rows, _CHUNK))
    ]
    return _shuffled(pl.concat(parts))


def _chunk(rng: np.random.Generator, rows: int) -> list[np.ndarray]:
    """Documents as numbers of words."""
    originals = rows * 6 // 10
    lengths = rng.integers(50, 301, originals)
    made = np.split(_drawn(rng, int(lengths.sum())), np.cumsum(lengths)[:-1])
    boilerplate = _drawn(np.random.default_rng(3), 20)
    kinds = rng.integers(0, len(_COPIES) + len(_EDITS) - 1, rows - originals)
    # Of a third of the originals: some have many copies, most have none.
    sources = rng.integers(0, max(1, originals // 3), rows - originals)
    for source, kind in zip(sources.tolist(), kinds.tolist()):
        edited = kind >= len(_COPIES)
        made.append(_copy(rng, made[source], "edit" if edited else _COPIES[kind], boilerplate,
                          _EDITS[kind - len(_COPIES)] if edited else _EDITS[0]))  # fmt: skip
    return made


def _copy(rng: np.random.Generator, words: np.ndarray, kind: str, boilerplate: np.ndarray, rate: float) -> np.ndarray:
    if kind == "exact":
        return words
    if kind == "move":
        first, last = sorted(rng.integers(0, words.size, 2).tolist())
        return np.concatenate([words[:first], words[last:], words[first:last]])
    if kind == "cut":
        return words[: int(words.size * rng.uniform(0.6, 1))]
    if kind == "boilerplate":
        return np.concatenate([words, boilerplate])
    chance = rng.random(words.size)
    words = np.where(chance < rate / 2, _drawn(rng, words.size), words)
    inserted = np.flatnonzero((chance >= rate / 2) & (chance < rate * 3 / 4))
    words = np.insert(words, inserted, _drawn(rng, inserted.size))
    return words[rng.random(words.size) >= rate / 4]


def _drawn(rng: np.random.Generator, number: int) -> np.ndarray:
    """Word k is drawn in proportion to 1 / k."""
    return np.searchsorted(_zipf(), rng.random(number)).astype(np.int32)


@cache
def _zipf() -> np.ndarray:
    weights = np.cumsum(1.0 / np.arange(1, WORDS + 1))
    return weights / weights[-1]


@cache
def _vocabulary() -> pa.Array:
    """Words that can be pronounced, the frequent ones short."""
    rng = np.random.default_rng(1)
    syllables = [a + b + c for a in "bcdfghjklmnprstvw" for b in "aeiou" for c in ("", "n", "r", "s", "t")]
    found: dict[str, None] = {}
    while len(found) < WORDS:
        count = 1 + (len(found) > 200) + (len(found) > 4000) * int(rng.integers(0, 2))
        found.setdefault("".join(rng.choice(syllables, count)))
    return pa.array(list(found))


def _written(made: list[np.ndarray]) -> pl.DataFrame:
    offsets = np.concatenate([[0], np.cumsum([words.size for words in made])])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), _vocabulary().take(pa.array(np.concatenate(made))))
    joined = pc.binary_join(lists, " ")  # pyright: ignore[reportAttributeAccessIssue] - made at run time
    return pl.DataFrame({"text": pl.from_arrow(joined)})


# -- instructions ------------------------------------------------------------------------------------------------

_VERBS = ("pick up", "grasp", "move", "push", "lift", "slide", "place", "put", "take", "grab")
_COLOURS = ("red", "blue", "green", "yellow", "black", "white", "orange", "purple")
_OBJECTS = ("block", "cup", "mug", "bowl", "spoon", "sponge", "towel", "can", "bottle", "apple", "banana", "pot", "lid",
            "drawer", "box", "plate", "carrot", "knife", "marker", "cloth")  # fmt: skip
_WHERE = ("into", "onto", "next to", "behind", "in front of", "on top of", "to the left of", "to the right of")
_PLACES = ("sink", "drawer", "basket", "plate", "tray", "table", "stove", "shelf")


def instructions(rows: int) -> Path:
    """Short orders to a robot from one template, some with a typo or a word in front: few texts, often repeated."""
    return _kept(f"dedup-instructions-{rows}", lambda: _instructions(rows))


def _instructions(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(11)

    def often(choices: tuple[str, ...]) -> str:
        return choices[min(len(choices) - 1, int(rng.exponential(len(choices) / 3)))]

    pool = []
    for _ in range(max(100, rows * 6 // 100)):
        what, where = f"{often(_COLOURS)} {often(_OBJECTS)}", f"{often(_WHERE)} the {often(_PLACES)}"
        order = f"{often(_VERBS)} the {what} and put it {where}"
        kind = rng.random()
        at = int(rng.integers(1, len(order) - 2))
        if kind < 0.1:
            order = order[:at] + order[at + 1 :]
        elif kind < 0.2:
            order = order[:at] + order[at + 1] + order[at] + order[at + 2 :]
        elif kind < 0.3:
            order = "please " + order
        pool.append(" ".join(order.split()))
    # A few are said all the time, most once or twice.
    said = np.minimum((rng.pareto(1.1, rows) * len(pool) / 300).astype(np.int64), len(pool) - 1)
    return _shuffled(pl.DataFrame({"text": pl.Series(pool).gather(said)}))


# -- texts of others ---------------------------------------------------------------------------------------------


def captions(rows: int) -> Path | None:
    """Near-duplicates of the prompts and tasks in the shared test data; None where a checkout has none."""
    seeds = sorted({_plain(text) for text in _found()} - {""})
    return _kept(f"dedup-captions-{rows}", lambda: _captions(rows, seeds)) if seeds else None


def _found() -> Iterator[str]:
    """Sentences of prompts of world models, labels of videos, tasks of a LeRobot data set."""
    for path in sorted(SHARED.glob("cosmos/**/*.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        for name, text in said.items() if isinstance(said, dict) else ():
            if "prompt" in name and isinstance(text, str):
                yield from re.split(r"(?<=[.!?])\s+", text)
    for path in sorted(SHARED.glob("generated/*/labels/*.txt")):
        yield path.read_text(encoding="utf-8")
    for path in sorted(SHARED.glob("*/meta/tasks.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)["task"]


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())


def _captions(rows: int, seeds: list[str]) -> pl.DataFrame:
    """One to three sentences, with some words dropped, doubled or taken from another sentence, and with typos."""
    rng = np.random.default_rng(13)
    others = " ".join(seeds).split()
    made = []
    for _ in range(rows):
        # Pairs of sentences that come often: the squares make low numbers more likely.
        chosen = [seeds[int(rng.random() ** 2 * len(seeds))] for _ in range(1 + int(rng.random() ** 3 * 3))]
        words = " ".join(chosen).split()
        for _ in range(int(rng.geometric(0.4)) - 1):
            at, kind = int(rng.integers(len(words))), int(rng.integers(4))
            if kind == 0 and len(words) > 3:
                del words[at]
            elif kind == 1:
                words.insert(at, words[at])
            elif kind == 2:
                words[at] = others[int(rng.integers(len(others)))]
            elif len(words[at]) > 2:
                words[at] = words[at][:1] + words[at][2:]
        made.append(" ".join(words))
    return _shuffled(pl.DataFrame({"text": made}))


# -- keys and vectors --------------------------------------------------------------------------------------------


def keys(rows: int, kind: str) -> Path:
    """Rows with keys that repeat: `int` (a tenth distinct), `string` (20 bytes, a fifth), or `two`: a and b.

    `two` has three columns more, of which one is the id.
    """
    return _kept(f"dedup-keys-{kind}-{rows}", lambda: _keys(rows, kind))


def _keys(rows: int, kind: str) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    ids = pl.int_range(rows, eager=True).alias("id")
    if kind == "int":
        # Multiplied by an odd number: all bits of the key differ, and distinct stays distinct.
        key = rng.integers(0, rows // 10, rows) * np.int64(0x9E3779B97F4A7C15 - 2**64)
        return pl.DataFrame({"key": key, "id": ids})
    if kind == "string":
        number = pl.Series("key", rng.integers(0, rows // 5, rows)).cast(pl.String).str.zfill(14)
        return pl.DataFrame({"key": "robot-" + number, "id": ids})
    return pl.DataFrame({
        "a": rng.integers(0, rows // 50, rows), "b": rng.integers(0, 20, rows).astype(np.int32),
        "id": ids, "x": rng.random(rows), "y": rng.random(rows).astype(np.float32),
    })  # fmt: skip


def vectors(rows: int, width: int) -> Path:
    """Directions in float32: 70% at random, 30% near one of them, at a cosine between .85 and .99."""
    return _kept(f"dedup-vectors-{rows}x{width}", lambda: _vectors(rows, width))


def _vectors(rows: int, width: int) -> pl.DataFrame:
    rng = np.random.default_rng(17)
    originals = _unit(rng.standard_normal((rows * 7 // 10, width)))
    near = originals[rng.integers(0, len(originals) // 3, rows - len(originals))]
    aside = rng.standard_normal(near.shape)
    aside = _unit(aside - (aside * near).sum(1, keepdims=True) * near)
    cosine = rng.uniform(0.85, 0.99, (len(near), 1))
    made = np.concatenate([originals, cosine * near + np.sqrt(1 - cosine**2) * aside]).astype(np.float32)
    return _shuffled(pl.DataFrame({"v": pl.Series(made, dtype=pl.Array(pl.Float32, width))}))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# -- files -------------------------------------------------------------------------------------------------------


def _shuffled(frame: pl.DataFrame) -> pl.DataFrame:
    order = np.random.default_rng(23).permutation(frame.height)  # Polars' own shuffle may change with its version
    return frame[order].select(pl.int_range(pl.len(), dtype=pl.Int64).alias("id"), pl.all())


def _kept(name: str, make: Callable[[], pl.DataFrame]) -> Path:
    path = DATA / f"{name}.parquet"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        make().write_parquet(part)
        part.replace(path)  # a run that was stopped leaves no half of a file
    return path
