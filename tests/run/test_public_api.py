"""What is for others to call: every option with its type and its meaning, and the same in all places that take it."""

from __future__ import annotations

import inspect
import pydoc
import re

import harness
from harness.run.options import Options


def options(call) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(call).parameters.values()
    return {parameter.name: parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def test_help_shows_every_option_with_its_type_and_meaning():
    shown = pydoc.plain(pydoc.render_doc(harness.evaluate))
    for name, parameter in inspect.signature(harness.evaluate).parameters.items():
        assert f"{name}: {parameter.annotation!r}" in shown, name
        assert re.search(rf"^ +{name}: [\w(]", shown, re.MULTILINE), name  # in Args


def test_all_take_the_same_options():
    of_evaluate, of_evaluator = options(harness.evaluate), options(harness.Evaluator)
    for name in ("output", "resume", "overwrite"):
        del of_evaluate[name]
    assert of_evaluate == of_evaluator
    assert {name: hint.__forward_arg__ for name, hint in Options.__annotations__.items()} == {
        name: parameter.annotation for name, parameter in of_evaluate.items()
    }
