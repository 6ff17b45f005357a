"""What the user says: the frame, its columns and its groups."""

from robodf.frame.frame import PipelineDataFrame

__all__ = ["PipelineDataFrame"]
