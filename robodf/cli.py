"""The command `robodf`: the demo, a look at logs, SQL over files, calibration."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from polars.exceptions import PolarsError

from robodf.errors import OptionError, RobodfError, listing

_WRITERS = {
    ".parquet": "to_parquet", ".csv": "to_csv", ".ndjson": "to_ndjson", ".jsonl": "to_ndjson", ".json": "to_json",
    ".arrow": "to_ipc", ".ipc": "to_ipc", ".feather": "to_ipc",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code: 0, 1 after an error, 2 for a wrong command, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (RobodfError, OSError, PolarsError) as error:
        print(f"robodf: {_text(error)}", file=sys.stderr)
        return 1


def _text(error: Exception) -> str:
    """The message without the user's line in Python: here the user typed a command."""
    return str(error).split("\n  at ")[0]


def _parser() -> argparse.ArgumentParser:
    from robodf import __version__

    parser = argparse.ArgumentParser(prog="robodf", description="Robot logs as tables: lazy, planned, with SQL.")
    parser.add_argument("--version", action="version", version=f"robodf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="run the main job on recordings made for it, or on your own logs")
    demo.add_argument("path", nargs="?", help="your MCAP log, a folder of them, or a pattern")
    demo.add_argument("--out", default="robodf-demo", metavar="DIR", help="where files go (default: %(default)s)")
    demo.add_argument("--keep", action="store_true", help="use the demo's recordings that are in DIR already")
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="list the topics of logs, without reading their messages")
    info.add_argument("path", help="an MCAP log, a folder of them, or a pattern")
    info.set_defaults(run=_info)

    sql = commands.add_parser("sql", help="run a SQL query over files")
    sql.add_argument("query", help="such as: SELECT * FROM 'episodes.parquet' LIMIT 5")
    sql.add_argument("--out", metavar="FILE", help=f"write all rows to a new file ({', '.join(_WRITERS)})")
    sql.set_defaults(run=_sql)

    explain = commands.add_parser("explain", help="show the plan of a SQL query, and what it will read")
    explain.add_argument("query")
    explain.set_defaults(run=_explain)

    calibrate = commands.add_parser("calibrate", help="measure this machine, for the choice between CPU and GPU")
    calibrate.add_argument("--show", action="store_true", help="print what is in force, and measure nothing")
    calibrate.add_argument("--reset", action="store_true", help="forget what was measured before")
    calibrate.set_defaults(run=_calibrate)
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    if arguments.path is None:
        from robodf.demo.run import run

        return run(arguments.out, arguments.keep)
    from robodf.demo.own_logs import run as run_own

    return run_own(arguments.path, arguments.out)


def _info(arguments: argparse.Namespace) -> int:
    from robodf import open_log
    from robodf.demo.printing import TOPIC_COLUMNS, columns, plural, topic_rows

    log = open_log(arguments.path, on_error="collect")
    count = log.message_count
    messages = "messages not counted" if count is None else plural(count, "message")
    print(f"{plural(len(log.paths), 'file')}, {messages}, {log.size:,} bytes, {log.start or '-'} to {log.end or '-'}")
    if len(log):
        columns(topic_rows(log.topics, 200), TOPIC_COLUMNS)
    for problem in log.problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 0


def _sql(arguments: argparse.Namespace) -> int:
    from robodf import sql

    writer = None if arguments.out is None else _writer(arguments.out)
    frame = sql(arguments.query)
    if writer is not None:
        print(getattr(frame, writer)(arguments.out))
        return 0
    import polars as pl

    from robodf.demo.printing import plural

    shown, width = 50, max(80, shutil.get_terminal_size((120, 24)).columns)
    rows = frame.head(shown + 1).collect()
    with pl.Config(
        tbl_rows=shown, tbl_cols=30, fmt_str_lengths=80, tbl_width_chars=width, tbl_hide_dataframe_shape=True
    ):
        print(rows.head(shown))
    print(f"the first {shown} rows; --out FILE writes all" if rows.height > shown else plural(rows.height, "row"))
    return 0


def _writer(path: str) -> str:
    extension = os.path.splitext(path)[1].lower()
    if extension not in _WRITERS:
        raise OptionError(f"--out {path}: the name must end in one of {listing(_WRITERS)}")
    return _WRITERS[extension]


def _explain(arguments: argparse.Namespace) -> int:
    from robodf import sql

    print(sql(arguments.query).explain())
    return 0


def _calibrate(arguments: argparse.Namespace) -> int:
    from robodf.gpu.calibrate import calibrate, report

    if not arguments.show:
        print(f"kept in {calibrate(reset=arguments.reset)}")
    print(report())
    return 0
