"""Hosts from -H, from hostfiles, from Slurm's words; and the command line they become."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_launch.horovodrun import command_line
from harness_launch.hosts import Hosts, allocated, from_file, parse, tasks_by_node
from harness_launch.workstation import launch

from harness.errors import UsageError


def test_hosts_of_the_command_line():
    hosts = parse("n1:4,gpu-2.site.org:2,10.0.0.7")
    assert hosts == Hosts((("n1", 4), ("gpu-2.site.org", 2), ("10.0.0.7", 1)))
    assert (hosts.ranks, hosts.most, str(hosts)) == (7, 4, "n1:4,gpu-2.site.org:2,10.0.0.7:1")
    argv = command_line(
        ["evaluate", "a b.yaml"], ranks=7, comm="gloo", horovodrun="horovodrun", harness=["harness"], places=hosts
    )
    assert argv == [
        "horovodrun",
        "-np",
        "7",
        "-H",
        "n1:4,gpu-2.site.org:2,10.0.0.7:1",
        "--gloo",
        "harness",
        "evaluate",
        "a b.yaml",
    ]


def test_hosts_of_a_file(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# the lab's\nn1 slots=4\n\n  n2   slots = 2  # the old one\nn3:3\nn4\n")
    assert str(from_file(path)) == "n1:4,n2:2,n3:3,n4:1"


@pytest.mark.parametrize(
    "text",
    ["", ",", "n1:", "n1:0", "n1:-1", "n1:x", "n1 n2", "-oProxyCommand=touch${IFS}pwned:1", "n1;touch pwned:1", "$(touch pwned)", "n1:2,n1:2"],
)  # fmt: skip
def test_what_is_no_host_is_refused(text, tmp_path):
    # horovodrun hands the names to ssh and to a shell.
    with pytest.raises(UsageError, match=r"expected HOST:RANKS|stands there twice"):
        parse(text)


@pytest.mark.parametrize(
    "text, found", [("", "names no host"), ("n1\nn2 slots=0\n", "hosts, line 2: expected"), ("n1 max=3", "line 1: expected")]
)
def test_what_is_no_hostfile_is_refused(text, found, tmp_path):
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(UsageError, match=found):
        from_file(tmp_path / "hosts")


def test_a_hostfile_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file or directory"):
        from_file(tmp_path / "hosts")


@pytest.mark.parametrize("text, wanted", [("4", [4]), ("2(x3),1", [2, 2, 2, 1]), ("1,3(x2),1(x1)", [1, 3, 3, 1])])
def test_tasks_by_node(text, wanted):
    assert tasks_by_node(text) == wanted


@pytest.mark.parametrize("text", ["", "x", "2(3)", "2(x3),", "2 3"])
def test_tasks_by_node_of_another_form(text):
    with pytest.raises(UsageError, match="expected a list like"):
        tasks_by_node(text)


def test_outside_of_slurm():
    with pytest.raises(UsageError, match="SLURM_JOB_NODELIST is not set: this is no Slurm job"):
        allocated({})


def test_auto_is_all_that_the_hosts_take(capsys):
    asked = {"comm": None, "dry_run": True, "places": parse("n1:3,n2:2"), "folder": Path("/nowhere")}
    assert launch(["evaluate", "job.yaml"], ranks="auto", **asked) == 0
    assert " -np 5 -H n1:3,n2:2 -bind-to none " in capsys.readouterr().out
    with pytest.raises(UsageError, match="-np 6: n1:3,n2:2 take 5 ranks"):
        launch(["evaluate", "job.yaml"], ranks="6", **asked)
