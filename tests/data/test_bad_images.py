"""Folders and lists of images that hold what is none: pipes, links to nothing, names that are no text."""

from __future__ import annotations

import os

import pytest

from harness.data import Feature, Kind, expand, open_source
from harness.data.images import _refuse
from harness.data.range_file import open_range
from harness.errors import DataError

WANTED = {"image": Feature("uint8", (1, 1, 3), Kind.IMAGE)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "a.png").write_bytes(b"\x89PNG\r\n")
    return tmp_path / "images"


def test_a_pipe_in_a_folder_of_images_is_not_waited_for(folder):
    os.mkfifo(folder / "cat" / "b.png")
    with pytest.raises(DataError, match=r"cat/b\.png: is a pipe or a device, expected an image"):
        open_source("images", [str(folder)])


def test_a_pipe_that_a_list_names_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "list.csv").write_text("path,label\nb.png,0\n")
    with pytest.raises(DataError, match=r"/b\.png: is a pipe or a device, expected a file"):
        list(open_source("images", [str(tmp_path / "list.csv")]).select(WANTED).read(0, 1, 1))
    with pytest.raises(DataError, match="/dev/zero: is a pipe or a device"):
        open_range("/dev/zero")
    with pytest.raises(DataError, match="cannot be read: embedded null byte"):
        open_range("a\0b")


@pytest.mark.parametrize("skip", [False, True])
def test_an_image_that_is_missing_ends_the_run_for_another_host_may_have_it(tmp_path, skip):
    (tmp_path / "list.csv").write_text("path,label\ngone.png,0\n")
    source = open_source("images", [str(tmp_path / "list.csv")]).select(WANTED, skip=skip)
    with pytest.raises(DataError, match=r"/gone\.png: cannot be read: No such file or directory; .*/list\.csv names it"):
        list(source.read(0, 1, 1))


def test_a_link_to_nothing_is_named(folder):
    (folder / "cat" / "b.png").symlink_to("gone.png")
    with pytest.raises(DataError, match=r"cat/b\.png: cannot be read: No such file or directory: it is a link to gone\.png"):
        open_source("images", [str(folder)])


@pytest.mark.parametrize("name", [b"cat/\xe4.png", b"k\xe4se/a.png", b"k\xe4se"])
def test_a_name_that_is_no_text_is_named(folder, name):
    path = os.path.join(os.fsencode(folder), name)
    os.makedirs(os.path.dirname(path) if name.endswith(b"png") else path, exist_ok=True)
    if name.endswith(b"png"):
        with open(path, "wb"):
            pass
    with pytest.raises(DataError, match=r"\\udce4(se|\.png): expected a name in UTF-8, found other bytes; rename it"):
        open_source("images", [str(folder)])


def test_a_glob_that_matches_a_name_that_is_no_text(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"\xe4.csv"), "wb"):
        pass
    with pytest.raises(DataError, match=r"\\udce4\.csv: expected a name in UTF-8"):
        expand(["*.csv"], [f"{tmp_path}/*.csv"])


def test_a_folder_that_cannot_be_read_is_not_passed_over():
    _refuse(FileNotFoundError(2, "No such file or directory", "dog"))  # a class that another folder has
    with pytest.raises(DataError, match="^cat: cannot be read: Permission denied$"):
        _refuse(PermissionError(13, "Permission denied", "cat"))
