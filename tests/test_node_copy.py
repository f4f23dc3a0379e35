"""The copy of a model on a node: when it is made, that it is whole, and that nobody else's is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.job import ModelSpec
from harness.model_files import digest
from harness.node_copy import copy_to_node, is_remote, node_path, wants_copy


def model(folder: Path) -> Path:
    place = folder / "shared" / "m"
    (place / "variables").mkdir(parents=True)
    (place / "saved_model.pb").write_bytes(b"graph")
    (place / "variables" / "variables.index").write_bytes(b"index")
    return place


def mounts(folder: Path, kind: str) -> Path:
    table = folder / "mounts"
    table.write_text(f"root / ext4 rw 0 0\nserver:/x {folder / 'shared'} {kind} rw 0 0\nproc /proc proc rw 0 0\n")
    return table


@pytest.mark.parametrize(
    "kind, remote", [("nfs4", True), ("lustre", True), ("fuse.s3fs", True), ("ext4", False), ("overlay", False)]
)
def test_network_file_systems_are_told_by_the_table_of_mounts(tmp_path, kind, remote):
    place = model(tmp_path)
    assert is_remote(str(place), mounts(tmp_path, kind)) is remote
    assert is_remote(str(tmp_path), mounts(tmp_path, kind)) is False  # above the mount


@pytest.mark.parametrize(
    "keys, ranks, wanted",
    [
        ({"node_copy_bytes": 10}, 2, True),  # graph and index: 10 bytes
        ({"node_copy_bytes": 11}, 2, False),
        ({"node_copy_bytes": 10}, 1, False),
        ({"node_copy": "never", "node_copy_bytes": 0}, 2, False),
        ({"node_copy": "always"}, 1, True),
    ],
)
def test_large_models_on_a_network_are_copied_or_those_that_the_job_names(tmp_path, keys, ranks, wanted):
    place = model(tmp_path)
    assert wants_copy(ModelSpec(path="m", **keys), str(place), ranks, mounts(tmp_path, "nfs")) is wanted


def test_the_copy_is_the_model_and_is_made_once(tmp_path):
    place, cache = model(tmp_path), tmp_path / "cache"
    mark = digest(str(place))
    made = copy_to_node(str(place), mark, cache)
    assert made == node_path(str(place), mark, cache) and digest(str(made)) == mark
    stamp = (made / "saved_model.pb").stat().st_ino
    assert copy_to_node(str(place), mark, cache) == made
    assert (made / "saved_model.pb").stat().st_ino == stamp
    (made / "saved_model.pb").write_bytes(b"other")  # somebody was there
    assert digest(str(copy_to_node(str(place), mark, cache))) == mark
    assert [path.name for path in made.parent.iterdir()] == ["m"]  # nothing is left of the work


def test_a_model_that_changes_meanwhile_is_refused(tmp_path):
    place = model(tmp_path)
    mark = digest(str(place))
    (place / "saved_model.pb").write_bytes(b"new")
    with pytest.raises(ModelError, match="changed while it was copied"):
        copy_to_node(str(place), mark, tmp_path / "cache")
    assert not node_path(str(place), mark, tmp_path / "cache").exists()


def test_a_folder_that_others_may_write_is_refused(tmp_path):
    place, cache = model(tmp_path), tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(ModelError, match="others may write here; set HARNESS_CACHE"):
        copy_to_node(str(place), digest(str(place)), cache)
