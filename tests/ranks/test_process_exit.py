"""A process that ends at once leaves nothing in the temporary directory that TensorFlow's AutoGraph wrote there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ranks.process_exit import GENERATED, remove_generated_files

SCRIPT = """
import os, sys
import tensorflow as tf
from harness.ranks.comm import SingleComm

@tf.function
def double(x):
    return 2 * x if x > 0 else x

double(tf.constant(1))
print(len([name for name in os.listdir(os.environ["TMPDIR"]) if name.startswith("{generated}")]))
SingleComm().abort(7)
"""


def test_what_autograph_wrote_is_gone(tmp_path: Path) -> None:
    script, scratch = tmp_path / "script.py", tmp_path / "scratch"
    scratch.mkdir()
    foreign = scratch / f"{GENERATED}of_another_process.py"
    foreign.write_text("")
    script.write_text(SCRIPT.format(generated=GENERATED))
    env = {**os.environ, "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert int(done.stdout) > 1
    assert [path for path in scratch.rglob("*") if path.is_file()] == [foreign]


def test_a_file_that_is_gone_already_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"{GENERATED}x.py"
    path.write_text("")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    monkeypatch.setitem(sys.modules, path.stem, importlib.util.module_from_spec(spec))
    remove_generated_files()
    assert not path.exists()
    remove_generated_files()
