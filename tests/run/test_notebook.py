"""The notebook among the examples: it holds no outputs, runs in a kernel of its own, and shows what it says."""

from __future__ import annotations

from typing import Any

import nbclient
import nbformat
import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / "examples" / "notebook" / "evaluate.ipynb"
# By Keras itself; run in the kernel after the notebook.
CHECKS = """
def share(model):
    return float((model.predict(test["image"], verbose=0).argmax(axis=1) == test["label"]).mean())

assert results["accuracy"] == both["small/accuracy"] == share(small)
assert both["large/accuracy"] == both.models.loc["accuracy", "large"] == share(large)
assert results.confusion_matrix.to_numpy().trace() == round(797 * share(small))
"""


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: Any, kind: str) -> list[str]:
    return [output.data["text/html"] for output in cell.outputs if output.output_type == kind]


def test_the_notebook_holds_no_outputs() -> None:
    assert all(not cell.outputs and cell.execution_count is None for cell in cells(nbformat.read(NOTEBOOK, 4)))


def test_the_notebook_runs(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, 4)
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS))
    client = nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    imports, *others = cells(notebook)
    assert "import keras" in imports.source  # which says on stderr what TensorFlow says
    for cell in others:
        assert [output for output in cell.outputs if output.output_type == "stream"] == [], cell.source
    # A bar that has become a line, in the cells that evaluate; not while Keras trains.
    bars = {number: shown(cell, "display_data") for number, cell in enumerate(others) if "harness." in cell.source}
    assert [[text.startswith("797 examples in ") for text in lines] for lines in bars.values()] == [[True], [True], []]
    results, slices, intervals, matrix, models, differences, epochs = (
        html for cell in others for html in shown(cell, "execute_result")
    )
    assert "every one of 797 examples counted once" in results
    assert "[-inf, 18)" in slices and "percentile" in intervals and "prediction" in matrix
    assert "large</th>" in models and "large - small" in differences and "accuracy" in epochs
