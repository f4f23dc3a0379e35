"""Exact distributed evaluation of TensorFlow models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.answer import Results
    from harness.api import Evaluator, evaluate
    from harness.tf_callback import ExactValidation

__version__ = "0.1.0"
__all__ = ["Evaluator", "ExactValidation", "Results", "evaluate"]

PLACES = {"Evaluator": "api", "ExactValidation": "tf_callback", "Results": "answer", "evaluate": "api"}


def __getattr__(name: str) -> Any:
    """Load what Python's door offers when it is asked for: the command line must not pay for it, nor load TensorFlow."""
    if name not in PLACES:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"harness.{PLACES[name]}"), name)
