"""The variables of the environment: the docs show their table, and no other place of the code names one."""

from __future__ import annotations

import ast
import re
import subprocess

from harness.names.variables import VARIABLES, table
from tests.conftest import ROOT

NAME = re.compile(r"\bHARNESS_[A-Z_]+\b")
TABLE = "harness/names/variables.py"


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_docs_show_the_table() -> None:
    assert table() in (ROOT / "docs" / "install.md").read_text()


def test_every_variable_that_is_named_anywhere_is_in_the_table() -> None:
    paths = tracked("harness", "launch", "slurm", "docs", "examples", "benchmarks", ".ci", "Makefile", "*.md")
    named = {name for path in paths for name in NAME.findall((ROOT / path).read_text(errors="replace"))}
    assert named == {variable.name for variable in VARIABLES}
    assert len(paths) > 200


def test_the_code_takes_names_from_the_table() -> None:
    for path in tracked("harness/*.py", "launch/*.py"):
        if path != TABLE:
            strings = [node.value for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Constant)]
            assert [text for text in strings if isinstance(text, str) and NAME.fullmatch(text)] == [], path
