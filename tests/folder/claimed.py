"""A run folder is claimed as rank 0 does: looked at, then taken."""

from __future__ import annotations

from collections.abc import Mapping

from harness.folder.ownership import claim, owned
from harness.folder.run_folder import RunFolder
from harness.job.job import Job


def claimed(folder: RunFolder, digests: Mapping[str, str], job: Job) -> bool:
    """Claim a folder unless the run in it is done; return whether it is."""
    done = owned(folder, digests, job)
    if not done:
        claim(folder, digests, job)
    return done
