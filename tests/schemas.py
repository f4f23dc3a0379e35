"""What docs/schemas says of the files of a run, held against every file that a test writes.

The published schemas allow further keys, for later versions have some; here a key that they do not name is an error.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema

__all__ = ["check", "check_written", "checked_renames", "strict"]

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"
SKIPPED = {"attempts", "journal", "predictions", "progress", "schemas"}  # folders that hold others


def strict(schema: Any) -> Any:
    """Return a schema that allows no keys but those that it names."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(part) for key, part in schema.items()}
    # `properties` of a schema, not a property of that name
    return {"additionalProperties": False, **closed} if closed.get("type") == "object" and "properties" in closed else closed


VALIDATORS = {
    path.name: jsonschema.Draft202012Validator(strict(json.loads(path.read_text()))) for path in sorted(FOLDER.glob("*.json"))
}


def check(name: str, text: str | bytes) -> None:
    """See that a file of that name is as its schema says.

    Raises: jsonschema.ValidationError: it is not.
    """
    VALIDATORS[name].validate(json.loads(text))


def check_written(folder: Path, since: float) -> None:
    """Check the files that a process of its own has written below a folder, as it ends.

    Args:
      folder: it was started in.
      since: when it began, in seconds since 1970.
    """
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
        for path in (Path(place) / name for name in files if name in VALIDATORS):
            if path.stat().st_mtime >= since:
                check(path.name, path.read_bytes())


@contextlib.contextmanager
def checked_renames() -> Iterator[None]:
    """Check the files that this process writes: they appear by a rename."""
    rename = os.replace

    def checked(source: Any, target: Any, **options: Any) -> None:
        if os.path.basename(target) in VALIDATORS:
            check(os.path.basename(target), Path(source).read_bytes())
        rename(source, target, **options)

    os.replace = checked
    try:
        yield
    finally:
        os.replace = rename
