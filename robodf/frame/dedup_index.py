"""What is kept of a data set, so that later ones can be deduplicated against it without reading it again."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.dedup.columns import VALUE
from robodf.dedup.exact import Exact
from robodf.dedup.how import How
from robodf.errors import FileFormatError, NoFilesError, OptionError
from robodf.io.sink import WriteReport
from robodf.plan.base import Plan
from robodf.plan.expr import Col, as_expr
from robodf.plan.nodes.concat import Concat
from robodf.plan.nodes.dedup import Dedup, WithKeys
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.rows import Count
from robodf.plan.resolve import expand, flatten

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

_FORMAT = 3  # of the file, and of the keys: raised whenever a kernel gives other keys
_MARK = "robodf.dedup_index"


class DedupIndex:
    """The rows of a data set as `dedup(against=...)` needs them: what is compared of each, and its keys.

    An index is of one way to compare: method, threshold, recall, shingles, and the columns `within`. With another one
    it is refused. Its file is Parquet: about 8 bytes a key (12 or 20 of them a text, by default), and what is compared.

    >>> import robodf as rd, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "captions.parquet")
    >>> first = rd.from_dict({"caption": ["pick up the red block", "open the drawer"]})
    >>> _ = rd.DedupIndex.build(first, on="caption", method="fuzzy").save(path)
    >>> index = rd.DedupIndex.load(path)
    >>> new = rd.from_dict({"caption": ["Pick up the red block!", "close the drawer"]})
    >>> fresh = new.dedup(on="caption", method="fuzzy", against=index)
    >>> fresh.collect()["caption"].to_list()
    ['close the drawer']
    >>> _ = index.extend(fresh).save(path, mode="overwrite")
    >>> len(rd.DedupIndex.load(path))
    3
    """

    def __init__(self, plan: Plan, settings: dict[str, Any]):
        self._plan, self._settings = plan, settings

    @classmethod
    def build(
        cls,
        frame: PipelineDataFrame,
        on: Any = None,
        *,
        method: str = "exact",
        threshold: float | None = None,
        within: Any = None,
        recall: float | None = None,
        shingle: Any = None,
        normalize: str | None = "text",
        nulls: str = "keep",
    ) -> DedupIndex:
        """The index of a frame's rows, for `dedup` with the same arguments. Nothing runs until it is saved or used."""
        arguments = {
            "method": method, "threshold": threshold, "recall": recall, "normalize": normalize, "nulls": nulls,
        }  # fmt: skip
        node = _compared(frame, on, "DedupIndex.build", within=within, shingle=shingle, **arguments)
        plan = WithKeys(node.light(), node.how)
        names = [e.ref for e in node.within if isinstance(e, Col)]
        settings = {
            "format": _FORMAT, "compares": repr(node.how.method), "within": names,
            "arguments": arguments | {"shingle": None if shingle is None else shingle.label},
            "on": _plain_names(on, frame), "columns": {name: str(t) for name, t in plan.schema.items()},
            "polars": pl.__version__,
        }  # fmt: skip
        return cls(plan, settings)

    @classmethod
    def load(cls, path: str | os.PathLike, *, storage_options: dict | None = None) -> DedupIndex:
        """An index that was saved. Its rows are read when it is used.

        FileFormatError where the file is none, or of a version of robodf that makes other keys.
        """
        from robodf.io.read import read_parquet

        name = os.fspath(path)
        try:
            marks = pl.read_parquet_metadata(name, storage_options=storage_options)
        except FileNotFoundError as error:
            raise NoFilesError(f"no index {name}") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            raise FileFormatError(f"{name}: not an index of robodf: {str(error).splitlines()[0]}") from error
        settings = _read_settings(marks.get(_MARK), name)
        plan = read_parquet(path, storage_options=storage_options)._plan
        if {c: str(t) for c, t in plan.schema.items()} != settings["columns"]:
            raise FileFormatError(f"{name}: its columns are not those that its index was saved with; build it again")
        exact = next((m for m in (Exact(True), Exact(False)) if repr(m) == settings["compares"]), None)
        if exact is not None and settings.get("polars") != pl.__version__:
            # Hashes of values are Polars' own, and another version has others: they are made anew from the values.
            how = How(exact, "first", "representative", len(settings["within"]))
            values = Select(plan, tuple((n, Col(n)) for n in (VALUE, *how.groups)))
            plan, settings = WithKeys(values, how), settings | {"polars": pl.__version__}
        return cls(plan, settings)

    def save(self, path: str | os.PathLike, *, mode: str = "error", storage_options: dict | None = None,
             engine: str | None = None) -> WriteReport:  # fmt: skip
        """Write it to one file that ends in .parquet, atomically. Executes, in this process.

        `mode` is error (the path must be free) or overwrite, also of the file that this index was loaded from. With
        `engine` "gpu" or "auto", by default that of the settings, keys are made on the GPU as those of a dedup are.
        """
        from robodf.io import sink
        from robodf.physical import local
        from robodf.physical.progress import progress

        if not os.fspath(path).endswith(".parquet"):
            raise OptionError(f"DedupIndex.save: {os.fspath(path)!r} must end in .parquet")
        if mode not in ("error", "overwrite"):
            raise OptionError(f"DedupIndex.save: mode={mode!r}: 'error' or 'overwrite'; extend() adds rows")
        query = local.prepare(self._plan, engine)
        with local.user_errors(self._plan), progress("write index"):
            return sink.write(
                query, path, "parquet", mode=mode, storage_options=storage_options,
                options={"metadata": {_MARK: json.dumps(self._settings)}},
            )  # fmt: skip

    def extend(self, frame: PipelineDataFrame, on: Any = None) -> DedupIndex:
        """The index with the rows of a frame too, such as those that `dedup(against=index)` left. Save it anew.

        `on` is what is compared of them, by default the columns of the same names. Rows that are in the index already
        are in it twice then, which changes no answer.
        """
        asked = on if on is not None else self._settings["on"]
        if asked is None:
            raise OptionError("DedupIndex.extend: the index is of an expression; say what is compared with on=")
        arguments = dict(self._settings["arguments"])
        arguments["shingle"] = _shingle(arguments["shingle"])
        node = _compared(frame, asked, "DedupIndex.extend", within=tuple(self._settings["within"]), **arguments)
        self.plan_for(node.how, node.light())
        return DedupIndex(Concat((self._plan, WithKeys(node.light(), node.how)), "vertical"), self._settings)

    def plan_for(self, how: How, light: Plan) -> Plan:
        """Its rows, for a dedup that compares the rows of `light`; OptionError where the index is of another one."""
        mine, asked = self._settings["compares"], repr(how.method)
        if mine != asked:
            raise OptionError(
                f"dedup: the index compares by {mine}, this dedup by {asked}; ask for the same, or build it again"
            )
        columns = (VALUE, *how.groups)
        theirs = {c: str(light.schema[c]) for c in columns}
        ours = {c: self._settings["columns"].get(c) for c in columns}
        if theirs != ours or len(self._settings["within"]) != how.within:
            raise OptionError(
                f"dedup: the index compares {ours[VALUE]} within {self._settings['within'] or 'all rows'}; here it is "
                f"{theirs[VALUE]} within {how.within} columns; cast, or build the index again"
            )
        made = WithKeys(Select(light, tuple((n, Col(n)) for n in columns)), how).schema
        if {c: str(t) for c, t in made.items()} != self._settings["columns"]:
            raise FileFormatError(f"dedup: the index has no keys for {mine}; build it again")
        return self._plan

    def __len__(self) -> int:
        from robodf.frame.frame import PipelineDataFrame

        return int(PipelineDataFrame(Count(self._plan)).collect().item())

    def __repr__(self) -> str:
        within = f" within {', '.join(self._settings['within'])}" if self._settings["within"] else ""
        return f"DedupIndex(of {self._settings['compares']}{within})"


