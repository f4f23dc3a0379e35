"""The examples on the page, against the file that the run wrote: which, in which order, what is left out, where cells lead."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from click.testing import CliRunner

from harness.cli import cli
from harness.folder.run_folder import RunFolder
from harness.metrics.plots import Confusion
from harness.report import kept as keeping
from harness.report.cell_links import cell_links
from harness.report.kept import Kept, kept_section
from harness.report.page import render
from harness.report.sources import read_sources
from harness.report.subjects import read
from harness.results.examples import read_examples
from tests.report.folders import HOSTILE, KEPT_CLASSES, Page, number, pictured, write

PICTURE = tf.io.encode_png(np.zeros([8, 8, 1], np.uint8)).numpy()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictured(tmp_path_factory.mktemp("kept") / "run")


def content(*runs: Path, **options: Any) -> list[Kept]:
    section = kept_section(read(runs), **options)
    return section.content if section else []


def cards(page: Page) -> list[str]:
    return [str(attributes["alt"]).split(":")[0].removeprefix("Example ") for tag, attributes in page.elements if tag == "img"]


def written(folder: Path, columns: dict[str, Any], per: str = "all") -> Path:
    """Write a finished run that kept the examples of a table, all in one list and group where the table names none."""
    count = len(columns["id"])
    defaults = {
        "list": ["worst"] * count, "group": [""] * count, "place": range(1, count + 1), "file": ["a.csv"] * count,
        "record": range(count), "loss": [0.5] * count,
    }  # fmt: skip
    out = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(values) for name, values in (defaults | columns).items()}), out)
    write(
        folder,
        {"log_loss": number(0.4)},
        examples={
            "by": "log_loss",
            "per": per,
            "lists": ["worst"],
            "sha256": hashlib.sha256(out.getvalue()).hexdigest(),
        },
    )
    (folder / "examples.parquet").write_bytes(out.getvalue())
    return folder


def test_the_page_has_the_examples_of_the_file_in_their_order(run: Path) -> None:
    table = read_examples(RunFolder(run))
    assert table is not None
    text = render(read([run]))
    page = Page(text)
    assert cards(page) == [str(example) for example in table["id"]] and len(table) > 30
    assert text == render(read([run])) and len(page.scripts) == 1
    (kept,) = content(run)
    shown = [(own.key, group, example) for own in kept.lists for group in own.groups for example in group.examples]
    for (key, group, example), (_, line) in zip(shown, table.iterrows(), strict=True):
        assert (key, group.name) == (line["list"], line["group"] or "all examples")
        assert (example.label, example.prediction, example.file, example.record) == (
            line["label"], line["prediction"], line["file"], str(line["record"]),
        )  # fmt: skip
        assert float(example.loss) == pytest.approx(line["loss"], rel=1e-5)
        assert example.features == [("size", f"{line['id']}")] and example.wrong == (line["label"] != line["prediction"])
        best = sorted(zip(line["scores"], KEPT_CLASSES, strict=True), reverse=True)
        assert example.scores == [(name, f"{score:.3g}") for score, name in best]


def test_fewer_are_shown_where_that_is_asked_for_and_none_with_zero(run: Path, tmp_path: Path) -> None:
    table = read_examples(RunFolder(run))
    assert table is not None
    for most, expected in (("2", table[table["place"] <= 2]), ("0", table[:0])):
        done = CliRunner().invoke(
            cli, ["report", str(run), "--examples", most, "-o", str(tmp_path / "page.html")], standalone_mode=False
        )
        assert done.exception is None, done.exception
        text = (tmp_path / "page.html").read_text()
        assert cards(Page(text)) == [str(example) for example in expected["id"]]
        assert (f"{len(expected)} of {len(table)} are shown" in text) == (most == "2")
        assert ("#examples-0-" in text) == ('id="examples"' in text) == (most == "2")


def test_a_cell_leads_to_its_examples_and_a_matrix_of_other_labels_to_none(run: Path) -> None:
    reported = read([run])
    section, (source,) = kept_section(reported), read_sources(reported)
    assert section is not None
    kept = section.content
    links = {own.key: cell_links(kept, source, own) for own in source.plots}
    matrix = next(own.plot for own in source.plots if own.key == "confusion_matrix")
    cells = {(row, column) for row, counts in enumerate(matrix.counts) for column, count in enumerate(counts) if count}
    assert set(links["confusion_matrix"]) == cells and links["of_another"] == {}
    own = next(own for own in source.plots if own.plot is matrix)
    two = replace(own, plot=Confusion(("cat", "bird"), ((5, 5), (5, 5))))
    assert {len(cell_links(kept, source, other)) for other in (own, two)} == {len(cells), 4}
    logits = replace(two, binding=replace(two.binding, from_logits=True))
    for other in (replace(own, options={"threshold": 0.8}), replace(two, options={"raw_scores": True}), logits):
        assert cell_links(kept, source, other) == {}
    groups = {group.anchor: group for group in kept[0].lists[0].groups}
    for (row, column), link in links["confusion_matrix"].items():
        group = groups[link.target.removeprefix("#")]
        assert {(example.label, example.prediction) for example in group.examples} == {(KEPT_CLASSES[row], KEPT_CLASSES[column])}
        assert group.count == min(matrix.counts[row][column], 4)
    page = Page(render(reported))
    places = [
        attributes for tag, attributes in page.elements if tag == "a" and (attributes["href"] or "").startswith("#examples-")
    ]
    names = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {str(place["href"]).removeprefix("#") for place in places} <= names
    drawn = [place for place in places if place.get("tabindex") == "-1"]
    assert len(drawn) == 2 * len(cells)  # a cell and its number
    assert not any("target" in place for place in places)
    titles = [attributes["aria-label"] for _, attributes in page.elements if "drawing" in (attributes.get("class") or "")]
    assert {"Confusion matrix, of_another", "Confusion matrix, confusion_matrix"} <= {
        str(title).split(":")[0] for title in titles
    }


def test_each_run_has_its_own_and_one_whose_file_is_another_says_so(run: Path, tmp_path: Path) -> None:
    other, without = pictured(tmp_path / "other", -1.0), write(tmp_path / "without", {"cross_entropy": number(0.5)})
    first, second = content(run, without, other)
    assert (first.name, second.name) == ("run", "other")
    assert [kept.lists[0].groups[0].anchor for kept in (first, second)] == ["examples-0-0", "examples-1-0"]
    torn = Path(shutil.copytree(other, tmp_path / "torn"))
    (torn / "examples.parquet").write_bytes(b"PAR1")
    text = render(read([run, torn]))
    assert "No examples: examples.parquet is not the file whose SHA-256 metrics.json names" in text
    (torn / "examples.parquet").unlink()
    assert "No such file" in content(torn)[0].missing
    assert kept_section(read([without])) is None


def test_hostile_examples_are_text_that_is_cut(tmp_path: Path) -> None:
    run = written(tmp_path / "run", {
        "id": [7, 3], "label": [HOSTILE, None], "prediction": ["x" * 10**6, HOSTILE], "loss": [float("nan"), 1.5],
        "confidence": [None, 0.25], "scores": [[0.25], [float("nan")]], "file": [HOSTILE, "b\nc"], "text": ["\x1b[2J{{ 7 * 7 }}" * 10**5, HOSTILE],
        "feature:" + HOSTILE: [[1.0] * 9, None], "group": ["</details>"] * 2,
    })  # fmt: skip
    text = render(read([run]))
    assert (
        len(text) < 60_000 and "<script>alert" not in text and "<img" not in text and "\x1b" not in text and "{{ 7 * 7 }}" in text
    )
    assert "Texts are cut after 300 letters." in text
    example, other = content(run)[0].lists[0].groups[0].examples
    assert (example.loss, example.confidence, example.scores) == ("NaN", "null", [("", "0.25")])
    assert other.label == "null" and len(example.prediction) == 60 and example.prediction.endswith("…")
    assert example.features[0][1] == "1, 1, 1, 1, 1, …" and other.file == "b c" and other.text == HOSTILE.replace("\x1b", "\\x1b")
    assert text.index("<b>7</b>") < text.index("<b>3</b>")


def test_pictures_and_examples_of_a_page_are_bounded_the_first_of_each_group_before_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, places = np.repeat(["", "a", "b"], 4), np.tile(np.arange(1, 5), 3)
    run = written(
        tmp_path / "run", {"id": range(12), "group": groups, "place": places, "thumbnail": [PICTURE] * 11 + [b"<svg>"]}, "slice"
    )
    size = 4 * -(-len(PICTURE) // 3)
    monkeypatch.setattr(keeping, "MOST_PICTURE_BYTES", 4 * size)
    (kept,) = content(run)
    assert kept.parts == "slices" and kept.pictured
    seen = [example.id for group in kept.lists[0].groups for example in group.examples if example.picture]
    assert seen == ["0", "1", "4", "8"] and any("8 pictures are left out" in note for note in kept.notes)
    monkeypatch.setattr(keeping, "MOST_SHOWN", 7)
    (kept,) = content(run)
    assert [len(group.examples) for group in kept.lists[0].groups] == [2, 2, 2] and "6 of 12 are shown" in kept.notes[0]
    monkeypatch.setattr(keeping, "MOST_SHOWN", 2)
    (kept,) = content(run)
    assert [(group.name, len(group.examples)) for group in kept.lists[0].groups] == [("all examples", 1), ("a", 1)]


def test_examples_of_numbers_are_a_table_without_a_wrong_one(tmp_path: Path) -> None:
    run = written(tmp_path / "run", {"id": [5, 2], "label": [1.5, float("nan")], "prediction": [2.0, 1e9]})
    question = {"metrics": [{"key": "log_loss", "binding": {"inputs": "NUMBERS"}}]}
    (run / "question.json").write_text(json.dumps({"question": question}))
    (kept,) = content(run)
    assert [(own.label, own.prediction, own.wrong) for own in kept.lists[0].groups[0].examples] == [
        ("1.5", "2", False), ("null", "1e+09", False),
    ]  # fmt: skip
    assert ["5", "0.5", "1.5", "2", "a.csv", "0"] in Page(render(read([run]))).rows
