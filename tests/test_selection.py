"""The long tests are there under the names by which they are left out, and every one is in one part."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.selection import LONG, SLOW, in_part, shuffled

TESTS = Path(__file__).parent


@pytest.mark.parametrize("prefix", [*LONG, *SLOW])
def test_what_is_left_out_is_there(prefix):
    path, _, function = prefix.partition("[")[0].partition("::")
    files = [file for file in TESTS.rglob("test_*.py") if str(file.relative_to(TESTS)).startswith(path)]
    assert files and any(f"def {function}" in file.read_text() for file in files)


def test_each_long_test_is_in_one_part_and_a_key_chooses_it():
    names = [f"tests/test_a.py::test_{number}[{case}]" for number in range(200) for case in "ab"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    parts = {key: {item.nodeid for item in items if in_part(item, key)} for key in map(str, range(60))}
    assert set().union(*parts.values()) == set(names) and len(set(map(frozenset, parts.values()))) == 10
    assert all((f"{name}[a]" in part) == (f"{name}[b]" in part) for part in parts.values() for name in map(str, range(3)))
    assert 10 < len(parts["0"]) < 80


def test_an_order_is_of_its_seed_and_keeps_files_together():
    items = [SimpleNamespace(nodeid=f"{file}::test_{number}") for file in "abcd" for number in range(5)]
    once, again, other = (shuffled(items, seed) for seed in (1, 1, 2))
    assert once == again != other and sorted(item.nodeid for item in once) == sorted(item.nodeid for item in items)
    files = [item.nodeid[0] for item in once]
    assert sum(a != b for a, b in pairwise(files)) == 3