def _compared(frame: PipelineDataFrame, on: Any, doing: str, **arguments: Any) -> Dedup:
    whole = {"threshold": None, "recall": None, "shingle": None, "normalize": "text", "nulls": "keep", "within": None}
    return frame._dedup(doing, False, on, keep="first", against=None, link="representative", **(whole | arguments))


def _plain_names(on: Any, frame: PipelineDataFrame) -> list[str] | None:
    """The columns that are compared, where they are no more than that."""
    if on is None:
        return frame.columns
    found = [e for item in flatten([on]) for e in expand(as_expr(item), frame._plan.schema, "DedupIndex.build")]
    return [e.ref for e in found if isinstance(e, Col)] if all(isinstance(e, Col) for e in found) else None


def _read_settings(text: str | None, name: str) -> dict[str, Any]:
    if text is None:
        raise FileFormatError(f"{name}: a Parquet file, but no index of robodf; make one with rd.DedupIndex.build(...)")
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise FileFormatError(f"{name}: the settings of its index cannot be read: {error}") from error
    kinds = {"format": int, "compares": str, "within": list, "arguments": dict, "columns": dict}
    if not isinstance(settings, dict) or not all(isinstance(settings.get(k), t) for k, t in kinds.items()):
        raise FileFormatError(f"{name}: the settings of its index are not complete; build it again")
    if settings["format"] != _FORMAT:
        raise FileFormatError(
            f"{name}: an index of format {settings['format']}, this robodf makes {_FORMAT}; build it again"
        )
    return settings


def _shingle(label: str | None) -> Any:
    from robodf.dedup.shingles import Chars, Words

    if label is None:
        return None
    found = re.fullmatch(r"(words|chars)\((\d+)\)", label)
    if found is None:
        raise OptionError(f"the index has shingles {label!r}, which this robodf does not know; build it again")
    return (Words if found[1] == "words" else Chars)(int(found[2]))
