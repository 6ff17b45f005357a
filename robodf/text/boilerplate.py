"""Lines that belong to a web page and not to its text."""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.errors import OptionError
from robodf.plan import kernels
from robodf.text.series import evaluated

# Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer" (2020), section
# 2.2: the phrases by which C4 leaves out lines.
_PHRASES = (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies", "javascript",
    "lorem ipsum",
)  # fmt: skip
_ENDS = ".!?\"'\u201d\u2019\u2026:;)\\]"
_BLANK = r"[^\S\n]"
_PART = rf"{_BLANK}*[^\s|›»·]+(?:{_BLANK}+[^\s|›»·]+){{0,3}}{_BLANK}*"


def without_boilerplate(text: Any, *, min_words: int = 0, terminal: bool = False) -> pl.Expr:
    """Texts without the lines of menus, notices of cookies and the like.

    Takes a column of String. A line goes that holds one of the phrases by which C4 was cleaned ("privacy policy", "uses
    cookies", "javascript", "lorem ipsum", ...; case does not count), that is nothing but links of a menu
    ("Home | About | Login"), or that has fewer than `min_words` words (C4: 5). With `terminal` every line goes that
    does not end as a sentence does, as in C4. Empty lines stay, but for those at the ends. A text of which nothing is
    left is "".

    Source: Raffel et al. 2020, section 2.2.

    >>> import robodf as rd
    >>> df = rd.from_dict({"text": ["Home | About | Login\\nThe arm moves.\\nThis site uses cookies!"]})
    >>> df.select(rd.text.without_boilerplate("text")).collect()["text"].to_list()
    ['The arm moves.']
    """
    if isinstance(min_words, bool) or not isinstance(min_words, int) or not 0 <= min_words <= 1000:
        raise OptionError(f"without_boilerplate: min_words={min_words!r}: a whole number of 0 to 1000")
    return kernels.call("text.without_boilerplate", text, min_words=min_words, terminal=terminal)


def _without(text: pl.Expr, min_words: int, terminal: bool) -> pl.Expr:
    phrases = "|".join(p.replace(" ", rf"{_BLANK}+") for p in _PHRASES)
    lines = [
        rf"(?i:[^\n]*(?:{phrases})[^\n]*)",
        # At least three parts of few words with the signs between them that menus have.
        rf"(?:{_PART}[|›»·]){{2,}}[^|›»·\n]{{0,40}}",
    ]
    if min_words > 1:
        lines.append(rf"{_BLANK}*\S+(?:{_BLANK}+\S+){{0,{min_words - 2}}}{_BLANK}*")
    if terminal:
        lines.append(rf"[^\n]*[^\s{_ENDS}]{_BLANK}*")
    found = "|".join(lines)
    return text.str.replace_all(rf"(?m)^(?:{found})(?:\n|\z)", "").str.strip_chars("\n")


kernels.register(
    "text.without_boilerplate",
    kernels.Kernel(evaluated("without_boilerplate", _without), lambda **_: pl.String(), total=True),
)
