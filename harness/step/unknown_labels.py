"""Which label is no class, and where it lies: the data are read again once the graph has said that there is one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from harness.data import BAD, KEEP, Feature, Source
from harness.plan.plan import Chunk, Plan
from harness.step.class_labels import ClassLabels

__all__ = ["first_unknown"]

BLOCK = 256  # examples read at a time


def first_unknown(labels: ClassLabels, source: Source, wanted: Mapping[str, Feature], plan: Plan, chunk: Chunk) -> str | None:
    """Find the first example of a chunk with a label that is no class; say which, and where. None where all are classes.

    Args:
      labels: what is looked up.
      source: as the feed has it. wanted: what it parses.
      plan: that the chunk is of.
    """
    features = {name: wanted[name] for name in labels.features if wanted[name].dtype == "string"}
    names = labels.names or ()
    known = {name.encode() for name in names}
    at = chunk.start
    for records in source.read(chunk.start, chunk.stop, BLOCK):
        raw = dict(records.raw)
        bad = raw.pop(BAD, None)
        parsed = dict(source.parse({name: tf.constant(array) for name, array in raw.items()}, features))
        keep = parsed.pop(KEEP, None)
        counts = np.ones(len(records.ids), bool) if bad is None else ~bad
        counts = counts if keep is None else counts & keep.numpy()
        texts = {name: parsed[name].numpy().reshape(len(counts), -1).tolist() for name in features}
        for row in np.flatnonzero(counts).tolist():
            for name in features:
                if (text := next((text for text in texts[name][row] if text not in known), None)) is not None:
                    return f"{_where(plan, at + row)}: {_message(name, text, names)}"
        at += len(counts)
    return None


def _where(plan: Plan, example: int) -> str:
    """Name the file and the record, as messages about chunks do.

    >>> from harness.plan.plan import File
    >>> _where(Plan((File("a.csv", 0, 3), File("b.csv", 0, 4)), 2, 2), 4)
    'b.csv, record 1'
    """
    number, record = plan.locate(example)
    return f"{plan.files[number].path}, record {record}" + (" of those drawn" if plan.chosen is not None else "")


def _message(feature: str, text: bytes, names: Sequence[str]) -> str:
    """Say what is wrong with a label and what to do.

    >>> _message("language", b"Pyton", ["C", "Python"])
    "label 'language' is 'Pyton', which is none of the 2 classes: did you mean 'Python'? Name it in data.classes, or \
say data.unknown_label: skip, or null to leave it out of the metrics"
    """
    shown = text.decode(errors="backslashreplace")
    close = difflib.get_close_matches(shown, names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'? " if close else "a missing value is the empty text. " if not text else ""
    return (
        f"label '{feature}' is '{shown}', which is none of the {len(names):,} classes: {hint}Name it in data.classes, or "
        "say data.unknown_label: skip, or null to leave it out of the metrics"
    )
