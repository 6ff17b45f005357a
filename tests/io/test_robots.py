"""Descriptions of robots as tables, and the poses of their links."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest

import robodf as rd
from robodf.errors import FileFormatError, OptionError, RobodfError, SchemaError

pytest.importorskip("lxml")

ARM = """<?xml version="1.0"?>
<robot name="arm">
  <link name="base"/>
  <link name="upper"><inertial><origin xyz="0 0 .5"/><mass value="2"/>
    <inertia ixx="1" ixy="0" ixz="0" iyy="2" iyz="0" izz="3"/></inertial>
    <visual><geometry><mesh filename="package://arm/upper.dae"/></geometry></visual></link>
  <link name="lower"/><link name="slide"/><link name="finger"/><link name="free"/>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
    <origin xyz="0 0 1" rpy="0.1 0.2 0.3"/>
    <axis xyz="0 1 0"/><limit lower="-1" upper="2.5" effort="10" velocity="3"/><dynamics damping="0.5"/></joint>
  <joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/><origin xyz="0.5 0 0"/>
    <axis xyz="0 0 2"/></joint>
  <joint name="rail" type="prismatic"><parent link="lower"/><child link="slide"/>
    <origin rpy="0 1.5707963267948966 0"/></joint>
  <joint name="grip" type="revolute"><parent link="slide"/><child link="finger"/>
    <mimic joint="elbow" multiplier="-0.5" offset="0.1"/></joint>
  <joint name="loose" type="floating"><parent link="base"/><child link="free"/></joint>
</robot>
"""
WORLD = """<sdf version="1.9"><world name="w"><model name="cart">
  <link name="body"><pose>1 2 3 0 0 90</pose><inertial><mass>5</mass></inertial></link>
  <link name="wheel"><pose degrees="true" relative_to="body">0 0 0 0 0 90</pose></link>
  <joint name="axle" type="revolute"><parent>body</parent><child>wheel</child><axis><xyz>0 1 0</xyz>
    <limit><lower>-1e16</lower><upper>1e16</upper></limit></axis></joint>
  <model name="inner"><link name="l">
    <pose rotation_format="quat_xyzw">0 0 0 0 0 0.7071067811865476 0.7071067811865476</pose></link></model>
