"""NumPy arrays on disk, memory-mapped: .npy files, one array each, named by the file; uncompressed .npz members by offset."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.data import Feature
from harness.data.columns import BLOCK, Column, ColumnSource, Piece
from harness.errors import DataError
from harness.plan import File

__all__ = ["Mapped", "NpySource", "mapped_members", "open_mapped"]


class Mapped:
    """An array that lies in a file: mapped anew in each process.

    Args:
      path: file. offset: of its first byte. dtype, shape, fortran: as its header says.
    """

    def __init__(self, path: str, offset: int, dtype: np.dtype, shape: tuple[int, ...], fortran: bool) -> None:
        self.path, self.offset, self.dtype, self.shape, self.fortran = path, offset, dtype, shape, fortran

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return a view of examples [start, stop)."""
        if not self.shape[0]:
            return np.empty(self.shape, self.dtype)
        order = "F" if self.fortran else "C"
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)[start:stop]  # type: ignore[call-overload]


class NpySource(ColumnSource):
    """Examples in mapped arrays.

    Args:
      files: with their example counts.
      arrays: of each file, by feature name.
    """

    def __init__(self, files: tuple[File, ...], arrays: Sequence[Mapping[str, Mapped]]) -> None:
        super().__init__(files)
        self._arrays = arrays

    @classmethod
    def open(cls, paths: Sequence[str]) -> NpySource:
        """Read the headers. Files x.npy and y.npy of one folder are features x and y of the same examples.

        Raises: DataError: a file is no .npy file, or arrays do not go together.
        """
        folders: dict[str, dict[str, Mapped]] = {}
        for path in paths:
            folders.setdefault(os.path.dirname(path), {})[os.path.basename(path).removesuffix(".npy")] = _header(path)
        for arrays in folders.values():
            lengths = {array.shape[0] for array in arrays.values()}
            if len(lengths) > 1:
                shown = ", ".join(f"{array.path}: {list(array.shape)}" for array in arrays.values())
                raise DataError(f"expected arrays of one length, found {shown}")
        first = next(iter(folders.values()))
        for folder, arrays in folders.items():
            if {n: (a.dtype, a.shape[1:]) for n, a in arrays.items()} != {n: (a.dtype, a.shape[1:]) for n, a in first.items()}:
                raise DataError(
                    f"{folder}: expected the arrays of {next(iter(folders))} ({', '.join(first)}), of the same dtypes"
                )
        files = tuple(_file(folder, arrays) for folder, arrays in folders.items())
        return cls(files, list(folders.values()))

    def features(self) -> dict[str, Feature]:
        """Return dtype and shape of every array."""
        return {
            name: Feature("string" if array.dtype.kind in "SU" else array.dtype.name, array.shape[1:])
            for name, array in self._arrays[0].items()
        }

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Yield views."""
        step = size * max(1, BLOCK // size)
        arrays = self._arrays[number]
        for first in range(start, stop, step):
            yield Piece(first, {n: Column(_plain(arrays[n].rows(first, min(first + step, stop)))) for n in self.chosen})


def open_mapped(paths: Sequence[str]) -> NpySource | None:
    """Map the arrays of .npz files; None where one is compressed, or is no such file (which `NpzSource` says better)."""
    try:
        members = [mapped_members(path) for path in paths]
    except (zipfile.BadZipFile, OSError, DataError):
        return None
    found = [arrays for arrays in members if arrays]
    shapes = [{name: (array.dtype, array.shape[1:]) for name, array in arrays.items()} for arrays in found]
    lengths = [{array.shape[:1] for array in arrays.values()} for arrays in found]
    if len(found) < len(paths) or any(shape != shapes[0] for shape in shapes) or any(len(n) != 1 or n == {()} for n in lengths):
        return None
    files = [
        File(path, os.path.getsize(path), next(iter(arrays.values())).shape[0]) for path, arrays in zip(paths, found, strict=True)
    ]
    return NpySource(tuple(files), found)


def mapped_members(path: str) -> dict[str, Mapped] | None:
    """Return the arrays of an .npz file as they lie in it; None where one is compressed.

    A member's data begins after its local header, whose name and extra field may differ in length from the central
    directory's. Source: .ZIP File Format Specification, 4.3.7.
    """
    found = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as stream:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                return None
            stream.seek(info.header_offset + 26)
            lengths = stream.read(4)
            start = info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            stream.seek(start)
            array = _read_header(stream, path)
            if array.offset + array.dtype.itemsize * int(np.prod(array.shape, dtype=np.int64)) > start + info.file_size:
                raise DataError(f"{path}: array '{info.filename}' is cut off; copy or write it again")
            found[info.filename.removesuffix(".npy")] = array
    return found


def _file(folder: str, arrays: Mapping[str, Mapped]) -> File:
    size = sum(os.path.getsize(array.path) for array in arrays.values())
    return File(os.path.join(folder, "*.npy"), size, next(iter(arrays.values())).shape[0])


def _header(path: str) -> Mapped:
    try:
        with open(path, "rb") as stream:
            found = _read_header(stream, path)
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc
    need = found.offset + found.dtype.itemsize * int(np.prod(found.shape, dtype=np.int64))
    if os.path.getsize(path) < need:
        raise DataError(
            f"{path}: the file is cut off: expected {need} bytes, found {os.path.getsize(path)}; copy or write it again"
        )
    if not found.shape:
        raise DataError(f"{path}: expected an array with one value per example, found a single value")
    return found


def _read_header(stream: object, path: str) -> Mapped:
    reading = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)  # type: ignore[arg-type]
        shape, fortran, dtype = reading[version](stream)  # type: ignore[arg-type]
    except (ValueError, KeyError, EOFError) as exc:
        raise DataError(f"{path}: not a readable .npy file (numpy.save writes them): {exc}") from exc
    if dtype.hasobject:
        raise DataError(
            f"{path}: expected numbers or strings of fixed length, found Python objects, which would run code when read"
        )
    return Mapped(path, stream.tell(), dtype, shape, fortran)  # type: ignore[attr-defined]


def _plain(array: np.ndarray) -> np.ndarray:
    return np.asarray(array)
