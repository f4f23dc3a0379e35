"""Overrides of a job from the command line: key.path=value, applied before the job is validated."""

from __future__ import annotations

from typing import Any

from harness.errors import JobError
from harness.job.yaml_text import parse

__all__ = ["apply_override"]


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Apply one key.path=value to nested dictionaries and lists; the value is YAML.

    Raises: JobError: it is no override, or there is no such place in the job.

    >>> job = {"data": {"files": ["a", "b"]}}
    >>> apply_override(job, "data.files.1=c")
    >>> job
    {'data': {'files': ['a', 'c']}}
    """
    path, sign, text = override.partition("=")
    if not sign or not path:
        raise JobError(f"--set {override}: expected key.path=value")
    *parents, last = path.split(".")
    value = parse(text, f"--set {path}")
    at: Any = raw
    try:
        for key in parents:
            if isinstance(at, list):
                at = at[_position(key)]
            else:
                if isinstance(at.get(key), str) and key == "model":
                    at[key] = {"path": at[key]}
                if isinstance(at.get(key), str | list) and key == "data":
                    at[key] = {"files": at[key]}
                at = at.setdefault(key, {})
                if at is None:
                    raise TypeError
        if isinstance(at, list):
            at[_position(last)] = value
        else:
            at[last] = value
    except (TypeError, ValueError, IndexError, AttributeError) as exc:
        raise JobError(f"--set {override}: the job has nothing at {path} that could be set") from exc


def _position(key: str) -> int:
    """Return a position in a list: from 0 on, not counted from the end as Python would.

    Raises: ValueError: it is none.
    """
    if not (key.isascii() and key.isdigit()):
        raise ValueError(key)
    return int(key)
