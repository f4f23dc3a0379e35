"""The first section: whether a run is valid, how many examples it scored, and what has no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.sections import Section
from harness.report.subjects import Reported, Subject
from harness.results.metric_names import labels
from harness.results.tables import TextTable

__all__ = ["Verdict", "verdict_section"]


@dataclass(frozen=True)
class Verdict:
    """What is said of one run.

    Attributes:
      name: of the run.
      word: VALID, INVALID or NOT FINISHED.
      valid: whether it is the first.
      proof: the certificate in a sentence, or what failed.
      digests: hashes of examples, data, job and model, by name.
      nulls: metrics without a value, and why.
    """

    name: str
    word: str
    valid: bool
    proof: str
    digests: TextTable
    nulls: Sequence[tuple[str, str]]


def verdict_section(reported: Reported) -> Section:
    """Return the section."""
    return Section("verdict", "Verdict", "verdict.html", [_verdict(subject) for subject in reported.subjects])


def _verdict(subject: Subject) -> Verdict:
    if subject.document is None:
        certificate = subject.run.get("certificate") or {}
        invalid = certificate.get("valid") is False or subject.message.startswith("INVALID")
        return Verdict(
            subject.name,
            "INVALID" if invalid else "NOT FINISHED",
            False,
            subject.message or f"the last attempt is {subject.state or 'unknown'}; there is no result",
            TextTable([]),
            (),
        )
    document, certificate = subject.document, subject.document["certificate"]
    return Verdict(subject.name, "VALID", True, _proof(certificate), _digests(document), _nulls(document))


def _proof(certificate: Mapping[str, Any]) -> str:
    count = f"{certificate['examples']:,}"
    left_out = [f"{certificate[name]:,} {name}" for name in ("filtered", "skipped") if certificate.get(name)]
    tail = f"; of {certificate['read']:,} read {', '.join(left_out)}" if left_out and "read" in certificate else ""
    chunks = certificate["chunks"]
    return f"{count} of {count} examples counted once, in {chunks:,} {'chunk' if chunks == 1 else 'chunks'}{tail}"


def _digests(document: Mapping[str, Any]) -> TextTable:
    certificate = document["certificate"]
    hashes = {
        "ids of the examples": certificate.get("id_hash"),
        "what was read of them": certificate.get("content_hash"),
        "ids that were kept": certificate.get("kept_hash"),
        **{name: digest for name, digest in document.get("digests", {}).items()},
    }
    return TextTable(["of", "digest"], [[name, str(digest)] for name, digest in hashes.items() if digest], "", 2)


def _nulls(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    names, nulls = labels(document), []
    for key, entry in document["metrics"].items():
        if entry["value"] is None:
            nulls.append((names[key], str(entry.get("reason", ""))))
        elif isinstance(entry["value"], Mapping) and "columns" not in entry["value"]:
            lost = [str(name) for name, value in entry["value"].items() if value is None]
            if lost:
                shown = ", ".join(lost[:8]) + (f" and {len(lost) - 8:,} more" if len(lost) > 8 else "")
                nulls.append((names[key], f"null for {shown}: {entry.get('reason') or 'it is 0/0'}"))
    return nulls
