"""What the tests' servers load before they fork, and the bytecode that new processes find."""

from __future__ import annotations

import gc
import sys

from tests import preloading


def test_the_loop_and_every_format_are_loaded_and_what_only_notebooks_use_is_not():
    names = set(preloading.rooms())
    assert {"harness.step.step", "harness.data.parquet", "harness.models.saved_model", "harness.run.run"} <= names
    assert not names & preloading.OTHERS and not any(name.startswith("harness.ranks") for name in names)


def test_sources_have_their_bytecode_whatever_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for folder in ("harness", "launch"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text("x = 1\n")
    (tmp_path / "harness" / "broken.py").write_text("x = \n")  # it is Python that says so, where it is imported
    preloading.bytecode(tmp_path)
    assert sorted(path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")) == ["module", "module"]


def test_pytest_looks_for_garbage_in_what_tests_make_alone():
    assert gc.isenabled() and gc.get_freeze_count() > 10_000
