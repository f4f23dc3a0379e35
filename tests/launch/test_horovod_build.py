"""What Horovod was built with: the note of launch/install, and what is done without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness_launch import horovod_build
from harness_launch.horovod_build import HorovodBuild, of_library, of_note, write_note

from harness.errors import HarnessError
from tests.conftest import ROOT

BOTH = b"....\0MPI_Allreduce\0....GlooContext10Initialize...."


@pytest.fixture
def library(tmp_path) -> Path:
    path = tmp_path / "mpi_lib.so"
    path.write_bytes(BOTH)
    return path


def note(path: Path, library: Path, **built: bool) -> Path:
    state = library.stat()
    identity = {"path": str(library), "size_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}
    path.write_text(json.dumps({"built": built, "library": identity}))
    return path


def test_the_note_is_believed_about_its_own_library(library, tmp_path):
    path = note(tmp_path / "note", library, mpi=False, gloo=True)
    assert of_note(path, library) == HorovodBuild(mpi=False, gloo=True)
    os.utime(library, ns=(1, 1))  # Horovod was installed anew, by hand
    assert of_note(path, library) is None


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"library": 1, "built": 2}'])
def test_a_note_that_cannot_be_read_is_none(text, library, tmp_path):
    path = tmp_path / "note"
    if text is not None:
        path.write_text(text)
    assert of_note(path, library) is None


@pytest.mark.parametrize(
    "content, wanted",
    [
        (BOTH, HorovodBuild(mpi=True, gloo=True)),
        (b"\0MPI_Allreduce\0", HorovodBuild(mpi=True)),
        (b"MPI_Allreduce_of_another", HorovodBuild()),
        (b"GlooContext10Initialize", HorovodBuild(gloo=True)),
        (b"", HorovodBuild()),
    ],
)
def test_without_a_note_the_library_is_looked_through(content, wanted, library):
    library.write_bytes(content)
    assert of_library(library) == wanted


def test_without_horovod_there_is_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(horovod_build, "library_path", lambda: None)
    assert horovod_build.this_build.__wrapped__() == HorovodBuild()
    with pytest.raises(HarnessError, match="Horovod is not installed in this environment; launch/install builds it"):
        write_note(tmp_path / "note")


@pytest.mark.ranks
def test_horovod_is_asked_once_when_the_environment_is_made(tmp_path):
    """What it says of itself is what its library shows, here."""
    path = tmp_path / "note.json"
    subprocess.run([sys.executable, "-m", "harness_launch.horovod_build", path], cwd=ROOT, check=True, timeout=300)
    library = horovod_build.library_path()
    assert library is not None
    assert of_note(path, library) == of_library(library) == HorovodBuild(mpi=True, gloo=True)
    assert horovod_build.NOTE in (ROOT / "launch" / "install").read_text()
