"""A run of real ranks, watched by Debian's node_exporter and a real Prometheus; killed, resumed, and the same to the last byte."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from harness.folder.run_folder import RunFolder, read_json
from harness.watch.monitor import text_file
from tests.conftest import LIMIT_S, ROOT, Made, over_ranks, start
from tests.watch.monitored import tool
from tests.watch.test_monitor import free_port

pytestmark = pytest.mark.ranks


class Prometheus:
    """Prometheus, which scrapes a page of its own and node_exporter, and evaluates the rules that the harness brings."""

    def __init__(self, folder: Path) -> None:
        self.text = folder / "text"
        self.text.mkdir()
        self.port, self._own, exporter = free_port(), free_port(), free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "docs" / "monitoring" / "harness-rules.yml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                for job, port in (("node", exporter), ("harness", self.port))
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._processes = [
            self._start(
                tool("prometheus-node-exporter"), "--collector.disable-defaults", "--collector.textfile",
                f"--collector.textfile.directory={self.text}", f"--web.listen-address=127.0.0.1:{exporter}", folder=folder,
            ),
            self._start(
                tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self._own}", folder=folder,
            ),
        ]  # fmt: skip

    @staticmethod
    def _start(*argv: str, folder: Path) -> subprocess.Popen[bytes]:
        with (folder / f"{Path(argv[0]).name}.log").open("wb") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log)

    def ask(self, path: str, **query: str) -> Any:
        """Ask the HTTP API; None as long as it is not up."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._own}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=30
            ) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def values(self, query: str) -> list[tuple[dict[str, str], float]]:
        return [(one["metric"], float(one["value"][1])) for one in (self.ask("query", query=query) or {"result": []})["result"]]

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    served = Prometheus(tmp_path)
    yield served
    served.close()


def until(found: Callable[[], Any], what: Callable[[], str]) -> Any:
    """Wait until something is there; return it."""
    begun = time.monotonic()
    while not (answer := found()):
        assert time.monotonic() - begun < LIMIT_S, what()
        time.sleep(0.2)
    return answer


def slow_rank(words: Sequence[str | Path]) -> list[str]:
    """Return what starts two ranks, whose second is slow at reading."""
    return over_ranks(2, "mpi", [sys.executable, "-m", "tests.ranks.slow_reader", "1", "0.6", *words])


def test_prometheus_is_told_by_a_run_that_is_killed_and_resumed(world: Made, tmp_path: Path, prometheus: Prometheus) -> None:
    (tmp_path / "out.txt").touch()
    for number in range(12):
        shutil.copy(world.first_file, tmp_path / f"{number}.tfrecord")
    job = world.job(tmp_path / "job.yaml", data={"files": "*.tfrecord"}, batch_size=4, chunk_size=4)
    folder = RunFolder(tmp_path / "run")
    monitor = ["--set", f"monitor.textfile={prometheus.text}", "--set", f"monitor.port={prometheus.port}"]
    words = ["evaluate", job, "-o", folder.path, "--stall-timeout", "600", *monitor]
    path = text_file(prometheus.text, folder.path, 0)
    with (tmp_path / "out.txt").open("w") as out:
        ranks = subprocess.Popen(slow_rank(words), cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def said() -> str:
        return (tmp_path / "out.txt").read_text() + str(prometheus.ask("targets"))

    for source in ("node", "harness"):
        rates = until(lambda source=source: prometheus.values(f'harness_examples_total{{job="{source}"}} > 0'), said)
        assert {labels["run"] for labels, _ in rates} == {str(folder.path)}
        until(lambda source=source: len(prometheus.values(f'harness_chunks_total{{job="{source}"}}')) == 2, said)
    ((_, examples),) = prometheus.values('harness_run_examples{job="harness"}')
    assert examples == read_json(folder.progress / "ranks.json")["examples"]
    up = prometheus.values("up")
    assert sorted(value for _, value in up) == [1.0, 1.0]

    def slow() -> list[tuple[dict[str, str], float]]:
        return prometheus.values('harness_straggler{job="harness"} == 1')

    ((labels, _),) = until(slow, said)
    assert (labels["rank"], labels["cause"]) == ("1", "slow storage")

    def fired() -> list[dict[str, str]]:
        alerts = (prometheus.ask("alerts") or {"alerts": []})["alerts"]
        return [
            alert["labels"]
            for alert in alerts
            if alert["state"] == "firing" and alert["labels"]["alertname"] == "HarnessStraggler"
        ]

    assert {(labels["rank"], labels["cause"]) for labels in until(fired, said)} == {("1", "slow storage")}

    pid = int(read_json(folder.heartbeat(0))["pid"])
    os.kill(pid, signal.SIGKILL)
    ranks.wait(timeout=LIMIT_S)
    left = path.read_text()  # whole, and it stays
    assert "harness_beat_timestamp_seconds" in {
        sample.name for family in text_string_to_metric_families(left) for sample in family.samples
    }
    assert [one for one in prometheus.text.iterdir() if one.suffix == ".prom"] == [path]

    resumed = start(over_ranks(2, "mpi", ["harness", *words, "--resume"]), tmp_path)
    assert resumed.code == 0, resumed.text
    assert list(prometheus.text.glob("*.prom")) == []
    until(lambda: not prometheus.values("harness_run_info"), said)  # stale at once
    plain = start(["harness", "evaluate", job, "-o", tmp_path / "plain"], tmp_path)
    assert plain.code == 0, plain.text
    assert folder.metrics_json.read_bytes() == (tmp_path / "plain" / "metrics.json").read_bytes()
    taken = start(["harness", *words[:3], tmp_path / "other", "--set", f"monitor.textfile={tmp_path / 'gone'}"], tmp_path)
    assert taken.code == 2 and "monitor.textfile: expected a folder" in taken.err
