"""What a run does beside its result, as its job asks: a report, what monitors read, exports. Looked at before any work."""

from __future__ import annotations

from harness.job.job import Job
from harness.ranks.comm import Comm
from harness.run.consensus import together
from harness.run.export import check_export, check_exported_places
from harness.run.monitoring import check_monitor, check_monitored_places
from harness.run.report import check_report

__all__ = ["check_beside", "check_places"]


def check_beside(job: Job) -> None:
    """See that all that a job asks for beside its result can be had.

    Raises: JobError: what one of them needs is not installed, or a place cannot be written to.
    """
    check_report(job)
    check_monitor(job)
    check_export(job)


def check_places(comm: Comm, job: Job, *, is_done: bool) -> None:
    """See that those ranks can write there that will: of monitors each node's first, of exports rank 0. A collective.

    Args:
      is_done: whether there is nothing to evaluate, and so nothing to lose.
    Raises: Told: one cannot.
    """

    def work() -> None:
        if is_done:
            return
        check_monitored_places(job, first_of_node=comm.local_rank == 0)
        if comm.rank == 0:
            check_exported_places(job)

    if job.monitor is not None or job.export:
        together(comm, work)
