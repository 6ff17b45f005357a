"""What a file holds: episodes, by its groups and datasets and never by attributes, and the columns of their steps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.images.layout import IMAGE
from robodf.io.files import natural_key
from robodf.io.hdf5.columns import polars_type
from robodf.io.hdf5.file import Hdf5File
from robodf.io.hdf5.heaps import Attribute, attributes, children
from robodf.io.hdf5.objects import Dataset, Link, dataset, group, messages

_EPISODE = re.compile(r"(?i)(demo|episode|traj|trajectory|ep)[_-]?[0-9]+")
_ACTIONS = ("actions", "action")
_STEPS = re.compile(r"(actions?|obs|next_obs|observations?|states?|rewards?|dones?|terminals?|timeouts?)$")
"""What holds a row for each step, by its name: of another length than the episode it is damaged, and no constant."""

_MOST_OBJECTS, _DEEPEST, _MOST_CONSTANTS, _LONGEST_ATTRIBUTE = 20_000, 32, 4096, 1024
_SMALLEST_IMAGE, _SHORTEST_JPEG = 16, 128


@dataclass(frozen=True)
class Part:
    """A column: a dataset of steps or of an episode, an attribute of an episode, or a list of episodes.

    `how` is empty, or "image", or "padded": encoded images, each with zeros up to the longest.
    """

    name: str
    path: str
    of: str  # step, episode, constant (an episode's, of any length), attribute, mask
    dtype: pl.DataType
    how: str = ""


@dataclass
class Tree:
    """What is under a group: datasets by path, and the links that lead elsewhere."""

    datasets: dict[str, Dataset] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)


def walk(file: Hdf5File, address: int, most: int = _MOST_OBJECTS) -> Tree:
    """All datasets under the group at an address, in natural order of their names."""
    found = Tree()
    seen = {address}
    count = 0

    def visit(at: int, prefix: str, depth: int) -> None:
        nonlocal count
        one = group(file, at)
        if one is None:
            raise file.bad(at, "no group")
        for link in sorted(children(file, one), key=lambda entry: natural_key(entry.name)):
            count += 1
            path = prefix + link.name
            if count > most:
                raise file.bad(at, f"more than {most} objects below {prefix or '/'!r}")
            if link.address is None:
                found.links.append(Link(path, None, link.target))
                continue
            below = messages(file, link.address)
            inner = dataset(file, link.address, below)
            if inner is not None:
                found.datasets[path] = inner
            elif group(file, link.address, below) is not None:
                if link.address in seen or depth >= _DEEPEST:
                    found.links.append(Link(path, None, "a group that is listed already"))
                    continue
                seen.add(link.address)
                found.groups[path] = link.address
                visit(link.address, path + "/", depth + 1)

    visit(address, "", 0)
    return found


def listed(file: Hdf5File) -> tuple[list[str], list[int], str] | None:
    """The names of the episodes in natural order, the addresses of their groups, and the path before the names.

    None where the file holds none. Where the file itself is one episode the name is empty.
    """
    root = group(file, file.root)
    if root is None:
        raise file.bad(file.root, "the root of the file is no group")
    top = {link.name: link.address for link in children(file, root) if link.address is not None}
    for prefix in ("data", ""):
        if not prefix:
            names = top
        elif prefix in top and (below := group(file, top[prefix])) is not None:
            names = {link.name: link.address for link in children(file, below) if link.address is not None}
        else:
            continue
        chosen = {name: at for name, at in names.items() if _EPISODE.fullmatch(name)}
        if chosen and group(file, next(iter(chosen.values()))) is not None:
            ordered = sorted(chosen, key=_number_last)
            return ordered, [chosen[name] for name in ordered], prefix and prefix + "/"
    if any(name in top for name in _ACTIONS):
        return [""], [file.root], ""
    return None


def _number_last(name: str) -> tuple[str, int, str]:
    head = name.rstrip("0123456789")
    return head.lower(), int(name[len(head) :]), name


def masks(file: Hdf5File) -> dict[str, Dataset]:
    """The datasets of `mask/`: each lists episodes by name."""
    root = group(file, file.root)
    for link in children(file, root) if root is not None else ():
        if link.name == "mask" and link.address is not None and group(file, link.address) is not None:
            return {path: d for path, d in walk(file, link.address).datasets.items() if d.shape and len(d.shape) == 1}
    return {}


def steps_path(tree: Tree) -> str | None:
    """The dataset whose rows are the steps of an episode: `actions`, or the first of the length that most have."""
    for name in _ACTIONS:
        for path, found in tree.datasets.items():
            if (path == name or path.startswith(name + "/")) and found.shape:
                return path
    lengths = Counter(d.shape[0] for d in tree.datasets.values() if d.shape and d.shape[0] > 1)
    if not lengths:
        return next((path for path, d in tree.datasets.items() if d.shape), None)
    most = lengths.most_common(1)[0][0]
    return next(path for path, d in tree.datasets.items() if d.shape and d.shape[0] == most)


@dataclass
class Example:
    """An episode that was looked at for its columns."""

    where: str  # for messages
    tree: Tree
    attributes: dict[str, Attribute]


def example(file: Hdf5File, address: int, where: str) -> Example:
    return Example(where, walk(file, address), attributes(file, address))


def parts(examples: Iterable[Example], steps: str, masked: Iterable[str], own: Iterable[str]) -> list[Part]:
    """The columns of episodes, from some of them. `own` are names that are taken.

    FileFormatError where a dataset has types in two episodes that no column can hold.
    """
    found: dict[tuple[str, str], Part] = {}
    where: dict[tuple[str, str], str] = {}
    left_out: set[tuple[str, str]] = set()
    for one in examples:
        length = one.tree.datasets[steps].rows if steps in one.tree.datasets else -1
        for path, d in one.tree.datasets.items():
            made = _part(path, d, length)
            if made is None:
                continue
            key = (path, "step" if made.of == "step" else "episode")
            known = found.get(key)
            if known is None:
                found[key], where[key] = made, one.where
                continue
            both = common(known.dtype, made.dtype)
            if both is not None and known.of == made.of:
                found[key] = replace(known, dtype=both)
            elif made.of == "step":
                raise FileFormatError(
                    f"the dataset {path!r} is {known.dtype} in {where[key]} and {made.dtype} in {one.where}: "
                    "one column cannot hold both; read these files apart"
                )
            else:
                left_out.add(key)
        for name, a in one.attributes.items():
            dtype = _attribute_type(a)
            if dtype is None:
                continue
            key = (name, "attribute")
            both = common(found[key].dtype, dtype) if key in found else dtype
            if both is None:
                left_out.add(key)
            else:
                found[key] = Part("", name, "attribute", both)
    # An episode of one step cannot tell what is of the step and what of the episode: the longer ones do.
    for path in [p for p, of in found if of == "step" and (p, "episode") in found]:
        left_out.add((path, "episode"))
    kept = [part for key, part in found.items() if key not in left_out]
    kept += [Part("", key, "mask", pl.Boolean()) for key in masked]
    return _named(kept, set(own))


def _part(path: str, d: Dataset, length: int) -> Part | None:
    if d.shape is None or path.rsplit("/", 1)[-1] == "compress_len":
        return None
    item = d.item
    first = path.split("/", 1)[0]
    is_step = bool(d.shape) and (d.shape[0] == length or bool(_STEPS.match(first)))
    if is_step:
        dtype, how = column_of(path, d)
        return Part("", path, "step", dtype, how)
    if d.problem:
        return None
    if not d.shape or d.shape[0] == 1:
        count = d.row_bytes // d.type.size if d.shape else 1
        return Part("", path, "episode", polars_type(d.type, item)) if count <= _MOST_CONSTANTS else None
    small = d.row_bytes // d.type.size * d.shape[0] <= _MOST_CONSTANTS
    if not small or d.layout.kind == "chunked":
        return None
    return Part("", path, "constant", polars_type(d.type, d.shape))


def column_of(path: str, d: Dataset) -> tuple[pl.DataType, str]:
    """The type of a column of rows of a dataset, and how it is made: see `Part`."""
    if d.type.problem:
        return pl.Binary(), ""  # an error where it is read
    if _is_image(d):
        return IMAGE, "image"
    bytes_ = d.type.kind == "number" and d.type.dtype == np.uint8
    if bytes_ and len(d.item) == 1 and d.item[0] >= _SHORTEST_JPEG and "images" in path.split("/"):
        return pl.Binary(), "padded"
    return polars_type(d.type, d.item), ""


def _is_image(d: Dataset) -> bool:
    if d.type.kind != "number" or d.type.dtype is None or d.type.dtype.kind != "u" or d.type.size > 2:
        return False
    channels = d.item[2] if len(d.item) == 3 else 1 if len(d.item) == 2 else 0
    known = channels in (1, 3, 4) if d.type.size == 1 else channels == 1
    return known and min(d.item[:2]) >= _SMALLEST_IMAGE


def _attribute_type(a: Attribute) -> pl.DataType | None:
    """The type of its column; None of what is too long to repeat for each step, such as the model of a simulator."""
    if a.type.problem or a.shape is None or len(a.data) > _LONGEST_ATTRIBUTE or len(a.shape) > 1:
        return None
    if a.type.kind == "number" and a.shape in ((), (1,)):
        return polars_type(a.type)
    if a.type.kind not in ("bool", "text", "texts") or (a.type.kind == "text" and a.type.size > _LONGEST_ATTRIBUTE):
        return polars_type(a.type, a.shape) if a.type.kind == "number" and 0 not in a.shape else None
    inner: pl.DataType = pl.Boolean() if a.type.kind == "bool" else pl.String()
    return inner if a.shape in ((), (1,)) else None


def common(a: Any, b: Any) -> pl.DataType | None:
    """The type that holds the numbers of both, or arrays of them of one shape; None where there is none."""
    if a == b:
        return a
    if isinstance(a, pl.Array) and isinstance(b, pl.Array) and a.shape == b.shape:
        inner = common(_innermost(a), _innermost(b))
        return None if inner is None else pl.Array(inner, a.shape)
    if not (a.is_numeric() and b.is_numeric()):
        return None
    wide = np.promote_types(np.dtype(str(a).lower()), np.dtype(str(b).lower()))
    return getattr(pl, {"u": "UInt", "i": "Int", "f": "Float"}[wide.kind] + str(8 * wide.itemsize))()


def _innermost(a: Any) -> Any:
    while isinstance(a, pl.Array):
        a = a.inner
    return a


def _named(found: list[Part], own: set[str]) -> list[Part]:
    """Columns by the path with `_`, or by the path itself with `/` before it where two would have one name."""
    prefixes = {"attribute": "episode_", "mask": "mask_"}
    plain = [prefixes.get(p.of, "") + p.path.replace("/", "_") for p in found]
    often = Counter(plain)
    order = {"attribute": 0, "mask": 1, "constant": 2, "episode": 2, "step": 3}
    named = [
        replace(p, name=name if often[name] == 1 and name not in own else f"/{prefixes.get(p.of, '')}{p.path}")
        for p, name in zip(found, plain)
    ]
    return sorted(named, key=lambda p: order[p.of])
