"""Looking at a query without running it, and at what it cost when it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from robodf.config import check_engine
from robodf.errors import OptionError, column_not_found, hint
from robodf.frame.base import FrameBase

if TYPE_CHECKING:
    from robodf.physical.explain import Explanation
    from robodf.physical.profile import Profile
    from robodf.preview.sheet import ContactSheet
    from robodf.preview.table import Preview

STAGES = ("logical", "optimized", "rules", "physical", "all")


class Looking(FrameBase):
    """Methods that describe the query."""

    def explain(self, stage: str = "all", *, format: str = "text", engine: str | None = None) -> Explanation:
        """The plan: as it was written (logical), optimized, what each rule did (rules), and what will run (physical).

        `physical` says per scan which predicates are applied inside of the files and the bytes that will be read out
        of the total, from indexes alone, and what Polars' streaming engine must hold in memory. Nothing is executed.
        For the engine "ray" (of `engine=` or rd.config) it shows the plan in its fragments, each with the number of its
        tasks, and of each operator the partitions, and the rows and bytes that are expected; with "auto" also why it is
        chosen. No cluster is started or connected: without one the plan is cut for the processors that are named.
        Where there is a GPU, or for the engine "gpu", it says of each fragment whether it goes there, why, and the
        seconds that it is expected to take on either.
        The answer prints as text, shows as HTML in a notebook, and has `.mermaid()`; format="mermaid" gives that text.

        >>> import robodf as rd
        >>> print(rd.from_dict({"a": [1]}).filter(rd.col("a") > 0).explain("logical"))
        Filter col("a") > 0
          InMemory 1 rows, 1 columns
        """
        from robodf.physical.explain import explain

        if stage not in STAGES:
            raise OptionError(f"explain: stage is one of {', '.join(STAGES)}, not {stage!r}{hint(stage, STAGES)}")
        if format not in ("text", "mermaid"):
            raise OptionError(f"explain: format is text or mermaid, not {format!r}")
        if engine is not None:
            check_engine(engine)
        return explain(self._plan, stage, format, engine)

    def profile(self, engine: str | None = None) -> Profile:
        """Run the query operator by operator and measure each: rows, bytes and seconds.

        On a cluster (of `engine=` or rd.config) it is run as always, and measured fragment by fragment: the tasks
        between two exchanges, with their rows, bytes, seconds, bytes read, retries and bytes spilled to disk. In this
        process, with a GPU, there is also `device`: where a fragment ran, for how long, what was tried before.

        The result has `.rows` (the answer, a polars.DataFrame) and `.stages` (one row an operator). Every operator's
        output is held in memory meanwhile, which a normal run does not do: use it on a part of large data.
        """
        from robodf.physical.profile import profile

        return profile(self._plan, engine)

    def preview(self, n: int = 8) -> Preview:
        """The first `n` rows to look at. Executes the query until they are there.

        Prints as text. In a notebook it is a table with, in the first 8 rows,

        - thumbnails (128 pixels) of images: encoded (JPEG, PNG, ...), decoded, or messages of them,
        - clouds (lists of points with x and y, or PointCloud2) from above, x up, coloured by z,
        - lines through lists of numbers, in all rows.

        At most three columns have pictures, and the whole has at most 1 MB. Pictures need Pillow
        (`pip install 'robodf[images]'`). `.frame` has the rows.

        >>> import robodf as rd
        >>> df = rd.from_dict({"name": ["a<b"], "series": [[0.0, 1.0, 0.5]]})
        >>> page = df.preview()._repr_html_()
        >>> "a&lt;b" in page, "<polyline" in page
        (True, True)
        """
        from robodf.preview.table import Preview

        if type(n) is not int or n < 0:
            raise OptionError(f"preview: n is a number of rows, not {n!r}")
        return Preview(self.head(n).collect())  # type: ignore[attr-defined]

    def contact_sheet(self, column: str, *, columns: int = 6, size: int = 128, rows: int = 60) -> ContactSheet:
        """The images (or clouds) of the first `rows` rows on one. Executes the query until they are there.

        `columns` images are in a line, each at most `size` pixels high and wide; what cannot be decoded is a grey
        square. The result shows in a notebook, with at most 1 MB, and has `.save("sheet.png")` and `.pixels`, of which
        there are at most 2**26.

        Raises SchemaError where none of these rows holds an image. Needs Pillow (`pip install 'robodf[images]'`).

        >>> import robodf as rd
        >>> images = [b"P5 4 2 255 " + bytes([shade] * 8) for shade in (0, 90, 180)]
        >>> rd.from_dict({"frame": images}).contact_sheet("frame", columns=2, size=16)
        ContactSheet of 3 images, 44 x 44 pixels: .save('sheet.png')
        """
        from robodf.images.pillow import check_pillow
        from robodf.preview.sheet import GAP, MOST_PIXELS, ContactSheet, small_images

        check_pillow("contact_sheet")
        for name, value, most in (("columns", columns, 100), ("size", size, 1024), ("rows", rows, 10_000)):
            if type(value) is not int or not 1 <= value <= most:
                raise OptionError(f"contact_sheet: {name} is 1 to {most}, not {value!r}")
        if -(-rows // columns) * min(rows, columns) * (size + GAP) ** 2 > MOST_PIXELS:
            raise OptionError(
                f"contact_sheet: {rows} images of {size} pixels, {columns} in a line, are more than the "
                f"{MOST_PIXELS:,} pixels of a sheet: ask for fewer rows, or a smaller size"
            )
        if column not in self.schema:
            raise column_not_found(column, self.schema, "contact_sheet")
        images = small_images(self.head(rows), column, size)  # type: ignore[attr-defined]
        return ContactSheet(images, columns, size)

    @property
    def errors(self) -> pl.DataFrame:
        """What was skipped under on_error="skip" or "collect" in the runs so far: file, topic, offset, time, error."""
        from robodf.physical.errors import skipped

        return skipped(self._plan)

    def __repr__(self) -> str:
        """Schema and size of the plan; never executes."""
        from robodf.plan.node import walk

        operators = sum(1 for n in walk(self._plan) if hasattr(n, "lower"))
        lines = [f"  {name}: {dtype}" for name, dtype in self._plan.schema.items()]
        if len(lines) > 30:
            lines = [*lines[:30], f"  … {len(lines) - 30} more columns"]
        body = "\n".join(lines)
        return f"PipelineDataFrame, not run: {operators} operators. Use .show(), .collect() or .explain().\n{body}"

    def _repr_html_(self) -> str:
        from robodf.physical.explain import frame_html

        return frame_html(self._plan)
