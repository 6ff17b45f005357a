"""Small trajectory files of each format."""

from __future__ import annotations

TUM = """# ground truth trajectory
# file: 'a.bag'
# timestamp tx ty tz qx qy qz qw
1305031098.6659 1.3563 0.6305 1.6380 0.6132 0.5962 -0.3311 -0.3986

1305031098.675899999 1.3543 0.6306 1.6360 0.6129 0.5966 -0.3316 -0.3980
"""
KITTI = """1.0 9.04368e-12 2.32681e-11 5.55112e-17 9.04368e-12 1.0 2.39237e-10 3.33067e-16 2.3268e-11 2.3924e-10 1.0 0
0 -1 0 2.5 1 0 0 -3 0 0 1 4
"""
EUROC = """#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], v_RS_R_x
1403636580838555648,4.688319,-1.786938,0.783338,0.534108,-0.153029,-0.827383,-0.082152,-0.027876
1403636580843555648,4.688177,-1.786770,0.787350,0.534640,-0.152990,-0.826976,-0.082863,-0.029272
"""


def samples() -> dict[str, bytes]:
    """By a name with the extension of the format."""
    return {"a.tum": TUM.encode(), "a.kitti": KITTI.encode(), "a.csv": EUROC.encode()}
