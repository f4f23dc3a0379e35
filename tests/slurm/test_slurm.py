"""Jobs submitted to a real Slurm of two nodes: what a user does, and what becomes of it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from harness_launch.slurm import Follow, Slurm, exit_code, follow, submit
from harness_launch.slurm_script import Launcher, Resources, Script, Task, script
from harness_launch.submit import Submission, run

from harness.folder.run_folder import RunFolder, read_json
from harness.job.job import Job
from harness.watch.monitor import text_file
from tests.conftest import BIN, ROOT, Made, start
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.ranks

LIMIT_S = 240  # a bound, not a measure
HELP = "-" * 40  # round what Open MPI says in paragraphs
TWO_NODES = {"nodes": "2", "ntasks_per_node": 1}
# Ranks that take so many seconds a chunk in the first start of a job, and none in later ones. Through `harness launch`
# too, whose ranks run what it is told to.
SLOW = """\
#!/bin/bash
if [ "$1" = launch ]; then
    exec {python} -c 'import sys, harness_launch.workstation as w; w._harness = lambda: sys.argv[1]
from harness import cli; cli.main(sys.argv[2:])' "$0" "$@"
fi
if [ "${{SLURM_RESTART_COUNT:-0}}" = 0 ] && [ -z "${{HARNESS_REQUEUES:-}}" ]; then exec {python} -m tests.ranks.slow {seconds} "$@"; fi
exec {harness} "$@"
"""

# Rank 0 dies as it joins the others.
CRASHES = """\
#!/bin/bash
exec {python} -c 'import os, signal, sys
from harness.ranks import horovod_comm
if os.environ.get("PMIX_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "0":
    horovod_comm.HorovodComm.__init__ = lambda self: os.kill(os.getpid(), signal.SIGSEGV)
from harness import cli; cli.main(sys.argv[1:])' "$@"
"""


@dataclass(frozen=True)
class Site:
    """A cluster, jobs to submit, and how a run that nobody disturbed ends."""

    cluster: Cluster
    folder: Path
    job: Path
    quiet: bytes  # metrics.json
    world: Made

    def submit(self, name: str, *, job: Path | None = None, slow_s: float | None = None, **options: Any) -> tuple[str, Path]:
        """Submit like `harness submit` does; return the job's number and the run folder."""
        job, folder = job or self.job, self.folder / name
        resources = Resources(**{"job_name": name, **TWO_NODES, **options.pop("resources", {})})
        harness = (str(self.slow(slow_s)),) if slow_s else options.pop("harness", ())
        wanted = Submission((job,), (Job.load(job),), resources, folder, harness=harness, **options)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert run(wanted, Slurm()) == 0
        return said.getvalue().split()[0], folder

    def slow(self, seconds: float) -> Path:
        """Return a harness that is slow."""
        path = self.folder / f"slow-{seconds}"
        path.write_text(SLOW.format(python=sys.executable, seconds=seconds, harness=BIN / "harness"))
        path.chmod(0o755)
        return path

    def ended(self, job: str) -> dict[str, str]:
        """Wait for a job's end; return what Slurm says of it."""
        return self.until(job, lambda said: said["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"))

    def until(self, job: str, true: Callable[[dict[str, str]], Any]) -> dict[str, str]:
        """Wait until something is true of a job."""
        begun = time.monotonic()
        while not true(said := self.cluster.job(job)):
            assert time.monotonic() - begun < LIMIT_S, said
            time.sleep(0.3)
        return said

    def committed(self, job: str, folder: Path) -> None:
        """Wait until the ranks of a job have committed something: more than the earlier ones."""
        before = {path.name for path in RunFolder(folder).journal.glob("*.segment")}

        def more(said: dict[str, str]) -> bool:
            found = {path.name for path in RunFolder(folder).journal.glob("*.segment")}
            return found > before or said["JobState"] not in ("PENDING", "RUNNING", "CONFIGURING")

        assert self.until(job, more)["JobState"] == "RUNNING", log(folder, job)

    def is_done(self, folder: Path) -> bool:
        """Tell whether the result is that of the quiet run."""
        return (folder / "metrics.json").read_bytes() == self.quiet


def log(folder: Path, job: str) -> str:
    return (folder / f"slurm-{job}.log").read_text()


def attempts(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(folder / "run.json")["attempts"]
    return found


@pytest.fixture(scope="module")
def site(cluster: Cluster, world: Made, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    job = world.job(folder / "job.yaml", chunk_size=8, batch_size=8)
    done = start([BIN / "harness", "evaluate", job, "-o", folder / "quiet"], folder)
    assert done.code == 0, done.text
    return Site(cluster, folder, job, (folder / "quiet" / "metrics.json").read_bytes(), world)


@pytest.fixture(scope="module", autouse=True)
def limited(site: Site) -> tuple[str, Path]:
    """A run that meets its time limit, while the other tests go on: slurmctld looks at those twice a minute."""
    return site.submit("limited", slow_s=8, resources={"time": "2"})


def test_submit_and_wait_under_hostile_names(site: Site) -> None:
    """Everything that comes from outside is quoted: to sbatch, to bash, and from there to the ranks."""
    name = """it's "100%" $(touch pwned) `touch pwned`; touch pwned # &"""
    folder, job = site.folder / name, site.folder / f"{name}.yaml"
    site.world.job(job, chunk_size=8, batch_size=8)
    argv = [
        "harness",
        "submit",
        job,
        "-o",
        folder,
        "--nodes",
        "2",
        "--ntasks-per-node",
        "1",
        "--cpus-per-task",
        "2",
        "--wait",
        "--",
        "--comment",
        name,
    ]
    done = start(argv, site.folder)
    assert done.code == 0, done.text
    number = done.out.split()[0]
    assert f"harness: job {number} completed" in done.err
    assert "through srun (srun --mpi=pmix works here)" in done.out
    assert done.out.endswith(log(folder, number))  # --wait shows the log
    assert site.is_done(folder)
    (attempt,) = attempts(folder)
    assert [(rank["host"], rank["threads"]) for rank in attempt["ranks"]] == [("n1", 2), ("n2", 2)]
    # This cluster measures no energy: Slurm was asked, and there is no number.
    energy = attempt["usage"]["slurm"]
    assert (energy["job"], energy["joules"]) == (number, None) and energy["step"].isdigit() and energy["reason"]
    shown = site.cluster.run("scontrol", "-o", "show", "job", number)
    assert f"JobName={name} " in shown
    assert f"Comment={name} " in shown
    assert list(site.folder.rglob("pwned")) == []


def test_the_script_as_it_stands(site: Site) -> None:
    """slurm/evaluate.sbatch, through horovodrun on two nodes; and the exit code of a command that is wrong."""

    def sbatch(name: str, launcher: str, *more: str) -> str:
        options = ["--nodes=2", "--ntasks-per-node=1", f"--output={site.folder / name}.log"]
        environ = f"--export=ALL,RUN={site.folder / name},LAUNCHER={launcher},VENV={sys.prefix}"
        return site.cluster.run("sbatch", "--parsable", *options, environ, ROOT / "slurm" / "evaluate.sbatch", site.job, *more)

    wrong, right = sbatch("wrong", "auto", "--set", "metrics=[acuracy]"), sbatch("standing", "horovodrun")
    said, text = site.ended(right), (site.folder / "standing.log").read_text()
    assert (said["JobState"], said["ExitCode"]) == ("COMPLETED", "0:0"), text
    assert "through horovodrun (as it was asked for)" in text
    assert site.is_done(site.folder / "standing")
    assert [rank["host"] for rank in attempts(site.folder / "standing")[0]["ranks"]] == ["n1", "n2"]
    said = site.ended(wrong)
    assert (said["JobState"], said["ExitCode"]) == ("FAILED", "2:0")
    assert "did you mean 'accuracy'?" in (site.folder / "wrong.log").read_text()


def test_a_failing_rank_fails_the_job(site: Site) -> None:
    broken = site.folder / "broken.tfrecord"
    data = bytearray(site.world.first_file.read_bytes())
    data[-20] ^= 1
    broken.write_bytes(data)
    job = site.world.job(site.folder / "broken.yaml", chunk_size=8, batch_size=8, data={"files": [str(broken)]})
    number, folder = site.submit("failing", job=job)
    said = site.ended(number)
    assert (said["JobState"], said["ExitCode"], said["Restarts"]) == ("FAILED", "1:0", "0")
    # Whichever drew the chunk: rank 0 is on n1, rank 1 on n2.
    found = re.search(r"harness: error: (rank 0 on n1|rank 1 on n2): .*broken.tfrecord, record 76 at byte ", log(folder, number))
    assert found, log(folder, number)
    assert read_json(folder / "failure.json")["host"] == found[1].split()[-1]
    assert not (folder / "metrics.json").exists()


def test_a_killed_rank_fails_the_job(site: Site, tmp_path: Path) -> None:
    """The rank that is well says that it was interrupted; the script knows better. Submitted again the run goes on.

    It is monitored on both nodes, has prices, and is handed on once it is done: not a byte of the result knows of that.
    """
    prices = {"node_hour": 3.6, "currency": "EUR"}
    beside = {"monitor": {"textfile": str(tmp_path)}, "cost": prices, "export": [f"csv={tmp_path}/all.csv"]}
    job = site.world.job(site.folder / "beside.yaml", chunk_size=8, batch_size=8, **beside)
    number, folder = site.submit("killed", job=job, slow_s=1)
    site.committed(number, folder)
    pages = [text_file(tmp_path, folder, rank) for rank in range(2)]  # a node's own
    site.until(number, lambda _: all(page.exists() for page in pages))
    for rank, page in enumerate(pages):
        assert re.findall(r'^harness_examples_total\{rank="(\d+)"', page.read_text(), re.MULTILINE) == [str(rank)]
    pid = read_json(RunFolder(folder).heartbeat(1))["pid"]
    site.cluster.run("srun", f"--jobid={number}", "--overlap", "--mpi=none", "-N1", "-n1", "-w", "n2", "kill", "-KILL", str(pid))
    said = site.ended(number)
    assert (said["JobState"], said["ExitCode"]) == ("FAILED", "1:0"), log(folder, number)
    assert f"[slurm] a rank was killed, the last of it is in {folder}/progress/rank-00001.json: by the kernel" in log(
        folder, number
    )
    assert "requeue" not in log(folder, number)
    assert read_json(folder / "status.json") == {"attempt": 1, "exit_code": 1, "state": "failed"}
    failure = read_json(folder / "failure.json")
    assert (failure["rank"], failure["host"], failure["message"]) == (1, "n2", "rank 1 on n2 ended: Killed")
    assert not (tmp_path / "all.csv").exists()
    number, _ = site.submit("killed", job=job)
    assert site.ended(number)["ExitCode"] == "0:0", log(folder, number)
    assert site.is_done(folder) and not (folder / "failure.json").exists()
    assert attempts(folder)[-1]["chunks_resumed"] > 0
    assert read_json(folder / "run.json")["cost"]["prices"]["currency"] == "EUR"
    assert pd.read_csv(tmp_path / "all.csv")["run"].tolist() == ["killed"]
    assert list(tmp_path.glob("*.prom")) == []


@pytest.mark.parametrize("launcher", [Launcher.SRUN, Launcher.MPIRUN])
def test_a_rank_that_crashes_before_anything_is_evaluated_fails_the_job(site: Site, launcher: Launcher) -> None:
    """The other one, told to leave by the launcher, says that it was interrupted: its code is not the job's."""
    path = site.folder / "crashes"
    path.write_text(CRASHES.format(python=sys.executable))
    path.chmod(0o755)
    number, folder = site.submit(f"crashed-{launcher}", harness=(str(path),), launcher=launcher)
    said = site.ended(number)
    assert (said["JobState"], said["ExitCode"], said["Restarts"]) == ("FAILED", "1:0", "0"), log(folder, number)
    assert re.search(r"\[slurm\] rank 0 on n1 crashed \(.*Segmentation fault.*\)", log(folder, number)), log(folder, number)


def test_what_was_cancelled_and_what_was_requeued_enough_goes_on(site: Site) -> None:
    """One run of three jobs: scancel; the signal before the limit, through horovodrun; to the end on one rank."""
    number, folder = site.submit("stopped", slow_s=1)
    site.committed(number, folder)
    site.cluster.run("scancel", number)
    assert site.ended(number)["JobState"] == "CANCELLED"
    assert read_json(folder / "status.json")["state"] == "interrupted"
    assert "harness: interrupted by SIGTERM; what was finished is kept, --resume goes on from there" in log(folder, number)
    assert HELP not in log(folder, number)
    number, _ = site.submit("stopped", slow_s=1, launcher=Launcher.HOROVODRUN, max_requeues=0)
    site.committed(number, folder)
    site.cluster.run("scancel", "--batch", "--signal=USR1", number)
    said = site.ended(number)
    assert (said["JobState"], said["ExitCode"]) == ("FAILED", "4:0"), log(folder, number)
    assert "not done after 0 requeues, the most that were allowed" in log(folder, number)
    number, _ = site.submit("stopped", resources={"nodes": None, "ntasks_per_node": None, "ntasks": 1})
    assert site.ended(number)["JobState"] == "COMPLETED", log(folder, number)
    assert site.is_done(folder)
    resumed = [attempt["chunks_resumed"] for attempt in attempts(folder)]
    assert 0 == resumed[0] < resumed[1] < resumed[2]


def test_a_job_that_may_not_be_requeued_is_followed_by_another(site: Site) -> None:
    """The signal before the limit, through mpirun."""
    first, folder = site.submit("chained", slow_s=1, launcher=Launcher.MPIRUN, resources={"sbatch_words": ("--no-requeue",)})
    site.committed(first, folder)
    site.cluster.run("scancel", "--batch", "--signal=USR1", first)
    said = site.ended(first)
    assert (said["JobState"], said["ExitCode"]) == ("FAILED", "4:0"), log(folder, first)
    after = (folder / "slurm-next").read_text().strip()
    assert f"this job cannot be requeued: job {after} goes on after it" in log(folder, first)
    # --wait goes on to the job after it, and shows the output of both.
    out, err = io.StringIO(), io.StringIO()
    states = follow(first, Follow(Slurm(), lambda job: folder / f"slurm-{job}.log", folder / "slurm-next", 0.3, out, err))
    assert [(state.job, state.state) for state in states] == [(after, "COMPLETED")], log(folder, after)
    assert exit_code(states) == 0
    assert out.getvalue() == log(folder, first) + log(folder, after)
    assert f"harness: job {first} failed, exit code 4\n" in err.getvalue()
    assert err.getvalue().endswith(f"harness: job {after} completed\n")
    assert site.is_done(folder)
    ended = attempts(folder)[-1]
    assert ended["chunks_resumed"] > 0
    assert [rank["host"] for rank in ended["ranks"]] == ["n1", "n2"]


def test_sbatch_understands_every_name(site: Site) -> None:
    """What the quotes of a script's head hold is what Slurm has: job by job, none of which is started."""
    names = [
        "a b", 'a"b', "a'b", "a\\b", "a\\", '\\"', "a#b", "#", "$HOME", "$(touch pwned)", "`touch pwned`", "a;touch pwned", "%j %A", "-n", "--wrap=x",
        "ünïcode", "a\tb", "*", "~", "a=b", " a", "a ", "'", '"', "!x",
    ]  # fmt: skip
    found = []
    for name in names:
        task = Task(str(site.folder / "x"), ("evaluate", "x"))
        said = Script(
            (task,), Resources(job_name=name, sbatch_words=("--hold", "--comment", f"{name}.")), str(site.folder / "x.log")
        )
        number = submit(script(said), site.folder / "held", Slurm())
        shown = site.cluster.run("scontrol", "-o", "show", "job", number)
        found.append((re.findall(r"JobName=(.*?) UserId=", shown)[0], re.findall(r" Comment=(.*?)\.(?: |$)", shown)[0]))
        site.cluster.run("scancel", number)
    assert found == [(name, name) for name in names]
    assert list(site.folder.rglob("pwned")) == []


def test_one_task_of_an_array_goes_on_after_its_limit(site: Site) -> None:
    """The others are not put back with it."""
    jobs = tuple(site.world.job(site.folder / f"{name}.yaml", chunk_size=8, batch_size=8) for name in ("one", "two"))
    said = Resources(job_name="pair", ntasks=1)
    wanted = Submission(
        jobs, tuple(Job.load(job) for job in jobs), said, site.folder / "pair", harness=(str(site.slow(0.3)),), array=True
    )
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run(wanted, Slurm()) == 0
    array = out.getvalue().strip()
    site.committed(f"{array}_1", site.folder / "pair" / "two")
    site.cluster.run("scancel", "--batch", "--signal=USR1", f"{array}_1")
    err = io.StringIO()
    states = follow(array, Follow(Slurm(), poll_s=0.3, err=err))
    assert (len(states), exit_code(states)) == (2, 0)
    assert err.getvalue().endswith(f"harness: job {array}: 2 completed\n")
    first, second = site.cluster.job(f"{array}_0"), site.cluster.job(f"{array}_1")
    assert [(said["JobState"], said["Restarts"]) for said in (first, second)] == [("COMPLETED", "0"), ("COMPLETED", "1")]
    assert site.is_done(site.folder / "pair" / "one")
    assert site.is_done(site.folder / "pair" / "two")
    assert attempts(site.folder / "pair" / "two")[-1]["chunks_resumed"] > 0
    assert "[slurm] requeue 1 of 10" in (site.folder / "pair" / f"slurm-{array}_1.log").read_text()


def test_an_array_of_checkpoints_and_its_table(site: Site) -> None:
    """Checkpoints are found by looking; each is a task; a job after the array makes the table, also where one has failed."""
    models = site.folder / "checkpoints"
    models.mkdir()
    (models / "one: {x}").symlink_to(site.world.folder / "classifier")
    (models / "two.keras").symlink_to(site.world.folder / "classifier.keras")
    (models / "wrong").mkdir()  # no model in there
    argv = [
        "harness",
        "submit",
        site.job,
        "-o",
        site.folder / "sweep",
        "--array",
        "--checkpoints",
        f"{models}/*",
        "--watch",
        "1",
        "--patience",
        "2",
        "--ntasks",
        "1",
        "--wait",
    ]
    done = start(argv, site.folder)
    assert done.code == 2, done.text  # the worst of them
    array = done.out.split()[0]
    states = {task: site.cluster.job(f"{array}_{task}") for task in range(3)}
    assert {task: (said["JobState"], said["ExitCode"]) for task, said in states.items()} == {
        0: ("COMPLETED", "0:0"), 1: ("COMPLETED", "0:0"), 2: ("FAILED", "2:0"),
    }  # fmt: skip
    for frame in (pd.read_csv(site.folder / "sweep" / "summary.csv"), pd.read_parquet(site.folder / "sweep" / "summary.parquet")):
        assert [Path(run).name for run in frame["run"]] == ["one: {x}", "two.keras", "wrong"]
        assert frame["state"].tolist() == ["done", "done", "failed"]
        assert frame["exit_code"].tolist() == [0, 0, 2]
        value = json.loads(site.quiet)["metrics"]["accuracy"]["value"]
        assert frame["accuracy"].tolist()[:2] == [value, value]
        assert frame["accuracy"].isna().tolist() == [False, False, True]
    assert "two.keras" in done.out  # the table, from the log of the job that made it


def test_an_array_whose_jobs_have_gates(site: Site) -> None:
    """Each task ends with the exit code of its gate, and is not started again; the first in order that passes is kept."""
    bounds = {"a": 0.99, "b": 0.65, "c": 0.5, "d": 0.4}
    jobs = [
        site.world.job(site.folder / f"gate-{name}.yaml", gate=[{"accuracy": {"at_least": bound}}])
        for name, bound in bounds.items()
    ]
    folder = site.folder / "gates"
    done = start(["harness", "submit", *jobs, "--array", "-o", folder, "--ntasks", "1", "--wait"], site.folder)
    assert done.code == 1, done.text  # the worst of them
    array = done.out.split()[0]
    states = [site.cluster.job(f"{array}_{task}") for task in range(4)]
    assert [(said["ExitCode"], said["Restarts"]) for said in states] == [("1:0", "0"), ("5:0", "0"), ("0:0", "0"), ("0:0", "0")]
    assert [len(attempts(folder / job.stem)) for job in jobs] == [1] * 4
    assert pd.read_csv(folder / "summary.csv")["exit_code"].tolist() == [1, 5, 0, 0]
    assert pd.read_csv(folder / "first_pass.csv")["run"].tolist() == [str(folder / "gate-c")]
    # Submitted again with other rules it is judged again, and evaluates nothing.
    number, folder = site.submit("gates/gate-a", job=jobs[3], resources={"ntasks": 1, "nodes": "1"})
    assert site.ended(number)["ExitCode"] == "0:0" and len(attempts(folder)) == 1


def test_each_task_sees_a_gpu_of_its_own(site: Site, tmp_path: Path) -> None:
    """Under srun; mpirun shows each rank all of its node's, and the harness takes one by its place on the node."""
    fake = tmp_path / "harness"
    fake.write_text(
        '#!/bin/bash\necho "task $(hostname) ${OMPI_COMM_WORLD_LOCAL_RANK:-$SLURM_LOCALID} sees $CUDA_VISIBLE_DEVICES"\n'
    )
    fake.chmod(0o755)
    found = {}
    for launcher in ("srun", "mpirun"):
        options = ["--nodes=2", "--ntasks-per-node=2", "--gpus-per-task=1", f"--output={tmp_path}/{launcher}.log", "--wait"]
        environ = (
            f"--export=ALL,RUN={tmp_path}/{launcher},LAUNCHER={launcher},VENV={tmp_path},PATH={tmp_path}:{BIN}:/usr/bin:/bin"
        )
        site.cluster.run("sbatch", *options, environ, ROOT / "slurm" / "evaluate.sbatch", site.job, check=False)
        found[launcher] = sorted(re.findall(r"task (\S+) (\d) sees (\S*)", (tmp_path / f"{launcher}.log").read_text()))
    assert found["srun"] == [("n1", "0", "0"), ("n1", "1", "1"), ("n2", "0", "0"), ("n2", "1", "1")]
    assert found["mpirun"] == [("n1", "0", "0,1"), ("n1", "1", "0,1"), ("n2", "0", "0,1"), ("n2", "1", "0,1")]


def test_a_run_goes_on_after_its_time_limit(site: Site, limited: tuple[str, Path]) -> None:
    number, folder = limited
    said = site.ended(number)
    assert (said["JobState"], said["ExitCode"], said["Restarts"]) == ("COMPLETED", "0:0", "1"), log(folder, number)
    assert "[slurm] SIGUSR1: all ranks are asked to commit and to leave" in log(folder, number)
    assert "[slurm] requeue 1 of 10" in log(folder, number)
    assert site.is_done(folder)
    _, second = attempts(folder)
    assert second["chunks_resumed"] > 0
    done = start(["harness", "verify", folder], site.folder)
    assert done.code == 0, done.text
