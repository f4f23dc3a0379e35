"""The line that moves, on a pseudo terminal: it is drawn over itself, what others print stands above it, and nothing of it stays."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator

import pytest

from harness.names.status_line import ERASE, PlainLines, RelayedLine, Status, StatusLine, TerminalLine, moves, status_line


@pytest.fixture
def terminal() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """Return the end that a person reads, and the one that a program writes to."""
    reads, writes = os.openpty()
    with os.fdopen(writes, "w", encoding="utf-8") as stream:
        yield reads, stream
    os.close(reads)


def read(descriptor: int, until: str) -> str:
    """Read what is on the terminal, up to a text."""
    text = b""
    while not text.decode(errors="ignore").endswith(until):
        text += os.read(descriptor, 4096)
    return text.decode()


def test_a_line_is_drawn_over_itself_and_makes_room_for_what_is_printed(terminal, monkeypatch) -> None:
    reads, stream = terminal
    erase = ERASE.decode()
    monkeypatch.setattr(sys, "stderr", stream)
    with TerminalLine() as line:
        line.show(Status("importing TensorFlow"))
        assert read(reads, "TensorFlow  0 s") == f"{erase}importing TensorFlow  0 s"
        assert read(reads, "TensorFlow  1 s").startswith(f"{erase}importing TensorFlow  0 s")  # it moves by itself
        line.show(Status("evaluating", 0.5, "5 of 10 examples"))
        read(reads, f"{erase}evaluating ━━━━━━━━━━━━────────────  50 %  5 of 10 examples")
        print("harness: warning", file=sys.stderr, flush=True)
        assert f"{erase}harness: warning\r\n" in read(reads, "5 of 10 examples")  # and it comes again
        sys.stderr.flush()  # as before a process ends itself
        assert read(reads, erase) == erase
        line.show(Status("a\x1b[2Jb"))
        read(reads, "a\\x1b[2Jb  0 s")
    assert read(reads, erase).count("evaluating") == 0
    assert sys.stderr is stream
    line.show(Status("too late"))
    print("the end", file=stream, flush=True)
    assert read(reads, "\r\n") == "the end\r\n"


def test_rank_0_writes_lines_for_its_launcher(tmp_path) -> None:
    with open(tmp_path / "err", "w+") as stream, RelayedLine(stream) as line:
        line.show(Status("building"))
        line.show(Status("building"))  # said once
    lines = (tmp_path / "err").read_bytes().splitlines()
    assert [Status.of_rank(text) for text in lines] == [Status("building"), Status("")]


def test_where_a_line_moves(terminal, monkeypatch) -> None:
    _, stream = terminal
    assert moves(stream, {}) and not moves(stream, {"CI": "true"}) and not moves(stream, {"TERM": "dumb"})
    assert not moves(io.StringIO(), {})
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("HARNESS_PROGRESS", raising=False)
    assert type(status_line(0, 1)) is TerminalLine and type(status_line(0, 2)) is PlainLines
    assert type(status_line(1, 2)) is StatusLine and type(status_line(0, 1, quiet=True)) is StatusLine
    monkeypatch.setenv("HARNESS_PROGRESS", "lines")
    assert type(status_line(0, 2)) is RelayedLine and type(status_line(1, 2)) is StatusLine
