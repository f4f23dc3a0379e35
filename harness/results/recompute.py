"""The values of a run once more, from its folder alone: its question and the sums in its journal. No model, data or TensorFlow.

The sums are added up as by a single rank, and the values come from them in the one way that a run's values come. What could
not be computed is named, with the reason: a metric of the user's own whose module is not at hand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError, RunFolderError
from harness.folder.journal import add_up
from harness.folder.question_file import file_digest, read_question
from harness.folder.regular_files import read_regular
from harness.folder.run_folder import RunFolder, read_json
from harness.metrics.contract import Metric
from harness.metrics.question import Question
from harness.metrics.question_json import MALFORMED, placeholders
from harness.ranks.comm import SingleComm
from harness.results.definitions import KEEPING
from harness.results.examples import chosen_columns, holds, reported
from harness.results.files import derived, differences_json, to_json
from harness.results.outcome import Outcome, outcome
from harness.sums.reduction import FoldedRows, GrandTotal, chosen_examples, fold_rows, slice_keys
from harness.sums.sums import Layouts, Sums

__all__ = ["Recomputed", "recompute", "recompute_run"]

SECTIONS = ("metrics", "intervals", "slices", "slices_left_out", "differences")  # of metrics.json, that hold values
ASKED = ("metric", "python", "options", "binding")  # of a definition, as question.json has it
DETAILS = ("support", "bounds")  # of a metric, that a document without a schema version lacks
MOST_NAMED = 5  # values that differ

Leaves = dict[tuple[str | int, ...], str]


@dataclass(frozen=True)
class Recomputed:
    """The values of a run, computed again.

    Attributes:
      outcome: the values of all metrics but those that are missing.
      document: the sections of metrics.json that hold values, of the same metrics.
      missing: why the values of a metric could not be computed, by its key.
      examples: the columns of examples.parquet that the sums tell; None where the run keeps none.
    """

    outcome: Outcome
    document: Mapping[str, Any]
    missing: Mapping[str, str]
    examples: Mapping[str, Any] | None = None

    def problems(self, folder: RunFolder) -> list[str]:
        """Compare with what the folder reports: numbers and definitions of metrics.json, the bytes of the files beside it.

        Where metrics are missing theirs are passed over, and so are metrics.csv and the replicates, which hold all of them.
        """
        reported = read_json(folder.metrics_json)
        wanted = _leaves({name: self.document[name] for name in SECTIONS if name in self.document})
        reported = reported if isinstance(reported, dict) else {}
        if "schema_version" not in reported:
            wanted = {path: text for path, text in wanted.items() if not _is_detail(path)}
        sections = {name: reported[name] for name in SECTIONS if name in reported}
        reported_values = {path: text for path, text in _leaves(sections).items() if not self._is_missing(path)}
        problems = _differences(reported_values, wanted, "the sums of the journal give")
        if "schema_version" in reported:
            problems += _differences(_definitions(reported), _asked(folder), "question.json gives")
        for path, content in derived(folder, self.outcome).items():
            if self.missing and path in (folder.metrics_csv, folder.replicates_npz, folder.slice_replicates_npz):
                continue
            try:
                alike = read_regular(path) == content
            except OSError:
                alike = False
            if not alike:
                problems.append(f"{path.name} is missing, or is not what the sums of the journal give")
        return problems + ([] if self.examples is None else self._example_problems(folder, reported))

    def _example_problems(self, folder: RunFolder, reported: Mapping[str, Any]) -> list[str]:
        """Compare the examples with metrics.json and the journal; what was read again of the data is taken as it is."""
        path, named = folder.examples_parquet, reported.get("examples")
        try:
            content = read_regular(path)
        except OSError as exc:
            return [f"{path.name} is missing, or cannot be read: {exc}"]
        if not isinstance(named, dict) or named.get("sha256") != hashlib.sha256(content).hexdigest():
            return [f"{path.name} is not the file whose SHA-256 metrics.json names"]
        same = holds(content, self.examples or {})
        return [] if same else [f"{path.name} does not hold the examples that the sums of the journal give"]

    def _is_missing(self, path: Sequence[str | int]) -> bool:
        """Say whether a value of metrics.json is one of a metric that is missing."""
        if path[0] == "slices":
            return len(path) > 3 and path[2] in ("metrics", "intervals") and path[3] in self.missing
        if path[0] == "differences":
            keys = [key.partition("/")[2] for key in self.missing]
            return len(path) > 2 and any(f"{path[2]}/".startswith(f"{key}/") for key in keys)
        return len(path) > 1 and path[1] in self.missing


def _differences(reported: Leaves, wanted: Leaves, source: str) -> list[str]:
    """Say where metrics.json differs from its source: the text says what gives the values that are wanted."""
    paths = sorted((path for path in wanted | reported if wanted.get(path) != reported.get(path)), key=str)
    problems = [
        f"metrics.json says {' / '.join(map(str, path))} is {reported.get(path, 'not there')}, "
        f"{source} {wanted.get(path, 'no such value')}"
        for path in paths[:MOST_NAMED]
    ]
    if len(paths) > MOST_NAMED:
        problems.append(f"and {len(paths) - MOST_NAMED:,} more differences of metrics.json from what {source}")
    return problems


def _definitions(document: Mapping[str, Any]) -> Leaves:
    """Return what metrics.json says was asked; its texts may differ from version to version, and are left out."""
    leaves = _leaves({name: document[name] for name in ("definitions", "bootstrap") if name in document})
    return {path: text for path, text in leaves.items() if path[0] == "bootstrap" or (len(path) > 2 and path[2] in ASKED)}


def _asked(folder: RunFolder) -> Leaves:
    """Return what question.json says was asked, by the paths of metrics.json."""
    question = read_json(folder.question_json)["question"]
    metrics = {entry["key"]: {name: entry[name] for name in ASKED if name in entry} for entry in question["metrics"]}
    asked = {key: value for key, value in (question["bootstrap"] or {}).items() if key not in KEEPING}
    bootstrap = {"bootstrap": asked} if asked else {}
    return _leaves({"definitions": metrics, **bootstrap})


def _is_detail(path: Sequence[str | int]) -> bool:
    """Say whether a value of metrics.json is one that stands beside a metric's value since there is a schema version."""
    within = path[2:] if path[0] == "slices" else path
    return len(within) > 2 and within[0] == "metrics" and within[2] in DETAILS


