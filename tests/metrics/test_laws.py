"""The laws of a metric, over every one in the registry, through the whole of the harness: reader, step, sum, value.

Each run computes all metrics anew, from the same examples cut and ordered in another way; a metric's entry has to be the
same, bit for bit.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.metrics import METRICS, load
from tests import laws

WEIGHTED = [name for name in METRICS if load(name).takes_weights]
ALL = [*METRICS, *(f"{name} weighted" for name in WEIGHTED)]
ENTRIES = dict[str, dict]


class Bench:
    """Runs all metrics over the same examples, cut and ordered in some way; keeps what it has run."""

    def __init__(self, folder: Path, run) -> None:
        laws.save_mirror(folder / "mirror")
        self._folder, self._run = folder, run
        self._done: dict[str, ENTRIES] = {}
        self._failed: dict[str, str] = {}  # what a run wrote to stderr where it failed; it is not tried again

    def entries(self, name: str, *, parts=None, batch_size=64, chunk_size=128, change=None, environ=None) -> ENTRIES:
        """Evaluate; `parts` are index arrays, one a file."""
        if name not in self._failed:
            columns = laws.columns()
            if change:
                change(columns)
            parts = [np.arange(laws.EXAMPLES)] if parts is None else parts
            for number, ids in enumerate(parts):
                np.savez(self._folder / f"{name}-{number}.npz", **{key: column[ids] for key, column in columns.items()})
            job = {
                "model": "mirror", "batch_size": batch_size, "chunk_size": chunk_size, "metrics": laws.metrics(),
                "data": {"files": [f"{name}-{n}.npz" for n in range(len(parts))], "inputs": {f"{o}_in": o for o in laws.OUTPUTS}},
            }  # fmt: skip
            (self._folder / f"{name}.yaml").write_text(yaml.safe_dump(job))
            done = self._run("evaluate", self._folder / f"{name}.yaml", "-o", self._folder / name, environ=environ)
            self._failed[name] = "" if done.code == 0 else done.err
            if not done.code:
                self._done[name] = json.loads((self._folder / name / "metrics.json").read_text())["metrics"]
        assert not self._failed[name]
        return self._done[name]


@pytest.fixture(scope="module")
def bench(cli_server, tmp_path_factory) -> Bench:
    from tests.conftest import command

    folder = tmp_path_factory.mktemp("laws")
    return Bench(folder, partial(command, cli_server, folder))


@pytest.fixture(scope="module")
def base(bench) -> ENTRIES:
    return bench.entries("base")


def test_every_metric_is_here(base):
    assert set(base) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_it_has_a_value(base, name):
    """A law that only nulls obey would say nothing."""
    assert base[name]["value"] is not None, base[name]
    assert base[name]["examples"] == laws.EXAMPLES


@pytest.mark.parametrize("name", ALL)
def test_chunks_and_batches_do_not_matter(base, bench, name):
    """22 batches, the last of 3 examples: padding that counted would show, and so would a carry."""
    assert bench.entries("small", batch_size=7, chunk_size=21)[name] == base[name]


@pytest.mark.parametrize("name", ALL)
def test_sums_compiled_with_xla_are_the_same(base, bench, name):
    """A run of millions of examples compiles them, these runs do not."""
    assert bench.entries("compiled", environ={"XLA_POSITIONS": "0"})[name] == base[name]


@pytest.mark.parametrize("name", ALL)
def test_order_and_empty_parts_do_not_matter(base, bench, name):
    order = np.random.default_rng(5).permutation(laws.EXAMPLES)
    parts = [order[:0], order[:60], order[60:60], order[60:61], order[61:]]
    assert bench.entries("shuffled", parts=parts, batch_size=32, chunk_size=32)[name] == base[name]


def spoil(columns: dict[str, np.ndarray]) -> None:
    """The first example of the last batch: what repeats it is padding and must not count again."""
    for name in ("scores", "chance", "several", "amount", "vector"):
        columns[name][128] = np.nan


# A term for each entry of the covariance matrix that the example's one NaN reaches.
TERMS = {"fid": 14}


@pytest.mark.parametrize("name", ALL)
def test_padding_is_inert_even_where_it_is_nan(base, bench, name):
    """The last batch is padded with 42 copies of an example that holds a NaN: it counts once, or not at all."""
    entry = bench.entries("padded", change=spoil)[name]
    if name == "nan_count":
        assert entry == {"examples": laws.EXAMPLES, "value": 1}
    elif entry != base[name]:
        assert entry["value"] is None and entry["reason"].split()[0] == str(TERMS.get(name, 1)), entry
        assert laws.EXAMPLES - 1 <= entry["examples"] <= laws.EXAMPLES


def test_the_check_above_can_fail(bench):
    entries = bench.entries("padded", change=spoil)
    assert entries["mean"]["value"] is None and entries["mean"]["reason"].startswith("1 predictions are NaN")
    assert entries["nan_count"]["value"] == 1
