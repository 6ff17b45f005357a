"""What is tried again, what is not, and how an exception comes home."""

from __future__ import annotations

import errno
import pickle
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import polars as pl
import pytest

from robodf.compat import keep_failure
from robodf.physical.retry import describe_failure, is_passing, with_retries


def _library(name: str, module: str, base: type[Exception] = Exception, **fields: Any) -> Exception:
    """An error as a library raises it that need not be installed."""
    error = type(name, (base,), {"__module__": module})("it failed")
    for field, value in fields.items():
        setattr(error, field, value)
    return error


def _botocore(code: str, status: int) -> Exception:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return _library("ClientError", "botocore.exceptions", response=response)


PASSING = [
    ConnectionResetError(),
    ConnectionRefusedError(),
    BrokenPipeError(),
    TimeoutError(),
    InterruptedError(),
    *(OSError(number, "x") for number in (errno.EIO, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT, errno.ENETUNREACH)),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    HTTPError("http://x", 503, "Service Unavailable", {}, None),  # type: ignore[arg-type]
    _library("ClientResponseError", "aiohttp.client_exceptions", status=429),
    _library("ServerDisconnectedError", "aiohttp.client_exceptions"),
    _library("HttpError", "gcsfs.retry", code=500),
    _library("ConnectionError", "requests.exceptions", OSError),
    _library("HTTPError", "requests.exceptions", OSError, response=_library("Response", "requests", status_code=502)),
    _botocore("SlowDown", 503),
    _botocore("RequestTimeout", 400),
    _library("EndpointConnectionError", "botocore.exceptions"),
    pl.exceptions.ComputeError("could not read: Input/output error (os error 5)"),
    OSError("Stale file handle (os error 116): /data/a.parquet"),
    pl.exceptions.ComputeError(
        "Generic S3 error: Error performing GET http://s3/b/k in 2s, after 2 retries - Server returned non-2xx status "
        "code: 503 Service Unavailable: SlowDown"
    ),
    pl.exceptions.ComputeError("Generic GCS error: HTTP error: error sending request: operation timed out"),
]

