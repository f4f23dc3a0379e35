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
    "harness/job/job.py": {"pydantic"},
    "harness/job/yaml_text.py": {"yaml"},
    "harness/metrics/coco.py": {"pycocotools"},
    "harness/metrics/overlap.py": {"pydantic", "sacrebleu", "rouge_score", "nltk"},
    "harness/metrics": {"pydantic", "tensorflow"},
    "harness/data": {"tensorflow", "google_crc32c", "pyarrow", "fsspec", "pandas"},
    "harness/ranks/horovod_comm.py": {"horovod", "mpi4py"},
    "harness/results/files.py": {"pandas"},
    "harness/results/results.py": {"pandas"},
    "harness/results/terminal.py": {"rich"},
    "harness/results/collect.py": {"pandas", "rich"},
    "harness/watch/progress.py": {"rich"},
    "harness/prepare/prepare.py": {"tensorflow"},
    "harness/watch/failure.py": {"tensorflow"},
    "harness/run/check.py": {"tensorflow", "rich"},
    "harness/run/doctor.py": {"rich", "tensorflow"},
    "harness/predictions/prediction_files.py": {"tensorflow", "google_crc32c", "pyarrow"},
    "harness/cli.py": {"click"},
    "launch/harness_launch/kubernetes.py": {"yaml"},
    "launch/harness_launch/spark.py": {"horovod", "pyspark"},
}  # fmt: skip
HEAVY = {"tensorflow", "keras", "horovod", "mpi4py"}
# Modules that put parts together may import anything of the harness; the rest only what the design says stands above.
ABOVE = {
    "harness/names/urls.py": set(),
    "harness/errors.py": {"harness.names.urls"},
    "harness/job/yaml_text.py": {"harness.errors"},
    "harness/models/keras_names.py": set(),
    "harness/models/keras_config.py": {"harness", "harness.errors", "harness.models.keras_names"},
    "harness/exact/limbs.py": set(),
    "harness/plan/plan.py": set(),
    "harness/job/job.py": {"harness.errors", "harness.names.urls", "harness.job.yaml_text"},
    "harness/ranks/comm.py": set(),
    "harness/ranks/interfaces.py": set(),
    "harness/data/private_folder.py": set(),
    "harness/ranks/open_files.py": set(),
    "harness/ranks/counter_server.py": {"harness.ranks.comm", "harness.ranks.interfaces", "harness.ranks.open_files"},
    "harness/ranks/counter.py": {
        "harness.ranks.comm",
        "harness.ranks.counter_server",
        "harness.errors",
        "harness.ranks.interfaces",
    },
    "harness/ranks/tickets.py": {"harness.ranks.comm", "harness.plan.plan"},
    "harness/ranks/schedule.py": {"harness.ranks.comm", "harness.ranks.counter", "harness.plan.plan", "harness.ranks.tickets"},
    "harness/plan/certificate.py": {"harness.plan.plan"},
    "harness/names/scratch.py": set(),
    "harness/folder/run_folder.py": {"harness.errors", "harness.names.scratch"},
    "harness/sums/row_store.py": {"harness.sums.rows"},
    "harness/run/loop.py": {
        "harness.plan.certificate",
        "harness.plan.plan",
        "harness.sums.row_store",
        "harness.sums.rows",
        "harness.sums.layout",
    },
    "harness/folder/segment.py": {"harness.sums.grid", "harness.sums.rows"},
    "harness/folder/journal.py": {"harness.errors", "harness.plan.plan", "harness.folder.run_folder", "harness.folder.segment"},
    "harness/folder/commit.py": {
        "harness.plan.certificate",
        "harness.run.loop",
        "harness.sums.grid",
        "harness.sums.rows",
        "harness.folder.segment",
    },
    "harness/folder/attempts.py": {"harness.errors", "harness.folder.run_folder", "harness.names.scratch"},
    "harness/prepare/input_binding.py": {"harness.data", "harness.errors", "harness.job.job"},
    "harness/data/npz.py": {"harness.data", "harness.errors", "harness.plan.plan"},
    "harness/data/tfrecord.py": {"harness.data", "harness.errors", "harness.plan.plan", "harness.names.scratch"},
    "harness/exact/tf_limbs.py": {"harness.exact.limbs"},
    "harness/models/model.py": {
        "harness.data",
        "harness.errors",
        "harness.job.job",
        "harness.models.factory",
        "harness.models.keras_file",
        "harness.models.tflite",
        "harness.models.saved_model",
    },
    "harness/ranks/horovod_comm.py": {"harness.ranks.comm", "harness.errors"},
    "launch/harness_launch/hosts.py": {"harness.errors"},
    "launch/harness_launch/horovod_build.py": {"harness.errors"},
    "launch/harness_launch/network.py": {"harness.errors"},
    "launch/harness_launch/mpirun.py": {"harness_launch.hosts"},
    "launch/harness_launch/launcher_output.py": {"harness.errors"},
    "launch/harness_launch/launcher_process.py": {"harness_launch.launcher_output"},
    "launch/harness_launch/workstation.py": {
        "harness.errors",
        "harness_launch.mpirun",
        "harness_launch.network",
        "harness_launch.horovod_build",
        "harness_launch.hosts",
        "harness_launch.launcher_output",
        "harness_launch.launcher_process",
    },
    "launch/harness_launch/slurm_script.py": {"harness.errors"},
    "launch/harness_launch/slurm.py": {"harness.errors", "harness.names.scratch"},
    "launch/harness_launch/checkpoints.py": {"harness.errors"},
    "launch/harness_launch/submit.py": {
        "harness.errors",
        "harness.job.job",
        "harness_launch.checkpoints",
        "harness_launch.slurm",
        "harness_launch.slurm_script",
    },
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
    if path not in ("harness/cli.py", "harness/run/doctor.py"):  # the doctor asks what the launcher would find
        assert not {name for name in imports(path) if name.startswith(("harness.cli", "launch"))} or path.startswith("launch/")
        assert "harness.cli" not in imports(path)


@pytest.mark.parametrize("path", files())
def test_rank_is_no_word_of_the_plan(path):
    if path in (
        "harness/plan/plan.py",
        "harness/exact/limbs.py",
        "harness/sums/layout.py",
        "harness/job/job.py",
    ) or path.startswith("harness/metrics/"):
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
