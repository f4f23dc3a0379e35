"""A copy of the model on each node, so that shared storage is read once a node and not once a rank. Pure files.

The copy is named by the content's digest, made under another name and renamed: it is whole or not there. It is looked
through again before it is used, for the folder outlives the run.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from harness.errors import ModelError
from harness.job import ModelSpec
from harness.model_files import digest

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
    if path is None or not os.path.exists(path) or spec.node_copy == "never":
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


def node_path(path: str, mark: str, cache: Path | None = None) -> Path:
    """Return where the copy of a model lies: under HARNESS_CACHE, or a folder of this user's in the temporary one."""
    given = os.environ.get("HARNESS_CACHE")
    root = cache or (Path(given) if given else Path(tempfile.gettempdir()) / f"harness-{os.getuid()}")
    return root / "models" / mark[:32] / Path(path).name  # the ending says what kind of model it is


def copy_to_node(path: str, mark: str, cache: Path | None = None) -> Path:
    """Copy a model to this node, unless it is there; one process a node calls this, the others wait for it.

    Args:
      path: where it lies.
      mark: its digest.
      cache: folder of the copies; see `node_path`.
    Raises: ModelError: there is no room, the folder is another user's, or the model changed meanwhile.
    """
    target = node_path(path, mark, cache)
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (target.parent.parent.parent, target.parent):
            found = folder.stat()
            if found.st_uid != os.getuid() or found.st_mode & stat.S_IWOTH:
                raise ModelError(f"{folder}: others may write here; set HARNESS_CACHE to a folder of your own")
        if target.exists() and digest(str(target)) == mark:
            return target
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=target.parent) as work:
            made = Path(work) / target.name
            shutil.copytree(path, made) if os.path.isdir(path) else shutil.copy2(path, made)
            if digest(str(made)) != mark:
                raise ModelError(f"{path}: the model changed while it was copied to {target}; start again when it is at rest")
            if target.exists():  # what was there was not what its name says
                os.replace(target, Path(work) / "old")
            os.replace(made, target)
    except OSError as exc:
        raise ModelError(
            f"{path}: cannot be copied to {target}: {exc.strerror}; set HARNESS_CACHE to a folder with room on each node, "
            "or model: {node_copy: never}"
        ) from exc
    return target
