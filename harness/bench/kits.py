"""The kits: jobs whose model and data are code of the harness, so that a machine without data or network can be judged.

A kit is a job like any other. Its model comes from `kit_models`, its data from `kit_data`; what it measures is an evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError, nearest

__all__ = ["CHECKED", "KITS", "LOADGEN", "Kit", "kit"]

CHECKED = 4096  # examples whose result is compared with what is expected
LOADGEN = "loadgen"  # not a job of its own: the vision kit, driven by MLPerf LoadGen
SCORED = {"label": "label", "inputs": {"x": "x"}}


@dataclass(frozen=True)
class Kit:
    """A job of the harness' own.

    Attributes:
      name: what it is called.
      about: what it is, in a line.
      data, question: keys of the job; `data.python` and `model.python` follow from the name.
      examples: how many are evaluated where nobody says.
      batch_size: of the job.
      exact: whether it computes in whole numbers, so that its result is the same on all hardware.
    """

    name: str
    about: str
    data: Mapping[str, Any]
    question: Mapping[str, Any]
    examples: int
    batch_size: int = 64
    exact: bool = False

    def job(self, examples: int | None = None) -> dict[str, Any]:
        """Return the job, as YAML or `Job.from_dict` take it.

        Args:
          examples: how many; None is as many as the kit suggests.

        >>> KITS["vision"].job(128)["data"]["limit"]
        128
        """
        return {
            "model": {"python": f"harness.bench.kit_models:{self.name}"},
            "data": {"python": f"harness.bench.kit_data:{self.name}", **self.data, "limit": examples or self.examples},
            **self.question,
            "batch_size": self.batch_size,
        }


KITS = {
    each.name: each
    for each in (
        Kit(
            "vision", "convolutional network, images of 32 x 32 x 3, ten classes",
            {"label": "label", "inputs": {"image": "image"}},
            {"metrics": ["accuracy", "cross_entropy", "expected_calibration_error", {"top_k": {"k": 3}}]}, 1 << 16,
        ),
        Kit(
            "table", "perceptron, rows of 16 numbers, two classes, slices and intervals", SCORED,
            {
                "metrics": ["roc_auc", "log_loss", "brier", "binary_accuracy", "expected_calibration_error"],
                "slices": [["segment"]], "bootstrap": {"replicates": 100, "seed": 17},
            }, 1 << 18, 256,
        ),
        Kit(
            "text", "causal transformer of one block, 32 tokens of 256", {"label": "next", "inputs": {"tokens": "tokens"}},
            {"metrics": [{"perplexity": {"from_logits": True}}, {"accuracy": {"from_logits": True}}]}, 1 << 14,
        ),
        Kit(
            "ranking", "perceptron, queries of 16 documents, relevance 0 to 3", {**SCORED, "label": "relevance"},
            {"metrics": [{"ndcg": {"query": "query", "k": 10}}, {"ndcg": {"query": "query", "name": "ndcg_all"}}, "spearman"]},
            1 << 20, 256,
        ),
        Kit(
            "segmentation", "convolutional network, a class for each of 32 x 32 pixels",
            {"label": "mask", "inputs": {"image": "image"}},
            {"metrics": ["pixel_accuracy", "mean_iou", {"iou": {"average": "per_class"}}, "dice"]}, 1 << 13,
        ),
        Kit(
            "integer", "perceptron in whole numbers that float32 holds: the same result on all hardware", SCORED,
            {"metrics": ["accuracy", "f_beta", "confusion_matrix", {"top_k": {"k": 3}}], "slices": [["segment"]]}, 1 << 21, 256,
            exact=True,
        ),
    )
}  # fmt: skip


def kit(name: str) -> Kit:
    """Return a kit by its name.

    Raises: UsageError: there is none of that name.
    """
    if name not in KITS:
        raise UsageError(f"--kit: no kit '{name}': {nearest(name, [*KITS, LOADGEN])}")
    return KITS[name]
