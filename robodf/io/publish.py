"""Publishing a file or directory whole: staged beside its target, flushed to disk, then renamed into place.

A staging area is the hidden directory `.{name}.robodf-{token}` in the target's own parent, so that the last
step is a rename inside one filesystem. Its owner holds a lock in it for as long as it lives; an area that
nobody holds was left by a process that died, and the next write to the same target removes it.

An area that is made with a key can be resumed: it is named `.{name}.robodf-resume-{hash of the key}` and stays
when its owner dies, until a write with the same key takes it up, a write with another key begins, or it is
seven days old and any write begins.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from robodf.errors import OptionError

_LOCK = "lock"
_KEPT = 7 * 24 * 3600  # seconds for which an area that can be resumed waits for its job
_LONGEST = 180  # bytes of the target's name kept in the hidden name: most filesystems end at 255
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL}
_NO_SWAP = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
_NO_LOCKS = {errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """An empty directory beside `target` on the same filesystem, gone at the end however the block ends.

    Makes the target's parents where they are absent. Raises the OSError of the filesystem, naming the target.
    """
    area = open_staging(target)
    looks = 3  # a failed query's own threads may still be creating files in it
    try:
        yield area.path
        looks = 1
    finally:
        area.remove(looks)


@dataclass(frozen=True)
class Staging:
    """A staging area that this process holds, until `remove` or `leave`."""

    target: Path
    path: Path
    lock: int

    def remove(self, looks: int = 3) -> None:
        """Remove it and all in it; `looks` more than 1 where others may still be creating files in it."""
        path = self.path
        if _resumable(path.name):
            # In one step it is no longer what a job of its key would resume, however much of it is gone.
            path = path.with_name(_prefix(self.target) + secrets.token_hex(8))
            try:
                os.rename(self.path, path)
            except OSError:
                path = self.path  # a failing clean-up is no failed write
        _remove(path, looks)
        os.close(self.lock)

    def leave(self) -> None:
        """Let go of it: an area with a key can be resumed then, another is removed by the next write."""
        os.close(self.lock)


def open_staging(target: Path, key: str | None = None) -> Staging:
    """An area beside `target`: a new one, or that of `key` with what a dead owner left in it.

    Raises OptionError where another process holds the area of this key.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(target, key)
        return Staging(target, *_new_area(target, key))
    except BlockingIOError:
        raise OptionError(
            f"another process is writing {target} with the same resume_key; wait for it, or pass another key"
        ) from None
    except OSError as error:
        raise naming(error, target) from error


def _remove(area: Path, looks: int) -> None:
    """Remove `area`, and look again until it stays away.

    A failing clean-up must not hide the error that led here, nor make a published write look failed: what
    stays is unlocked then, and the next write tries again.
    """
    for pause in (0.01, 0.03, 0.06, 0.1, 0.2, 0.4):
        shutil.rmtree(area, ignore_errors=True)
        looks -= not area.exists()
        if looks <= 0:
            break
        time.sleep(pause)


def remove_stale(target: Path, key: str | None = None) -> None:
    """Remove what dead processes left beside `target`; the areas of living ones are locked and stay.

    So does the area of `key`, and without a key each one that can be resumed and is younger than seven days.
    """
    prefix = _prefix(target)
    ours = re.compile(re.escape(prefix) + r"(resume-)?[0-9a-f]{16}\Z")
    own = key and _area_name(target, key)
    with os.scandir(target.parent) as entries:
        left = [Path(e.path) for e in entries if ours.match(e.name) and e.is_dir(follow_symlinks=False)]
    for area in left:
        if area.name == own or (key is None and _resumable(area.name) and _age(area) < _KEPT):
            continue
        try:
            lock = _take_lock(area, wait=False)
        except OSError:
            continue  # held by its owner, just gone, or another user's
        shutil.rmtree(area, ignore_errors=True)
        os.close(lock)


def _resumable(name: str) -> bool:
    return ".robodf-resume-" in name


def _age(area: Path) -> float:
    """Seconds since anything was last added to it; 0 where it is just going away."""
    try:
        return time.time() - max(p.stat().st_mtime for p in (area, *area.iterdir()))
    except OSError:
        return 0.0


