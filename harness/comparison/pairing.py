"""Whether two sides may be compared example by example: the same examples, labels and draws. Pure."""

from __future__ import annotations

from harness.comparison.exact_counts import count_notes
from harness.comparison.sides import Side

__all__ = ["hindrances", "notes", "other_contents"]

DRAWS = ("replicates", "seed", "level", "cluster")


def hindrances(first: Side, second: Side) -> list[str]:
    """Return why replicates of two sides are not of the same draws of the same examples; empty where they are."""
    reasons = _other_examples(first, second)
    if reason := other_contents(first, second):
        reasons.append(reason)
    spec, other_spec = first.question.bootstrap, second.question.bootstrap
    if (spec is None) != (other_spec is None):
        without = first if spec is None else second
        reasons.append(f"{without.name} has no bootstrap, and so no replicates")
    elif spec is not None and other_spec is not None:
        for key in DRAWS:
            if getattr(spec, key) != getattr(other_spec, key):
                reasons.append(f"bootstrap.{key} is {_text(getattr(spec, key))} and {_text(getattr(other_spec, key))}")
    return reasons


def other_contents(first: Side, second: Side) -> str | None:
    """Say that two sides read other contents of the same examples; None where that is not so, or cannot be known."""
    hashes = [side.document["certificate"].get("content_hash") for side in (first, second)]
    if None in hashes or hashes[0] == hashes[1] or _reads(first) != _reads(second) or _other_examples(first, second):
        return None
    return f"what they read of the examples differs (content hashes {hashes[0]} and {hashes[1]}): the files were changed"


def _other_examples(first: Side, second: Side) -> list[str]:
    """Return why two sides have not evaluated the same examples, by their names and ids; empty where they have."""
    reasons = []
    if first.document["digests"]["data"] != second.document["digests"]["data"]:
        reasons.append("their data differ: other files, sizes or counts of examples")
    for key, value in first.data_keys.items():
        if value != (other := second.data_keys.get(key)):
            reasons.append(f"data.{key} is {_text(value)} and {_text(other)}")
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
