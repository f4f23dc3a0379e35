"""One test of MLPerf LoadGen: its module, a system that answers its queries, its logs. Knows nothing of what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError, UsageError

__all__ = ["LoadgenTest", "load_loadgen", "read_log"]


@dataclass(frozen=True)
class LoadgenTest:
    """What LoadGen is to do.

    Attributes:
      scenario: LoadGen's name of it.
      settings: by LoadGen's names.
      examples: how many the query library has.
      logs: folder that its logs are written to.
      is_accuracy: ask for every example, rather than for so long a time.
    """

    scenario: str
    settings: Mapping[str, Any]
    examples: int
    logs: Path
    is_accuracy: bool = False

    def run(self, issue: Callable[[Sequence[Any]], None], flush: Callable[[], None] = lambda: None) -> None:
        """Run it to its end, which comes when every query is complete.

        Args:
          issue: takes queries, which have `id` and `index`.
          flush: called when all are issued.
        Raises: UsageError: LoadGen is not installed.
        """
        lg = load_loadgen()
        self.logs.mkdir(parents=True, exist_ok=True)
        settings = lg.TestSettings()
        settings.scenario = getattr(lg.TestScenario, self.scenario)
        settings.mode = lg.TestMode.AccuracyOnly if self.is_accuracy else lg.TestMode.PerformanceOnly
        for name, value in self.settings.items():
            setattr(settings, name, value)
        log_settings = lg.LogSettings()
        log_settings.log_output.outdir = str(self.logs)
        log_settings.enable_trace = False
        log_settings.log_output.copy_summary_to_stdout = False
        library = lg.ConstructQSL(self.examples, self.examples, lambda _: None, lambda _: None)
        under_test = lg.ConstructSUT(issue, flush)
        try:
            lg.StartTestWithLogSettings(under_test, library, settings, log_settings)
        finally:
            lg.DestroySUT(under_test)
            lg.DestroyQSL(library)


def load_loadgen() -> Any:
    """Return the module of LoadGen.

    Raises: UsageError: it is not installed.
    """
    try:
        import mlperf_loadgen
    except ImportError as exc:
        raise UsageError("MLPerf LoadGen is not installed: pip install 'exact-harness[bench]'") from exc
    return mlperf_loadgen


def read_log(logs: Path, name: str) -> str:
    """Return a log of LoadGen.

    Raises: RunFolderError: there is none.
    """
    try:
        return (logs / name).read_text()
    except OSError as exc:
        raise RunFolderError(f"{logs / name}: LoadGen left no such log: {exc.strerror}") from exc
