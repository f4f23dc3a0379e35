"""`question.json`: what a run asks of its examples, and where it lies in the sums of the journal. Without code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import RunFolderError
from harness.folder.regular_files import read_regular
from harness.folder.run_folder import RunFolder, read_json, write_atomically
from harness.metrics import question_json
from harness.metrics.contract import Metric
from harness.metrics.question import Question
from harness.sums import layout_json
from harness.sums.sums import Layouts

__all__ = ["as_read", "file_digest", "question_digest", "question_of", "read_question", "write_question"]

VERSION = 2


def question_digest(question: Question, layouts: Layouts) -> str:
    """Return a SHA-256 of what is asked and where it lies, in hexadecimal: sums of different ones cannot be added."""
    return hashlib.sha256(_text(question, layouts).encode()).hexdigest()


def write_question(folder: RunFolder, question: Question, layouts: Layouts) -> None:
    """Write the question of a run; the same for each of its attempts."""
    write_atomically(folder.question_json, _text(question, layouts))


def file_digest(folder: RunFolder) -> str:
    """Return the digest of the question that a folder holds.

    Raises: RunFolderError: the file is none that a run writes.
    """
    try:
        return hashlib.sha256(read_regular(folder.question_json)).hexdigest()
    except OSError as exc:
        raise RunFolderError(f"{folder.question_json} cannot be read: {exc}") from exc


def as_read(question: Question) -> Question:
    """Return a question as it comes back from a file: metrics of the user's own do not."""
    return question_json.from_json(json.loads(_dumped(question_json.to_json(question))))


def _text(question: Question, layouts: Layouts) -> str:
    document = {"version": VERSION, "question": question_json.to_json(question), "layouts": layout_json.to_json(layouts)}
    return _dumped(document) + "\n"


def _dumped(document: object) -> str:
    # A binding of the user's own may hold anything: it is named by its kind, and does not come back.
    return json.dumps(document, indent=1, allow_nan=False, default=lambda thing: f"<{type(thing).__name__}>")


def read_question(folder: RunFolder, own: Callable[[str], type[Metric]] | None = None) -> tuple[Question, Layouts]:
    """Read the question of a run.

    Args:
      own: see `question_json.from_json`.
    Raises: RunFolderError: there is none, or it is not what a run writes.
    """
    document = read_json(folder.question_json)
    if not isinstance(document, dict):
        raise RunFolderError(f"{folder.question_json} is missing or torn: it says what the run asked")
    return question_of(document, str(folder.question_json), own)


def question_of(document: Any, where: str, own: Callable[[str], type[Metric]] | None = None) -> tuple[Question, Layouts]:
    """Return the question of a document; see `read_question`.

    Args:
      where: what the document was read from.
    """
    if not isinstance(document, Mapping):
        raise RunFolderError(f"{where}: not what a run writes: expected an object, found {type(document).__name__}")
    if document.get("version") != VERSION:
        raise RunFolderError(f"{where}: expected version {VERSION}, found {document.get('version')!r}")
    try:
        return question_json.from_json(document.get("question"), own), layout_json.from_json(document.get("layouts"))
    except ValueError as exc:
        raise RunFolderError(f"{where}: {exc}") from exc
