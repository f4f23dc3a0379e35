"""The table of the design: what each module may import. Read from the source, not from what happens to be loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STDLIB = sys.stdlib_module_names

# What a module may load beyond NumPy and the standard library; a file that is not named may load nothing more.
ALLOWED = {
    "harness/job.py": {"pydantic"},
    "harness/yaml_text.py": {"yaml"},
    "harness/metrics/coco.py": {"pycocotools"},
    "harness/metrics/overlap.py": {"pydantic", "sacrebleu", "rouge_score", "nltk"},
    "harness/metrics": {"pydantic", "tensorflow"},
    "harness/data": {"tensorflow", "google_crc32c", "pyarrow", "fsspec", "pandas"},
    "harness/hvd_comm.py": {"horovod", "mpi4py"},
    "harness/results.py": {"pandas"},
    "harness/answer.py": {"pandas"},
    "harness/report.py": {"rich"},
    "harness/collect.py": {"pandas", "rich"},
    "harness/progress.py": {"rich"},
    "harness/prepare.py": {"tensorflow"},
    "harness/failure.py": {"tensorflow"},
    "harness/check.py": {"tensorflow", "rich"},
    "harness/doctor.py": {"rich", "tensorflow"},
    "harness/parts.py": {"tensorflow", "google_crc32c", "pyarrow"},
    "harness/cli.py": {"click"},
    "launch/kubernetes.py": {"yaml"},
    "launch/spark.py": {"horovod", "pyspark"},
}  # fmt: skip
HEAVY = {"tensorflow", "keras", "horovod", "mpi4py"}
# Modules that put parts together may import anything of the harness; the rest only what the design says stands above.
ABOVE = {
    "harness/urls.py": set(),
    "harness/errors.py": {"harness.urls"},
    "harness/yaml_text.py": {"harness.errors"},
    "harness/keras_names.py": set(),
    "harness/tf_keras_config.py": {"harness", "harness.errors", "harness.keras_names"},
    "harness/exact.py": set(),
    "harness/plan.py": set(),
    "harness/job.py": {"harness.errors", "harness.urls", "harness.yaml_text"},
    "harness/comm.py": set(),
    "harness/interfaces.py": set(),
    "harness/private_folder.py": set(),
    "harness/open_files.py": set(),
    "harness/counter_server.py": {"harness.comm", "harness.interfaces", "harness.open_files"},
    "harness/counter.py": {"harness.comm", "harness.counter_server", "harness.errors", "harness.interfaces"},
    "harness/tickets.py": {"harness.comm", "harness.plan"},
    "harness/schedule.py": {"harness.comm", "harness.counter", "harness.plan", "harness.tickets"},
    "harness/certificate.py": {"harness.plan"},
    "harness/scratch.py": set(),
    "harness/runfolder.py": {"harness.errors", "harness.scratch"},
    "harness/row_store.py": {"harness.rows"},
    "harness/loop.py": {"harness.certificate", "harness.plan", "harness.row_store", "harness.rows", "harness.state"},
    "harness/segment.py": {"harness.grid", "harness.rows"},
    "harness/journal.py": {"harness.errors", "harness.plan", "harness.runfolder", "harness.segment"},
    "harness/commit.py": {"harness.certificate", "harness.loop", "harness.grid", "harness.rows", "harness.segment"},
    "harness/attempts.py": {"harness.errors", "harness.runfolder", "harness.scratch"},
    "harness/match.py": {"harness.data", "harness.errors", "harness.job"},
    "harness/data/npz.py": {"harness.data", "harness.errors", "harness.plan"},
    "harness/data/tfrecord.py": {"harness.data", "harness.errors", "harness.plan", "harness.scratch"},
    "harness/tf_exact.py": {"harness.exact"},
    "harness/tf_model.py": {
        "harness.data",
        "harness.errors",
        "harness.job",
        "harness.tf_factory",
        "harness.tf_keras_model",
        "harness.tf_lite_model",
        "harness.tf_saved_model",
    },
    "harness/hvd_comm.py": {"harness.comm", "harness.errors"},
    "launch/hosts.py": {"harness.errors"},
    "launch/horovod_build.py": {"harness.errors"},
    "launch/network.py": {"harness.errors"},
    "launch/mpirun.py": {"launch.hosts"},
    "launch/launcher_output.py": {"harness.errors"},
    "launch/launcher_process.py": {"launch.launcher_output"},
    "launch/workstation.py": {
        "harness.errors",
        "launch.mpirun",
        "launch.network",
        "launch.horovod_build",
        "launch.hosts",
        "launch.launcher_output",
        "launch.launcher_process",
    },
    "launch/slurm_script.py": {"harness.errors"},
    "launch/slurm.py": {"harness.errors", "harness.scratch"},
    "launch/checkpoints.py": {"harness.errors"},
    "launch/submit.py": {"harness.errors", "harness.job", "launch.checkpoints", "launch.slurm", "launch.slurm_script"},
}


def files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for folder in ("harness", "launch") for path in (ROOT / folder).rglob("*.py"))


def imports(path: str, *, top_level: bool = False) -> set[str]:
    """Names of all modules that a file imports, also inside functions; `from harness import x` is harness.x."""
    tree = ast.parse((ROOT / path).read_text())
    found = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            assert not node.level, f"{path}: relative import"
            whole = node.module in ("harness", "launch")
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if whole else {node.module}
    return found


def allowed(path: str) -> set[str]:
    own = next((names for place, names in ALLOWED.items() if path == place or path.startswith(place + "/")), set())
    return own | ({"tensorflow", "keras", "tf_keras", "h5py"} if Path(path).name.startswith("tf_") else set())


@pytest.mark.parametrize("path", files())
def test_a_module_loads_only_what_the_design_lets_it(path):
    outside = {name.split(".")[0] for name in imports(path)} - STDLIB - {"numpy", "harness", "launch"}
    assert outside <= allowed(path)


@pytest.mark.parametrize("path", files())
def test_tensorflow_horovod_and_mpi_are_loaded_late(path):
    if not Path(path).name.startswith("tf_"):
        assert not {name.split(".")[0] for name in imports(path, top_level=True)} & HEAVY


@pytest.mark.parametrize("path", sorted(ABOVE))
def test_a_module_imports_only_what_stands_above_it(path):
    own = {name for name in imports(path) if name.split(".")[0] in ("harness", "launch")}
    assert own <= ABOVE[path]


@pytest.mark.parametrize("path", files())
def test_nothing_imports_the_command_line_and_only_it_imports_launch(path):
    if path not in ("harness/cli.py", "harness/doctor.py"):  # the doctor asks what the launcher would find
        assert not {name for name in imports(path) if name.startswith(("harness.cli", "launch"))} or path.startswith("launch/")
        assert "harness.cli" not in imports(path)


@pytest.mark.parametrize("path", files())
def test_rank_is_no_word_of_the_plan(path):
    if path in ("harness/plan.py", "harness/exact.py", "harness/state.py", "harness/job.py") or path.startswith(
        "harness/metrics/"
    ):
        names = {node.id for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Name)}
        assert not {name for name in names if name in ("rank", "ranks", "world_size", "comm")}


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
    modules = sorted(p.stem for p in (ROOT / "launch").glob("*.py") if p.stem not in ("__init__", "spark"))
    fresh("import " + ", ".join(f"launch.{name}" for name in modules))


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
