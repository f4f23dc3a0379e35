"""metrics.json of a finished run, and whether it has the structure that all who read it rely on.

A run folder may have been edited or come from elsewhere: what is wrong is refused here, once, with the file and the place in
it. Keys that are not known are left alone, for later versions have some.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import RunFolderError
from harness.folder.regular_files import read_regular
from harness.folder.run_folder import RunFolder, read_json

__all__ = ["asked", "check_compared", "check_document", "document_of", "finished", "object_of", "parsed", "read_mapping"]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Certificate(_Part):
    examples: int = Field(ge=0)
    chunks: int = Field(ge=0)
    id_hash: str
    kept_hash: str = ""
    content_hash: str | None = None


class _Digests(_Part):
    data: str
    job: str
    model: str


class _Definition(_Part):
    label: str = ""
    metric: str = ""
    model: str = ""
    better: Literal["higher", "lower", "neither"] = "neither"
    options: dict[str, Any] = {}
    binding: dict[str, Any] = {}


_Cell = float | int | str | bool | None  # of either kind of number, since a strict float turns large integers down


class _Table(_Part):
    columns: list[str]
    rows: list[list[_Cell]]


class _Metric(_Part):
    value: _Cell | _Table | dict[str, _Cell]
    examples: int = Field(ge=0)
    positions: int = Field(0, ge=0)
    standard_error: float | None = None
    support: dict[str, float] = {}
    bounds: dict[str, float] = {}
    reason: str | None = None


class _Interval(_Part):
    low: float | None
    high: float | None
    standard_error: float | None = None
    reason: str | None = None


class _Numbers(_Part):
    metrics: dict[str, _Metric]
    intervals: dict[str, _Interval | dict[str, _Interval]] = {}

    @model_validator(mode="after")
    def _intervals_are_those_of_the_values(self) -> Self:
        for key, interval in self.intervals.items():
            metric = self.metrics.get(key)
            if isinstance(interval, dict) and interval and (metric is None or not isinstance(metric.value, dict | _Table)):
                raise ValueError(f"{key} has intervals by name, and no such numbers")
        return self


class _Slice(_Numbers):
    slice: dict[str, str | int]
    examples: int = Field(ge=0)


class _Bootstrap(_Part):
    replicates: int = Field(ge=1)
    seed: int
    level: float = Field(gt=0, lt=1)
    cluster: str | None = None


class _Difference(_Part):
    value: float
    interval: _Interval | None = None


class _Examples(_Part):
    by: str
    lists: list[str]


class _Document(_Numbers):
    certificate: _Certificate
    digests: _Digests | None = None
    definitions: dict[str, _Definition] = {}
    bootstrap: _Bootstrap | None = None
    slices: list[_Slice] | None = None
    slices_left_out: int = 0
    differences: dict[str, dict[str, _Difference]] = {}
    examples: _Examples | None = None
    predictions: dict[str, int] = {}

    @model_validator(mode="after")
    def _slices_have_the_same_metrics(self) -> Self:
        for number, part in enumerate(self.slices or ()):
            if set(part.metrics) != set((self.slices or [part])[0].metrics):
                raise ValueError(f"slice {number} has other metrics than the first one")
        return self


class _Compared(_Document):
    digests: _Digests


class _AskedMetric(_Part):
    key: str
    metric: str = ""


class _Asked(_Part):
    metrics: list[_AskedMetric] = []
    classes: list[str] | None = None


class _QuestionFile(_Part):
    question: _Asked = _Asked()


def finished(folder: RunFolder) -> dict[str, Any]:
    """Return what metrics.json of a run holds.

    Raises: RunFolderError: there is no finished run, or the file is not what a run writes.
    """
    if (document := document_of(folder)) is not None:
        return document
    status, failure = (read_json(path) for path in (folder.status_json, folder.failure_json))
    ending = f"; its last attempt: {status['state']}" if isinstance(status, dict) and "state" in status else ""
    ending += f": {failure['message']}" if isinstance(failure, dict) and "message" in failure else ""
    raise RunFolderError(f"{folder.path}: no finished run in there (no metrics.json){ending}")


def document_of(folder: RunFolder) -> dict[str, Any] | None:
    """Return what metrics.json of a run holds, None where there is none.

    Raises: RunFolderError: the file is torn, or not what a run writes.
    """
    path = folder.metrics_json
    document = read_mapping(path)
    return None if document is None else check_document(document, str(path))


def read_mapping(path: Path) -> dict[str, Any] | None:
    """Return the object that a JSON file of a run holds, None where there is no file.

    Raises: RunFolderError: the file is torn, holds something else, or cannot be read.
    """
    try:
        content = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise RunFolderError(f"{path}: cannot be read: {exc.strerror}") from exc
    return parsed(content, str(path))


def object_of(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file without which a result is a result; an empty one where it is missing or torn.

    Raises: RunFolderError: it holds something else.
    """
    document = read_json(path)
    if document is not None and not isinstance(document, dict):
        raise RunFolderError(f"{path}: not what a run writes: expected an object, found {type(document).__name__}")
    return document or {}


def parsed(content: bytes, where: str) -> dict[str, Any]:
    """Return the object that JSON holds.

    Args:
      where: what the content was read from.
    Raises: RunFolderError: it is torn, or holds something else.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise RunFolderError(f"{where}: torn, or not what a run writes: {exc}") from exc
    if not isinstance(document, dict):
        raise RunFolderError(f"{where}: not what a run writes: expected an object, found {type(document).__name__}")
    return document


def check_document(document: dict[str, Any], where: str) -> dict[str, Any]:
    """Return what metrics.json holds if it has the structure of a result.

    Raises: RunFolderError: it has not.
    """
    return _checked(_Document, document, where)


def check_compared(document: dict[str, Any], where: str) -> dict[str, Any]:
    """Return what metrics.json holds if it has all that comparisons read; see `check_document`."""
    return _checked(_Compared, document, where)


def asked(folder: RunFolder) -> Mapping[str, Any]:
    """Return the question of question.json as it is written there; empty where there is no such file.

    Raises: RunFolderError: the file is torn, or not what a run writes.
    """
    document = read_mapping(folder.question_json) or {}
    question: Mapping[str, Any] = _checked(_QuestionFile, document, str(folder.question_json)).get("question", {})
    return question


def _checked(structure: type[_Part], document: dict[str, Any], where: str) -> dict[str, Any]:
    try:
        structure.model_validate(document)
    except (ValidationError, RecursionError) as exc:
        raise RunFolderError(f"{where}: not what a run writes: {_first_problem(exc)}") from exc
    return document


def _first_problem(exc: ValidationError | RecursionError) -> str:
    if isinstance(exc, RecursionError):
        return "it is nested too deep"
    problem = exc.errors(include_url=False, include_input=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    return " / ".join([*map(str, problem["loc"]), message[:1].lower() + message[1:]])
