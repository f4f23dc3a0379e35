"""A model as files: where it lies, and the digest of its content. Loads nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.errors import ModelError

__all__ = ["digest", "resolve"]


def resolve(path: str) -> str:
    """Return the path of the model itself: of a folder of numbered versions the highest.

    Raises: ModelError: there is nothing there that is a model.
    """
    if not os.path.exists(path):
        raise ModelError(f"{path}: no such model")
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "saved_model.pb")):
        versions = [name for name in os.listdir(path) if name.isdigit()]
        if not versions:
            raise ModelError(f"{path}: expected saved_model.pb or folders of numbered versions, found neither")
        path = os.path.join(path, max(versions, key=int))
        if not os.path.exists(os.path.join(path, "saved_model.pb")):
            raise ModelError(f"{path}: expected saved_model.pb in the highest version, found none")
    return path


def digest(path: str) -> str:
    """Return the SHA-256 of a model's content, in hexadecimal: of a folder the names and contents of its files."""
    files = sorted(p for p in Path(path).rglob("*") if p.is_file()) if os.path.isdir(path) else [Path(path)]
    total = hashlib.sha256()
    for file in files:
        name = file.relative_to(path).as_posix() if os.path.isdir(path) else ""
        with file.open("rb") as stream:
            total.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
