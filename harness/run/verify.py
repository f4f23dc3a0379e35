"""Certificate and values once more, from the files of a run alone: plan, question, journal, results. Loads no TensorFlow.

Whatever the files hold, the answer is a verdict. They are read as what they claim to be, checked, and nothing in them is
trusted to have the right form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.errors import RunFolderError
from harness.folder.journal import Found, find, plan_digest, unite
from harness.folder.question_file import file_digest
from harness.folder.run_folder import RunFolder, read_json
from harness.metrics.contract import Metric
from harness.plan.certificate import Certificate
from harness.plan.plan import Plan
from harness.predictions.part_check import verify_parts
from harness.results.recompute import recompute_run

__all__ = ["verify"]

DIGESTS = ("job", "data", "model")
MOST_CHUNKS = 10**8  # of a plan that is taken for one
LEFT_OUT = ("read", "kept", "filtered", "skipped")
NOT_PROVED = (
    "not verified: the sums in the segments; a checksum tells damage, not what somebody wrote on purpose",
    "not verified: that question.json is what the job asked; it is what was asked when the segments were written",
    "not verified: that the data and the model still are what they were; their files were not looked at",
)


def verify(folder: RunFolder, own: Callable[[str], type[Metric]] | None = None) -> tuple[list[str], bool]:
    """Say whether the journal covers every example of the plan once, and the results certify just that and report its values.

    Args:
      own: finds metrics of the user's own, see `question_json.from_json`; None leaves their values out.
    Returns: what is proved, what is not, and what is wrong; and whether nothing is.
    Raises: RunFolderError: this is no run folder.
    """
    if not (folder.plan_json.exists() and folder.job_json.exists()):
        raise RunFolderError(f"{folder.path}: expected plan.json and job.json, as a run leaves them; this is no run folder")
    plan, digests = _plan(folder), _digests(read_json(folder.job_json))
    if isinstance(plan, str) or digests is None:
        text = plan if isinstance(plan, str) else f"{folder.job_json}: torn, or not what a run writes: it holds no digests"
        return [text, "the files of this run do not prove its result"], False
    segments, torn = find(folder.journal)
    if not folder.metrics_json.exists():
        return _unfinished(plan, segments, torn), False
    metrics, named = read_json(folder.metrics_json), _names(read_json(folder.run_json))
    if named is None:
        return [f"{folder.run_json} is missing or torn: it names the segments that were summed"], False
    whole = {segment.name: segment for segment in segments}
    # What was left out of the sum may be torn.
    problems = [text for text in torn if any(name in text for name in named)]
    problems += [f"{folder.journal / name} was summed, and is missing or not whole" for name in named if name not in whole]
    chosen = [whole[name] for name in named if name in whole]
    problems += _strangers(chosen, digests, plan)
    within = [segment for segment in chosen if segment.origin.plan == plan_digest(plan) and _within(segment, plan)]
    certificate, wrong = _counts(plan, within)
    problems += wrong
    problems += _results(folder, metrics, digests, plan, certificate)
    values: list[str] = []
    parts: list[str] = []
    if not problems:
        problems, values = _values(folder, named, chosen, own)
        wrong, parts = verify_parts(folder, read_json(folder.job_json), chosen)
        problems += wrong
    if problems:
        return [*problems, "the files of this run do not prove its result"], False
    content = metrics["certificate"].get("content_hash")
    chunks = f"{len(plan):,} chunk{'s' * (len(plan) != 1)}"
    files = f"{len(named):,} segment{'s' * (len(named) != 1)}"
    return [
        f"verified: every one of {plan.examples:,} examples counted once, in {chunks} and {files}",
        f"verified: metrics.json certifies these examples{' and the contents read of them' if content else ''}, and is of the "
        "same job, data and model as the journal",
        *values,
        *parts,
        *NOT_PROVED,
    ], True


def _values(
    folder: RunFolder, names: Sequence[str], segments: Sequence[Found], own: Callable[[str], type[Metric]] | None
) -> tuple[list[str], list[str]]:
    """Compute the values from the journal again; return what is wrong, and what is proved and what is not."""
    if not folder.question_json.exists():
        return [], [f"not verified: the values in metrics.json and the tables; there is no {folder.question_json.name}"]
    try:
        digest = file_digest(folder)
        if others := [segment.name for segment in segments if segment.origin.layout != digest]:
            return [f"{folder.question_json} is not what was asked when {others[0]} was written"], []
        recomputed = recompute_run(folder, names, own)
        problems = recomputed.problems(folder)
    except RunFolderError as exc:
        return [str(exc)], []
    except Exception as exc:  # noqa: BLE001 - whatever the files hold, the answer is a verdict
        return [f"the values cannot be computed again: {type(exc).__name__}: {exc}"], []
    missing = [
        f"not verified: the values of {key}: {reason}; --python FOLDER looks for metrics of your own there, and runs their code"
        for key, reason in recomputed.missing.items()
    ]
    same = "verified: the values in metrics.json and the tables are those that the sums of the journal give"
    return problems, [same + (", but for those named below" if missing else ""), *missing]


def _plan(folder: RunFolder) -> Plan | str:
    """Return the plan; a text where the file holds none."""
    wrong = f"{folder.plan_json}: torn, or not what a run writes"
    raw = read_json(folder.plan_json)
    try:
        files = [(file["examples"], file["size_bytes"], file.get("divisible", True)) for file in raw["files"]]
        sizes = [raw["batch_size"], raw["chunk_size"]]
        if not all(_whole(n) for n in [*sizes, *(n for counts in files for n in counts[:2])]) or min(sizes) < 1:
            return f"{wrong}: a size is no whole number"
        if not all(isinstance(file["path"], str) for file in raw["files"]):
            return f"{wrong}: a path is no text"
        examples = sum(count for count, _, _ in files)
        if examples >= 2**62 or examples // raw["chunk_size"] + len(files) > MOST_CHUNKS:
            return f"{wrong}: {examples:,} examples in chunks of {raw['chunk_size']:,}"
        plan = Plan.from_dict(raw)
        for name, array, count in (("chosen", plan.chosen, plan.examples), ("hashes", plan.hashes, len(plan))):
            if array is not None and (len(array) != count or np.ndim(array[:1]) != 1):
                return f"{wrong}: expected {count:,} {name}, found {len(array):,}"
        if len(plan):
            plan.describe(plan[0])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as exc:
        return f"{wrong}: {type(exc).__name__}: {exc}"
    return plan


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _digests(raw: Any) -> dict[str, str] | None:
    """Return the digests of what was summed; None where they are not there."""
    texts = {name: raw.get(name) for name in DIGESTS} if isinstance(raw, dict) else {}
    digests = {name: value for name, value in texts.items() if isinstance(value, str)}
    return digests if set(digests) == set(DIGESTS) else None


def _names(raw: Any) -> list[str] | None:
    """Return the segments that were summed; None where the account of the run does not say."""
    names = raw.get("journal") if isinstance(raw, dict) else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _unfinished(plan: Plan, segments: Sequence[Found], torn: Sequence[str]) -> list[str]:
    """Say what a resumed run would go on from: nothing has been summed yet."""
    united = unite(segments, plan)
    left = len(plan) - len(united.done)
    chosen = [segment for segment in segments if segment.name in united.kept]
    return [
        *torn,
        f"this run is not finished: {left} of {len(plan)} chunks are not in the journal, --resume evaluates them",
        *united.warnings,
        *_counts(plan, chosen)[1],
    ]


def _within(segment: Found, plan: Plan) -> bool:
    """Say whether a segment's chunks are chunks of the plan."""
    chunks = segment.lines[:, 0]
    return not len(chunks) or bool(chunks.min() >= 0 and chunks.max() < len(plan))


