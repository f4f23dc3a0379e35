"""Paths of the command line: one that no file can have is refused before anything is opened. Loads nothing else."""

from __future__ import annotations

from typing import Any

import click

from harness.job.plain_texts import unusable
from harness.names.texts import printable, shortened

__all__ = ["FilePath"]

SHOWN = 60  # characters of a path that is refused


class FilePath(click.Path):
    """A path that a file can have."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path.

        Raises: click.BadParameter: no file can have it.
        """
        if problem := unusable(str(value)):
            self.fail(f"{printable(shortened(str(value), SHOWN))}: no file can have this path: {problem}", param, ctx)
        return super().convert(value, param, ctx)
