"""What is asked of names of files: opened, created, looked at, renamed, linked, removed, listed. Counted below one folder.

The interpreter's audit events tell of all but a look (`os.stat`), which is wrapped. `strace -f -e trace=%file` sees the same.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["FileOperations"]

EVENTS = {
    "open": "open", "os.rename": "rename", "os.link": "link", "os.remove": "remove", "os.mkdir": "mkdir", "os.rmdir": "rmdir",
    "os.listdir": "list", "os.scandir": "list", "os.utime": "utime", "os.truncate": "truncate",
}  # fmt: skip


class FileOperations:
    """Counts while it is entered, from all threads of this process.

    Args:
      folder: below which.
    Attributes:
      counts: by operation and the first name below the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._on = False
        self.counts: Counter[tuple[str, str]] = Counter()
        sys.addaudithook(self._audit)  # for good: what is not entered counts nothing
        self._stat = os.stat

    @property
    def total(self) -> int:
        """All of them."""
        return self.counts.total()

    def __enter__(self) -> FileOperations:
        def stat(path: Any, *rest: Any, **named: Any) -> os.stat_result:
            self._count("look", path)
            return self._stat(path, *rest, **named)

        os.stat = stat  # type: ignore[assignment]
        self._on = True
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._on = False
        os.stat = self._stat

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event in EVENTS:
            self._count(EVENTS[event], arguments[0])

    def _count(self, operation: str, path: Any) -> None:
        if isinstance(path, str | os.PathLike) and (name := os.fspath(path)).startswith(self._folder):
            self.counts[operation, name[len(self._folder) :].lstrip("/").partition("/")[0]] += 1
