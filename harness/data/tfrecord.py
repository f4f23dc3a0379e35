"""TFRecord files as a source. Plain ones are read by byte offset from anywhere; GZIP and ZLIB ones from their start."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.data import storage, tfrecord_packed
from harness.data import tfrecord_framing as framing
from harness.data.counting import FileCount, count
from harness.data.range_file import open_range
from harness.data.record_index import RecordIndex
from harness.data.source import BAD, SERIALIZED, Feature, Origin, Records, Source
from harness.data.tfrecord_index import index_of, look
from harness.errors import DataError
from harness.plan.plan import File

__all__ = ["TFRecordSource", "open_tfrecord", "survey_tfrecord"]

READ = 1 << 23  # bytes read at a time
FIRST_RECORDS = 20  # that tell the features


def open_tfrecord(origin: Origin) -> TFRecordSource:
    """Open TFRecord files; see `TFRecordSource.open`."""
    return TFRecordSource.open(origin.paths, origin.counts)


def survey_tfrecord(origin: Origin) -> list[FileCount]:
    """Look at TFRecord files; see `tfrecord_index.look`."""
    return storage.map_files(look, origin.paths)


class TFRecordSource(Source):
    """Examples in TFRecord files.

    Args:
      files: with their example counts; a file that is not divisible is GZIP or ZLIB.
      index: of each file where records begin; None where packed.
      counted: see `Source.counted`.
    """

    def __init__(self, files: tuple[File, ...], index: Sequence[RecordIndex | None], counted: tuple[str, ...] = ()) -> None:
        self.files = files
        self._index = index
        self._counted = counted
        self._starts = np.concatenate([[0], np.cumsum([f.examples for f in files])]).astype(np.int64)
        self._wanted: Mapping[str, Feature] = {}
        self._skip = False
        self._spare: bytes | None = None  # a record that can be parsed: stands in for one that cannot

    @classmethod
    def open(cls, paths: Sequence[str], counts: Sequence[FileCount] | None = None) -> TFRecordSource:
        """Index plain files (or read the index beside them, or the cached one), count packed ones.

        Args:
          counts: of the files, where they are counted already.
        Raises: DataError: a file is cut off, or is no TFRecord file.
        """
        counts = count(survey_tfrecord(Origin(paths))) if counts is None else counts
        files, indices = zip(*map(index_of, counts), strict=True)
        return cls(files, indices, tuple(file_count.way.path for file_count in counts if not file_count.beside))

    @property
    def counted(self) -> tuple[str, ...]:
        """Those that have no index beside them."""
        return self._counted

    @property
    def flat(self) -> bool:
        """Records are serialized."""
        return True

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> TFRecordSource:
        """Read whole records whatever is wanted of them; with `skip`, see whether they can be parsed."""
        chosen = copy.copy(self)
        chosen._wanted, chosen._skip = dict(wanted), skip
        return chosen

    def features(self) -> dict[str, Feature]:
        """Describe the features of the first records: dtype and number of values."""
        from harness.data import examples

        first: list[bytes] = []
        # What is bad among them is said, or skipped, when it is read.
        for records in self.select({}, skip=True).read(0, min(FIRST_RECORDS, int(self._starts[-1])), FIRST_RECORDS):
            first += [data for data, bad in zip(records.raw[SERIALIZED], records.raw[BAD], strict=True) if not bad]
        return examples.infer(first)

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read whole records, checking their CRCs."""
        while start < stop:
            number = int(np.searchsorted(self._starts, start, side="right")) - 1
            base, end = int(self._starts[number]), min(stop, int(self._starts[number + 1]))
            reader = self._read_packed if self._index[number] is None else self._read_plain
            yield from reader(number, start - base, end - base, size)
            start = end

    def begins(self, ids: np.ndarray) -> np.ndarray:
        """Where a file's index has the last record before; the first of a packed file."""
        begins = ids.copy()
        numbers = np.searchsorted(self._starts, ids, side="right") - 1
        for number in np.unique(numbers).tolist():
            within, base, index = numbers == number, self._starts[number], self._index[number]
            begins[within] = base if index is None else base + index.begins(ids[within] - base)
        return begins

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Parse a batch of records at once."""
        from harness.data import examples

        return examples.parse(raw[SERIALIZED], wanted)

    def explain(self, start: int, stop: int, wanted: Mapping[str, Feature]) -> str | None:
        """Look at each record by itself."""
        from harness.data import examples

        for records in self.read(start, stop, 256):
            for example_id, data in zip(records.ids.tolist(), records.raw[SERIALIZED], strict=True):
                if wrong := examples.misfit(data, wanted):
                    return f"{self._where(example_id)}: {wrong}"
        return None

    def _checked(self, ids: np.ndarray, data: list[bytes | None], words: np.ndarray) -> Records:
        """Return records; where bad ones are skipped, with a mark on each, and another in its place."""
        if not self._skip:
            return Records(ids, {SERIALIZED: _objects(data)}, words)
        from harness.data import examples

        whole = [record for record in data if record is not None]
        problems = iter(examples.check(whole, self._wanted) if whole else [])
        bad = np.array([record is None or next(problems) is not None for record in data], bool)
        if bad.any():
            good = (record for record, is_bad in zip(data, bad.tolist(), strict=True) if not is_bad and record is not None)
            spare = next(good, None) or self._find_spare()
            data = [spare if is_bad else record for record, is_bad in zip(data, bad.tolist(), strict=True)]
        return Records(ids, {SERIALIZED: _objects(data), BAD: bad}, words)

    def _find_spare(self) -> bytes:
        if self._spare is None:
            for number in range(len(self.files)):
                if (spare := self._spare_of(number)) is not None:
                    self._spare = spare
                    break
            else:
                plain = self.select({}, skip=False)
                raise DataError(f"not one record can be parsed; the first: {plain.explain(0, 1, self._wanted)}")
        return self._spare

    def _where(self, example: int) -> str:
        number = int(np.searchsorted(self._starts, example, side="right")) - 1
        record = example - int(self._starts[number])
        path, index = self.files[number].path, self._index[number]
        if index is None:
            return f"{path}, record {record}"
        entry = index.entry(record)
        with open_range(path) as file:
            first = int(index.offsets[entry])
            bounds = framing.starts(file.read(first, int(index.offsets[entry + 1])))
        return f"{path}, record {record} at byte {first + int(bounds[record - int(index.records[entry])])}"

    def _read_plain(self, number: int, start: int, stop: int, size: int) -> Iterator[Records]:
        path, index = self.files[number].path, self._index[number]
        assert index is not None
        held: list[bytes | None] = []  # records from `start` on, and their words
        words = np.zeros(0, np.uint64)
        entry = index.entry(start)
        with open_range(path) as file:
            while start < stop:
                end = index.reach(entry, READ, stop)
                first, last = int(index.records[entry]), int(index.records[end])
                block = file.read(int(index.offsets[entry]), int(index.offsets[end]))
                bounds = framing.starts(block)
                wanted = slice(max(start + len(held) - first, 0), stop - first)
                intact = framing.cut_all(block, bounds)
                if intact is not None:
                    data, crcs = intact
                else:
                    data = framing.cut(block, path, first, int(index.offsets[entry]), wanted, skip=self._skip)
                    crcs = framing.crcs(data)
                index.check(path, entry, end, bounds)
                held += data[wanted]
                words = np.concatenate([words, crcs[wanted]])
                entry = end
                whole = len(held) if last >= stop else len(held) - len(held) % size
                for at in range(0, whole, size):
                    part = held[at : min(at + size, whole)]
                    ids = np.arange(start + at, start + at + len(part), dtype=np.int64) + self._starts[number]
                    yield self._checked(ids, part, words[at : at + len(part)])
                start, held, words = start + whole, held[whole:], words[whole:]

    def _spare_of(self, number: int) -> bytes | None:
        """Return the first record of a file that can be parsed."""
        from harness.data import examples

        index = self._index[number]
        path = self.files[number].path
        records = tfrecord_packed.records(path, skip=True) if index is None else self._records_of(path, index)
        return next((data for data in records if data is not None and examples.check([data], self._wanted) == [None]), None)

    def _records_of(self, path: str, index: RecordIndex) -> Iterator[bytes | None]:
        with open_range(path) as file:
            for entry in range(len(index.records) - 1):
                first = int(index.offsets[entry])
                block = file.read(first, int(index.offsets[entry + 1]))
                yield from framing.cut(block, path, int(index.records[entry]), first, skip=True)

    def _read_packed(self, number: int, start: int, stop: int, size: int) -> Iterator[Records]:
        held: list[bytes | None] = []  # records from `first` on
        first, base = start, int(self._starts[number])
        for record, data in enumerate(tfrecord_packed.records(self.files[number].path, skip=self._skip)):
            if record >= stop:
                break
            if record < start:
                continue
            held.append(data)
            if len(held) == size or record == stop - 1:
                yield self._checked(np.arange(base + first, base + record + 1, dtype=np.int64), held, framing.crcs(held))
                first, held = record + 1, []
        if held:
            yield self._checked(np.arange(base + first, base + first + len(held), dtype=np.int64), held, framing.crcs(held))


def _objects(values: Sequence[bytes | None]) -> np.ndarray:
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects
