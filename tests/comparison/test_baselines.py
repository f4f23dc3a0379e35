"""Baselines that have names: what they keep, what is refused, and where they are looked for."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import harness
from harness.cli import cli
from harness.comparison import baselines
from harness.errors import HarnessError, RunFolderError, UsageError
from harness.report.subjects import read
from tests.comparison.test_compare import run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with two runs, `old` and `new`."""
    folder = tmp_path_factory.mktemp("named")
    for name, noise in (("old", 0.0), ("new", 0.8)):
        run(folder / name, noise, 11, metrics=["accuracy", "cross_entropy"])
    return folder


@pytest.fixture
def kept(runs, tmp_path, monkeypatch) -> Path:
    """A working folder with the run `new`, and `v1` kept of the other."""
    shutil.copytree(runs / "new", tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    baselines.save(runs / "old", "v1", Path("baselines"))
    return tmp_path


def command(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)
    return (2, str(done.exception)) if done.exception is not None else (done.return_value, done.output)


def test_a_baseline_compares_like_its_run(runs, kept, monkeypatch):
    names = [(runs / "old", "new"), ("v1", "new"), ("baselines/v1.zip", "new")]
    first, *others = [json.loads(harness.compare(*sides).text("json")) for sides in names]
    for found in others:
        assert found["comparisons"] == first["comparisons"] and len(first["comparisons"][0]["lines"]) == 8
    Path("rules.yaml").write_text("- accuracy: {may_drop: 0.9}\n- accuracy: {by: group, may_drop: 0.9}\n")
    code, text = command("gate", "new", "rules.yaml", "--baseline", "v1")
    assert code == 0 and text.splitlines()[-1] == "PASS: new"
    Path("baselines").rename("elsewhere")
    assert command("gate", "new", "rules.yaml", "--baseline", "v1", "--baselines", "elsewhere")[0] == 0
    monkeypatch.setenv("HARNESS_BASELINES", "elsewhere")
    assert harness.gate("new", [{"accuracy": {"may_drop": 0.9}}], "v1").verdict == "PASS"


def test_a_report_holds_runs_against_a_baseline(runs, kept):
    """What is drawn of the journal is left out, and the page says so; numbers and differences are those of the run."""
    reported, expected = read([Path("v1"), Path("new")]), read([runs / "old", Path("new")])
    assert [subject.name for subject in reported.subjects] == ["v1", "new"] and not reported.not_compared
    lines = [[(line.number, line.difference) for line in page.compared.comparisons[0].lines] for page in (reported, expected)]
    assert lines[0] == lines[1]
    Path("baselines").rename("elsewhere")
    assert command("report", "v1", "new", "-o", "page.html", "--baselines", "elsewhere")[0] == 0
    assert "No plots of v1: a baseline keeps no journal" in Path("page.html").read_text()
    assert command("report", "elsewhere/v1.zip", "--card")[0] == 0 and "accuracy" in Path("card.md").read_text()
    code, text = command("report", "v2", "new", "--baselines", "elsewhere")
    assert code == 2 and "v2: no run folder, and no baseline in elsewhere" in text and "v1" in text
    assert "expected the folder of a run" in command("report", "v2", "new")[1]


def test_the_same_run_gives_the_same_bytes(runs, kept):
    before = Path("baselines/v1.zip").read_bytes()
    code, text = command("baseline", "set", "v1", runs / "old")
    assert code == 0 and text == f"baseline: baselines/v1.zip, {len(before):,} bytes, in place of the one before\n"
    assert Path("baselines/v1.zip").read_bytes() == before
    assert len(before) < 60_000 and b"/" + runs.name.encode() not in before  # nor where the run lay
    assert command("baseline", "list") == (0, "v1\n")
    assert "cross entropy" in command("baseline", "show", "v1")[1]
    assert command("baseline", "remove", "v1")[0] == 0 and command("baseline", "list") == (0, "")


def test_what_is_no_baseline_is_refused_by_name(kept, runs):
    code, text = command("compare", "v2", "new")
    assert code == 2 and text == "v2: no run folder, and no baseline in baselines: valid: v1"
    with pytest.raises(UsageError, match="no baseline 'v2'"):
        baselines.remove("v2", Path("baselines"))
    code, text = command("baseline", "show", "v2")
    assert code == 2 and text.endswith("baselines: no baseline 'v2': valid: v1")
    with pytest.raises(UsageError, match="nowhere: no baseline 'v2': there is none yet, harness baseline set NAME RUN makes one"):
        baselines.read(baselines.file_of("v2", kept.parent / "nowhere"))
    for name in ("../v1", ".v1", "a/b", ""):
        with pytest.raises(UsageError, match="expected letters, digits"):
            baselines.save(runs / "old", name, Path("baselines"))
    for arguments in (("set", "b" * 300, "new"), ("remove", "b" * 300), ("show", "b" * 300)):
        code, text = command("baseline", *arguments)
        assert code == 2 and text.endswith("a name of 300 letters is too long: expected at most 150")
    baselines.save(runs / "old", "b" * 150, Path("longest"))
    with pytest.raises(RunFolderError, match="no finished run"):
        baselines.save(runs / "old" / "journal", "v3", Path("baselines"))
    shutil.copytree(runs / "old", "v1")
    with pytest.raises(UsageError, match="v1 is a run folder and a baseline in baselines"):
        harness.compare("v1", "new")
    assert harness.compare(Path("v1").absolute(), "new").comparisons


def edited(content: bytes, kind: str) -> bytes:
    """Return a baseline that was changed in some way."""
    if kind == "cut":
        return content[: len(content) // 2]
    if kind == "a byte":
        at = content.index(b'"accuracy"')
        return content[:at] + b'"accurazy"' + content[at + 10 :]
    if kind == "no zip":
        return b"value: 0.9\n"
    changed = Path("changed.zip")
    with zipfile.ZipFile("baselines/v1.zip") as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.infolist():
            if kind == "a member less" and entry.filename == "replicates.npz":
                continue
            member = old.read(entry)
            if kind == "a value" and entry.filename == "metrics.json":
                member = member.replace(b'"value": 0.', b'"value": 1.', 1)
            compression = zipfile.ZIP_DEFLATED if kind == "compressed" else zipfile.ZIP_STORED
            new.writestr(entry.filename, member, compression)
        if kind == "a member more":
            new.writestr("more.py", "1")
    return changed.read_bytes()


EDITS = {
    "cut": "torn, or no baseline",
    "a byte": "torn, or no baseline: Bad CRC-32 for file 'metrics.json'",
    "no zip": "torn, or no baseline",
    "a value": "metrics.json: not what `harness baseline set` wrote",
    "a member less": "replicates.npz: not what",
    "a member more": "more.py: not what",
    "compressed": "baseline.json is compressed",
}


def test_a_torn_or_edited_file_is_refused_by_name(kept):
    file, content = Path("baselines/v1.zip"), Path("baselines/v1.zip").read_bytes()
    for kind, words in EDITS.items():
        file.write_bytes(edited(content, kind))
        with pytest.raises(HarnessError) as caught:
            harness.compare("v1", "new")
        assert str(caught.value).startswith("baselines/v1.zip: ") and words in str(caught.value), kind
        file.write_bytes(content)
