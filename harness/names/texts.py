"""Texts that come out of files, as a terminal may show them."""

from __future__ import annotations

__all__ = ["printable", "shortened"]


def printable(text: str) -> str:
    """Return a text with what a terminal would obey, and what cannot be encoded, written out.

    >>> printable("a\\r\\x1b[2Kb \\ud800 é")
    'a\\\\r\\\\x1b[2Kb \\\\ud800 é'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def shortened(text: str, length: int) -> str:
    """Return the beginning of a text, with a mark where it goes on.

    >>> shortened("abcdef", 3), shortened("abc", 3)
    ('abc…', 'abc')
    """
    return text if len(text) <= length else f"{text[:length]}…"
