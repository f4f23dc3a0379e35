"""Where metrics go: a file for node_exporter's textfile collector, or a page that Prometheus scrapes. Knows no run.

The package prometheus-client writes the format. It is an extra, loaded where a monitor is asked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.errors import UsageError
from harness.names.scratch import scratch_name
from harness.watch.monitor_metrics import METRICS, Kind, Sample

__all__ = ["MISSING", "HttpPage", "Page", "TextFile", "check_writable", "families", "page_text"]

MISSING = "expected the package prometheus-client, found none; pip install 'exact-harness[prometheus]' brings it"
TAKEN_S = 5.0  # a port may be held by an earlier attempt that is just ending
LOOK_S = 0.2
PREFIX = "harness_"
LEFT_OVER_S = 24 * 3600.0  # a file of a run that was killed, after which nobody looks at it any more


class Page(Protocol):
    """One way to tell a monitor."""

    def show(self) -> None:
        """Tell it what there is now, where it does not ask.

        Raises: OSError: it cannot be told.
        """

    def close(self) -> None:
        """Tell it nothing more: what it was told is gone."""


def families(samples: Sequence[Sample]) -> Iterator[Any]:
    """Return samples as prometheus-client's families of metrics, in the order of the table."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    for name, metric in METRICS.items():
        if name in by_name:
            kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
            family = kind(f"{PREFIX}{name}", metric.meaning, labels=metric.labels)
            for sample in by_name[name]:
                family.add_metric(sample.labels, sample.value)
            yield family


class _Collector:
    """What prometheus-client asks for the families."""

    def __init__(self, samples: Callable[[], Sequence[Sample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Any]:
        return families(self._samples())


def page_text(samples: Sequence[Sample]) -> bytes:
    """Return samples in Prometheus' text format."""
    from prometheus_client import generate_latest

    text: bytes = generate_latest(_Collector(lambda: samples))
    return text


class TextFile:
    """Writes a file, which appears whole or not at all.

    Args:
      path: of the file; the folder exists.
      samples: what there is now.
    Raises: UsageError: it cannot be written.
    """

    def __init__(self, path: Path, samples: Callable[[], Sequence[Sample]]) -> None:
        self._path = path
        self._samples = samples
        _take_left_overs(path)
        try:
            self.show()
        except OSError as exc:
            raise _not_writable(path.parent, exc) from exc

    def show(self) -> None:
        """Write it anew."""
        temporary = scratch_name(self._path)
        try:
            # No fsync: what a crash takes of it is worth nothing anyway.
            temporary.write_bytes(page_text(self._samples()))
            temporary.chmod(0o644)  # node_exporter is another user
            os.replace(temporary, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Take it away."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """See that text files can be written into a folder; nothing stays there.

    Raises: UsageError: they cannot.
    """
    probe = scratch_name(folder / "harness")
    try:
        probe.touch()
        probe.unlink()
    except OSError as exc:
        raise _not_writable(folder, exc) from exc


def _not_writable(folder: Path, exc: OSError) -> UsageError:
    return UsageError(
        f"monitor.textfile: expected a folder that this process may write to, found {folder}: "
        f"{exc.strerror or exc}; it is the one of node_exporter's --collector.textfile.directory"
    )


def _take_left_overs(path: Path) -> None:
    """Remove files of runs that were killed a day ago or longer, and what was not whole yet when they were."""
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            if name.startswith(("harness-", ".harness-")) and ".prom" in name:
                with contextlib.suppress(OSError):
                    if time.time() - (path.parent / name).stat().st_mtime > LEFT_OVER_S:
                        (path.parent / name).unlink()


class HttpPage:
    """Serves a page from a thread; it is made when somebody asks.

    Args:
      address, port: where to listen.
      samples: what there is now.
      patience_s: for which a port that is taken is tried again.
    Raises: UsageError: the port is taken, or may not be had.
    """

    def __init__(self, address: str, port: int, samples: Callable[[], Sequence[Sample]], *, patience_s: float = TAKEN_S) -> None:
        from prometheus_client import start_http_server

        deadline = time.monotonic() + patience_s
        collector: Any = _Collector(samples)
        while True:
            try:
                self._server, self._thread = start_http_server(port, address, collector)
                return
            except OSError as exc:
                if exc.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                    time.sleep(LOOK_S)
                    continue
                why = "another process listens there" if exc.errno == errno.EADDRINUSE else exc.strerror or str(exc)
                raise UsageError(
                    f"monitor.port: expected a port of {address} that is free, found {port}: {why}; choose another one: "
                    "--set monitor.port=N"
                ) from exc

    def show(self) -> None:
        """Do nothing: Prometheus asks."""

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
