"""A copy of the model on each node, so that shared storage is read once a node and not once a rank. Pure files.

The copy is named by the content's digest, made under another name and renamed: it is whole or not there. It is looked
through again before it is used, for the folder outlives the run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from harness.data.private_folder import intruders, make, of_node
from harness.errors import ModelError
from harness.job.specs import ModelSpec
from harness.models.files import digest
from harness.names.variables import CACHE

__all__ = ["copy_to_node", "is_remote", "node_path", "wants_copy"]

MOUNTS = Path("/proc/mounts")
REMOTE = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "afs", "glusterfs", "wekafs", "pvfs2", "9p", "panfs")


def wants_copy(spec: ModelSpec, path: str | None, ranks: int, mounts: Path = MOUNTS) -> bool:
    """Say whether a model is to be copied to each node: where the job asks, or it is large and lies on a network.

    Args:
      spec: of the job.
      path: of the model; None where it has no file.
      ranks: how many read it; a single one reads it once anyway.
      mounts: the table of file systems.
    """
    if path is None or spec.endpoint is not None or not os.path.exists(path) or spec.node_copy == "never":
        return False
    if spec.node_copy == "always":
        return True
    return ranks > 1 and is_remote(path, mounts) and _size(path) >= spec.node_copy_bytes


def is_remote(path: str, mounts: Path = MOUNTS) -> bool:
    """Say whether a path lies on a network file system, by the table of mounts."""
    place = os.path.realpath(path)
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return False
    holding = [fields for fields in lines if len(fields) > 2 and _holds(fields[1], place)]
    kind = max(holding, key=lambda fields: len(fields[1]))[2] if holding else ""
    return kind in REMOTE or kind.startswith("fuse.")


def _holds(mount: str, place: str) -> bool:
    mount = mount.replace("\\040", " ").rstrip("/")
    return place == mount or place.startswith(mount + "/")


def _size(path: str) -> int:
    files = [p for p in Path(path).rglob("*") if p.is_file()] if os.path.isdir(path) else [Path(path)]
    return sum(file.stat().st_size for file in files)


def node_path(path: str, content_digest: str, cache: Path | None = None) -> Path:
    """Return where the copy of a model lies: under HARNESS_CACHE, or a folder of this user's in the temporary one."""
    return _root(cache) / "models" / content_digest[:32] / Path(path).name  # the ending says what kind of model it is


def _root(cache: Path | None) -> Path:
    folder = CACHE.get()
    return cache or (Path(folder) if folder else of_node())


def copy_to_node(path: str, content_digest: str, cache: Path | None = None) -> Path:
    """Copy a model to this node, unless it is there; one process a node calls this, the others wait for it.

    Args:
      path: where it lies.
      content_digest: of the model.
      cache: folder of the copies; see `node_path`.
    Raises: ModelError: there is no room, others may write to the folder, or the model changed meanwhile.
    """
    target = node_path(path, content_digest, cache)
    try:
        _check(target.parent, _root(cache))  # before anything is made behind a link
        make(target.parent)
        _check(target.parent, _root(cache))
        if _untouched(target, _root(cache)) and digest(str(target)) == content_digest:
            return target
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=target.parent) as work:
            copied = Path(work) / target.name
            _copy(path, copied)
            if digest(str(copied)) != content_digest:
                raise ModelError(f"{path}: the model changed while it was copied to {target}; start again when it is at rest")
            if os.path.lexists(target):  # what was there was not what its name says
                os.replace(target, Path(work) / "old")
            os.replace(copied, target)
    except OSError as exc:
        raise ModelError(
            f"{path}: cannot be copied to {target}: {exc.strerror}; set HARNESS_CACHE to a folder with room on each node, "
            "or model: {node_copy: never}"
        ) from exc
    return target


def _check(folder: Path, root: Path) -> None:
    """See that nobody else has a hand in a folder, as far as it is there.

    Raises: ModelError: somebody may have.
    """
    if problem := intruders(folder, root):
        raise ModelError(
            f"{problem}; what lies there could be another's: set HARNESS_CACHE to a folder of your own, for you alone "
            "(chmod 700), and name it without links"
        )


def _untouched(target: Path, root: Path) -> bool:
    """Say whether there is a copy to which nobody else may have written."""
    return os.path.lexists(target) and not any(intruders(item, root) for item in [target, *target.rglob("*")])


def _copy(path: str, target: Path) -> None:
    """Copy a file or folder, for this user alone; links in it are copied as what they stand for."""
    shutil.copytree(path, target) if os.path.isdir(path) else shutil.copy2(path, target)
    for item in [target, *target.rglob("*")]:
        item.chmod(0o700 if item.is_dir() else 0o600)