def naming(error: OSError, target: Path | str) -> OSError:
    """The same error (errno, and so its class), worded with the target that could not be written."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OSError(error.errno or errno.EIO, f"cannot write {target}, which is left as it was: {reason}", str(target))


def publish_file(staged: Path, target: Path, *, replace: bool) -> None:
    """Rename a finished file to `target`; FileExistsError without `replace` where the name is taken."""
    sync(staged)
    if replace:
        if target.exists():
            shutil.copymode(target, staged)
        os.replace(staged, target)
    else:
        # A hard link fails where the name is taken; a rename would replace what another writer just
        # published.
        try:
            os.link(staged, target)
        except FileExistsError:
            raise exists(target) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if target.exists():
                raise exists(target) from None
            os.replace(staged, target)
    sync(target.parent)


def publish_directory(staged: Path, target: Path, *, replace: bool, files: bool = True) -> None:
    """Put a finished directory at `target`; what `replace` replaces ends in `staged`, in the same step.

    Call it inside `publishing(target)`. FileExistsError without `replace` where the target is not empty.
    Without `files` only directories are flushed: each file was, by the process that wrote it.
    """
    sync_tree(staged, files=files)
    if replace and target.is_dir():
        shutil.copymode(target, staged)
        swap(staged, target)
    else:
        try:
            os.rename(staged, target)  # an empty directory may be there
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise exists(target) from None
            raise
    sync(target.parent)


def exists(target: Path | str) -> FileExistsError:
    """The error of a target that is taken."""
    return FileExistsError(
        errno.EEXIST,
        "the target exists (and is not an empty directory); pass mode='overwrite' to replace it, "
        "or mode='append' to add parts to a directory",
        str(target),
    )


@contextlib.contextmanager
def publishing(target: Path) -> Iterator[None]:
    """One writer at a time between reading a directory and replacing it, or two appends would lose one.

    The lock is on the parent directory, which no write removes, and is held for the last step only, not while
    the query runs.
    """
    import fcntl

    parent = os.open(target.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise OptionError(
                f"{target.parent} is on a filesystem that cannot lock directories, so directories cannot be "
                "written there safely; write a single file, or write to a local disk and copy"
            ) from error
        yield
    finally:
        os.close(parent)


def swap(a: Path, b: Path) -> None:
    """Exchange two directories in one step, so that no reader ever finds the name empty."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            code = libc.renamex_np(os.fsencode(a), os.fsencode(b), 2)  # RENAME_SWAP
        else:
            at_cwd = -100
            code = libc.renameat2(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), 2)  # RENAME_EXCHANGE
    except AttributeError:
        raise _cannot_swap(b) from None  # a C library without the call
    if code:
        number = ctypes.get_errno()
        if number in _NO_SWAP:
            raise _cannot_swap(b)
        raise OSError(number, os.strerror(number), str(b))


def check_swap(area: Path, target: Path) -> None:
    """Raise OptionError before a query runs where this filesystem cannot replace a directory in one step."""
    a, b = area / "swap-a", area / "swap-b"
    a.mkdir()
    b.mkdir()
    try:
        swap(a, b)
    except OptionError:
        raise _cannot_swap(target) from None
    a.rmdir()
    b.rmdir()


def link_or_copy(source: Path, to: Path) -> None:
    """The same file under a second name; a copy where the filesystem has no hard links."""
    try:
        os.link(source, to, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, to, follow_symlinks=False)


def sync(path: Path) -> None:
    """Have the operating system put a file, or the names in a directory, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path, *, files: bool = True) -> None:
    """`sync` for every regular file (unless told not to) and directory under `folder`, and itself last."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names if files else ():
            path = Path(root, name)
            if stat.S_ISREG(path.lstat().st_mode):
                sync(path)
        sync(Path(root))


def write_json(path: Path, found: Any) -> None:
    """Write a small JSON file in one step, and flush it; the last of several writers at a time wins."""
    part = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    part.write_text(json.dumps(found))
    sync(part)
    os.replace(part, path)
    sync(path.parent)


def is_area(path: Path) -> bool:
    """Whether this is a staging area that has, or had, an owner."""
    return (path / _LOCK).exists()


def _cannot_swap(target: Path) -> OptionError:
    return OptionError(
        f"the filesystem of {target} cannot replace a directory in one step, so a crash could leave "
        f"neither the old nor the new data; write to a new path, then remove the old one"
    )


def _prefix(target: Path) -> str:
    name = target.name
    if len(os.fsencode(name)) > _LONGEST:
        name = blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return f".{name}.robodf-"


def _area_name(target: Path, key: str | None) -> str:
    last = f"resume-{blake2b(key.encode(), digest_size=8).hexdigest()}" if key else secrets.token_hex(8)
    return _prefix(target) + last


def _new_area(target: Path, key: str | None) -> tuple[Path, int]:
    while True:
        area = target.parent / _area_name(target, key)
        made = True
        try:
            area.mkdir(mode=0o700)
        except FileExistsError:
            if key is None:
                raise
            made = False
        # Between the directory and its lock, another writer may take it for stale and remove it: then again.
        try:
            lock = _take_lock(area, wait=key is None)
        except FileNotFoundError:
            continue
        except BaseException:
            if made and key is None:
                shutil.rmtree(area, ignore_errors=True)
            raise
        os.utime(area / _LOCK)  # it is not old, whatever is in it
        return area, lock


def _take_lock(area: Path, *, wait: bool) -> int:
    """The lock file of `area`, open and locked; FileNotFoundError where it is gone, OSError where held."""
    import fcntl

    handle = os.open(area / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), os.stat(area / _LOCK)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(area))
    except BaseException:
        os.close(handle)
        raise
    return handle
