"""Which file it is: what tells, without reading it, whether a file is still the one that it was. Knows no run, no ranks.

Of a local file its size, inode and time of change; of a URL its size and what the storage calls its version (ETag,
generation). A folder of many small files is one, told by a digest over all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Any

from harness.data import storage
from harness.data.source import Source
from harness.errors import DataError

__all__ = ["Identity", "Inventory", "identify", "take"]


@dataclass(frozen=True)
class Identity:
    """A file as it was when it was looked at.

    Attributes:
      path: local path or URL; of a folder of files its path.
      size: bytes.
      inode, mtime_ns: of a local file; else 0.
      version: what the storage says of a URL, or the digest of a folder; else empty.
    """

    path: str
    size: int
    inode: int = 0
    mtime_ns: int = 0
    version: str = ""

    @property
    def alone(self) -> bool:
        """Whether it is a single file, not a folder that stands for its members."""
        return bool(self.inode) or storage.is_url(self.path)

    @property
    def mark(self) -> tuple[Any, ...]:
        """All but the path."""
        return astuple(self)[1:]

    def changes(self, now: Identity) -> str:
        """Say what is not as it was; empty where all is.

        >>> Identity("a", 5, 1, 0).changes(Identity("a", 6, 2, 10**9))
        'size 5, now 6 bytes; inode 1, now 2; changed 1970-01-01T00:00:00+00:00, now 1970-01-01T00:00:01+00:00'
        >>> Identity("a", 5, 1, 7).changes(Identity("a", 5, 1, 8))
        'changed 1970-01-01T00:00:00+00:00, now 1 ns later'
        """
        parts = []
        if self.size != now.size:
            parts.append(f"size {self.size}, now {now.size} bytes")
        if self.inode != now.inode:
            parts.append(f"inode {self.inode}, now {now.inode}")
        if self.mtime_ns != now.mtime_ns:
            later_ns = now.mtime_ns - self.mtime_ns
            then = f"{later_ns} ns later" if 0 < later_ns < 10**9 else _time(now.mtime_ns)
            parts.append(f"changed {_time(self.mtime_ns)}, now {then}")
        if self.version != now.version:
            parts.append(f"version {self.version or 'unknown'}, now {now.version or 'unknown'}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Inventory:
    """The files of a source, as one host sees them.

    Attributes:
      identities: each once, in their order.
      numbers: of each file of the plan, which of them it lies in; none where nobody can tell whether it is the same.
    """

    identities: tuple[Identity, ...] = ()
    numbers: tuple[tuple[int, ...], ...] = ()

    @property
    def marks(self) -> tuple[tuple[Any, ...], ...]:
        """What is equal on all hosts that share the files."""
        return tuple(identity.mark for identity in self.identities)


def identify(path: str, members: Sequence[str] = ()) -> Identity:
    """Look at a file, a URL, or a folder whose members are given.

    Raises: DataError: it is not there, or cannot be looked at.
    """
    if members:
        return _of_members(path, members)
    if storage.is_url(path):
        size, version = storage.version(path)
        return Identity(path, size, version=version)
    try:
        status = os.stat(path)
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc
    return Identity(path, status.st_size, status.st_ino, status.st_mtime_ns)


def take(source: Source) -> Inventory:
    """Look at all that a source lies in."""
    places = [source.lies_in(number) for number in range(len(source.files))]
    names: dict[str, tuple[str, ...]] = {}
    for number, place in enumerate(places):
        if place.members:
            names[source.files[number].path] = tuple(place.members)
        names |= {path: () for path in place.paths}
    order = {path: number for number, path in enumerate(names)}
    identities = storage.map_files(lambda path: identify(path, names[path]), list(names))
    numbers = [
        (order[source.files[number].path],) if place.members else tuple(order[path] for path in place.paths)
        for number, place in enumerate(places)
    ]
    return Inventory(tuple(identities), tuple(numbers))


def _of_members(path: str, members: Sequence[str]) -> Identity:
    total, size = hashlib.sha256(), 0
    for member in members:
        identity = identify(member)
        size += identity.size
        total.update(f"{os.path.relpath(member, path)}\0{identity.size}\0{identity.mtime_ns}\n".encode())
    return Identity(path, size, version=total.hexdigest()[:16])


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).isoformat()
