"""What `harness bench --kit NAME` does: its result by digest first, then the bench of its job. Loads no TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.verbosity import remark
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.bench.kit_check import Judgement
    from harness.bench.rules import Rules

__all__ = ["judged_kit", "loadgen"]


def judged_kit(name: str, rules: Rules, folder: Path, *, resume: bool) -> tuple[Path, bool]:
    """Check a kit's result, and say what it is judged to be.

    A bench that goes on is judged again: that takes seconds, and the machine may have changed.

    Returns: the kit's job, and whether its result is wrong: then nothing is measured.
    """
    from harness.bench.kit_bench import check_kit, write_job
    from harness.bench.kits import kit

    chosen = kit(name)
    if folder.is_dir() and any(folder.iterdir()) and not resume:
        raise UsageError(f"{folder} is not empty: --resume goes on with the bench in it, -o chooses another folder")
    is_wrong = _say(name, check_kit(name, rules, folder))
    return write_job(chosen, folder), is_wrong


def loadgen(rules: Rules, folder: Path, seconds: float) -> int:
    """Run the LoadGen kit; return the exit code."""
    from harness.bench.kit_bench import run_loadgen

    judgement, lines, is_right = run_loadgen(rules, folder, seconds, remark)
    is_wrong = _say("loadgen", judgement)
    print("\n".join(lines))
    return 0 if is_right and not is_wrong else 1


def _say(name: str, judgement: Judgement) -> bool:
    from harness.bench.kit_check import State

    is_wrong = judgement.state is State.WRONG
    print(f"kit {name}: {'WRONG' if is_wrong else judgement.state}: {judgement.message}")
    if judgement.state is State.UNKNOWN:
        print(f"kind: {judgement.kind}\ndigest: {judgement.digest}")
    return is_wrong
