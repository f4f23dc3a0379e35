"""The pages under docs/tasks/: what they show is done in their order, in one copy of examples/tasks.

Commands after `$ ` are run. A block of YAML or Python whose first line names a file, as in `# costs.py`, is saved under that name;
any other Python is run. Commands of the harness that need no shell are forked from one process that has loaded TensorFlow.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, command, start
from tests.test_docs import BLOCK

TASKS = ROOT / "docs" / "tasks"
INDEX = "README.md"
WITH_RANKS = {"gpus.md", "resume.md", "training.md"}
NAMED = re.compile(r"# (\S+\.(?:yaml|py))\n")
ROW = re.compile(r"^ *[│┃] *(.*?) *[│┃]", re.MULTILINE)  # of a table: its first cell
SHELL = re.compile(r"[|&<>;]")
CLUSTER = "<!-- not run: needs a cluster -->\n"  # tests/slurm/test_task_page.py has one
SCREEN = 44  # lines of a page


def blocks(page: str, *, on_a_cluster: bool = False) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each block of a page that is run here, or of each that needs a cluster."""
    for left_out, kind, text in BLOCK.findall((TASKS / page).read_text()):
        assert left_out in ("", CLUSTER)
        if bool(left_out) == on_a_cluster:
            yield kind, text


PAGES = sorted(path.name for path in TASKS.glob("*.md") if path.name != INDEX)


def prepared(examples: Path) -> Path:
    """Return examples/tasks with its models and data, beside the other examples."""
    shutil.copytree(ROOT / "examples" / "python", examples / "python")
    folder = examples / "tasks"
    folder.mkdir()
    for name in ("prepare.py", "flowers.yaml"):
        shutil.copy(ROOT / "examples" / "tasks" / name, folder)
    done = start([sys.executable, "prepare.py"], folder)
    assert done.code == 0, done.text
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("examples"))


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.ranks] * (page in WITH_RANKS)) for page in PAGES])
def test_a_page_does_what_it_shows(
    page: str, folder: Path, cli_server: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(folder)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    names: dict[str, object] = {}
    shown = ""
    for kind, text in blocks(page):
        named = NAMED.match(text)
        if named:
            (folder / named[1]).write_text(text)
        elif kind == "yaml":
            assert yaml.safe_load(text)
        elif kind == "python":
            exec(compile(text, page, "exec"), names)
        elif kind == "console":
            shown = "".join(run(line.removeprefix("$ "), folder, cli_server, tmp_path) for line in text.splitlines())
        elif kind == "text":
            assert {name for name in ROW.findall(text) if name not in ROW.findall(shown)} == set()


def run(line: str, folder: Path, server: subprocess.Popen[str], scratch: Path) -> str:
    """Run a line of a page, and return what it prints."""
    words = shlex.split(line, comments=True)
    if words[0] == "harness" and "launch" not in words and not SHELL.search(re.sub("'.*?'", "", line)):
        done = command(server, scratch, *words[1:], cwd=folder)
    else:
        done = start(["bash", "-ec", line], folder, {"OMPI_MCA_rmaps_base_oversubscribe": "1"})
    assert done.code == 0, f"{line}\n{done.text[-3000:]}"
    return done.text


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_a_screen_with_something_to_run(page: str) -> None:
    text = (TASKS / page).read_text()
    assert len(text.splitlines()) <= SCREEN
    assert {"console", "python"} & {kind for kind, _ in blocks(page)}
    assert f"]({page})" in (TASKS / INDEX).read_text()


def test_the_index_says_how_the_files_are_made() -> None:
    lines = [text for kind, text in blocks(INDEX) if kind == "console"]
    assert lines == ["$ . .venv/bin/activate\n$ cd examples/tasks\n$ python prepare.py\n"]
    assert os.access(ROOT / "examples" / "tasks" / "prepare.py", os.R_OK)
