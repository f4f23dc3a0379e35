"""Facts of trials that were never run: what run.json and limits.json would hold, from a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.bench.answer import Answer, answer
from harness.bench.facts import Facts
from harness.bench.rules import Rules, Sweep, trials

CHUNK = 100


def fact(
    ranks: int,
    repeat: int,
    *,
    reading: float | Sequence[float] = 0.1,
    predicting: float | Sequence[float] = 0.1,
    share: Sequence[int] | None = None,
    waiting: float | Sequence[float] = 0.0,
    reducing: float = 0.01,
    start: float = 1.0,
    forward_rate: float = 10_000.0,
    reading_rate: float = 10_000.0,
    sum_s: float = 0.001,
    other: float = 0.0,
    examples: int = 8000,
    digest: str = "a" * 64,
    **more: Any,
) -> Facts:
    """Return the facts of a trial that is done; of what is one number every rank has the same."""

    def each(value: float | Sequence[float]) -> list[float]:
        return [float(value)] * ranks if isinstance(value, int | float) else list(value)

    shares = list(share) if share is not None else [examples // ranks] * ranks
    read, predicted, waited = each(reading), each(predicting), each(waiting)
    accounts = [
        {
            "rank": rank, "host": f"h{rank}", "examples": shares[rank] + CHUNK, "peak_bytes": 10**9,
            "devices": ["CPU"],
            "seconds": {"import": start, "open": 0.1, "build": 0.2, "evaluate": 0.3 + read[rank] + predicted[rank]},
            "split_s": {
                "start": start + 0.3, "compiling": 0.3, "reading": read[rank], "predicting": predicted[rank], "other": other,
                "waiting": waited[rank], "reducing": reducing, **({"writing": 0.02} if rank == 0 else {}),
            },
        }
        for rank in range(ranks)
    ]  # fmt: skip
    elapsed_s = start + 0.62 + max(r + p + w for r, p, w in zip(read, predicted, waited, strict=True)) + other + reducing
    limits = {
        "sum_bytes": 800, "elapsed_s": 3.0,
        "ranks": [
            {
                "rank": rank, "host": f"h{rank}", "sum_s": [sum_s] * 3,
                "forward": {"samples": [{"examples": int(forward_rate), "seconds": 1.0}], "reason": None},
                "reading": {"samples": [{"examples": int(reading_rate), "seconds": 1.0}], "reason": None},
            }
            for rank in range(ranks)
        ],
    }  # fmt: skip
    run = {
        "attempt": {"elapsed_s": elapsed_s, "comm": "mpi", "schedule": "static", "ranks": accounts},
        "plan": {"examples": examples, "chunk_size": CHUNK}, "environment": {},
    }  # fmt: skip
    name = f"s000-strong-{ranks:04d}-{repeat:02d}"
    held = {"scaling": "strong", "limits": limits, "bits": "b", "values": {"accuracy": 0.5}, "size_bytes": None, **more}
    return Facts(
        name, ranks, repeat=repeat, state="done", wall_s=elapsed_s + 3.5, digest=digest, run=run,
        begun="2026-01-01T00:00:00+00:00", **held,
    )  # fmt: skip


def with_warm_ups(facts: Sequence[Facts]) -> list[Facts]:
    """Return these facts after a warm-up of each of their sizes, as the rules ask for it."""
    firsts = [fact for fact in facts if fact.repeat == 1]
    return [*(replace(fact, repeat=0, name=f"{fact.name[:-2]}warm-0") for fact in firsts), *facts]


def repeats(ranks: int, count: int = 5, **options: Any) -> list[Facts]:
    """Return some repeats, each a little slower than the one before."""
    spread = options.pop("spread", 0.01)

    def slower(value: Any, factor: float) -> Any:
        return [part * factor for part in value] if isinstance(value, list | tuple) else value * factor

    times = {name: options.pop(name) for name in ("reading", "predicting") if name in options}
    return [
        fact(ranks, repeat, **{name: slower(value, 1 + spread * repeat) for name, value in times.items()}, **options)
        for repeat in range(1, count + 1)
    ]


MACHINE: dict[str, Any] = {"cpu": {"model": "A <b>"}, "gpus": [], "interconnect": [{"name": "eth0", "megabits_per_s": None}]}


def frozen_bench(factor: float = 1.0, rules: Rules | None = None, **options: Any) -> Answer:
    """Return a bench of one and two ranks whose trials take so many times as long."""
    rules = rules or Rules((1, 2))
    facts = [
        *repeats(1, rules.repeat, reading=20.0 * factor, reading_rate=500.0, **options),
        *repeats(2, rules.repeat, reading=10.0 * factor, reading_rate=500.0, **options),
    ]
    return answer("job.yaml", rules, None, with_warm_ups(facts), MACHINE, ["harness", "bench", "job.yaml"])


def frozen_sweep() -> Answer:
    """Return a bench of three sizes, strong and weak, of which two settings were tried, with a slow rank and a trial that failed."""
    rules = Rules((1, 2, 4), repeat=2, weak=True, sweeps=(Sweep("precision", ("float32", "bfloat16")),))
    facts = []
    for trial in trials(rules):
        is_other = dict(trial.setting)["precision"] != "float32"
        share = 2000 if trial.scaling == "weak" else 8000 // trial.ranks
        reading = [share / 500 * (2 if rank == 3 else 1) for rank in range(trial.ranks)]
        own = fact(
            trial.ranks, trial.repeat, reading=reading, waiting=[max(reading) - each for each in reading], reading_rate=500.0,
            share=[share] * trial.ranks, examples=share * trial.ranks, setting=dict(trial.setting), scaling=str(trial.scaling),
            bits="c" if is_other else "b", digest=("c" if is_other else "b") * 64,
            values={"accuracy": 0.5, "log_loss": 0.7 + 0.01 * is_other},
        )  # fmt: skip
        facts.append(replace(own, name=trial.name))
    reason = "exit code 1: harness: error: data/a.tfrecord: record 17 is cut off <b> / rank 3 on a-host-with-a-long-name.example"
    facts[-1] = replace(facts[-1], state="failed", reason=reason, run={}, limits={}, digest="")
    return answer("job.yaml", rules, None, facts, MACHINE, ["harness", "bench", "job.yaml", "--weak", "--sweep", "precision"])
