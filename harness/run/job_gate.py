"""The gate of a job: read before any work, judged when the run is done, by what `harness gate` does with the run's files.

Whoever judges finds the same, so any rank may, and as often as it likes. Loads no TensorFlow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.comparison.pairing import other_draws, other_examples
from harness.comparison.rules import GapRule, MetricRule, Rules, SliceRule, read_rules, rules_of
from harness.comparison.runs import evidence_of
from harness.errors import HarnessError, RunFolderError, UsageError, nearest
from harness.folder.run_folder import RunFolder, write_atomically
from harness.job.job import Job
from harness.job.specs import GateSpec
from harness.metrics import make
from harness.metrics.contract import Metric
from harness.metrics.labels import label_words
from harness.names.events import Event
from harness.names.log import LOG
from harness.names.metric_aliases import METRIC_ALIASES
from harness.results.evidence import Evidence, data_keys
from harness.watch.failure import tell_launcher

if TYPE_CHECKING:
    from harness.comparison.gate_command import Ruling
    from harness.report.results import Results

__all__ = ["JobGate", "Settled", "settle", "settle_and_tell"]


@dataclass(frozen=True)
class Settled:
    """How a run ends whose result is written.

    Attributes:
      code: exit code of the process.
      ruling: what its gate comes to; None where it has none, or cannot be judged.
      failure: why it cannot be judged.
    """

    code: int = 0
    ruling: Ruling | None = None
    failure: HarnessError | None = None

    def show(self, ranks: int) -> None:
        """Print what `harness gate` does; `ranks` is how many there are."""
        if self.ruling is not None:
            self.ruling.show(ranks)
        if self.failure is not None:
            LOG.say(Event.GATE_ERROR, f"gate: {self.failure}; the result of the run is kept")

    def judged(self, results: Results) -> Results:
        """Return the results with the ruling.

        Raises: HarnessError: it cannot be judged.
        """
        if self.failure is not None:
            raise self.failure
        return replace(results, gate=self.ruling)

    def status(self) -> dict[str, Any]:
        """Return what status.json says of the gate."""
        if self.failure is not None:
            return {"verdict": None, "exit_code": self.code, "message": str(self.failure)}
        return {"verdict": self.ruling.verdict if self.ruling else None, "exit_code": self.code}


@dataclass(frozen=True)
class JobGate:
    """The gate of a job.

    Attributes:
      spec: the key of the job.
      rules: what they say, of a file as it was when the run began.
      baseline: the run folder, or the name of the baseline, that they are against.
    """

    spec: GateSpec
    rules: Rules
    baseline: Path | None

    @classmethod
    def of(cls, job: Job, metrics: Mapping[str, Metric]) -> JobGate | None:
        """Read the gate of a job; None where it has none.

        Raises: UsageError: it could not be judged, whatever the run finds: the rules are wrong, are on a metric or on slices
          that the job does not have, or are against a baseline that is not named, is no finished run, or is of other examples
          or draws.
        """
        if (spec := job.gate) is None:
            return None
        with _of_the_key():
            rules = read_rules(Path(job.resolve(spec.rules))) if isinstance(spec.rules, str) else rules_of(spec.rules, "rules")
            _check_model(spec, job)
            labels = _labels(spec, job, metrics)
            _check_names(rules, labels, [{part.feature for part in cross} for cross in _crosses(job)])
            if job.bootstrap is None:
                judged = f"{spec.model}/" if len(job.models) > 1 else ""
                _check_intervals(rules, labels, {key: metrics[f"{judged}{key}"] for key in labels})
            if rules.needs_baseline and spec.baseline is None:
                raise UsageError("a rule is against a baseline: name it, gate: {rules: ..., baseline: RUN or NAME}")
            baseline = None if spec.baseline is None else _baseline(job, spec.baseline, rules)
        return cls(spec, rules, baseline)

    @property
    def described(self) -> str:
        """How many rules there are, and what they are against."""
        count = f"{len(self.rules.rules)} rule{'s' * (len(self.rules.rules) != 1)}"
        return count if self.spec.baseline is None else f"{count}, baseline {self.spec.baseline}"

    def judge(self, folder: RunFolder) -> Settled:
        """Judge a finished run, and write gate.json into its folder: not at all where it cannot be judged."""
        settled = self.ruling_of(folder.path)
        if settled.ruling is None:
            _forget(folder)
            return settled
        # The name alone: the bytes do not tell where the run lies.
        ruling = replace(settled.ruling, run=folder.path.name, baseline=self.spec.baseline)
        try:
            write_atomically(folder.gate_json, ruling.text("json"))
        except RunFolderError as exc:
            _forget(folder)
            _warn(exc)
        return replace(settled, ruling=ruling)

    def ruling_of(self, run: Path | Results) -> Settled:
        """Judge a run, or results that have no folder."""
        from harness.comparison.gate_command import Ruling

        try:
            ruling = Ruling.of(run, self.rules, self.baseline, self.spec.model)
        except HarnessError as exc:
            return Settled(exc.exit_code, failure=exc)
        return Settled(ruling.exit_code(self.spec.inconclusive), ruling)


def settle(folder: RunFolder, gate: JobGate | None) -> Settled:
    """Say in the run folder that a run is done, and what its gate comes to: without a gate an earlier verdict goes."""
    if gate is None:
        _forget(folder)
    settled = Settled() if gate is None else gate.judge(folder)
    try:
        folder.set_status("done", settled.code, **({} if gate is None else {"gate": settled.status()}))
    except RunFolderError as exc:
        _warn(exc)
    return settled


def settle_and_tell(folder: RunFolder, gate: JobGate | None) -> Settled:
    """Say it to the launcher too, which is not to start the run again."""
    settled = settle(folder, gate)
    tell_launcher(settled.code, done=True)
    return settled


@contextlib.contextmanager
def _of_the_key() -> Iterator[None]:
    """Say of what is wrong with a gate that it is the job's."""
    try:
        yield
    except UsageError as exc:
        raise type(exc)(f"gate: {exc}") from exc