</model></world></sdf>
"""


@pytest.fixture
def arm(tmp_path: Path) -> Path:
    (tmp_path / "arm.urdf").write_text(ARM)
    return tmp_path / "arm.urdf"


def test_joints_and_links_of_urdf(arm: Path) -> None:
    joints = rd.read(arm).collect()
    assert joints["joint"].to_list() == ["shoulder", "elbow", "rail", "grip", "loose"]
    assert joints.row(0, named=True) == {
        "path": str(arm), "robot": "arm", "joint": "shoulder", "type": "revolute", "parent": "base", "child": "upper",
        "xyz": [0.0, 0.0, 1.0], "rpy": [0.1, 0.2, 0.3], "relative_to": "base", "axis": [0.0, 1.0, 0.0], "lower": -1.0,
        "upper": 2.5, "effort": 10.0, "velocity": 3.0, "damping": 0.5, "friction": None, "mimic": None,
        "multiplier": None, "offset": None,
    }  # fmt: skip
    assert joints["mimic"].to_list() == [None, None, None, "elbow", None]
    links = rd.sql(f"SELECT * FROM read_urdf('{arm}', \"table\" => 'links') WHERE mass > 1").collect()
    assert links.select("link", "mass", "center_of_mass", "inertia", "visuals", "meshes").rows() == [
        ("upper", 2.0, [0.0, 0.0, 0.5], [1.0, 0.0, 0.0, 2.0, 0.0, 3.0], 1, ["package://arm/upper.dae"])
    ]


def test_models_of_sdf(tmp_path: Path) -> None:
    (tmp_path / "a.sdf").write_text(WORLD)
    links = rd.read_sdf(tmp_path, table="links").collect()
    assert links["robot"].to_list() == ["cart", "cart", "cart::inner"]
    assert links["rpy"].arr.get(2).to_list() == pytest.approx([90, math.pi / 2, math.pi / 2])
    assert links["relative_to"].to_list() == [None, "body", None]
    (joint,) = rd.read(tmp_path / "a.sdf").collect().to_dicts()
    assert (joint["parent"], joint["child"], joint["relative_to"], joint["lower"]) == ("body", "wheel", "wheel", -1e16)


def homogeneous(xyz: list[float], rpy: list[float]) -> np.ndarray:
    r, p, y = rpy
    made = np.eye(4)
    x = np.array([[1, 0, 0], [0, math.cos(r), -math.sin(r)], [0, math.sin(r), math.cos(r)]])
    z = np.array([[math.cos(y), -math.sin(y), 0], [math.sin(y), math.cos(y), 0], [0, 0, 1]])
    made[:3, :3] = z @ np.array([[math.cos(p), 0, math.sin(p)], [0, 1, 0], [-math.sin(p), 0, math.cos(p)]]) @ x
    made[:3, 3] = xyz
    return made


def rotation(q: dict[str, float]) -> np.ndarray:
    x, y, z, w = (q[n] for n in "xyzw")
    return np.array(
        [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
         [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
         [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
    )  # fmt: skip


def test_poses_are_the_products_of_the_chain(arm: Path) -> None:
    draw = np.random.default_rng(1)
    q = {name: draw.uniform(-4, 4, 50) for name in ("shoulder", "elbow", "rail")}
    df = rd.from_dict({name: values.tolist() for name, values in q.items()})
    found = df.select(rd.forward_kinematics(arm, "finger")).collect()["pose"].to_list()
    for row, pose in enumerate(found):
        s, e, t = (q[name][row] for name in ("shoulder", "elbow", "rail"))
        expected = (
            homogeneous([0, 0, 1], [0.1, 0.2, 0.3]) @ homogeneous([0, 0, 0], [0, s, 0])
            @ homogeneous([0.5, 0, 0], [0, 0, e])
            @ homogeneous([0, 0, 0], [0, math.pi / 2, 0]) @ homogeneous([t, 0, 0], [0, 0, 0])
            @ homogeneous([0, 0, 0], [-0.5 * e + 0.1, 0, 0])
        )  # fmt: skip
        assert [pose["position"][n] for n in "xyz"] == pytest.approx(expected[:3, 3].tolist(), abs=1e-12)
        assert np.allclose(rotation(pose["orientation"]), expected[:3, :3], atol=1e-12)


def test_columns_may_have_other_names_and_rows_may_be_unknown(arm: Path) -> None:
    df = rd.from_dict({"state": [[0.1, 0.2], [0.3, None]], "k": [0, 1]}).with_columns(q=rd.col("state").list.get(1))
    pose = rd.forward_kinematics(arm, "lower", {"shoulder": rd.col("state").list.get(0), "elbow": "q"}, base="base")
    found = df.filter(pose.struct.field("position").struct.field("z") < 5).select(pose.alias("p")).collect()["p"]
    assert len(found) == 1
    assert df.select(pose).collect()["pose"].is_null().to_list() == [False, True]
    one = (
        rd.from_dict({"elbow": [float("inf"), 0.0]}).select(rd.forward_kinematics(arm, "lower", base="upper")).collect()
    )
    assert one["pose"].is_null().to_list() == [True, False]


@pytest.mark.parametrize(
    ("link", "options", "message"),
    [
        ("fingr", {}, "did you mean 'finger'"),
        ("lower", {"base": "free"}, "does not hang on 'free'"),
        ("lower", {"joints": {"elbo": "x"}}, "did you mean 'elbow'"),
        ("free", {}, "is floating"),
        ("base", {}, "no joint moves 'base'"),
    ],
)
def test_what_cannot_be_computed_is_said(arm: Path, link: str, options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        rd.forward_kinematics(arm, link, **options)


def test_positions_are_numbers(arm: Path) -> None:
    df = rd.from_dict({"shoulder": ["a"], "elbow": [0.0]})
    with pytest.raises(SchemaError, match="takes numbers"):
        df.select(rd.forward_kinematics(arm, "lower")).collect()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><robot name="&x;"/>', "references external entity"),
        ('<!DOCTYPE r [<!ENTITY x "y">]><robot name="a"/>', "document type of its own"),
        ('<robot xmlns:xacro="x"><xacro:macro/></robot>', "xacro"),
        ("<sdf/>", "its root is <sdf>"),
        ("<robot><joint", "is no XML"),
        ("", "is no XML"),
        ('<robot><link name="a"/><joint name="j" type="spin"/></robot>', "of the type 'spin'"),
        (
            '<robot><joint name="j" type="fixed"><parent link="a"/><child link="b"/></joint></robot>',
            "which is not there",
        ),
        (ARM.replace("0 0 1", "0 0"), "2 numbers, not 3"),
        (ARM.replace('value="2"', 'value="two"'), "are no numbers"),
    ],
)
def test_hostile_and_wrong_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.urdf").write_text(text)
    for table in ("joints", "links"):
        try:
            rd.read_urdf(tmp_path / "a.urdf", table=table).collect()
        except FileFormatError as error:
            if re.search(message, str(error)):
                return
    pytest.fail(f"neither table says {message!r}")


def test_files_of_other_tools(real_data: Path) -> None:
    def counted(name: str) -> tuple[int, int]:
        read = rd.read_sdf if name.endswith(".sdf") else rd.read_urdf
        tables = (read(real_data / name, table=table).collect() for table in ("links", "joints"))
        return tuple(t.height for t in tables)  # type: ignore[return-value]

    assert counted("urdf/erd_panda.urdf") == (13, 12)
    assert counted("urdf/phosphobot_so-100.urdf") == (7, 6)
    assert counted("sdf/double_pendulum.sdf") == (3, 2)
    assert rd.read_sdf(real_data / "sdf/sensors.sdf", table="links").collect().height > 0
    assert rd.read_sdf(real_data / "sdf/shapes_world.sdf", table="links").collect()["robot"].n_unique() == 7
    with pytest.raises(FileFormatError, match="expand it first"):
        rd.read_urdf(real_data / "urdf/tutorial_08-macroed.urdf.xacro").collect()


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    draw = random.Random(8)
    outcomes = set()
    for text, name, read in ((ARM, "a.urdf", rd.read_urdf), (WORLD, "a.sdf", rd.read_sdf)):
        for _ in range(150):
            data = bytearray(text.encode())
            for _ in range(draw.choice((1, 4))):
                data[draw.randrange(len(data))] = draw.randrange(256)
            (tmp_path / name).write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
            try:
                read(tmp_path / name, table=draw.choice(("joints", "links"))).collect()
                outcomes.add("read")
            except RobodfError:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}
