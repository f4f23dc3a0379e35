"""Whether two sides may be compared example by example: the same examples, labels and draws. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.comparison.exact_counts import count_notes
from harness.comparison.sides import Side
from harness.job.specs import BootstrapSpec

__all__ = ["hindrances", "notes", "other_contents", "other_draws", "other_examples"]

DRAWS = ("replicates", "seed", "level", "cluster")


def hindrances(first: Side, second: Side) -> list[str]:
    """Return why replicates of two sides are not of the same draws of the same examples; empty where they are."""
    reasons = _other_sets(first, second)
    if reason := other_contents(first, second):
        reasons.append(reason)
    return reasons + other_draws(first.question.bootstrap, second.question.bootstrap, (first.name, second.name))


def other_examples(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return which keys of two jobs say that they evaluate other examples.

    >>> other_examples({"limit": 10}, {"limit": None})
    ['data.limit is 10 and not given']
    """
    return [
        f"data.{key} is {_text(value)} and {_text(second.get(key))}" for key, value in first.items() if value != second.get(key)
    ]


def other_draws(first: BootstrapSpec | None, second: BootstrapSpec | None, names: tuple[str, str]) -> list[str]:
    """Return why replicates are not of the same draws: that one side has none, or how they are drawn."""
    if first is None and second is None:
        return []
    if first is None or second is None:
        return [f"{names[first is not None]} has no bootstrap, and so no replicates"]
    return [
        f"bootstrap.{key} is {_text(getattr(first, key))} and {_text(getattr(second, key))}"
        for key in DRAWS
        if getattr(first, key) != getattr(second, key)
    ]


def other_contents(first: Side, second: Side) -> str | None:
    """Say that two sides read other contents of the same examples; None where that is not so, or cannot be known."""
    hashes = [side.document["certificate"].get("content_hash") for side in (first, second)]
    if None in hashes or hashes[0] == hashes[1] or _reads(first) != _reads(second) or _other_sets(first, second):
        return None
    return f"what they read of the examples differs (content hashes {hashes[0]} and {hashes[1]}): the files were changed"


def _other_sets(first: Side, second: Side) -> list[str]:
    """Return why two sides have not evaluated the same examples, by their names and ids; empty where they have."""
    reasons = []
    if first.document["digests"]["data"] != second.document["digests"]["data"]:
        reasons.append("their data differ: other files, sizes or counts of examples")
    reasons += other_examples(first.data_keys, second.data_keys)
    if first.id_hash != second.id_hash and not reasons:
        reasons.append(f"they scored other examples: the hashes of the ids are {first.id_hash} and {second.id_hash}")
    return reasons


def notes(first: Side, second: Side) -> list[str]:
    """Return what hinders nothing and should be known."""
    found = []
    if _reads(first) != _reads(second):
        found.append(
            f"{first.name} and {second.name} read other features: whether the files have changed in between is not known"
        )
    if first.question.classes != second.question.classes:
        same = sorted(first.question.classes or ()) == sorted(second.question.classes or ())
        found.append(f"{first.name} and {second.name} have {'the same classes in another order' if same else 'other classes'}")
    return [*found, *count_notes(first, second)]


def _reads(side: Side) -> tuple[object, ...]:
    """Return what a side reads of the examples: what its content hash is of."""
    question = side.question
    bindings = {(binding.label, binding.weight, binding.also) for binding in question.bindings.values()}
    cluster = question.bootstrap.cluster if question.bootstrap else None
    return side.inputs, frozenset(bindings), question.slices.by if question.slices else None, cluster


def _text(value: object) -> str:
    return "not given" if value is None else str(value)
