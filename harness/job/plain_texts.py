"""Texts that files can be named by and records can hold: no NUL, no half of a surrogate pair."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["check_texts", "unusable"]

NAME_BYTES = 255  # of a name in a path, NAME_MAX of Linux
PATH_BYTES = 4095  # of a whole path, PATH_MAX without the NUL at its end


def check_texts(value: Any, key: str = "") -> str:
    """Say where in nested lists and mappings a text is that nothing can hold; nothing where all can be held.

    >>> check_texts({"metrics": [{"name": "a\\0b"}]}), check_texts({"gate": "\\ud800"}), check_texts({"x": ["ä", 3]})
    ('metrics.0.name: expected text, found a NUL byte in it', 'gate: expected text, found half a surrogate pair in it', '')
    """
    if isinstance(value, str):
        problem = _problem(value)
        return f"{key}: expected text, found {problem} in it" if problem else ""
    if isinstance(value, dict):
        texts = [(name, f"{key}.{name}" if key else name, held) for name, held in value.items()]
        return next((text for name, at, held in texts if (text := check_texts(name, at) or check_texts(held, at))), "")
    if isinstance(value, list):
        return next((text for at, held in enumerate(value) if (text := check_texts(held, f"{key}.{at}"))), "")
    return ""


def unusable(path: str) -> str:
    """Say why a file cannot have a path, whatever there is on disk; nothing where it can.

    >>> unusable("runs/a"), unusable("runs/" + "a" * 300)
    ('', 'a name in it has 300 bytes, and a file system takes 255')
    """
    if "\0" in path:
        return "there is a NUL byte in it"
    if "://" in path:
        return ""
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        return "there is half a surrogate pair in it"
    longest = max(map(len, encoded.split(b"/")))
    if longest > NAME_BYTES:
        return f"a name in it has {longest} bytes, and a file system takes {NAME_BYTES}"
    return f"it has {len(encoded)} bytes, and a file system takes {PATH_BYTES}" if len(encoded) > PATH_BYTES else ""


def _problem(text: str) -> str:
    if "\0" in text:
        return "a NUL byte"
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        # As Python hands on what the command line holds; PEP 383.
        return "a byte that is not UTF-8" if "\udc80" <= text[exc.start] <= "\udcff" else "half a surrogate pair"
    return ""
