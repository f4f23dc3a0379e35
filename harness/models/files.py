"""A model as files: where it lies, and the digest of its content. Loads nothing; an endpoint is asked."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import ModelError
from harness.job.specs import ModelSpec

__all__ = ["digest", "digest_of", "is_there", "joined", "locate", "resolve", "size_bytes"]


def locate(spec: ModelSpec, resolved: Callable[[str], str], folder: Path) -> str | None:
    """Return where a job's model lies, None where it is made by a factory alone.

    Args:
      spec: of the job.
      resolved: a path of the job to one that can be opened.
      folder: of the job file, for the factory's module.
    Returns: a path; of an endpoint what answers there, see `endpoint.py`.
    Raises: ModelError: there is nothing there.
    """
    if spec.endpoint is not None:
        from harness.models.endpoint import identify

        return identify(spec)
    if spec.python is not None:
        source_of(spec.python, folder)
        if spec.path is None:
            return None
        path = resolved(spec.path)
        if not is_there(path):
            raise ModelError(f"{path}: no such weights")
        return path
    assert spec.path is not None and not isinstance(spec.version, str)  # ModelSpec sees to it
    return resolve(resolved(spec.path), spec.version)


def resolve(path: str, version: int | None = None) -> str:
    """Return the path of the model itself: of a folder of numbered versions the one that is asked for, or the highest.

    Raises: ModelError: there is nothing there that is a model.
    """
    if not os.path.exists(path):
        raise ModelError(f"{path}: no such model")
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "saved_model.pb")):
        versions = sorted((name for name in os.listdir(path) if name.isdigit()), key=int)
        if not versions:
            raise ModelError(f"{path}: expected saved_model.pb or folders of numbered versions, found neither")
        chosen = [name for name in versions if int(name) == version] if version is not None else versions[-1:]
        if not chosen:
            raise ModelError(f"{path}: no version {version}: there are {', '.join(versions)}")
        path = os.path.join(path, chosen[0])
        if not os.path.exists(os.path.join(path, "saved_model.pb")):
            which = "the highest version" if version is None else f"version {version}"
            raise ModelError(f"{path}: expected saved_model.pb in {which}, found none")
    elif version is not None:
        raise ModelError(f"{path}: version {version} is asked for, and this is a model, no folder of numbered versions")
    return path


def is_there(path: str) -> bool:
    """Say whether there are files of a model; a checkpoint is a prefix."""
    return os.path.exists(path) or os.path.exists(path + ".index")


def size_bytes(path: str) -> int:
    """Return how many bytes `digest` reads."""
    return sum(file.stat().st_size for file in _files(path))


def source_of(target: str, folder: Path) -> Path | None:
    """Return the file of a factory's module, beside the job file or installed; None where it has none."""
    name = target.partition(":")[0]
    beside = folder.joinpath(*name.split("."))
    for path in (beside.with_suffix(".py"), beside / "__init__.py"):
        if path.is_file():
            return path
    top = sys.modules.get(name)
    try:
        module = importlib.util.find_spec(name) if top is None else top.__spec__
    except (ImportError, ValueError):
        module = None  # whoever loads it says why
    return Path(module.origin) if module and module.origin and os.path.isfile(module.origin) else None


def digest_of(spec: ModelSpec, path: str | None, folder: Path) -> str:
    """Return the SHA-256 of a model: its files, and of a factory the source of its module, its name and arguments.

    Of an endpoint it is that of what answers there.
    """
    if spec.endpoint is not None:
        from harness.models.endpoint import digest_of as of_endpoint

        assert path is not None
        return of_endpoint(spec, path)
    if spec.python is None:
        assert path is not None
        return digest(path)
    total = hashlib.sha256(json.dumps([spec.python, spec.args], sort_keys=True, default=str).encode())
    source = source_of(spec.python, folder)
    for part in (str(source) if source else None, path):
        if part is not None:
            total.update(digest(part).encode())
    return total.hexdigest()


def joined(digests: Mapping[str, str]) -> str:
    """Return the digest of a job's models: of the only one its own.

    >>> joined({"": "ab"})
    'ab'
    """
    if list(digests) == [""]:
        return digests[""]
    return hashlib.sha256("".join(f"{name}\0{value}\n" for name, value in digests.items()).encode()).hexdigest()


def digest(path: str) -> str:
    """Return the SHA-256 of a model's content, in hexadecimal: of a folder the names and contents of its files."""
    total = hashlib.sha256()
    for file in _files(path):
        name = file.relative_to(path).as_posix() if os.path.isdir(path) else ""
        with file.open("rb") as stream:
            total.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _files(path: str) -> list[Path]:
    if os.path.isdir(path):
        return sorted(p for p in Path(path).rglob("*") if p.is_file())
    if os.path.exists(path):
        return [Path(path)]
    return sorted(Path(path).parent.glob(f"{Path(path).name}.*"))  # the prefix of a checkpoint
