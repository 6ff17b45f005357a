"""Cleaning of texts: against plain Python on made and random texts."""

from __future__ import annotations

import random
import re
import sys
import unicodedata

import polars as pl
import pytest

import robodf as rd
from robodf.errors import OptionError, SchemaError

_PIECES = [
    "The arm",
    " moves.",
    "\n",
    "\n\n",
    " ",
    "\t",
    "# ",
    "...",
    "…",
    "- ",
    "Ünï",
    "42",
    "|",
    "of",
    "AND",
    "a|b|c",
    "{x}",
]


def texts(seed: int, count: int = 300) -> list[str | None]:
    draw = random.Random(seed)
    made: list[str | None] = ["".join(draw.choices(_PIECES, k=draw.randrange(12))) for _ in range(count)]
    return [*made, None, "", "\n", " "]


def test_normalize_leaves_no_invisible_characters_and_is_the_same_twice() -> None:
    odd = [
        "\u201cPick\u201d\u00a0 it\u2019s\u200b\u200e up\r\n\r\n\r\nnow\x07\x1f\x7f",
        "ﬁne ｆｕｌｌ",
        "e\u0301",
        "\ufeffa \n b",
        None,
    ]
    df = rd.from_dict({"t": odd})
    found = df.select(rd.text.normalize("t")).collect()["t"].to_list()
    assert found == ['"Pick" it\'s up\n\nnow', "ﬁne ｆｕｌｌ", "\u00e9", "a\nb", None]
    again = rd.from_dict({"t": found}).select(rd.text.normalize("t")).collect()["t"].to_list()
    assert again == found
    compatible = df.select(rd.text.normalize("t", form="NFKC")).collect()["t"].to_list()
    assert compatible[1] == "fine full"


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD"])
def test_forms_are_those_of_unicode(form: str) -> None:
    odd = ["e\u0301ﬁ", "Å\u212b", "가", "ｱ"]
    found = rd.from_dict({"t": odd}).select(rd.text.normalize("t", form=form)).collect()["t"].to_list()
    assert found == [unicodedata.normalize(form, text) for text in odd]


def test_normalize_can_keep_blanks_and_quotes() -> None:
    df = rd.from_dict({"t": ["\u201ca\u201d  b \n"]})
    assert df.select(rd.text.normalize("t", quotes=False, blanks=False)).collect()["t"].to_list() == [
        "\u201ca\u201d  b \n"
    ]
    with pytest.raises(OptionError, match="did you mean 'NFD' or 'NFC'"):
        rd.text.normalize("t", form="NFX")


def test_boilerplate_lines_go_and_others_stay() -> None:
    page = "\n".join(
        [
            "Home | About us | Login",
            "Robots » Arms » Grippers",
            "The gripper opens | closes.",
            "",
            "We use   cookies to improve.",
            "Read our PRIVACY POLICY here",
            "Pick the cup",
        ]
    )
    df = rd.from_dict({"t": [page, None, "", "javascript"]})
    found = df.select(rd.text.without_boilerplate("t")).collect()["t"].to_list()
    assert found == ["The gripper opens | closes.\n\nPick the cup", None, "", ""]


@pytest.mark.parametrize("least", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("terminal", [False, True])
def test_short_and_unended_lines_as_plain_python_finds_them(least: int, terminal: bool) -> None:
    given = texts(1)

    def stays(line: str) -> bool:
        if not line.strip():
            return True
        if re.fullmatch(r"(?:[^\S\n]*[^\s|›»·]+(?:[^\S\n]+[^\s|›»·]+){0,3}[^\S\n]*[|›»·]){2,}[^|›»·\n]{0,40}", line):
            return False
        return len(line.split()) >= min(least, 2**30) and (not terminal or line.rstrip()[-1] in ".!?\"'”’…:;)]")

    expected = [t if t is None else "\n".join(filter(stays, t.split("\n"))).strip("\n") for t in given]
    df = rd.from_dict({"t": given})
    found = df.select(rd.text.without_boilerplate("t", min_words=least, terminal=terminal)).collect()["t"].to_list()
    assert found == expected
    with pytest.raises(OptionError, match="min_words"):
        rd.text.without_boilerplate("t", min_words=-1)


def test_figures_of_quality_as_plain_python_counts_them() -> None:
    given = texts(2)
    found = rd.from_dict({"t": given}).select(rd.text.quality("t")).unnest("quality").collect()

    def share(part: int, whole: int) -> float:
        return part / whole if whole else 0.0

    for row, text in zip(found.iter_rows(named=True), given):
        if text is None:
            assert set(row.values()) == {None}
            continue
        words, lines = text.split(), [line.strip() for line in text.split("\n") if line.strip()]
        letters = [c for c in text if c.isalpha()]
        assert row == {
            "words": len(words),
            "mean_word_length": sum(map(len, words)) / len(words) if words else None,
            "symbol_share": share(len(re.findall(r"[#|{}<>…]|\.\.\.", text)), len(words)),
            "alphabetic_share": share(sum(any(c.isalpha() for c in w) for w in words), len(words)),
            "stop_words": sum(
                bool(re.search(rf"\b{w}\b", text, re.I))
                for w in ("the", "be", "to", "of", "and", "that", "have", "with")
            ),
            "bullet_share": share(len(re.findall(r"(?m)^[ \t]*[-*•‣●◦][ \t]", text)), len(lines)),
            "ellipsis_share": share(sum(line.endswith(("...", "…")) for line in lines), len(lines)),
            "duplicate_line_share": share(len(lines) - len(set(lines)), len(lines)),
            "upper_share": share(sum(c.isupper() for c in letters), len(letters)),
        }, text


def test_a_filter_on_quality_goes_below_a_sort() -> None:
    df = rd.from_dict({"t": ["one two three", "one"], "k": [2, 1]})
    plan = str(df.sort("k").filter(rd.text.quality("t").struct.field("words") > 1).explain("optimized"))
    assert plan.index("Sort") < plan.index("Filter")
    with pytest.raises(SchemaError, match="quality takes a column of texts, not Int64"):
        df.select(rd.text.quality("k")).collect()


def test_languages() -> None:
    pytest.importorskip("py3langid")
    given = [
        "Put the red block into the box.",
        "Der Greifer hebt den Becher auf.",
        "Le robot ouvre la porte.",
        "42 !",
        None,
    ]
    found = rd.from_dict({"t": given}).select(rd.text.language("t")).unnest("t").collect()
    assert found["code"].to_list() == ["en", "de", "fr", None, None]
    assert found["probability"].drop_nulls().is_between(0.5, 1).all()
    assert found.schema == {"code": pl.String(), "probability": pl.Float32()}


def test_without_the_package_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(ImportError, match=r"pip install 'robodf\[text\]'"):
        rd.text.language("t")