def recompute_run(folder: RunFolder, names: Sequence[str], own: Callable[[str], type[Metric]] | None = None) -> Recomputed:
    """Compute the values of a finished run from its folder.

    Args:
      names: of the segments that were summed, as run.json has them.
      own: finds metrics of the user's own, see `question_json.from_json`.
    Raises: RunFolderError: the question or a segment is missing, or not what a run writes.
    """
    question, layouts = read_question(folder, own)
    sums = add_up(folder.journal, names, layouts, file_digest(folder))
    try:
        return recompute(question, layouts, sums)
    except MALFORMED as exc:
        raise RunFolderError(f"{folder.question_json} and the journal do not go together: {type(exc).__name__}: {exc}") from exc


def recompute(question: Question, layouts: Layouts, sums: Sums) -> Recomputed:
    """Compute every value from sums.

    Args:
      question: what was asked; of placeholders there are no values.
      layouts: of the sums.
      sums: of all examples; given up.
    """
    draws, specs = (
        (1 + question.bootstrap.replicates if question.bootstrap else 1),
        len(question.slices.by if question.slices else ()),
    )
    if (layouts.draws, layouts.specs) != (draws, specs):
        raise ValueError(f"expected sums of {draws} draws and {specs} crosses, found {layouts.draws} and {layouts.specs}")
    if layouts.examples.lists != (question.examples.lists if question.examples else ()):
        raise ValueError("the examples of the layouts are not those of the question")
    missing = placeholders(question)
    comm = SingleComm()
    keys = slice_keys(comm, sums, question)
    rows: dict[str, FoldedRows] = {}
    for key in [key for key in layouts.rows if key not in missing]:
        try:
            rows[key] = fold_rows(comm, sums, layouts, question, key, keys)
        except Exception as exc:  # noqa: BLE001 - `fold` may be the user's own
            missing[key] = _why(exc)
    selection = chosen_examples(comm, sums, layouts, keys)
    total = GrandTotal(sums.state, sums.grid.placed(keys), rows, selection)
    known = question.only([key for key in question.metrics if key not in missing])
    try:
        values = outcome(total, layouts, known)
    except Exception:  # noqa: BLE001 - `value` may be the user's own, or read a file that is gone
        missing |= _failures(total, layouts, known)
        values = outcome(total, layouts, question.only([key for key in question.metrics if key not in missing]))
    document = {**to_json(values), **differences_json(values, question.models, question.bootstrap)}
    examples = None
    if question.examples is not None:
        shown = reported(selection, keys, question, values)
        examples = chosen_columns(shown, layouts.examples, keys, question)
    return Recomputed(values, json.loads(json.dumps(document)), missing, examples)


def _failures(total: GrandTotal, layouts: Layouts, question: Question) -> dict[str, str]:
    """Return which metrics fail on their own, and why."""
    reasons = {}
    for key in question.metrics:
        try:
            outcome(total, layouts, question.only([key]))
        except Exception as exc:  # noqa: BLE001 - see `recompute`
            reasons[key] = _why(exc)
    return reasons


def _why(exc: Exception) -> str:
    return f"it could not be computed: {exc if isinstance(exc, HarnessError) else f'{type(exc).__name__}: {exc}'}"


def _leaves(document: Any) -> Leaves:
    """Return every number and text of a document by its path, as JSON."""
    leaves: Leaves = {}
    under_way: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while under_way:
        path, value = under_way.pop()
        if isinstance(value, dict):
            under_way += [((*path, key), entry) for key, entry in value.items()]
        elif isinstance(value, list):
            under_way += [((*path, number), entry) for number, entry in enumerate(value)]
        else:
            leaves[path] = json.dumps(value)
    return leaves
