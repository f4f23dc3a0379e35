"""NumPy arrays on disk, memory-mapped: .npy files, one array each, named by the file; uncompressed .npz members by offset."""

from __future__ import annotations

import math
import mmap
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from harness.data.block_size import BLOCK_BYTES
from harness.data.columns import BLOCK, Column, ColumnSource, Piece
from harness.data.mapping import FileMapping
from harness.data.npy_header import Header, check_dtype, dtype_name, read_header
from harness.data.range_file import RangeFile, open_range
from harness.data.source import ALIGNED, ID, Feature, Origin, Place, Source
from harness.errors import DataError
from harness.plan.plan import Chunk, File

__all__ = ["Mapped", "NpySource", "mapped_members", "open_mapped", "open_npy"]

IDS = 1 << 24  # examples whose ids are kept in memory beside mapped files, 128 MiB


class Mapped:
    """An array that lies in a file: mapped anew in each process.

    Args:
      path: file. offset: of its first byte. dtype, shape, fortran: as its header says.
    """

    def __init__(self, path: str, offset: int, dtype: np.dtype, shape: tuple[int, ...], fortran: bool) -> None:
        self.path, self.offset, self.dtype, self.shape, self.fortran = path, offset, dtype, shape, fortran

    @property
    def _inner(self) -> int:
        """How many numbers an example has."""
        return math.prod(self.shape[1:])

    @property
    def example_bytes(self) -> int:
        """What an example takes."""
        return self._inner * self.dtype.itemsize

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Read examples [start, stop).

        Raises: DataError: the file has become shorter.
        """
        count, item = max(stop - start, 0), self.dtype.itemsize
        if not count or not self._inner or not item:
            return np.empty((count, *self.shape[1:]), self.dtype)
        with open_range(self.path) as file:
            if not self.fortran:
                first = self.offset + start * self._inner * item
                return np.frombuffer(self._exactly(file, first, count * self._inner * item), self.dtype).reshape(
                    count, *self.shape[1:]
                )
            # Lies by columns: of each the run of the examples.
            starts = [self.offset + (column * self.shape[0] + start) * item for column in range(self._inner)]
            data = b"".join(self._exactly(file, first, count * item) for first in starts)
        return np.frombuffer(data, self.dtype).reshape(*reversed(self.shape[1:]), count).T

    def _exactly(self, file: RangeFile, first: int, size: int) -> bytes:
        data = file.read(first, first + size)
        if len(data) != size:
            raise DataError(
                f"{self.path}: the file was cut off since it was opened: expected {size} bytes from byte {first} on, "
                f"found {len(data)}; copy or write it again"
            )
        return data

    @property
    def as_it_lies(self) -> bool:
        """Whether batches can be cut out of the file's bytes."""
        plain = self.dtype.kind in "biuf" and self.dtype.isnative and self.dtype.itemsize <= 8
        return plain and not self.fortran and 0 not in self.shape

    @cached_property
    def _map(self) -> FileMapping:
        try:
            return FileMapping(self.path)
        except (OSError, ValueError) as exc:
            raise DataError(f"{self.path}: cannot be mapped into memory: {exc}") from exc

    @property
    def whole(self) -> np.ndarray:
        """All of it, as it lies."""
        end = self.offset + self.shape[0] * self._inner * self.dtype.itemsize
        if len(self._map) < end:
            raise DataError(
                f"{self.path}: the file was cut off since it was opened: expected {end} bytes, found {len(self._map)}"
            )
        return self._map.array(self.dtype, self.shape[0] * self._inner, self.offset).reshape(self.shape)

    @property
    def lead(self) -> np.ndarray:
        """The file's bytes from the last aligned one before the array to its end, uint8; see `ALIGNED`."""
        first = self.offset - self.offset % ALIGNED
        return self._map.array(np.dtype(np.uint8), self.offset - first + self.whole.nbytes, first)

    def advise(self, advice: int, start: int, stop: int) -> None:
        """Tell the system what examples [start, stop) of `whole` are wanted for; see madvise(2)."""
        example = self.dtype.itemsize * self._inner
        self._map.advise(advice, self.offset + start * example, self.offset + stop * example)

    def check(self) -> None:
        """See that what was read of `whole` was in the file; see `FileMapping.check`."""
        self._map.check()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the mapping: every process makes its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_map"}


def open_npy(origin: Origin) -> NpySource:
    """Map .npy files; see `NpySource.open`."""
    return NpySource.open(origin.paths)


