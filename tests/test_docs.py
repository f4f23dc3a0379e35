"""What the README and docs/ say: their commands are run, their jobs validated, their links followed.

A block that begins with ```console holds commands, one after each `$ `. They are run in order, page by page, in a copy of the
checkout. A block under a comment `<!-- not run: why -->` is left out.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from PIL import Image

from harness.cli import cli
from harness.job.job import Job
from harness.job.specs import BootstrapSpec, DataSpec, ExamplesSpec, FeatureSpec, ModelSpec, SlicesSpec

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "slurm/README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
TASKS = "docs/tasks/"  # tests/test_tasks.py does what these pages show
BESIDE = {"CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Return the commands of a page that are run."""
    blocks = [block for skipped, kind, block in BLOCK.findall(text) if kind == "console" and not skipped]
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_commands_are_found() -> None:
    run = "a\n```console\n$ one --x  # why\noutput\n$ two\n```\n"
    skipped = "<!-- not run: slow -->\n```console\n$ three\n```\n"
    page = run + skipped + "```text\n$ four\n```\n"
    assert commands(page) == ["one --x  # why", "two"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout with this environment as its own."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page's commands in the copy, as a user at a prompt would, stopping at the first that fails."""
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{folder / 'launch'}", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    script = f"set -Eeuo pipefail\ntrap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n{script}\n"
    return subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=540, check=False)


@pytest.mark.ranks
@pytest.mark.parametrize("page", [page for page in PAGES if commands((ROOT / page).read_text()) and not page.startswith(TASKS)])
def test_commands_of_a_page_work_as_written(page: str, checkout: Path) -> None:
    if run("launch/install --check", checkout).returncode:
        # make demo would build the environment that runs this test anew.
        pytest.skip("this environment was not made by this checkout's launch/install: run it first")
    if page != "README.md":
        run(".venv/bin/python examples/digits/prepare.py", checkout)
    done = run("\n".join(commands((ROOT / page).read_text())), checkout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def test_pages_that_have_commands() -> None:
    # So that a slip in the fences cannot take all commands out of the test above.
    assert {page for page in PAGES if commands((ROOT / page).read_text())} >= {
        "README.md",
        "docs/data.md",
        "docs/install.md",
        "docs/launch.md",
        "docs/models.md",
        "docs/own-metrics.md",
        "docs/prediction.md",
        "docs/python.md",
        "docs/quickstart.md",
        "docs/resume.md",
        "docs/slices.md",
    }
    assert commands((ROOT / "README.md").read_text())[0].split("#")[0].strip() == "make demo"


def test_the_test_command_of_the_readme_is_what_ci_runs() -> None:
    assert "\n$ make test " in (ROOT / "README.md").read_text()
    commands = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in commands if line.startswith("make ")] == ["make test", "make check-speed", "make test-part"]


def anchors(text: str) -> set[str]:
    """Return the anchors that a git host gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of one; links to elsewhere are not followed."""
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", FENCED.sub("", text)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or target.is_dir() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


def test_broken_links_are_seen() -> None:
    text = "[a](data.md#formats) [b](data.md#shapes) [c](nowhere.md) [d](decisions/) [e](https://example.com/x#y)\n```text\n[f](g)\n```\n"
    assert broken(ROOT / "docs" / "job.md", text) == ["data.md#shapes", "nowhere.md", "decisions/"]


@pytest.mark.parametrize("page", [*PAGES, *sorted(BESIDE)])
def test_links_lead_somewhere(page: str) -> None:
    assert broken(ROOT / page, (ROOT / page).read_text()) == []


def test_the_site_has_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    named = re.findall(r"^ +- (\S+\.md)$", text, re.MULTILINE)
    assert len(named) == len(set(named))
    # docs/site/hooks.py adds the decisions.
    assert {page for page in PAGES if not page.startswith("docs/decisions/")} | BESIDE == set(named)


@pytest.mark.parametrize("page", ["docs/job.md", "docs/data.md"])
def test_jobs_shown_are_valid(page: str) -> None:
    blocks = [yaml.safe_load(block) for _, kind, block in BLOCK.findall((ROOT / page).read_text()) if kind == "yaml"]
    assert blocks
    for block in blocks:
        Job.from_dict(block, where=page)


def test_every_key_of_a_job_is_explained() -> None:
    text = (ROOT / "docs" / "job.md").read_text()
    keys = {key for spec in (ModelSpec, DataSpec, FeatureSpec) for key in spec.model_fields}
    keys |= set(Job.model_fields) - {"model", "data", "metrics"}
    for spec in (SlicesSpec, BootstrapSpec, ExamplesSpec):
        assert [key for key in spec.model_fields if f"`{key}`" not in text and f"{{{key}: " not in text] == []
    assert sorted(key for key in keys - {"dtype", "shape"} if f"\n| `{key}` |" not in text) == []


def test_every_command_is_listed() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    assert (
        sorted(name for name in cli.commands if f"\n| `harness {name} " not in text and f"\n| `harness {name}`" not in text) == []
    )


def test_pictures_of_a_page_are_small_and_as_they_are_taken() -> None:
    assert "](docs/report.png)" in (ROOT / "README.md").read_text()
    pictures = runpy.run_path(str(ROOT / "docs" / "site" / "screenshot.py"))["PICTURES"]
    report = (ROOT / "docs" / "report.md").read_text()
    for name, shape in pictures.items():
        assert f"]({name})" in report and (ROOT / "docs" / name).stat().st_size < 100_000
        with Image.open(ROOT / "docs" / name) as image:
            assert image.size == (shape.width * len(shape.columns), shape.height)


def test_the_picture_of_the_quickstart_is_drawn_from_a_result_and_loads_nothing() -> None:
    picture = runpy.run_path(str(ROOT / "docs" / "site" / "picture.py"))
    kept = (ROOT / "docs" / "result.svg").read_text()
    for svg in (kept, picture["draw"]([picture["COMMAND"], "│ accuracy │ 0.9172 │"])):
        texts = ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        assert texts[0].replace("\xa0", " ").strip() == picture["COMMAND"]
        assert any("accuracy" in text for text in texts)
        assert re.findall(r"https?://[^\s\"]+", svg) == ["http://www.w3.org/2000/svg"]
