"""What a run does beside its result, as its job asks: a report, what monitors read, exports. Looked at before any work."""

from __future__ import annotations

from harness.job.job import Job
from harness.run.export import check_export
from harness.run.monitoring import check_monitor
from harness.run.report import check_report

__all__ = ["check_beside"]


def check_beside(job: Job) -> None:
    """See that all that a job asks for beside its result can be had.

    Raises: JobError: what one of them needs is not installed, or a place cannot be written to.
    """
    check_report(job)
    check_monitor(job)
    check_export(job)
