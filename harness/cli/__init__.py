"""The command line: one console script, `harness`; one file a group of commands, and the options that they share."""

from harness.cli.console import cli, main

__all__ = ["cli", "main"]
