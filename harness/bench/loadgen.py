"""What MLPerf LoadGen is asked for and what it says: scenarios, which rules of MLPerf Inference they keep, summaries. Pure.

Rules: the MLPerf Inference rules (mlcommons/inference_policies), closed division. LoadGen itself is not loaded here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from harness.errors import RunFolderError

__all__ = ["SEEDS", "Asked", "Scenario", "ScenarioName", "always_unkept", "read_summary", "table", "unkept"]

RULE_S = 600.0  # the least duration of a performance run
OFFLINE_SAMPLES = 24_576  # the least number of samples of Offline
QUERIES = {"SingleStream": 1_024, "MultiStream": 662, "Server": 662}  # below these LoadGen's early stopping can say nothing
SEEDS = {"qsl_rng_seed": 1_611, "sample_index_rng_seed": 1_612, "schedule_rng_seed": 1_613}


class ScenarioName(StrEnum):
    """How queries come."""

    OFFLINE = "Offline"  # all at once: samples per second
    SINGLE_STREAM = "SingleStream"  # one after the other: latency of 90 %
    MULTI_STREAM = "MultiStream"  # eight at a time, one after the other: latency of 99 %
    SERVER = "Server"  # at random times, at a rate: the rate at which 99 % stay below a latency


# What LoadGen's summary calls a figure, and what we do; of some there are two spellings.
FIGURES = {
    ScenarioName.OFFLINE: {"Samples per second": "samples_per_s"},
    ScenarioName.SINGLE_STREAM: {
        "50.00 percentile latency (ns)": "p50_ns", "90.00 percentile latency (ns)": "p90_ns",
        "99.00 percentile latency (ns)": "p99_ns",
    },
    ScenarioName.MULTI_STREAM: {"50.00 percentile latency (ns)": "p50_ns", "99.00 percentile latency (ns)": "p99_ns"},
    ScenarioName.SERVER: {
        "Completed samples per second": "samples_per_s", "Scheduled samples per second": "scheduled_per_s",
        "50.00 percentile latency (ns)": "p50_ns", "99.00 percentile latency (ns)": "p99_ns",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One scenario that LoadGen is asked for.

    Attributes:
      name: how queries come.
      seconds: the least duration.
      rate: of Offline the samples a second that are expected, of Server the queries a second that are sent, of the others
        the queries a second that can be answered at best: LoadGen makes no more of them than that would take.
      latency_s: of Server, what 99 % of the queries are to stay below.
    """

    name: ScenarioName
    seconds: float
    rate: float = 1.0
    latency_s: float = 0.1

    def settings(self) -> dict[str, Any]:
        """Return LoadGen's settings, by its own names.

        >>> Asked(ScenarioName.SINGLE_STREAM, 5).settings()["min_query_count"]
        1024
        """
        settings: dict[str, Any] = {"min_duration_ms": round(1000 * self.seconds), **SEEDS}
        if self.name is ScenarioName.OFFLINE:
            # LoadGen makes as many samples as this rate asks for; a run that ends before its time is not valid.
            return {**settings, "offline_expected_qps": 1.5 * self.rate, "min_query_count": 1}
        settings["min_query_count"] = QUERIES[self.name]
        if self.name is ScenarioName.MULTI_STREAM:
            settings |= {
                "multi_stream_expected_latency_ns": round(0.5e9 / self.rate), "multi_stream_samples_per_query": 8,
                "multi_stream_target_latency_percentile": 0.99,
            }  # fmt: skip
        if self.name is ScenarioName.SINGLE_STREAM:
            settings["single_stream_expected_latency_ns"] = round(0.5e9 / self.rate)
        if self.name is ScenarioName.SERVER:
            settings |= {
                "server_target_qps": self.rate, "server_target_latency_ns": round(1e9 * self.latency_s),
                "server_target_latency_percentile": 0.99,
            }  # fmt: skip
        return settings


@dataclass(frozen=True)
class Scenario:
    """What LoadGen said of one scenario.

    Attributes:
      name: of the scenario.
      valid: what LoadGen says.
      figures: by name, with their unit; a figure that the summary does not have is left out.
      settings: that LoadGen was given.
      unkept: rules of MLPerf that this run does not keep.
    """

    name: str
    valid: bool
    figures: Mapping[str, float]
    settings: Mapping[str, Any]
    unkept: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


def read_summary(asked: Asked, summary: str) -> Scenario:
    """Read LoadGen's summary of a performance run.

    Raises: RunFolderError: it does not say whether the run is valid.
    """
    lines = dict(line.split(":", 1) for line in summary.splitlines() if ":" in line)
    lines = {key.strip(): value.strip() for key, value in lines.items()}
    if "Result is" not in lines:
        raise RunFolderError(f"mlperf_log_summary.txt of {asked.name}: expected a line 'Result is', found {summary[:80]!r}")
    figures = {figure: float(lines[text]) for text, figure in FIGURES[asked.name].items() if text in lines}
    return Scenario(str(asked.name), lines["Result is"] == "VALID", figures, asked.settings(), unkept(asked))


def unkept(asked: Asked) -> tuple[str, ...]:
    """Say which rules of MLPerf one scenario does not keep.

    >>> unkept(Asked(ScenarioName.SERVER, 600.0, latency_s=0.1))
    ('Server: the latency bound of 100 ms is ours: MLPerf sets one for each of its models',)
    """
    rules = []
    if asked.seconds < RULE_S:
        rules.append(f"{asked.name}: runs for {asked.seconds:g} s, the rule is {RULE_S:g} s")
    if asked.name is ScenarioName.OFFLINE and (samples := asked.rate * asked.seconds) < OFFLINE_SAMPLES:
        rules.append(f"{asked.name}: about {samples:,.0f} samples are expected, the rule is {OFFLINE_SAMPLES:,}")
    if asked.name is ScenarioName.SERVER:
        bound = f"the latency bound of {1000 * asked.latency_s:g} ms is ours"
        rules.append(f"{asked.name}: {bound}: MLPerf sets one for each of its models")
    return tuple(rules)


def always_unkept() -> tuple[str, ...]:
    """Say which rules of MLPerf no run here keeps."""
    return (
        "the model and the data are a kit of the harness, not those of an MLPerf benchmark",
        f"the random seeds are the kit's ({', '.join(map(str, SEEDS.values()))}), not those of a submission round",
        "there are no compliance tests (TEST01, TEST04), no power measurement and no audit",
        "the query is predicted in the process that LoadGen runs in, without a network between them",
    )


def table(scenarios: Sequence[Scenario]) -> str:
    """Write the figures as lines of a Markdown table."""
    lines = ["| scenario | LoadGen says | figures |", "| --- | --- | --- |"]
    for scenario in scenarios:
        figures = ", ".join(_figure(name, value) for name, value in scenario.figures.items())
        lines.append(f"| {scenario.name} | {'valid' if scenario.valid else 'not valid'} | {figures} |")
    return "\n".join(lines)


def _figure(name: str, value: float) -> str:
    """Write a figure; its name says the unit."""
    if name.endswith("_ns"):
        return f"{name.removesuffix('_ns')} {value / 1e6:.3f} ms"
    return f"{name.removesuffix('_per_s')} {value:,.0f}/s"
