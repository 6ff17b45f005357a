"""Cleaning of texts: captions, instructions, documents.

The functions are expressions over columns of texts, so they work in `select`, `with_columns` and `filter`, are pushed
down, and give null for null.

>>> import robodf as rd
>>> df = rd.from_dict({"text": ["“Pick  up” the\\u200b cup", "Home | About | Login"]})
>>> df.select(rd.text.normalize("text")).collect()["text"].to_list()
['"Pick up" the cup', 'Home | About | Login']
>>> df.filter(rd.text.quality("text").struct.field("symbol_share") < 0.1).count_rows()
1
"""

from robodf.text.boilerplate import without_boilerplate
from robodf.text.language import language
from robodf.text.normalize import normalize
from robodf.text.quality import quality

__all__ = ["language", "normalize", "quality", "without_boilerplate"]
