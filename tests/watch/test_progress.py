"""Progress lines: in order, and no rate where there is none to tell."""

from __future__ import annotations

import io

from harness.watch.beat import Beat
from harness.watch.progress import Progress


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def beats(*examples: int) -> list[Beat]:
    return [Beat(rank, host="h", pid=1, examples=count) for rank, count in enumerate(examples)]


def test_a_short_run_shows_its_end_and_no_rate() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(797, stream, clock)
    progress.show(beats(384, 0))
    clock.now += 1
    progress.finish(797)
    assert stream.getvalue() == "797 of 797 examples (100 %)\n"


def test_a_long_run_shows_a_line_every_five_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(2000, stream, clock)
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
    progress = Progress(1000, stream, clock)
    clock.now += 30  # importing and compiling
    progress.show(beats(400))
    assert stream.getvalue() == "400 of 1,000 examples (40 %)\n"


def test_nothing_is_shown_before_the_first_example_or_after_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(10, stream, clock)
    clock.now += 60
    progress.show(beats(0, 0))
    assert stream.getvalue() == ""
    progress.close()
    progress.show(beats(10, 0))
    progress.finish(10)
    assert stream.getvalue() == ""
