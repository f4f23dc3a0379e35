"""What is for others to call: every option with its type and its meaning, and the same in all places that take it."""

from __future__ import annotations

import inspect
import pydoc
import re

import pytest

import harness
from harness.cli import cli
from harness.run.options import Options


def options(call) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(call).parameters.values()
    return {parameter.name: parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


COMPARING = [harness.compare, harness.compare_checkpoints, harness.compare_examples, harness.gate]


@pytest.mark.parametrize("call", [harness.evaluate, *COMPARING], ids=lambda call: call.__name__)
def test_help_shows_every_option_with_its_type_and_meaning(call):
    shown = pydoc.plain(pydoc.render_doc(call))
    for name, parameter in inspect.signature(call).parameters.items():
        assert f"{name}: {parameter.annotation!r}" in shown, name
        assert re.search(rf"^ +(\w+, )*{name}(, \w+)*: [\w(]", shown, re.MULTILINE), name  # in Args


def test_every_option_of_the_command_has_one_in_python():
    """--curve and --examples are functions, --unpaired is pair=False; what is written is asked of the answer."""
    elsewhere = {"runs", "curve", "examples", "unpaired", "form", "outputs", "quiet", "verbose"}
    asked = {parameter.name for parameter in cli.commands["compare"].params} - elsewhere
    taken = {name.rstrip("s") for call in COMPARING for name in inspect.signature(call).parameters}
    assert {name.rstrip("s") for name in asked} <= taken


def test_all_take_the_same_options():
    of_evaluate, of_evaluator = options(harness.evaluate), options(harness.Evaluator)
    for name in ("output", "resume", "overwrite"):
        del of_evaluate[name]
    assert of_evaluate == of_evaluator
    assert {name: hint.__forward_arg__ for name, hint in Options.__annotations__.items()} == {
        name: parameter.annotation for name, parameter in of_evaluate.items()
    }
