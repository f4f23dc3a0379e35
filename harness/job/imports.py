"""What a job names in the user's own Python: package.module:attribute, found beside the job file or installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from harness.errors import JobError, nearest
from harness.job.user_code import raised

__all__ = ["load_object"]


def load_object(target: str, folder: Path, what: str) -> Any:
    """Import an attribute of a module.

    Args:
      target: package.module:attribute.
      folder: searched first; where the job file lies.
      what: the key of the job, for messages.
    Raises: JobError: there is no such module or attribute, or the module fails when it is imported.

    >>> load_object("math:pi", Path("."), "transform")
    3.141592653589793
    """
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise JobError(f"{what}: expected package.module:name, found '{target}'")
    place = str(folder.absolute())
    if place not in sys.path:
        sys.path.insert(0, place)  # stays: the module may import its neighbours later
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and module_name.split(".")[0] == exc.name.split(".")[0]:
            raise JobError(f"{what}: no module '{module_name}' (looked in {place} and among the installed packages)") from exc
        raise JobError(f"{what}: {module_name} cannot be imported: {raised(exc)}") from exc
    except Exception as exc:
        raise JobError(f"{what}: {module_name} fails when it is imported: {raised(exc)}") from exc
    if not hasattr(module, attribute):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise JobError(f"{what}: {module_name} has no '{attribute}': {nearest(attribute, names)}")
    return getattr(module, attribute)
