"""The text of a job file, whole: from a file, or from a pipe as a shell makes of <(...); never without end."""

from __future__ import annotations

from pathlib import Path

from harness.errors import JobError

__all__ = ["MOST_BYTES", "read_text"]

MOST_BYTES = 16 << 20  # of a job of a hundred thousand files; a device may have no end


def read_text(path: Path) -> str:
    """Read a YAML file.

    Raises: JobError: it cannot be read, is too large, or no text. FileNotFoundError: there is none.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise JobError(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise JobError(f"{path}: cannot be read: {exc}") from exc
    if len(data) > MOST_BYTES:
        raise JobError(f"{path}: expected YAML of at most {MOST_BYTES >> 20} MiB, found more; is it a device, or data?")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise JobError(f"{path}: not YAML: expected text in UTF-8: {exc}") from exc
