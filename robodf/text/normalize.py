"""Texts that look the same made the same."""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.errors import OptionError, hint
from robodf.plan import kernels
from robodf.text.series import evaluated

FORMS = ("NFC", "NFKC", "NFD", "NFKD")

# Zero-width characters, marks of direction, the soft hyphen, the byte order mark: what shows nothing.
_INVISIBLE = "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
_QUOTES = (("[\u2018\u2019\u201a\u201b\u2032]", "'"), ("[\u201c\u201d\u201e\u201f\u2033]", '"'))
_BLANKS = r"[^\S\n]+"


def normalize(text: Any, *, form: str = "NFC", quotes: bool = True, blanks: bool = True) -> pl.Expr:
    """Texts in one Unicode form, without characters that show nothing.

    Takes a column of String. Control characters but tab and line feed go, `\\r\\n` and `\\r` become `\\n`. With
    `quotes` typographic quotation marks and apostrophes become ' and ", with `blanks` a run of blanks becomes one,
    there are none at the ends of lines, and more than one empty line becomes one. Case and words stay. `form` is NFC,
    NFKC (which also makes ligatures and full-width letters plain), NFD or NFKD.

    >>> import robodf as rd
    >>> df = rd.from_dict({"text": ["a\\u0301 \\t b\\r\\n\\r\\n\\r\\n c", None]})
    >>> df.select(rd.text.normalize("text")).collect()["text"].to_list()
    ['á b\\n\\nc', None]
    """
    if form not in FORMS:
        raise OptionError(f"normalize: form={form!r}{hint(str(form), FORMS)} Forms: {', '.join(FORMS)}")
    return kernels.call("text.normalize", text, form=form, quotes=quotes, blanks=blanks)


def _normalized(text: pl.Expr, form: Any, quotes: bool, blanks: bool) -> pl.Expr:
    made = text.str.normalize(form).str.replace_all(r"\r\n?", "\n")
    made = made.str.replace_all(r"[\p{Cc}--[\t\n]]", "").str.replace_all(_INVISIBLE, "")
    if quotes:
        for found, plain in _QUOTES:
            made = made.str.replace_all(found, plain)
    if blanks:
        made = made.str.replace_all(_BLANKS, " ").str.replace_all(r" ?\n ?", "\n").str.replace_all(r"\n{3,}", "\n\n")
        made = made.str.strip_chars()
    return made


kernels.register(
    "text.normalize", kernels.Kernel(evaluated("normalize", _normalized), lambda **_: pl.String(), total=True)
)
