"""The report that a job asks for: looked at before any work, written by rank 0 once the result is."""

from __future__ import annotations

import importlib.util
import time

from harness.errors import HarnessError, JobError
from harness.folder.run_folder import RunFolder, write_atomically
from harness.job.job import Job
from harness.metrics import load
from harness.names.events import Event
from harness.names.log import LOG
from harness.report.drawing import MISSING

__all__ = ["check_report", "write_report"]

NEEDED = {"matplotlib": "matplotlib", "jinja2": "Jinja2"}  # modules, and what they are called


def check_report(job: Job) -> None:
    """See that a report which the job asks for can be made.

    Raises: JobError: what draws or lays out is not installed.
    """
    for module, name in NEEDED.items() if job.report else ():
        if importlib.util.find_spec(module) is None:
            raise JobError(f"report: true: {MISSING.format(name=name)}")


def write_report(folder: RunFolder, job: Job) -> None:
    """Write the page of a run that is done, where the job asks for it. The result is there: what fails now is a warning."""
    if not job.report:
        return
    begun = time.monotonic()
    try:
        from harness.report.page import render
        from harness.report.subjects import read

        write_atomically(folder.report_html, render(read([folder.path]), own=lambda target: load(target, job.folder)))
    except HarnessError as exc:
        LOG.say(Event.RUN_WARNING, f"the result is written, the report is not: {exc}")
    except Exception as exc:  # noqa: BLE001 - no drawing may cost a result
        LOG.say(Event.RUN_WARNING, f"the result is written, the report is not: {type(exc).__name__}: {exc}")
    else:
        print(f"report: {folder.report_html} ({time.monotonic() - begun:.1f} s)")
