"""NumPy archives: every array of an .npz file holds one value per example, along its first dimension."""

from __future__ import annotations

import copy
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.data import storage
from harness.data.npy_header import check_dtype, dtype_name, read_header
from harness.data.source import ID, Feature, Origin, Records, Source
from harness.errors import DataError
from harness.plan.plan import File

__all__ = ["NpzSource", "open_npz"]

IN_MEMORY = 1 << 28  # bytes of archives that are loaded as a whole; larger ones are mapped, where they are not compressed


def open_npz(origin: Origin) -> Source:
    """Load archives, see `NpzSource.open`; map large ones that are not compressed."""
    from harness.data.npy import open_mapped

    if sum(storage.size_bytes(path) for path in origin.paths) > IN_MEMORY and (mapped := open_mapped(origin.paths)):
        return mapped
    return NpzSource.open(origin.paths)


class NpzSource(Source):
    """Examples in .npz files, in memory. A rank that is sent one is sent no examples: it loads the files itself.

    Args:
      files: with their example counts.
      arrays: [examples, ...] by name, all files one after the other.
    """

    def __init__(self, files: tuple[File, ...], arrays: Mapping[str, np.ndarray]) -> None:
        self.files = files
        examples = sum(file.examples for file in files)
        self._loaded: dict[str, np.ndarray] | None = {**arrays, ID: np.arange(examples, dtype=np.int64)}
        self._features = {name: Feature(dtype_name(array.dtype), array.shape[1:]) for name, array in arrays.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the examples."""
        return {**self.__dict__, "_loaded": None}

    @classmethod
    def open(cls, paths: Sequence[str]) -> NpzSource:
        """Load files.

        Raises: DataError: a file is no archive, or its arrays do not go together.
        """
        loaded = [_load(path) for path in paths]
        first = loaded[0]
        for path, arrays in zip(paths, loaded, strict=True):
            if {n: (a.dtype, a.shape[1:]) for n, a in arrays.items()} != {n: (a.dtype, a.shape[1:]) for n, a in first.items()}:
                raise DataError(
                    f"{path}: expected the arrays of {paths[0]} ({_show(first)}), found {_show(arrays)}; "
                    "files of one job must agree in names, dtypes and shapes"
                )
        files = tuple(
            File(path, os.path.getsize(path), len(next(iter(arrays.values()))))
            for path, arrays in zip(paths, loaded, strict=True)
        )
        joined = first if len(loaded) == 1 else {n: np.concatenate([arrays[n] for arrays in loaded]) for n in first}
        return cls(files, joined)

    @property
    def _arrays(self) -> dict[str, np.ndarray]:
        if self._loaded is None:
            here = NpzSource.open([file.path for file in self.files])
            for file, local in zip(self.files, here.files, strict=True):
                if local != file:
                    raise DataError(
                        f"{file.path}: expected {file.examples} examples in {file.size_bytes} bytes, as rank 0 found, found "
                        f"{local.examples} in {local.size_bytes} here; has the file changed, or is it another one on this host?"
                    )
            if here._features != self._features:
                raise DataError(
                    f"{self.files[0].path}: holds other arrays here than rank 0 found; is it another file on this host?"
                )
            self._loaded = here._loaded
        assert self._loaded is not None
        return self._loaded

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All examples, and their ids under `ID`."""
        return self._arrays

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> Source:
        """Return the same with fewer arrays.

        Raises: DataError: no tensors can be made of one of them.
        """
        super().select(wanted, skip=skip)
        for name, array in self._arrays.items():
            if name in wanted:
                check_dtype(self.files[0].path, name, array.dtype)
        chosen = copy.copy(self)
        chosen._loaded = {name: array for name, array in self._arrays.items() if name in wanted or name == ID}
        chosen._features = {name: feature for name, feature in self._features.items() if name in wanted}
        return chosen

    def features(self) -> dict[str, Feature]:
        """Return dtype and shape of every array."""
        return dict(self._features)

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Yield views of the arrays."""
        for first in range(start, stop, size):
            cut = {name: array[first : min(first + size, stop)] for name, array in self._arrays.items()}
            yield Records(cut.pop(ID), cut)

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Return the wanted arrays; there is nothing to parse."""
        return {name: raw[name] for name in wanted}


def _load(path: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            _check_sizes(path, archive.zip)
            arrays = {name: archive[name] for name in archive.files}
    except MemoryError as exc:
        raise DataError(
            f"{path}: does not fit into memory; write it with numpy.savez, not numpy.savez_compressed: then each array is read "
            "from its place"
        ) from exc
    except PermissionError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, EOFError, OSError, AttributeError, TypeError) as exc:
        raise DataError(f"{path}: not a readable .npz file (numpy.savez writes them): {exc}") from exc
    if others := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise DataError(f"{path}: expected arrays, found an archive of other files: {', '.join(others[:3])}")
    scalars = [name for name, array in arrays.items() if not array.ndim]
    if not arrays or scalars:
        raise DataError(f"{path}: expected arrays with one value per example, found {_show(arrays) or 'none'}")
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise DataError(f"{path}: expected arrays of one length, found {_show(arrays)}")
    return arrays


def _check_sizes(path: str, archive: zipfile.ZipFile) -> None:
    """See that the archive holds what its arrays' headers claim, before memory is taken for it.

    Raises: DataError: an array is cut off, or its header says what cannot be.
    """
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        with archive.open(info) as stream:
            if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
                continue  # no array: said later
            stream.seek(0)
            header = read_header(stream, path, name)
        if header.end > info.file_size:
            raise DataError(
                f"{path}: array '{name}' is cut off: expected {header.end} bytes, found {info.file_size}; copy or write it again"
            )


def _show(arrays: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name}: {array.dtype} {list(array.shape)}" for name, array in arrays.items())
