"""A job that asks for a report: it is written once the result is, costs no result, and what it needs is looked at first."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import JobError
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from harness.report import page
from harness.report.page import render
from harness.report.subjects import read
from harness.run.check import check
from harness.run.report import write_report
from tests.conftest import Done, Made
from tests.report.folders import number, write


def test_a_job_writes_its_report_and_begins_anew(world: Made, harness: Callable[..., Done], tmp_path: Path) -> None:
    job = world.job(tmp_path / "job.yaml", report=True)
    for options in ((), ("--overwrite",)):
        done = harness("evaluate", job, "-o", tmp_path / "run", *options)
        assert done.code == 0 and f"report: {tmp_path / 'run' / 'report.html'}" in done.out, done.text
        assert (tmp_path / "run" / "report.html").read_text() == render(read([tmp_path / "run"]))
    plain = world.job(tmp_path / "plain.yaml")
    assert Job.load(job).digest == Job.load(plain).digest


def test_what_is_not_installed_is_said_before_any_work(world: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "jinja2" else found(name, *more))
    with pytest.raises(JobError, match=r"report: true: Jinja2 is not installed.*exact-harness\[report\]"):
        check(Job.load(world.job(tmp_path / "job.yaml", report=True)))


def test_a_report_that_fails_costs_no_result(
    world: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(write(tmp_path / "run", {"accuracy": number(0.5)}))

    def fail(*_: object, **__: object) -> str:
        raise ZeroDivisionError("drawn by nobody")

    monkeypatch.setattr(page, "render", fail)
    write_report(run, Job.load(world.job(tmp_path / "job.yaml", report=True)))
    assert "the report is not: ZeroDivisionError: drawn by nobody" in capsys.readouterr().err and not run.report_html.exists()
