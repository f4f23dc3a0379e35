"""Checkpoints that a pattern finds: their names, and new ones as they come, when they have been written."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from harness.errors import UsageError

__all__ = ["named", "watch"]


def named(pattern: str) -> dict[Path, str]:
    """Return the checkpoints that a pattern finds, with the name that its open part gives each.

    Args:
      pattern: a glob; `ckpt/*/model.keras` finds ckpt/10/model.keras, and names it 10-model.keras.
    Raises: UsageError: two would have the same name.
    """
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    if fixed == Path(pattern):
        fixed = fixed.parent
    checkpoints: dict[Path, str] = {}
    names: dict[str, Path] = {}
    for place in sorted(glob.glob(pattern)):
        path, name = Path(place).absolute(), "-".join(Path(place).relative_to(fixed).parts)
        if name in names:
            raise UsageError(f"{names[name]} and {path} would both be named {name}: rename one of them")
        names[name] = path
        checkpoints[path] = name
    return checkpoints


def watch(
    look: Callable[[], Iterable[Path]],
    start: Callable[[list[Path]], None],
    *,
    every_s: float,
    patience_s: float | None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Hand over new checkpoints, each once, when they have stood still from one look to the next.

    Args:
      look: what there is now.
      start: takes those that are to be evaluated.
      every_s: from look to look.
      patience_s: ends when nothing new has come for so long; None goes on until it is interrupted.
    """
    begun: set[Path] = set()
    before: Mapping[Path, str] = {}
    quiet_s = 0.0
    while True:
        now = {path: _fingerprint(path) for path in look() if path not in begun}
        ready = [path for path, fingerprint in now.items() if before.get(path) == fingerprint]
        if ready:
            start(ready)
            begun.update(ready)
        quiet_s = 0.0 if now else quiet_s + every_s
        if patience_s is not None and quiet_s > patience_s:
            return
        before = now
        sleep(every_s)


def _fingerprint(path: Path) -> str:
    """Return what changes while something is being written: names, sizes and times of all its files."""
    digest = hashlib.sha256()
    for file in _files(path):
        with contextlib.suppress(OSError):
            status = file.stat()
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        yield from sorted(path.rglob("*"))
