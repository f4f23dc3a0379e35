"""Images in files: folders named by class, or a CSV of paths with whatever else is known of each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.data import Feature, Kind, Place, storage
from harness.data.columns import Column, ColumnSource, Piece
from harness.errors import DataError, nearest
from harness.plan.plan import File

__all__ = ["ImageSource", "open_images"]

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
PATH_COLUMNS = ("path", "file", "filename", "image")
IMAGE = "image"
BLOCK_IMAGES = 64  # encoded, in memory at a time


class ImageSource(ColumnSource):
    """Examples that are image files.

    Args:
      files: the folders or lists, with how many images each holds.
      paths: of the images, one list a file.
      more: what else is known of each image, one mapping a file: [images] by name.
    """

    def __init__(self, files: tuple[File, ...], paths: Sequence[Sequence[str]], more: Sequence[Mapping[str, np.ndarray]]) -> None:
        super().__init__(files)
        self._paths, self._more = paths, more

    def features(self) -> dict[str, Feature]:
        """Return `image`, and what else is known."""
        found = {IMAGE: Feature("uint8", (None, None, None), Kind.IMAGE)}
        for name, column in self._more[0].items():
            found[name] = Feature("string" if column.dtype == object else column.dtype.name, ())
        return found

    def where(self, number: int, record: int) -> str:
        """Name the image."""
        return self._paths[number][record]

    def lies_in(self, number: int) -> Place:
        """The images of a folder; those of a list may lie anywhere, and are not looked at beforehand."""
        path = self.files[number].path
        return Place(members=self._paths[number]) if storage.is_folder(path) else Place()

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Read image files, some at a time."""
        step = min(size, BLOCK_IMAGES)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            columns = {n: Column(self._more[number][n][first:last]) for n in self.chosen if n != IMAGE}
            if IMAGE in self.chosen:
                data = np.empty(last - first, object)
                data[:] = storage.each(_content, self._paths[number][first:last])
                columns[IMAGE] = Column(data)
            yield Piece(first, columns)


def open_images(paths: Sequence[str]) -> ImageSource:
    """Find the images: of folders, those in a folder a class below them; of CSV files, those that a column names.

    Raises: DataError: there are none, or a CSV file names no paths.
    """
    folders = [path for path in paths if storage.is_folder(path)]
    if folders and len(folders) < len(paths):
        raise DataError(f"data.files: expected folders or CSV files, found both: {', '.join(paths)}")
    if folders:
        if any(storage.is_url(path) for path in folders):
            raise DataError("data.files: folders of images are read from local files; list remote ones in a CSV file")
        return _open_folders(folders)
    return _open_lists(paths)


def _open_folders(folders: Sequence[str]) -> ImageSource:
    classes = sorted({entry.name for folder in folders for entry in os.scandir(folder) if entry.is_dir()})
    files, found, labels = [], [], []
    for folder in folders:
        paths = [
            (os.path.join(where, name), number)
            for number, label in enumerate(classes)
            for where, _, names in sorted(os.walk(os.path.join(folder, label)))
            for name in sorted(names)
            if name.lower().endswith(ENDINGS)
        ]
        if not paths:
            raise DataError(f"{folder}: expected a folder a class with images ({', '.join(ENDINGS)}) in it, found none")
        size = sum(os.path.getsize(path) for path, _ in paths)
        files.append(File(folder, size, len(paths)))
        found.append([path for path, _ in paths])
        names = np.empty(len(paths), object)
        names[:] = [classes[number].encode() for _, number in paths]
        labels.append({"label": np.array([number for _, number in paths], np.int64), "class": names})
    return ImageSource(tuple(files), found, labels)


def _open_lists(lists: Sequence[str]) -> ImageSource:
    from harness.data.csv import CsvSource

    source = CsvSource.open(lists, delimiter="\t" if lists[0].endswith(".tsv") else ",")
    features = source.features()
    column = next((name for name in PATH_COLUMNS if name in features), None)
    if column is None:
        raise DataError(f"{lists[0]}: no column of paths ({', '.join(PATH_COLUMNS)}): {nearest('path', features)}")
    files, found, more = [], [], []
    start = 0
    for path, file in zip(lists, source.files, strict=True):
        parts = [records.raw for records in source.read(start, start + file.examples, 4096)]
        start += file.examples
        rows = {name: np.concatenate([part[name] for part in parts]) for name in features} if parts else {}
        base = path.rpartition("/")[0]
        names = [os.fsdecode(name) for name in rows.pop(column).tolist()] if rows else []
        found.append([n if os.path.isabs(n) or storage.is_url(n) else f"{base}/{n}" if base else n for n in names])
        rows.pop(IMAGE, None)
        more.append(rows)
        files.append(file)
    return ImageSource(tuple(files), found, more)


def _content(path: str) -> bytes:
    with storage.open_range(path) as file:
        return file.read(0, file.size)
