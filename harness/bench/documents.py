"""A bench as documents: bench.json with every raw value, Markdown, CSV; and how bench.json is read again."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.bench.answer import Answer, answer
from harness.bench.bench_folder import BenchFolder
from harness.bench.document_shape import check_document
from harness.bench.facts import Facts
from harness.bench.figures import PARTS
from harness.bench.rules import Rules, Scaling
from harness.bench.spread import Spread
from harness.bench.tables import (
    facts_table,
    level_sentence,
    limits_table,
    machine_table,
    parts_table,
    scaling_table,
    serial_sentence,
    sweep_table,
    trials_table,
)
from harness.errors import RunFolderError
from harness.folder.run_folder import read_json
from harness.results.printed import Block, Printed
from harness.results.tables import TextTable, markdown, markdown_text

__all__ = ["SCHEMA_VERSION", "PrintedBench", "read", "to_csv", "to_json", "to_markdown"]

SCHEMA_VERSION = 1
OF_KIT = "bench"  # folder of the bench in that of a kit
SPREADS = ("solution_s", *PARTS, "rate", "forward_rate", "reading_rate", "sum_s", "peak_bytes", "joules", "money")


def to_json(bench: Answer) -> str:
    """Return bench.json; see docs/schemas/bench.json."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "state": str(bench.state),
        "problems": list(bench.problems),
        "sentences": list(bench.sentences()),
        "job": bench.name,
        "command": list(bench.command),
        "rules": bench.rules.to_json(),
        "examples": bench.examples,
        "machine": bench.machine,
        "sizes": [_size(bench, number) for number in range(len(bench.sizes))],
        "serial": {str(number): None if (own := bench.serial(number)) is None else asdict(own) for number in _numbers(bench)},
        "sweep": [{**asdict(swept), "rates": {str(ranks): rate for ranks, rate in swept.rates.items()}} for swept in bench.swept],
        "trials": [fact.to_json() for fact in bench.facts],
    }
    return json.dumps(document, indent=1, allow_nan=False, default=str) + "\n"


def _numbers(bench: Answer) -> list[int]:
    return sorted({size.number for size in bench.sizes})


def _size(bench: Answer, place: int) -> dict[str, Any]:
    size = bench.sizes[place]
    figures = {name: _spread(size.spread(name)) for name in SPREADS}
    binding = next((own for own in bench.bindings(size.number) if own.ranks == size.ranks), None)
    lines = [own for own in bench.scaled(size.number, Scaling(size.scaling)) if own.ranks == size.ranks]
    return {
        "number": size.number,
        "setting": dict(size.setting),
        "scaling": size.scaling,
        "ranks": size.ranks,
        "trials": len(size.trials),
        "failures": list(size.failures),
        **figures,
        "cost_reason": size.trials[0].cost_gaps if size.trials and None in (figures["joules"], figures["money"]) else None,
        "binds": asdict(binding) if binding is not None and size.scaling == Scaling.STRONG else None,
        "efficiency": _spread(lines[0].efficiency) if lines else None,
        "loop_efficiency": _spread(lines[0].loop_efficiency) if lines else None,
        "karp_flatt": _spread(lines[0].karp_flatt) if lines else None,
    }


def _spread(spread: Spread | None) -> dict[str, Any] | None:
    return None if spread is None else asdict(spread)


def read(path: Path) -> Answer:
    """Read a bench: its folder, that of its kit, or its bench.json. Figures are computed again from the raw values.

    Raises: RunFolderError: it is none.
    """
    folders = [folder for folder in (path, path / OF_KIT) if BenchFolder(folder).bench_json.exists()]
    file = path if not path.is_dir() else BenchFolder(folders[0] if folders else path).bench_json
    document = read_json(file)
    if not isinstance(document, dict) or "trials" not in document or "rules" not in document:
        raise RunFolderError(f"{path}: expected a bench, as harness bench writes it, found no bench.json that is one")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise RunFolderError(
            f"{file}: expected a bench of schema_version {SCHEMA_VERSION}, found {document.get('schema_version')!r}; "
            "read it with the version of the harness that wrote it"
        )
    try:
        if not all(map(math.isfinite, _numbers_in(document))):
            raise ValueError("it holds a number that is not finite")
        check_document(document)
        facts = [Facts.from_json(fact) for fact in document["trials"]]
        rules = Rules.from_json(document["rules"])
        return answer(document["job"], rules, document["examples"], facts, document["machine"], document["command"])
    except (ValueError, RunFolderError) as exc:
        raise RunFolderError(f"{file}: not as harness bench writes it: {exc}; do the bench again, or restore the file") from exc


def _numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers_in(part)


def to_csv(bench: Answer) -> str:
    """Return a line a trial, with every part of its time."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = ["solution_s", *PARTS, "rate", "forward_rate", "reading_rate", "sum_s", "peak_bytes", "joules", "money"]
    keys = list(dict.fromkeys(key for fact in bench.facts for key in fact.setting))
    writer.writerow(["scaling", "ranks", "repeat", "examples", *keys, *names])
    for size in bench.sizes:
        for trial in size.trials:
            held = [trial.parts_s[name] if name in PARTS else getattr(trial, name) for name in names]
            setting = [size.setting.get(key, "") for key in keys]
            writer.writerow([size.scaling, size.ranks, trial.repeat, trial.examples, *setting, *held])
    return stream.getvalue()


def to_markdown(bench: Answer) -> str:
    """Return the tables."""
    lines = [f"# Bench of {markdown_text(bench.name)}: {bench.state}", ""]
    for block in blocks(bench):
        lines += [markdown(block) if isinstance(block, TextTable) else markdown_text(block), ""]
    lines += [markdown(trials_table(bench)), "", markdown(machine_table(bench.machine)), ""]
    lines += ["Do it again:", "", f"    {shlex.join(bench.command)}"]
    return "\n".join(lines) + "\n"


def blocks(bench: Answer) -> Iterator[Block]:
    """Return what a person reads first."""
    yield from bench.problems
    yield facts_table(bench)
    if bench.swept:
        yield sweep_table(bench)
    number = bench.shown
    strong = bench.strong(number)
    if not strong:
        return
    yield from bench.sentences()
    yield parts_table(strong)
    for scaling in Scaling:
        if (table := scaling_table(bench, number, scaling)) is not None:
            yield table
    if text := serial_sentence(bench, number):
        yield text
    yield limits_table(strong)
    yield level_sentence(bench, number)


class PrintedBench(Printed):
    """A bench as a command prints it."""

    def __init__(self, bench: Answer) -> None:
        self._bench = bench

    def blocks(self) -> Iterator[Block]:
        """Return the state, then tables and sentences."""
        yield f"{self._bench.state}: {self._bench.name}"
        yield from blocks(self._bench)
