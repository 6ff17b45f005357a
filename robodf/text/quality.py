"""Figures by which texts that are no prose are found."""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.plan import kernels
from robodf.text.series import evaluated

_FIGURES = pl.Struct(
    {"words": pl.UInt32(), "mean_word_length": pl.Float64(), "symbol_share": pl.Float64(),
     "alphabetic_share": pl.Float64(), "stop_words": pl.UInt32(), "bullet_share": pl.Float64(),
     "ellipsis_share": pl.Float64(), "duplicate_line_share": pl.Float64(), "upper_share": pl.Float64()}
)  # fmt: skip
_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_WORD, _LINE = r"\S+", r"(?m)^[^\S\n]*\S"


def quality(text: Any) -> pl.Expr:
    """Figures of each text, as the `Struct` column "quality"; null for null.

    | field | what it is |
    |---|---|
    | words | UInt32: runs of characters that are no blanks |
    | mean_word_length | Float64: characters that are no blanks, by word; null without a word |
    | symbol_share | Float64: `#`, `|`, `{`, `}`, `<`, `>` and ellipses, by word |
    | alphabetic_share | Float64: the share of words with at least one letter |
    | stop_words | UInt32: how many of the, be, to, of, and, that, have, with occur |
    | bullet_share, ellipsis_share | Float64: the shares of lines that begin with a bullet, that end with an ellipsis |
    | duplicate_line_share | Float64: the share of lines that repeat an earlier one |
    | upper_share | Float64: the share of letters that are capital |

    Lines are those that are not empty; a share of nothing is 0. Gopher kept documents of 50 to 100,000 words with a
    mean length of 3 to 10, a symbol_share of up to 0.1, an alphabetic_share from 0.8, 2 stop words and more, less than
    0.9 bullets and 0.3 ellipses, and up to 0.3 repeated lines. Captions have fewer words: choose your own bounds.

    Source: Rae et al., "Scaling language models: methods, analysis and insights from training Gopher" (2021), table A1.

    >>> import robodf as rd
    >>> df = rd.from_dict({"text": ["Pick up the cup and put it on the table.", "### {x} | {y} ..."]})
    >>> found = df.select(rd.text.quality("text")).unnest("quality").collect()
    >>> found["stop_words"].to_list(), found["symbol_share"].round(2).to_list()
    ([2, 0], [0.0, 1.8])
    """
    return kernels.call("text.quality", text).alias("quality")


def _figures(value: pl.Expr) -> pl.Expr:
    words, lines = value.str.count_matches(_WORD), value.str.count_matches(_LINE)
    shown = value.str.replace_all(r"(?m)^[^\S\n]+|[^\S\n]+$", "").str.split("\n").list.set_difference([""])
    letters = value.str.count_matches(r"\p{L}")
    made = pl.struct(
        words=words,
        mean_word_length=_by(value.str.count_matches(r"\S"), words, None),
        symbol_share=_by(value.str.count_matches(r"[#|{}<>]|\u2026|\.\.\."), words),
        alphabetic_share=_by(value.str.count_matches(r"[^\s\p{L}]*\p{L}\S*"), words),
        stop_words=pl.sum_horizontal(
            *(value.str.contains(rf"(?i)\b{word}\b").cast(pl.UInt32) for word in _STOP_WORDS)
        ).cast(pl.UInt32),
        bullet_share=_by(value.str.count_matches(r"(?m)^[^\S\n]*[-*\u2022\u2023\u25cf\u25e6][^\S\n]"), lines),
        ellipsis_share=_by(value.str.count_matches(r"(?m)(?:\u2026|\.\.\.)[^\S\n]*$"), lines),
        duplicate_line_share=_by(lines - shown.list.n_unique().cast(pl.UInt32), lines),
        upper_share=_by(value.str.count_matches(r"\p{Lu}"), letters),
    )
    return pl.when(value.is_not_null()).then(made)


def _by(part: pl.Expr, whole: pl.Expr, of_nothing: float | None = 0.0) -> pl.Expr:
    """A share."""
    return pl.when(whole > 0).then(part.cast(pl.Float64) / whole).otherwise(pl.lit(of_nothing, pl.Float64))


kernels.register("text.quality", kernels.Kernel(evaluated("quality", _figures), lambda: _FIGURES, total=True))
