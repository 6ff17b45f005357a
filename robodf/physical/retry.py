"""Trying again what failed for a reason that passes, and bringing a failure home from another process."""

from __future__ import annotations

import builtins
import errno
import os
import pickle
import random
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from robodf.compat import original_failure

T = TypeVar("T")

_LONGEST_WAIT = 20.0
_PASSING_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        *(
            "EIO",
            "EAGAIN",
            "EINTR",
            "EBUSY",
            "ESTALE",
            "ETIMEDOUT",
            "EREMOTEIO",
            "ENETDOWN",
            "ENETUNREACH",
            "ENETRESET",
        ),
        *("ECONNABORTED", "ECONNRESET", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "EPIPE", "ENOBUFS"),
    )
    if hasattr(errno, name)
)
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
# Libraries of remote files, any of which may be absent: their errors are known by name.
_LIBRARIES = frozenset(
    "adlfs aiobotocore aiohttp asyncio azure botocore boto3 fsspec gcsfs google http httpcore httpx huggingface_hub "
    "ocifs requests s3fs ssl urllib urllib3 webdav4".split()
)
_PASSING_NAMES = frozenset(
    "ConnectionError Timeout ClientConnectionError ClientConnectorError ClientOSError ClientPayloadError "
    "ServerConnectionError ServerDisconnectedError ServerTimeoutError ConnectTimeoutError ReadTimeoutError "
    "EndpointConnectionError ConnectionClosedError IncompleteReadError ResponseStreamingError HTTPClientError "
    "TimeoutException NetworkError RemoteProtocolError ChunkedEncodingError ProtocolError MaxRetryError "
    "NewConnectionError IncompleteRead RemoteDisconnected FSTimeoutError ServiceRequestError ServiceResponseError "
    "TransportError SSLEOFError".split()
)
_PASSING_CODES = frozenset(
    "SlowDown Throttling ThrottlingException RequestTimeout RequestTimeTooSkewed InternalError ServiceUnavailable "
    "TooManyRequestsException RequestLimitExceeded BandwidthLimitExceeded ServerBusy OperationTimedOut".split()
)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_OBJECT_STORE = re.compile(r"Generic \S+ error|object[ _-]store|HTTP error|error sending request", re.IGNORECASE)
_STORE_STATUS = re.compile(r"\b(?:408|425|429|500|502|503|504)\b[ :]")
_STORE_TROUBLE = re.compile(
    r"timed? ?out|connection (?:reset|refused|closed|aborted)|error sending request|error decoding response body|"
    r"SlowDown|Too Many Requests|broken pipe|incomplete message|dns error",
    re.IGNORECASE,
)
_NOT_THE_USERS = re.compile(r"[/\\](?:robodf[/\\](?!tests)|site-packages[/\\](?:polars|ray)[/\\])|^<frozen")


def with_retries(
    work: Callable[[], T],
    *,
    attempts: int = 4,
    first_wait: float = 0.2,
    on_retry: Callable[[BaseException, int, float], None] | None = None,
) -> T:
    """What `work()` returns, trying again where it fails for a reason that passes (see `is_passing`).

    At most `attempts` calls. Between them it waits `first_wait` seconds, then twice as long each time, at most 20,
    each time between a half and the whole of that, so that many workers do not come back at once. `on_retry(error,
    attempt, seconds)` is called before each wait. Any other error, and the last, is raised as the source raised it.

    >>> with_retries(lambda: 1)
    1
    """
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except Exception as caught:
            error = original_failure(caught)
            if attempt < attempts and is_passing(error):
                seconds = min(first_wait * 2 ** (attempt - 1), _LONGEST_WAIT) * random.uniform(0.5, 1)
                if on_retry is not None:
                    on_retry(error, attempt, seconds)
            elif error is caught:
                raise
            else:
                raise error from None
        time.sleep(seconds)
    raise ValueError(f"with_retries: attempts={attempts}: at least one")


def is_passing(error: BaseException) -> bool:
    """Whether an error is of the kind that may be gone in a moment: of a network, a server or a shared disk.

    A missing file, a refused permission, a full disk and errors of a user's code are not.
    """
    if isinstance(error, (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)):
        return False
    if isinstance(error, (ConnectionError, TimeoutError, InterruptedError, BlockingIOError)):
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN  # the other numbers say that there is no such host
    if _is_of_a_library(error):
        status, code = _status(error), _code(error)
        if status is not None or code is not None:
            return status in _PASSING_STATUS or code in _PASSING_CODES
        if any(kind.__name__ in _PASSING_NAMES for kind in type(error).__mro__):
            return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _PASSING_ERRNOS
    if isinstance(error, (OSError, pl.exceptions.ComputeError)):
        return _is_passing_text(str(error))
    return False


def _is_of_a_library(error: BaseException) -> bool:
    return any(kind.__module__.split(".", 1)[0] in _LIBRARIES for kind in type(error).__mro__)


