"""OpenMetrics text: read by prometheus_client's parser with all digits, and passed by promtool where that is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness.export.command import export, targets_of
from harness.export.exported_run import read_run
from tests.export.runs import checkpoint, hostile


def families(path: Path) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the samples of each family, by the values of run id, metric and slice."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(path.read_bytes().decode()):
        assert family.type == "gauge" and family.documentation
        samples = found.setdefault(family.name, {})
        for sample in family.samples:
            key = tuple(sample.labels.get(name, "") for name in ("run_id", "metric", "slice"))
            assert key not in samples
            samples[key] = sample.value
    return found


def test_each_number_is_read_back_to_its_bits(tmp_path: Path) -> None:
    runs = [hostile(tmp_path / 'a </script>\n"\\ größe'), checkpoint(tmp_path, 30, 1 / 3)]
    path = tmp_path / "runs.prom"
    export(runs, targets_of([f"openmetrics={path}"]))
    found = families(path)
    numbers = [(run.id, number) for run in map(read_run, runs) for number in run.numbers]
    whole = {
        (run, number.tracked_name, ""): number.number for run, number in numbers if number.number is not None and not number.slice
    }
    values = found["harness_metric_value"]
    assert {key: values[key] for key in whole} == whole
    assert len(values) == sum(number.number is not None for _, number in numbers)
    assert len(found["harness_metric_low"]) == 1001  # an interval of the whole, and one of each slice
    assert found["harness_metric_null"] == {(numbers[0][0], "r2", ""): 1, (numbers[0][0], "recall/undefined", ""): 1}
    assert list(found["harness_run_step"].values()) == [30] and len(found["harness_run_info"]) == 2
    assert sorted(found["harness_run_examples"].values()) == [1000, 1000]


def test_promtool_passes_it_and_a_second_export_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.prom"
    targets, runs = targets_of([f"openmetrics={path}"]), [hostile(tmp_path / "run")]
    export(runs, targets)
    before = path.stat().st_mtime_ns
    assert str(export(runs, targets)[0]) == f"0 runs added, 1 there already: {path}" and path.stat().st_mtime_ns == before
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], stdin=path.open(), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
