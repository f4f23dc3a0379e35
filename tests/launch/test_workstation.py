"""The workstation launcher: text and argv; what it shows of a launcher's output."""

import json
from pathlib import Path

import pytest
from harness_launch import workstation
from harness_launch.horovodrun import Elastic, command_line
from harness_launch.launcher_output import Ended, LauncherOutput, restore
from harness_launch.machine import auto_ranks
from harness_launch.workstation import Start, environment

from harness.cli import cli
from harness.errors import HarnessError, Interrupted, UsageError
from harness.names.status_line import Status


@pytest.mark.parametrize("gpus, cores, wanted", [(0, 1, 1), (0, 2, 2), (0, 96, 8), (1, 96, 1), (4, 2, 4), (0, 0, 1)])
def test_auto_ranks(gpus, cores, wanted):
    assert auto_ranks(gpus, cores) == wanted


def test_command_line_keeps_words_whole():
    argv = command_line(["evaluate", "a b.yaml"], ranks=3, comm="gloo", horovodrun="/x/horovodrun", harness=["/x/harness"])
    assert argv == ["/x/horovodrun", "-np", "3", "--gloo", "/x/harness", "evaluate", "a b.yaml"]


def test_environment_shares_the_cores_and_leaves_the_users_word():
    env = environment({"TF_CPP_MIN_LOG_LEVEL": "0", "HOME": "/h", "HARNESS_STATUS": "old"}, 3, 8, "/s")
    assert env == {
        "TF_CPP_MIN_LOG_LEVEL": "0", "HOME": "/h", "HARNESS_THREADS": "2", "OMP_NUM_THREADS": "2",
        "HOROVOD_STALL_CHECK_DISABLE": "1", "PYTHONUNBUFFERED": "1", "HARNESS_STATUS": "/s",
    }  # fmt: skip
    crowded = environment({}, 4, 2, None)
    assert (crowded["HARNESS_THREADS"], crowded["OMPI_MCA_mpi_yield_when_idle"]) == ("1", "1")
    assert "HARNESS_STATUS" not in crowded


def shown(*lines: bytes) -> tuple[bytes, str | None]:
    output = LauncherOutput()
    return b"".join([output.line(line) for line in lines] + [output.rest()]), output.death


@pytest.mark.parametrize(
    "line, wanted",
    [
        (b"[1,0]<stdout>:plain\n", b"plain\n"),
        (b"[0]<stderr>:gloo\n", b"gloo\n"),
        (b"[1,12]<stdout>:one[1,12]<stdout>: line\n", b"one line\n"),
        (b"[1,0]<stdout>:\xe2[1,0]<stdout>:\x94\x80\n", "─\n".encode()),  # inside a character
        (b"[1,1]<stderr>:no end", b"no end"),
        (b"[1,1]<stderr>:said[1,1]<stderr>:\n", b"said\n"),
        (b"[1,1]<stdout>:\n", b"\n"),  # an empty line of a rank stays, one of the launcher goes
        (b"\n", b""),
        (b"[0, 1] list\n", b"[0, 1] list\n"),
        (b"[1,0]<stderr>:WARNING: All log messages before absl::InitializeLog() is called\n", b""),
        (b"I0000 00:00:1.2 port.cc:153] oneDNN\n", b""),
        (b"ssh: connect to host n2: refused\n", b"ssh: connect to host n2: refused\n"),  # not known: shown
    ],
)
def test_a_line_is_shown_without_tags(line, wanted):
    assert shown(line)[0] == wanted


RULE = b"-" * 74 + b"\n"
# As Open MPI 4.1.8 and Horovod 0.28.1 write them.
MPIRUN_KILLED = (
    RULE,
    b"Primary job  terminated normally, but 1 process returned\n",
    b"a non-zero exit code. Per user-direction, the job has been aborted.\n",
    RULE,
    b"[1,0]<stderr>:64 of 153 examples\n",
    RULE,
    b"mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).\n",
    RULE,
)
GLOO_KILLED = (
    b"[1]<stderr>:Killed\n",
    b"Process 1 exit with status code 137.\n",
    b"Terminating remaining workers after failure of Process 1.\n",
    b"Process 0 exit with status code 143.\n",
    b"Traceback (most recent call last):\n",
    b'  File "horovodrun", line 8, in <module>\n',
    b"    raise RuntimeError('Horovod detected that one or more processes exited with non-zero '\n",
    b"RuntimeError: Horovod detected that one or more processes exited with non-zero status, thus causing the job\n",
    b"Process name: 1\n",
    b"Exit code: 137\n",
    b"\n",
)


