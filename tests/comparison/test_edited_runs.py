"""Runs whose files were edited: refused with the name of the file and exit code 2, by all that read them."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import RunFolderError
from harness.results.run_document import parsed
from tests.cli.commands import command
from tests.comparison.test_compare import run

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with slices, intervals and replicates of both."""
    return run(tmp_path_factory.mktemp("edited") / "old", 0.0, 11, metrics=["accuracy", {"recall": {"average": "per_class"}}])


@pytest.fixture
def edited(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be edited, beside rules."""
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text("- accuracy: {at_least: 0.01}\n")
    shutil.copytree(source, "new")
    return Path("new")


def refusals(source: Path, edited: Path) -> dict[str, str]:
    """Return what each command that holds runs against each other says of an edited run, without its exit code."""
    commands = {
        "compare": ["compare", source, edited],
        "gate": ["gate", edited, "rules.yaml"],
        "set": ["baseline", "set", "kept", edited],
    }
    messages = {}
    for name, arguments in commands.items():
        code, messages[name] = command(*arguments)
        assert code == 2, f"{name}: {code}: {messages[name]}"
    return messages


def change(path: tuple[Any, ...], value: Any) -> Edit:
    """Return what puts a value into a document at a path."""

    def edit(document: dict[str, Any]) -> Any:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return document

    return edit


DOCUMENTS: list[tuple[Edit, str]] = [
    (lambda _: {}, "metrics / field required"),
    (lambda _: {"metrics": {"accuracy": 5}}, "metrics / accuracy / input should be a valid dictionary"),
    (lambda _: [], "expected an object, found list"),
    (lambda _: None, "expected an object, found NoneType"),
    (change(("metrics",), []), "metrics / input should be a valid dictionary"),
    (change(("metrics", "accuracy", "value"), [1]), "metrics / accuracy / value"),
    (change(("metrics", "accuracy", "value"), float("nan")), "metrics / accuracy / value"),
    (change(("metrics", "accuracy", "value"), {"columns": "x", "rows": []}), "metrics / accuracy / value"),
    (change(("metrics", "accuracy", "examples"), "many"), "metrics / accuracy / examples"),
    (change(("metrics", "recall", "support"), 5), "metrics / recall / support"),
    (change(("certificate",), 5), "certificate / "),
    (change(("certificate", "id_hash"), 5), "certificate / id_hash"),
    (change(("digests",), {}), "digests / data / field required"),
    (change(("definitions",), ["accuracy"]), "definitions / "),
    (change(("definitions", "accuracy", "better"), "sideways"), "definitions / accuracy / better"),
    (change(("intervals", "accuracy"), {"cat": {"low": 0.1, "high": 0.2}}), "accuracy has intervals by name"),
    (change(("intervals", "accuracy", "low"), "0.1"), "intervals / accuracy"),
    (change(("bootstrap",), "yes"), "bootstrap / "),
    (change(("slices",), {"a": 1}), "slices / "),
    (change(("slices", 0, "slice"), "group"), "slices / 0 / slice"),
    (lambda whole: whole["slices"][1]["metrics"].pop("accuracy") and whole, "slice 1 has other metrics than the first one"),
]


def test_an_edited_result_is_named_with_the_place(source: Path, edited: Path) -> None:
    text = (edited / "metrics.json").read_text()
    for edit, words in DOCUMENTS:
        (edited / "metrics.json").write_text(json.dumps(edit(json.loads(text))))
        for name, message in refusals(source, edited).items():
            assert message.startswith("new/metrics.json: not what a run writes: ") and words in message, (name, words, message)
        if "digests" not in words:  # which comparisons alone need
            for arguments in (["show"], ["show", "--markdown"], ["report"], ["report", "--card"], ["collect"]):
                code, message = command(arguments[0], edited, *arguments[1:])
                assert code == 2 and "new/metrics.json: not what a run writes: " in message, (arguments, words, message)
    assert not Path("baselines").exists()


def test_a_torn_file_is_no_missing_one(source: Path, edited: Path) -> None:
    for name in ("metrics.json", "resolved_job.json"):
        content = (edited / name).read_bytes()
        for torn in (content[: len(content) // 2], b"", b"[" * 200_000):
            (edited / name).write_bytes(torn)
            for message in refusals(source, edited).values():
                assert message.startswith(f"new/{name}: torn, or not what a run writes: ")
        (edited / name).write_bytes(content)
    (edited / "resolved_job.json").write_text('{"data": 5}')
    assert refusals(source, edited)["gate"] == "new/resolved_job.json: not what a run writes: data: expected an object"


def test_a_question_that_is_none_is_named(source: Path, edited: Path) -> None:
    for content in ("5", '"x"', "[]", '{"version": 2, "question": 5}', '{"version": 2, "question": {"metrics": 5}}', "{"):
        (edited / "question.json").write_text(content)
        for message in refusals(source, edited).values():
            assert message.startswith("new/question.json")
        for arguments in (["report", edited], ["show", edited, "--sort", "accuracy"]):
            code, message = command(*arguments)
            assert code == 2 and message.startswith("new/question.json: "), message


def test_replicates_of_another_type_or_shape_are_refused(source: Path, edited: Path) -> None:
    for file in ("replicates.npz", "slice_replicates.npz"):
        with np.load(edited / file) as archive:
            arrays = {name: archive[name] for name in archive.files}
        right = arrays["accuracy"]
        wrong = [
            right.astype(str), np.stack([right] * 3, axis=-1), right[..., :0], right[..., :-1], right[:-1],
            right.astype([("value", float)]), right.astype("datetime64[s]"), right.astype(complex), right.astype(bool),
            right.astype(np.float32), right.astype(">f8"), right[..., 0][()],
        ]  # fmt: skip
        for array in wrong:
            np.savez(edited / file, **{**arrays, "accuracy": array})
            for message in refusals(source, edited).values():
                assert message.startswith(f"new: {file}: not what a run writes: accuracy: expected float64 ["), message
        np.savez(edited / file, **arrays)
    assert command("gate", edited, "rules.yaml")[0] == 0


def test_a_baseline_with_right_digests_is_looked_into_as_well(source: Path, edited: Path) -> None:
    assert command("baseline", "set", "kept", source)[0] == 0
    file = Path("baselines/kept.zip")
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "baseline.json"}
    for name in ("metrics.json", "question.json", "data_keys.json"):
        for content in (b"[" * 200_000, b"[]", b"{}", b"5", b'"x"'):
            if (name, content) == ("data_keys.json", b"{}"):
                continue  # of a run before there were such keys
            changed = {**members, name: content}
            digests = {member: hashlib.sha256(own).hexdigest() for member, own in changed.items()}
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("baseline.json", json.dumps({"schema_version": 1, "sha256": digests}))
                for member, own in changed.items():
                    archive.writestr(member, own)
            for arguments in (["compare", "kept", edited], ["gate", edited, "rules.yaml", "--baseline", "kept"]):
                code, message = command(*arguments)
                assert code == 2 and message.startswith(f"{file}: {name}: "), (name, content[:5], message)
            assert command("baseline", "show", "kept")[0] == 2


def test_what_is_nested_too_deep_is_refused_whatever_reads_it() -> None:
    with pytest.raises(RunFolderError, match="^here: torn, or not what a run writes: "):
        parsed(b'{"a": ' * 200_000, "here")


def test_names_are_shown_in_documents_and_never_obeyed(edited: Path) -> None:
    name = "*b* `c` [d](e)\nf\x1b[2K\a\u202e"
    document = json.loads((edited / "metrics.json").read_text())
    for part in document["slices"]:
        part["slice"] = {"group": f"{name}{part['slice']['group']}"}
    document["definitions"]["accuracy"]["label"] = name
    (edited / "metrics.json").write_text(json.dumps(document))
    shutil.copytree(edited, "two\nlines")
    Path("slices.yaml").write_text("- accuracy: {by: group, at_least: 1.0}\n")
    assert command("compare", edited, "two\nlines", "-o", "c.md", "-o", "c.tex")[0] == 0
    assert command("gate", edited, "slices.yaml", "-o", "g.md")[0] == 1
    code, annotations = command("gate", edited, "slices.yaml", "--github")
    assert code == 1
    texts = {name: Path(name).read_text() for name in ("c.md", "c.tex", "g.md")}
    texts |= {"github": annotations, "show": command("show", edited, "--markdown")[1]}
    for kind, text in texts.items():
        assert [letter for letter in text if not letter.isprintable() and letter != "\n"] == [], kind
    written_out = r"\*b\* \`c\` \[d\](e)\\nf\\x1b\[2K\\x07\\u202e"
    assert all(written_out in texts[kind] for kind in ("c.md", "g.md", "show")), texts
    assert r"two\textbackslash{}lines" not in texts["c.tex"] and r"two\textbackslash{}nlines" in texts["c.tex"]
    assert all(line.startswith("::") for line in annotations.splitlines())
