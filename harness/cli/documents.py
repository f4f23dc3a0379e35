"""What a command found, printed in one form and written in others. Knows no command."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import click

__all__ = ["Document", "check_endings", "show", "write"]


class Document(Protocol):
    """What can be shown, and written in several forms."""

    def text(self, form: str) -> str:
        """Return it in a form."""

    def show(self) -> None:
        """Print it as people read it."""


def check_endings(outputs: Sequence[Path], endings: Mapping[str, str]) -> None:
    """See that the ending of each file says a form, before there is anything to write.

    Raises: UsageError: one does not.
    """
    from harness.errors import UsageError

    for path in outputs:
        if path.suffix not in endings:
            raise UsageError(f"-o {path}: expected a file that ends with {', '.join(endings)}")


def show(document: Document, form: str | None) -> None:
    """Print a document; without a form as people read it. A reader who has gone is no failure."""
    with contextlib.suppress(BrokenPipeError):
        if form is None:
            document.show()
        else:
            click.echo(document.text(form).rstrip("\n"))


def write(document: Document, outputs: Sequence[Path], endings: Mapping[str, str]) -> None:
    """Write a document to files, each in the form of its ending."""
    from harness.folder.output_file import write_output

    for path in outputs:
        write_output(path, document.text(endings[path.suffix]))
