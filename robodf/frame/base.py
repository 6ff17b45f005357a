"""What every part of the frame builds on: a plan, and one way to go on from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import QueryError, RobodfError
from robodf.plan.base import Plan

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


class FrameBase:
    """Holds the plan. Immutable: every method gives a new frame."""

    _plan: Plan

    def __init__(self, plan: Plan):
        if not isinstance(plan, Plan):
            raise TypeError(
                "make a frame with rd.read(...), rd.from_dict(...), rd.from_polars(...) and the like, "
                f"not with PipelineDataFrame({type(plan).__name__})"
            )
        object.__setattr__(self, "_plan", plan)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"frames are immutable: write df = df.with_columns({name}=...)")

    def _then(self, plan: Plan) -> PipelineDataFrame:
        """A frame of `plan`, whose schema is computed now, so that a wrong query is reported on the user's line."""
        from robodf.frame.frame import PipelineDataFrame

        try:
            _ = plan.schema
        except RobodfError:
            raise
        except pl.exceptions.PolarsError as error:
            raise QueryError(f"{plan.label()}: {str(error).splitlines()[0]}") from error
        return PipelineDataFrame(plan)

    @property
    def schema(self) -> pl.Schema:
        """Column names and types. Nothing is executed."""
        return pl.Schema(self._plan.schema)

    @property
    def columns(self) -> list[str]:
        """Column names. Nothing is executed."""
        return list(self._plan.schema)

    @property
    def dtypes(self) -> list[pl.DataType]:
        """Column types. Nothing is executed."""
        return list(self._plan.schema.values())

    @property
    def width(self) -> int:
        """How many columns. Nothing is executed."""
        return len(self._plan.schema)

    def collect_schema(self) -> pl.Schema:
        """The same as `schema`, under Polars' name."""
        return self.schema

    def __reduce__(self):
        return type(self), (self._plan,)
