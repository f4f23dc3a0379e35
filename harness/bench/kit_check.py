"""Whether a kit's result is what this kind of hardware is known to give: known, unknown or wrong. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.bench.kit_digests import ANYWHERE, CONTENT, DIGESTS
from harness.bench.kits import CHECKED, Kit

__all__ = ["Judgement", "State", "judge", "result_digest"]

VALUES = ("metrics", "slices", "intervals")
DIGITS = 32  # of a digest that are kept


class State(StrEnum):
    """What is known of a result."""

    KNOWN = "known"  # it is what this kind of hardware is known to give
    UNKNOWN = "unknown"  # nobody has said what this kind gives
    WRONG = "wrong"


@dataclass(frozen=True)
class Judgement:
    """What is known of a kit's result.

    Attributes:
      state: in a word.
      digest: of the result, in hexadecimal.
      kind: of hardware and software that it is compared with; "any" where it is the same on all.
      message: why, in a sentence.
    """

    state: State
    digest: str
    kind: str
    message: str

    def document(self) -> dict[str, str]:
        """Return everything as JSON can hold it."""
        return {"state": str(self.state), "digest": self.digest, "kind": self.kind, "message": self.message}


def result_digest(metrics: Mapping[str, Any]) -> str:
    """Return the digest of a result's values: SHA-256 of metrics, slices and intervals, the first 32 hexadecimal digits.

    Args:
      metrics: metrics.json, already parsed.

    >>> result_digest({"metrics": {"accuracy": {"value": 0.5}}, "harness_version": "1"})
    '9679ebe75d16cdc010e8ca6cb720b953'
    """
    values = {name: metrics[name] for name in VALUES if name in metrics}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def judge(kit: Kit, metrics: Mapping[str, Any], kind: str) -> Judgement:
    """Compare the result of a kit's first examples with what is expected.

    Args:
      kit: that was run.
      metrics: metrics.json of the run, already parsed.
      kind: see `kit_hardware.kind_of_hardware`.
    """
    digest, certificate = result_digest(metrics), metrics["certificate"]
    judged_by = "any" if kit.exact else kind
    if certificate["examples"] != CHECKED:
        message = f"expected a result of {CHECKED:,} examples, found one of {certificate['examples']:,}"
        return Judgement(State.WRONG, digest, judged_by, message)
    content = certificate.get("content_hash")
    if content != CONTENT[kit.name]:
        message = (
            f"the data are not those of the kit: expected content hash {CONTENT[kit.name]}, found {content}; they are the same "
            "on all hardware, so the machine or its software computes wrongly"
        )
        return Judgement(State.WRONG, digest, judged_by, message)
    expected = ANYWHERE[kit.name] if kit.exact else DIGESTS.get(kind, {}).get(kit.name)
    if expected is None:
        return Judgement(State.UNKNOWN, digest, judged_by, _of_other_kinds(kit, digest))
    where = "all hardware" if kit.exact else "this kind of hardware"
    if digest != expected:
        message = f"expected digest {expected}, which is known of {where}, found {digest}"
        return Judgement(State.WRONG, digest, judged_by, message)
    return Judgement(State.KNOWN, digest, judged_by, f"the result is the one that is known of {where}")


def _of_other_kinds(kit: Kit, digest: str) -> str:
    """Say of a result that cannot be judged whether others have it too."""
    others = [kind for kind, digests in DIGESTS.items() if digests.get(kit.name) == digest]
    alike = f"it is the one of {others[0]}" if others else "no other kind in the table has it"
    return f"nobody has said yet what this kind of hardware gives; {alike}"
