"""Small valid archives of each kind, made by the standard library."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Mapping

import zstandard

FILES = {
    "readme.txt": b"hello\n" * 30,
    "data/zeros.bin": bytes(3000),
    "data/numbers.bin": bytes(range(256)) * 3,
    "data/empty": b"",
    "data/ünï.txt": b"x",
    "a" * 90 + "/" + "b" * 90 + "/long.txt": b"long",
}

SAMPLES = {
    "s/000.jpg": b"\xff\xd8\xff 0", "s/000.cls": b"3", "s/000.seg.png": b"png 0",
    "s/001.jpg": b"\xff\xd8\xff 1", "s/001.cls": b"5",
    "s/002.JPG": b"\xff\xd8\xff 2", "s/002.seg.png": b"png 2", "s/002.cls": "ü".encode(),
}  # fmt: skip


def zipped(files: Mapping[str, bytes] = FILES, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 3, 4, 5, 6, 8)), data, method)
    return out.getvalue()


def tarred(files: Mapping[str, bytes] = FILES, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}


def samples() -> dict[str, bytes]:
    """File name and bytes of each."""
    found = {
        f"{name}.zip": zipped(method=m) for name, m in (("stored", 0), ("deflated", 8), ("bzip2", 12), ("lzma", 14))
    }
    forms = (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT))
    found |= {f"{name}.tar": tarred(form=form) for name, form in forms}
    found |= {f"packed.tar.{end}": pack(tarred()) for end, pack in PACKED.items()}
    found["shard.tar"] = tarred(SAMPLES)
    return found
