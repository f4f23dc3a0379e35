"""What is asked of the examples: metrics with what they read, slices, bootstrap, classes. Made once, and handed on whole.

Knows neither graph nor sums; `question_json` writes it down, without code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from harness.job.specs import BootstrapSpec, ExamplesSpec, SlicesSpec
from harness.metrics.contract import Binding, Inputs, Metric, RowMetric

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
      metrics: by the key under which each is reported.
      bindings: what each reads.
      slices, bootstrap: of the job; None for none.
      classes: names of the classes, where there are any.
      models: names, where there are several; metrics are MODEL/KEY then.
      unknown_label: what becomes of an example whose label is text and no class; see docs/labels.md.
      examples: of the job, with the key of a metric under `by`; None for none.
    """

    metrics: Mapping[str, Metric]
    bindings: Mapping[str, Binding]
    slices: SlicesSpec | None = None
    bootstrap: BootstrapSpec | None = None
    classes: tuple[str, ...] | None = None
    models: tuple[str, ...] = ()
    unknown_label: Literal["error", "skip", "null"] = "error"
    examples: ExamplesSpec | None = None

    @cached_property
    def class_labels(self) -> tuple[str, ...]:
        """The features that metrics read as one class a position; where such a label is text it is the name of the class."""
        read = (Inputs.CLASSES, Inputs.BINARY)
        labels = [b.label for b in self.bindings.values() if b.inputs in read and not b.one_hot and b.label is not None]
        return tuple(dict.fromkeys(labels))

    @cached_property
    def row_metrics(self) -> Mapping[str, RowMetric]:
        """The metrics that keep rows."""
        return {key: metric for key, metric in self.metrics.items() if isinstance(metric, RowMetric)}

    @cached_property
    def outside_grid(self) -> frozenset[str]:
        """The metrics that neither slices nor replicates report."""
        return frozenset(
            key
            for key, metric in self.metrics.items()
            if not (self.slices and metric.in_slices) and not (self.bootstrap and metric.in_replicates)
        )

    @property
    def has_grid(self) -> bool:
        """Whether anything is summed by slice or replicate."""
        return self.slices is not None or self.bootstrap is not None

    def only(self, keys: Collection[str]) -> Question:
        """Return the question with some of its metrics; what all of them read stays, for examples are counted by it."""
        return replace(self, metrics={key: metric for key, metric in self.metrics.items() if key in keys})

    def rows_kept(self, key: str) -> Literal["all", "largest", "smallest"]:
        """Say which rows a metric needs of those that a call of the step gives; see `rows.thin`."""
        # A replicate may leave out the one row that a metric would have kept.
        return "all" if self.bootstrap else self.row_metrics[key].keep

    def rows_anonymous(self, key: str) -> bool:
        """Say whether a metric needs no ids in its rows: equal rows are alike, and nothing is drawn by them."""
        metric = self.row_metrics[key]
        return metric.additive is not None and not (self.bootstrap and metric.in_replicates)
