"""Names for files that are not whole yet: hidden, beside the file that they become. Nothing is written here."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["scratch_name"]


def scratch_name(path: Path) -> Path:
    """Return where a file is written before it is renamed, or linked, to its name.

    Nobody else has this name: process ids are those of one host, or of one container on it, and folders are shared by many;
    threads of one process may write the same file.

    >>> first, second = scratch_name(Path("/runs/a.json")), scratch_name(Path("/runs/a.json"))
    >>> first.parent, first.name.startswith(".a.json."), first == second
    (PosixPath('/runs'), True, False)
    """
    return path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.{secrets.token_hex(4)}")
