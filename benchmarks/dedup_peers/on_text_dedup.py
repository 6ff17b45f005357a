"""text-dedup: the command `python -m text_dedup.minhash`, from a data set on disk (mapped) to one on disk."""

from __future__ import annotations

import shutil
from typing import Any

import polars as pl
from datasets import Dataset, disable_caching, load_from_disk  # pyright: ignore[reportMissingImports]
from text_dedup.minhash import main as command  # pyright: ignore[reportMissingImports]

PACKAGES = ("text-dedup", "datasets")


def given(frame: pl.DataFrame, scratch: str) -> str:
    disable_caching()
    Dataset(frame.to_arrow()).save_to_disk(scratch)
    return scratch


def fuzzy(folder: str, threshold: float, words: int, perms: int, **options: Any) -> Any:
    shutil.rmtree(f"{folder}-out", ignore_errors=True)
    said = {"path": folder, "output": f"{folder}-out", "column": "text", "ngram": words, "num_perm": perms,
            "threshold": threshold, "num_proc": 1, "batch_size": 10_000}  # fmt: skip
    arguments = ["--local"] + [part for name, value in said.items() for part in (f"--{name}", str(value))]
    command.main(args=arguments, standalone_mode=False)
    return load_from_disk(f"{folder}-out").with_format("arrow")[:]
