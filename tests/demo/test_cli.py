"""The command line: what it prints, its exit codes, errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.cli import main
from robodf.demo.recordings import write_recordings


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("cli"), recordings=2, seconds=4)


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "robodf", *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_version_and_module():
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"robodf {rd.__version__}\n", "")


def test_info(recordings, capsys):
    assert main(["info", str(recordings.folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 files, 2,008 messages, ")
    assert "sensor_msgs/msg/JointState" in out


def test_info_of_a_damaged_log(recordings, tmp_path, capsys):
    (tmp_path / "cut.mcap").write_bytes(recordings.logs[0].read_bytes()[:-100])
    assert main(["info", str(tmp_path / "cut.mcap")]) == 0
    assert "problem: " in capsys.readouterr().err


def test_sql(recordings, capsys):
    assert main(["sql", f"SELECT count(*) AS n FROM '{recordings.episodes}'"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("1 row\n")


def test_sql_out(recordings, tmp_path, capsys):
    query = f"SELECT recording FROM '{recordings.episodes}'"
    for extension in (".parquet", ".csv", ".ndjson", ".json", ".arrow"):
        target = tmp_path / f"x{extension}"
        assert main(["sql", query, "--out", str(target)]) == 0
        assert rd.read(target).collect().rows() == [("run_01",), ("run_02",)]
    capsys.readouterr()
    assert main(["sql", query, "--out", str(tmp_path / "x.parquet")]) == 1
    assert capsys.readouterr().err.startswith("robodf: ")
    assert main(["sql", query, "--out", str(tmp_path / "x.docx")]) == 1
    assert ".parquet" in capsys.readouterr().err


def test_sql_shows_only_a_part(tmp_path, capsys):
    pl.DataFrame({"a": range(51)}).write_parquet(tmp_path / "a.parquet")
    assert main(["sql", f"SELECT * FROM '{tmp_path / 'a.parquet'}'"]) == 0
    assert "the first 50 rows" in capsys.readouterr().out


def test_explain(recordings, capsys):
    assert main(["explain", f"SELECT recording FROM '{recordings.episodes}' WHERE success"]) == 0
    assert "== physical ==" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "not there"),
        ("info", "not there/*.mcap"),
        ("info", __file__),
        ("sql", "SELECT * FROM nothing_of_this_name"),
        ("sql", "SELEC 1"),
        ("explain", "SELECT count(* FROM t"),
        ("demo", "--out", "/dev/null/x"),
    ],
)
def test_errors_are_said_without_a_traceback(arguments):
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("robodf: ")
    assert "Traceback" not in done.stderr
    assert "\n  at " not in done.stderr


def test_wrong_command():
    done = run("dem")
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


def test_the_next_line_names_the_command_as_it_was_typed(tmp_path):
    done = run("demo", cwd=tmp_path)
    assert f"     {sys.executable} -m robodf demo PATH/TO/YOUR/LOGS" in done.stdout
    script = Path(sys.executable).with_name("robodf")
    if not script.exists():
        pytest.skip("robodf is not installed as a command here")
    for path, typed in (("/usr/bin:/bin", str(script)), (f"{script.parent}:/usr/bin:/bin", "robodf")):
        done = subprocess.run(
            [script, "demo"], capture_output=True, text=True, cwd=tmp_path, env={"PATH": path}, timeout=120
        )
        assert f"     {typed} demo PATH/TO/YOUR/LOGS" in done.stdout


def test_interrupt(monkeypatch):
    def stop(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("robodf.demo.run.write_recordings", stop)
    assert main(["demo"]) == 130


def test_reader_that_has_enough(recordings):
    command = f'"{sys.executable}" -m robodf info "{recordings.folder}" | true'
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
