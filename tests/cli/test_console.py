"""What must be quick loads little: commands that look at no model do not load TensorFlow, nor do they need Horovod."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "horovod", "mpi4py")
CODE = """
import sys
from harness import cli
import os
os._exit = lambda code: None
sys.stdout = open(os.devnull, "w")
cli.main(sys.argv[2:])
sys.stderr.write("loaded: " + " ".join(name for name in sys.argv[1].split(",") if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("args", "forbidden"),
    [
        (["--help"], (*HEAVY, "numpy", "pandas", "rich", "pydantic", "yaml")),
        (["--version"], (*HEAVY, "numpy", "pandas", "rich", "pydantic", "yaml")),
        (["evaluate", "--help"], (*HEAVY, "numpy", "pandas", "rich", "pydantic", "yaml")),
        (["metrics"], HEAVY),
        (["metrics", "f_beta"], HEAVY),
        (["show", "nowhere"], HEAVY),
        (["check", "nowhere.yaml"], HEAVY),
        (["launch", "--dry-run", "-np", "2", "--gloo", "--", "evaluate", "job.yaml"], HEAVY),
        (["launch", "--dry-run", "-np", "2", "--gloo", "--", "evaluate", __file__, __file__], HEAVY),
    ],
)
def test_a_command_loads_no_more_than_it_needs(args: list[str], forbidden: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, ",".join(forbidden), *args], capture_output=True, text=True, check=True)
    assert done.stderr.split("loaded: ")[1] == ""


def test_help_answers_at_once() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "from harness.cli import main; main(['--help'])"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor, for others may be at work here: alone that is the time until it is there.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def test_the_package_is_the_console_script() -> None:
    done = subprocess.run([sys.executable, "-m", "harness", "--help"], capture_output=True, text=True, check=True)
    assert "evaluate" in done.stdout and done.stderr == ""


def test_a_package_that_is_loaded_is_found() -> None:
    done = subprocess.run([sys.executable, "-c", CODE, "click,numpy", "--help"], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("loaded: click")


def test_the_import_of_tensorflow_leaves_the_process_as_it_was() -> None:
    code = """
import gc, sys
from harness.step import tensorflow as tf_setup
for wanted in (gc.enable, gc.disable):
    wanted()
    before = gc.isenabled()
    tf_setup.import_tensorflow()
    assert gc.isenabled() == before
print(gc.get_freeze_count(), len(gc.get_objects()))
# What Keras looks for and no rank wants was not loaded, and can be loaded.
assert not set(tf_setup.UNUSED_BY_RANKS) & set(sys.modules)
import sklearn.metrics
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frozen, looked_at = map(int, done.stdout.split())
    assert frozen > 100_000 > 10 * looked_at  # what TensorFlow made is not looked at again
