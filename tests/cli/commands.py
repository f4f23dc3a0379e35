"""The command line, called in this process."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from harness.cli import cli
from harness.errors import HarnessError

__all__ = ["command"]


def command(*arguments: str | Path) -> tuple[int, str]:
    """Run a command; return its exit code, and what it printed or failed with. A failure that nobody expects is raised."""
    done = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)
    if isinstance(done.exception, HarnessError):
        return done.exception.exit_code, str(done.exception)
    if done.exception is not None:
        raise done.exception
    return done.return_value, done.output
