"""A kit from its name to its judgement: write its job, check its result by digest, measure it as any job is measured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from harness.bench.bench_folder import RUN, BenchFolder
from harness.bench.kit_check import Judgement, judge
from harness.bench.kit_hardware import kind_of_hardware
from harness.bench.kits import CHECKED, LOADGEN, Kit, kit
from harness.bench.rules import Rules, Scaling, Trial
from harness.bench.trials import Bench, run_trial
from harness.errors import HarnessError, RunFolderError, UsageError
from harness.folder.run_folder import read_json, write_atomically

__all__ = ["KIT_JSON", "check_kit", "run_loadgen", "write_job"]

SCHEMA_VERSION = 1  # of kit.json and loadgen.json
KIT_JSON = "kit.json"
CHECK = "check"  # folder of the run whose result is compared
LOADGEN_LOGS, LOADGEN_JSON, LOADGEN_MD = "loadgen", "loadgen.json", "loadgen.md"


def write_job(chosen: Kit, folder: Path) -> Path:
    """Write the job of a kit into the folder of its bench; return its path.

    Raises: RunFolderError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise RunFolderError(f"{folder}: cannot be made: {exc.strerror}; choose another folder with -o") from exc
    path = folder / f"kit-{chosen.name}.yaml"
    text = f"# {chosen.about}. Model and data are code of the harness; limit is the number of examples.\n"
    write_atomically(path, text + yaml.safe_dump(chosen.job(), sort_keys=False))
    return path


def check_kit(name: str, rules: Rules, folder: Path) -> Judgement:
    """Evaluate the first examples of a kit at the largest size, and compare the result; leaves kit.json.

    Args:
      name: of the kit.
      rules: of the bench: ranks, and how they are started.
      folder: of the bench.
    Raises: UsageError: there is no such kit, or an override would change the result. HarnessError: the run failed.
    """
    chosen = kit(name)
    if rules.overrides or rules.sweeps:
        raise UsageError(
            "--set and --sweep change what is computed, and a kit is judged by its result: run its job instead, which lies in "
            f"{folder / f'kit-{name}.yaml'}" + ("" if (folder / f"kit-{name}.yaml").exists() else " once the kit has run")
        )
    job, ranks = write_job(chosen, folder), rules.ranks[-1]
    place = BenchFolder(folder / CHECK)
    place.keep_rules({"kit": name, "examples": CHECKED, "ranks": ranks})
    alone = replace(rules, ranks=(ranks,), weak=False, minutes=None)
    trial = Trial((), 0, Scaling.STRONG, ranks, 1)
    facts = run_trial(Bench(job, alone, place, CHECKED), trial)
    if not facts.is_done:
        raise HarnessError(f"kit {name}: the run of its first {CHECKED:,} examples failed: {facts.reason}")
    run = place.trial(trial.name) / RUN
    metrics, record = read_json(run / "metrics.json"), read_json(run / "run.json")
    if not isinstance(metrics, dict) or not isinstance(record, dict):
        raise RunFolderError(f"{run}: metrics.json or run.json is missing or torn; run the kit again")
    judgement = judge(chosen, metrics, kind_of_hardware(record))
    document = {"schema_version": SCHEMA_VERSION, "kit": name, "ranks": ranks, **judgement.document()}
    write_atomically(folder / KIT_JSON, json.dumps(document, indent=1) + "\n")
    return judgement


def run_loadgen(rules: Rules, folder: Path, seconds: float, say: Callable[[str], None]) -> tuple[Judgement, Sequence[str], bool]:
    """Check the vision kit, then drive its model with LoadGen.

    Returns: the judgement, what is printed, and whether accuracy mode found what the evaluation did.
    Raises: UsageError: LoadGen is not installed, or several ranks are asked for.
    """
    from harness.bench.loadgen_run import load_loadgen

    load_loadgen()
    if rules.ranks != (1,):
        raise UsageError(f"--kit {LOADGEN} is one process: --ranks 1, found {','.join(map(str, rules.ranks))}")
    judgement = check_kit("vision", rules, folder)
    run = BenchFolder(folder / CHECK).trial(Trial((), 0, Scaling.STRONG, 1, 1).name) / RUN
    expected = float(read_json(run / "metrics.json")["metrics"]["accuracy"]["value"])
    say(f"LoadGen: accuracy mode, then four scenarios of {seconds:g} s or more")
    from harness.bench.loadgen_kit import measure

    result = measure(folder / LOADGEN_LOGS, seconds=seconds, threads=len(os.sched_getaffinity(0)), expected_accuracy=expected)
    document = {"schema_version": SCHEMA_VERSION, **result.document(), "kit": judgement.document()}
    write_atomically(folder / LOADGEN_JSON, json.dumps(document, indent=1) + "\n")
    write_atomically(folder / LOADGEN_MD, result.markdown() + "\n")
    return judgement, result.markdown().splitlines(), result.is_right
