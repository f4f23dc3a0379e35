"""What mkdocs is told beyond mkdocs.yml: the site has the files where the checkout has them, so that one link serves both.

mkdocs reads pages of docs/ alone. README.md and others lie beside it, and pages lead to examples and scripts. Here each is
added to the site under its own path; the links are written once, work on a git host, and mkdocs checks them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

__all__ = ["on_config", "on_files"]

ROOT = Path(__file__).parent.parent.parent
BESIDE = ("*.md", "LICENSE", "CITATION.cff", "versions.txt", "launch/*", "slurm/*", "examples/*/*", "benchmarks/*.json")
DECISIONS = "docs/decisions"
SUFFIXES = {"", ".cff", ".def", ".ipynb", ".json", ".md", ".png", ".py", ".sbatch", ".svg", ".txt", ".yaml", ".yml"}


def on_config(config: Any) -> Any:
    """Put the decisions into the navigation, so that a new one need not be named there."""
    pages = sorted(path.name for path in (ROOT / DECISIONS).glob("[0-9]*.md"))
    config.nav.append({"Decisions": [f"{DECISIONS}/{name}" for name in ("README.md", *pages)]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Return the files of the site: those of docs/ under docs/, and those beside it."""
    paths = [path for path in (ROOT / "docs").rglob("*") if "site" not in path.relative_to(ROOT).parts]
    paths += [path for pattern in BESIDE for path in ROOT.glob(pattern)]
    theme = [file for file in files if file.src_dir != config.docs_dir]
    pages = [path for path in paths if path.is_file() and path.suffix in SUFFIXES]
    return Files([*theme, *(_file(path, config) for path in sorted(pages))])


def _file(path: Path, config: Any) -> File:
    return File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path))
