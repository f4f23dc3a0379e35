"""What the door of Python answers with: values, a table, the certificate; from a run's document alone."""

from __future__ import annotations

import copy
import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.errors import nearest
from harness.folder.run_folder import RunFolder
from harness.results.advice import advice
from harness.results.examples import read_examples
from harness.results.metric_names import key_of, labels
from harness.results.run_document import finished

if TYPE_CHECKING:
    import pandas as pd

    from harness.results.evidence import Evidence

__all__ = ["Certified", "Results"]


@dataclass(frozen=True)
class Certified:
    """What the certificate says: how many examples were counted once, in how many chunks, the sum of their id hashes, and
    that of the hashes of what was read of them; `kept_hash` is that of the ids of those that were neither filtered nor skipped.
    """

    examples: int
    chunks: int
    id_hash: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    content_hash: str | None = None
    kept_hash: str = ""


@dataclass(frozen=True)
class Results(Mapping[str, Any]):
    """What was found; the same on all ranks. A mapping of values by metric, in alphabetical order.

    `results["accuracy"]` is a value: a number, a mapping of them, a pandas table, or None where it is undefined. Labels and
    short names are understood: `results["f1 macro"]` and `results["f1"]` are `results["f_beta"]`; of the model `new`
    `results["new/f1"]` is `results["new/f_beta"]`.

    Attributes:
      document: all of it, as metrics.json holds it.
      table: one line per number as metrics.csv has it, a pandas DataFrame.
      warnings: what makes the values doubtful.
      examples: a pandas DataFrame of those that the job's key `examples` keeps, a line for each place in a list; None without it.
      folder: of the run; None where it was not written to one.
      evidence: what comparisons need of a run without a folder. It stays in the process, and on rank 0: replicates are large.
      gate: what the gate comes to that was asked for, as of `harness.gate`; None without one.
    """

    document: Mapping[str, Any]
    table: pd.DataFrame = field(compare=False, repr=False)
    warnings: tuple[str, ...] = ()
    examples: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    folder: Path | None = field(default=None, compare=False, repr=False)
    evidence: Evidence | None = field(default=None, compare=False, repr=False)
    gate: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def load(cls, run: str | Path) -> Self:
        """Read the run folder of a finished run.

        Raises: RunFolderError: there is none.
        """
        import pandas as pd

        folder = RunFolder(Path(run))
        return cls(finished(folder), pd.read_csv(folder.metrics_csv), (), read_examples(folder), folder=folder.path.absolute())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "evidence": None}

    def __getitem__(self, metric: str) -> Any:
        key = key_of(metric, self._labels)
        if key is None:
            raise KeyError(f"no metric '{metric}': {nearest(metric, dict.fromkeys([*self._labels, *self._labels.values()]))}")
        return _value(self._metrics[key])

    def __contains__(self, metric: object) -> bool:
        return isinstance(metric, str) and key_of(metric, self._labels) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    @cached_property
    def _labels(self) -> Mapping[str, str]:
        return labels(self.document)

    @property
    def _metrics(self) -> Mapping[str, Any]:
        metrics: Mapping[str, Any] = self.document["metrics"]
        return metrics

    @property
    def slices(self) -> pd.DataFrame:
        """A pandas DataFrame of a line a slice: `slice:FEATURE` of each feature, `examples`, numbers as in `numbers`."""
        import pandas as pd

        parts = self.document.get("slices", [])
        features = dict.fromkeys(name for part in parts for name in _features(part))
        lines = [{**_features(part), "examples": part["examples"], **_numbers(part["metrics"])} for part in parts]
        columns = dict.fromkeys(name for line in lines for name in line)
        return pd.DataFrame(lines, columns=[*features, *(name for name in columns if name not in features)])

    @property
    def intervals(self) -> pd.DataFrame:
        """A pandas DataFrame of a line an interval, of the whole and of slices; without a bootstrap it has no lines.

        Its columns: number as `numbers` names it, `slice:FEATURE` of each feature, value, low, high, method, reason.
        """
        import pandas as pd

        parts = [self.document, *self.document.get("slices", [])]
        features = dict.fromkeys(name for part in parts for name in _features(part))
        lines = [
            {"number": name, **_features(part), "value": value, **interval}
            for part in parts
            for name, (value, interval) in _intervals(part).items()
        ]
        return pd.DataFrame(lines, columns=["number", *features, "value", "low", "high", "method", "reason"])

    @property
    def models(self) -> pd.DataFrame:
        """The numbers of several models side by side, [numbers, models], the first model first; of one model it is empty."""
        import pandas as pd

        differences = self.document.get("differences")
        if differences is None:
            return pd.DataFrame()
        first = [name.partition(" - ")[2] for name in differences][:1]
        lines: dict[str, dict[str, float]] = {}
        for key, number in self.numbers.items():
            model, _, name = key.partition("/")
            lines.setdefault(name, {})[model] = number
        names = dict.fromkeys([*first, *(model for line in lines.values() for model in line)])
        return pd.DataFrame.from_dict(lines, orient="index", columns=list(names)).rename_axis("number")

    @property
    def differences(self) -> pd.DataFrame:
        """A line for each number of each model but the first: how much it is above the first model's.

        Its columns: difference ("new - old"), number, value, low, high, method, reason; of one model it has no lines.
        """
        import pandas as pd

        lines = [
            {"difference": difference, "number": number, "value": entry["value"], **entry.get("interval", {})}
            for difference, entries in self.document.get("differences", {}).items()
            for number, entry in entries.items()
        ]
        return pd.DataFrame(lines, columns=["difference", "number", "value", "low", "high", "method", "reason"])

    @property
    def confusion_matrix(self) -> pd.DataFrame:
        """The confusion matrix as a pandas DataFrame, [labels, predictions], by the names of the classes.

        Of several models one below the other: `confusion_matrix.loc["old"]` is that of one.

        Raises: KeyError: the job has no such metric, or under another name.
        """
        import pandas as pd

        matrices = {key.rpartition("/")[0]: key for key in self if key.rpartition("/")[2] == "confusion_matrix"}
        if "confusion_matrix" in self or not matrices:
            return _matrix(self["confusion_matrix"])
        return pd.concat({model: _matrix(self[key]) for model, key in matrices.items()}, names=["model"])

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of all of it, as metrics.json holds it."""
        return copy.deepcopy(dict(self.document))

    @property
    def reasons(self) -> dict[str, str]:
        """Why values are None, by metric."""
        return {key: entry["reason"] for key, entry in self._metrics.items() if entry.get("reason")}

    @property
    def numbers(self) -> dict[str, float]:
        """Every number: by metric, or METRIC/NAME where a metric has several; NaN where it is undefined."""
        return _numbers(self._metrics)

    @cached_property
    def certificate(self) -> Certified:
        """The proof that every example was counted once."""
        fields = dict(self.document["certificate"])
        content_hash, _ = fields.pop("content_hash", None), fields.pop("content_reason", None)
        id_hash = fields.pop("id_hash")
        kept_hash = fields.pop("kept_hash", id_hash)
        return Certified(fields.pop("examples"), fields.pop("chunks"), id_hash, fields, content_hash, kept_hash)

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={number:.6g}" for key, number in self.numbers.items())
        nulls = "".join(f"; {key} is null: {reason}{advice(reason)}" for key, reason in self.reasons.items())
        return f"Results({shown}; {self.certificate.examples} examples{nulls})"

    def _repr_html_(self) -> str:
        """What a notebook shows: numbers with their intervals, and the certificate."""
        import pandas as pd

        intervals = _intervals(self.document)
        lines = []
        for key, entry in self._metrics.items():
            for name, number in _numbers({key: entry}).items():
                _, interval = intervals.get(name, (None, {}))
                lines.append([name, _digits(number), _ends(interval), entry["examples"], _explained(entry)])
        tables = [_html(pd.DataFrame(lines, columns=["metric", "value", "interval", "examples", "reason"]))]
        if "differences" in self.document:
            compared = [
                [line["difference"], line["number"], _digits(line["value"]), _ends(line), line["reason"]]
                for line in self.differences.to_dict("records")
            ]
            tables.append(_html(pd.DataFrame(compared, columns=["difference", "metric", "value", "interval", "reason"])))
        proof = f"every one of {self.certificate.examples:,} examples counted once, id hash {self.certificate.id_hash}"
        warnings = "".join(f"<p>warning: {html.escape(warning)}</p>" for warning in self.warnings)
        return f"{''.join(tables)}<p>certificate: {proof}</p>{warnings}"


def _explained(entry: Mapping[str, Any]) -> str:
    reason = entry.get("reason") or ""
    return f"{reason}{advice(reason)}"


def _matrix(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("label").rename_axis(columns="prediction")


def _html(table: pd.DataFrame) -> str:
    """Write a table, without columns of intervals and reasons in which nothing stands."""
    table = table.fillna("")
    shown = [name for name in table if name not in ("interval", "reason") or table[name].any()]
    written: str = table[shown].to_html(index=False, border=0)
    return written


def _digits(number: float) -> str:
    return "" if number != number else f"{number:.6g}"


def _ends(interval: Mapping[Any, Any]) -> str:
    low, high = interval.get("low"), interval.get("high")
    return "" if low is None or low != low else f"{low:.6g} to {high:.6g}"


def _features(part: Mapping[str, Any]) -> dict[str, Any]:
    return {f"slice:{name}": value for name, value in part.get("slice", {}).items()}


def _intervals(part: Mapping[str, Any]) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Return values and their intervals, of the whole or of a slice, by the names of `numbers`."""
    intervals: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    for key, entry in part.get("intervals", {}).items():
        value = part["metrics"][key]["value"]
        if isinstance(value, Mapping):
            intervals |= {f"{key}/{name}": (value[name], interval) for name, interval in entry.items()}
        else:
            intervals[key] = (value, entry)
    return intervals


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for key, entry in metrics.items():
        value = entry["value"]
        if isinstance(value, Mapping):
            if "columns" not in value:
                numbers |= {f"{key}/{name}": _number(number) for name, number in value.items()}
        elif not isinstance(value, str):
            numbers[key] = _number(value)
    return numbers


def _value(entry: Mapping[str, Any]) -> Any:
    value = entry["value"]
    if isinstance(value, Mapping) and "columns" in value:
        import pandas as pd

        return pd.DataFrame(value["rows"], columns=value["columns"])
    return value


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
