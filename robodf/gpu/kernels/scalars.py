"""The arithmetic of keys, compiled for the device: the functions of `robodf.dedup.arithmetic`, and no others."""

from __future__ import annotations

from typing import Any

import numba.cuda

from robodf.dedup import arithmetic

cuda: Any = numba.cuda  # of which type checkers know little

_compiled = cuda.jit(device=True)

mixed = _compiled(arithmetic.mixed)
stirred = _compiled(arithmetic.stirred)
never_0 = _compiled(arithmetic.never_0)
step = _compiled(arithmetic.step)
finished = _compiled(arithmetic.finished)
separates = _compiled(arithmetic.separates)
code_point = _compiled(arithmetic.code_point)
key = _compiled(arithmetic.key)