def _strangers(chosen: Sequence[Found], digests: Mapping[str, str], plan: Plan) -> list[str]:
    """Name segments that belong to something else."""
    wanted = {**digests, "plan": plan_digest(plan)}
    problems = []
    for segment in chosen:
        others = [name for name, value in wanted.items() if getattr(segment.origin, name) != value]
        problems += [f"{segment.name} is of another {name}" for name in others]
        if "plan" not in others and not _within(segment, plan):
            problems.append(f"{segment.name} holds chunks that the plan does not have: it has {len(plan):,}")
    return problems


def _counts(plan: Plan, chosen: Sequence[Found]) -> tuple[Certificate, list[str]]:
    """Compare what the segments counted with the plan; name chunks that are in two of them."""
    certificate = Certificate(plan)
    holders = np.zeros(len(plan), np.int64)
    for segment in chosen:
        certificate.add(segment.lines)
        np.add.at(holders, segment.lines[:, 0], 1)
    # Where the count is wrong the hash need not be computed: a plan may claim any number of examples.
    right = np.flatnonzero(certificate.table[0] == np.diff(plan.bounds))
    certificate.expect(plan[index] for index in right.tolist())
    doubled = np.flatnonzero(holders > 1).tolist()
    names = {index: [segment.name for segment in chosen if index in segment.lines[:, 0]] for index in doubled[:5]}
    twice = [f"chunk {index} is in {' and '.join(where)}" for index, where in names.items()]
    return certificate, [*certificate.problems(), *twice]


def _results(folder: RunFolder, metrics: Any, digests: Mapping[str, str], plan: Plan, certificate: Certificate) -> list[str]:
    """Compare what metrics.json certifies with the plan and the segments."""
    certified = metrics.get("certificate") if isinstance(metrics, dict) else None
    marked = metrics.get("digests") if isinstance(metrics, dict) else None
    if not isinstance(certified, dict) or not isinstance(marked, dict):
        return [f"{folder.metrics_json}: torn, or not what a run writes: it holds no certificate and digests"]
    wanted: dict[str, Any] = {"examples": plan.examples, "chunks": len(plan), "id_hash": certificate.id_hash}
    if certified.get("content_hash") is not None or not certified.get("content_reason"):
        wanted["content_hash"] = certificate.content_hash
    left_out = certificate.left_out
    if left_out or "kept_hash" in certified:
        wanted["kept_hash"] = certificate.kept_hash
    wanted |= {name: left_out.get(name) for name in LEFT_OUT if name in left_out or name in certified}
    problems = [
        f"metrics.json certifies {name} {certified.get(name)}, plan and journal say {'nothing of it' if value is None else value}"
        for name, value in wanted.items()
        if certified.get(name) != value or isinstance(certified.get(name), bool)
    ]
    return problems + [f"metrics.json is of another {name}" for name in digests if marked.get(name) != digests[name]]