def _baseline(job: Job, name: str, rules: Rules) -> Path:
    """Return the run folder, which a job names from where it lies, or the name of a baseline.

    Raises: UsageError, RunFolderError: there is neither, or rules are against it, and the job cannot be held against it.
    """
    folder = Path(job.resolve(name))
    baseline = Path(name) if not folder.exists() and Path(name).name == name else folder
    evidence = evidence_of(baseline)
    if rules.needs_baseline:
        _check_pairing(job, rules, evidence, name)
    return baseline


def _check_pairing(job: Job, rules: Rules, baseline: Evidence, name: str) -> None:
    """See that a job asks for the examples, draws and slices of its baseline.

    Whether the files are still the same is known when they have been looked at.

    Raises: UsageError: it does not; says how they differ.
    """
    before, now = ({**keys, "inputs": None} for keys in (baseline.data, data_keys(job.resolved)))
    drawn = other_draws(baseline.question.bootstrap, job.bootstrap, (name, "the job"))
    if reasons := [*other_examples(before, now), *drawn]:
        raise UsageError(f"the job cannot be held against {name}: {'; '.join(reasons)}. Evaluate both alike")
    slices = baseline.question.slices
    crosses = [{part.feature for part in cross} for cross in slices.by] if slices else []
    for rule in rules.rules:
        if not isinstance(rule, MetricRule | SliceRule) or not rule.against_baseline:
            continue
        if isinstance(rule, SliceRule) and set(rule.features) not in crosses:
            raise UsageError(f"the rule on {rule.metric}: {name} has no slices by {' x '.join(rule.features)}")
        if not rule.interval:
            continue
        if job.bootstrap is None:
            raise UsageError(
                f"the rule on {rule.metric} is against a baseline: neither the job nor {name} has a bootstrap, and so no "
                "replicates; evaluate both with one, or interval: false judges the values alone"
            )
        if isinstance(rule, SliceRule) and not job.bootstrap.slice_replicates:
            raise UsageError(f"the rule on {rule.metric}: bootstrap.slice_replicates is false: no replicates of slices are kept")


