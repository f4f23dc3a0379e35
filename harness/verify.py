"""The certificate once more, from the files of a run alone: plan, journal, results. Loads no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.certificate import Certificate
from harness.errors import RunFolderError
from harness.journal import Found, find, plan_digest, unite
from harness.plan import Plan
from harness.runfolder import RunFolder, read_json

__all__ = ["verify"]


def verify(folder: RunFolder) -> tuple[list[str], bool]:
    """Say whether the journal covers every example of the plan once, and the results are of just that.

    Returns: what was found, and whether all is well.
    Raises: RunFolderError: this is no run folder.
    """
    raw, digests = read_json(folder.plan_json), read_json(folder.job_json)
    if not isinstance(raw, dict) or not isinstance(digests, dict):
        raise RunFolderError(f"{folder.path}: expected plan.json and job.json, as a run leaves them; this is no run folder")
    digests.pop("predictions", None)  # of what was written, not of what was summed
    plan = Plan.from_dict(raw)
    found, torn = find(folder.journal)
    run, metrics = read_json(folder.run_json), read_json(folder.metrics_json)
    if metrics is None:
        # Nothing has been summed yet: what a resumed run would go on from.
        united = unite(found, plan)
        left = len(plan) - len(united.done)
        problems = [
            *torn,
            f"this run is not finished: {left} of {len(plan)} chunks are not in the journal, --resume evaluates them",
        ]
        chosen = [segment for segment in found if segment.name in united.kept]
        return [*problems, *united.warnings, *_counts(plan, chosen)], False
    named = (run or {}).get("journal")
    if named is None:
        return [f"{folder.run_json} is missing or torn: it names the segments that were summed"], False
    whole = {segment.name: segment for segment in found}
    # What was left out of the sum may be torn.
    problems = [text for text in torn if any(name in text for name in named)]
    problems += [f"{folder.journal / name} was summed, and is missing or not whole" for name in named if name not in whole]
    chosen = [whole[name] for name in named if name in whole]
    problems += _strangers(chosen, digests, plan)
    problems += _counts(plan, chosen)
    problems += _results(metrics, digests, plan, chosen)
    if problems:
        return [*problems, "the files of this run do not prove its result"], False
    examples, chunks = plan.examples, len(plan)
    return [f"verified: every one of {examples:,} examples counted once, in {chunks:,} chunks and {len(named):,} segments"], True


def _strangers(chosen: Sequence[Found], digests: dict[str, str], plan: Plan) -> list[str]:
    """Name segments that belong to something else."""
    wanted = {**digests, "plan": plan_digest(plan)}
    return [
        f"{segment.name} is of another {name}"
        for segment in chosen
        for name, value in wanted.items()
        if getattr(segment.origin, name) != value
    ]


def _counts(plan: Plan, chosen: Sequence[Found]) -> list[str]:
    """Compare what the segments counted with the plan; name chunks that are in two of them."""
    certificate = Certificate(plan)
    certificate.expect(plan[index] for index in range(len(plan)))
    holders = np.zeros(len(plan), np.int64)
    for segment in chosen:
        certificate.add(segment.lines)
        holders[segment.lines[:, 0]] += 1
    doubled = np.flatnonzero(holders > 1).tolist()
    names = {index: [segment.name for segment in chosen if index in segment.lines[:, 0]] for index in doubled[:5]}
    return certificate.problems() + [f"chunk {index} is in {' and '.join(where)}" for index, where in names.items()]


def _results(metrics: dict[str, Any], digests: dict[str, str], plan: Plan, chosen: Sequence[Found]) -> list[str]:
    """Compare what metrics.json says with the plan and the segments."""
    total = sum(int(segment.lines[:, 2].sum(dtype=np.int64)) for segment in chosen) & (2**64 - 1)
    wanted = {"examples": plan.examples, "chunks": len(plan), "id_hash": f"{total:016x}"}
    said = metrics.get("certificate", {})
    problems = [
        f"metrics.json certifies {name} {said.get(name)}, plan and journal say {value}"
        for name, value in wanted.items()
        if said.get(name) != value
    ]
    return problems + [
        f"metrics.json is of another {name}" for name in digests if metrics.get("digests", {}).get(name) != digests[name]
    ]
