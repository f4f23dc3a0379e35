"""What is asked of a load test: the scenario, the rate, how long, and the latency that is to be kept. Pure.

LoadGen's settings follow from it, and which rules of MLPerf Inference it does not keep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.bench.loadgen import QUERIES, RULE_S, SEEDS, Asked, ScenarioName
from harness.errors import UsageError
from harness.job.job import Job

__all__ = ["SCENARIOS", "LatencyBound", "LoadRequest", "check_job"]

SCENARIOS = {
    "offline": ScenarioName.OFFLINE, "single-stream": ScenarioName.SINGLE_STREAM,
    "multi-stream": ScenarioName.MULTI_STREAM, "server": ScenarioName.SERVER,
}  # fmt: skip
OF_A_QUERY = 8  # examples of MultiStream
BOUND = re.compile(r"p(\d{1,2}(?:\.\d+)?)=(\d+(?:\.\d+)?)(us|ms|s)")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
NO_BOUND_S = 3600.0  # for LoadGen, which wants one
ROOM = 4  # times the connections that are needed while the bound is kept: more are of no use to a service that keeps it
MOST_QUERIES = 10**7
LEAST_ROOM, MOST_ROOM = 64, 512  # connections


@dataclass(frozen=True)
class LatencyBound:
    """A latency that a share of all queries has to stay within.

    Attributes:
      name: of the percentile, as in p99.
      seconds: the bound.
    """

    name: str
    seconds: float

    @classmethod
    def parse(cls, text: str) -> LatencyBound:
        """Read one as people write it.

        Raises: UsageError: it is none.

        >>> LatencyBound.parse("p99.9=50ms")
        LatencyBound(name='p99.9', seconds=0.05)
        >>> LatencyBound.parse("p99.9=50ms").share
        0.999
        """
        match = BOUND.fullmatch(text.strip())
        if match is None or not 0 < float(match[1]) < 100 or float(match[2]) <= 0:
            raise UsageError(f"--latency-bound {text}: expected a percentile and a time in us, ms or s, as in p99=50ms")
        return cls(f"p{float(match[1]):.12g}", float(match[2]) * UNITS[match[3]])

    @property
    def share(self) -> float:
        """The share of queries that has to stay within it."""
        return round(float(self.name.removeprefix("p")) / 100, 12)

    @property
    def text(self) -> str:
        """The bound in words.

        >>> LatencyBound("p99", 0.05).text
        'p99 within 50 ms'
        """
        return f"{self.name} within {1000 * self.seconds:g} ms"


@dataclass(frozen=True)
class LoadRequest:
    """What is asked of a load test.

    Attributes:
      scenario: how queries come.
      seconds: that they come for, at least.
      qps: of Server, queries a second; None of the others.
      bounds: on latencies.
      accuracy: whether every example is asked for once before, and the answers are evaluated.
    """

    scenario: ScenarioName
    seconds: float
    qps: float | None = None
    bounds: Sequence[LatencyBound] = ()
    accuracy: bool = False

    def __post_init__(self) -> None:
        is_server, is_offline = self.scenario is ScenarioName.SERVER, self.scenario is ScenarioName.OFFLINE
        if is_server and self.qps is None:
            raise UsageError("--scenario server: say how many queries come in a second: --qps N")
        if not is_server and self.qps is not None:
            raise UsageError("--qps goes with --scenario server: in the others the next query comes when one is answered")
        if is_offline and self.bounds:
            raise UsageError("--latency-bound does not go with --scenario offline: all queries come at once, and wait")
        if len({bound.name for bound in self.bounds}) < len(self.bounds):
            raise UsageError("--latency-bound: expected one bound a percentile")
        if self.qps is not None and not self.qps * self.seconds <= MOST_QUERIES:
            raise UsageError(
                f"--qps {self.qps:g} for {self.seconds:g} s: expected at most {MOST_QUERIES:,} queries, all in memory"
            )
        if self.qps is not None and round(self.qps * self.seconds) < 1:
            raise UsageError(f"--qps {self.qps:g} for {self.seconds:g} s: expected at least one query")

    @property
    def examples_of_query(self) -> int:
        """How many examples a query asks for; those of Offline are put together to batches."""
        return OF_A_QUERY if self.scenario is ScenarioName.MULTI_STREAM else 1

    def connections(self, declared: int) -> int:
        """Return how many requests may be under way at a time.

        A query of Server is sent as it comes. By Little's law so many are under way as come in a second, times the seconds
        that each takes: with `ROOM` times what the bound allows a service that needs more has missed it anyway.

        Args:
          declared: what the job says.

        >>> request = LoadRequest(ScenarioName.SERVER, 10, 500.0, [LatencyBound("p99", 0.1)])
        >>> request.connections(8), LoadRequest(ScenarioName.OFFLINE, 10).connections(8)
        (200, 8)
        """
        if self.qps is None:
            return declared
        longest_s = max((bound.seconds for bound in self.bounds), default=0.0)
        return max(declared, min(max(math.ceil(ROOM * self.qps * longest_s), LEAST_ROOM), MOST_ROOM))

    def settings(self, rate: float) -> dict[str, Any]:
        """Return LoadGen's settings, by its own names.

        Args:
          rate: of Offline the examples a second that are expected, of the others the queries a second that the service can
            answer at best.
        """
        bound = self.bounds[0] if self.bounds else LatencyBound("p99", NO_BOUND_S)
        asked = Asked(self.scenario, self.seconds, rate if self.qps is None else self.qps, bound.seconds)
        settings = {**asked.settings(), "min_query_count": 1}  # the time that was asked for decides
        if self.scenario is ScenarioName.SERVER:
            settings["server_target_latency_percentile"] = bound.share
        return settings

    def unkept(self, queries: int) -> tuple[str, ...]:
        """Say which rules of MLPerf Inference a test does not keep.

        Args:
          queries: that were sent.
        """
        rules = [
            "model and examples are the job's, not those of an MLPerf benchmark",
            f"the random seeds are the harness's ({', '.join(map(str, SEEDS.values()))}), not those of a submission round",
            "there are no compliance tests (TEST01, TEST04), no power measurement and no audit",
            "LoadGen runs on this side of the network: queries go over it, as those of clients do",
        ]
        if self.seconds < RULE_S:
            rules.append(f"queries come for {self.seconds:g} s, the rule is {RULE_S:g} s")
        if queries < (least := QUERIES.get(self.scenario, 0)):
            rules.append(f"{queries:,} queries were sent, the rule is {least:,}")
        if self.scenario is ScenarioName.SERVER:
            source = "asked for here: MLPerf sets one for each of its models" if self.bounds else "none"
            rules.append(f"the latency bound is {source}")
        return tuple(rules)

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "scenario": str(self.scenario),
            "seconds": self.seconds,
            "qps": self.qps,
            "examples_a_query": None if self.scenario is ScenarioName.OFFLINE else self.examples_of_query,
            "latency_bounds_ms": {bound.name: 1000 * bound.seconds for bound in self.bounds},
        }


def check_job(job: Job, request: LoadRequest) -> None:
    """See that a job can be put under load: its only model is behind an endpoint, which may be asked as fast as it can.

    Raises: UsageError: it cannot.
    """
    spec = job.model
    if spec is None or spec.endpoint is None:
        what = "several models" if spec is None else "a model that nobody serves"
        raise UsageError(f"harness load asks one endpoint, and the job has {what}: model: {{endpoint: URL, name: NAME}}")
    if spec.max_rate is not None:
        raise UsageError(
            f"max_rate: the job bounds requests to {spec.max_rate:g} a second, and a load test has its own rate: if the service "
            "may be asked that much, say --set model.max_rate=null"
        )
    if request.accuracy and spec.version == "any":
        raise UsageError("--accuracy: the answers of one version are evaluated, and the job says version: any; name one")
