"""What mostly helps where a value is null: said after its reason, on the screen and in Python. Pure."""

from __future__ import annotations

import re

__all__ = ["advice"]

ADVICE = (
    (
        re.compile(r"\d labels are NaN or out of range"),
        "classes are numbered from 0: of labels from 1 on say data.label: 'NAME - 1', of -1 and 1 data.label: 'NAME > 0', and "
        "ignore_label: NUMBER on the metric where a number stands for no label",
    ),
    (
        re.compile(r"\d predictions are NaN, infinite or out of range"),
        "a number that is missing in what the model reads, an empty cell of a table say, gives such predictions: data.filter "
        "leaves those examples out, data.transform fills them in; harness check names one among the first examples",
    ),
)


def advice(reason: str) -> str:
    """Return what is said after a reason; nothing where nothing mostly helps.

    >>> advice("3 labels are NaN or out of range")[:60]
    '; classes are numbered from 0: of labels from 1 on say data.'
    >>> advice("0/0")
    ''
    """
    return "".join(f"; {text}" for pattern, text in ADVICE if pattern.search(reason))
