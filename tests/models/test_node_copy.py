"""The copy of a model on a node: when it is made, that it is whole, and that nobody else's is taken."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.job.specs import ModelSpec
from harness.models.files import digest
from harness.models.node_copy import copy_to_node, is_remote, node_path, wants_copy


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


def test_what_is_made_is_for_this_user_alone(tmp_path):
    """Folders above the cache that are missing too, and the copy of a model that others may write to where it comes from."""
    place, cache = model(tmp_path), tmp_path / "above" / "further" / "cache"
    (place / "variables").chmod(0o777)
    (place / "saved_model.pb").chmod(0o666)
    before = os.umask(0)
    try:
        made = copy_to_node(str(place), digest(str(place)), cache)
    finally:
        os.umask(before)
    folder = made
    while folder != tmp_path:
        assert stat.S_IMODE(folder.lstat().st_mode) == 0o700, folder
        folder = folder.parent
    assert stat.S_IMODE((made / "variables").lstat().st_mode) == 0o700
    assert stat.S_IMODE((made / "saved_model.pb").lstat().st_mode) == 0o600


@pytest.mark.parametrize("level", ["", "models", "models/MARK"])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
def test_a_folder_that_others_may_write_is_refused(tmp_path, level, mode):
    place, cache = model(tmp_path), tmp_path / "cache"
    mark = digest(str(place))
    folder = cache / level.replace("MARK", mark[:32])
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(ModelError, match=rf"others may write here \(mode {mode:o}\).*: set HARNESS_CACHE") as caught:
        copy_to_node(str(place), mark, cache)
    assert str(folder) in str(caught.value)
    assert not node_path(str(place), mark, cache).exists()


@pytest.mark.parametrize("level", ["", "models", "models/MARK"])
def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path, level):
    place, cache, elsewhere = model(tmp_path), tmp_path / "cache", tmp_path / "elsewhere"
    mark = digest(str(place))
    elsewhere.mkdir(mode=0o700)
    link = cache / level.replace("MARK", mark[:32])
    link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    link.symlink_to(elsewhere)
    with pytest.raises(ModelError, match="is a symbolic link"):
        copy_to_node(str(place), mark, cache)
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="is a symbolic link|cannot be copied"):
        copy_to_node(str(place), mark, cache)
    assert not list(elsewhere.iterdir()) and not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("level", ["", "models"])
def test_a_folder_of_another_user_is_refused(tmp_path, level):
    place, cache = model(tmp_path), tmp_path / "cache"
    (cache / level).mkdir(parents=True, mode=0o700)
    os.chown(cache / level, 65534, 65534)
    with pytest.raises(ModelError, match="belongs to user 65534"):
        copy_to_node(str(place), digest(str(place)), cache)


def test_a_copy_that_others_may_have_changed_is_made_anew(tmp_path):
    """It would have the right digest now, and another one when it is loaded."""
    place, cache = model(tmp_path), tmp_path / "cache"
    mark = digest(str(place))
    made = copy_to_node(str(place), mark, cache)
    for spoil in ("file", "folder", "link inside", "link"):
        stamp = (made / "saved_model.pb").stat().st_ino
        if spoil == "file":
            (made / "saved_model.pb").chmod(0o666)
        elif spoil == "folder":
            (made / "variables").chmod(0o777)
        elif spoil == "link inside":
            (made / "saved_model.pb").unlink()
            (made / "saved_model.pb").symlink_to(place / "saved_model.pb")
        else:
            made.rename(tmp_path / "aside")
            made.symlink_to(place)
        assert copy_to_node(str(place), mark, cache) == made and not made.is_symlink()
        assert digest(str(made)) == mark and (made / "saved_model.pb").lstat().st_ino != stamp
        assert stat.S_IMODE((made / "saved_model.pb").lstat().st_mode) == 0o600


def test_a_single_file_is_copied_alike(tmp_path):
    (tmp_path / "m.keras").write_bytes(b"model")
    mark = digest(str(tmp_path / "m.keras"))
    made = copy_to_node(str(tmp_path / "m.keras"), mark, tmp_path / "cache")
    assert made.read_bytes() == b"model" and stat.S_IMODE(made.stat().st_mode) == 0o600
    assert copy_to_node(str(tmp_path / "m.keras"), mark, tmp_path / "cache") == made
