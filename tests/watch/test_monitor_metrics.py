"""What Prometheus is told, read back with its own parser and tools."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from harness.watch.beat import Beat
from harness.watch.monitor_metrics import METRICS, Node, metric_table, samples
from harness.watch.monitor_pages import page_text
from tests.conftest import ROOT
from tests.watch.monitored import beat, node, promtool, whole

SHIPPED = ROOT / "docs" / "monitoring"
OWN = Path(__file__).parent / "monitoring"
NAME = re.compile(r"\bharness_[a-z_]+")


def read(page: Node) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return a page's samples as Prometheus' parser reads them."""
    families = text_string_to_metric_families(page_text(samples(page)).decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def of(page: Node, name: str, /, **labels: str) -> float | None:
    return read(page).get((f"harness_{name}", tuple(sorted({"run": page.run, **labels}.items()))))


def test_a_page_says_what_beats_and_vitals_do() -> None:
    page = node()
    assert of(page, "examples_total", rank="1") == 320
    assert of(page, "chunks_total", rank="0") == 10
    assert of(page, "examples_per_second", rank="0") == 20
    assert of(page, "phase_seconds_total", rank="0", phase="reading") == 12
    assert of(page, "phase_seconds_total", rank="0", phase="waiting") == 0
    assert of(page, "phase", rank="0", phase="evaluating") == 1 and of(page, "phase", rank="0", phase="waiting") == 0
    assert of(page, "gpu_utilization_ratio", rank="0") == 0.8
    assert of(page, "gpu_memory_size_bytes", rank="0") == 2**34
    assert of(page, "energy_joules_total", device="GPU-1") == 1500
    assert of(page, "run_chunks_left") == 40 - 6 - 2 * 10
    assert of(page, "run_attempt") == 2
    assert (
        of(page, "straggler", rank="1", cause="slow storage") == 1
        and sum(name == "harness_straggler" for name, _ in read(page)) == 1
    )
    assert of(page, "stalled", rank="1", cause="reading") == 1 and of(page, "stalled", rank="0", cause="none") == 0
    assert of(page, "run_info", name="job", model="m", job_digest="ab12", version="1") == 1


def test_every_metric_is_on_the_page_and_promtool_likes_their_names() -> None:
    text = page_text(samples(node()))
    assert {line.split()[2] for line in text.decode().splitlines() if line.startswith("# HELP")} == {
        f"harness_{name}" for name in METRICS
    }
    assert promtool("check", "metrics", stdin=text) == (0, "")


def test_promtool_would_object() -> None:
    code, said = promtool("check", "metrics", stdin=b"# TYPE harness_examples counter\nharness_examples 1\n")
    assert code != 0 and "_total" in said


def test_what_is_not_known_is_absent_and_not_nought() -> None:
    page = Node(
        "/runs/a", 1.0, [Beat(0, vitals={})], whole=replace(whole(), stragglers=None, examples_per_s=None, free_bytes=None)
    )
    names = {name.removeprefix("harness_") for name, _ in read(page)}
    unknown = {"gpu_utilization_ratio", "gpu_memory_used_bytes", "gpu_memory_size_bytes", "energy_joules_total", "resident_memory_bytes", "threads", "straggler", "examples_per_second", "run_examples_per_second", "run_folder_free_bytes"}  # fmt: skip
    assert not names & unknown
    assert {"examples_total", "run_chunks_left", "beat_timestamp_seconds"} <= names
    assert not [name for name, _ in read(replace(page, whole=None)) if name.startswith("harness_run_")]


@pytest.mark.parametrize("phase, idle", [("waiting", 0), ("done", 0), ("evaluating", 900)])
def test_a_rank_that_waits_for_others_is_not_stalled(phase: str, idle: float) -> None:
    page = Node("/runs/a", 1.0, [beat(0, phase)], {0: 900.0})
    assert of(page, "idle_seconds", rank="0") == idle
    assert of(page, "stalled", rank="0", cause="reading" if idle else "none") == (1 if idle else 0)


def test_labels_hold_any_name_of_a_folder() -> None:
    run = 'a "b"\\c\nd é'
    assert of(Node(run, 7.0, []), "beat_timestamp_seconds") == 7


def test_rules_and_dashboard_ask_for_what_is_told() -> None:
    rules = yaml.safe_load((SHIPPED / "harness-rules.yml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    dashboard = json.loads((SHIPPED / "harness-dashboard.json").read_text())
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [entry["query"]["query"] for entry in dashboard["templating"]["list"] if isinstance(entry["query"], dict)]
    asked = {name for expression in expressions for name in NAME.findall(expression)}
    assert len(expressions) > 20 and asked <= {f"harness_{name}" for name in METRICS}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    dashboard = json.loads((SHIPPED / "harness-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$run", ".*")} for number, expression in enumerate(expressions)
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    code, said = promtool("check", "rules", str(tmp_path / "panels.yml"))
    assert code == 0, said


def test_each_alert_fires_and_does_not_fire(tmp_path: Path) -> None:
    for path in (SHIPPED / "harness-rules.yml", OWN / "rules-test.yml"):
        shutil.copy(path, tmp_path)
    assert promtool("check", "rules", "harness-rules.yml", cwd=tmp_path)[0] == 0
    code, said = promtool("test", "rules", "rules-test.yml", cwd=tmp_path)
    assert code == 0, said
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((SHIPPED / "harness-rules.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    cases = [case for test in yaml.safe_load((OWN / "rules-test.yml").read_text())["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts


def test_the_docs_show_the_table() -> None:
    assert metric_table() in (ROOT / "docs" / "monitoring" / "README.md").read_text()
