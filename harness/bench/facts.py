"""What a trial leaves: the facts of its run, as bench.json keeps them. Reads files; runs nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.bench.rules import Trial
from harness.folder.run_folder import RunFolder, read_json

__all__ = ["Facts", "blank_facts", "facts_of"]

LIMITS_JSON = "limits.json"


@dataclass(frozen=True)
class Facts:
    """What one trial came to.

    Attributes:
      name: of the trial.
      ranks, scaling, repeat, setting: see `Trial`.
      state: "done", or "failed".
      reason: why it failed; empty where it is done.
      begun: ISO 8601, UTC.
      wall_s: of its command, from start to exit; in Slurm with the wait for nodes.
      digest: SHA-256 of metrics.json; empty where there is none.
      bits: SHA-256 of the values, slices and intervals in it: sizes of batches and the like are not in these.
      values: of the whole, by metric: numbers alone.
      digests: of metrics.json: of job, data and model; empty in benches of earlier versions.
      run: run.json without what names its files: its last attempt, plan, environment, cost; empty where there is none.
      size_bytes: of the data; None where that is not known.
      limits: limits.json; empty where there is none.
    """

    name: str
    ranks: int
    scaling: str
    repeat: int
    setting: Mapping[str, str] = field(default_factory=dict)
    state: str = "failed"
    reason: str = ""
    begun: str = ""
    wall_s: float = 0.0
    digest: str = ""
    bits: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    size_bytes: int | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether it has a result."""
        return self.state == "done"

    @property
    def attempt(self) -> Mapping[str, Any]:
        """The last attempt of the run."""
        return self.run.get("attempt") or {}

    @property
    def examples(self) -> int:
        """That were evaluated."""
        return int((self.run.get("plan") or {}).get("examples") or 0)

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Facts:
        """Return the facts of a document that `to_json` made; keys of later versions are left out."""
        return cls(**{name: value for name, value in document.items() if name in cls.__dataclass_fields__})


def facts_of(run: Path, blank: Facts) -> Facts:
    """Read what a run left.

    Args:
      run: its folder.
      blank: the facts that are known already; with a reason where the run failed.
    """
    folder = RunFolder(run)
    document, limits = read_json(folder.run_json), read_json(run / LIMITS_JSON)
    try:
        metrics = folder.metrics_json.read_bytes()
    except OSError:
        return _with(blank, reason=blank.reason or "it left no result")
    attempts = document.get("attempts") if isinstance(document, dict) else None
    if not attempts:
        return _with(blank, reason="it left no run.json")
    sizes = [file.get("bytes") for file in document.get("files") or []]
    keys = (read_json(folder.resolved_job_json) or {}).get("data") or {}
    if "limit" in keys or "sample" in keys:
        sizes = []  # of whole files, which were not read whole
    parts = {"attempt": attempts[-1], **{name: document.get(name) for name in ("plan", "environment", "cost")}}
    # A gate that says no (1), or that it cannot tell (5), is no failure of the run.
    state = "done" if not blank.reason or (read_json(folder.gate_json) is not None and metrics) else "failed"
    values = read_json(folder.metrics_json)
    return _with(
        blank,
        state=state,
        reason="" if state == "done" else blank.reason,
        digest=hashlib.sha256(metrics).hexdigest(),
        bits=_bits(values),
        values=_values(values),
        digests=values.get("digests") or {} if isinstance(values, dict) else {},
        run=parts,
        size_bytes=sum(sizes) if sizes and None not in sizes else None,
        limits=limits if isinstance(limits, dict) else {},
    )


def _with(facts: Facts, **changes: Any) -> Facts:
    return Facts(**{**facts.to_json(), **changes})


def _bits(metrics: Any) -> str:
    held = {key: metrics.get(key) for key in ("metrics", "slices", "intervals")} if isinstance(metrics, dict) else {}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _values(metrics: Any) -> dict[str, float]:
    entries = metrics.get("metrics") if isinstance(metrics, dict) else None
    values = {key: entry.get("value") for key, entry in (entries or {}).items()}
    return {key: float(value) for key, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def blank_facts(trial: Trial, reason: str, *, begun: str = "", wall_s: float = 0.0) -> Facts:
    """Return what is known of a trial without a result."""
    return Facts(
        trial.name,
        trial.ranks,
        str(trial.scaling),
        trial.repeat,
        dict(trial.setting),
        reason=reason,
        begun=begun,
        wall_s=wall_s,
    )
