"""The folder of a bench: every name in it, and what is kept so that a bench that was ended goes on.

A trial appears by one rename when it is over, done or failed. Until then it lies in a hidden folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError
from harness.folder.run_folder import read_json, write_atomically

__all__ = ["OUTPUT", "RUN", "BenchFolder"]

RUN = "run"  # folder of the run, in that of its trial
ACCOUNT = "trial.json"
OUTPUT = "output.txt"


@dataclass(frozen=True)
class BenchFolder:
    """One bench's folder."""

    path: Path

    @property
    def rules_json(self) -> Path:
        """What was asked for, and what was chosen."""
        return self.path / "rules.json"

    @property
    def bench_json(self) -> Path:
        """Every raw value, and what they come to."""
        return self.path / "bench.json"

    @property
    def report_html(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def bench_md(self) -> Path:
        """The tables in Markdown."""
        return self.path / "bench.md"

    @property
    def bench_csv(self) -> Path:
        """A line a trial."""
        return self.path / "bench.csv"

    @property
    def best_yaml(self) -> Path:
        """The job with the best setting of a sweep."""
        return self.path / "best.yaml"

    @property
    def trials(self) -> Path:
        """Folder of the trials that are over."""
        return self.path / "trials"

    def trial(self, name: str) -> Path:
        """The folder of a trial that is over."""
        return self.trials / name

    def hidden(self, name: str) -> Path:
        """The folder of a trial that is not over."""
        return self.trials / f".{name}"

    def account(self, name: str) -> dict[str, Any] | None:
        """Read what a trial came to; None of one that is not over."""
        account = read_json(self.trial(name) / ACCOUNT)
        return account if isinstance(account, dict) else None

    def begin(self, name: str) -> Path:
        """Make the hidden folder of a trial, empty.

        Raises: RunFolderError: it cannot be made.
        """
        hidden = self.hidden(name)
        try:
            shutil.rmtree(hidden, ignore_errors=True)
            hidden.mkdir(parents=True)
        except OSError as exc:
            raise RunFolderError(f"{hidden}: cannot be made: {exc.strerror}; choose another folder with -o") from exc
        return hidden

    def finish(self, name: str, account: dict[str, Any]) -> None:
        """Have a trial appear that is over: one rename. One of that name that failed earlier goes.

        Raises: RunFolderError: it cannot be written.
        """
        hidden, place = self.hidden(name), self.trial(name)
        write_atomically(hidden / ACCOUNT, json.dumps(account, indent=1) + "\n")
        try:
            if place.exists():
                os.replace(place, gone := self.trials / f".gone-{name}")
                shutil.rmtree(gone, ignore_errors=True)
            os.replace(hidden, place)
        except OSError as exc:
            raise RunFolderError(f"{place}: cannot be written: {exc.strerror}") from exc

    def last_words(self, hidden: Path, lines: int = 3) -> str:
        """Return the last lines that a trial printed."""
        try:
            text = (hidden / OUTPUT).read_text(errors="replace")
        except OSError:
            return ""
        said = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in said if "harness: error:" in line]
        return " / ".join((errors or said)[-lines:])[-600:]

    def keep_rules(self, document: dict[str, Any]) -> None:
        """Write down what was asked for."""
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise RunFolderError(f"{self.path}: cannot be made: {exc.strerror}; choose another folder with -o") from exc
        write_atomically(self.rules_json, json.dumps(document, indent=1) + "\n")

    def keep_chosen(self, chosen: Mapping[str, Any]) -> None:
        """Write down that something else was chosen than at the beginning."""
        self.keep_rules({**(self.rules() or {}), "chosen": dict(chosen)})

    def rules(self) -> dict[str, Any] | None:
        """Read what was asked for; None where no bench has begun here."""
        document = read_json(self.rules_json)
        return document if isinstance(document, dict) else None

    def accounts(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Go through what trials came to that are over."""
        for name in names:
            if (account := self.account(name)) is not None:
                yield account
