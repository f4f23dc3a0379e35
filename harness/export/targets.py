"""The targets of an export: how they are written, what each needs to be installed, and the one place that calls them.

`tensorboard=logs` is a target and its place. A target is a module of this room with a function `write(runs, place)`; it is
imported when it is asked for, and so is the package of others that it needs.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.errors import HarnessError, UsageError, nearest
from harness.export.exported_run import ExportedRun
from harness.export.outcome import Exported
from harness.names.urls import secret_in

__all__ = ["TARGETS", "Target"]

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class _Kind:
    """What is known of a target.

    Attributes:
      module: of this room.
      place: where it writes if nothing else is said.
      needs: the packages to install, by the modules that are imported.
      extra: of the harness, which brings them.
    """

    module: str
    place: str
    needs: dict[str, str]
    extra: str = ""


MLFLOW = {"mlflow": "mlflow-skinny"}
TARGETS = {
    "tensorboard": _Kind("tensorboard_logs", "tensorboard", {"tensorboard": "tensorboard"}, "tensorboard"),
    "mlflow": _Kind("mlflow_store", "sqlite:///mlflow.db", MLFLOW, "mlflow"),
    "wandb": _Kind("wandb_runs", ".", {"wandb": "wandb"}, "wandb"),
    "csv": _Kind("csv_table", "runs.csv", {}),
    "parquet": _Kind("parquet_table", "runs.parquet", {"pyarrow": "pyarrow"}, "formats"),
    "json-lines": _Kind("json_lines", "runs.jsonl", {}),
    "openmetrics": _Kind("openmetrics", "runs.prom", {}),
}
FOLDERS = ("tensorboard", "wandb")  # write many files
# What an SQLite file needs beside the client, which reaches a server without.
DATABASE = {"sqlalchemy": "SQLAlchemy", "alembic": "alembic"}


@dataclass(frozen=True)
class Target:
    """A target, and its place.

    Attributes:
      kind: its name in `TARGETS`.
      place: a folder, a file or a URI.
    """

    kind: str
    place: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a target as people write it: `TARGET` or `TARGET=PLACE`.

        Raises: UsageError: there is no such target, its place is empty, or is a URL with a secret in it.

        >>> Target.of("csv"), Target.of("mlflow=sqlite:////data/a=b.db")
        (Target(kind='csv', place='runs.csv'), Target(kind='mlflow', place='sqlite:////data/a=b.db'))
        """
        kind, equals, place = text.partition("=")
        if kind not in TARGETS:
            raise UsageError(f"expected a target, found '{kind}': {nearest(kind, TARGETS)}")
        if equals and not place:
            raise UsageError(f"{text}: expected a place behind the =, found nothing; without = it is {TARGETS[kind].place}")
        if not place and kind == "mlflow":
            place = os.environ.get("MLFLOW_TRACKING_URI", "")
        elif secret := secret_in(place):
            raise UsageError(
                f"{kind}: a URL carries {secret}: places are printed and recorded; use the environment, as "
                f"MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD ({place})"
            )
        if "://" in place and kind != "mlflow":
            raise UsageError(f"{text}: expected a path of this machine, found a URL; copy it there when it is written")
        return cls(kind, place or TARGETS[kind].place)

    def beside(self, folder: Path) -> Target:
        """Return the target with a relative place taken from a folder.

        >>> Target("csv", "a.csv").beside(Path("/jobs")), Target("mlflow", "sqlite:///a.db").beside(Path("/jobs"))
        (Target(kind='csv', place='/jobs/a.csv'), Target(kind='mlflow', place='sqlite:////jobs/a.db'))
        """
        scheme, path = (SQLITE, self.place.removeprefix(SQLITE)) if self.place.startswith(SQLITE) else ("", self.place)
        if "://" in path or not path:
            return self
        return Target(self.kind, f"{scheme}{folder.absolute() / path}")

    def check(self) -> None:
        """See that what the target needs is installed, and that its place is nothing else.

        Raises: UsageError: it is not, says what brings it; or the place is a device, say.
        """
        kind = TARGETS[self.kind]
        needs = {**kind.needs, **(DATABASE if self.place.startswith("sqlite:") else {})}
        for module, package in needs.items():
            if importlib.util.find_spec(module) is None:
                raise UsageError(f"{self.kind}: {package} is not installed: pip install 'exact-harness[{kind.extra}]'")
        expected, is_right = ("a folder", Path.is_dir) if self.kind in FOLDERS else ("a file", Path.is_file)
        if (path := self._path) is not None and path.exists() and not is_right(path):
            raise UsageError(f"{self.kind}: expected {expected}, or a name that is free, found something else: {self.place}")

    def check_writable(self) -> None:
        """See that this process may write to the place, as far as permissions tell.

        Raises: UsageError: it may not.
        """
        if (path := self._path) is None:
            return
        above = next(folder for folder in (path, *path.parents) if folder.is_dir())
        if not os.access(above, os.W_OK | os.X_OK):
            raise UsageError(
                f"{self.kind}: expected a place that this process may write to, found {path}: {above} is not writable"
            )

    @property
    def _path(self) -> Path | None:
        """The file or folder of this machine that is written; None where it is a server."""
        if self.kind == "mlflow" and not self.place.startswith(SQLITE):
            return None
        return Path(self.place.removeprefix(SQLITE)).absolute()

    def write(self, runs: Sequence[ExportedRun]) -> Exported:
        """Hand runs on.

        Args:
          runs: in the order in which the target gets them.
        Raises: HarnessError: it failed; the runs are as they were. UsageError: the place holds something else.
        """
        self.check()
        module = importlib.import_module(f"harness.export.{TARGETS[self.kind].module}")
        try:
            exported: Exported = module.write(runs, self.place)
        except HarnessError:
            raise
        except Exception as exc:
            problem = " ".join(str(exc).split())
            raise HarnessError(
                f"{self.kind}: export to {self.place} failed: {type(exc).__name__}: {problem}; the runs are as they were, and "
                "harness export can be said again: it adds what is not there yet"
            ) from exc
        return exported
