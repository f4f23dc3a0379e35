"""A load test from the job to load.json: open, read the library, look how fast the service is, let LoadGen drive it, judge."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.errors import RunFolderError, UsageError
from harness.folder.run_folder import RunFolder, write_atomically
from harness.job.job import Job
from harness.load.account import LoadAccount
from harness.load.answered_run import ServedJob
from harness.load.driver import ACCURACY_LOGS, LOGS, Driver
from harness.load.findings import LoadFindings, Target
from harness.load.judgement import judge
from harness.load.library import read_library
from harness.load.page import render
from harness.load.request import LoadRequest
from harness.names.status_line import Status, StatusLine
from harness.results.run_document import finished

__all__ = ["LoadFolder", "load"]

NO_LATE = 0.1  # by which LoadGen's percentile may differ from ours: it counts from when a query was due


@dataclass(frozen=True)
class LoadFolder:
    """The folder of a load test: every name in it."""

    path: Path

    @property
    def request_json(self) -> Path:
        """What was asked; there from the beginning on."""
        return self.path / "request.json"

    @property
    def load_json(self) -> Path:
        """What was found."""
        return self.path / "load.json"

    @property
    def load_html(self) -> Path:
        """The page."""
        return self.path / "load.html"

    @property
    def accuracy(self) -> Path:
        """The run of what was answered in accuracy mode."""
        return self.path / "accuracy"

    def claim(self, request: LoadRequest, *, overwrite: bool) -> IO[str]:
        """Take the folder for a test.

        Raises: RunFolderError: something is in it, or it cannot be written.
        """
        is_ours = self.request_json.exists()
        try:
            is_taken = self.path.exists() and any(self.path.iterdir())
            if is_taken and (not is_ours or (self.load_json.exists() and not overwrite)):  # one that was ended loses nothing
                what = "holds a load test: --overwrite takes it away, or choose" if is_ours else "is not empty: choose"
                raise RunFolderError(f"{self.path}: {what} another folder with -o")
            self.path.mkdir(parents=True, exist_ok=True)
            held = (self.path / "lock").open("w")
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise RunFolderError(f"{self.path}: another load test is at work here: choose another folder with -o") from exc
            if is_ours:
                for folder in (self.accuracy, self.path / LOGS, self.path / ACCURACY_LOGS):
                    shutil.rmtree(folder, ignore_errors=True)
                for file in (self.load_json, self.load_html):
                    file.unlink(missing_ok=True)
        except OSError as exc:
            raise RunFolderError(f"{self.path}: cannot be written: {exc.strerror}") from exc
        write_atomically(self.request_json, json.dumps(request.document(), indent=1) + "\n")
        return held


def load(
    job: Job, request: LoadRequest, folder: LoadFolder, line: StatusLine, say: Callable[[str], None], *, overwrite: bool = False
) -> LoadFindings:
    """Put the endpoint of a job under load; leaves load.json, the page and LoadGen's logs.

    Args:
      job: that `check_job` lets pass, with as many connections as the test is to have.
      line: shows what is done.
      say: takes remarks.
      overwrite: take away the test that is in the folder.
    Raises: UsageError: the job is wrong. HarnessError: the service does not answer, or not what
      it was asked.
    """
    line.show(Status("looking at model and data"))
    served_job = ServedJob.open(job)
    held = folder.claim(request, overwrite=overwrite)
    try:
        findings = _driven(served_job, request, folder, line)
    finally:
        served_job.served.client.close()
    write_atomically(folder.load_json, json.dumps(findings.document(), indent=1) + "\n")
    try:
        write_atomically(folder.load_html, render(findings))
    except UsageError as exc:
        say(f"the result is written, the page is not: {exc}")
    line.erase()
    held.close()
    return findings


def _driven(served_job: ServedJob, request: LoadRequest, folder: LoadFolder, line: StatusLine) -> LoadFindings:
    """Let LoadGen drive the service, and judge."""
    job, served = served_job.job, served_job.served
    assert job.model is not None
    line.show(Status("reading the query library"))
    threads = served_job.passage.process.threads
    library = read_library(job, served_job.opened, served_job.prepared, served, threads)

    def look(account: LoadAccount) -> None:
        done = account.queries - account.left
        line.show(
            Status("under load", None, f"{done:,} of {account.queries:,} queries, {account.unanswered:,} without an answer")
        )

    driver = Driver(served, library, request, job.batch_size, job.model.give_up, folder.path, look)
    line.show(Status("looking how fast the service is"))
    rate = driver.pilot()
    document, ruling, notes = None, 0, []
    if request.accuracy:
        answers, answered = driver.accuracy(rate)
        line.show(Status("evaluating what was answered"))
        settled = served_job.evaluate(answers, next(iter(answered.versions)), folder.accuracy)
        document, ruling = finished(RunFolder(folder.accuracy.absolute())), settled.code
        if ruling:
            notes.append(f"the gate of the job ends with code {ruling} on what was answered: {folder.accuracy}")
    before, retried = served.client.account(), served.client.retries
    measured = driver.performance(rate)
    after = served.client.account()
    judgement = judge(request, measured.account, measured.busy, served.client.concurrency)
    notes += _late(measured.loadgen.figures, measured.account)
    opened, protocol = served_job.opened, served.service.protocol
    target = Target(opened.model_path, protocol, opened.digests, len(library), served.client.concurrency, job.slices)
    failures = {kind: count - before["failures"].get(kind, 0) for kind, count in after["failures"].items()}
    failures = {kind: count for kind, count in failures.items() if count}
    retries = served.client.retries - retried
    return LoadFindings(target, request, measured, judgement, retries, failures, document, ruling, notes)


def _late(figures: Any, account: LoadAccount) -> list[str]:
    """Say where LoadGen, which counts from when a query was due, found another latency: this machine was late in sending."""
    found = account.latency.percentile(0.99)
    theirs_ms = figures.get("p99_ns", 0.0) / 1e6
    if found is None or account.unanswered or theirs_ms <= found.value * (1 + NO_LATE) + 1:
        return []
    return [
        f"LoadGen, which counts from when a query was due, says p99 {theirs_ms:,.4g} ms, and {found.value:,.4g} ms went by from "
        "when it was handed over: this machine was late in sending"
    ]
