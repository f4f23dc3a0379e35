"""The bar in a notebook: what it shows, when, and what is left of it; no kernel is started."""

from __future__ import annotations

import sys
import types

import pytest

from harness.watch.notebook_bar import NotebookBar, running_notebook


class Shell:
    kernel = None
    execution_count = 1


@pytest.fixture
def outputs(monkeypatch) -> list[list[str]]:
    """What each output area of the notebook showed, one after the other."""
    shown: list[list[str]] = []

    class Display:
        def __init__(self, content):
            shown.append([])
            self.update(content, raw=True)

        def update(self, content, raw):
            assert raw and content["text/plain"] in content["text/html"]
            bar = content["text/html"].removesuffix(content["text/plain"])
            shown[-1].append(bar + content["text/plain"])

    module = types.ModuleType("IPython.display")
    module.display = lambda content, raw, display_id: Display(content)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_a_bar_becomes_one_line(outputs):
    now = [0.0]
    bar = NotebookBar(Shell(), clock=lambda: now[0])
    with bar.shown("evaluating"):
        bar.expect(1000, ", the share of rank 0 of 2")
        for now[0], examples in ((1.0, 5000), (1.05, 5100), (3.0, 5500)):  # so many were done before
            bar.move(examples)
    now[0] = 4.25
    bar.finish("6,000 examples")
    assert outputs == [
        [
            "<progress></progress> evaluating ...",
            '<progress value="0" max="1000"></progress> 0 of 1,000 examples, the share of rank 0 of 2',
            '<progress value="500" max="1000"></progress> 500 of 1,000 examples, the share of rank 0 of 2, 250/s, 2 s left',
            "6,000 examples in 4.2 s",
        ]
    ]


def test_a_cell_has_one_output_and_a_failure_leaves_none(outputs):
    shell = Shell()
    bar = NotebookBar(shell)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), bar.shown("opening"):
            raise KeyboardInterrupt
    assert outputs == [["<progress></progress> opening ...", ""] * 2]
    shell.execution_count = 2
    bar.say("evaluating")
    assert outputs[1] == ["<progress></progress> evaluating ..."]


def test_there_is_a_bar_in_a_notebook_alone(outputs, monkeypatch):
    ipython = sys.modules["IPython"]
    shells = {"notebook": Shell(), "terminal": types.SimpleNamespace(), "script": None}
    seen = []
    for shell in shells.values():
        ipython.get_ipython = lambda shell=shell: shell
        seen.append(running_notebook())
    assert seen == [shells["notebook"], None, None]
    monkeypatch.delitem(sys.modules, "IPython")
    assert running_notebook() is None
    with NotebookBar().shown("evaluating"):
        NotebookBar().move(3)
    assert outputs == []