def test_libraries_are_shown_where_they_are_asked_for():
    line = b"[1,0]<stderr>:I0000 00:00:1.2 port.cc:153] oneDNN\n"
    assert LauncherOutput(verbose=True).line(line) == line.partition(b":")[2]


def test_what_rank_0_does_is_no_line_of_its_output():
    output = LauncherOutput()
    line = Status("counting 3 of 12 files", 0.25, "1.0 of 4.0 GB").for_launcher()
    assert output.line(b"[1,0]<stderr>:" + line) == b""
    assert output.status == Status("counting 3 of 12 files", 0.25, "1.0 of 4.0 GB")
    assert output.line(b"[1,0]<stderr>:" + line[:20] + b"\n") == b"" and output.status == Status("")  # cut off


def test_a_killed_rank_is_named_and_the_launchers_words_are_left_out():
    assert shown(*MPIRUN_KILLED) == (b"64 of 153 examples\n", "rank 1 on vm was killed by signal 9 (SIGKILL)")
    assert shown(*GLOO_KILLED) == (b"Killed\n", "rank 1 was killed by signal 9 (SIGKILL)")


def test_what_a_launcher_says_for_other_reasons_is_shown():
    block = (RULE, b"There are not enough slots available in the system\n", RULE)
    assert shown(*block)[0] == b"".join(block)
    assert shown(*block[:2])[0] == b"".join(block[:2])  # ended in the middle
    trace = (b"Traceback (most recent call last):\n", b"  File x\n", b"ValueError: bad -np\n", b"more\n")
    assert shown(*trace)[0] == b"".join(trace)


@pytest.mark.parametrize(
    "ended, said, wanted",
    [
        (Ended(0), 0, 0),
        (Ended(1), 2, 2),
        (Ended(137, death="rank 1 was killed"), 1, 1),
        (Ended(143, passed=[2]), 0, 0),  # it was done before the signal came
        (Ended(0), None, 0),
        (Ended(4), 4, 4),
        (Ended(4, death="rank 1 ended with 4"), 4, 4),  # one rank got a signal of its own
        (Ended(143, passed=[15], death="rank 1 was killed", killed=True), 4, 4),
    ],
)
def test_exit_code_is_the_jobs_own(ended, said, wanted):
    assert restore(ended, said) == wanted


@pytest.mark.parametrize(
    "ended, kind, code, message",
    [
        (Ended(137, death="rank 1 on vm was killed by signal 9 (SIGKILL)"), HarnessError, 1, "rank 1 on vm was killed by signal 9"),
        (Ended(130, passed=[2], death="rank 0 ended"), Interrupted, 4, "SIGINT was passed on"),
        (Ended(213), HarnessError, 1, "the launcher of the ranks ended with 213"),
    ],
)  # fmt: skip
def test_a_job_that_could_not_say_why_it_ended(ended, kind, code, message):
    with pytest.raises(kind) as caught:
        restore(ended, None)
    assert caught.value.exit_code == code and message in str(caught.value)


@pytest.mark.parametrize(
    "left, starts",
    [
        ({"state": "done", "exit_code": 1}, 1),  # its gate has failed
        ({"state": "done", "exit_code": 5}, 1),
        ({"state": "done", "exit_code": 0}, 1),
        ({"state": "ended", "exit_code": 1}, 3),
        ({"state": "ended", "exit_code": 3}, 3),
        ({"state": "ended", "exit_code": 2}, 1),
    ],
)
def test_what_is_done_is_not_started_again(left, starts, monkeypatch, capsys):
    commands = []

    def run_launcher(argv, env, *_):
        commands.append(argv)
        Path(env["HARNESS_STATUS"]).write_text(json.dumps(left))
        return Ended(1)

    monkeypatch.setattr(workstation, "run_launcher", run_launcher)
    monkeypatch.setattr(workstation, "_start", lambda count, *_: Start(count, "gloo", "horovodrun", "harness"))
    code = workstation.launch(["evaluate", "job.yaml"], ranks="2", comm="gloo", dry_run=False, restarts=2)
    assert (code, len(commands)) == (left["exit_code"], starts)
    assert capsys.readouterr().err.count("with --resume") == starts - 1


