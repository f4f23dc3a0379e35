"""Images in files: folders named by class, or a CSV of paths with whatever else is known of each."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data import storage
from harness.data.columns import BLOCK, Column, ColumnSource, Piece
from harness.data.counting import FileCount
from harness.data.csv import CsvSource, survey_csv
from harness.data.range_file import open_range
from harness.data.source import Feature, Kind, Origin, Place
from harness.errors import DataError, nearest
from harness.plan.plan import File

__all__ = ["FolderSource", "ListSource", "open_images", "survey_images"]

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
PATH_COLUMNS = ("path", "file", "filename", "image")
IMAGE = "image"
BLOCK_IMAGES = 64  # encoded, in memory at a time
ENCODED = Feature("uint8", (None, None, None), Kind.IMAGE)


@dataclass(frozen=True)
class Listing:
    """The images of one folder: their paths, and the number of the class of each, int64 [n]."""

    paths: Sequence[str]
    labels: np.ndarray


class FolderSource(ColumnSource):
    """Examples that are image files, in a folder a class. A rank that is sent one is sent no paths: it lists them itself.

    Args:
      files: the folders, with how many images each holds.
      classes: names of the folders in them.
      listings: of each folder.
    """

    def __init__(self, files: tuple[File, ...], classes: Sequence[str], listings: Sequence[Listing]) -> None:
        super().__init__(files)
        self._classes = tuple(classes)
        self._listed: Sequence[Listing] | None = listings
        self._digest = _digest(listings)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the paths."""
        return {**self.__dict__, "_listed": None}

    @property
    def _listings(self) -> Sequence[Listing]:
        if self._listed is None:
            listings = [_list_folder(file.path, self._classes) for file in self.files]
            if _digest(listings) != self._digest:
                counts = ", ".join(
                    f"{file.path}: {len(listing.paths)}" for file, listing in zip(self.files, listings, strict=True)
                )
                raise DataError(
                    f"expected the images that rank 0 listed ({', '.join(f'{f.path}: {f.examples}' for f in self.files)}), found "
                    f"others ({counts}); have the folders changed, or are they others on this host?"
                )
            self._listed = listings
        return self._listed

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the folders."""
        return self._classes

    def features(self) -> dict[str, Feature]:
        """Return `image`, and number and name of its class."""
        return {IMAGE: ENCODED, "label": Feature("int64", ()), "class": Feature("string", ())}

    def where(self, number: int, record: int) -> str:
        """Name the image."""
        return self._listings[number].paths[record]

    def lies_in(self, number: int) -> Place:
        """All images of the folder."""
        return Place(members=self._listings[number].paths)

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Read image files, some at a time."""
        listing, step = self._listings[number], min(size, BLOCK_IMAGES)
        names = np.array([*(name.encode() for name in self._classes), None], object)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            labels = listing.labels[first:last]
            known = {"label": labels, "class": names[labels]}
            columns = {name: Column(known[name]) for name in self.chosen if name != IMAGE}
            if IMAGE in self.chosen:
                columns[IMAGE] = Column(_contents(listing.paths[first:last]))
            yield Piece(first, columns)


