"""Every example in a docstring is right, whichever way the tests are started; every public name has a docstring and exists."""

import ast
import doctest
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for root, package in ((ROOT, "harness"), (ROOT / "launch", "harness_launch"))
    for path in (root / package).rglob("*.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_doctests_were_found():
    with_examples = [name for name in MODULES if ">>>" in (importlib.import_module(name).__doc__ or "") or _examples(name)]
    assert {"harness.exact.limbs", "harness.plan.plan", "harness.ranks.schedule", "harness_launch.workstation"} <= set(
        with_examples
    )


def _examples(name: str) -> bool:
    return any(test.examples for test in doctest.DocTestFinder().find(importlib.import_module(name)))


@pytest.mark.parametrize("name", MODULES)
def test_all_names_exist_and_say_what_they_do(name):
    module = importlib.import_module(name)
    tree = ast.parse(Path(module.__file__).read_text())
    if not tree.body:
        return  # an empty __init__
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        found = getattr(module, public)
        described = inspect.isclass(found) or (inspect.isfunction(found) and found.__name__ == public)  # decorators are values
        assert not described or found.__doc__, f"{name}.{public} has no docstring"
