"""Prices in a file of their own, for runs that are done: the keys of the job's `cost`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from harness.errors import UsageError
from harness.job.file_text import read_text
from harness.job.messages import explain
from harness.job.prices import CostSpec
from harness.job.yaml_text import parse

__all__ = ["read_prices"]


def read_prices(path: Path) -> CostSpec:
    """Read prices from a YAML file: the keys of `cost`, by themselves or below `cost:`.

    Raises: UsageError: it cannot be read, or a key or a value is wrong.
    """
    try:
        text = read_text(path)
    except FileNotFoundError as exc:
        raise UsageError(f"{path}: cannot be read: {exc.strerror}") from exc
    raw = parse(text, str(path))
    if isinstance(raw, Mapping) and isinstance(raw.get("cost"), Mapping):
        raw = raw["cost"]
    if not isinstance(raw, Mapping):
        raise UsageError(f"{path}: expected prices, as in 'gpu_hour: 2.1' and 'currency: EUR', found {type(raw).__name__}")
    try:
        return CostSpec.model_validate(raw)
    except ValidationError as exc:
        raise UsageError("\n".join(f"{path}: {line}" for line in explain(exc, CostSpec))) from None
