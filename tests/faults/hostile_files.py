"""Files made by hand to do harm: to read or write outside of their folder, to run code, to fill memory or time."""

from __future__ import annotations

from pathlib import Path

from mutated_kinds import DataSet

SECRET = "open-sesame"
"""What the files around a data set hold: it must not come out of any frame."""


def surroundings(folder: Path) -> None:
    (folder / "secret.txt").write_text(SECRET)


HOSTILE: dict[str, tuple[str, DataSet]] = {}
