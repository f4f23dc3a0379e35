"""The examples that a run keeps: what was chosen by all ranks, with what their records hold, read again. On rank 0, at the end.

Loads TensorFlow late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data import BAD, SERIALIZED, Feature, Source
from harness.data.partial import read_some
from harness.data.pictures import is_picture, thumbnail
from harness.errors import DataError, HarnessError
from harness.job.job import Job
from harness.plan.drawn import Drawn
from harness.predictions.source import OUTPUT, PredictionSource
from harness.prepare.input_binding import Matched
from harness.prepare.opened import Opened
from harness.results.examples import ShownRecords, as_parquet, reported, short_names
from harness.results.outcome import Outcome
from harness.sums.reduction import GrandTotal
from harness.sums.selection import ID

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["kept_examples", "kept_json"]

AT_ONCE = 64  # examples that are read and parsed together
MOST_SEEN = 1000  # examples of which a picture or a text is kept, the first in the table
TEXT_CHARACTERS = 200


def kept_examples(
    job: Job, opened: Opened, built: Built, total: GrandTotal, outcome: Outcome, moved: Callable[[], None] = lambda: None
) -> bytes | None:
    """Return what examples.parquet holds; None where the job keeps no examples.

    Args:
      total: of all ranks.
      outcome: says which slices are reported.
      moved: called at each sign of progress.
    Raises: HarnessError: a record cannot be read again.
    """
    question, layout, keys = built.question, built.step.layouts.examples, total.grid.keys
    if question.examples is None:
        return None
    selection = reported(total.selection, keys, question, outcome)
    shown = _Rereading(job, opened, built.prepared.matched, moved).records(selection.table[:, ID])
    return as_parquet(selection, layout, keys, question, shown)


def kept_json(built: Built, content: bytes | None) -> dict[str, Any]:
    """Return what metrics.json says of the examples: how they were chosen, and the SHA-256 of the file that holds them."""
    spec = built.question.examples
    if spec is None or content is None:
        return {}
    asked = {"by": spec.by, "worst": spec.worst, "per": spec.per, "lists": list(spec.lists), "seed": spec.seed}
    return {"examples": {**asked, "sha256": hashlib.sha256(content).hexdigest()}}


class _Rereading:
    """Reads records again.

    Args:
      job, opened: of the run.
      matched: what the model reads.
      moved: called at each sign of progress.
    """

    def __init__(self, job: Job, opened: Opened, matched: Matched, moved: Callable[[], None]) -> None:
        self._source, self._plan, self._moved = opened.source, opened.plan, moved
        self._features = features = job.examples.features if job.examples else ()
        self._skip = job.data.on_bad_record == "skip"
        inputs = {name: matched.wanted[name] for name in matched.inputs.values() if not name.startswith(OUTPUT)}
        self._picture = next((name for name, feature in inputs.items() if _is_picture(feature)), None)
        self._text = next((name for name, feature in inputs.items() if name != SERIALIZED and _is_text(feature)), None)
        names = dict.fromkeys((*features, *(name for name in (self._picture, self._text) if name is not None)))
        self._wanted = {name: matched.wanted[name] for name in names}

    def records(self, ids: np.ndarray) -> ShownRecords:
        """Read the records of some examples, each once.

        Args:
          ids: int64 [n], in the order of the table.
        """
        distinct, first = np.unique(ids, return_index=True)
        seen = set(distinct[np.argsort(first)][:MOST_SEEN].tolist())
        features: dict[str, dict[int, Any]] = {name: {} for name in self._features}
        texts: dict[int, str] = {}
        thumbnails: dict[int, bytes] = {}
        for example, values in self._read(distinct) if self._wanted else ():
            for name in self._features:
                features[name][example] = _plain(values[name])
            if self._picture is not None and example in seen:
                thumbnails[example] = thumbnail(values[self._picture])
            if self._text is not None and example in seen:
                texts[example] = _readable(values[self._text].item())[:TEXT_CHARACTERS]
        return ShownRecords(*self._places(distinct), features, texts, thumbnails)

    def _read(self, ids: np.ndarray) -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
        """Yield id and features of each of some examples, ids ascending.

        Raises: HarnessError: one cannot be read or parsed, or is not there.
        """
        import tensorflow as tf

        source = self._source.select(self._wanted, skip=self._skip)
        left = set(ids.tolist())
        try:
            for records in read_some(source, self._positions(source, ids), ids, AT_ONCE):
                raw = {name: tf.constant(array) for name, array in records.raw.items() if name != BAD}
                tensors = source.parse(raw, self._wanted)
                parsed = {name: tensors[name].numpy() for name in self._wanted}
                self._moved()
                for row, example in enumerate(records.ids.tolist()):
                    left.discard(example)
                    yield example, {name: np.asarray(values[row]) for name, values in parsed.items()}
        except (tf.errors.OpError, OSError) as exc:
            raise HarnessError(f"examples: a record that was evaluated cannot be read again: {exc}") from exc
        if left:
            raise DataError(
                f"examples: example {min(left)} was evaluated, and is in the data no longer; put back what was evaluated"
            )

    def _positions(self, source: Source, ids: np.ndarray) -> np.ndarray:
        """Return where examples are among those that the source reads, int64 [n]."""
        plan = self._plan
        if plan.hashes is not None:  # predictions of a part of the examples: their own files say which
            own = np.concatenate([records.ids for records in source.read(0, plan.examples, AT_ONCE)])
            return np.searchsorted(own, ids)
        if isinstance(plan.chosen, Drawn):
            return plan.chosen.places(ids)
        return ids if plan.chosen is None else np.searchsorted(plan.chosen, ids)

    def _places(self, ids: np.ndarray) -> tuple[dict[int, str], dict[int, int]]:
        """Return the file of each example and the number of its record there, by id."""
        plan = self._source.manifest.plan if isinstance(self._source, PredictionSource) else self._plan
        counts = plan.chosen.examples if isinstance(plan.chosen, Drawn) else [file.examples for file in plan.files]
        starts = np.cumsum([0, *counts])
        numbers = (np.searchsorted(starts, ids, side="right") - 1).tolist()
        records = dict(zip(ids.tolist(), (ids - starts[numbers]).tolist(), strict=True))
        paths = [file.path for file in plan.files]
        if not isinstance(self._source, PredictionSource):
            members = {number: self._source.lies_in(number).members for number in set(numbers)}
            folders = {number: paths[number] for number, names in members.items() if names}
        else:
            members, folders = {}, {}
        names = short_names(paths)
        files = {}
        for example, number in zip(ids.tolist(), numbers, strict=True):
            inner = members[number][records[example]].removeprefix(folders[number]) if number in folders else ""
            files[example] = names[number] + inner
        return files, records


def _is_picture(feature: Feature) -> bool:
    return feature.dtype != "string" and is_picture(feature.shape)


def _is_text(feature: Feature) -> bool:
    return feature.dtype == "string" and feature.shape in ((), (1,))


def _readable(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def _plain(values: np.ndarray) -> Any:
    """Return a number, a text, or a flat list of them."""
    flat = [_readable(value) if isinstance(value, bytes) else value for value in values.ravel().tolist()]
    return flat if values.ndim and values.size != 1 else flat[0]
