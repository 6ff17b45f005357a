"""What a page can hold that is not read here."""

from __future__ import annotations


class NotUnderstood(Exception):
    """An encoding, a codec or a nesting that is read by Polars, whole row groups at a time; never seen by a user."""