def _is_passing_text(text: str) -> bool:
    """Of errors that Polars made of those of Rust."""
    number = _OS_ERROR.search(text)
    if number:
        return int(number.group(1)) in _PASSING_ERRNOS
    if not _OBJECT_STORE.search(text):
        return False
    return bool(_STORE_STATUS.search(text) or _STORE_TROUBLE.search(text))


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of fsspec, aiohttp, requests, httpx, botocore or azure carries."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return found if isinstance(found, int) else None
    for place, name in ((error, "status"), (error, "status_code"), (error, "code"), (response, "status_code")):
        found = getattr(place, name, None)
        if isinstance(found, int) and 100 <= found < 600:
            return found
    return None


def _code(error: BaseException) -> str | None:
    """The name that botocore gives an error of a server."""
    response: Any = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return found if isinstance(found, str) else None


@dataclass(frozen=True)
class Failure:
    """An exception on its way to another process: plain values only, so it always arrives."""

    kind: str  # the name of its class
    text: str
    base: str  # the nearest class above it that every Python has
    pickled: bytes | None  # of `_Parts` or of the exception itself, where it survives that
    remote: str  # its traceback there, from the user's first frame on
    notes: tuple[str, ...]  # that it had there
    host: str
    pid: int

    def error(self) -> BaseException:
        """The exception to raise: of its own class where that can be made here, else of one with its name.

        After the notes that it had, one says where it happened, with the traceback of there.
        """
        made = _restored(self.pickled) if self.pickled is not None else None
        if made is None or str(made) != self.text:
            made = _stand_in(self.kind, self.base, self.text)
        here = f"on {self.host}, process {self.pid}:\n{self.remote.rstrip()}"
        vars(made)["__notes__"] = [*self.notes, here]  # some classes lose notes on the way, frozen ones take none
        return made


@dataclass(frozen=True)
class _Parts:
    """An exception taken apart: for those whose __init__ does not take what `args` holds."""

    kind: type[BaseException]
    args: tuple
    fields: dict[str, Any]

    def joined(self) -> BaseException:
        made = self.kind.__new__(self.kind, *self.args)
        made.__dict__.update(self.fields)
        return made


def describe_failure(error: BaseException) -> Failure:
    """A record of an exception that survives pickling, whatever the exception is."""
    error = original_failure(error)
    kind = type(error)
    base = next(c for c in kind.__mro__ if getattr(builtins, c.__name__, None) is c)
    return Failure(
        kind.__qualname__, str(error), base.__name__, _pickled(error), _remote(error), _notes(error),
        socket.gethostname(), os.getpid(),
    )  # fmt: skip


def _notes(error: BaseException) -> tuple[str, ...]:
    found = getattr(error, "__notes__", ())
    return tuple(note for note in found if isinstance(note, str)) if isinstance(found, (list, tuple)) else ()


def _remote(error: BaseException) -> str:
    """The traceback as text, without the frames of robodf, Polars and Ray that led to the user's first."""
    told = traceback.TracebackException.from_exception(error)
    told.__notes__ = None  # type: ignore[attr-defined]  # they go with the exception
    seen: set[int] = set()
    part: traceback.TracebackException | None = told
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        users = [i for i, frame in enumerate(part.stack) if not _NOT_THE_USERS.search(frame.filename)]
        if users:
            part.stack = traceback.StackSummary.from_list(list(part.stack)[users[0] :])
        part = part.__cause__ or part.__context__
    return "".join(told.format())


def _pickler() -> Any:
    """Ray's own where Ray runs: it knows the classes of the user's script, which pickle alone cannot name."""
    ray = sys.modules.get("ray")
    return ray.cloudpickle if ray is not None else pickle


def _pickled(error: BaseException) -> bytes | None:
    """Bytes that give the same class and text again, or None where there are none."""
    fields = {name: value for name, value in vars(error).items() if _try_pickle(value) is not None}
    for form in (error, _Parts(type(error), error.args, fields)):
        data = _try_pickle(form)
        made = _restored(data) if data is not None else None
        if type(made) is type(error) and str(made) == str(error):
            return data
    return None


def _try_pickle(value: Any) -> bytes | None:
    try:
        return _pickler().dumps(value)
    except Exception:  # noqa: BLE001  the classes are the user's: pickling them runs any code
        return None


def _restored(data: bytes) -> BaseException | None:
    try:
        made = _pickler().loads(data)
        made = made.joined() if isinstance(made, _Parts) else made
    except Exception:  # noqa: BLE001  as above; the bytes come from our own worker
        return None
    return made if isinstance(made, BaseException) else None


def _stand_in(kind: str, base: str, text: str) -> BaseException:
    """An exception with the name and the text of one whose class is not here, below the class that it was below."""
    above = getattr(builtins, base)
    body = {"__init__": lambda self: None, "__str__": lambda self: text, "__module__": "robodf.remote"}
    return type(kind.rsplit(".", 1)[-1], (above,), body)()
