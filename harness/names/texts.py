"""Texts that come out of files, as a terminal may show them."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return a text with what a terminal would obey, and what cannot be encoded, written out.

    >>> printable("a\\r\\x1b[2Kb \\ud800 é")
    'a\\\\r\\\\x1b[2Kb \\\\ud800 é'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
