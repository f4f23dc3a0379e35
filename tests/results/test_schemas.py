"""The schemas of docs/schemas: valid, held against what is written, and of the version that is written."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from harness.folder.run_folder import RunFolder, write_atomically
from harness.results.definitions import SCHEMA_VERSION
from tests import schemas


@pytest.mark.parametrize("name", ["metrics.json", "run.json", "status.json"])
def test_a_schema_is_one(name: str) -> None:
    schema = json.loads((schemas.FOLDER / name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"].get("schema_version", {"const": SCHEMA_VERSION}) == {"const": SCHEMA_VERSION}


def test_what_is_not_in_the_schema_is_not_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.set_status("running", None, pid=1, ranks=1, attempt=1)
    with pytest.raises(jsonschema.ValidationError, match="'walking' is not one of"):
        folder.set_status("walking", None)
    with pytest.raises(jsonschema.ValidationError, match="Additional properties are not allowed"):
        folder.set_status("done", 0, mood="good")
    with pytest.raises(jsonschema.ValidationError, match="'certificate' is a required property"):
        write_atomically(folder.metrics_json, "{}")
    assert json.loads(folder.status_json.read_text())["state"] == "running"


def test_what_other_processes_wrote_is_found(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "status.json").write_text('{"state": "done"}')
    schemas.check_written(tmp_path, (tmp_path / "run" / "status.json").stat().st_mtime + 1)
    with pytest.raises(jsonschema.ValidationError, match="'exit_code' is a required property"):
        schemas.check_written(tmp_path, 0)
