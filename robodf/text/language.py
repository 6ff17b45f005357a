"""The language of texts, by the small model of py3langid."""

from __future__ import annotations

import threading
from functools import cache
from importlib.util import find_spec
from typing import Any

import polars as pl

from robodf.errors import SchemaError
from robodf.plan import kernels

_LANGUAGE = pl.Struct({"code": pl.String(), "probability": pl.Float32()})
_LONGEST = 2000  # characters that are looked at: more do not change the answer
_lock = threading.Lock()


def language(text: Any) -> pl.Expr:
    """The language of each text, as `Struct(code String, probability Float32)`.

    Takes a column of String. `code` is one of 97 languages by ISO 639-1 ("en"), `probability` that of the model among
    these, from the first 2,000 characters. Null for null and for texts without a letter. A text of a few words is often
    taken for another language: filter by probability, or judge whole documents.

    Needs `pip install 'robodf[text]'` (py3langid, Lui and Baldwin: langid.py, 2012).

    >>> import robodf as rd
    >>> df = rd.from_dict({"text": ["Put the red block into the box.", "Der Greifer hebt den Becher auf.", "123"]})
    >>> df.select(rd.text.language("text").struct.field("code")).collect()["code"].to_list()
    ['en', 'de', None]
    """
    if find_spec("py3langid") is None:
        raise ImportError("rd.text.language needs py3langid: pip install 'robodf[text]'")
    return kernels.call("text.language", text)


def _language(texts: pl.Series) -> pl.Series:
    if texts.dtype not in (pl.String, pl.Null, pl.Categorical, pl.Enum):
        raise SchemaError(f"language takes a column of texts, not {texts.dtype}: cast it to String")
    # Equal texts, such as instructions, are judged once.
    distinct = texts.cast(pl.String).str.slice(0, _LONGEST)
    known = distinct.unique().drop_nulls().to_list()
    found = {text: _classified(text) for text in known}
    rows = [found.get(text) for text in distinct]
    return pl.Series(rows, dtype=_LANGUAGE)


def _classified(text: str) -> dict | None:
    if not any(map(str.isalpha, text)):
        return None
    # A surrogate cannot be in a column; other characters the model does not know count for nothing.
    with _lock:
        code, probability = _model().classify(text)
    return {"code": code, "probability": probability}


@cache
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


kernels.register("text.language", kernels.Kernel(_language, lambda: _LANGUAGE, total=True))
