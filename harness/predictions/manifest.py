"""The manifest of a folder of predictions: its parts, their columns and the plan. `_SUCCESS` beside it says that all is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.errors import DataError, JobError
from harness.plan.certificate import Certificate
from harness.plan.plan import Plan
from harness.predictions.prediction_files import SUFFIXES, Column

__all__ = ["MANIFEST", "SUCCESS", "Manifest", "Part", "part_name", "read_manifest"]

MANIFEST, SUCCESS = "_manifest.json", "_SUCCESS"
KINDS = ("id", "output", "feature")  # of columns


@dataclass(frozen=True)
class Part:
    """A committed part: its chunk, file name, examples, size, SHA-256, the sum of the hashes of its ids (see `Plan.id_hash`),
    the inner shape of columns whose sizes differ, and the content hash of the chunk of the data that was predicted.
    """

    chunk: int
    file: str
    examples: int
    bytes: int
    sha256: str
    id_hash: int = 0
    shapes: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    content_hash: int | None = None


@dataclass(frozen=True)
class Manifest:
    """What a folder of predictions holds.

    Attributes:
      format: of the parts.
      columns: in their order; the first is the id.
      plan: that the parts are the chunks of; its files by their base names.
      digests: of job, data and model.
      parts: by chunk.
      left_out: how many examples were read, kept, filtered and skipped; empty where all were kept.
    """

    format: str
    columns: tuple[Column, ...]
    plan: Plan
    digests: Mapping[str, str]
    parts: tuple[Part, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def certified(self, digests: Mapping[str, str], certificate: Certificate) -> Manifest:
        """Return the manifest with what the run has found out in the end: digests, what was left out, content hashes."""
        hashes = certificate.contents.tolist()
        parts = tuple(replace(part, content_hash=hashes[part.chunk]) for part in self.parts)
        return replace(self, digests=digests, left_out=certificate.left_out, parts=parts)

    def to_json(self) -> str:
        """Write the manifest; the same text whoever wrote the parts."""
        document = {
            "format": self.format,
            "columns": [asdict(column) for column in self.columns],
            "plan": replace(self.plan, files=tuple(replace(f, path=Path(f.path).name) for f in self.plan.files)).to_dict(),
            "digests": dict(self.digests),
            "examples": sum(part.examples for part in self.parts),
            "parts": [{key: value for key, value in asdict(part).items() if key != "shapes"} for part in self.parts],
            **({"left_out": dict(self.left_out)} if self.left_out else {}),
        }  # fmt: skip
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote.

        Raises: ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError: it is something else.
        """
        raw = json.loads(text)
        plan = Plan.from_dict(raw["plan"])
        len(plan)  # its bounds are worked out when they are asked for
        columns, parts = _typed(tuple[Column, ...], raw, "columns"), _typed(tuple[Part, ...], raw, "parts")
        if strange := [column.kind for column in columns if column.kind not in KINDS]:
            raise ValueError(f"columns: expected kinds {', '.join(KINDS)}, found {strange[0]!r}")
        digests = _typed(dict[str, str], raw, "digests")
        if missing := [name for name in ("job", "data") if name not in digests]:
            raise ValueError(f"digests: {missing[0]} is missing")
        return cls(raw["format"], columns, plan, digests, parts, raw.get("left_out", {}))


def _typed(kind: Any, raw: Mapping[str, Any], key: str) -> Any:
    """Return a value of JSON as what it has to be.

    Raises: ValueError: it is not.
    """
    try:
        return TypeAdapter(kind).validate_python(raw[key])
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{' / '.join(map(str, (key, *problem['loc'])))}: {problem['msg']}") from exc


def part_name(chunk: int, kind: str) -> str:
    """Return the file name of a chunk's part.

    >>> part_name(12, "parquet")
    'part-00000012.parquet'
    """
    return f"part-{chunk:08d}.{SUFFIXES[kind]}"


def read_manifest(folder: Path) -> Manifest:
    """Read what a finished folder of predictions holds; a run folder will do as well.

    Raises: JobError: there is none, or it is not finished. DataError: its manifest is broken.
    """
    place = folder / "predictions" if (folder / "predictions").is_dir() else folder
    if not (place / SUCCESS).exists():
        raise JobError(f"{place}: expected finished predictions, found no {SUCCESS}; harness predict writes it last")
    try:
        return Manifest.from_json((place / MANIFEST).read_text())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as exc:
        raise DataError(f"{place / MANIFEST}: no manifest of predictions: {exc}") from exc
