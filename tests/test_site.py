"""The site of the pages: it is built without a warning, loads nothing from elsewhere, and breaks where a link or an anchor does."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT, Done, start
from tests.test_packaging import copy_of_the_checkout

LOADED = re.compile(r"""<(?:script|img|iframe|source)[^>]*\bsrc=["']?(?:https?:)?//|<link[^>]*\bhref=["']?(?:https?:)?//[^>]*>""")
WHOLE = ("docs/", "examples/", "slurm/", "launch/", "benchmarks/", "README.md", "LICENSE", "mkdocs.yml", "versions.txt")
WHOLE = (*WHOLE, "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CITATION.cff")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has mkdocs: this one, or that of an environment with the pinned versions."""
    if find_spec("mkdocs") and find_spec("material"):
        return Path(sys.executable)
    folder = tmp_path_factory.mktemp("mkdocs")
    python = folder / "venv" / "bin" / "python"
    pins = [line for line in (ROOT / "versions.txt").read_text().splitlines() if line.startswith("mkdocs")]
    for words in ([sys.executable, "-m", "venv", "venv"], [python, "-m", "pip", "install", "--quiet", *pins]):
        done = start(words, folder, {"PYTHONPATH": ""})
        assert done.code == 0, done.text
    return python


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_of_the_checkout(tmp_path / "checkout", *WHOLE)


def build(python: Path, checkout: Path) -> Done:
    return start([python, "-m", "mkdocs", "build"], checkout, {"PYTHONPATH": "", "NO_MKDOCS_2_WARNING": "1"})


def test_the_site_is_built_and_loads_nothing_from_elsewhere(python: Path, checkout: Path) -> None:
    done = build(python, checkout)
    assert done.code == 0 and "WARNING" not in done.text, done.text
    site = checkout / "build" / "site"
    for page in ("index", "docs/job", "docs/tasks/csv", "docs/tasks/index", "docs/decisions/index", "slurm/index", "SECURITY"):
        assert (site / f"{page}.html").exists(), page
    pages = {path.relative_to(site): path.read_text() for path in site.rglob("*.html")}
    assert {name: LOADED.findall(text) for name, text in pages.items() if LOADED.search(text)} == {}
    places = [entry["location"] for entry in json.loads((site / "search" / "search_index.json").read_text())["docs"]]
    assert {"docs/metrics.html#roc_auc", "docs/tasks/compare.html"} <= set(places)


def test_what_is_broken_ends_the_build_and_is_named(python: Path, checkout: Path) -> None:
    with open(checkout / "docs" / "tasks" / "csv.md", "a") as page:
        page.write("\n[a](../job.md#no-such-key) [b](no-such-page.md) [c](#no-such-heading) [d](../../examples/no_such.py)\n")
    (checkout / "docs" / "lost.md").write_text("# A page that the navigation does not name\n")
    done = build(python, checkout)
    assert done.code == 1
    for name in ("no-such-key", "no-such-page.md", "no-such-heading", "no_such.py", "docs/lost.md"):
        assert name in done.text, done.text
