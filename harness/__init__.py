"""Exact distributed evaluation of TensorFlow models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.comparison.api import compare, compare_checkpoints, compare_examples, gate
    from harness.report.results import Results
    from harness.run.api import evaluate
    from harness.run.evaluator import Evaluator
    from harness.run.keras_callback import ExactValidation

from harness.version import __version__

__all__ = [
    "Evaluator",
    "ExactValidation",
    "Results",
    "__version__",
    "compare",
    "compare_checkpoints",
    "compare_examples",
    "evaluate",
    "gate",
]

PLACES = {
    "Evaluator": "run.evaluator",
    "ExactValidation": "run.keras_callback",
    "Results": "report.results",
    "compare": "comparison.api",
    "compare_checkpoints": "comparison.api",
    "compare_examples": "comparison.api",
    "evaluate": "run.api",
    "gate": "comparison.api",
}


def __dir__() -> list[str]:
    """Show what is there for others, and nothing else."""
    return __all__


if not TYPE_CHECKING:  # else a type checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        """Load what Python's door offers when it is asked for: the command line must not pay for it, nor load TensorFlow."""
        if name not in PLACES:
            raise AttributeError(f"module 'harness' has no attribute '{name}'")
        import importlib

        return getattr(importlib.import_module(f"harness.{PLACES[name]}"), name)
