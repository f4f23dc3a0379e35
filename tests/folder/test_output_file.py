"""Files that a user names with -o: what is replaced, and what is left alone."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.folder.output_file import write_output
from tests.cli.commands import command
from tests.report import folders


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to a pipe").symlink_to("pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("old")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, words in {
            "folder": "is a folder; expected a file",
            "pipe": "is a pipe",
            "link to a pipe": "is a pipe",
            "socket": "is a socket",
            "loop": "cannot be written: ",
            "n" * 300: "File name too long",
            "n" * 250: "File name too long; choose a shorter name",  # with what is behind it while it is written
            "file/new": "file is no folder",
            "file/deep/new": "file/deep is no folder",
        }.items():
            before = {path: path.lstat() for path in tmp_path.iterdir()}
            with pytest.raises(HarnessError, match=words) as refusal:
                write_output(tmp_path / name, "new")
            assert refusal.value.exit_code == 2 and str(refusal.value).startswith(f"{tmp_path / name}: ")
            assert before == {path: path.lstat() for path in tmp_path.iterdir()}
    assert (tmp_path / "file").read_text() == "old"


def test_a_link_stays_a_link_to_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "v1").write_text("old")
    (tmp_path / "latest").symlink_to("v1")
    (tmp_path / "next").symlink_to("deep/v2")  # where there is nothing yet
    for name in ("latest", "next", "deeper/new"):
        write_output(tmp_path / name, f"{name} is new")
        assert (tmp_path / name).read_text() == f"{name} is new"
    assert os.readlink(tmp_path / "latest") == "v1" and os.readlink(tmp_path / "next") == "deep/v2"


def test_commands_leave_a_pipe_where_it_is(tmp_path: Path) -> None:
    run = folders.write(tmp_path / "run", {"accuracy": folders.number(0.5)})
    for arguments in (["report", run], ["report", run, "--card"], ["collect", run]):
        pipe = tmp_path / f"{arguments[0]}.csv"
        if not pipe.exists():
            os.mkfifo(pipe)
        code, text = command(*arguments, "-o", pipe)
        assert code == 2 and f"{pipe}: is a pipe" in text
        assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert command("report", run, "-o", run / "metrics.json" / "x.html")[0] == 2
