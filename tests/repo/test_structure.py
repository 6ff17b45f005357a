"""Rules of the repository that a machine can check."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import robodf
from robodf.plan import nodes
from robodf.plan.base import Plan

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "robodf").rglob("*.py"))
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(robodf.__path__, "robodf.")
    if not m.name.endswith("__main__")  # it would run
)
HEAVY = (
    "ray",
    "torch",
    "numba",
    "pandas",
    "duckdb",
    "matplotlib",
    "rosbags",
    "sqlglot",
    "pyarrow.parquet",
    "av",
    "h5py",
    "cudf",
    "cupy",
    "rmm",
    "pylibcudf",
    "cudf_polars",
    "pynvml",
    "robodf.gpu",
)


def test_no_file_is_long() -> None:
    long = {str(f.relative_to(ROOT)): n for f in FILES if (n := len(f.read_text("utf-8").splitlines())) > 600}
    assert not long


def _node_classes() -> list[str]:
    found = set()
    for info in pkgutil.iter_modules(nodes.__path__, "robodf.plan.nodes."):
        module = importlib.import_module(info.name)
        found |= {
            name for name, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, Plan) and value is not Plan and not name.startswith("_")
        }  # fmt: skip
    return sorted(found)


@pytest.mark.parametrize("name", _node_classes())
def test_every_node_has_a_test(name: str) -> None:
    texts = [f.read_text("utf-8") for f in (ROOT / "tests").rglob("test_*.py") if f.name != Path(__file__).name]
    assert any(name in text for text in texts), f"no test names the node {name}"


def _imports(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it, except for type checkers alone."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    typing = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for part in block.body
        for n in ast.walk(part)
    }
    for n in ast.walk(tree):
        if id(n) in typing:
            continue
        if isinstance(n, ast.Import):
            found |= {a.name for a in n.names}
        elif isinstance(n, ast.ImportFrom) and n.module:
            found |= {n.module, *(f"{n.module}.{a.name}" for a in n.names)}
    return found


CUDA = ("cudf", "cupy", "rmm", "pylibcudf", "cudf_polars", "pynvml", "numba.cuda")
USERS = ("robodf.frame", "robodf.sql")


@pytest.mark.parametrize(
    ("folder", "above"),
    [
        ("plan", ("ray", "torch", *CUDA, "robodf.gpu", "robodf.optimizer", "robodf.physical", *USERS)),
        ("optimizer", ("ray", "torch", *CUDA, "robodf.gpu", "robodf.physical", *USERS)),
        ("io", ("ray", *CUDA, "robodf.gpu", "robodf.optimizer", *USERS)),
        ("physical", (*CUDA, *USERS)),
        ("gpu", ("ray", "robodf.optimizer", "robodf.physical", *USERS)),
    ],
)
def test_nothing_imports_what_is_above_it(folder: str, above: tuple[str, ...]) -> None:
    allowed = {("io", "read.py"), ("io", "sink.py"), ("io", "ray_datasets.py")}  # the makers of frames, data of Ray
    wrong = [
        f"{f.relative_to(ROOT)}: {name}"
        for f in sorted((ROOT / "robodf" / folder).rglob("*.py"))
        if (folder, f.name) not in allowed
        for name in _imports(f)
        if any(name == a or name.startswith(a + ".") for a in above)
    ]
    assert not wrong


_OF_THE_EXTRA = ("cudf", "cupy", "rmm", "pylibcudf", "cudf_polars", "cuda", "torch", "numba")


@pytest.mark.parametrize("file", [f for f in FILES if f.parts[-2] == "gpu"], ids=lambda f: f.name)
def test_libraries_of_the_gpu_are_imported_where_they_are_used(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"))
    for n in tree.body:  # at the top of the file: a machine without a GPU imports it too
        names = [a.name for a in n.names] if isinstance(n, ast.Import) else [getattr(n, "module", None) or ""]
        assert not [name for name in names if name.split(".")[0] in _OF_THE_EXTRA]


def test_import_is_light() -> None:
    code = f"import sys, robodf; print([m for m in {HEAVY!r} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"


def test_every_public_method_of_a_frame_has_a_docstring() -> None:
    bare = [
        name for name, value in inspect.getmembers(robodf.PipelineDataFrame)
        if not name.startswith("_") and not inspect.getdoc(value)
    ]  # fmt: skip
    assert not bare


@pytest.mark.parametrize("name", ["robodf", *MODULES])
def test_examples_run(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} needs {error.name}, which is not installed")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(module):
        if name == "robodf.plan.functions" and test.name != name:
            continue  # the documentation of Polars' functions is Polars' own
        runner.run(test)
    assert not runner.failures
