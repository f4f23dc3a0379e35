"""What a load test found, as load.json, as a terminal shows it, and in words. Pure but for writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.bench.loadgen import ScenarioName
from harness.job.specs import SlicesSpec
from harness.load.account import Measured
from harness.load.judgement import Judgement, Verdict
from harness.load.request import LoadRequest
from harness.results.latency import latency_table, percentiles, windows
from harness.results.printed import Block, Printed
from harness.results.slice_latency import by_slice
from harness.results.tables import metrics_table

__all__ = ["LoadFindings", "Target"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Target:
    """What was put under load.

    Attributes:
      model: its identity.
      protocol: in words.
      digests: of job, data and model.
      examples: of the query library.
      connections: requests that could be under way.
      slices: of the job.
    """

    model: str
    protocol: str
    digests: Mapping[str, str]
    examples: int
    connections: int
    slices: SlicesSpec | None = None


@dataclass(frozen=True, repr=False)
class LoadFindings(Printed):
    """What a load test found.

    Attributes:
      target: see there.
      request: what was asked.
      measured: what became of the queries.
      judgement: what it comes to.
      retries, failures: tries of a request beyond its first, and those that failed, by kind.
      accuracy: metrics.json of what was answered in accuracy mode; None where nobody asked.
      ruling: exit code of the job's gate on it; 0 without a gate.
      notes: what else there is to say.
    """

    target: Target
    request: LoadRequest
    measured: Measured
    judgement: Judgement
    retries: int
    failures: Mapping[str, int]
    accuracy: Mapping[str, Any] | None = None
    ruling: int = 0
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def exit_code(self) -> int:
        """What the process ends with: what is worse of the load and of the gate. A failure is worse than what is not known."""
        codes = {self.judgement.verdict.exit_code, self.ruling} - {0}
        return next((code for code in (1, 2, 5) if code in codes), 0)

    def document(self) -> dict[str, Any]:
        """Return all as JSON can hold it."""
        account, loadgen = self.measured.account, self.measured.loadgen
        elapsed_s = max(account.last_ended_s, 1e-9)
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.target.model,
            "protocol": self.target.protocol,
            "digests": dict(self.target.digests),
            "library": self.target.examples,
            "connections": self.target.connections,
            "asked": self.request.document(),
            "verdict": str(self.judgement.verdict),
            "exit_code": self.exit_code,
            "sentences": list(self.judgement.sentences),
            "overloaded": self.judgement.is_overloaded,
            "queries": {
                "sent": account.queries, "answered": account.answered, "failed": account.failed, "never_sent": account.unsent,
            },
            "reasons": dict(account.reasons),
            "examples": account.examples,
            "retries": self.retries,
            "failed_tries": dict(sorted(self.failures.items())),
            "seconds": round(elapsed_s, 6),
            "queries_came_for_s": round(account.last_came_s, 6),
            "answered_per_s": account.answered / elapsed_s,
            "examples_per_s": account.examples / elapsed_s,
            "versions": dict(sorted(account.versions.items())),
            "latency": {
                "percentiles_ms": percentiles(account.latency),
                "buckets_us": account.latency.to_json(),
                "over_time": windows(account.timeline.window_s, account.timeline.windows),
                **({"by_slice": by_slice([account.slice_latency.account()], self.target.slices)} if self.target.slices else {}),
            },
            "bounds": [
                {
                    "percentile": found.bound.name, "bound_ms": 1000 * found.bound.seconds, "late": found.late,
                    "late_share": found.late / found.queries, "low": found.low, "high": found.high, "verdict": str(found.verdict),
                }
                for found in self.judgement.bounds
            ],
            "busy_cores": round(self.measured.busy, 3),
            "loadgen": {"valid": loadgen.valid, "figures": dict(loadgen.figures), "settings": dict(loadgen.settings)},
            "rules_not_kept": list(self.request.unkept(account.queries)),
            "metrics": None if self.accuracy is None else dict(self.accuracy["metrics"]),
            "notes": list(self.notes),
        }  # fmt: skip

    @property
    def latency_entry(self) -> dict[str, Any]:
        """The latencies as an attempt of run.json has those of its endpoint, for tables and figures."""
        document = self.document()
        return {
            "endpoint_latency": {
                "": {"requests": document["queries"]["answered"], "retries": self.retries, **document["latency"]}
            }
        }

    def blocks(self) -> Iterator[Block]:
        """Return what a terminal shows."""
        account = self.measured.account
        yield self.headline
        yield from self.judgement.sentences
        if (table := latency_table(self.latency_entry)) is not None:
            table.columns[:2] = ["scenario", "answered"]
            table.rows[0][0] = str(self.request.scenario)
            yield table
        elapsed_s = max(account.last_ended_s, 1e-9)
        what = "requests" if self.request.scenario is ScenarioName.OFFLINE else "queries"
        yield (
            f"{account.answered:,} of {account.queries:,} {what} answered in {elapsed_s:,.1f} s: "
            f"{account.examples / elapsed_s:,.4g} examples a second; {self.retries:,} retries"
        )
        valid = "valid" if self.measured.loadgen.valid else "not valid"
        rules = len(self.request.unkept(account.queries))
        yield f"LoadGen calls the run {valid}; {rules} rules of MLPerf are not kept, load.json says which"
        if self.accuracy is not None:
            yield f"accuracy mode: {self.target.examples:,} examples, each asked for once; the run of the answers is in accuracy/"
            yield metrics_table(self.accuracy)
        yield from self.notes

    @property
    def headline(self) -> str:
        """The verdict in a line."""
        rate = "" if self.request.qps is None else f", {self.request.qps:g} queries a second"
        return f"{self.request.scenario}{rate}: {self.word}"

    @property
    def word(self) -> str:
        """The verdict; where nothing was to be kept, that the test is done."""
        verdict = self.judgement.verdict
        return str(verdict) if self.request.bounds or verdict is not Verdict.KEPT else "done"
