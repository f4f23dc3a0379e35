"""Paths of the command line that no file can have."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from harness.cli.paths import FilePath


@pytest.mark.parametrize(
    "path, words",
    [("a" * 300, "a name in it has 300 bytes"), ("a/" * 2500, "it has 5000 bytes"), ("a\0b", "there is a NUL byte")],
)
def test_a_path_that_no_file_can_have_is_refused_with_its_option(path, words):
    command = click.Command("evaluate", params=[click.Option(["-o", "--output"], type=FilePath())])
    done = CliRunner().invoke(command, ["-o", path])
    assert done.exit_code == 2
    assert "Invalid value for '-o' / '--output': " in done.output and words in " ".join(done.output.split())