class NpySource(ColumnSource):
    """Examples in mapped arrays.

    Args:
      files: with their example counts.
      arrays: of each file, by feature name.
    """

    mapped = True

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
        return {name: Feature(dtype_name(array.dtype), array.shape[1:]) for name, array in self._arrays[0].items()}

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> Source:
        """Return the same with fewer arrays.

        Raises: DataError: no tensors can be made of one of them.
        """
        for name in wanted:
            if array := self._arrays[0].get(name):
                check_dtype(array.path, name, array.dtype)
        return super().select(wanted, skip=skip)

    @property
    def arrays(self) -> Mapping[str, np.ndarray] | None:
        """The mapped files, where batches can be cut out of them as they lie: what is read is what the model sees."""
        examples, chosen = self.files[0].examples, {name: self._arrays[0][name] for name in self.chosen}
        if len(self.files) > 1 or self._skip or examples > IDS or not all(array.as_it_lies for array in chosen.values()):
            return None
        return {**{name: array.whole for name, array in chosen.items()}, ID: np.arange(examples, dtype=np.int64)}

    @property
    def leads(self) -> Mapping[str, np.ndarray]:
        """Of arrays of an archive, which lie where its entries' names end."""
        return {name: array.lead for name, array in self._arrays[0].items() if name in self.chosen and array.offset % ALIGNED}

    def advise(self, done: Iterable[Chunk], soon: Iterable[Chunk]) -> None:
        """Give back the memory of what was read, so that it stays flat; have what comes now fetched all at once."""
        for advice, chunks in ((mmap.MADV_DONTNEED, done), (mmap.MADV_WILLNEED, soon)):
            for chunk in chunks:
                for name in self.chosen:
                    self._arrays[0][name].advise(advice, chunk.start, chunk.stop)

    def lies_in(self, number: int) -> Place:
        """Name the files of the arrays."""
        return Place(tuple(dict.fromkeys(array.path for array in self._arrays[number].values())))

    def check(self) -> None:
        """See that the mapped files are as long as they were."""
        for name in self.chosen:
            self._arrays[0][name].check()

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Read them."""
        arrays = self._arrays[number]
        example_bytes = sum(arrays[name].example_bytes for name in self.chosen)
        step = size * max(1, min(BLOCK, BLOCK_BYTES // max(example_bytes, 1)) // size)
        for first in range(start, stop, step):
            yield Piece(first, {n: Column(arrays[n].rows(first, min(first + step, stop))) for n in self.chosen})


def open_mapped(paths: Sequence[str]) -> NpySource | None:
    """Map the arrays of .npz files; None where one is compressed, or is no such file (which `NpzSource` says better)."""
    try:
        members = [mapped_members(path) for path in paths]
    except (zipfile.BadZipFile, OSError, DataError):
        return None
    mapped = [arrays for arrays in members if arrays]
    shapes = [{name: (array.dtype, array.shape[1:]) for name, array in arrays.items()} for arrays in mapped]
    lengths = [{array.shape[:1] for array in arrays.values()} for arrays in mapped]
    if len(mapped) < len(paths) or any(shape != shapes[0] for shape in shapes) or any(len(n) != 1 or n == {()} for n in lengths):
        return None
    files = [
        File(path, os.path.getsize(path), next(iter(arrays.values())).shape[0])
        for path, arrays in zip(paths, mapped, strict=True)
    ]
    return NpySource(tuple(files), mapped)


def mapped_members(path: str) -> dict[str, Mapped] | None:
    """Return the arrays of an .npz file as they lie in it; None where one is compressed.

    A member's data begins after its local header, whose name and extra field may differ in length from the central
    directory's. Source: .ZIP File Format Specification, 4.3.7.
    """
    arrays = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as stream:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                return None
            stream.seek(info.header_offset + 26)
            lengths = stream.read(4)
            start = info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            stream.seek(start)
            name = info.filename.removesuffix(".npy")
            header = read_header(stream, path, name)
            if header.end > start + info.file_size:
                raise DataError(f"{path}: array '{name}' is cut off; copy or write it again")
            arrays[name] = _mapped(path, header)
    return arrays


def _file(folder: str, arrays: Mapping[str, Mapped]) -> File:
    size = sum(os.path.getsize(array.path) for array in arrays.values())
    return File(os.path.join(folder, "*.npy"), size, next(iter(arrays.values())).shape[0])


def _header(path: str) -> Mapped:
    try:
        with open(path, "rb") as stream:
            header = read_header(stream, path)
            size = os.fstat(stream.fileno()).st_size
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc
    if size < header.end:
        raise DataError(f"{path}: the file is cut off: expected {header.end} bytes, found {size}; copy or write it again")
    if not header.shape:
        raise DataError(f"{path}: expected an array with one value per example, found a single value")
    return _mapped(path, header)


def _mapped(path: str, header: Header) -> Mapped:
    return Mapped(path, header.offset, header.dtype, header.shape, header.fortran)
