"""SQLite files opened so that nothing is written beside them and nothing in them is trusted."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from urllib.parse import quote

from robodf.errors import FileFormatError
from robodf.io.files import FileReader
from robodf.io.logs.local_copy import made_once

MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_LOG_MAGIC = {"-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"), "-journal": _JOURNAL_MAGIC}
_TICK = 100_000  # steps of SQLite's machine between two looks at what is left
_TICKS = 100  # a statement over an empty file may take 10 million steps, ...
_BYTES_PER_TICK = 5_000  # ... and 20 more for each byte of the file: real ones take up to 3


class Text(bytes):
    """A TEXT value as it is in the file: not a payload, which is a BLOB, and not always UTF-8."""

    def __str__(self) -> str:
        return self.decode("utf-8", "replace")


class Database:
    """One connection, for one thread. `size` is that of the file in bytes, which bounds all that is in it."""

    def __init__(self, connection: sqlite3.Connection, name: str, size: int):
        self.name = name
        self.size = size
        self.broken: str | None = None  # what is wrong with the file as a whole
        self._connection = connection
        self._left = _TICKS + size // _BYTES_PER_TICK

    def tick(self) -> bool:
        """Whether to stop: pages that refer to each other in a damaged file can be followed for ever."""
        self._left -= 1
        return self._left < 0

    def run(self, sql: str, values: Sequence[int] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    def row(self, sql: str, values: Sequence[int] = ()) -> tuple:
        """The one row of an aggregate."""
        return self.run(sql, values).fetchone()

    def columns(self, table: str) -> frozenset[str]:
        """The columns of a table, in lower case; empty where there is no such table.

        FileFormatError where it is a view, a virtual table or has computed columns: none of those is data.
        """
        found = self.run(f"SELECT type, rootpage FROM sqlite_master WHERE lower(name) = '{table}'").fetchall()
        if not found:
            return frozenset()
        for kind, page in found:
            if str(kind) != "table" or not isinstance(page, int) or page <= 0:
                raise FileFormatError(f"{self.name}: {table} is not an ordinary table, as it is in a ROS 2 bag")
        columns = self.run(f"PRAGMA table_xinfo({table})").fetchall()
        if any(column[6] for column in columns):
            raise FileFormatError(f"{self.name}: the table {table} has computed columns, which no ROS 2 bag has")
        return frozenset(str(column[1]).lower() for column in columns)


@contextmanager
def database(file: FileReader, on_error: str = "raise") -> Iterator[Database]:
    """The database of a file with a local path; whatever SQLite complains about becomes FileFormatError.

    With `on_error` other than "raise", one that is cut off or whose schema is damaged is opened too.
    """
    assert file.local is not None, f"{file.path} has no local copy"
    if file.size == 0 and not _pending(file.local, "-wal"):
        raise FileFormatError(f"{file.path}: is empty (0 bytes)")
    head = file.read_at(0, min(len(MAGIC), file.size))
    if head != MAGIC and file.size:
        raise FileFormatError(f"{file.path}: is not an SQLite database: it starts with {head!r}, not {MAGIC!r}")
    with complaints(file.path):
        path = _settled(file.local, file.path)
        size = os.path.getsize(path)
        uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            found = Database(connection, file.path, size)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(size, 1 << 20))
            connection.text_factory = Text
            connection.set_progress_handler(found.tick, _TICK)
            for setting in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON", "mmap_size=0"):
                connection.execute(f"PRAGMA {setting}")
            found.broken = _truncated(path, size, file.path) or _malformed(found)
            if found.broken and on_error == "raise":
                raise FileFormatError(f"{found.broken}; pass on_error='skip' or 'collect' to read the rest")
            if found.broken:
                connection.execute("PRAGMA writable_schema=ON")  # it cannot be written, but its checks are off
            yield found


def _truncated(path: str, size: int, name: str) -> str | None:
    """What is wrong with a file that is shorter than its header says, which SQLite only calls malformed."""
    with open(path, "rb") as file:
        head = file.read(100)
    page = int.from_bytes(head[16:18], "big")
    stated = int.from_bytes(head[28:32], "big") * (1 << 16 if page == 1 else page)
    if head[24:28] != head[92:96] or stated <= size:  # an old SQLite, which did not count its pages, or all is there
        return None
    return f"{name}: is truncated: it has {size} of {stated} bytes"


def _malformed(db: Database) -> str | None:
    """What SQLite has against the schema."""
    try:
        with complaints(db.name):
            db.row("SELECT count(*) FROM sqlite_master")
    except FileFormatError as error:
        return str(error)
    return None


@contextmanager
def complaints(name: str) -> Iterator[None]:
    """SQLite's errors as FileFormatError, with what they mean for this file."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "interrupted" in text:
            text = "reading it takes more steps than its size explains"
        raise FileFormatError(f"{name}: the database is damaged: {text}") from error
    except MemoryError as error:  # what SQLite says of a length that it does not believe, before it takes memory
        raise FileFormatError(f"{name}: the database is damaged: SQLite refuses the memory that it asks for") from error
    except UnicodeDecodeError as error:  # from the sqlite3 module, for names in a damaged schema
        raise FileFormatError(f"{name}: the database is damaged: its schema is not UTF-8") from error


def _pending(local: str, ending: str) -> int:
    """The size of what SQLite left beside the database; 0 where there is none, or nothing to apply."""
    try:
        with open(local + ending, "rb") as file:
            head = file.read(len(_JOURNAL_MAGIC))
            return os.fstat(file.fileno()).st_size if head.startswith(_LOG_MAGIC[ending]) else 0
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _settled(local: str, name: str) -> str:
    """The database with what a recorder left in its log beside it: a copy, since the bag itself is not touched.

    Rows of a recorder that crashed are in the -wal file; a -journal has the state before a half-done write.
    """
    beside = [ending for ending in ("-wal", "-journal") if _pending(local, ending)]
    if not beside:
        return local
    files = [local, *(local + ending for ending in beside)]
    if "-journal" in beside:
        _check_journal(local + "-journal", name)

    def write(path: str) -> None:
        for _ in range(3):
            before = _states(files)
            for ending in ("", *beside):
                shutil.copyfile(local + ending, path + ending)
            if _states(files) == before:
                break
        else:
            raise FileFormatError(f"{name}: is being written; read it when the recording has ended")
        with complaints(name):
            uri = f"file:{quote(os.fsencode(path))}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
                connection.execute("PRAGMA trusted_schema=OFF")
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # no -shm file
                connection.execute("PRAGMA journal_mode=DELETE").fetchall()  # applies the log
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        for ending in ("-wal", "-journal", "-shm"):
            if os.path.exists(path + ending):
                os.unlink(path + ending)
        if os.path.getsize(path) > size:
            raise FileFormatError(f"{name}: the database is damaged: its {beside[0]} file makes it too large")

    state = _states(files)
    size = sum(s for s, _ in state)
    return made_once(("db3", os.path.abspath(local), state), 2 * size, write)


def _states(files: list[str]) -> tuple[tuple[int, int], ...]:
    found = [os.stat(path) for path in files]
    return tuple((s.st_size, s.st_mtime_ns) for s in found)


def _check_journal(path: str, name: str) -> None:
    """A journal may name another one, which SQLite deletes when it is done: a file's text must not delete files."""
    with open(path, "rb") as file:
        file.seek(-min(8, os.path.getsize(path)), os.SEEK_END)
        if file.read(8) == _JOURNAL_MAGIC:
            raise FileFormatError(
                f"{name}: its -journal belongs to a transaction over several databases, which no recorder of ROS 2 "
                f"makes; move {path} away to read the database as it is"
            )
