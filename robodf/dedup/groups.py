"""The groups inside which rows are compared, as numbers."""

from __future__ import annotations

import numpy as np
import polars as pl

from robodf.compat import looked_up
from robodf.errors import OptionError

_NUMBER = "__robodf_number"


class Groups:
    """Numbers for the values of some columns, batch after batch: equal values have one number, also null and NaN."""

    def __init__(self, columns: list[str]):
        self.columns = columns
        self.known: pl.DataFrame | None = None

    def numbers(self, batch: pl.DataFrame) -> np.ndarray:
        """The number of the group of each row, uint32. Which number a group has means nothing."""
        keys = batch.select(self.columns)
        here = keys.unique(maintain_order=True)
        if self.known is None:
            self.known = here.with_row_index(_NUMBER)
        else:
            new = looked_up(here, self.known, self.columns).filter(pl.col(_NUMBER).is_null()).select(self.columns)
            if new.height + self.known.height > 2**32 - 2:
                raise OptionError("dedup: within= makes more than 4,294,967,294 groups; leave it away")
            if new.height:
                self.known = pl.concat([self.known, new.with_row_index(_NUMBER, self.known.height)])
        return looked_up(keys, self.known, self.columns).get_column(_NUMBER).to_numpy().astype(np.uint32)
