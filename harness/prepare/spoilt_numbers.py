"""A column of numbers that a few cells, such as `?` or `n/a`, have made one of text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["spoilt_numbers"]

MOSTLY = 0.9  # of the cells that are filled: tickets and house numbers have letters more often
SHOWN = 30  # characters of a cell


def spoilt_numbers(cells: Sequence[bytes | str], *, is_text_file: bool) -> str | None:
    """Say that nearly all cells of a column of text hold numbers; None where they do not.

    Args:
      cells: some of the column.
      is_text_file: whether the file does not say itself that the column is text, as CSV. There something that is no number
        made it text, be it beyond these cells.

    >>> spoilt_numbers([b"1.5"] * 31 + [b"?"], is_text_file=True)
    "though 31 of 32 cells that were looked at are numbers, and not '?'"
    >>> spoilt_numbers([b"1.5", b"2"], is_text_file=True)
    'though 2 of 2 cells that were looked at are numbers'
    >>> spoilt_numbers([b"01234", b"99999"], is_text_file=False), spoilt_numbers([b"A/5 21171", b"113803"], is_text_file=True)
    (None, None)
    """
    texts = [cell.decode("utf-8", "replace").strip() if isinstance(cell, bytes) else cell.strip() for cell in cells]
    filled = [text for text in texts if text]
    strays = [text for text in filled if not _is_number(text)]
    if not filled or len(filled) - len(strays) < MOSTLY * len(filled) or not (strays or is_text_file):
        return None
    shown = f", and not {strays[0][:SHOWN]!r}" if strays else ""
    return f"though {len(filled) - len(strays)} of {len(filled)} cells that were looked at are numbers{shown}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
