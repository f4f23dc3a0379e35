"""What commands do where nobody reads what they print: no hang, no traceback, and a run that is done is done."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import BIN, ROOT
from tests.report import folders

pytestmark = pytest.mark.slow

# An own process as a launcher would start it, which prints more than a pipe holds.
LOUD = """
import io, os, sys
from harness.names.status_line import StatusLine
from harness_launch.launcher_process import _relay
from harness_launch.launcher_output import LauncherOutput

read, write = os.pipe()
child = os.fork()
if not child:
    os.close(read)
    for number in range(20_000):
        os.write(write, b"a line of some length\\n")
    os._exit(0)
os.close(write)
_relay(os.fdopen(read, "rb"), sys.stdout.buffer, LauncherOutput(), StatusLine())
print(os.waitpid(child, 0)[1], file=sys.stderr)
os._exit(0)
"""


def test_a_launcher_is_read_to_its_end_though_nobody_reads_it(tmp_path):
    reading = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LOUD], stdout=reading.stdin, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "0\n")
    reading.stdin.close()
    reading.wait()


def test_a_closed_stream_is_one_that_nobody_reads(tmp_path):
    run = folders.write(tmp_path / "run", {"accuracy": folders.number(0.5)})
    for command, closed, expected in (
        ("--version", "2>&-", 0),
        (f"show {run}", ">&-", 0),
        (f"report {run} -o {tmp_path}/page.html", "<&- >&- 2>&-", 0),
        ("show nowhere", "2>&-", 2),
    ):
        line = f"{BIN}/harness {command} {closed}"
        assert subprocess.run(["sh", "-c", line], capture_output=True, timeout=60, check=False).returncode == expected, line


# Ends with 7 where a file that is opened gets none of their descriptors, and a process that is started can print.
STREAMS = """
import os, subprocess, sys
from harness.cli.standard_streams import open_closed_streams

open_closed_streams()
print("lost", file=sys.stderr)
print(chr(0xD800))
can_print = subprocess.call(["sh", "-c", "echo lost >&2 && echo lost"]) == 0
is_closed = not sys.stdin.read() and not sys.stderr.isatty() and sys.stdout.fileno() == 1
os._exit(7 if can_print and is_closed and os.open(os.devnull, os.O_RDONLY) > 2 else 1)
"""


def test_the_descriptors_of_closed_streams_are_taken():
    for closed in (">&- 2>&-", "<&- >&- 2>&-"):
        line = f'{sys.executable} -c "$0" {closed}'
        assert subprocess.run(["sh", "-c", line, STREAMS], stdin=subprocess.DEVNULL, timeout=60, check=False).returncode == 7


@pytest.fixture(scope="module")
def job(world, tmp_path_factory):
    return world.job(tmp_path_factory.mktemp("closed") / "job.yaml")


@pytest.mark.parametrize("target", ["/dev/full", "a closed pipe"])
def test_a_run_whose_table_cannot_be_shown_is_done(job, tmp_path, target):
    read, write = os.pipe()
    os.close(read)
    out = write if target == "a closed pipe" else os.open(target, os.O_WRONLY)
    argv = [BIN / "harness", "evaluate", job, "-o", tmp_path / "run"]
    done = subprocess.run(argv, stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=200, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "bug" not in done.stderr, done.stderr
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "done"
    assert not (tmp_path / "run" / "failure.json").exists()
    for command in ("show", "verify"):
        shown = subprocess.run(
            [BIN / "harness", command, tmp_path / "run"], stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
        assert "Traceback" not in shown.stderr and shown.returncode == (0 if target == "a closed pipe" else 1), shown.stderr


def test_expressions_and_evaluations_again_and_again_print_nothing(job, tmp_path):
    code = """
import numpy as np, harness, tensorflow as tf
x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 3
for _ in range(7):
    harness.evaluate(lambda x: tf.nn.softmax(x), {"x": x, "y": y}, ["mean"], label="y == 1", inputs=["x"])
np.savez("d.npz", x=x, y=y)
data = {"files": "d.npz", "label": "y", "transform": "own:doubled", "filter": "own:small", "inputs": {"x": "x"}}
assert harness.evaluate(lambda x: tf.nn.softmax(x), data, ["accuracy"])["accuracy"] > 0
"""
    (tmp_path / "own.py").write_text(
        "def doubled(features):\n    return {**features, 'x': features['x'] * 2}\n"
        "def small(features):\n    return features['x'][:, 0] < 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=200, check=False)
    assert done.returncode == 0 and "AutoGraph" not in done.stderr and "retracing" not in done.stderr, done.stderr
