"""What a rank of a real run asks of the run folder while its loop runs, written down when the loop has ended."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

__all__ = ["VARIABLE", "plant"]

VARIABLE = "TEST_COUNT_OPERATIONS"  # RUN FOLDER:FOLDER OF THE COUNTS


def plant() -> None:
    """Have this process count, where it is asked to."""
    if VARIABLE not in os.environ:
        return
    from benchmarks.file_operations import FileOperations
    from harness.run import passage

    run, _, folder = os.environ[VARIABLE].partition(":")
    evaluate = passage.evaluate

    def counted(*args: Any) -> None:
        begun = time.monotonic()
        with FileOperations(Path(run)) as operations:
            evaluate(*args)
        seconds = time.monotonic() - begun
        counts = {" ".join(key): count for key, count in operations.counts.items()}
        rank = os.environ.get("HOROVOD_RANK", "0")
        (Path(folder) / f"{rank}.json").write_text(json.dumps({"seconds": seconds, "counts": counts}))

    passage.evaluate = counted
