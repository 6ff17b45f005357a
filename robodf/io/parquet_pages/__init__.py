"""Rows of Parquet files by their numbers: of columns of large values the pages that hold them, and nothing else.

    layout.py      where chunks and pages lie: the footer, offset indexes, page headers; what was read is kept
    leaves.py      which columns are read by pages, and how a file holds them
    page.py        one page: levels, encodings, the values of the wanted rows; runs.py, decompress.py, thrift.py
    reading.py     rows into pages, pages into reads, and what is left into columns (column.py)
    locators.py    rows of many files by their locators; the locators of a scan
    costs.py       which columns are heavy, what fetching costs

Everything that a file says is checked against the file before it is believed: lengths, counts, offsets, sizes.
"""

from robodf.io.parquet_pages.costs import Part, fetching, heavy_columns, worth
from robodf.io.parquet_pages.locators import Numbered, fetched

__all__ = ["Numbered", "Part", "fetched", "fetching", "heavy_columns", "worth"]
