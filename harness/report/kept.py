"""Examples that runs keep, by list and group: what they are, what the model said of them and what it saw. Lays nothing out."""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import RunFolderError
from harness.folder.regular_files import read_regular
from harness.folder.run_folder import RunFolder, read_json
from harness.report.drawing import clipped
from harness.report.kept_example import LONGEST_NAME, LONGEST_TEXT, MOST_FEATURES, KeptExample, LineReader, shown_value
from harness.report.sections import Section
from harness.report.subjects import Reported, Subject
from harness.results.examples import WHOLE, frame_of
from harness.results.metric_names import labels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_EXAMPLES", "Kept", "KeptGroup", "KeptList", "kept_section"]

MOST_EXAMPLES = 50  # of a list in a group, where nobody says another number
MOST_SHOWN = 1500  # of a page: about a megabyte without the pictures
MOST_PICTURE_BYTES = 4_000_000  # of a page, as they stand in it
ALL_EXAMPLES = "all examples"
PNG = b"\x89PNG\r\n\x1a\n"
TITLES = {"worst": "Worst", "confident": "Most confident errors", "random": "Drawn at random"}
PARTS = {"slice": "slices", "confusion": "cells of the confusion matrix"}


@dataclass(frozen=True)
class KeptGroup:
    """The examples of a list in a group.

    Attributes:
      anchor: its name in links.
      name: of the group.
      whole: whether it is the group of all examples.
      cell: label and prediction that all of it have, where groups are cells; None elsewhere.
      count: of the examples that the run keeps.
      examples: those that are shown.
    """

    anchor: str
    name: str
    whole: bool
    cell: tuple[str, str] | None
    count: int
    examples: Sequence[KeptExample]


@dataclass(frozen=True)
class KeptList:
    """A list with its groups, that of all examples first."""

    key: str
    title: str
    groups: Sequence[KeptGroup]


@dataclass(frozen=True)
class Kept:
    """The examples of one run.

    Attributes:
      name: of the run.
      document: metrics.json.
      metric: whose term is the loss, its label.
      binding: of that metric, as question.json has it.
      parts: what the groups are beside that of all.
      pictured, worded: whether there are pictures, and texts, of them: then they are shown as cards, else as a table.
      notes: what is left out, a sentence each.
      missing: why there are none.
    """

    name: str
    document: Mapping[str, Any]
    metric: str
    binding: Mapping[str, Any]
    parts: str
    lists: Sequence[KeptList] = ()
    pictured: bool = False
    worded: bool = False
    notes: Sequence[str] = ()
    missing: str = ""


@dataclass(frozen=True)
class _Table:
    """examples.parquet of a run, and what is shown of it.

    Attributes:
      starts, counts: of each group, its first line and how many it has, int64 [groups].
      shown: int64 [groups], how many lines are shown.
    """

    frame: pd.DataFrame
    starts: np.ndarray
    counts: np.ndarray
    shown: np.ndarray


