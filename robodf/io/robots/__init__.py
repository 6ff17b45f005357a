"""Descriptions of robots, URDF and SDF, as tables of joints and links, and the poses of links."""

from robodf.io.robots.kinematics import forward_kinematics
from robodf.io.robots.source import read_sdf, read_urdf

__all__ = ["forward_kinematics", "read_sdf", "read_urdf"]
