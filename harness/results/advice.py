"""What mostly helps where a value is null: said after its reason, on the screen and in Python. Pure."""

from __future__ import annotations

import re

__all__ = ["advice"]

ADVICE = (
    (
        re.compile(r"\d labels are NaN or out of range"),
        "data.filter leaves out examples whose label is missing; classes are numbered from 0: of labels from 1 on say "
        "data.label: 'NAME - 1', of -1 and 1 data.label: 'NAME > 0', and "
        "ignore_label: NUMBER on the metric where a number stands for no label",
    ),
    (
        re.compile(r"\d predictions are NaN, infinite or out of range"),
        "numbers that are missing in what the model reads give such predictions, and short floats that overflow do: harness "
        "check names one that is missing among the first examples; of empty cells of a table data.filter leaves the examples "
        "out, and data.transform fills them in; a model behind an endpoint is held against the local one by harness parity, "
        "which names the examples",
    ),
)


def advice(reason: str) -> str:
    """Return what is said after a reason; nothing where nothing mostly helps.

    >>> advice("3 labels are NaN or out of range")[:60]
    '; data.filter leaves out examples whose label is missing; cl'
    >>> advice("0/0")
    ''
    """
    return "".join(f"; {text}" for pattern, text in ADVICE if pattern.search(reason))
