"""Progress: lines in order, a bar with the slowest rank, and no rate where there is none to tell."""

from __future__ import annotations

import io

from harness.names.status_line import PlainLines, Status, StatusLine
from harness.watch.beat import Beat
from harness.watch.counting_progress import CountingProgress
from harness.watch.progress import Progress


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Bar(StatusLine):
    """Keeps what it is to show."""

    moves = True

    def __init__(self) -> None:
        self.shown: list[Status] = []

    def show(self, status: Status) -> None:
        self.shown.append(status)


def beats(*examples: int, phase: str = "starting", part: str = "") -> list[Beat]:
    return [Beat(rank, host="h", pid=1, examples=count, phase=phase, part=part) for rank, count in enumerate(examples)]


def test_a_short_run_shows_its_end_and_no_rate() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(797, PlainLines(stream, clock), clock)
    progress.begin("loading the model")
    progress.show(beats(384, 0))
    clock.now += 1
    progress.finish(797)
    assert stream.getvalue() == "797 of 797 examples (100 %)\n"


def test_a_long_run_shows_a_line_every_five_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(2000, PlainLines(stream, clock), clock)
    for second in range(1, 11):
        clock.now = 100.0 + second
        progress.show(beats(50 * second, 50 * second))
    progress.finish(2000)
    # 100 examples a second; the first beat, a second late, is where the rate is counted from
    assert stream.getvalue().splitlines() == [
        "500 of 2,000 examples (25 %), 100/s, 15 s left",
        "1,000 of 2,000 examples (50 %), 100/s, 10 s left",
        "2,000 of 2,000 examples (100 %)",
    ]


def test_a_first_burst_gives_no_rate() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(1000, PlainLines(stream, clock), clock)
    clock.now += 30  # importing and compiling
    progress.show(beats(400))
    assert stream.getvalue() == "400 of 1,000 examples (40 %)\n"


def test_nothing_is_shown_before_the_first_example_or_after_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(10, PlainLines(stream, clock), clock)
    clock.now += 60
    progress.show(beats(0, 0))
    assert stream.getvalue() == ""
    progress.close()
    progress.begin("building")
    progress.show(beats(10, 0))
    progress.finish(10)
    assert stream.getvalue() == ""


def test_in_a_log_what_is_begun_is_a_line_where_it_takes_long() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = PlainLines(stream, clock)
    for text, elapsed_s in (("importing TensorFlow", 24), ("loading the model", 12), ("building the step", 2), ("compiling", 9)):
        lines.show(Status(text))
        clock.now += elapsed_s
    lines.show(Status("evaluating", 0.5))
    assert stream.getvalue().splitlines() == ["building the step"]  # 36 s after the start


def test_a_bar_names_the_slowest_rank_that_is_still_at_work() -> None:
    bar, clock = Bar(), Clock()
    progress = Progress(1000, bar, clock)
    progress.begin("building the step")
    progress.show(beats(10, 10, 0))
    progress.begin("compiling")  # too late: there are examples
    clock.now += 10
    slow = [*beats(110, 60, phase="evaluating", part="reading"), Beat(2, host="h", pid=1, examples=10, phase="waiting")]
    progress.show(slow)
    progress.finish(1000)
    assert bar.shown == [
        Status("building the step"),
        Status("evaluating", 0.02, "20 of 1,000 examples"),
        Status("evaluating", 0.18, "180 of 1,000 examples, 16/s, 51 s left, slowest rank 1: 5/s, reading"),
    ]


def test_counting_names_the_files_it_has_gone_through() -> None:
    bar = Bar()
    progress = CountingProgress(4_000_000_000, 12, 1, bar)
    progress.move(1_200_000_000)
    assert bar.shown == [Status("counting 3 of 12 files", 0.3, "1.2 of 4.0 GB")]


def test_a_narrow_terminal_has_no_bar() -> None:
    status = Status("evaluating", 0.5, "5 of 10 examples, slowest rank 3: 1/s, predicting")
    assert status.line(70) == "evaluating  50 %  5 of 10 examples, slowest rank 3: 1/s, predicting"
    assert status.line(20) == "evaluating  50 %  5 "
    assert Status("counting", 1.5).line(30, cells="#.") == f"counting {'#' * 15} 100 %"