def test_ranks_that_were_ended_because_another_was_killed_do_not_hide_it():
    with pytest.raises(HarnessError, match="rank 1 was killed by signal 9; .*--resume goes on from what was finished") as caught:
        restore(Ended(1, death="rank 1 was killed by signal 9", killed=True), 4)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("words", "before", "after", "is_written"),
    [
        ([], None, "new", True),
        ([], "old", "old", True),  # a run that was done, and is judged again
        ([], None, None, False),
        (["--overwrite"], "old", "new", True),
        (["--overwrite"], "old", "old", False),  # it is another run's
    ],
)
def test_a_run_that_is_ended_while_its_gate_is_judged_says_that_its_result_is_there(
    words, before, after, is_written, monkeypatch, tmp_path
):
    run, ends = tmp_path / "run", [Ended(143, passed=[15]), Ended(137, death="rank 0 was killed by signal 9", killed=True)]

    def run_launcher(*_):
        if after not in (None, before):
            write(after)
        return ends.pop(0)

    def write(text):
        run.mkdir(exist_ok=True)
        (run / "new").write_text(text)
        (run / "new").rename(run / "metrics.json")

    monkeypatch.setattr(workstation, "run_launcher", run_launcher)
    monkeypatch.setattr(workstation, "_start", lambda count, *_: Start(count, "gloo", "horovodrun", "harness"))
    for code in (4, 1):
        if before:
            write(before)
        with pytest.raises(HarnessError) as caught:
            workstation.launch(["evaluate", "job.yaml", *words], ranks="2", comm="gloo", dry_run=False, folder=run)
        message = str(caught.value)
        assert caught.value.exit_code == code and ("no result was written" in message) != is_written
        assert (
            "the result is written; the gate of the job, if it has one, was not judged: start it again" in message
        ) == is_written


def test_an_elastic_run_says_where_hosts_are_found_and_how_long_to_wait():
    elastic = Elastic(Path("/x/hosts.sh"), 2, timeout_s=30, interface="eth0")
    argv = command_line(["evaluate", "a.yaml"], ranks=3, comm="gloo", horovodrun="h", harness=["harness"], places=elastic)
    words = "h -np 3 --min-np 2 --host-discovery-script /x/hosts.sh --elastic-timeout 30 --network-interface eth0 --gloo harness"
    assert argv == [*words.split(), "evaluate", "a.yaml"]
    assert "--elastic-timeout" in Elastic(Path("hosts.sh")).words
    assert "HARNESS_THREADS" not in environment({}, None, 8, None)  # how many share a host is not known


@pytest.mark.parametrize(
    "line",
    [
        b"mpirun: Forwarding signal 10 to job\n",
        b"ERROR:root:failure count == 2 -> stop running\n",
        b"[vm:08439] 1 more process has sent help message help-mpi-api.txt / mpi-abort\n",
        b"[vm:08439] 2 more processes have sent help message help-mpi-api.txt / mpi-abort\n",
        b"[vm:03494] [[24920,0],0] ORTE_ERROR_LOG: Out of resource in file /openmpi-4.1.8/orte/util/show_help.c at line 507\n",
        b"[vm:17843] [[10573,0],0] ORTE_ERROR_LOG: Data unpack would read past end of buffer in file show_help.c at line 507\n",
        b"[warn] Epoll MOD(1) on fd 24 failed.  Old events were 6; read change was 0 (none): Bad file descriptor\n",
        b'[vm:08439] Set MCA parameter "orte_base_help_aggregate" to 0 to see all help / error messages\n',
    ],
)
def test_what_launchers_say_of_ranks_that_have_said_it_is_noise(line):
    assert shown(line) == (b"", None)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--min-np", "1"], "--min-np: expected --host-discovery-script with it"),
        (["--mpi", "--host-discovery-script", "JOB"], "ranks come and go over Gloo alone"),
        (["-H", "localhost:2", "--host-discovery-script", "JOB"], "leave -H and --hostfile away"),
    ],
)
def test_elastic_options_that_do_not_go_together(words, said, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text("{model: m, data: {files: d.npz, label: y}, metrics: [accuracy]}")
    argv = ["launch", *(str(job) if word == "JOB" else word for word in words), "--dry-run", "--", "evaluate", str(job)]
    with pytest.raises(UsageError, match=said):
        cli.main(argv, standalone_mode=False)