def kept_section(reported: Reported, most: int = MOST_EXAMPLES) -> Section | None:
    """Return the section; None where no run keeps examples.

    Args:
      most: examples of a list in a group.
    """
    keeping = [(subject, document) for subject, document in reported.finished if document.get("examples") and subject.folder]
    if not keeping or not most:
        return None
    tables, missing = list[_Table | None](), list[str]()
    for subject, document in keeping:
        try:
            assert subject.folder is not None  # only such were chosen
            tables.append(_bounded(_read(subject.folder, document), most, MOST_SHOWN // len(keeping)))
            missing.append("")
        except (RunFolderError, OSError) as exc:
            tables.append(None)
            missing.append(str(exc))
    pictures = _pictures(tables)
    content = [
        _kept(number, subject, document, table, reason, pictures)
        for number, ((subject, document), table, reason) in enumerate(zip(keeping, tables, missing, strict=True))
    ]
    return Section("examples", "Examples", "kept.html", content)


def _read(folder: RunFolder, document: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table that metrics.json names.

    Raises: OSError: it cannot be read. RunFolderError: it is another, or none.
    """
    content = read_regular(folder.examples_parquet)
    if hashlib.sha256(content).hexdigest() != document["examples"]["sha256"]:
        raise RunFolderError("examples.parquet is not the file whose SHA-256 metrics.json names")
    return frame_of(content)


def _bounded(frame: pd.DataFrame, most: int, share: int) -> _Table:
    """Choose how many of each group are shown: as many of each as fit, at least its first, that of all examples before others.

    Args:
      most: of a group.
      share: of all groups together.
    """
    starts = np.flatnonzero(frame["place"].to_numpy() == 1)
    counts = np.diff(np.append(starts, len(frame)))
    bounds = range(1, min(most, int(counts.max(initial=1))) + 1)
    bound = bounds[max(bisect_right(bounds, share, key=lambda bound: int(np.minimum(counts, bound).sum())), 1) - 1]
    shown = np.zeros_like(counts)
    first = np.argsort(frame["group"].to_numpy()[starts] != WHOLE, kind="stable")[:share]
    shown[first] = np.minimum(counts[first], bound)
    return _Table(frame, starts, counts, shown)


def _pictures(tables: Sequence[_Table | None]) -> dict[tuple[int, int], str]:
    """Return the pictures that are shown, by number of the run and line: the first of each group before the second of any."""
    columns = {number: own.frame["thumbnail"] for number, own in enumerate(tables) if own and "thumbnail" in own.frame}
    lines = [
        (place, number, start + place)
        for number, own in enumerate(tables)
        if own and number in columns
        for start, count in zip(own.starts.tolist(), own.shown.tolist(), strict=True)
        for place in range(count)
    ]
    pictures, left = dict[tuple[int, int], str](), MOST_PICTURE_BYTES
    for _, run, line in sorted(lines):
        picture = columns[run].iloc[line]
        if isinstance(picture, bytes) and picture.startswith(PNG) and 4 * -(-len(picture) // 3) <= left:
            encoded = base64.b64encode(picture).decode()
            left -= len(encoded)
            pictures[run, line] = encoded
    return pictures


def _kept(
    number: int,
    subject: Subject,
    document: Mapping[str, Any],
    table: _Table | None,
    missing: str,
    pictures: Mapping[tuple[int, int], str],
) -> Kept:
    """Return what is shown of one run, `number` of those that keep examples."""
    spec = document["examples"]
    key = str(spec["by"])
    asked = _question(subject)
    binding: Mapping[str, Any] = next((own["binding"] for own in asked.get("metrics", ()) if own["key"] == key), {})
    head = subject.name, document, labels(document).get(key, key), binding, PARTS.get(spec["per"], "")
    if table is None:
        return Kept(*head, missing=missing)
    reader = LineReader(asked.get("classes") or (), binding.get("inputs") != "NUMBERS")
    own = {line: picture for (run, line), picture in pictures.items() if run == number}
    lists: dict[str, list[KeptGroup]] = {}
    extents = zip(table.starts.tolist(), table.counts.tolist(), table.shown.tolist(), strict=True)
    for at, (start, count, shown) in enumerate(extents):
        if shown:
            lines = table.frame.iloc[start : start + shown].to_dict("records")
            examples = [reader.example(line, own.get(start + place, "")) for place, line in enumerate(lines)]
            group = _group(f"examples-{number}-{at}", spec["per"], lines[0], count, examples)
            lists.setdefault(str(lines[0]["list"]), []).append(group)
    return Kept(
        *head,
        [KeptList(name, TITLES.get(name, name), groups) for name, groups in lists.items()],
        "thumbnail" in table.frame,
        "text" in table.frame,
        _notes(table, len(own)),
    )


def _group(anchor: str, per: str, first: Mapping[str, Any], count: int, examples: Sequence[KeptExample]) -> KeptGroup:
    """Return a group.

    Args:
      per: what its run's groups are.
      first: its first line.
    """
    name = str(first["group"])
    whole = name == WHOLE
    cell = None if whole or per != "confusion" else (shown_value(first["label"]), shown_value(first["prediction"]))
    return KeptGroup(anchor, ALL_EXAMPLES if whole else clipped(name, 2 * LONGEST_NAME), whole, cell, count, examples)


def _question(subject: Subject) -> Mapping[str, Any]:
    assert subject.folder is not None  # others keep nothing that can be read
    question: Mapping[str, Any] = (read_json(subject.folder.question_json) or {}).get("question") or {}
    return question


def _notes(table: _Table, pictures: int) -> list[str]:
    """Say what is left out."""
    frame, shown = table.frame, int(table.shown.sum())
    features = sum(str(name).startswith("feature:") for name in frame.columns)
    long = bool("text" in frame and (frame["text"].str.len() > LONGEST_TEXT).any())
    seen = np.concatenate(
        [np.arange(at, at + own) for at, own in zip(table.starts, table.shown, strict=True)] or [np.zeros(0, int)]
    )
    unseen = int(frame["thumbnail"].iloc[seen].notna().sum()) - pictures if "thumbnail" in frame else 0
    notes = {
        f"{shown:,} of {len(frame):,} are shown; all of them are in examples.parquet.": shown < len(frame),
        f"{unseen:,} pictures are left out: a page holds {MOST_PICTURE_BYTES // 10**6} MB of them.": unseen > 0,
        f"Texts are cut after {LONGEST_TEXT} letters.": long,
        f"{features - MOST_FEATURES:,} more features are in examples.parquet.": features > MOST_FEATURES,
    }
    return [text for text, holds in notes.items() if holds]