LASTING = [
    FileNotFoundError(errno.ENOENT, "x"),
    PermissionError(errno.EACCES, "x"),
    IsADirectoryError(errno.EISDIR, "x"),
    *(OSError(number, "x") for number in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EINVAL, errno.ENAMETOOLONG)),
    OSError("no number"),
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    HTTPError("http://x", 404, "Not Found", {}, None),  # type: ignore[arg-type]
    _library("ClientResponseError", "aiohttp.client_exceptions", status=403),
    _botocore("NoSuchKey", 404),
    _botocore("AccessDenied", 403),
    # A user's own: its name and its numbers say nothing.
    _library("ReadTimeout", "__main__"),
    _library("ServerTimeoutError", "mycode", status=503),
    _library("ReadError", "tarfile"),
    ValueError("503 (os error 5)"),
    MemoryError(),
    KeyError("a"),
    pl.exceptions.ComputeError("No space left on device (os error 28)"),
    pl.exceptions.ComputeError("No such file or directory (os error 2)"),
    pl.exceptions.ComputeError("conversion from `str` to `i64` failed for value 503 "),
    pl.exceptions.ComputeError("Generic S3 error: Client error with status 403 Forbidden: s3://b/part-503.parquet"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_is_tried_again(error: Exception) -> None:
    assert is_passing(error)
    calls, seen = [], []

    def work() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise error
        return "done"

    assert with_retries(work, first_wait=0.001, on_retry=lambda *told: seen.append(told)) == "done"
    assert len(calls) == 3
    assert [(e, n) for e, n, _ in seen] == [(error, 1), (error, 2)]
    assert all(0.0005 * n <= wait <= 0.001 * n for _, n, wait in seen)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_lasts_is_not(error: Exception) -> None:
    assert not is_passing(error)
    calls = []

    def work() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        with_retries(work, first_wait=0.001)
    assert caught.value is error
    assert len(calls) == 1


def test_attempts_are_bounded() -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise ConnectionResetError(f"call {len(calls)}")

    with pytest.raises(ConnectionResetError, match="call 3"):
        with_retries(work, attempts=3, first_wait=0.001)
    assert len(calls) == 3
    with pytest.raises(ValueError, match="attempts=0"):
        with_retries(work, attempts=0)


def test_interrupts_are_not_caught() -> None:
    def work() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_retries(work)


def test_the_error_that_a_source_kept_is_judged() -> None:
    calls = []

    def work() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise keep_failure(ConnectionResetError("gone"))
        raise keep_failure(FileNotFoundError("missing"))

    with pytest.raises(FileNotFoundError, match="missing"):
        with_retries(work, first_wait=0.001)
    assert len(calls) == 2


# --- failures --------------------------------------------------------------------------------------------------------


class Plain(ValueError):
    pass


class TakesTwo(ValueError):
    """Unpickling it calls __init__ with one argument, which fails."""

    def __init__(self, where: str, what: str):
        super().__init__(f"{where}: {what}")
        self.where = where


class SaysMore(KeyError):
    """Unpickling it gives another text."""

    def __init__(self, text: str):
        super().__init__(f"more: {text}")


class HoldsALock(RuntimeError):
    def __init__(self, text: str):
        super().__init__(text)
        self.lock = threading.Lock()


class HoldsALockInArgs(RuntimeError):
    def __init__(self, text: str):
        super().__init__(text, threading.Lock())

    def __str__(self) -> str:
        return self.args[0]


class Forgets(RuntimeError):
    """Unpickling it gives the same class and text, but nothing that was added."""

    def __reduce__(self) -> Any:
        return Forgets, self.args


class RefusesToBeMade(OSError):
    def __reduce__(self) -> Any:
        return _refuse, ()

    def __new__(cls, *args: Any) -> RefusesToBeMade:
        if args == ("pickled",) or not args:
            raise ZeroDivisionError
        return super().__new__(cls, *args)


def _refuse() -> None:
    raise ZeroDivisionError


def _failed(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as caught:
        return pickle.loads(pickle.dumps(describe_failure(caught))).error()


@pytest.mark.parametrize(
    "error",
    [
        Plain("a"),
        KeyError("a"),
        OSError(errno.ENOSPC, "No space left on device", "/x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        TakesTwo("a", "b"),
        SaysMore("a"),
        HoldsALock("a"),
        pl.exceptions.ColumnNotFoundError("a"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_exception_comes_home_as_it_was(error: BaseException) -> None:
    came = _failed(error)
    assert type(came) is type(error)
    assert str(came) == str(error)
    (note,) = came.__notes__
    assert socket.gethostname() in note
    assert "in _failed" in note
    assert getattr(came, "errno", None) == getattr(error, "errno", None)
    assert getattr(came, "where", None) == getattr(error, "where", None)


@pytest.mark.parametrize(
    "error", [Plain("a"), SaysMore("a"), TakesTwo("a", "b"), HoldsALock("a"), HoldsALockInArgs("a"), Forgets("a")],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_notes_come_home_once(error: BaseException) -> None:
    error.add_note("row 17")
    came = _failed(error)
    assert type(came).__name__ == type(error).__name__
    first, second = came.__notes__
    assert first == "row 17"
    assert "in _failed" in second
    assert "row 17" not in second


@pytest.mark.parametrize(
    ("error", "base"), [(HoldsALockInArgs("a"), RuntimeError), (RefusesToBeMade(5, "a"), OSError)],
    ids=["lock in args", "refuses"],
)  # fmt: skip
def test_what_cannot_be_pickled_has_a_stand_in(error: BaseException, base: type[BaseException]) -> None:
    came = _failed(error)
    assert type(came).__name__ == type(error).__name__
    assert isinstance(came, base)
    assert str(came) == str(error)
    assert "in _failed" in came.__notes__[0]


def test_a_local_class_has_a_stand_in_without_ray() -> None:
    class Local(UnicodeDecodeError):
        pass

    came = _failed(Local("utf-8", b"\xff", 0, 1, "bad"))
    assert type(came).__name__ == "Local"
    assert isinstance(came, UnicodeDecodeError)
    assert "can't decode byte" in str(came)


def test_the_traceback_begins_at_the_users_code() -> None:
    def users(row: dict) -> int:
        return 1 // row["zero"]

    with pytest.raises(ZeroDivisionError) as caught:
        with_retries(lambda: users({"zero": 0}))
    told = describe_failure(caught.value).remote
    assert 'return 1 // row["zero"]' in told
    first = pl.Series([1]).map_elements
    with pytest.raises(BaseException) as inside:  # noqa: PT011  what Polars makes of it differs
        first(lambda _: users({"zero": 0}), return_dtype=pl.Int64)
    assert 'return 1 // row["zero"]' in describe_failure(inside.value).remote


def test_a_cause_is_told() -> None:
    try:
        try:
            raise Plain("the cause")
        except Plain as cause:
            raise KeyError("a") from cause
    except KeyError as error:
        note = describe_failure(error).error().__notes__[0]
    assert "the cause" in note


@pytest.mark.ray
def test_classes_of_a_script_come_home_through_ray(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import logging, ray\n"
        "from robodf.physical.retry import describe_failure\n"
        "class Mine(ValueError):\n"
        "    def __init__(self, a, b):\n"
        "        super().__init__(f'{a} {b}')\n"
        "        self.a = a\n"
        "@ray.remote\n"
        "def work():\n"
        "    try:\n"
        "        raise Mine('no', 'way')\n"
        "    except Mine as error:\n"
        "        return describe_failure(error)\n"
        "ray.init('local', num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,\n"
        "         object_store_memory=80 << 20)\n"
        "failure = ray.get(work.remote())\n"
        "try:\n"
        "    raise failure.error()\n"
        "except Mine as error:\n"
        "    print('mine', error, error.a)\n"
        "raise failure.error()\n"
    )
    said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert said.stdout == "mine no way no\n"
    assert "raise Mine('no', 'way')" in said.stderr
    assert "process " in said.stderr
