"""The log as JSON: every line an event, whoever wrote it and however the process ends."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from harness.names.events import Event, event_table
from harness.names.log import LOG, Log, records
from tests.conftest import ROOT

KEYS = ["time", "level", "event", "attempt", "rank", "host", "phase", "chunk", "message"]


def events(code: str) -> tuple[int, list[dict[str, Any]]]:
    """Run some code in a process that logs JSON; return its exit code, and what it wrote to stderr."""
    begun = "import os, signal, subprocess, sys\nfrom harness.names.log import LOG, Place\nfrom harness.names.events import Event\nLOG.begin_json(3)\n"
    done = subprocess.run(
        [sys.executable, "-c", begun + code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == ""
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def test_an_event_has_its_fields_in_order() -> None:
    code, (event,) = events("LOG.place = lambda: Place(2, 'evaluating', 7)\nLOG.say(Event.RUN_WARNING, 'a\\nb')")
    assert code == 0 and list(event) == KEYS
    assert event | {"time": "", "host": ""} == {
        "time": "", "level": "warning", "event": "run.warning", "attempt": 2, "rank": 3, "host": "", "phase": "evaluating", "chunk": 7,
        "message": "a\nb",
    }  # fmt: skip
    assert event["time"].endswith("Z") and event["host"]


@pytest.mark.parametrize(
    "code, messages, exit_code",
    [
        ("os.write(2, b'from C\\n'); print('from Python', file=sys.stderr); LOG.end()", ["from C", "from Python"], 0),
        ("subprocess.run(['sh', '-c', 'echo child >&2'])\nLOG.end()", ["child"], 0),
        ("os.write(2, b'last words'); os.kill(os.getpid(), signal.SIGKILL)", ["last words"], -9),
        ("os.write(2, b'a\\r\\n\\n\\xff\\x1b[2K\\n'); LOG.end()", ["a", "\\\\xff\\x1b[2K"], 0),
        (
            "raise ValueError('x')",
            ["Traceback (most recent call last):", '  File "<string>", line 5, in <module>', "ValueError: x"],
            1,
        ),
    ],
)
def test_what_others_write_is_wrapped_however_the_process_ends(code: str, messages: list[str], exit_code: int) -> None:
    returned, lines = events(code)
    assert returned == exit_code
    assert [line["message"] for line in lines] == [
        message.replace("\x1b", "\\x1b").replace("\\\\xff", "\\xff") for message in messages
    ]
    assert {line["event"] for line in lines} == {"output"} and {line["rank"] for line in lines} == {3}


def test_events_that_are_relayed_are_left_as_they_are() -> None:
    line = '{"event": "run.done", "message": "m", "rank": 1}'
    assert events(f"os.write(2, {line.encode()!r} + b'\\n'); LOG.end()")[1] == [json.loads(line)]


@pytest.mark.parametrize("message", ["x" * 10_000, "\x00é\n" * 3_000, "", "\\" * 5_000])
def test_a_long_message_is_cut_into_lines_that_a_pipe_takes_whole(message: str) -> None:
    lines = list(records({"event": "output", "host": "h" * 100}, message))
    assert all(len(line) < 4096 and line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    parts = [json.loads(line) for line in lines]
    assert "".join(part["message"] for part in parts) == message.replace("\x00", "\\x00")
    assert [part.get("part") for part in parts] == ([None] if len(parts) == 1 else list(range(1, len(parts) + 1)))


def test_people_read_lines(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log("h")
    log.say(Event.RUN_WARNING, "w")
    log.say(Event.RUN_FAILED, "f")
    log.say(Event.RUN_FOLDER, "i")
    log.say(Event.RUN_FOLDER, "i", text="as it was")
    log.note(Event.RANK_PHASE, "not for people")
    assert capfd.readouterr().err == "harness: warning: w\nharness: error: f\nharness: i\nas it was\n"
    assert not LOG.is_json


def test_the_docs_show_the_table() -> None:
    assert event_table() in (ROOT / "docs" / "monitoring" / "README.md").read_text()
    assert len({event.kind for event in Event}) == len(Event)
