"""What stays unloaded, and which words stay out of which rooms. The order of the rooms is import-linter's, in pyproject.toml."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"tensorflow", "keras", "horovod", "mpi4py"}
# Rooms and files that need TensorFlow when they are imported; the rest imports it in the functions that use it.
WITH_TENSORFLOW = (
    "harness/step/",
    "harness/models/",
    "harness/exact/tf_",
    "harness/metrics/tf_",
    "harness/run/keras_callback.py",
)
WITHOUT_RANKS = ("harness/plan/", "harness/exact/", "harness/job/", "harness/metrics/", "harness/sums/layout.py")


def files() -> list[str]:
    folders = (ROOT / "harness", ROOT / "launch" / "harness_launch")
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.py"))


def imported_at_top(path: str) -> set[str]:
    """Names of the packages that a file imports when it is imported."""
    packages = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative import"
            packages.add(node.module.partition(".")[0])
    return packages


@pytest.mark.parametrize("path", [path for path in files() if not path.startswith(WITH_TENSORFLOW)])
def test_tensorflow_horovod_and_mpi_are_loaded_late(path):
    assert not imported_at_top(path) & HEAVY


def test_the_rooms_are_all_there_is():
    names = {path.name for path in (ROOT / "harness").iterdir() if path.name != "__pycache__"}
    assert {name for name in names if name.endswith(".py")} == {"__init__.py", "__main__.py", "errors.py", "version.py"}


@pytest.mark.parametrize("path", [path for path in files() if path.startswith(WITHOUT_RANKS)])
def test_rank_is_no_word_of_the_plan(path):
    names = {node.id for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Name)}
    assert not names & {"rank", "ranks", "world_size", "comm"}


FRESH = """
import sys
sys.argv = {argv}
try:
    {run}
except SystemExit as exc:
    assert not exc.code, exc.code
loaded = {{name.split(".")[0] for name in sys.modules}}
sys.exit(", ".join(sorted(loaded & set({heavy}))) or None)
"""


def fresh(run: str, *argv: str) -> None:
    """Run a line in a fresh interpreter and see that it loaded nothing heavy."""
    code = FRESH.format(run=run, argv=["harness", *argv], heavy=sorted(HEAVY))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_launch_loads_nothing_heavy():
    modules = sorted(p.stem for p in (ROOT / "launch" / "harness_launch").glob("*.py") if p.stem not in ("__init__", "spark"))
    fresh("import " + ", ".join(f"harness_launch.{name}" for name in modules))


@pytest.mark.parametrize(
    "argv", [["--help"], ["metrics"], ["metrics", "accuracy"], ["evaluate", "--help"], ["launch", "--help"], ["submit", "--help"]]
)
def test_commands_that_need_no_tensorflow_do_not_load_it(argv):
    fresh("from harness.cli import cli; cli.main(standalone_mode=False)", *argv)


def test_importing_the_harness_loads_nothing_heavy():
    fresh("import harness; harness.evaluate; harness.Results")
    code = "import sys, harness; print([name for name in ('numpy', 'pandas', 'yaml') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_show_loads_no_tensorflow(tmp_path):
    (tmp_path / "metrics.json").write_text(
        '{"metrics": {"a": {"value": 0.5, "examples": 2}}, "certificate": {"examples": 2, "chunks": 1, "id_hash": "00"}}'
    )
    fresh("from harness.cli import cli; cli.main(standalone_mode=False)", "show", str(tmp_path))


def test_watch_loads_no_tensorflow(tmp_path):
    (tmp_path / "status.json").write_text('{"state": "running", "exit_code": null, "attempt": 1}')
    fresh("from harness.cli import cli; cli.main(standalone_mode=False)", "watch", "--once", "--json", str(tmp_path))


def test_the_architecture_page_names_what_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {path.name for path in (ROOT / "harness").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == rooms
    paths = set(re.findall(r"`((?:harness|launch|tests|docs|benchmarks)/[\w/]*\.?\w*)`", text))
    assert len(paths) > 30 and [path for path in paths if not (ROOT / path).exists()] == []
    for names, path in re.findall(r"((?:`\w+`(?: or )?)+) in `(harness/\S+\.py)`", text):
        source = (ROOT / path).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:class|def) {name}\b", source, re.MULTILINE), f"{path} has no {name}"


def test_report_loads_no_tensorflow(tmp_path):
    (tmp_path / "metrics.json").write_text(
        '{"metrics": {"a": {"value": 0.5, "examples": 2}}, "certificate": {"examples": 2, "chunks": 1, "id_hash": "00"}}'
    )
    fresh(
        "from harness.cli import cli; cli.main(standalone_mode=False)",
        "report",
        "--quiet",
        str(tmp_path),
        "-o",
        str(tmp_path / "a.html"),
    )