class ListSource(ColumnSource):
    """Examples that are image files which a column of a CSV file names; rows are read when their images are.

    Args:
      rows: of the lists.
      column: of the paths, which are looked for beside the list.
    """

    def __init__(self, rows: CsvSource, column: str) -> None:
        super().__init__(rows.files)
        self._rows, self._column = rows, column

    @property
    def counted(self) -> tuple[str, ...]:
        """As the rows."""
        return self._rows.counted

    @property
    def text(self) -> bool:
        """As the rows."""
        return True

    def lies_in(self, number: int) -> Place:
        """Anywhere: the images are not looked at beforehand."""
        del number
        return Place()

    def features(self) -> dict[str, Feature]:
        """Return `image`, and what else is known."""
        known = {name: feature for name, feature in self._rows.features().items() if name not in (self._column, IMAGE)}
        return {IMAGE: ENCODED, **known}

    def _read_rows(self, number: int, start: int, stop: int, size: int, *, named: bool = False) -> Iterator[Piece]:
        columns = {name: feature for name, feature in self.chosen.items() if name != IMAGE}
        if named or IMAGE in self.chosen or not columns:
            columns[self._column] = Feature("string", ())
        selected = self._rows.select(columns)
        assert isinstance(selected, CsvSource)
        yield from selected.pieces(number, start, stop, size)

    def where(self, number: int, record: int) -> str:
        """Name the image; the row, where its path cannot be told."""
        piece = next(self._read_rows(number, record, record + 1, 1, named=True))
        bad = any(column.bad is not None and column.bad[0] for column in piece.columns.values())
        return self._rows.where(number, record) if bad else self._paths(number, piece.columns[self._column].values)[0]

    def _paths(self, number: int, names: np.ndarray) -> list[str]:
        base = self.files[number].path.rpartition("/")[0]
        texts = map(os.fsdecode, names.tolist())
        return [text if os.path.isabs(text) or storage.is_url(text) or not base else f"{base}/{text}" for text in texts]

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Read rows, and the images that they name, some at a time."""
        step = min(size, BLOCK_IMAGES)
        for rows in self._read_rows(number, start, stop, max(BLOCK, size)):
            count = len(next(iter(rows.columns.values())).values)
            for first in range(0, count, step):
                yield self._piece(number, rows, first, min(first + step, count))

    def _piece(self, number: int, rows: Piece, first: int, last: int) -> Piece:
        """Return a part of some rows, with their images."""
        cut = {
            name: Column(column.values[first:last], None if column.bad is None else column.bad[first:last], column.why)
            for name, column in rows.columns.items()
        }
        columns = {name: cut[name] for name in self.chosen if name != IMAGE}
        if IMAGE in self.chosen:
            bad = np.zeros(last - first, bool)
            why = ""
            for column in cut.values():
                if column.bad is not None and column.bad.any():
                    bad, why = bad | column.bad, why or column.why
            data = np.full(last - first, b"", object)
            try:
                data[~bad] = _contents(self._paths(number, cut[self._column].values[~bad]))
            except DataError as exc:  # skipped, it would be missing at one rank, and at another, on a host that has it, not
                raise DataError(f"{exc}; {self.files[number].path} names it") from exc
            columns[IMAGE] = Column(data, bad if bad.any() else None, why)
        return Piece(rows.first + first, columns)


def open_images(origin: Origin) -> FolderSource | ListSource:
    """Find the images: of folders, those in a folder a class below them; of CSV files, those that a column names.

    Raises: DataError: there are none, or a CSV file names no paths.
    """
    folders = _folders(origin.paths)
    if folders:
        if any(storage.is_url(path) for path in folders):
            raise DataError("data.files: folders of images are read from local files; list remote ones in a CSV file")
        return _open_folders(folders)
    return _open_lists(origin)


def survey_images(origin: Origin) -> list[FileCount]:
    """Look at the lists; folders are not counted but listed.

    Raises: DataError: a list cannot be read, or there are folders too.
    """
    return [] if _folders(origin.paths) else survey_csv(origin)


def _folders(paths: Sequence[str]) -> list[str]:
    folders = [path for path in paths if storage.is_folder(path)]
    if folders and len(folders) < len(paths):
        raise DataError(f"data.files: expected folders or CSV files, found both: {', '.join(paths)}")
    return folders


def _open_folders(folders: Sequence[str]) -> FolderSource:
    classes = sorted({name for folder in folders for name in _class_names(folder)})
    listings = [_list_folder(folder, classes) for folder in folders]
    files = []
    for folder, listing in zip(folders, listings, strict=True):
        if not listing.paths:
            raise DataError(f"{folder}: expected a folder a class with images ({', '.join(ENDINGS)}) in it, found none")
        files.append(File(folder, sum(map(_size_bytes, listing.paths)), len(listing.paths)))
    return FolderSource(tuple(files), classes, listings)


def _class_names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            classes = [entry.name for entry in entries if entry.is_dir()]
    except OSError as exc:
        raise _unreadable(exc) from exc
    for name in classes:
        storage.check_name(os.path.join(folder, name))
    return classes


def _list_folder(folder: str, classes: Sequence[str]) -> Listing:
    images = [
        (os.path.join(where, name), number)
        for number, label in enumerate(classes)
        for where, _, names in sorted(os.walk(os.path.join(folder, label), onerror=_refuse))
        for name in sorted(names)
        if name.lower().endswith(ENDINGS)
    ]
    for path, _ in images:
        storage.check_name(path)
    return Listing([path for path, _ in images], np.array([number for _, number in images], np.int64))


def _refuse(exc: OSError) -> None:
    """Raise what would be passed over: the images of a folder that cannot be read would be missing without a word."""
    if not isinstance(exc, FileNotFoundError):  # a class that another folder has
        raise _unreadable(exc) from exc


def _unreadable(exc: OSError) -> DataError:
    return DataError(f"{os.fspath(exc.filename)}: cannot be read: {exc.strerror}")


def _size_bytes(path: str) -> int:
    try:
        status = os.stat(path)
    except OSError as exc:
        link = f": it is a link to {os.readlink(path)}; mend or remove it" if os.path.islink(path) else ""
        raise DataError(f"{path}: cannot be read: {exc.strerror}{link}") from exc
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: is a pipe or a device, expected an image; remove it")
    return status.st_size


def _digest(listings: Sequence[Listing]) -> bytes:
    total = hashlib.sha256()
    for listing in listings:
        for path in listing.paths:
            total.update(os.fsencode(path) + b"\0")
        total.update(listing.labels.tobytes())
    return total.digest()


def _open_lists(origin: Origin) -> ListSource:
    lists = origin.paths
    rows = CsvSource.open(lists, delimiter="\t" if lists[0].endswith(".tsv") else ",", counts=origin.counts)
    features = rows.features()
    column = next((name for name in PATH_COLUMNS if name in features), None)
    if column is None:
        raise DataError(f"{lists[0]}: no column of paths ({', '.join(PATH_COLUMNS)}): {nearest('path', features)}")
    return ListSource(rows, column)


def _contents(paths: Sequence[str]) -> np.ndarray:
    """Read whole files, in threads: objects [n]."""
    data = np.empty(len(paths), object)
    data[:] = storage.map_files(_content, paths)
    return data


def _content(path: str) -> bytes:
    with open_range(path) as file:
        return file.read(0, file.size)
