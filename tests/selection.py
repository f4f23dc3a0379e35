"""Which tests run: the long ones apart, a part of them by a key, in a random order where that is asked for.

`make test` leaves out what is marked long, `make test-all` runs everything, `make test-part KEY=...` a tenth of the long ones.
"""

from __future__ import annotations

import hashlib
import random

import pytest

__all__ = ["LONG", "SLOW", "in_part", "mark", "shuffled"]

# Whole runs and graphs: left out of `make quick`.
SLOW = (
    "cli/test_console", "data/test_bad_", "data/test_block_size", "data/test_data_keys", "data/test_features", "data/test_formats_run",
    "data/test_http", "data/test_np", "data/test_remote", "folder/test_commit", "folder/test_journal", "metrics/", "models/test_keras_usual",
    "models/test_tf_model", "predictions/", "ranks/test_process_exit", "results/test_intervals", "results/test_recompute", "run/test_api",
    "run/test_check", "run/test_doctor", "run/test_keras_callback", "step/", "sums/test_row_reduction", "test_bad_input", "test_coverage",
    "test_docs", "test_hard_sums", "test_near_zero", "test_packaging", "test_slices_bootstrap", "watch/test_time_split",
)  # fmt: skip

# Left out of `make test` as well: each with what proves the same there.
LONG: dict[str, str] = {}


def mark(items: list[pytest.Item]) -> None:
    """Mark what takes long by where it stands."""
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        if name.startswith(SLOW):
            item.add_marker("slow")
        if name.startswith(tuple(LONG)):
            item.add_marker("long")


def in_part(item: pytest.Item, key: str, parts: int = 10) -> bool:
    """Say whether a long test belongs to the part that a key chooses; the cases of a function stay together."""
    group = item.nodeid.partition("[")[0]
    chosen = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") % parts
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "little") % parts == chosen


def shuffled(items: list[pytest.Item], seed: int) -> list[pytest.Item]:
    """Return the tests in a random order: files, and the tests of each."""
    draws = random.Random(seed)
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    names = list(files)
    draws.shuffle(names)
    for tests in files.values():
        draws.shuffle(tests)
    return [item for name in names for item in files[name]]
