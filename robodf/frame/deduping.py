"""Rows that say the same: drop them, mark them, or list the pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.dedup.caps import Caps
from robodf.dedup.how import Best, How
from robodf.errors import OptionError, QueryError, SchemaError, column_not_found
from robodf.frame.base import FrameBase
from robodf.frame.dedup_methods import asked, method_of, of_all_pairs
from robodf.plan.base import Plan, Schema
from robodf.plan.expr import Call, Col, Expr, as_expr
from robodf.plan.nodes.dedup import CLUSTERS, Dedup, SimilarPairs, light_columns
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.unique import Unique
from robodf.plan.resolve import column_names, expand, flatten, resolve_one
from robodf.plan.types import type_of

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

EPISODES = ("recording", "episode_id", "episode_index", "episode")
"""Columns that say which episode a row is of: near-identical frames are looked for inside of one."""


class Deduping(FrameBase):
    """Methods that look for rows that are alike."""

    def dedup(
        self,
        on: Any = None,
        *,
        method: str = "exact",
        threshold: float | None = None,
        keep: str | Best = "first",
        within: Any = None,
        against: Any = None,
        link: str = "representative",
        recall: float | None = None,
        shingle: Any = None,
        normalize: str | None = "text",
        nulls: str = "keep",
    ) -> PipelineDataFrame:
        """The rows without those that say the same as another one, which is kept. The order of the rows is kept.

        A row is dropped only where a kept row, better by `keep`, was compared with it and found alike. The answer
        depends on the rows and their order alone, not on threads, partitions or the engine.

        Parameters
        ----------
        on
            What is compared: a column or an expression; for `method="exact"` several, and None for all columns.
        method
            - "exact": equal values, of any types. NaN equals NaN, 0.0 equals -0.0.
            - "fuzzy": texts by the Jaccard similarity of their shingles: |A & B| / |A | B|. Found by MinHash (Broder
              1997), each verified on the shingles themselves.
            - "semantic": vectors (a list or Array column; make one with `embed`) by their cosine.
            - "phash": images (bytes of JPEG, PNG, ...; or hashes as UInt64) by the share of the 64 bits of their
              perceptual hash that agree; inside of an episode unless `within` says otherwise.
            - "trajectory": lists of states, by dynamic time warping.
        threshold
            From which similarity on rows are alike: fuzzy 0.8, semantic 0.9, phash 0.9, trajectory 0.95 unless given.
        keep
            Which row stays: "first", "last", `rd.best(expr)`, or "none": no row that has one like it. The expression
            may look at other rows (`(col("x") - col("x").mean()).abs()`).
        within
            Columns: only rows with equal values there are compared. `()` for all rows.
        against
            An earlier data set: a frame with the same columns, or an `rd.DedupIndex`. Rows like one of its rows are
            dropped; its own rows are not given.
        link
            "representative": a row goes only with a kept row like it. "component": of rows that are linked by others
            that are alike one stays, though the ends of a chain may differ.
        recall
            Of pairs at the threshold the share that is found at least, of "fuzzy" and, on many rows, "semantic": 0.99
            unless given. Pairs above the threshold are found more surely. 1 compares all pairs, of "semantic" alone.
        shingle
            `rd.words(n)` or `rd.chars(n)`: the parts of a text that count, by default `rd.chars(5)`, which serves
            captions as well as documents; `rd.words(5)` is faster on long documents.
        normalize
            "text": lower case; punctuation and white space separate words and count no further. None: texts as they
            are.
        nulls
            "keep": rows that have nothing to compare (null, an empty text or list) all stay. "equal": for "exact",
            null equals null, as it always does where all columns are compared.

        Needs `pip install 'robodf[dedup]'`, but for exact.

        >>> import robodf as rd
        >>> df = rd.from_dict({"caption": ["pick", "place", "pick"], "id": [1, 2, 3]})
        >>> df.dedup(on="caption").collect()["id"].to_list()
        [1, 2]
        >>> texts = rd.from_dict({"caption": ["Pick up the red block.", "pick up the red block", "open the drawer"]})
        >>> texts.dedup(on="caption", method="fuzzy").collect()["caption"].to_list()
        ['Pick up the red block.', 'open the drawer']
        >>> df.dedup(on="caption", keep=rd.best("id")).collect()["id"].to_list()
        [2, 3]
        """
        if on is None and method == "exact" and isinstance(keep, str) and against is None and within is None:
            asked("dedup", method, threshold, keep, link, recall, shingle, normalize, nulls)
            _no_objects(tuple(map(Col, self._plan.schema)), self._plan.schema, "dedup")
            return self._then(Unique(self._plan, None, keep, True))
        return self._then(
            self._dedup("dedup", False, on, method, threshold, keep, within, against, link, recall, shingle, normalize,
                        nulls)
        )  # fmt: skip

    def drop_duplicates(self, subset: Any = None, *, keep: Any = "first") -> PipelineDataFrame:
        """Drop rows that repeat an earlier one on `subset` (None: all columns), as in pandas: null equals null.

        `keep` is "first", "last", or False (or "none"): no row that has a copy. The order of the rows is kept.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, None, None], "b": [1, 2, 3]}).drop_duplicates("a").collect()["b"].to_list()
        [1, 2]
        """
        keep = "none" if keep is False else keep
        if keep not in ("first", "last", "none"):
            raise OptionError(f"drop_duplicates: keep={keep!r}: 'first', 'last' or False")
        keys = None if subset is None else column_names([subset], self._plan.schema, "drop_duplicates")
        if keys == ():
            raise QueryError("drop_duplicates: subset= names no column")
        _no_objects(tuple(map(Col, keys or self._plan.schema)), self._plan.schema, "drop_duplicates")
        return self._then(Unique(self._plan, keys, keep, True))

    def clusters(
        self,
        on: Any = None,
        *,
        method: str = "exact",
        threshold: float | None = None,
        keep: str | Best = "first",
        within: Any = None,
        against: Any = None,
        link: str = "representative",
        recall: float | None = None,
        shingle: Any = None,
        normalize: str | None = "text",
        nulls: str = "keep",
    ) -> PipelineDataFrame:
        """All rows, and what `dedup` with the same arguments would do with each: three columns more.

        cluster_id (Int64) is the number of the row that is kept for this one, 0 the first row; of rows that are kept
        their own. -1 - k stands for row k of `against`. similarity (Float64) is that to the row that is kept for it,
        null for kept rows. is_kept (Boolean).

        >>> import robodf as rd
        >>> df = rd.from_dict({"caption": ["pick", "place", "pick"]})
        >>> df.clusters(on="caption").collect().rows()
        [('pick', 0, None, True), ('place', 1, None, True), ('pick', 0, 1.0, False)]
        """
        for name in CLUSTERS:
            if name in self._plan.schema:
                raise QueryError(f"clusters: there is a column {name!r} already; rename it first")
        return self._then(
            self._dedup("clusters", True, on, method, threshold, keep, within, against, link, recall, shingle,
                        normalize, nulls)
        )  # fmt: skip

    def similar_pairs(
        self,
        on: Any = None,
        *,
        method: str = "fuzzy",
        threshold: float | None = None,
        within: Any = None,
        against: Any = None,
        recall: float | None = None,
        shingle: Any = None,
        normalize: str | None = "text",
    ) -> PipelineDataFrame:
        """The pairs of rows that are alike, each verified: lo, hi (numbers of rows, lo < hi) and similarity.

        With `against` also pairs with rows of that: lo is -1 - k for its row k. Sorted by lo and hi. Rows of the same
        value each make a pair: n rows of one text make n (n - 1) / 2. Of more than 1,024 texts that share a key each is
        compared with 1,024 (of `dedup`, that is 64): where that happens there is a warning, and a row in `df.errors`.

        >>> import robodf as rd
        >>> texts = rd.from_dict({"t": ["Pick up the red block.", "pick up the red block", "open the drawer"]})
        >>> texts.similar_pairs("t").collect().rows()
        [(0, 1, 1.0)]
        """
        node = self._dedup("similar_pairs", False, on, method, threshold, "first", within, against, "representative",
                           recall, shingle, normalize, "keep")  # fmt: skip
        if method == "exact":
            raise OptionError("similar_pairs: of equal values use clusters(on=...), which is not quadratic")
        how = replace(node.how, method=of_all_pairs(node.how.method))
        return self._then(
            SimilarPairs(node.light(), node.against, how, node.said.removesuffix(", keep first"), node.caps)
        )

    def _dedup(
        self, doing: str, clusters: bool, on: Any, method: str, threshold: Any, keep: Any, within: Any, against: Any,
        link: Any, recall: Any, shingle: Any, normalize: Any, nulls: str,
    ) -> Dedup:  # fmt: skip
        schema = self._plan.schema
        asked(doing, method, threshold, keep, link, recall, shingle, normalize, nulls)
        compared = _compared(on, schema, doing, method)
        groups = _groups(within, schema, doing, method)
        rank, descending = _rank(keep, schema, doing)
        _no_objects((*compared, *groups, *rank), schema, doing)
        value = compared[0] if len(compared) == 1 else Call("pl.struct", _apart_by_name(compared))
        value, made = method_of(doing, method, value, type_of(value, schema), threshold, recall, shingle, normalize,
                                nulls, whole=on is None)  # fmt: skip
        how = How(made, keep if isinstance(keep, str) else "best", link, len(groups), descending, method == "semantic")
        light = Select(self._plan, light_columns(value, groups, rank))
        earlier = () if against is None else (_earlier(against, value, groups, how, light),)
        return Dedup(
            self._plan, (), earlier, value, groups, rank, how, clusters, _said(on, compared, groups, keep), Caps()
        )


def best(*by: Any, descending: bool | list[bool] = True) -> Best:
    """For `keep=` of `dedup`: the row with the greatest value stays; ties go to the next expression, then to the first.

    With `descending=False` the least. A null or NaN is worse than any value.

    >>> import robodf as rd
    >>> df = rd.from_dict({"text": ["a", "a"], "quality": [0.2, 0.9]})
    >>> df.dedup(on="text", keep=rd.best("quality")).collect().rows()
    [('a', 0.9)]
    """
    exprs = tuple(flatten(by))
    if not exprs:
        raise OptionError("best: by which column or expression?")
    each = [descending] * len(exprs) if isinstance(descending, bool) else list(descending)
    if len(each) != len(exprs) or not all(isinstance(d, bool) for d in each):
        raise OptionError(f"best: descending= has {len(each)} values for {len(exprs)} expressions")
    return Best(exprs, tuple(each))


def _compared(on: Any, schema: Schema, doing: str, method: str) -> tuple[Expr, ...]:
    if on is None:
        if method != "exact":
            raise QueryError(f"{doing}: method={method!r} compares one column; say which with on=")
        return tuple(Col(name) for name in schema)
    found: tuple[Expr, ...] = tuple(e for item in flatten([on]) for e in expand(as_expr(item), schema, doing))
    if not found:
        raise QueryError(f"{doing}: on= names no column")
    if method != "exact" and len(found) > 1:
        raise QueryError(
            f"{doing}: method={method!r} compares one column, on= gives {len(found)}; "
            "join texts with rd.concat_str(...), or compare one after the other"
        )
    for e in found:
        if not e.rowwise:
            raise QueryError(f"{doing}: on= must read one row at a time; compute {e!r} with with_columns first")
    if not any(e.columns for e in found):
        raise QueryError(f"{doing}: on={on!r} reads no column, so all rows are alike; name a column")
    return tuple({id(e): e for e in found}.values())


def _no_objects(exprs: tuple[Expr, ...], schema: Schema, doing: str) -> None:
    for e in exprs:
        if type_of(e, schema) == pl.Object:
            raise SchemaError(f"{doing}: {e!r} holds Python objects, which cannot be compared; cast or drop it")


def _apart_by_name(compared: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """As fields of a struct: expressions may have the name of a column, or of each other."""
    return tuple(e if isinstance(e, Col) else Call("alias", (e, f"key {k}")) for k, e in enumerate(compared))


def _groups(within: Any, schema: Schema, doing: str, method: str) -> tuple[Expr, ...]:
    if within is None:
        episodes = [name for name in EPISODES if name in schema] if method == "phash" else []
        return tuple(map(Col, episodes[:1]))
    return tuple(Col(n) for n in column_names([within], schema, f"{doing}: within="))


def _rank(keep: Any, schema: Schema, doing: str) -> tuple[tuple[Expr, ...], tuple[bool, ...]]:
    if not isinstance(keep, Best):
        return (), ()
    exprs = tuple(resolve_one(e, schema, f"{doing}: rd.best") for e in keep.exprs)
    for e in exprs:
        if type_of(e, schema).is_nested():
            raise QueryError(f"{doing}: rd.best orders rows by {e!r}, which is a {type_of(e, schema)}; give a number")
    return exprs, keep.descending


def _earlier(against: Any, value: Expr, groups: tuple[Expr, ...], how: How, light: Plan) -> Plan:
    from robodf.frame.dedup_index import DedupIndex
    from robodf.frame.making import from_polars

    if isinstance(against, DedupIndex):
        return against.plan_for(how, light)
    frame = against if isinstance(against, FrameBase) else None
    if frame is None and isinstance(against, (pl.DataFrame, pl.LazyFrame)):
        frame = from_polars(against)
    if frame is None:
        raise OptionError(
            f"dedup: against= is a frame or an rd.DedupIndex, not {type(against).__name__}; "
            "read a data set with rd.read(...), an index with rd.DedupIndex.load(...)"
        )
    for e in (value, *groups):
        for name in sorted(e.columns):
            if name not in frame._plan.schema:
                raise column_not_found(name, frame._plan.schema, "dedup: against=")
    earlier = Select(frame._plan, light_columns(value, groups, ()))
    for name, dtype in earlier.schema.items():
        if dtype != light.schema[name]:
            e = dict(earlier.exprs)[name]
            raise OptionError(
                f"dedup: against= has {e!r} as {dtype}, here it is {light.schema[name]}; cast one of them"
            )
    return earlier


def _said(on: Any, compared: tuple[Expr, ...], groups: tuple[Expr, ...], keep: Any) -> str:
    what = "all columns" if on is None else ", ".join(e.ref if isinstance(e, Col) else repr(e) for e in compared)
    inside = f" within {', '.join(e.ref for e in groups if isinstance(e, Col))}" if groups else ""
    stays = keep if isinstance(keep, str) else "best by " + ", ".join(map(str, keep.exprs))
    return f"{what}{inside}, keep {stays}"
