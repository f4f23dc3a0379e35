"""What the door of Python answers with: values, a table, the certificate; from a run's document alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError, nearest
from harness.folder.run_folder import RunFolder, read_json

__all__ = ["Certified", "Results"]


@dataclass(frozen=True)
class Certified:
    """What the certificate says: how many examples were counted once, in how many chunks, the sum of their id hashes, and
    that of the hashes of what was read of them.
    """

    examples: int
    chunks: int
    id_hash: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    content_hash: str | None = None


@dataclass(frozen=True)
class Results:
    """What was found; the same on all ranks.

    `results["accuracy"]` is a value: a number, a mapping of them, a pandas table, or None where it is undefined.

    Attributes:
      document: all of it, as metrics.json holds it.
      table: one line per number as metrics.csv has it, a pandas DataFrame.
      warnings: what makes the values doubtful.
    """

    document: Mapping[str, Any]
    table: Any = field(compare=False, repr=False)
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, run: str | Path) -> Results:
        """Read the run folder of a finished run.

        Raises: RunFolderError: there is none.
        """
        import pandas as pd

        folder = RunFolder(Path(run))
        document = read_json(folder.metrics_json)
        if document is None:
            raise RunFolderError(f"{folder.path}: no finished run in there (no metrics.json)")
        return cls(document, pd.read_csv(folder.metrics_csv))

    def __getitem__(self, metric: str) -> Any:
        entry = self._metrics.get(metric)
        if entry is None:
            raise KeyError(f"no metric '{metric}': {nearest(metric, self._metrics)}")
        return _value(entry)

    def __contains__(self, metric: object) -> bool:
        return metric in self._metrics

    @property
    def _metrics(self) -> Mapping[str, Any]:
        metrics: Mapping[str, Any] = self.document["metrics"]
        return metrics

    @property
    def values(self) -> dict[str, Any]:
        """Every value by metric."""
        return {key: _value(entry) for key, entry in self._metrics.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """Why values are None, by metric."""
        return {key: entry["reason"] for key, entry in self._metrics.items() if entry.get("reason")}

    @property
    def numbers(self) -> dict[str, float]:
        """Every number: by metric, or METRIC/NAME where a metric has several; NaN where it is undefined."""
        numbers: dict[str, float] = {}
        for key, entry in self._metrics.items():
            value = entry["value"]
            if isinstance(value, Mapping):
                if "columns" not in value:
                    numbers |= {f"{key}/{name}": _number(number) for name, number in value.items()}
            elif not isinstance(value, str):
                numbers[key] = _number(value)
        return numbers

    @cached_property
    def certificate(self) -> Certified:
        """The proof that every example was counted once."""
        fields = dict(self.document["certificate"])
        content_hash, _ = fields.pop("content_hash", None), fields.pop("content_reason", None)
        return Certified(fields.pop("examples"), fields.pop("chunks"), fields.pop("id_hash"), fields, content_hash)

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={number:.6g}" for key, number in self.numbers.items())
        return f"Results({shown}; {self.certificate.examples} examples)"


def _value(entry: Mapping[str, Any]) -> Any:
    value = entry["value"]
    if isinstance(value, Mapping) and "columns" in value:
        import pandas as pd

        return pd.DataFrame(value["rows"], columns=value["columns"])
    return value


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
