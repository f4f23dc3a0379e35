"""The options -q and -v, which every command takes: behind its name, or before it."""

from __future__ import annotations

import sys

import click

from harness.names.verbosity import be_verbose

__all__ = ["add_verbosity", "is_quiet", "remark", "words"]

QUIET, VERBOSE = "harness.quiet", "harness.verbose"  # in what the contexts of a command line share


def add_verbosity(command: click.Command) -> click.Command:
    """Give a command -q and -v."""
    command.params += [
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_quiet,
            help="No progress, no remarks: what was asked for, warnings and errors alone.",
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_verbose,
            help="What TensorFlow and other libraries say too, and tracebacks.",
        ),
    ]  # fmt: skip
    return command


def is_quiet() -> bool:
    """Whether this command line says -q."""
    return bool(click.get_current_context().meta.get(QUIET))


def remark(text: str) -> None:
    """Say what nobody has to know."""
    if not is_quiet():
        click.echo(text, file=sys.stderr)


def words() -> list[str]:
    """Return what other processes of this command are told."""
    meta = click.get_current_context().meta
    return [option for option, key in (("-q", QUIET), ("-v", VERBOSE)) if meta.get(key)]


def _quiet(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        context.meta[QUIET] = True


def _verbose(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        context.meta[VERBOSE] = True
        be_verbose()
