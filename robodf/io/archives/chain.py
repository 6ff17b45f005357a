"""Paths that name a member of an archive."""

from __future__ import annotations


def split(url: str) -> tuple[str, str, str] | None:
    """(kind, member, archive) of a chain that names a member of an archive, else None.

    >>> split("zip://a/b.csv::s3://bucket/c.zip")
    ('zip', 'a/b.csv', 's3://bucket/c.zip')
    """
    head, _, archive = url.partition("::")
    kind, _, member = head.partition("://")
    return (kind, member.strip("/"), archive) if archive and kind in ("zip", "tar") else None
