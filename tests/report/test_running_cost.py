"""What a run used and cost stands on its page, in the section on how it ran, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

from harness.report.page import render
from harness.report.subjects import read
from harness.results.cost import cost_of
from tests.report.folders import HOSTILE, number, write
from tests.results.test_cost import ONE, PRICES, attempt, run
from tests.results.test_usage import NO_MEMORY, account, package


def page_of(folder: Path, document: dict) -> tuple[str, str]:
    """The page of a run: what is above its section, and that."""
    write(folder, {"accuracy": number(0.5)})
    (folder / "run.json").write_text(json.dumps(document))
    above, section = render(read([folder])).rsplit('<section id="run"', 1)
    return above, section


def test_the_page_says_what_it_cost(tmp_path):
    document = run(attempt(1, ONE))
    document["cost"] = cost_of(document, PRICES).to_dict()
    above, section = page_of(tmp_path / "run", document)
    for text in (
        "energy (package, gpu)",
        "3,600 kJ",
        "7,200 kJ",
        "3.75 EUR",
        "7.5 EUR",
        "400 g CO2",
        "energy of memory: n1: no counter",
        "GPU-a",
    ):
        assert text in section and text not in above
    assert "the run had 2 of 8 cores of n1" in section


def test_a_hostile_machine_is_harmless_and_a_silent_run_says_nothing(tmp_path):
    hostile = account(0, package(HOSTILE, 1, 1), host=HOSTILE, missing={"memory": HOSTILE})
    _, section = page_of(tmp_path / "hostile", run(attempt(1, [hostile, account(1, machine="o", host="n2", missing=NO_MEMORY)])))
    assert HOSTILE not in section and "alert(1)" in section
    _, section = page_of(tmp_path / "silent", {"attempts": [{"attempt": 1, "size": 2, "started": "now"}]})
    assert "node-hours" not in section