def _forget(folder: RunFolder) -> None:
    """Take away an earlier verdict, which is not the one that there is now."""
    with contextlib.suppress(OSError):
        folder.gate_json.unlink(missing_ok=True)


def _warn(exc: RunFolderError) -> None:
    """Say what cannot be written, and go on: metrics.json says that the run is done."""
    LOG.say(Event.RUN_WARNING, message := f"the result is written, but {exc}", text=f"warning: {message}")


def _crosses(job: Job) -> Sequence[Sequence[Any]]:
    return job.slices.by if job.slices else ()


def _check_model(spec: GateSpec, job: Job) -> None:
    """See that one model is meant.

    Raises: UsageError: it is not told which, or there is no such.
    """
    if spec.model is None and len(job.models) > 1:
        raise UsageError(f"the job has several models: say which is judged, model: {' or '.join(job.models)}")
    if spec.model is not None and spec.model not in job.models:
        raise UsageError(f"model: the job has no model '{spec.model}': {nearest(spec.model, job.models)}")


def _labels(spec: GateSpec, job: Job, metrics: Mapping[str, Metric]) -> dict[str, str]:
    """Return what each metric is called that a rule may be on, by its key."""
    judged = f"{spec.model}/" if len(job.models) > 1 else ""
    asked = zip(job.metrics, make(job.metrics, job.folder).items(), strict=True)
    labels = {
        f"{model}/{key}" if model else key: " ".join(label_words(metric_spec.name, metric.model_dump()))
        for metric_spec, (key, metric) in asked
        for model in job.named_models
    }
    return {key.removeprefix(judged): labels[key] for key in metrics if key.startswith(judged)}


def _check_names(rules: Rules, labels: Mapping[str, str], crosses: Sequence[set[str]]) -> None:
    """See that the job has the metrics and slices that rules are on.

    What the numbers of a metric are called, and which slices there are, is known when they are there.

    Raises: UsageError: it has not; names them.
    """
    known = {text for pair in labels.items() for text in pair if text}
    for rule in rules.rules:
        if not isinstance(rule, MetricRule | SliceRule | GapRule):
            continue
        name = rule.metric
        if not any(_is_of(name, text) for text in known):
            raise UsageError(f"the rule on {name}: the job has no such metric: {nearest(name, known)}")
        if isinstance(rule, SliceRule | GapRule) and set(rule.features) not in crosses:
            if not crosses:
                raise UsageError(f"the rule on {name}: the job has no slices: add `slices:`")
            by = sorted(" x ".join(sorted(cross)) for cross in crosses)
            raise UsageError(f"the rule on {name}: the job has no slices by {' x '.join(rule.features)}: {nearest('', by)}")


def _check_intervals(rules: Rules, labels: Mapping[str, str], metrics: Mapping[str, Metric]) -> None:
    """See that each number that is judged with its interval can have one, in a job without a bootstrap.

    Raises: UsageError: it cannot.
    """
    for rule in rules.rules:
        if not isinstance(rule, MetricRule | SliceRule) or rule.against_baseline or not rule.interval:
            continue
        metric = next(metrics[key] for key, label in labels.items() if _is_of(rule.metric, key) or _is_of(rule.metric, label))
        plain = metric.plain_mean()
        if type(metric).standard_error is Metric.standard_error and (plain is None or plain.bucket is None):
            raise UsageError(
                f"the rule on {rule.metric}: it has no interval without a bootstrap: bootstrap: {{replicates: 1000}} gives it "
                "one, interval: false judges the value alone"
            )


def _is_of(name: str, text: str) -> bool:
    """Say whether a rule's name is a metric's key or label, or that of one of its numbers."""
    return bool(text) and (name == text or METRIC_ALIASES.get(name) == text or name.startswith((f"{text}/", f"{text} ")))
