"""The long tests are there under the names by which they are left out, and every one is in one part."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.selection import APART, FIRST, LONG, SLOW, longest_first, part, shuffled, unit

TESTS = Path(__file__).parent


@pytest.mark.parametrize("prefix", [*FIRST, *LONG, *SLOW, *APART])
def test_what_is_left_out_is_there(prefix):
    path, _, function = prefix.partition("[")[0].partition("::")
    files = [file for file in TESTS.rglob("test_*.py") if str(file.relative_to(TESTS)).startswith(path)]
    assert files and any(f"def {function}" in file.read_text() for file in files)


def test_each_long_test_is_in_one_part_and_a_key_chooses_it():
    names = [f"tests/test_a.py::test_{number}[{case}]" for number in range(43) for case in "ab"]
    items = [SimpleNamespace(nodeid=name, get_closest_marker=lambda marker: True) for name in names]
    short = SimpleNamespace(nodeid="tests/test_a.py::test_short", get_closest_marker=lambda marker: None)
    parts = {frozenset(item.nodeid for item in part([*items, short], str(key))) for key in range(60)}
    assert len(parts) == 10 and sorted(name for names in parts for name in names) == sorted(names)
    assert all((name in one) == (name.replace("[a]", "[b]") in one) for one in parts for name in names[::2])
    assert {len(one) for one in parts} == {8, 10}


def test_what_takes_longest_comes_first_and_the_others_stay_as_they_are():
    names = [
        "tests/a.py::test_b",
        f"tests/{FIRST[3]}[x]",
        f"tests/{FIRST[1]}::test_d",
        f"tests/{FIRST[1]}::test_c",
        "tests/a.py::test_a",
    ]
    ordered = longest_first([SimpleNamespace(nodeid=name) for name in names])
    assert [item.nodeid for item in ordered] == [names[2], names[3], names[1], names[0], names[4]]


def test_a_worker_takes_a_file_or_a_test_of_those_that_share_nothing():
    assert unit("tests/a/test_b.py::test_c[d::e]") == "tests/a/test_b.py"
    assert unit(f"tests/{APART[0]}::test_c[d::e]") == f"tests/{APART[0]}::test_c[d::e]"


def test_an_order_is_of_its_seed_and_keeps_files_together():
    items = [SimpleNamespace(nodeid=f"{file}::test_{number}") for file in "abcd" for number in range(5)]
    once, again, other = (shuffled(items, seed) for seed in (1, 1, 2))
    assert once == again != other and sorted(item.nodeid for item in once) == sorted(item.nodeid for item in items)
    files = [item.nodeid[0] for item in once]
    assert sum(a != b for a, b in pairwise(files)) == 3
